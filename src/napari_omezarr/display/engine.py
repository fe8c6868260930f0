"""The one cache and the one fetcher that all layers and viewers share."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING

from .assembly import assemble
from .cache import ChunkCache
from .fetcher import Fetcher
from .marking import hatch
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from napari_omezarr.pyramid.boxes import Bounds

    from .assembly import Assembly
    from .chunks import ChunkGrid
    from .look import Look
    from .place import Retrying


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
        self, grids: Sequence[ChunkGrid], level: int, look: Look, bounds: Bounds
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
