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


def downsample(
    block: np.ndarray,
    factors: Sequence[int],
    method: Method,
    start: Sequence[int] | None = None,
) -> np.ndarray:
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
        pixel that is next to the cell's centre, of two now the one and now the other,
        so that nothing is moved (decision 018). ``mode``: the value that is there most
        often, of several the one nearest to the centre, likewise.
    start : sequence of int, optional
        The place of the first cell in the level that is made: the same cells give
        the same pixels, in whatever blocks.

    Returns
    -------
    numpy.ndarray
        Of the same dtype and of shape `coarser_shape`.
    """
    if max(factors, default=1) == 1:
        return block
    start = start or (0,) * block.ndim
    axis = next((axis for axis, size in enumerate(block.shape) if size > 1), 0)
    step = _piece(block, axis, factors[axis])
    if step >= block.shape[axis]:
        if method in _TURNING:
            return _TURNING[method](block, tuple(factors), tuple(start))
        return _METHODS[method](block, tuple(factors))
    coarser = np.empty(coarser_shape(block.shape, factors), block.dtype)
    before = (slice(None),) * axis
    for offset in range(0, block.shape[axis], step):
        first = offset // factors[axis]
        piece = block[(*before, slice(offset, offset + step))]
        place = [n + first * (a == axis) for a, n in enumerate(start)]
        part = downsample(piece, factors, method, place)
        coarser[(*before, slice(first, first + part.shape[axis]))] = part
    return coarser


def _piece(block: np.ndarray, axis: int, by: int) -> int:
    """Give how long a piece along an axis is that stays in a processor's cache."""
    row: int = by * block.nbytes // max(1, block.shape[axis])
    return by * max(1, _CACHED // max(1, row))


# Pixels that are chosen, not computed: an even cell has none at its centre. Taking
# always the one before it would move everything by half a pixel, at each level more. So
# cells are looked at from the one end or the other, in a pattern that along no edge
# prefers either, and that goes on where the level is coarsened again.


def _turns(
    shape: Sequence[int], factors: Sequence[int], start: Sequence[int]
) -> dict[int, Any]:
    """Say which cells are looked at from the other end (1), along each axis.

    Along one axis that goes by where a cell lies along the others, two by two (by all
    of them where one axis alone shrinks): of the patterns that were tried on discs it
    moved them least.
    """
    ends = zip(shape, factors, start, strict=True)
    # An axis that is one pixel long in all the level has nothing to shrink.
    halved = [
        axis
        for axis, (size, by, first) in enumerate(ends)
        if by > 1 and size + first > 1
    ]
    places: dict[int, Any] = {
        axis: _along(np.arange(first, first - (-size // by)), axis, len(shape))
        for axis, (size, by, first) in enumerate(
            zip(shape, factors, start, strict=True)
        )
        if axis in halved or len(halved) == 1
    }
    total = sum(places.values())
    alone = len(halved) == 1
    return {
        axis: ((total if alone else total - places[axis]) >> 1) & 1 for axis in halved
    }


def _along(numbers: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    return numbers.reshape([-1 if a == axis else 1 for a in range(ndim)])


def _picked(
    block: np.ndarray,
    factors: Sequence[int],
    turns: dict[int, np.ndarray],
    offset: Sequence[int],
) -> tuple[np.ndarray, np.ndarray | np.bool]:
    """Give the pixel at an offset from the end that each cell is looked at from.

    Also, where the last cell has such a pixel; elsewhere it is its last one.
    """
    where: Any = np.zeros((), np.intp)
    there: Any = np.True_
    stride = 1
    for axis in reversed(range(block.ndim)):
        by, size = factors[axis], block.shape[axis]
        first = _along(np.arange(0, size, by), axis, block.ndim) + offset[axis]
        if (other := by - 1 - 2 * offset[axis]) and axis in turns:
            first = first + turns[axis] * other
        if size % by:
            there = there & (first < size)
            first = np.minimum(first, size - 1)
        where = where + first * stride
        stride *= size
    return np.ascontiguousarray(block).reshape(-1).take(where), there


def _nearest(
    block: np.ndarray, factors: tuple[int, ...], start: tuple[int, ...]
) -> np.ndarray:
    turns = _turns(block.shape, factors, start)
    middle = [(by - 1) // 2 for by in factors]
    return _picked(block, factors, turns, middle)[0]


def _mode(
    block: np.ndarray, factors: tuple[int, ...], start: tuple[int, ...]
) -> np.ndarray:
    turns = _turns(block.shape, factors, start)

    def from_centre(offset: tuple[int, ...]) -> int:
        pairs = zip(offset, factors, strict=True)
        return sum(abs(2 * place - (by - 1)) for place, by in pairs)

    offsets = sorted(product(*map(range, factors)), key=from_centre)
    members = [_picked(block, factors, turns, offset) for offset in offsets]
    best = members[0][0].copy()
    most = np.zeros(best.shape, np.uint16)
    for values, there in members:
        votes = np.zeros(best.shape, np.uint16)
        for others, present in members:
            votes += (values == others) & present
        won = there & (votes > most)
        best[won], most[won] = values[won], votes[won]
    return best


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


_METHODS = {"mean": _mean, "max": _max}
_TURNING = {"nearest": _nearest, "mode": _mode}
"""Those whose pixels depend on where a cell lies in its level."""
