"""What can be done with the row that is chosen: actions, their menus and buttons."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QUrl, Signal
from qtpy.QtGui import QAction, QDesktopServices
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QWidget

from napari_omezarr.browsing import (
    ChannelView,
    EntryKind,
    Viewer,
    ViewState,
    check_public,
    python_snippet,
    s3_address,
    share_link,
    start,
    web_address,
)
from napari_omezarr.errors import OptionError
from napari_omezarr.location import Location, without_secrets
from napari_omezarr.store import presigned
from napari_omezarr.widgets.preferences import keep_browser_preferences
from napari_omezarr.widgets.qt_async import FutureWatcher, failure
from napari_omezarr.widgets.region_box import unit_factors
from napari_omezarr.widgets.transfers import transfers
from napari_omezarr.widgets.viewer_layers import places_of

from .controls import choose_folder, copy_to_clipboard, make_action, menu_button
from .forms import CopyForm, DeleteForm, TableForm, folder_form, rename_form
from .opener import folder_for

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from concurrent.futures import Future
    from typing import Any

    from napari.components import ViewerModel

    from napari_omezarr.browsing import Entry, PublicAccess

    from .details import DetailsPanel
    from .navigation import Places
    from .opener import OpenRequest

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


# The actions of a row, and the bar of their buttons.


def _web_address(request: OpenRequest) -> str:
    try:
        return web_address(request.location)
    except OptionError:  # what is configured is no address, so that there is none
        return ""


_COPIES: dict[str, Callable[[OpenRequest], str]] = {
    "Address": lambda request: without_secrets(request.location),
    "s3:// address": lambda request: s3_address(request.location),
    "Web address": _web_address,
    "Python": lambda request: python_snippet(
        request.location, is_table=request.is_table
    ),
}
_WITH_LABELS = (
    EntryKind.IMAGE,
    EntryKind.LEVELS,
    EntryKind.SERIES,
    EntryKind.SCENE,
    EntryKind.LABELS,
)
_TABLES = (".tsv", ".csv", ".parquet", ".pq")


class RowActions(QObject):
    """The actions for the row that is chosen, on buttons and in its menu."""

    open_wanted = Signal(object)
    """An `OpenRequest`."""
    choose_wanted = Signal(object)
    """A `Location`, of which the person wants to choose a part."""
    region_wanted = Signal(object)
    """An `OpenRequest`, of which the person wants a region."""
    failed = Signal(object)
    """An `OMEZarrError`."""
    status_changed = Signal(str)
    """What goes on, or was done."""

    def __init__(
        self,
        viewer: ViewerModel | None,
        parse: Callable[[str], Location],
        details: DetailsPanel,
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._parse = parse
        self._parent = parent
        self._entry: Entry | None = None
        self._request: OpenRequest | None = None
        self._here: Places = ()
        self._every: tuple[OpenRequest, ...] = ()
        self.share = ShareActions(viewer, parent)
        self.share.failed.connect(self.failed)
        self.share.status_changed.connect(self.status_changed)
        self.open = make_action("Open", self._open, self)
        self.choose = make_action("Open…", self._choose, self)
        self.labels = make_action("Open labels only", self._open_labels, self)
        self.region = make_action("Open region…", self._open_region, self)
        self.open_menu = QMenu("Open", parent)
        self.open_menu.addActions([self.open, self.choose, self.labels, self.region])
        self.copies = [
            make_action(name, partial(self._copy, name), self) for name in _COPIES
        ]
        self.copy_menu = QMenu("Copy", parent)
        self.copy_menu.addActions(self.copies)
        self.copy_menu.addSeparator()
        self.copy_menu.addActions([*self.share.links, self.share.signed])
        self.table = make_action("Labels table…", self._add_table, self)
        self.download = make_action("Download…", self._download, self)
        self.upload = make_action("Upload here…", self._upload, self)
        self.new_folder = make_action("New folder…", self._make_folder, self)
        self.rename = make_action("Rename…", self._rename, self)
        self.delete = make_action("Delete…", self._delete, self)
        self.tabs = [
            make_action(text, partial(details.show_tab, page), self)
            for text, page in (
                ("View a chunk, speed test", details.chunk),
                ("Validate", details.validation),
                ("Raw metadata", details.metadata),
            )
        ]
        self.set_row(None, None, ())

    def set_row(
        self,
        entry: Entry | None,
        request: OpenRequest | None,
        here: Places,
        every: Sequence[OpenRequest] = (),
    ) -> None:
        """Offer what can be done with a row of the places that are shown.

        `every` are all rows that are chosen, where there are several.
        """
        self._entry, self._request, self._here = entry, request, here
        self._every = tuple(every) or ((request,) if request is not None else ())
        opens = entry is not None and (entry.is_openable or entry.looks_like_store)
        is_file = entry is not None and entry.kind is EntryKind.FILE
        is_bucket = entry is not None and entry.kind is EntryKind.BUCKET
        for action in (self.open, self.choose, self.region):
            action.setEnabled(opens)
        self.labels.setEnabled(entry is not None and entry.kind in _WITH_LABELS)
        for action, name in zip(self.copies, _COPIES, strict=True):
            action.setEnabled(bool(request and _COPIES[name](request)))
        self.copy_menu.setEnabled(request is not None)
        shared = request if opens or is_file else None
        self.share.set_location(shared.location if shared else None, is_file=is_file)
        self.download.setEnabled(entry is not None and not is_bucket)
        self.upload.setEnabled(folder_for(entry, here) is not None)
        self.new_folder.setEnabled(self.upload.isEnabled())
        changes = entry is not None and not is_bucket and bool(entry.location.path)
        self.rename.setEnabled(changes and len(self._every) == 1)
        self.delete.setEnabled(changes)
        for action in self.tabs:
            action.setEnabled(entry is not None)

    def menu(self, extra: list[QAction]) -> QMenu:
        """Make the menu of a row, with further actions at its end."""
        menu = QMenu("Row", self._parent)
        menu.addActions(self.open_menu.actions())
        menu.addSeparator()
        menu.addMenu(self.copy_menu)
        menu.addSeparator()
        menu.addActions(extra)
        return menu

    def _open(self) -> None:
        for request in self._every:
            self.open_wanted.emit(request)

    def _open_labels(self) -> None:
        if self._request is not None:
            self.open_wanted.emit(replace(self._request, labels_only=True))

    def _choose(self) -> None:
        if self._request is not None:
            self.choose_wanted.emit(self._request.location)

    def _open_region(self) -> None:
        if self._request is not None:
            self.region_wanted.emit(self._request)

    def _copy(self, name: str) -> None:
        texts = [_COPIES[name](request) for request in self._every]
        found = [text for text in texts if text]
        if found:
            copy_to_clipboard("\n".join(found))
            count = f"{len(found)} times " if len(found) > 1 else ""
            self.status_changed.emit(f"{name} {count}copied.")

    def _add_table(self) -> None:
        if self._viewer is None:
            sentence = "There is no viewer with labels."
            self.failed.emit(OptionError(sentence, action="Open labels first."))
            return
        entry = self._entry
        is_table = entry is not None and (
            entry.kind is EntryKind.TABLE or entry.name.lower().endswith(_TABLES)
        )
        place = entry.location if entry is not None and is_table else None
        TableForm(self._viewer, self._parse, place=place, parent=self._parent).show()

    def _download(self) -> None:
        if len(self._every) > 1:
            choose_folder(self._parent, "Download into", self._download_into)
        elif self._entry is not None:
            source = self._entry.location
            CopyForm(self._parse, source=source, parent=self._parent).show()

    def _download_into(self, folder: str) -> None:
        """Take all rows that are chosen into the list of transfers."""
        keep_browser_preferences(downloads=folder)
        for request in self._every:
            place = request.location
            transfers().add(place, Location.parse(Path(folder)) / place.name)

    def _in_use(self) -> frozenset[str]:
        return (
            places_of(self._viewer.layers) if self._viewer is not None else frozenset()
        )

    def _make_folder(self) -> None:
        folder = folder_for(self._entry, self._here)
        if folder is not None:
            folder_form(folder, self._parent).show()

    def _rename(self) -> None:
        if self._entry is not None:
            rename_form(self._entry.location, self._in_use(), self._parent).show()

    def _delete(self) -> None:
        places = [request.location for request in self._every]
        if places:
            DeleteForm(places, self._in_use(), self._parent).show()

    def _upload(self) -> None:
        folder = folder_for(self._entry, self._here)
        CopyForm(self._parse, folder=folder, parent=self._parent).show()


class ActionBar(QWidget):
    """One line of buttons for a row, each with its menu."""

    def __init__(self, actions: RowActions, parent: QWidget) -> None:
        super().__init__(parent)
        self.show_files = QAction("Show files", self)
        self.show_files.setCheckable(True)
        self.show_files.setToolTip("Every object as it is stored, also in images")
        self.bookmark = QAction("Bookmark this place", self)
        self.bookmark.setToolTip("Keep it with the connection that is chosen")
        self.more_menu = QMenu("More", self)
        self.more_menu.addActions([self.show_files, self.bookmark])
        self.more_menu.addMenu(actions.share.menu)
        self.more_menu.addSeparator()
        self.more_menu.addActions([actions.table, actions.download, actions.upload])
        self.more_menu.addSeparator()
        self.more_menu.addActions([actions.new_folder, actions.rename, actions.delete])
        self.more_menu.addSeparator()
        self.more_menu.addActions(actions.tabs)
        self._open = actions.open
        self.open_button = QPushButton("Open", self)
        self.open_button.setAccessibleName("Open the row as layers")
        self.open_button.clicked.connect(actions.open.trigger)
        actions.open.changed.connect(self._enable_open)
        self._enable_open()
        ways = menu_button(actions.open_menu, self)
        ways.setText("▾")
        ways.setAccessibleName("More ways to open")
        self.save_button = QPushButton("Save here…", self)
        self.save_button.setToolTip("Save layers into this place")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.open_button)
        layout.addWidget(ways)
        layout.addWidget(self.save_button)
        layout.addWidget(menu_button(actions.copy_menu, self))
        layout.addWidget(menu_button(self.more_menu, self))
        layout.addStretch()

    def _enable_open(self) -> None:
        self.open_button.setEnabled(self._open.isEnabled())
