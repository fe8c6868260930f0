"""What one layer shows: looks at its levels, asks for what they miss."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from .chunk_cache import ChunkGrid, notes_of, place_of
from .chunk_queue import Priority
from .settings import Status
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
    from collections.abc import Callable, Collection, Hashable, Sequence
    from concurrent.futures import Future

    from napari_omezarr.pyramid import Bounds, Pixels

    from .chunk_cache import ChunkKey
    from .chunk_queue import ChunkRequest
    from .compose import Assembly
    from .engine import Engine
    from .wanted import SliceView

# A volume that is put together in another thread before it is asked for.


class BackgroundVolume:
    """At most one assembly, made in the background under a name.

    Copying a hundred megabytes takes the GUI thread tenths of a second, and much
    longer while chunks arrive, because both want Python's lock.

    Parameters
    ----------
    on_ready : callable
        Called, in any thread, when an assembly is ready or has failed.
    """

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        self._name: Hashable = None
        self._future: Future[Assembly] | None = None

    def has(self, name: Hashable, make: Callable[[], Assembly]) -> bool:
        """Say whether one is ready, or could not be made; else have it made.

        Parameters
        ----------
        name : Hashable
            What is wanted now. Another one that is ready is dropped for it, one that
            is still being made is waited for.
        make : callable
            Gives it; called in another thread.
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

# A volume in 3-D that gets finer, level by level, up to what fits.


class VolumeRefiner:
    """Reads the volumes of finer levels, coarse to fine.

    What is shown stays at one level until a finer one is complete: filling a volume
    chunk by chunk would cost an upload of all of it each time.

    Parameters
    ----------
    owner : Hashable
        Under whose name chunks are wanted.
    grids : sequence of ChunkGrid
        The levels, finest first.
    engine : Engine
        The cache and the fetcher.
    """

    def __init__(
        self, owner: Hashable, grids: Sequence[ChunkGrid], engine: Engine
    ) -> None:
        self.owner = owner
        self._grids = grids
        self._engine = engine
        self._generation = 0
        self._wished: SliceView | None = None
        self._begun: SliceView | None = None
        self._missing: dict[int, set[ChunkKey]] = {}
        self._volume = BackgroundVolume(partial(engine.fetcher.tell, owner))

    def wish(self, look: SliceView | None, generation: int) -> None:
        """Set what to climb from; None ends climbing at once."""
        self._wished = look
        self._generation = generation
        if look is None:
            self._end()
            self._volume.drop()

    def begin(self) -> None:
        """Begin what is wished for, when the coarse volume is on screen already."""
        if self._wished is not None and self._wished != self._begun:
            self._end()
            self._start(self._wished)

    def has_news(self, changed: Collection[Hashable]) -> bool:
        """Say whether any of these owners may have completed a finer volume."""
        return self.owner in changed

    def reached(self) -> int | None:
        """Give the finest level that is complete, None for none."""
        cache, fetcher = self._engine.cache, self._engine.fetcher
        complete = None
        for level, keys in self._missing.items():
            keys -= {k for k in keys if k in cache or fetcher.has_failed(k)}
            if keys:
                break
            complete = level
        return complete

    @property
    def is_over(self) -> bool:
        """Whether no finer volume is to come."""
        return self._wished in (None, self._begun) and self.reached() is None

    def ready(self) -> int | None:
        """Give the level that is reached once its volume is put together, else None.

        It is put together in another thread, and the owner has news when it is.
        """
        look, level = self._begun, self.reached()
        if look is None or level is None:
            return None
        bounds = self._whole(level, look)
        make = partial(self._engine.assemble, self._grids, level, look, bounds)
        return level if self._volume.has((level, bounds), make) else None

    def take(self, level: int, bounds: Bounds) -> Assembly | None:
        """Give, once, what was prepared of a level if it is of this box."""
        return self._volume.take((level, bounds))

    def _start(self, look: SliceView) -> None:
        engine, grids = self._engine, self._grids
        target = finest_fitting(grids, look.displayed, engine.settings.volume_bytes)
        asked: list[ChunkRequest] = []
        self._begun = look
        for step, level in enumerate(range(look.level - 1, target - 1, -1)):
            grid = grids[level]
            indices = list(grid.within(self._whole(level, look)))
            self._missing[level] = {grid.key(index) for index in indices}
            middle = [size / 2 for size in grid.shape]
            asked += requests(grid, indices, middle, Priority.SHARP, step)
        engine.cache.keep(self.owner, frozenset(r.chunk.key for r in asked))
        asked = [r for r in asked if r.chunk.key not in engine.cache]
        engine.fetcher.want({self.owner: asked}, self._generation)

    def _end(self) -> None:
        if self._begun is not None:
            self._begun = None
            self._missing.clear()
            self._engine.cache.keep(self.owner, ())
            self._engine.fetcher.want({self.owner: ()}, self._generation)

    def _whole(self, level: int, look: SliceView) -> Bounds:
        """Give the box of all that a look shows, at another level."""
        finest, shape = self._grids[0].shape, self._grids[level].shape
        box = [(0, size) for size in shape]
        for axis, position in enumerate(look.point):
            if position is not None:
                index = round(position * shape[axis] / finest[axis])
                index = min(max(index, 0), shape[axis] - 1)
                box[axis] = index, index + 1
        return tuple(box)


# A level that answers at once: lazily sliced, then put together from the cache.


class ProgressiveLevel:
    """What napari slices in place of a level's dask array; never blocks.

    Slicing is lazy; ``numpy.asarray`` shows what is known now and asks for the rest.

    Parameters
    ----------
    shape : tuple of int
        The level's shape.
    dtype : numpy.dtype
        The level's data type.
    show : callable
        Gives the array of a box (``Bounds``) of the level, as far as it is known.
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


# What one layer shows: looks at its levels, asks for what they miss.

_numbers = count()

LARGEST_THUMBNAIL = 64 * 2**20
"""Bytes of chunks that are read for nothing but a thumbnail."""


class LayerView:
    """The display of one layer; knows neither napari nor Qt.

    ``look`` is called in the GUI thread, the levels that it gives may be turned into
    arrays in any thread.

    Parameters
    ----------
    levels : sequence of Pixels
        Finest first, as the layer has them.
    engine : Engine
        The cache and the fetcher.

    Attributes
    ----------
    climb : Climb
        Finer volumes, in 3-D.
    """

    def __init__(self, levels: Sequence[Pixels], engine: Engine) -> None:
        self.levels = tuple(levels)
        self.grids = tuple(ChunkGrid(pixels) for pixels in levels)
        self.place = place_of(levels[0])
        self.tokens = frozenset(grid.token for grid in self.grids)
        self._engine = engine
        number = next(_numbers)
        self._picture = (number, "picture")
        self._thumbnail = (number, "thumbnail")
        self.climb = VolumeRefiner((number, "climb"), self.grids, engine)
        self._ahead = (number, "ahead")
        self._generation = 0
        self._travel = ScrollDirection()
        self._level = 0
        self._heading: tuple[Any, ...] = ()
        self._foreseen: tuple[Any, Sequence[ChunkRequest]] = (None, ())

    @property
    def owners(self) -> tuple[Hashable, ...]:
        """All under whose names this view wants chunks."""
        return self._picture, self._thumbnail, self.climb.owner, self._ahead

    def look(self, look: SliceView) -> tuple[ProgressiveLevel, ProgressiveLevel]:
        """Give the levels to slice for the picture and for the thumbnail."""
        self._generation += 1
        self._level = look.level
        self._travel.to(look.point)
        self.climb.wish(look if look.climbs else None, self._generation)
        pairs = (
            (look.level, self._show_picture),
            (look.thumbnail, self._show_thumbnail),
        )
        picture, thumbnail = (
            ProgressiveLevel(
                self.grids[level].shape,
                self.grids[level].dtype,
                partial(show, look, self._generation),
            )
            for level, show in pairs
        )
        return picture, thumbnail

    def release(self) -> None:
        """Want nothing any more, until the next look."""
        self._generation += 1
        self.climb.wish(None, self._generation)
        self._engine.fetcher.want(dict.fromkeys(self.owners, ()), self._generation)
        for owner in self.owners:
            self._engine.cache.keep(owner, ())

    def concerns(self, changed: Collection[Hashable]) -> bool:
        """Say whether any of these owners makes another look worth while."""
        return self._picture in changed or self._thumbnail in changed

    def affordable(self, level: int, displayed: Collection[int]) -> int:
        """Give the finest level from this one on whose plane fits the memory."""
        budget = self._engine.settings.volume_bytes
        coarser = self.grids[level:]
        return level + finest_fitting(coarser, displayed, budget, longest=None)

    def status(self) -> Status:
        """Say how far this view is."""
        owners = (self._picture, self._thumbnail, self.climb.owner)
        progress = self._engine.fetcher.progress(*owners)
        return Status(
            pending=progress.pending,
            failed=len(progress.errors),
            bytes=progress.bytes,
            place=self.place,
            arrived=progress.arrived,
            level=self._level,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened at the place so far."""
        return notes_of(self.levels[0])

    @property
    def errors(self) -> tuple[BaseException, ...]:
        """Why chunks could not be had."""
        return self._engine.fetcher.progress(self._picture, self.climb.owner).errors

    def _show_picture(
        self, look: SliceView, generation: int, bounds: Bounds
    ) -> np.ndarray:
        # Kept first: what is found must not be dropped before it is kept.
        self._keep(self._picture, look.level, bounds, generation)
        assembly = self.climb.take(look.level, bounds)
        assembly = assembly or self._engine.assemble(
            self.grids, look.level, look, bounds
        )
        cache, fetcher = self._engine.cache, self._engine.fetcher
        wants: dict[Hashable, Sequence[ChunkRequest]] = {
            self._picture: visible(
                self.grids, look.level, assembly.missing, look.centre, cache
            )
        }
        heading = look.level, look.displayed, self._travel.axis, self._travel.stride
        if not assembly.missing:
            wants[self._ahead] = self._next(look, bounds)
            self._heading = heading
        elif heading != self._heading:
            # It turned round: what lies ahead is found out when this look is sharp.
            wants[self._ahead] = ()
        fetcher.want(wants, generation)
        return assembly.array

    def _show_thumbnail(
        self, look: SliceView, generation: int, bounds: Bounds
    ) -> np.ndarray:
        grid = self.grids[look.thumbnail]
        affordable = grid.nbytes_within(bounds) <= LARGEST_THUMBNAIL
        if affordable:
            self._keep(self._thumbnail, look.thumbnail, bounds, generation)
        assembly = self._engine.assemble(self.grids, look.thumbnail, look, bounds)
        wanted: list[ChunkRequest] = []
        if affordable:
            centre = scaled(self.grids, look.level, look.thumbnail, look.centre)
            wanted = requests(grid, assembly.missing, centre, Priority.THUMBNAIL)
        self._engine.fetcher.want({self._thumbnail: wanted}, generation)
        return assembly.array

    def _next(self, look: SliceView, bounds: Bounds) -> Sequence[ChunkRequest]:
        """Give what to read ahead: found out once for a look, not at each refresh."""
        budget = self._engine.settings.prefetch_bytes
        if not budget or len(look.displayed) != 2:
            return ()
        cache = self._engine.cache
        seen = look, bounds, budget
        if self._foreseen[0] != seen:
            outlook = PrefetchPlan(
                look.level, bounds, look.centre, look.displayed, self._travel
            )
            self._foreseen = seen, prefetch(self.grids, outlook, budget, cache)
        return [r for r in self._foreseen[1] if r.chunk.key not in cache]

    def _keep(
        self, owner: Hashable, level: int, bounds: Bounds, generation: int
    ) -> None:
        if generation != self._generation:
            return
        grid = self.grids[level]
        keys = frozenset(grid.key(index) for index in grid.within(bounds))
        self._engine.cache.keep(owner, keys)
