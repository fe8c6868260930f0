"""Layers of a label image: colours, properties as features, integer values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.pyramid import Cast, Window, to_dask

from .geometry import placement
from .images import makeshift_limits
from .kept import kept_default_color, kept_labels
from .sampling import integral
from .spec import LayerSpec

if TYPE_CHECKING:
    from napari_omezarr.metadata import ImageLabel
    from napari_omezarr.pyramid import Pixels, Pyramid

UNLISTED = (0.6, 0.6, 0.6, 1.0)
"""The colour of label values that a list of colours leaves out: seen, and grey."""


def label_layer(pyramid: Pyramid, metadata: dict[str, Any]) -> LayerSpec:
    """Give the layer of a label image.

    Float values, which public data hold although the specification (0.5) says
    integer, become integers where they are whole, else the layer is an image;
    to find out, a few chunks of the coarsest level are read.

    Raises
    ------
    StoreError
        Those chunks could not be read.
    """
    dropped, levels = _without_channel(pyramid)
    options = {
        "name": pyramid.name,
        "metadata": {"omezarr": dict(metadata)},
        "multiscale": len(levels) > 1,
        **placement(pyramid, dropped),
    }
    dtype = levels[0].dtype
    if dtype.kind == "f" and not integral(levels):
        limits = makeshift_limits(dtype)
        options |= {"contrast_limits": limits, "colormap": "gray"}
        return LayerSpec("image", _lazy(levels), levels, options, needs_contrast=True)
    if dtype.kind == "f":
        levels = tuple(Cast(pixels, np.dtype(np.int32)) for pixels in levels)
    elif dtype.kind == "b":
        levels = tuple(Cast(pixels, np.dtype(np.uint8)) for pixels in levels)
    label = pyramid.label
    if label is not None:
        options |= _colors(label, kept_default_color(pyramid)) | _features(label)
    options |= kept_labels(pyramid)
    return LayerSpec("labels", _lazy(levels), levels, options)


def _without_channel(pyramid: Pyramid) -> tuple[int | None, tuple[Pixels, ...]]:
    levels = tuple(level.pixels for level in pyramid.levels)
    axis = pyramid.channel_axis
    if axis is None or any(pixels.shape[axis] != 1 for pixels in levels):
        return None, levels
    return axis, tuple(Window(pixels, {axis: 0}) for pixels in levels)


def _lazy(levels: tuple[Pixels, ...]) -> tuple[Any, ...]:
    return tuple(to_dask(pixels) for pixels in levels)


def _colors(
    label: ImageLabel, others: tuple[float, ...] | None = None
) -> dict[str, Any]:
    if not label.colors and others is None:
        return {}
    colors: dict[int | None, tuple[float, ...]] = {
        None: others or UNLISTED,
        0: (0.0, 0.0, 0.0, 0.0),
    }
    for value, rgba in label.colors.items():
        colors[value] = tuple(part / 255 for part in rgba)
    return {"colormap": colors}


def _features(label: ImageLabel) -> dict[str, Any]:
    if not label.properties:
        return {}
    rows = label.properties
    names = dict.fromkeys(name for row in rows.values() for name in row)
    names.pop("index", None)
    columns = {name: [row.get(name) for row in rows.values()] for name in names}
    return {"features": {"index": list(rows), **columns}}
