"""How a chunk that could not be had looks: hatched, never silently black."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_omezarr.pyramid.boxes import Bounds

STRIPES = 8
"""How many stripes cross a chunk."""


def hatch(
    array: np.ndarray, bounds: Bounds, chunk: Bounds, plane: tuple[int, int], value: Any
) -> None:
    """Draw diagonal stripes over the part of a box that lies in a chunk, in place.

    Between the stripes stays what coarser levels know, so that the part is both
    recognised and not mistaken for data.

    Parameters
    ----------
    array : numpy.ndarray
        The box, any number of axes.
    bounds, chunk : Bounds
        What the box and the chunk cover, in the same level's pixels.
    plane : tuple of int
        The two axes that the diagonals lie in.
    value : scalar
        What the stripes are drawn in.
    """
    part = [
        (max(start, low), min(stop, high))
        for (start, stop), (low, high) in zip(bounds, chunk, strict=True)
    ]
    edge = max(chunk[axis][1] - chunk[axis][0] for axis in plane)
    period = max(2, edge // STRIPES)
    diagonal = np.zeros([1] * array.ndim, int)
    for axis in plane:
        shape = [1] * array.ndim
        shape[axis] = -1
        diagonal = diagonal + np.arange(*part[axis]).reshape(shape)
    stripes = diagonal % period < max(1, period // 4)
    inside = array[
        tuple(
            slice(low - start, high - start)
            for (low, high), (start, _) in zip(part, bounds, strict=True)
        )
    ]
    inside[np.broadcast_to(stripes, inside.shape)] = value


def image_mark(dtype: np.dtype[Any], limits: tuple[float, float] | None) -> Any:
    """Give what an image is hatched in: the brightest value that is on screen.

    Parameters
    ----------
    dtype : numpy.dtype
        The image's data type; the value is one of it.
    limits : tuple of float or None
        The contrast limits; None (for RGB) means white.
    """
    if dtype.kind == "b":
        return True
    if dtype.kind in "iu":
        information = np.iinfo(dtype)
        brightest = information.max if limits is None else limits[1]
        return min(max(int(brightest), information.min), information.max)
    return 1.0 if limits is None else limits[1]


def label_mark(colormap: Any, dtype: np.dtype[Any]) -> int:
    """Give the label that a label image is hatched in: one that has a colour.

    Parameters
    ----------
    colormap : napari.utils.colormaps.Colormap
        With a ``color_dict`` (label to RGBA), only some labels may be visible.
    dtype : numpy.dtype
        The label image's data type; the label is one of it.
    """
    largest = int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1
    colors = getattr(colormap, "color_dict", {})
    visible = (
        label
        for label, color in colors.items()
        if label and label <= largest and color[-1] > 0
    )
    return next(visible, min(largest, np.iinfo(np.int32).max))
