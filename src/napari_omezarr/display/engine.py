"""What all layers share: the settings, the cache, and the fetcher that fills it."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr._io_loop import io_loop
from napari_omezarr.errors import StoreConnectionError, TruncatedBodyError
from napari_omezarr.store import presumptions, tried_once

from .chunk_cache import ChunkCache
from .chunk_queue import ChunkQueue, QueuedChunk
from .compose import assemble, hatch

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
    from .chunk_queue import ChunkRequest, ChunkRetryPolicy, FailureNotice, Trouble
    from .compose import Assembly
    from .wanted import SliceView

MEGABYTE = 2**20
GIGABYTE = 2**30


# What a person can set.


@dataclass(frozen=True, slots=True)
class Settings:
    """How the display spends memory and requests; sizes in bytes."""

    enabled: bool
    """False leaves every layer an ordinary dask layer."""
    cache_bytes: int
    """How much the decoded chunks of all layers may take together."""
    volume_bytes: int
    """How large the volume of one layer may be in 3-D."""
    prefetch_bytes: int
    """How much may be fetched ahead of each view; 0 fetches nothing ahead."""

    @classmethod
    def of(cls, options: Any = None) -> Settings:
        """Read napari's plugin settings (napari.yaml), sizes in their units there.

        A missing one, or a cache of 0, means the default.
        """
        cache = getattr(options, "cache_gb", 0)
        return cls(
            enabled=bool(getattr(options, "progressive", True)),
            cache_bytes=int(cache * GIGABYTE) or default_cache_bytes(),
            volume_bytes=int(getattr(options, "volume_mb", 128) * MEGABYTE),
            prefetch_bytes=int(getattr(options, "prefetch_mb", 64) * MEGABYTE),
        )


def default_cache_bytes() -> int:
    """Give a quarter of this machine's memory, at most 4 GB."""
    # Windows has no sysconf: 8 GB are assumed there.
    memory = 8 * GIGABYTE
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(4 * GIGABYTE, memory // 4)


# Reads wanted chunks into the cache, on the I/O loop, for all layers at once.


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far the chunks of some owners are; ``bytes`` is what arrived, decoded.

    ``troubles`` are those of the chunks that could not be had so far, ``late`` how many
    of these are pending all the same, and ``errors`` why the others were given up.
    """

    pending: int = 0
    arrived: int = 0
    bytes: int = 0
    late: int = 0
    troubles: tuple[Trouble, ...] = ()
    errors: tuple[BaseException, ...] = ()


class Fetcher:
    """Reads each wanted chunk once, the most urgent first; for any thread.

    What an owner wants is a set that replaces the one before, so that what nobody
    wants any more is dropped from the queue, and cancelled while it is read.
    """

    def __init__(
        self,
        cache: ChunkCache,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        retry_policy: ChunkRetryPolicy | None = None,
    ) -> None:
        self._cache = cache
        self._loop = loop or io_loop()
        self._queue = ChunkQueue(cache, retry_policy)
        self._lock = Lock()
        self._tasks: dict[QueuedChunk, asyncio.Task[tuple[np.ndarray, bool]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[], None]] = []
        self._held_until = 0.0
        self.reads_begun = 0

    def request(
        self,
        requests: Mapping[Hashable, Iterable[ChunkRequest]],
        generation: int = 0,
    ) -> None:
        """Set what some owners want, in place of what they wanted before.

        An older generation than one that was heard of an owner already is ignored.
        """
        with self._lock:
            for owner, wanted in requests.items():
                self._queue.request(owner, wanted, generation, time.monotonic())
        self._pump_soon()

    def forget(self, *owners: Hashable) -> None:
        """Drop what some owners want."""
        with self._lock:
            for owner in owners:
                self._queue.forget(owner)
        self._pump_soon()

    def forget_failures(self, tokens: Collection[str]) -> None:
        """Drop what is kept about chunks of pixels that nobody will look at again."""
        with self._lock:
            self._queue.forget_failures(tokens)

    def retry(self) -> None:
        """Ask again, now, for all that was given up."""
        with self._lock:
            self._queue.retry()
        self._pump_soon()

    def hold(self, seconds: float) -> None:
        """Begin no read for so long, as the window is busy; 0 ends that."""
        self._held_until = time.monotonic() + seconds if seconds else 0.0
        self._pump_soon()

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called, in any thread, when there is something to take."""
        self._listeners.append(listener)

    def mark_changed(self, owner: Hashable) -> None:
        """Note that there is something new for an owner."""
        with self._lock:
            self._queue.changed.add(owner)
        self._notify()

    def take_changed(self) -> frozenset[Hashable]:
        """Give, once, the owners of chunks that arrived or were given up."""
        with self._lock:
            changed = frozenset(self._queue.changed)
            self._queue.changed.clear()
        return changed

    def take_notices(self) -> list[FailureNotice]:
        """Give, once, the hosts that began to fail."""
        with self._lock:
            notices = self._queue.notices[:]
            self._queue.notices.clear()
        return notices

    def is_late(self, key: ChunkKey) -> bool:
        """Say whether a chunk could not be had so far; it may be on its way again."""
        return self._queue.is_late(key)

    def is_lost(self, key: ChunkKey) -> bool:
        """Say whether a chunk was given up though its host is well."""
        return self._queue.is_lost(key)

    def progress(self, *owners: Hashable) -> LoadProgress:
        """Say how far the chunks of some owners are, together."""
        with self._lock:
            queue = self._queue
            found = [queue.owners[owner] for owner in owners if owner in queue.owners]
            troubles = queue.troubles(owners)
            late = sum(any(key in each.pending for each in found) for key in troubles)
            errors = queue.errors(owners, time.monotonic())
        return LoadProgress(
            pending=sum(len(each.pending) for each in found),
            arrived=sum(each.arrived for each in found),
            bytes=sum(each.bytes for each in found),
            late=late,
            troubles=tuple(troubles.values()),
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
            unwanted = self._queue.take_unwanted()
        for queued in unwanted:
            self._tasks[queued].cancel()
        held = self._held_until - time.monotonic()
        if held > 0:
            self._timer = self._loop.call_later(held, self._pump)
            return
        while True:
            now = time.monotonic()
            with self._lock:
                step = self._queue.next(now)
                queue = self._queue
                heard = bool(queue.changed or queue.notices or queue.quieter)
            if not isinstance(step, QueuedChunk):
                break
            self._start(step)
        if step is not None:
            self._timer = self._loop.call_later(step - now, self._pump)
        if heard:
            self._queue.quieter = False
            self._notify()

    def _start(self, queued: QueuedChunk) -> None:
        task = self._loop.create_task(_read(queued.chunk, again=queued.attempts > 0))
        self._tasks[queued] = task
        self.reads_begun += 1
        task.add_done_callback(lambda done: self._finish(queued, done))

    def _finish(
        self, queued: QueuedChunk, task: asyncio.Task[tuple[np.ndarray, bool]]
    ) -> None:
        del self._tasks[queued]
        error = None if task.cancelled() else task.exception()
        if not task.cancelled() and error is None:
            array, doubtful = task.result()
            self._cache.put(queued.chunk.key, array, doubtful=doubtful)
        with self._lock:
            if not task.cancelled() and error is None:
                self._queue.arrived(queued, time.monotonic())
            elif not queued.owners:
                self._queue.cancelled(queued)
            else:
                error = error or StoreConnectionError("The read was interrupted.")
                self._queue.failed(queued, error, time.monotonic())
        self._pump()

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()


async def _read(chunk: Chunk, *, again: bool) -> tuple[np.ndarray, bool]:
    """Read a chunk into memory of its own, and say whether it rests on a presumption.

    Then some of it may have been refused, and not empty (`store.error_mapping`).
    """
    # The store tried as often as its policy says; its tries and ours must not multiply.
    tries = tried_once() if again else nullcontext()
    with tries, presumptions.collected() as presumed:
        array = np.asarray(await chunk.pixels.read(chunk.bounds))
    if array.shape != chunk.shape:
        msg = f"A chunk has the shape {array.shape} instead of {chunk.shape}."
        raise TruncatedBodyError(msg)
    # A view would keep all of what it was cut from alive, uncounted.
    return array.copy() if array.base is not None else array, bool(presumed)


# The one cache and the one fetcher that all layers and viewers share.


class Engine:
    """A cache, the fetcher that fills it, and the settings that both go by.

    Settings that are given are kept; without them, the person's are followed.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        retry_policy: ChunkRetryPolicy | None = None,
    ) -> None:
        self.follows_preferences = settings is None
        self._settings = settings or Settings.of()
        self.cache = ChunkCache(self._settings.cache_bytes)
        self.fetcher = Fetcher(self.cache, retry_policy=retry_policy)
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
        self, grids: Sequence[ChunkGrid], level: int, view: SliceView, bounds: Bounds
    ) -> Assembly:
        """Put a box of a level together as far as it is known; for any thread.

        Chunks that could not be had are hatched as the view says.
        """
        assembly = assemble(grids, level, bounds, self.cache)
        grid = grids[level]
        plane = view.displayed[-2], view.displayed[-1]
        for index in assembly.missing:
            if self.fetcher.is_late(grid.key(index)):
                hatch(assembly.array, bounds, grid.bounds(index), plane, view.mark)
        return assembly

    def add_user(self, tokens: Collection[str]) -> None:
        """Note that a layer shows these pixels."""
        with self._lock:
            self._users.update(tokens)

    def remove_user(self, tokens: Collection[str]) -> None:
        """Note that a layer is gone; drops the chunks that no other layer shows."""
        with self._lock:
            self._users.subtract(tokens)
            unused = {token for token in tokens if self._users[token] <= 0}
            for token in unused:
                del self._users[token]
        self.cache.discard(unused)
        self.fetcher.forget_failures(unused)


_engines: list[Engine] = []


def shared_engine() -> Engine:
    """Give the engine of this process, made on the first call."""
    if not _engines:
        _engines.append(Engine())
    return _engines[-1]


def use_engine(new: Engine) -> None:
    """Have another engine for all layers from now on: for tests and benchmarks."""
    _engines[:] = [new]
