"""What one layer shows: looks at its levels, asks for what they miss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from .assembly import assemble
from .chunks import ChunkGrid, place_of
from .marking import hatch
from .needs import requests, scaled, visible
from .prefetch import Outlook, Travel, ahead
from .progressive import ProgressiveLevel
from .request import Tier
from .status import Status
from .volume import finest_fitting

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Sequence

    import numpy as np

    from napari_omezarr.pyramid import Pixels
    from napari_omezarr.pyramid.selection import Bounds

    from .assembly import Assembly
    from .chunks import ChunkKey
    from .engine import Engine
    from .request import Request

_numbers = count()

LARGEST_THUMBNAIL = 64 * 2**20
"""Bytes of chunks that are read for nothing but a thumbnail."""


@dataclass(frozen=True, slots=True)
class Look:
    """What napari asks to see of a layer.

    Attributes
    ----------
    level, thumbnail : int
        The levels of the picture and of the thumbnail.
    displayed : tuple of int
        The axes on screen, two or three.
    point : tuple of float or None
        Where the other axes are cut, in pixels of the finest level.
    centre : tuple of float
        The middle of the canvas, in pixels of `level`.
    mark : scalar
        What is drawn over chunks that could not be had.
    climbs : bool
        The volume is to be shown at finer levels as they come.
    """

    level: int
    thumbnail: int
    displayed: tuple[int, ...]
    point: tuple[float | None, ...]
    centre: tuple[float, ...]
    mark: Any = 0
    climbs: bool = False


class View:
    """The display of one layer; knows neither napari nor Qt.

    ``look`` is called in the GUI thread, the levels that it gives may be turned into
    arrays in any thread.

    Parameters
    ----------
    levels : sequence of Pixels
        Finest first, as the layer has them.
    engine : Engine
        The cache and the fetcher.
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
        self._climb = (number, "climb")
        self._ahead = (number, "ahead")
        self._generation = 0
        self._travel = Travel()
        self._level = 0
        self._climbed_for: Look | None = None
        self._climbing: dict[int, set[ChunkKey]] = {}
        self._heading: tuple[Any, ...] = ()
        self._foreseen: tuple[Any, Sequence[Request]] = (None, ())

    @property
    def owners(self) -> tuple[Hashable, ...]:
        """All under whose names this view wants chunks."""
        return self._picture, self._thumbnail, self._climb, self._ahead

    def look(self, look: Look) -> tuple[ProgressiveLevel, ProgressiveLevel]:
        """Give the levels to slice for the picture and for the thumbnail."""
        self._generation += 1
        self._level = look.level
        self._travel.to(look.point)
        if not look.climbs:
            self._end_climb()
        elif look != self._climbed_for:
            self._start_climb(look)
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
        self._end_climb()
        self._engine.fetcher.want(dict.fromkeys(self.owners, ()), self._generation)
        for owner in self.owners:
            self._engine.cache.keep(owner, ())

    def concerns(self, changed: Collection[Hashable]) -> bool:
        """Say whether any of these owners makes another look worth while."""
        return self._picture in changed or self._thumbnail in changed

    def has_climbed(self, changed: Collection[Hashable]) -> bool:
        """Say whether any of these owners may have completed a finer volume."""
        return self._climb in changed

    def climbed(self) -> int | None:
        """Give the finest level that climbing has completed, None for none."""
        engine = self._engine
        complete = None
        for level, keys in self._climbing.items():
            keys -= {
                k for k in keys if k in engine.cache or engine.fetcher.has_failed(k)
            }
            if keys:
                break
            complete = level
        return complete

    def affordable(self, level: int, displayed: Collection[int]) -> int:
        """Give the finest level from this one on whose plane fits the memory."""
        budget = self._engine.settings.volume_bytes
        coarser = self.grids[level:]
        return level + finest_fitting(coarser, displayed, budget, longest=None)

    def status(self) -> Status:
        """Say how far this view is."""
        owners = (self._picture, self._thumbnail, self._climb)
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
    def errors(self) -> tuple[BaseException, ...]:
        """Why chunks could not be had."""
        return self._engine.fetcher.progress(self._picture, self._climb).errors

    def _show_picture(self, look: Look, generation: int, bounds: Bounds) -> np.ndarray:
        # Kept first: what is found must not be dropped before it is kept.
        self._keep(self._picture, look.level, bounds, generation)
        assembly = self._assembled(look.level, look, bounds)
        cache, fetcher = self._engine.cache, self._engine.fetcher
        wants: dict[Hashable, Sequence[Request]] = {
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
        self, look: Look, generation: int, bounds: Bounds
    ) -> np.ndarray:
        grid = self.grids[look.thumbnail]
        affordable = grid.nbytes_within(bounds) <= LARGEST_THUMBNAIL
        if affordable:
            self._keep(self._thumbnail, look.thumbnail, bounds, generation)
        assembly = self._assembled(look.thumbnail, look, bounds)
        wanted: list[Request] = []
        if affordable:
            centre = scaled(self.grids, look.level, look.thumbnail, look.centre)
            wanted = requests(grid, assembly.missing, centre, Tier.THUMBNAIL)
        self._engine.fetcher.want({self._thumbnail: wanted}, generation)
        return assembly.array

    def _end_climb(self) -> None:
        if self._climbed_for is not None:
            self._climbed_for = None
            self._climbing.clear()
            self._engine.cache.keep(self._climb, ())
            self._engine.fetcher.want({self._climb: ()}, self._generation)

    def _start_climb(self, look: Look) -> None:
        """Read the volumes of finer levels, coarse to fine, up to what fits.

        The picture stays at the look's level until ``climbed`` gives a finer one:
        filling a volume chunk by chunk would cost an upload of all of it each time.
        """
        target = finest_fitting(
            self.grids, look.displayed, self._engine.settings.volume_bytes
        )
        asked: list[Request] = []
        self._end_climb()
        self._climbed_for = look
        for step, level in enumerate(range(look.level - 1, target - 1, -1)):
            grid = self.grids[level]
            indices = list(grid.within(self._whole(level, look)))
            self._climbing[level] = {grid.key(index) for index in indices}
            middle = [size / 2 for size in grid.shape]
            asked += requests(grid, indices, middle, Tier.SHARP, step)
        self._engine.cache.keep(self._climb, frozenset(r.chunk.key for r in asked))
        asked = [r for r in asked if r.chunk.key not in self._engine.cache]
        self._engine.fetcher.want({self._climb: asked}, self._generation)

    def _next(self, look: Look, bounds: Bounds) -> Sequence[Request]:
        """Give what to read ahead: found out once for a look, not at each refresh."""
        budget = self._engine.settings.prefetch_bytes
        if not budget or len(look.displayed) != 2:
            return ()
        cache = self._engine.cache
        seen = look, bounds, budget
        if self._foreseen[0] != seen:
            outlook = Outlook(
                look.level, bounds, look.centre, look.displayed, self._travel
            )
            self._foreseen = seen, ahead(self.grids, outlook, budget, cache)
        return [r for r in self._foreseen[1] if r.chunk.key not in cache]

    def _whole(self, level: int, look: Look) -> Bounds:
        """Give the box of all that a look shows, at another level."""
        finest, shape = self.grids[0].shape, self.grids[level].shape
        box = [(0, size) for size in shape]
        for axis, position in enumerate(look.point):
            if position is not None:
                index = round(position * shape[axis] / finest[axis])
                index = min(max(index, 0), shape[axis] - 1)
                box[axis] = index, index + 1
        return tuple(box)

    def _assembled(self, level: int, look: Look, bounds: Bounds) -> Assembly:
        assembly = assemble(self.grids, level, bounds, self._engine.cache)
        grid = self.grids[level]
        plane = look.displayed[-2], look.displayed[-1]
        for index in assembly.missing:
            if self._engine.fetcher.has_failed(grid.key(index)):
                hatch(assembly.array, bounds, grid.bounds(index), plane, look.mark)
        return assembly

    def _keep(
        self, owner: Hashable, level: int, bounds: Bounds, generation: int
    ) -> None:
        if generation != self._generation:
            return
        grid = self.grids[level]
        keys = frozenset(grid.key(index) for index in grid.within(bounds))
        self._engine.cache.keep(owner, keys)
