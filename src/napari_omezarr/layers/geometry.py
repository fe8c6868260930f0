"""Where a layer lies: scale, translate, affine, units and axis labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.metadata import normalized_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.metadata import Axis
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
    kept = [axis for axis in range(len(pyramid.axes)) if axis != dropped]
    matrix = np.asarray(pyramid.levels[0].affine.matrix, dtype=float)
    linear, shift = matrix[np.ix_(kept, kept)], matrix[kept, -1]
    axes = [pyramid.axes[axis] for axis in kept]
    return {**_transform(linear, shift), **_axes(axes)}


def _transform(linear: np.ndarray, shift: np.ndarray) -> dict[str, Any]:
    diagonal = np.diag(linear)
    if np.array_equal(linear, np.diag(diagonal)):
        return {"scale": tuple(diagonal.tolist()), "translate": tuple(shift.tolist())}
    sizes = np.linalg.norm(linear, axis=0)
    affine = np.eye(len(shift) + 1)
    affine[:-1, :-1] = linear / sizes
    affine[:-1, -1] = shift
    return {"scale": tuple(sizes.tolist()), "affine": affine}


def _axes(axes: Sequence[Axis]) -> dict[str, Any]:
    labels = tuple(axis.name for axis in axes)
    units = tuple(normalized_unit(axis) or "pixel" for axis in axes)
    unique = len(set(labels)) == len(labels)
    return {"units": units, **({"axis_labels": labels} if unique else {})}
