"""Links to public images for viewers on the web, and what they show."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QUrl, Signal
from qtpy.QtGui import QAction, QDesktopServices
from qtpy.QtWidgets import QMenu, QWidget

from napari_omezarr.browsing import (
    ChannelView,
    Viewer,
    ViewState,
    check_public,
    share_link,
    start,
)
from napari_omezarr.errors import OptionError
from napari_omezarr.store import presigned
from napari_omezarr.widgets.qt_async import FutureWatcher, failure
from napari_omezarr.widgets.region_box import unit_factors

from .controls import copy_to_clipboard, make_action

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from concurrent.futures import Future
    from typing import Any

    from napari.components import ViewerModel

    from napari_omezarr.browsing import PublicAccess
    from napari_omezarr.location import Location

# Opening public images in viewers on the web, and copying links to them.


class ShareActions(QObject):
    """Asks whether others may read a place, before a link to it leaves."""

    failed = Signal(object)
    """An `OMEZarrError`."""
    status_changed = Signal(str)
    """What goes on, or was done."""

    def __init__(self, viewer: ViewerModel | None, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._location: Location | None = None
        self._watcher: FutureWatcher | None = None
        self.menu = QMenu("Open in a web viewer", parent)
        self.links: list[QAction] = []
        for target in Viewer:
            self.menu.addAction(self._action(f"{target}", target, _open_link))
            self.links.append(self._action(f"Link to {target}", target, _copy_link))
        self.menu.addSeparator()
        for target in filter(lambda target: target.takes_view, Viewer):
            text = f"{target}, with this view"
            opens = self._action(text, target, _open_link, with_view=True)
            copies = self._action(f"Link to {text}", target, _copy_link, with_view=True)
            self.menu.addAction(opens)
            self.links.append(copies)
        self.signed = make_action("Signed link, for an hour", self._sign, self)
        self.set_location(None)

    def set_location(self, location: Location | None, *, is_file: bool = False) -> None:
        """Be about an image, one object, or nothing.

        No web viewer opens one object. A signed link opens that alone, and never an
        image, which is thousands of objects.
        """
        self._location = location
        for action in (self.menu.menuAction(), *self.links):
            action.setEnabled(location is not None and not is_file)
        bucket = location.as_s3() if location is not None and is_file else None
        self.signed.setEnabled(bucket is not None)

    def _action(
        self,
        text: str,
        target: Viewer,
        deliver: Callable[[str], str],
        *,
        with_view: bool = False,
    ) -> QAction:
        ask = partial(self._check_public, target, deliver, with_view)
        return make_action(text, ask, self)

    def _check_public(
        self, target: Viewer, deliver: Callable[[str], str], with_view: bool
    ) -> None:
        place, view = self._location, None
        if place is None:
            return
        if with_view:
            view = self._view(place)
            if view is None:
                sentence = f"{place.name} is not open in napari."
                self.failed.emit(OptionError(sentence, action="Open it first."))
                return
        receive = partial(self._receive, target, deliver, view)
        self._ask(check_public(place, target.address), receive)
        self.status_changed.emit(f"Asking whether {target} may read it …")

    def _view(self, place: Location) -> ViewState | None:
        return present_view(self._viewer, place) if self._viewer is not None else None

    def _sign(self) -> None:
        if self._location is not None:
            self._ask(presigned(self._location), self._receive_signed)

    def _ask(
        self,
        question: Coroutine[Any, Any, Any],
        receive: Callable[[Future[Any]], None],
    ) -> None:
        if self._watcher is not None:
            self._watcher.abandon()
        self._watcher = FutureWatcher(start(question), receive, self)

    def _receive_signed(self, future: Future[str]) -> None:
        error = failure(future)
        if error is not None:
            self.failed.emit(error)
            return
        copy_to_clipboard(future.result())
        sentence = "Link copied: for an hour, whoever has it can read the object."
        self.status_changed.emit(sentence)

    def _receive(
        self,
        target: Viewer,
        deliver: Callable[[str], str],
        view: ViewState | None,
        future: Future[PublicAccess],
    ) -> None:
        error = failure(future)
        if error is None and not future.result().works:
            found = future.result()
            error = OptionError(found.sentence, action=found.action)
        if error is not None:
            self.status_changed.emit("")
            self.failed.emit(error)
            return
        found = future.result()
        done = deliver(share_link(found.address, target, view))
        self.status_changed.emit(f"{done} {found.sentence}".rstrip())


def _open_link(link: str) -> str:
    if QDesktopServices.openUrl(QUrl(link)):
        return "Opened in the browser."
    return "No browser could be opened; copy the link instead."


def _copy_link(link: str) -> str:
    copy_to_clipboard(link)
    return "Link copied."


# What the viewer shows of an image, in words that other viewers understand.


def present_view(viewer: ViewerModel, location: Location) -> ViewState | None:
    """Describe how an image is shown now; None if it is not open."""
    layers = [y for y in viewer.layers if _address(y) == location.display]
    if not layers:
        return None
    first = layers[0]
    factors = _factors(viewer, first)
    center = _center(viewer)[-first.ndim :] * factors
    names, units = first.axis_labels, [str(unit) for unit in first.units]
    grid = zip(names, first.scale, first.translate, strict=True)
    return ViewState(
        center={n: float(at) for n, at in zip(names, center, strict=True)},
        zoom=float(viewer.scene.camera.zoom / factors[-1]),
        units={n: u for n, u in zip(names, units, strict=True) if u != "pixel"},
        channels=_channels(layers),
        labels=_labels(viewer.layers, location),
        displayed=_displayed(viewer, first),
        channel_axis=_channel_axis(first),
        grid={name: (float(size), float(at)) for name, size, at in grid},
    )


def _address(layer: Layer) -> str:
    record = layer.metadata.get("omezarr")
    if not isinstance(record, dict) or "region" in record:
        return ""
    return str(record.get("address"))


def _labels(layers: Iterable[Layer], location: Location) -> tuple[str, ...]:
    """Name the labels of the image that are shown."""
    place = f"{location.display.rstrip('/')}/labels/"
    shown = [_address(layer) for layer in layers if layer.visible]
    return tuple(at.removeprefix(place) for at in shown if at.startswith(place))


def _displayed(viewer: ViewerModel, layer: Layer) -> tuple[str, ...]:
    """Name the layer's axes that the screen shows; the viewer may have more axes."""
    offset = viewer.dims.ndim - layer.ndim
    shown = (axis - offset for axis in viewer.dims.displayed)
    return tuple(layer.axis_labels[axis] for axis in shown if axis >= 0)


def _channel_axis(layer: Layer) -> str:
    """Name the axis of the image that its layers do not have; else nothing."""
    axes = layer.metadata["omezarr"]["axes"]
    kept = layer.axis_labels if "channel" in layer.metadata["omezarr"] else axes
    return next((axis for axis in axes if axis not in kept), "")


def _center(viewer: ViewerModel) -> np.ndarray:
    """Give the middle of the screen along every axis, in the viewer's world."""
    center = np.asarray(viewer.dims.point, dtype=float)
    shown = list(viewer.dims.displayed)
    center[shown] = viewer.scene.camera.center[-len(shown) :]
    return center


def _factors(viewer: ViewerModel, layer: Layer) -> np.ndarray:
    """Give what the viewer's unit is in the layer's, by axis of the layer."""
    units = viewer.layers.extent.units
    return np.ones(layer.ndim) if units is None else unit_factors(units, layer.units)


def _channels(layers: Sequence[Layer]) -> tuple[ChannelView, ...]:
    """Describe the channels; a layer of labels, or in true colours, is none."""
    return tuple(
        ChannelView(
            layer.metadata["omezarr"].get("channel", 0),
            layer.name,
            *_shades(layer),
            layer.visible,
        )
        for layer in layers
        if isinstance(layer, Image) and not layer.rgb
    )


def _shades(layer: Image) -> tuple[str, tuple[float, float]]:
    """Give the brightest end of the colours, and the values from black to it."""
    first, last = (np.asarray(layer.colormap.colors)[end][:3] for end in (0, -1))
    low, high = (float(limit) for limit in layer.contrast_limits)
    if first.sum() > last.sum():
        return _hex(first), (high, low)
    return _hex(last), (low, high)


def _hex(color: np.ndarray) -> str:
    return "".join(f"{round(255 * float(part)):02X}" for part in color)
