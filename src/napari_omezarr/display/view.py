"""What one layer shows: looks at its levels, asks for what they miss."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from .chunks import ChunkGrid, notes_of, place_of
from .climb import Climb
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
    from napari_omezarr.pyramid.boxes import Bounds

    from .engine import Engine
    from .look import Look
    from .request import Request

_numbers = count()

LARGEST_THUMBNAIL = 64 * 2**20
"""Bytes of chunks that are read for nothing but a thumbnail."""


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
        self.climb = Climb((number, "climb"), self.grids, engine)
        self._ahead = (number, "ahead")
        self._generation = 0
        self._travel = Travel()
        self._level = 0
        self._heading: tuple[Any, ...] = ()
        self._foreseen: tuple[Any, Sequence[Request]] = (None, ())

    @property
    def owners(self) -> tuple[Hashable, ...]:
        """All under whose names this view wants chunks."""
        return self._picture, self._thumbnail, self.climb.owner, self._ahead

    def look(self, look: Look) -> tuple[ProgressiveLevel, ProgressiveLevel]:
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

    def _show_picture(self, look: Look, generation: int, bounds: Bounds) -> np.ndarray:
        # Kept first: what is found must not be dropped before it is kept.
        self._keep(self._picture, look.level, bounds, generation)
        assembly = self.climb.take(look.level, bounds)
        assembly = assembly or self._engine.assemble(
            self.grids, look.level, look, bounds
        )
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
        assembly = self._engine.assemble(self.grids, look.thumbnail, look, bounds)
        wanted: list[Request] = []
        if affordable:
            centre = scaled(self.grids, look.level, look.thumbnail, look.centre)
            wanted = requests(grid, assembly.missing, centre, Tier.THUMBNAIL)
        self._engine.fetcher.want({self._thumbnail: wanted}, generation)
        return assembly.array

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

    def _keep(
        self, owner: Hashable, level: int, bounds: Bounds, generation: int
    ) -> None:
        if generation != self._generation:
            return
        grid = self.grids[level]
        keys = frozenset(grid.key(index) for index in grid.within(bounds))
        self._engine.cache.keep(owner, keys)
