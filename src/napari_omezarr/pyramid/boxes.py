"""Boxes of an array: from any key of numpy, their arithmetic, and the chunk grid."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from itertools import product
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Bounds = tuple[tuple[int, int], ...]
"""Start and stop along each axis, 0 <= start <= stop <= size."""


# What numpy and dask may ask of an array.


@dataclass(frozen=True, slots=True)
class Selection:
    """A request split into the box to read and what to take out of it.

    ``bounds`` is the smallest box that holds everything asked for; ``inner``
    indexes the box's array, axis by axis, so that the answer is what numpy gives
    for orthogonal indexing.
    """

    bounds: Bounds
    inner: tuple[Any, ...]

    def taken_from(self, box: np.ndarray) -> np.ndarray:
        """Give what was asked for, out of the array of ``bounds``."""
        if all(isinstance(part, slice) and part == slice(None) for part in self.inner):
            return box
        # From the last axis on, so that a dropped axis does not move the others.
        for axis in reversed(range(box.ndim)):
            box = box[(slice(None),) * axis + (self.inner[axis],)]
        return box


def bounded(key: Any, shape: Sequence[int]) -> Selection:
    """Bring any key into bounds that numpy takes for basic or orthogonal indexing.

    Raises
    ------
    IndexError
        An index lies outside, or there are more indices than axes.
    """
    parts = _expanded(key if isinstance(key, tuple) else (key,), len(shape))
    pairs = [_along(part, size) for part, size in zip(parts, shape, strict=True)]
    return Selection(tuple(b for b, _ in pairs), tuple(i for _, i in pairs))


def _expanded(key: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    where = [i for i, part in enumerate(key) if part is Ellipsis]
    if where:
        missing = ndim - (len(key) - 1)
        middle = (slice(None),) * missing
        key = key[: where[0]] + middle + key[where[0] + 1 :]
    if len(key) > ndim or len(where) > 1:
        msg = f"too many indices for an array of {ndim} dimensions"
        raise IndexError(msg)
    return key + (slice(None),) * (ndim - len(key))


def _along(part: Any, size: int) -> tuple[tuple[int, int], Any]:
    if isinstance(part, slice):
        return _along_slice(part, size)
    if np.ndim(part) == 0:
        index = int(part)
        if not -size <= index < size:
            msg = f"index {index} is out of bounds for an axis of size {size}"
            raise IndexError(msg)
        index %= size
        return (index, index + 1), 0
    return _along_list(np.asarray(part), size)


def _along_slice(part: slice, size: int) -> tuple[tuple[int, int], slice]:
    indices = range(*part.indices(size))
    if not indices:
        return (0, 0), slice(None)
    low, high = min(indices[0], indices[-1]), max(indices[0], indices[-1])
    if indices.step == 1:
        return (low, high + 1), slice(None)
    return (low, high + 1), slice(None, None, indices.step)


def _along_list(part: np.ndarray, size: int) -> tuple[tuple[int, int], np.ndarray]:
    indices = np.flatnonzero(part) if part.dtype == bool else part.astype(np.intp)
    if indices.size == 0:
        return (0, 0), indices
    if indices.min() < -size or indices.max() >= size:
        msg = f"an index is out of bounds for an axis of size {size}"
        raise IndexError(msg)
    indices = np.where(indices < 0, indices + size, indices)
    low = int(indices.min())
    return (low, int(indices.max()) + 1), indices - low


# Arithmetic of boxes.


def whole_box(shape: Sequence[int]) -> Bounds:
    """Give the box of a whole array."""
    return tuple((0, size) for size in shape)


def shape_of(box: Bounds) -> tuple[int, ...]:
    """Give the shape of a box's array."""
    return tuple(stop - start for start, stop in box)


def slices(box: Bounds) -> tuple[slice, ...]:
    """Give the index of a box in the array that it is a box of."""
    return tuple(slice(start, stop) for start, stop in box)


def hull(boxes: Iterable[Bounds]) -> Bounds:
    """Give the smallest box around at least one box."""
    return tuple(
        (min(start for start, _ in along), max(stop for _, stop in along))
        for along in zip(*boxes, strict=True)
    )


def overlap(box: Bounds, other: Bounds) -> Bounds:
    """Give what two boxes share; empty along the axes where they are apart."""
    starts = (max(a, b) for (a, _), (b, _) in zip(box, other, strict=True))
    stops = (min(a, b) for (_, a), (_, b) in zip(box, other, strict=True))
    return tuple((lo, max(lo, hi)) for lo, hi in zip(starts, stops, strict=True))


def coarser_box(box: Bounds, step: Sequence[int], shape: Sequence[int]) -> Bounds:
    """Give what a box, which begins at a cell, is in a level that is coarser by a step.

    It ends with the level, which can be shorter than its cells say.
    """
    coarser = []
    for (start, stop), by, size in zip(box, step, shape, strict=True):
        end = min(-(-stop // by), size)
        coarser.append((min(start // by, end), end))
    return tuple(coarser)


# Boxes on a chunk grid, which begins at 0.


def chunk_counts(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Give how many chunks an array has along each axis."""
    return tuple(-(-size // by) for size, by in zip(shape, chunks, strict=True))


def chunk_index(box: Bounds, chunks: Sequence[int]) -> tuple[int, ...]:
    """Give the index of the chunk that a box begins in."""
    return tuple(start // by for (start, _), by in zip(box, chunks, strict=True))


def chunk_box(
    index: Sequence[int], chunks: Sequence[int], shape: Sequence[int]
) -> Bounds:
    """Give the box of the chunk at an index; it ends with the array."""
    sizes = zip(index, chunks, shape, strict=True)
    return tuple((n * c, min((n + 1) * c, size)) for n, c, size in sizes)


def touched(box: Bounds, chunks: Sequence[int]) -> tuple[range, ...]:
    """Give the numbers of the chunks that a box touches, along each axis."""
    return tuple(
        range(start // chunk, -(-stop // chunk) if stop > start else start // chunk)
        for (start, stop), chunk in zip(box, chunks, strict=True)
    )


@dataclass(frozen=True, slots=True)
class ChunkPart:
    """The part of a box that lies in one chunk.

    ``source`` indexes the chunk's array and ``target`` the box's; ``chunk`` counts
    chunks along each axis.
    """

    chunk: tuple[int, ...]
    source: tuple[slice, ...]
    target: tuple[slice, ...]

    def within(self, box: np.ndarray) -> np.ndarray:
        """Give the part of a box's array that lies in the chunk, as a view."""
        key: Any = (*self.target, ...)  # a view also of a single number
        view: np.ndarray = box[key]
        return view


def chunk_parts(bounds: Bounds, chunks: Sequence[int]) -> Iterator[ChunkPart]:
    """Split a box at the borders of chunks, in C order."""
    axes = []
    for numbers, cuts, (first, _), size in zip(
        touched(bounds, chunks), _cuts(bounds, chunks), bounds, chunks, strict=True
    ):
        axes.append(
            [
                (n, slice(a - n * size, b - n * size), slice(a - first, b - first))
                for n, (a, b) in zip(numbers, cuts, strict=True)
            ]
        )
    for pieces in product(*axes):
        # A single number has one part, of no axes.
        yield ChunkPart(*(zip(*pieces, strict=True) if pieces else ((), (), ())))


# Chunks that lie together.


def lying_together(
    counts: Sequence[int], most: int, *, evenly: bool
) -> tuple[int, ...]:
    """Say how many chunks along each axis, ``most`` in all, lie together.

    They are a square of the last two axes, along which one looks at a plane, and where
    that is less a few planes. ``evenly`` leaves no rest along any axis.
    """
    by = [1] * len(counts)
    plane = [axis for axis in range(len(counts))[-2:] if counts[axis] > 1]
    if len(plane) == 2:
        by[plane[0]] = _share(counts[plane[0]], math.isqrt(most), evenly=evenly)
    for axis in [*reversed(plane), *reversed(range(len(counts)))]:
        left = most * by[axis] // math.prod(by)
        by[axis] = max(by[axis], _share(counts[axis], left, evenly=evenly))
        if axis not in plane and by[axis] > 1:
            break
    return tuple(by)


def _share(count: int, most: int, *, evenly: bool) -> int:
    """Cut a count into shares of at most so much, of much the same size."""
    share = -(-count // -(-count // max(1, min(count, most))))
    while evenly and count % share:
        share -= 1
    return share


def merged_chunks(
    shape: Sequence[int],
    chunks: Sequence[int],
    most: int,
    together: int,
) -> tuple[int, ...]:
    """Merge chunks into blocks until there are at most ``most`` of them.

    Along each axis a block is a multiple of the chunk, or the whole axis. First
    ``together`` chunks are merged that lie together; what is still too much is merged
    along the first axes, the ones that a viewer steps through.
    """
    blocks = [max(1, chunk) for chunk in chunks]
    counts = chunk_counts(shape, blocks)
    if math.prod(counts) > most:
        by = lying_together(counts, together, evenly=False)
        blocks = [*map(mul, by, blocks)]
    for axis in range(len(blocks)):
        counts = chunk_counts(shape, blocks)
        total = math.prod(counts)
        if total <= most:
            break
        others = total // max(1, counts[axis])
        wanted = max(1, most // max(1, others))
        blocks[axis] *= math.ceil(counts[axis] / wanted)
    return tuple(min(b, max(1, s)) for b, s in zip(blocks, shape, strict=True))


# A box cut at the borders of what is stored as one object, a chunk or a shard.


def split_box(bounds: Bounds, unit: Sequence[int]) -> Iterator[Bounds]:
    """Cut a region at the borders of what is stored as one object."""
    yield from product(*_cuts(bounds, unit))


def is_whole(bounds: Bounds, unit: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a region is whole objects, those at the array's end included."""
    return all(
        start % by == 0 and (stop % by == 0 or stop == size)
        for (start, stop), by, size in zip(bounds, unit, shape, strict=True)
    )


def sample_number(bounds: Bounds, unit: Sequence[int]) -> int:
    """Choose one of the objects of a region, always the same; gives its number."""
    count = math.prod(len(along) for along in _cuts(bounds, unit))
    return zlib.crc32(repr(bounds).encode()) % max(1, count)


def nth_box(bounds: Bounds, unit: Sequence[int], number: int) -> Bounds:
    """Give the box of one of a region's objects by its number."""
    box = []
    for along in reversed(_cuts(bounds, unit)):
        number, index = divmod(number, len(along))
        box.append(along[index])
    return tuple(reversed(box))


def slices_within(box: Bounds, region: Bounds) -> tuple[slice, ...]:
    """Say where a box lies in a region's values."""
    return tuple(
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(box, region, strict=True)
    )


def _cuts(box: Bounds, unit: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Cut a box along each axis; an empty box has no pieces."""
    return [
        [(max(n * by, start), min((n + 1) * by, stop)) for n in numbers]
        for numbers, (start, stop), by in zip(
            touched(box, unit), box, unit, strict=True
        )
    ]
