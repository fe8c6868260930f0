"""What is stored as one object, a chunk or a shard, and the boxes that it cuts."""

from __future__ import annotations

import math
import zlib
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_omezarr.pyramid.selection import Bounds


def units(bounds: Bounds, unit: Sequence[int]) -> Iterator[Bounds]:
    """Cut a region at the borders of what is stored as one object."""
    yield from product(*_cuts(bounds, unit))


def is_whole(bounds: Bounds, unit: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a region is whole objects, those at the array's end included."""
    return all(
        start % by == 0 and (stop % by == 0 or stop == size)
        for (start, stop), by, size in zip(bounds, unit, shape, strict=True)
    )


def sampled(bounds: Bounds, unit: Sequence[int]) -> int:
    """Choose one of the objects of a region, always the same; gives its number."""
    count = math.prod(len(along) for along in _cuts(bounds, unit))
    return zlib.crc32(repr(bounds).encode()) % max(1, count)


def numbered(bounds: Bounds, unit: Sequence[int], number: int) -> Bounds:
    """Give the box of one of a region's objects by its number."""
    box = []
    for along in reversed(_cuts(bounds, unit)):
        number, index = divmod(number, len(along))
        box.append(along[index])
    return tuple(reversed(box))


def inside(box: Bounds, region: Bounds) -> tuple[slice, ...]:
    """Say where a box lies in a region's values."""
    return tuple(
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(box, region, strict=True)
    )


def _cuts(bounds: Bounds, unit: Sequence[int]) -> list[list[tuple[int, int]]]:
    cuts = []
    for (start, stop), by in zip(bounds, unit, strict=True):
        first = start // by * by
        cuts.append(
            [
                (max(edge, start), min(edge + by, stop))
                for edge in range(first, stop, by)
            ]
        )
    return cuts
