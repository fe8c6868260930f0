"""What a few chunks of the coarsest level tell; blocks, so never in the GUI thread."""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.pyramid import Pixels

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
