"""What the viewer shows of an image, in words that other viewers understand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Layer

from napari_omezarr.browsing import ChannelView, View
from napari_omezarr.widgets.region_layers import unit_factors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.components import ViewerModel

    from napari_omezarr.location import Location


def present_view(viewer: ViewerModel, location: Location) -> View | None:
    """Describe how an image is shown now; None if it is not open.

    Parameters
    ----------
    viewer : ViewerModel
        With layers that this plugin has opened.
    location : Location
        The image.
    """
    layers = [y for y in viewer.layers if _address(y) == location.display]
    if not layers:
        return None
    first = layers[0]
    factors = _factors(viewer, first)
    center = _center(viewer)[-first.ndim :] * factors
    names, units = first.axis_labels, [str(unit) for unit in first.units]
    grid = zip(names, first.scale, first.translate, strict=True)
    return View(
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
