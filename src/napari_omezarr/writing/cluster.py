"""Blocks as tasks of a ``dask.distributed`` client."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .engine import write_block
from .source import ArraySource, DaskSource

if TYPE_CHECKING:
    from napari_omezarr.pyramid import Bounds

    from .chunking import WritePass
    from .engine import BlockTask
    from .journal import Written
    from .options import Verify
    from .plan import ImagePlan
    from .source import PixelSource


class Cluster:
    """Blocks on the workers of a client, which need this package.

    What lies in the memory of this process is sent block by block; a lazy dask
    array is computed where its block is written; all else is read by the worker.
    """

    reads_here = False

    def __init__(self, client: Any) -> None:
        self.client = client

    def width(self, image: ImagePlan, write_pass: WritePass) -> int:
        """Give a block for each thread of the workers, and one that waits."""
        threads: int = sum(self.client.nthreads().values())
        return 2 * max(1, threads)

    def start(self, task: BlockTask) -> tuple[Any, PixelSource | None]:
        """Send to all workers what the blocks of a pass have in common."""
        kept = task.source if _stays_here(task.source) else None
        sent = task if kept is None else replace(task, source=_Absent(task.source))
        return self.client.scatter(sent, broadcast=True, hash=False), kept

    def submit(
        self, started: tuple[Any, PixelSource | None], bounds: Bounds, *, check: Verify
    ) -> Future[Written]:
        """Begin a block on some worker."""
        sent, kept = started
        values = None
        if isinstance(kept, DaskSource):
            values = self.client.compute(kept.lazy(bounds))
        elif kept is not None:
            values = self.client.scatter(kept.read(bounds), hash=False)
        submitted = self.client.submit(
            write_block, sent, bounds, check=check, values=values, pure=False
        )
        return _followed(submitted)

    def close(self) -> None:
        """Leave the client as it was."""


class _Absent:
    """A source of which only the shape travels."""

    def __init__(self, source: PixelSource) -> None:
        self.shape = source.shape
        self.dtype = source.dtype
        self.chunks = source.chunks
        self.places = source.places

    def read(self, bounds: Bounds) -> np.ndarray:
        """Never: each block comes with its values."""
        raise RuntimeError(f"the block {bounds} was sent without its values")


def active_client() -> Any | None:
    """Give the client that is the default of this process, if there is one.

    ``distributed`` is not imported for that: who has a client has imported it.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:  # its word for "no clients found"
        return None


def _stays_here(source: PixelSource) -> bool:
    if isinstance(source, DaskSource):
        return True
    array = source.array if isinstance(source, ArraySource) else None
    if array is not None:
        return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)
    inner = getattr(source, "sources", None) or (getattr(source, "source", None),)
    return any(part is not None and _stays_here(part) for part in inner)


def _followed(task: Any) -> Future[Written]:
    """Give a future of the standard library that ends as a task does."""
    future: Future[Written] = Future()
    future.set_running_or_notify_cancel()

    def finish(done: Any) -> None:
        if done.status == "finished":
            future.set_result(done.result())
        else:
            future.set_exception(done.exception() or RuntimeError(done.status))

    task.add_done_callback(finish)
    return future
