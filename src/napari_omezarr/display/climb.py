"""A volume in 3-D that gets finer, level by level, up to what fits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .needs import requests
from .prepared import Prepared
from .request import Tier
from .volume import finest_fitting

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Sequence

    from napari_omezarr.pyramid.boxes import Bounds

    from .assembly import Assembly
    from .chunks import ChunkGrid, ChunkKey
    from .engine import Engine
    from .look import Look
    from .request import Request


class Climb:
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
        self._wished: Look | None = None
        self._begun: Look | None = None
        self._missing: dict[int, set[ChunkKey]] = {}
        self._volume = Prepared(partial(engine.fetcher.tell, owner))

    def wish(self, look: Look | None, generation: int) -> None:
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

    def _start(self, look: Look) -> None:
        engine, grids = self._engine, self._grids
        target = finest_fitting(grids, look.displayed, engine.settings.volume_bytes)
        asked: list[Request] = []
        self._begun = look
        for step, level in enumerate(range(look.level - 1, target - 1, -1)):
            grid = grids[level]
            indices = list(grid.within(self._whole(level, look)))
            self._missing[level] = {grid.key(index) for index in indices}
            middle = [size / 2 for size in grid.shape]
            asked += requests(grid, indices, middle, Tier.SHARP, step)
        engine.cache.keep(self.owner, frozenset(r.chunk.key for r in asked))
        asked = [r for r in asked if r.chunk.key not in engine.cache]
        engine.fetcher.want({self.owner: asked}, self._generation)

    def _end(self) -> None:
        if self._begun is not None:
            self._begun = None
            self._missing.clear()
            self._engine.cache.keep(self.owner, ())
            self._engine.fetcher.want({self.owner: ()}, self._generation)

    def _whole(self, level: int, look: Look) -> Bounds:
        """Give the box of all that a look shows, at another level."""
        finest, shape = self._grids[0].shape, self._grids[level].shape
        box = [(0, size) for size in shape]
        for axis, position in enumerate(look.point):
            if position is not None:
                index = round(position * shape[axis] / finest[axis])
                index = min(max(index, 0), shape[axis] - 1)
                box[axis] = index, index + 1
        return tuple(box)
