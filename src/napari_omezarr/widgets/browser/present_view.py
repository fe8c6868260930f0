"""What the viewer shows of an image, in words that other viewers understand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer

from napari_omezarr.browsing import ChannelView, View
from napari_omezarr.widgets.region_layers import unit_factors

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    layers = [layer for layer in viewer.layers if _shows(layer, location)]
    if not layers:
        return None
    first = layers[0]
    factors = _factors(viewer, first)
    center = _center(viewer)[-first.ndim :] * factors
    names, units = first.axis_labels, [str(unit) for unit in first.units]
    record = first.metadata["omezarr"]
    return View(
        center={n: float(at) for n, at in zip(names, center, strict=True)},
        zoom=float(viewer.scene.camera.zoom / factors[-1]),
        units={n: u for n, u in zip(names, units, strict=True) if u != "pixel"},
        channels=_channels(layers),
        is_3d=viewer.dims.ndisplay == 3,
        has_channel_axis="channel" in record and len(record["axes"]) > first.ndim,
    )


def _shows(layer: Layer, location: Location) -> bool:
    record = layer.metadata.get("omezarr")
    if not isinstance(record, dict) or "region" in record:
        return False
    return record.get("address") == location.display


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
            _hex(layer.colormap),
            (float(layer.contrast_limits[0]), float(layer.contrast_limits[1])),
            layer.visible,
        )
        for layer in layers
        if isinstance(layer, Image) and not layer.rgb
    )


def _hex(colormap: Any) -> str:
    brightest = np.asarray(colormap.colors)[-1][:3]
    return "".join(f"{round(255 * float(part)):02X}" for part in brightest)
