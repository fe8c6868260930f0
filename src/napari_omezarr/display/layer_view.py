"""What one layer shows: its levels as far as they are there, and what they miss."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import (
    AccessDeniedError,
    ServerBusyError,
    ServerError,
    StoreConnectionError,
    StoreError,
    StoreTimeoutError,
    WebPageError,
)
from napari_omezarr.plain_text import bytes_text, counted
from napari_omezarr.pyramid import mosaic_of

from .chunk_cache import ChunkGrid, host_of, notes_of
from .chunk_queue import Priority
from .wanted import (
    PrefetchPlan,
    ScrollDirection,
    finest_fitting,
    prefetch,
    requests,
    scaled,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from napari_omezarr.pyramid import Bounds, Pixels

    from .chunk_cache import ChunkIndex, ChunkKey
    from .chunk_queue import ChunkRequest, Trouble
    from .compose import Assembly
    from .engine import Engine
    from .wanted import SliceView

LARGEST_THUMBNAIL = 64 * 2**20
"""Bytes of chunks that are read for nothing but a thumbnail."""


# What is loading, in values and in words.


@dataclass(frozen=True, slots=True)
class Status:
    """How far a layer is."""

    pending: int = 0
    """Chunks that its picture still waits for."""
    failed: int = 0
    """Chunks of it that could not be had so far."""
    bytes: int = 0
    """Decoded bytes that arrived for it since it was last sharp."""
    host: str = ""
    """Where it comes from: a host, a bucket, or this computer."""
    arrived: int = 0
    """Chunks that arrived for it since it was last sharp."""
    level: int = 0
    """The level that is looked at."""
    late: int = 0
    """How many of the chunks that could not be had are asked for again."""
    troubles: tuple[Trouble, ...] = ()
    """Why chunks could not be had, and since when."""

    @property
    def sharp(self) -> bool:
        """Whether nothing is missing and nothing failed."""
        return not self.pending and not self.failed


def loading_text(statuses: Iterable[Status]) -> str:
    """Say what is loading for all layers together, for the status line.

    Like ``loading level 0: 7 of 12, 3.1 MB from idr``; empty when all is there.
    """
    busy = [status for status in statuses if status.pending > status.late]
    if not busy:
        return ""
    levels = ", ".join(str(level) for level in sorted({s.level for s in busy}))
    arrived = sum(status.arrived for status in busy)
    total = arrived + sum(status.pending - status.late for status in busy)
    size = bytes_text(sum(status.bytes for status in busy))
    hosts = ", ".join(sorted({status.host for status in busy}))
    return f"loading level {levels}: {arrived} of {total}, {size} from {hosts}"


def loading_lines(statuses: Iterable[Status]) -> list[str]:
    """Say for each place what is to come: ``32 chunks to come, 3.1 MB from idr``."""
    lines = []
    busy = [status for status in statuses if status.pending > status.late]
    for host in sorted({status.host for status in busy}):
        theirs = [status for status in busy if status.host == host]
        count = sum(status.pending - status.late for status in theirs)
        size = bytes_text(sum(status.bytes for status in theirs))
        lines.append(f"{counted(count, 'chunk')} to come, {size} from {host}")
    return lines


def trouble_text(statuses: Iterable[Status], now: datetime, moment: float) -> str:
    """Say which places do not give what is looked at, and since when.

    Like ``idr has not answered since 10:41``; empty when all is well. `now` is the
    clock's time at the `moment` of troubles' clock.
    """
    worst: dict[str, Trouble] = {}
    for trouble in chain.from_iterable(status.troubles for status in statuses):
        first = worst.setdefault(trouble.host, trouble)
        if trouble.since < first.since:
            worst[trouble.host] = trouble
    said = []
    for host, trouble in sorted(worst.items()):
        since = now - timedelta(seconds=max(0.0, moment - trouble.since))
        what = next(
            (words for kind, words in _TROUBLES if isinstance(trouble.error, kind)),
            "has sent chunks that cannot be read",
        )
        said.append(f"{host} {what} since {since:%H:%M}")
    return "; ".join(said)


_TROUBLES: tuple[tuple[type[StoreError], str], ...] = (
    (StoreConnectionError, "has not answered"),
    (StoreTimeoutError, "has not answered"),
    (ServerBusyError, "has asked to slow down"),
    (ServerError, "has failed"),
    (AccessDeniedError, "has refused what is missing"),
    (WebPageError, "has sent a web page instead of chunks"),
)


# A level that answers at once: lazily sliced, then put together from the cache.


class ProgressiveLevel:
    """What napari slices in place of a level's dask array; never blocks.

    Slicing is lazy; ``numpy.asarray`` shows what is known now and asks for the rest:
    it calls `show` with a box of the level.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        show: Callable[[Bounds], np.ndarray],
    ) -> None:
        self._show = show
        self._axes: tuple[range | int, ...] = tuple(range(size) for size in shape)
        self.dtype = dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape after what was sliced so far."""
        return tuple(len(axis) for axis in self._axes if isinstance(axis, range))

    @property
    def ndim(self) -> int:
        """The number of axes after what was sliced so far."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of pixels after what was sliced so far."""
        return int(np.prod(self.shape, dtype=int))

    def __getitem__(self, key: Any) -> ProgressiveLevel:
        """Slice by integers and slices, lazily."""
        parts = list(key) if isinstance(key, tuple) else [key]
        parts += [slice(None)] * (self.ndim - len(parts))
        rest = iter(parts)
        sliced = ProgressiveLevel((), self.dtype, self._show)
        sliced._axes = tuple(
            axis[next(rest)] if isinstance(axis, range) else axis for axis in self._axes
        )
        return sliced

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> np.ndarray:
        """Give what is known now of the slice, in memory of its own."""
        del copy
        bounds = tuple(
            (min(axis), max(axis) + 1)
            if isinstance(axis, range) and len(axis)
            else ((0, 0) if isinstance(axis, range) else (axis, axis + 1))
            for axis in self._axes
        )
        inner = tuple(
            slice(None, None, axis.step) if isinstance(axis, range) else 0
            for axis in self._axes
        )
        array = np.asarray(self._show(bounds)[inner])
        return array if dtype is None else array.astype(dtype, copy=False)


# A volume in 3-D that gets finer, level by level, up to what fits.


class BackgroundVolume:
    """At most one assembly, made in another thread under a name.

    Copying a hundred megabytes takes the GUI thread tenths of a second, and much
    longer while chunks arrive, because both want Python's lock. `on_ready` is called,
    in any thread, when an assembly is ready or has failed.
    """

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        self._name: Hashable = None
        self._future: Future[Assembly] | None = None

    def prepare(self, name: Hashable, make: Callable[[], Assembly]) -> bool:
        """Say whether one is ready, or could not be made; else have it made.

        Another one that is ready is dropped for it, one that is still being made is
        waited for.
        """
        busy = self._future is not None and not self._future.done()
        if busy or (self._future is not None and self._name == name):
            return not busy
        self._name = name
        self._future = _threads.submit(make)
        self._future.add_done_callback(lambda _: self._on_ready())
        return False

    def take(self, name: Hashable) -> Assembly | None:
        """Give, once, the one of this name; None if there is none."""
        future = self._future
        if future is None or self._name != name or not future.done():
            return None
        self._future = None
        return None if future.exception() else future.result()

    def drop(self) -> None:
        """Forget what is ready or being made."""
        self._future = None


_threads = ThreadPoolExecutor(1, "napari-omezarr volume")


class VolumeRefiner:
    """Reads the volumes of finer levels, coarse to fine, for the chunks' `owner`.

    What is shown stays at one level until a finer one is complete: filling a volume
    chunk by chunk would cost an upload of all of it each time.
    """

    def __init__(
        self, owner: Hashable, grids: Sequence[ChunkGrid], engine: Engine
    ) -> None:
        self.owner = owner
        self._grids = grids
        self._engine = engine
        self._generation = 0
        self._next: SliceView | None = None
        self._current: SliceView | None = None
        self._missing: dict[int, set[ChunkKey]] = {}
        self._volume = BackgroundVolume(partial(engine.fetcher.mark_changed, owner))

    def set_view(self, view: SliceView | None, generation: int) -> None:
        """Set what to refine next; None ends refining at once."""
        self._next = view
        self._generation = generation
        if view is None:
            self._end()
            self._volume.drop()

    def begin(self) -> None:
        """Begin with the view that was set, when its coarse volume is on screen."""
        if self._next is not None and self._next != self._current:
            self._end()
            self._start(self._next)

    def complete_level(self) -> int | None:
        """Give the finest level that is complete, None for none.

        What lacks a bad chunk is as complete as it gets. While a place is down, the
        volume on screen stays: stripes all over a finer one would show less.
        """
        cache, fetcher = self._engine.cache, self._engine.fetcher
        complete = None
        for level, keys in self._missing.items():
            keys -= {k for k in keys if k in cache or fetcher.is_lost(k)}
            if keys:
                break
            complete = level
        return complete

    @property
    def is_done(self) -> bool:
        """Whether no finer volume is to come."""
        return self._next in (None, self._current) and self.complete_level() is None

    def ready_level(self) -> int | None:
        """Give the complete level once its volume is put together, else None.

        It is put together in another thread, and the owner has news when it is.
        """
        view, level = self._current, self.complete_level()
        if view is None or level is None:
            return None
        bounds = self._whole(level, view)
        make = partial(self._engine.assemble, self._grids, level, view, bounds)
        return level if self._volume.prepare((level, bounds), make) else None

    def take(self, level: int, bounds: Bounds) -> Assembly | None:
        """Give, once, the volume that was put together if it is this box of a level."""
        return self._volume.take((level, bounds))

    def _start(self, view: SliceView) -> None:
        engine, grids = self._engine, self._grids
        target = finest_fitting(grids, view.displayed, engine.settings.volume_bytes)
        asked: list[ChunkRequest] = []
        self._current = view
        for step, level in enumerate(range(view.level - 1, target - 1, -1)):
            grid = grids[level]
            indices = list(grid.within(self._whole(level, view)))
            self._missing[level] = {grid.key(index) for index in indices}
            middle = [size / 2 for size in grid.shape]
            asked += requests(grid, indices, middle, Priority.SHARP, step)
        engine.cache.pin(self.owner, frozenset(r.chunk.key for r in asked))
        asked = [r for r in asked if r.chunk.key not in engine.cache]
        engine.fetcher.request({self.owner: asked}, self._generation)

    def _end(self) -> None:
        if self._current is not None:
            self._current = None
            self._missing.clear()
            self._engine.cache.pin(self.owner, ())
            self._engine.fetcher.request({self.owner: ()}, self._generation)

    def _whole(self, level: int, view: SliceView) -> Bounds:
        """Give the box of all that a view shows, at another level."""
        finest, shape = self._grids[0].shape, self._grids[level].shape
        box = [(0, size) for size in shape]
        for axis, position in enumerate(view.point):
            if position is not None:
                index = round(position * shape[axis] / finest[axis])
                index = min(max(index, 0), shape[axis] - 1)
                box[axis] = index, index + 1
        return tuple(box)


# What one layer shows.

_numbers = count()


class LayerView:
    """The display of one layer; knows neither napari nor Qt.

    ``show`` is called in the GUI thread, the levels that it gives may be turned into
    arrays in any thread.
    """

    def __init__(self, levels: Sequence[Pixels], engine: Engine) -> None:
        self.levels = tuple(levels)
        self.grids = tuple(ChunkGrid(pixels) for pixels in levels)
        self.host = host_of(levels[0])
        self.tokens = frozenset(grid.token for grid in self.grids)
        self._engine = engine
        # The owners under whose names chunks are wanted.
        number = next(_numbers)
        self._picture = (number, "picture")
        self._thumbnail = (number, "thumbnail")
        self.refiner = VolumeRefiner((number, "volume"), self.grids, engine)
        self._prefetch = (number, "prefetch")
        self._generation = 0
        self._direction = ScrollDirection()
        self._level = 0
        # The level, the axes and the direction that were read ahead last.
        self._heading: tuple[Any, ...] = ()
        # What is on screen: the view, its box, and the chunks that it lacks.
        self._shown: tuple[SliceView, Bounds, Collection[ChunkIndex]] | None = None
        # The box that was put together last, for who wants the same.
        self._assembled: tuple[Any, Assembly | None] = (None, None)
        # What was found to read ahead, and for which view.
        self._ahead: tuple[Any, Sequence[ChunkRequest]] = (None, ())

    @property
    def owners(self) -> tuple[Hashable, ...]:
        """All under whose names this view wants chunks."""
        return self._picture, self._thumbnail, self.refiner.owner, self._prefetch

    def show(self, view: SliceView) -> tuple[ProgressiveLevel, ProgressiveLevel]:
        """Give the levels to slice for the picture and for the thumbnail."""
        self._generation += 1
        self._level = view.level
        self._direction.update(view.point)
        self.refiner.set_view(view if view.refines else None, self._generation)
        pairs = (
            (view.level, self._show_picture),
            (view.thumbnail, self._show_thumbnail),
        )
        picture, thumbnail = (
            ProgressiveLevel(
                self.grids[level].shape,
                self.grids[level].dtype,
                partial(show, view, self._generation),
            )
            for level, show in pairs
        )
        return picture, thumbnail

    def release(self) -> None:
        """Want nothing any more, until something is to be shown again."""
        self._generation += 1
        self.refiner.set_view(None, self._generation)
        self._engine.fetcher.request(dict.fromkeys(self.owners, ()), self._generation)
        for owner in self.owners:
            self._engine.cache.pin(owner, ())

    def has_news(self, changed: Collection[Hashable]) -> bool:
        """Say whether the change of any of these owners is worth a refresh."""
        return self._picture in changed or self._thumbnail in changed

    def affordable(self, level: int, displayed: Collection[int]) -> int:
        """Give the finest level from this one on whose plane fits the memory."""
        budget = self._engine.settings.volume_bytes
        coarser = self.grids[level:]
        return level + finest_fitting(coarser, displayed, budget, longest=None)

    def lacks(self, point: Sequence[float]) -> bool:
        """Say whether a pixel on screen is not loaded: coarser ones, or stripes, show.

        `point` is in pixels of the finest level, with a value for each axis. In 3-D a
        ray goes through all of the volume: it must be there as a whole.
        """
        if self._shown is None:
            return False
        view, bounds, missing = self._shown
        grid = self.grids[view.level]
        inside: list[tuple[int, int]] = []
        for axis in view.displayed:
            scale = grid.shape[axis] / self.grids[0].shape[axis]
            # As napari finds the pixel under the cursor, see ``_get_value``.
            pixel = round(point[axis] * scale)
            if not bounds[axis][0] <= pixel < bounds[axis][1]:
                return bool(missing) and len(view.displayed) == 3
            inside.append((axis, pixel // grid.chunks[axis]))
        if len(view.displayed) == 3:
            return bool(missing)
        return any(all(i[axis] == n for axis, n in inside) for i in missing)

    def named(self, point: Sequence[float]) -> str:
        """Say which well and field of a plate lie at a point; nothing of other images.

        `point` is as for `lacks`.
        """
        mosaic = mosaic_of(self.levels[0])
        return "" if mosaic is None else mosaic.named(point) or "no well"

    def status(self) -> Status:
        """Say how far this view is."""
        owners = (self._picture, self._thumbnail, self.refiner.owner)
        progress = self._engine.fetcher.progress(*owners)
        return Status(
            pending=progress.pending,
            late=progress.late,
            troubles=progress.troubles,
            failed=len(progress.troubles),
            bytes=progress.bytes,
            host=self.host,
            arrived=progress.arrived,
            level=self._level,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened at the store so far."""
        return notes_of(self.levels[0])

    @property
    def is_complete(self) -> bool:
        """Whether nothing is waited for, and the picture lacks nothing."""
        picture = self._engine.fetcher.progress(self._picture, self.refiner.owner)
        return not picture.troubles and not self.status().pending

    @property
    def picture_is_whole(self) -> bool:
        """Whether no chunk of what is on screen is waited for."""
        return not self._engine.fetcher.progress(self._picture).pending

    @property
    def errors(self) -> tuple[BaseException, ...]:
        """Why chunks could not be had; empty while they are about to be tried again."""
        return self._engine.fetcher.progress(self._picture, self.refiner.owner).errors

    def _show_picture(
        self, view: SliceView, generation: int, bounds: Bounds
    ) -> np.ndarray:
        # Pinned first: what is found must not be dropped before it is pinned.
        self._pin(self._picture, view.level, bounds, generation)
        assembly = self.refiner.take(view.level, bounds)
        assembly = assembly or self._engine.assemble(
            self.grids, view.level, view, bounds
        )
        if generation == self._generation:
            self._shown = view, bounds, assembly.missing
        self._assembled = (view, view.level, bounds), assembly
        cache, fetcher = self._engine.cache, self._engine.fetcher
        wanted: dict[Hashable, Sequence[ChunkRequest]] = {
            self._picture: visible(
                self.grids, view.level, assembly.missing, view.centre, cache
            )
        }
        direction = self._direction
        heading = view.level, view.displayed, direction.axis, direction.step
        if not assembly.missing:
            wanted[self._prefetch] = self._read_ahead(view, bounds)
            self._heading = heading
        elif heading != self._heading:
            # It turned round: what lies ahead is found out when this view is sharp.
            wanted[self._prefetch] = ()
        fetcher.request(wanted, generation)
        return assembly.array

    def _show_thumbnail(
        self, view: SliceView, generation: int, bounds: Bounds
    ) -> np.ndarray:
        grid = self.grids[view.thumbnail]
        affordable = grid.nbytes_within(bounds) <= LARGEST_THUMBNAIL
        if affordable:
            self._pin(self._thumbnail, view.thumbnail, bounds, generation)
        # Of the coarsest level the picture was put together a moment ago.
        seen, assembly = self._assembled
        self._assembled = None, None
        if assembly is None or seen != (view, view.thumbnail, bounds):
            assembly = self._engine.assemble(self.grids, view.thumbnail, view, bounds)
        wanted: list[ChunkRequest] = []
        if affordable:
            centre = scaled(self.grids, view.level, view.thumbnail, view.centre)
            wanted = requests(grid, assembly.missing, centre, Priority.THUMBNAIL)
        self._engine.fetcher.request({self._thumbnail: wanted}, generation)
        return assembly.array

    def _read_ahead(self, view: SliceView, bounds: Bounds) -> Sequence[ChunkRequest]:
        """Give what to read ahead: found out once for a view, not at each refresh."""
        budget = self._engine.settings.prefetch_bytes
        if not budget or len(view.displayed) != 2:
            return ()
        cache = self._engine.cache
        seen = view, bounds, budget
        if self._ahead[0] != seen:
            plan = PrefetchPlan(
                view.level, bounds, view.centre, view.displayed, self._direction
            )
            self._ahead = seen, prefetch(self.grids, plan, budget, cache)
        return [r for r in self._ahead[1] if r.chunk.key not in cache]

    def _pin(
        self, owner: Hashable, level: int, bounds: Bounds, generation: int
    ) -> None:
        if generation != self._generation:
            return
        grid = self.grids[level]
        keys = frozenset(grid.key(index) for index in grid.within(bounds))
        self._engine.cache.pin(owner, keys)
