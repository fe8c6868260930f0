"""Where a layer lies: scale, translate, affine, units and axis labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.metadata import normalized_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.metadata import Affine, Axis
    from napari_omezarr.pyramid import Pyramid


def placement(pyramid: Pyramid, dropped: int | None = None) -> dict[str, Any]:
    """Give the options that place a layer in the world.

    ``scale`` is always the pixel size, so that whoever reads it gets it; what a
    scale and a translation cannot say (rotation, shear, swapped axes) is in
    ``affine``, which napari applies after them.

    Parameters
    ----------
    pyramid : Pyramid
        Its finest level's affine is used; napari derives the others' from shapes.
    dropped : int or None, optional
        The axis that the layer does not have (its channel axis).
    """
    affine, axes = pyramid.levels[0].affine, pyramid.world_axes
    if dropped is not None:
        output = affine.output_of(dropped)
        if output is None:
            return _index_coordinates(pyramid, dropped)
        affine = affine.without(dropped)
        axes = axes[:output] + axes[output + 1 :]
    return {**_transform(affine), **_axes(axes)}


def _index_coordinates(pyramid: Pyramid, dropped: int) -> dict[str, Any]:
    """Place a layer whose world cannot be had without its channel axis."""
    axes = [axis for i, axis in enumerate(pyramid.axes) if i != dropped]
    return {"axis_labels": tuple(axis.name for axis in axes)}


def _transform(affine: Affine) -> dict[str, Any]:
    if affine.is_diagonal:
        return {"scale": affine.scale, "translate": affine.translation}
    matrix = np.eye(affine.ndim_in + 1)
    matrix[:-1, :-1] = affine.linear / affine.scale
    matrix[:-1, -1] = affine.offset
    return {"scale": affine.scale, "affine": matrix}


def _axes(axes: Sequence[Axis]) -> dict[str, Any]:
    labels = tuple(axis.name for axis in axes)
    units = tuple(normalized_unit(axis) or "pixel" for axis in axes)
    unique = len(set(labels)) == len(labels)
    return {"units": units, **({"axis_labels": labels} if unique else {})}
