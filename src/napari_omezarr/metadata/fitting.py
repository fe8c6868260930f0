"""Multiscales made to fit what else is known: their arrays, a scene."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.errors import MetadataError

from .affine import Affine
from .model import Axis

if TYPE_CHECKING:
    from .model import Dataset, Multiscale


def fit_axes(multiscale: Multiscale, ndim: int) -> tuple[Multiscale, tuple[str, ...]]:
    """Make axes and affines fit arrays of ``ndim`` dimensions.

    The last axes are matched with the last dimensions, as numpy does: axes in
    front are dropped, dimensions in front get an axis without type.

    Parameters
    ----------
    multiscale : Multiscale
        As parsed.
    ndim : int
        The number of dimensions of its arrays.

    Returns
    -------
    Multiscale
        With ``ndim`` axes; the same object where it has them already.
    tuple of str
        A warning where it had to change.

    Raises
    ------
    MetadataError
        When no axis can be dropped, because a transform mixes it with others.
    """
    count = len(multiscale.axes)
    if count == ndim:
        return multiscale, ()
    fitted = multiscale
    while len(fitted.axes) > max(ndim, 1):
        fitted = _without_first(fitted)
    fitted = _with_first(fitted, ndim - len(fitted.axes))
    if len(fitted.axes) != ndim:
        raise MetadataError("The arrays have no dimensions", where="datasets")
    names = ", ".join(axis.name for axis in fitted.axes)
    said = "no axes" if multiscale.axes_assumed else f"{count} axes"
    return fitted, (
        f"The document gives {said} and the arrays have {ndim} dimensions; "
        f"they are taken as {names}.",
    )


def placed(
    multiscale: Multiscale, affine: Affine, axes: tuple[Axis, ...] = ()
) -> Multiscale:
    """Return ``multiscale`` as it lies in a scene.

    Parameters
    ----------
    multiscale : Multiscale
        An image, parsed with the coordinate system that ``affine`` starts from.
    affine : Affine
        From the image's world to the scene's.
    axes : tuple of Axis, optional
        The axes of the scene's world; the image's own where there are none.

    Raises
    ------
    MetadataError
        When the affine is for another number of axes, or has no inverse.
    """
    count = len(multiscale.axes)
    if (affine.ndim_in, affine.ndim_out) != (count, count) or not affine.is_invertible:
        raise MetadataError(
            f"The scene's transform is from {affine.ndim_in} to {affine.ndim_out} axes "
            f"and the image has {count}",
            where="scene",
        )
    return replace(
        multiscale,
        datasets=tuple(
            replace(dataset, affine=affine @ dataset.affine)
            for dataset in multiscale.datasets
        ),
        world_axes=axes if len(axes) == count else multiscale.world_axes,
    )


def _without_first(multiscale: Multiscale) -> Multiscale:
    outputs = {dataset.affine.output_of(0) for dataset in multiscale.datasets}
    output = outputs.pop()
    if outputs or output is None:
        raise MetadataError(
            "A transform mixes an axis that the arrays do not have with others",
            where="coordinateTransformations",
        )
    world = multiscale.world_axes
    return replace(
        multiscale,
        axes=multiscale.axes[1:],
        datasets=tuple(
            replace(dataset, affine=dataset.affine.without(0))
            for dataset in multiscale.datasets
        ),
        world_axes=world[:output] + world[output + 1 :],
    )


def _with_first(multiscale: Multiscale, count: int) -> Multiscale:
    if count < 1:
        return multiscale
    taken = {axis.name for axis in (*multiscale.axes, *multiscale.world_axes)}
    free = (f"dim_{index}" for index in range(count + len(taken)))
    new = tuple(Axis(name) for name in free if name not in taken)[:count]
    return replace(
        multiscale,
        axes=new + multiscale.axes,
        datasets=tuple(_extended(dataset, count) for dataset in multiscale.datasets),
        world_axes=new + multiscale.world_axes,
    )


def _extended(dataset: Dataset, count: int) -> Dataset:
    old = dataset.affine.matrix
    matrix = np.zeros((old.shape[0] + count, old.shape[1] + count))
    matrix[:count, :count] = np.eye(count)
    matrix[count:, count:] = old
    return replace(dataset, affine=Affine.from_matrix(matrix))
