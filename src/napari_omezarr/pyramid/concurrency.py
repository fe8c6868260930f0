"""How many chunks zarr asks for at a time, set for the length of a read."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import zarr

if TYPE_CHECKING:
    from collections.abc import Iterator

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
