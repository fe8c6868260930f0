"""Coarser pixels from finer ones, a block at a time, in memory.

Sizes are halved upwards: an odd one leaves a last pixel that stands for fewer
finer ones, so that no row of the image is lost at a coarser level.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.pyramid import chunk_counts, slices, whole_box

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .options import Method


_CACHED = 2**21


def coarser_shape(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """Give the shape one level up: each size divided by its factor, upwards."""
    return chunk_counts(shape, factors)


def downsample(block: np.ndarray, factors: Sequence[int], method: Method) -> np.ndarray:
    """Make one pixel of each cell of ``factors`` pixels.

    Parameters
    ----------
    block : numpy.ndarray
        Booleans, integers or floats; its first pixel is the first of a cell.
    factors : sequence of int
        By how much each axis shrinks. A last cell that is not full counts with
        what it has.
    method : {"mean", "nearest", "max", "mode"}
        ``mean``: exact in a wider type, halves rounded up; NaN is left out of it
        as long as the cell has a number, as it is by ``max``. ``nearest``: the
        pixel that is next to the cell's centre, of two the first. ``mode``: the
        value that is there most often, of several the one that comes first.

    Returns
    -------
    numpy.ndarray
        Of the same dtype and of shape `coarser_shape`.
    """
    if max(factors, default=1) == 1:
        return block
    axis = next((axis for axis, size in enumerate(block.shape) if size > 1), 0)
    step = _piece(block, axis, factors[axis])
    if step >= block.shape[axis]:
        return _METHODS[method](block, tuple(factors))
    coarser = np.empty(coarser_shape(block.shape, factors), block.dtype)
    before = (slice(None),) * axis
    for start in range(0, block.shape[axis], step):
        part = downsample(block[(*before, slice(start, start + step))], factors, method)
        first = start // factors[axis]
        coarser[(*before, slice(first, first + part.shape[axis]))] = part
    return coarser


def _piece(block: np.ndarray, axis: int, by: int) -> int:
    """Give how long a piece along an axis is that stays in a processor's cache."""
    row: int = by * block.nbytes // max(1, block.shape[axis])
    return by * max(1, _CACHED // max(1, row))


def _nearest(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    for axis, by in enumerate(factors):
        if by > 1:
            size = block.shape[axis]
            cells = -(-size // by)
            # The last cell may end before its middle.
            picked = np.minimum(np.arange(cells) * by + (by - 1) // 2, size - 1)
            block = _along(block, axis, picked, by)
    return np.ascontiguousarray(block)


def _along(block: np.ndarray, axis: int, picked: np.ndarray, by: int) -> np.ndarray:
    whole: tuple[Any, ...] = (slice(None),) * axis
    if picked[-1] == picked[0] + (len(picked) - 1) * by:
        whole = (*whole, slice(int(picked[0]), int(picked[-1]) + 1, by))
    else:
        whole = (*whole, picked)
    chosen: np.ndarray = block[whole]
    return chosen


def _max(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    views = _members(block, factors)
    best = next(views).copy()
    larger = np.fmax if block.dtype.kind == "f" else np.maximum
    for view in views:
        part = best[_corner(view.shape)]
        larger(part, view, out=part)
    return best


def _mean(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    kind, size = block.dtype.kind, block.dtype.itemsize
    if kind == "f":
        return _float_mean(block, factors)
    if kind == "b":
        return _integer_mean(block.view(np.uint8), factors, np.uint32).astype(bool)
    if size == 8:
        return _long_mean(block, factors)
    narrow = np.int32 if kind == "i" else np.uint32
    wide = np.int64 if kind == "i" else np.uint64
    # 2**16 pixels of 16 bits fit into 32.
    small = size <= 2 and np.prod(factors) < 2 ** (31 - 8 * size)
    return _integer_mean(block, factors, narrow if small else wide)


def _integer_mean(
    block: np.ndarray, factors: tuple[int, ...], wide: type[np.integer[Any]]
) -> np.ndarray:
    total = _exact_sum(block, factors, np.dtype(wide))
    count = _counts(block.shape, factors).astype(wide)
    # By one number numpy divides several times as fast as by an array of it.
    divisor = count.item() if count.size == 1 else count
    total += divisor // 2
    total //= divisor
    return total.astype(block.dtype)


def _exact_sum(
    block: np.ndarray, factors: tuple[int, ...], wide: np.dtype[Any]
) -> np.ndarray:
    """Add integers axis by axis, the ones that lie side by side in memory last."""
    total = block
    for axis, by in enumerate(factors):
        if by > 1:
            before = (slice(None),) * axis
            first, *others = (
                total[(*before, slice(start, None, by))]
                for start in range(min(by, total.shape[axis]))
            )
            total = _added(first, others, wide)
    return total if total.dtype == wide else total.astype(wide)


def _added(
    first: np.ndarray, others: Sequence[np.ndarray], wide: np.dtype[Any]
) -> np.ndarray:
    if others and others[0].shape == first.shape:
        total: np.ndarray = np.add(first, others[0], dtype=wide, casting="unsafe")
        others = others[1:]
    else:
        total = first.astype(wide)
    for other in others:
        part = total[_corner(other.shape)]
        np.add(part, other, out=part, casting="unsafe")
    return total


def _long_mean(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Average 64-bit integers, whose sum has no wider type: quotients and rests."""
    count = _counts(block.shape, factors).astype(block.dtype)
    quotient = np.zeros(coarser_shape(block.shape, factors), block.dtype)
    rest = np.zeros_like(quotient)
    for view in _members(block, factors):
        corner = _corner(view.shape)
        here = np.broadcast_to(count, quotient.shape)[corner]
        quotient[corner] += view // here
        rest[corner] += view % here
    mean: np.ndarray = quotient + (rest + count // 2) // count
    return mean


def _float_mean(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    wide = np.dtype(np.float32 if block.dtype.itemsize == 2 else np.float64)
    with np.errstate(all="ignore"):
        total = _sum(block, factors, wide)
        if np.isnan(total).any():
            total, count = _sum_of_numbers(block, factors, wide)
        else:
            count = _counts(block.shape, factors)
        mean: np.ndarray = (total / count).astype(block.dtype)
        return mean


def _sum_of_numbers(
    block: np.ndarray, factors: tuple[int, ...], wide: np.dtype[Any]
) -> tuple[np.ndarray, np.ndarray]:
    total = np.zeros(coarser_shape(block.shape, factors), wide)
    count = np.zeros(total.shape, np.uint32)
    for view in _members(block, factors):
        corner = _corner(view.shape)
        number = ~np.isnan(view)
        total[corner] += np.where(number, view, 0)
        count[corner] += number
    return total, count


def _mode(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    members = [
        _padded(view, coarser_shape(block.shape, factors))
        for view in _members(block, factors)
    ]
    best = members[0][0].copy()
    most = np.zeros(best.shape, np.uint16)
    for values, there in members:
        votes = np.zeros(best.shape, np.uint16)
        for others, present in members:
            votes += (values == others) & present
        won = there & (votes > most)
        best[won], most[won] = values[won], votes[won]
    return best


def _padded(
    view: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray | np.bool]:
    """Give a view in the full shape, and where it has a value."""
    if view.shape == shape:
        return view, np.True_
    full, there = np.zeros(shape, view.dtype), np.zeros(shape, bool)
    full[_corner(view.shape)], there[_corner(view.shape)] = view, True
    return full, there


def _sum(
    block: np.ndarray, factors: tuple[int, ...], wide: np.dtype[Any]
) -> np.ndarray:
    total = np.zeros(coarser_shape(block.shape, factors), wide)
    for view in _members(block, factors):
        part = total[_corner(view.shape)]
        np.add(part, view, out=part, casting="unsafe")
    return total


def _members(block: np.ndarray, factors: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Give the first pixel of every cell, the second, ...; in C order of offsets."""
    for offset in product(*map(range, factors)):
        steps = zip(offset, factors, strict=True)
        yield block[tuple(slice(start, None, by) for start, by in steps)]


def _corner(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return slices(whole_box(shape))


def _counts(shape: tuple[int, ...], factors: tuple[int, ...]) -> np.ndarray:
    """Give how many pixels each cell has, broadcastable to the coarser shape."""
    count = np.ones((1,) * len(shape), np.uint32)
    for axis, (size, by) in enumerate(zip(shape, factors, strict=True)):
        along = np.full(-(-size // by), by, np.uint32)
        along[-1] = size - by * (len(along) - 1)
        if along[-1] == by:
            along = along[:1]
        count = count * along.reshape(
            [-1 if a == axis else 1 for a in range(len(shape))]
        )
    return count


_METHODS = {"mean": _mean, "nearest": _nearest, "max": _max, "mode": _mode}
