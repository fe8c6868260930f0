"""From a layer's specification to a napari layer that reads nothing here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Layer

from napari_omezarr.display.napari_hook import attach

from .contrast import estimate_later

if TYPE_CHECKING:
    from napari_omezarr.layers import LayerSpec


def make_layer(spec: LayerSpec) -> Layer:
    """Make a layer, with the display attached and its contrast on the way.

    It is constructed invisible, because a visible layer reads its first slice in
    its constructor, and made visible when the display answers in its place.

    Parameters
    ----------
    spec : LayerSpec
        What the layer is to be.
    """
    data, options, kind = spec.layer_data
    visible = options.pop("visible", True)
    layer = Layer.create(data, {**options, "visible": False}, kind)
    if spec.contrast_range is not None:
        layer.contrast_limits_range = spec.contrast_range
    attach(layer, spec.levels, label=spec.kind == "labels")
    layer.visible = visible
    if spec.needs_contrast:
        estimate_later(layer, spec.levels)
    return layer
