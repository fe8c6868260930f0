"""Reading parts into memory: many pieces at a time, no more than memory allows."""

from __future__ import annotations

import asyncio
from itertools import chain
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr._io_loop import io_loop
from napari_omezarr.store import run

from .plan import grouped, unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from napari_omezarr.pyramid.boxes import Bounds

    from .plan import Group, Part

IN_FLIGHT = 256 * 2**20
"""Bytes of decoded pieces that may be under way, beside the result itself."""


def start(
    parts: Sequence[Part], progress: Callable[[int, int], None] | None = None
) -> Future[list[np.ndarray]]:
    """Begin to read parts on the I/O loop; returns at once.

    Each stored chunk is asked for once, also when several parts lie in it.

    Parameters
    ----------
    parts : sequence of Part
        What to read.
    progress : callable, optional
        Called on the I/O loop after each piece with the bytes read and all bytes;
        must return at once.

    Returns
    -------
    concurrent.futures.Future
        Its result is one array for each part, of the part's shape and dtype. Its
        ``cancel`` ends the reads that are under way. Its exception is a StoreError
        if a chunk could not be had: nothing is ever filled in for it.

    Raises
    ------
    MemoryError
        There is no room for the result.
    """
    groups = grouped(parts)
    boxes = _empty(groups, len(parts))
    reading = _read(parts, groups, boxes, progress)
    return asyncio.run_coroutine_threadsafe(reading, io_loop())


def load(
    parts: Sequence[Part], progress: Callable[[int, int], None] | None = None
) -> list[np.ndarray]:
    """Read parts and wait for them; see ``start``.

    Raises
    ------
    StoreError
        A chunk could not be had.
    MemoryError
        There is no room for the result.
    """
    groups = grouped(parts)
    return run(_read(parts, groups, _empty(groups, len(parts)), progress))


def _empty(groups: Sequence[Group], count: int) -> list[np.ndarray]:
    boxes = [np.empty(0)] * count
    for group in groups:
        for number, bounds in group.members:
            sizes = [high - low for low, high in bounds]
            boxes[number] = np.empty(sizes, group.pixels.dtype)
    return boxes


async def _read(
    parts: Sequence[Part],
    groups: Sequence[Group],
    boxes: Sequence[np.ndarray],
    progress: Callable[[int, int], None] | None,
) -> list[np.ndarray]:
    """Read all, then take away the axes that windows do not show."""
    await _fill(groups, boxes, progress or _ignore)
    return [
        box.reshape([high - low for low, high in part.bounds])
        for part, box in zip(parts, boxes, strict=True)
    ]


async def _fill(
    groups: Sequence[Group],
    boxes: Sequence[np.ndarray],
    progress: Callable[[int, int], None],
) -> None:
    total = sum(group.nbytes for group in groups)
    done = 0
    pieces = chain.from_iterable(map(_pieces, groups))

    async def work() -> None:
        nonlocal done
        for group, piece in pieces:
            array = await group.pixels.read(piece)
            _paste(array, piece, group, boxes)
            done += array.nbytes
            progress(done, total)

    workers = [asyncio.ensure_future(work()) for _ in range(_at_a_time(groups))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def _pieces(group: Group) -> Iterator[tuple[Group, Bounds]]:
    return ((group, piece) for piece in group.pieces())


def _at_a_time(groups: Sequence[Group]) -> int:
    most = max((group.pixels.concurrency for group in groups), default=1)
    sizes = (prod(unit(g.pixels)) * g.pixels.dtype.itemsize for g in groups)
    return max(1, min(most, IN_FLIGHT // max(sizes, default=1)))


def _paste(
    array: np.ndarray, piece: Bounds, group: Group, boxes: Sequence[np.ndarray]
) -> None:
    for number, bounds in group.members:
        source, target = [], []
        for (low, high), (first, last) in zip(piece, bounds, strict=True):
            begin, end = max(low, first), max(low, first, min(high, last))
            source.append(slice(begin - low, end - low))
            target.append(slice(begin - first, end - first))
        boxes[number][tuple(target)] = array[tuple(source)]


def _ignore(_done: int, _total: int) -> None:
    """Tell nobody."""
