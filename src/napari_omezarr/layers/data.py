"""From what was read to the layers that show it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from napari_omezarr.metadata import normalized_unit

from .images import image_layers
from .labels import label_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.pyramid import Pyramid

    from .spec import LayerSpec


def layer_data(
    pyramids: Sequence[Pyramid], *, channels: Sequence[int] | None = None
) -> list[LayerSpec]:
    """Give the layers of what was read: images below, their labels above.

    Reads pixels only for labels that are stored as floats (see ``label_layer``).

    Parameters
    ----------
    pyramids : sequence of Pyramid
        Images, each followed by its label images.
    channels : sequence of int or None, optional
        Only these channels of each image.
    """
    several = sum(pyramid.label is None for pyramid in pyramids) > 1
    images: list[LayerSpec] = []
    labels: list[LayerSpec] = []
    for pyramid, units in zip(pyramids, _units(pyramids), strict=True):
        metadata = _metadata(pyramid)
        if pyramid.label is None:
            images += image_layers(pyramid, metadata, channels, several=several)
        else:
            layer = label_layer(pyramid, metadata)
            labels.append(_with_units(layer, units))
    return images + labels


def _metadata(pyramid: Pyramid) -> dict[str, Any]:
    """Give what a layer carries to be saved back from: no secrets among it."""
    return {
        "address": pyramid.location.display,
        "version": pyramid.version,
        "paths": [level.path for level in pyramid.levels],
        "axes": [axis.name for axis in pyramid.axes],
        "attributes": dict(pyramid.attributes or {}),
        "extras": dict(pyramid.extras),
        "warnings": list(pyramid.warnings),
    }


def _units(pyramids: Sequence[Pyramid]) -> list[dict[str, str]]:
    """Give, for each pyramid, the units of the image that it lies on, by axis.

    One layer without units among others makes napari drop the scale bar's unit,
    and labels are often written without.
    """
    found: dict[str, str] = {}
    result: list[dict[str, str]] = []
    for pyramid in pyramids:
        if pyramid.label is None:
            axes = pyramid.world_axes
            found = {a.name: unit for a in axes if (unit := normalized_unit(a))}
        result.append(found)
    return result


def _with_units(layer: LayerSpec, units: dict[str, str]) -> LayerSpec:
    options = dict(layer.options)
    if "axis_labels" not in options or "units" not in options:
        return layer
    pairs = zip(options["axis_labels"], options["units"], strict=True)
    options["units"] = tuple(
        units.get(name, "pixel") if unit == "pixel" else unit for name, unit in pairs
    )
    return dataclasses.replace(layer, options=options)
