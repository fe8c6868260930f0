"""The one cache and the one fetcher that all layers and viewers share."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr._io_loop import io_loop
from napari_omezarr.errors import StoreConnectionError, TruncatedBodyError

from .chunk_cache import ChunkCache
from .chunk_queue import ChunkQueue, QueuedChunk
from .compose import assemble, hatch
from .settings import Settings

if TYPE_CHECKING:
    import asyncio
    from collections.abc import (
        Callable,
        Collection,
        Hashable,
        Iterable,
        Mapping,
        Sequence,
    )

    from napari_omezarr.pyramid import Bounds

    from .chunk_cache import Chunk, ChunkGrid, ChunkKey
    from .chunk_queue import ChunkRequest, Notice, Retrying
    from .compose import Assembly
    from .wanted import SliceView

# Reads wanted chunks into the cache, on the I/O loop, for all layers at once.


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far the chunks of some owners are; ``bytes`` is what arrived, decoded."""

    pending: int = 0
    arrived: int = 0
    bytes: int = 0
    errors: tuple[BaseException, ...] = ()


class Fetcher:
    """Reads each wanted chunk once, the most urgent first; for any thread.

    What is wanted is a set for each owner that replaces the one before, so that what
    nobody wants any more is dropped from the queue, and cancelled while it is read.

    Parameters
    ----------
    cache : ChunkCache
        Where chunks go.
    loop : asyncio.AbstractEventLoop, optional
        Where they are read; the one I/O loop unless given.
    retrying : Retrying, optional
        How often and when a chunk that failed is asked for again.
    """

    def __init__(
        self,
        cache: ChunkCache,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        retrying: Retrying | None = None,
    ) -> None:
        self._cache = cache
        self._loop = loop or io_loop()
        self._demand = ChunkQueue(cache, retrying)
        self._lock = Lock()
        self._tasks: dict[QueuedChunk, asyncio.Task[np.ndarray]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[], None]] = []
        self.requests = 0

    def want(
        self,
        wants: Mapping[Hashable, Iterable[ChunkRequest]],
        generation: int = 0,
    ) -> None:
        """Set what some owners want, at once; they say so again whenever they look.

        Parameters
        ----------
        wants : Mapping of owner to requests
            Replaces what these owners wanted before.
        generation : int, optional
            Of the look; one that is older than another that was heard is ignored.
        """
        with self._lock:
            for owner, requests in wants.items():
                self._demand.want(owner, requests, generation, time.monotonic())
        self._pump_soon()

    def forget(self, *owners: Hashable) -> None:
        """Drop what some owners want."""
        with self._lock:
            for owner in owners:
                self._demand.forget(owner)
        self._pump_soon()

    def forget_failures(self, tokens: Collection[str]) -> None:
        """Drop what is kept about chunks of pixels that nobody will look at again."""
        with self._lock:
            self._demand.forget_failures(tokens)

    def retry(self) -> None:
        """Ask again, now, for all that was given up."""
        with self._lock:
            self._demand.retry()
        self._pump_soon()

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called, in any thread, when there is something to take."""
        self._listeners.append(listener)

    def tell(self, owner: Hashable) -> None:
        """Have it noted that there is something new for an owner; for any thread."""
        with self._lock:
            self._demand.changed.add(owner)
        self._notify()

    def take_changed(self) -> frozenset[Hashable]:
        """Give, once, the owners of chunks that arrived or were given up."""
        with self._lock:
            changed = frozenset(self._demand.changed)
            self._demand.changed.clear()
        return changed

    def take_notices(self) -> list[Notice]:
        """Give, once, the places that began to fail."""
        with self._lock:
            notices = self._demand.notices[:]
            self._demand.notices.clear()
        return notices

    def has_failed(self, key: ChunkKey) -> bool:
        """Say whether a chunk was given up."""
        return key in self._demand.failures

    def progress(self, *owners: Hashable) -> LoadProgress:
        """Say how far the chunks of some owners are, together."""
        with self._lock:
            demand = self._demand
            wants = [demand.wants[o] for o in owners if o in demand.wants]
            failed = [key for want in wants for key in want.failed]
            errors = [demand.failures[k].error for k in failed if k in demand.failures]
        return LoadProgress(
            pending=sum(len(want.pending) for want in wants),
            arrived=sum(want.arrived for want in wants),
            bytes=sum(want.bytes for want in wants),
            errors=tuple(errors),
        )

    def _pump_soon(self) -> None:
        self._loop.call_soon_threadsafe(self._pump)

    def _pump(self) -> None:
        """Cancel what nobody wants and start what comes next; on the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._lock:
            unwanted = self._demand.unwanted()
        for entry in unwanted:
            self._tasks[entry].cancel()
        while True:
            now = time.monotonic()
            with self._lock:
                step = self._demand.next(now)
                heard = bool(self._demand.changed or self._demand.notices)
            if not isinstance(step, QueuedChunk):
                break
            self._start(step)
        if step is not None:
            self._timer = self._loop.call_later(step - now, self._pump)
        if heard:
            self._notify()

    def _start(self, entry: QueuedChunk) -> None:
        task = self._loop.create_task(_read(entry.chunk))
        self._tasks[entry] = task
        self.requests += 1
        task.add_done_callback(lambda done: self._finish(entry, done))

    def _finish(self, entry: QueuedChunk, task: asyncio.Task[np.ndarray]) -> None:
        del self._tasks[entry]
        error = None if task.cancelled() else task.exception()
        if not task.cancelled() and error is None:
            self._cache.put(entry.chunk.key, task.result())
        with self._lock:
            if not task.cancelled() and error is None:
                self._demand.arrived(entry, time.monotonic())
            elif not entry.owners:
                self._demand.cancelled(entry)
            else:
                error = error or StoreConnectionError("The read was interrupted.")
                self._demand.failed(entry, error, time.monotonic())
        self._pump()

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()


async def _read(chunk: Chunk) -> np.ndarray:
    """Read a chunk into memory of its own."""
    array = np.asarray(await chunk.pixels.read(chunk.bounds))
    if array.shape != chunk.shape:
        msg = f"A chunk has the shape {array.shape} instead of {chunk.shape}."
        raise TruncatedBodyError(msg)
    # A view would keep all of what it was cut from alive, uncounted.
    return array.copy() if array.base is not None else array


# The one cache and the one fetcher that all layers and viewers share.


class Engine:
    """A cache, the fetcher that fills it, and the settings that both go by.

    Parameters
    ----------
    settings : Settings, optional
        Kept, whatever the person sets; without them, hers are followed.
    retrying : Retrying, optional
        How often and when a chunk that failed is asked for again.

    Attributes
    ----------
    follows : bool
        The settings are the person's.
    """

    def __init__(
        self, settings: Settings | None = None, retrying: Retrying | None = None
    ) -> None:
        self.follows = settings is None
        self._settings = settings or Settings.of()
        self.cache = ChunkCache(self._settings.cache_bytes)
        self.fetcher = Fetcher(self.cache, retrying=retrying)
        self._users: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def settings(self) -> Settings:
        """What is kept to; the cache follows when it is set."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings
        self.cache.resize(settings.cache_bytes)

    def assemble(
        self, grids: Sequence[ChunkGrid], level: int, look: SliceView, bounds: Bounds
    ) -> Assembly:
        """Put a box of a level together as far as it is known; for any thread.

        Parameters
        ----------
        grids : sequence of ChunkGrid
            The levels, finest first.
        level : int
            The level that the box is of.
        look : Look
            Says how chunks that could not be had are marked: hatched.
        bounds : Bounds
            The box.
        """
        assembly = assemble(grids, level, bounds, self.cache)
        grid = grids[level]
        plane = look.displayed[-2], look.displayed[-1]
        for index in assembly.missing:
            if self.fetcher.has_failed(grid.key(index)):
                hatch(assembly.array, bounds, grid.bounds(index), plane, look.mark)
        return assembly

    def use(self, tokens: Collection[str]) -> None:
        """Note that a layer shows these pixels."""
        with self._lock:
            self._users.update(tokens)

    def disuse(self, tokens: Collection[str]) -> None:
        """Note that a layer is gone; drops the chunks that no other layer shows."""
        with self._lock:
            self._users.subtract(tokens)
            unused = {token for token in tokens if self._users[token] <= 0}
            for token in unused:
                del self._users[token]
        self.cache.discard(unused)
        self.fetcher.forget_failures(unused)


_engines: list[Engine] = []


def engine() -> Engine:
    """Give the engine of this process, made on the first call."""
    if not _engines:
        _engines.append(Engine())
    return _engines[-1]


def install(new: Engine) -> None:
    """Have another engine for all layers from now on: for tests and benchmarks."""
    _engines[:] = [new]
