"""Which chunks a look needs, and how urgently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .assembly import projected
from .request import Request, Tier

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from napari_omezarr.pyramid.boxes import Bounds

    from .chunks import ChunkGrid, ChunkIndex, ChunkKey

FEWER = 8
"""A level between is worth reading when it takes this many times fewer chunks."""


def requests(
    grid: ChunkGrid,
    indices: Iterable[ChunkIndex],
    centre: Sequence[float],
    tier: Tier,
    step: int = 0,
) -> list[Request]:
    """Ask for chunks of a level, those nearest to a point of it first."""
    wanted = list(indices)
    if not wanted:
        return []
    middles = (np.array(wanted) + 0.5) * grid.chunks
    distances = np.linalg.norm(middles - np.asarray(centre), axis=1).tolist()
    return [
        Request(grid.chunk(index), tier, distance, step)
        for index, distance in zip(wanted, distances, strict=True)
    ]


def visible(
    grids: Sequence[ChunkGrid],
    level: int,
    missing: Sequence[ChunkIndex],
    centre: Sequence[float],
    have: Container[ChunkKey],
) -> list[Request]:
    """Ask for what a view misses: a coarse picture of it first, then itself.

    Parameters
    ----------
    grids : sequence of ChunkGrid
        The levels, finest first.
    level : int
        The level that is looked at.
    missing : sequence of chunk indices
        What is not cached of it.
    centre : sequence of float
        Where it is looked at, in its pixels.
    have : Container of ChunkKey
        What is cached.
    """
    if not missing:
        return []
    asked = requests(grids[level], missing, centre, Tier.SHARP)
    hole = hull(grids[level], missing)
    last = len(grids) - 1
    between = range(level + 1, last)
    coarse = {j: _uncached(grids, level, j, hole, have) for j in between}
    paying = (j for j in between if _pays(len(missing), len(coarse[j]), grids[level]))
    # Of the levels between, the finest that pays is enough.
    chosen = {j: (Tier.BETWEEN, coarse[j]) for j in [*paying][:1]}
    if last > level:
        chosen[last] = Tier.OVERVIEW, _uncached(grids, level, last, hole, have)
    for coarser, (tier, indices) in chosen.items():
        middle = scaled(grids, level, coarser, centre)
        asked += requests(grids[coarser], indices, middle, tier)
    return asked


def hull(grid: ChunkGrid, indices: Sequence[ChunkIndex]) -> Bounds:
    """Give the smallest box around some chunks."""
    numbers = np.array(indices)
    starts = numbers.min(axis=0) * grid.chunks
    stops = np.minimum((numbers.max(axis=0) + 1) * grid.chunks, grid.shape)
    return tuple(zip(starts.tolist(), stops.tolist(), strict=True))


def scaled(
    grids: Sequence[ChunkGrid], level: int, coarser: int, point: Sequence[float]
) -> list[float]:
    """Give where a point of a level, in its pixels' edges, lies on another level."""
    sizes = zip(point, grids[coarser].shape, grids[level].shape, strict=True)
    return [position * source / max(1, target) for position, source, target in sizes]


def _uncached(
    grids: Sequence[ChunkGrid],
    level: int,
    coarser: int,
    hole: Bounds,
    have: Container[ChunkKey],
) -> list[ChunkIndex]:
    grid = grids[coarser]
    return list(
        _without(grid, grid.within(projected(grids, level, coarser, hole)), have)
    )


def _without(
    grid: ChunkGrid, indices: Iterable[ChunkIndex], have: Container[ChunkKey]
) -> Iterator[ChunkIndex]:
    return (index for index in indices if grid.key(index) not in have)


def _pays(sharp: int, between: int, grid: ChunkGrid) -> bool:
    # What fits into one wave of reads arrives as early as a level between would.
    return sharp > grid.source.concurrency and between * FEWER <= sharp
