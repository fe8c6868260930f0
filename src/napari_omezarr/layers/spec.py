"""One layer before it is a layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.metadata import normalized_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dask.array as da

    from napari_omezarr.metadata import Affine, Axis
    from napari_omezarr.pyramid import Pixels, Pyramid

# One layer before it is a layer.

LayerData = tuple[Any, dict[str, Any], str]
"""What napari calls layer data: data, options of the constructor, layer type."""


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """All that makes a napari layer, without napari.

    Parameters
    ----------
    kind : {"image", "labels"}
        The layer type.
    data : tuple of dask.array.Array
        The levels, finest first; lazy. RGB channels are the last axis.
    levels : tuple of Pixels
        The same levels, for a display that reads without blocking.
    options : Mapping
        Keyword arguments for the layer's constructor, ``multiscale`` among them.
    contrast_range : tuple of float or None
        The ends of the contrast slider; no constructor takes them.
    needs_contrast : bool
        The metadata give no window: ``options`` hold a makeshift, to be replaced
        by ``estimate_contrast``.
    """

    kind: str
    data: tuple[da.Array, ...]
    levels: tuple[Pixels, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    contrast_range: tuple[float, float] | None = None
    needs_contrast: bool = False

    @property
    def layer_data(self) -> LayerData:
        """The tuple that napari calls layer data."""
        data = list(self.data) if self.options.get("multiscale") else self.data[0]
        return data, dict(self.options), self.kind


# What a few chunks of the coarsest level tell; blocks, so never in the GUI thread.

_MOST_CHUNKS = 8
_MOST_BYTES = 16 * 2**20
_PERCENTILES = (0.1, 99.9)


def estimate_contrast(levels: Sequence[Pixels]) -> tuple[float, float]:
    """Estimate contrast limits from at most eight chunks of the coarsest level.

    The chunks lie around the middle of the image. The limits are the 0.1 and the
    99.9 percentile of the finite values, or the extremes where those are equal.

    Parameters
    ----------
    levels : sequence of Pixels
        Finest first; only the last one is read.

    Returns
    -------
    tuple of float
        Low < high, always.

    Raises
    ------
    StoreError
        The chunks could not be read.
    """
    values = _sample(levels[-1])
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, _PERCENTILES))
    if low == high:
        low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low, low + 1)


def integral(levels: Sequence[Pixels]) -> bool:
    """Tell whether the values of a label image are whole numbers, from a sample.

    Raises
    ------
    StoreError
        The chunks could not be read.
    """
    values = _sample(levels[-1])
    return bool(np.all(np.mod(values[np.isfinite(values)], 1) == 0))


def _sample(pixels: Pixels) -> np.ndarray:
    if 0 in pixels.shape:
        return np.empty(0, pixels.dtype)
    return pixels[middle(pixels)].ravel()


def middle(pixels: Pixels) -> tuple[slice, ...]:
    """Give the box of whole chunks in the middle that is worth sampling.

    It begins as the middle chunk and grows along the last axes first, as long as
    it holds at most eight chunks and 16 MB.
    """
    counts = [ceil(s / c) for s, c in zip(pixels.shape, pixels.chunks, strict=True)]
    taken = [1] * len(counts)
    size = prod(pixels.chunks) * pixels.dtype.itemsize
    for axis in reversed(range(len(counts))):
        others = prod(taken) // taken[axis]
        affordable = min(_MOST_CHUNKS, max(1, _MOST_BYTES // max(1, size))) // others
        taken[axis] = max(1, min(counts[axis], affordable))
    firsts = [(count - take) // 2 for count, take in zip(counts, taken, strict=True)]
    return tuple(
        slice(first * chunk, min((first + take) * chunk, total))
        for first, take, chunk, total in zip(
            firsts, taken, pixels.chunks, pixels.shape, strict=True
        )
    )


# Where a layer lies: scale, translate, affine, units and axis labels.


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
