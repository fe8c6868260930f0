"""How many chunks are asked for at a time."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any

import zarr

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    Task = Callable[[], Coroutine[Any, Any, None]]

_KEY = "async.concurrency"
_lock = Lock()
_reads: list[int] = []
_outer: list[Any] = []


@contextmanager
def reading_at(concurrency: int) -> Iterator[None]:
    """Let zarr ask for ``concurrency`` chunks at a time inside the block.

    zarr has one setting for the whole process, which every read looks up anew.
    While several reads overlap, the highest holds; after the last one the
    setting is what it was before the first. (A ``with zarr.config.set`` in each
    thread would end with whichever value was restored last.)
    """
    with _lock:
        if not _reads:
            _outer.append(zarr.config.get(_KEY))
        _reads.append(concurrency)
        zarr.config.set({_KEY: max(*_reads, *_outer)})
    try:
        yield
    finally:
        with _lock:
            _reads.remove(concurrency)
            zarr.config.set({_KEY: max(*_reads, *_outer) if _reads else _outer.pop()})


async def at_once(
    work: Iterable[Callable[[], Coroutine[Any, Any, None]]], most: int
) -> None:
    """Await coroutines, at most some at a time, each begun as another ends.

    The first that fails ends the others, and its exception is raised.

    Parameters
    ----------
    work : iterable of callables
        Each gives a coroutine, when there is room for it: none is made that a
        cancellation would leave unawaited.
    most : int
        How many are under way at most.
    """
    left = iter(work)

    async def draw(first: Task) -> None:
        await first()
        for begin in left:
            await begin()

    drawing = [asyncio.ensure_future(draw(first)) for first in islice(left, most)]
    try:
        await asyncio.gather(*drawing)
    finally:
        for task in drawing:
            task.cancel()
