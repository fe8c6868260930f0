"""What napari asks to see of a layer, and which chunks that takes, in which order."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, islice
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.pyramid import boxes

from .chunk_queue import ChunkRequest, Priority
from .compose import projected

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Sequence

    from napari_omezarr.pyramid import Bounds

    from .chunk_cache import ChunkGrid, ChunkIndex, ChunkKey

FEWER = 8
"""A level between is worth reading when it takes this many times fewer chunks."""

PLANES = 4
"""How many planes ahead, at most."""

MOST_CHUNKS_OF_COARSEST = 1024
"""A coarsest level of more chunks is not read whole, however small it is."""

MOST_CHUNKS_AHEAD = 512
"""No more chunks than these are read ahead of a view, however small they are."""

LONGEST_EDGE = 2048
"""What every desktop GPU takes along each edge of a 3-D texture; napari strides longer
ones down."""


@dataclass(frozen=True, slots=True)
class SliceView:
    """What napari asks to see of a layer."""

    level: int
    thumbnail: int
    """The levels of the picture and of the thumbnail."""
    displayed: tuple[int, ...]
    """The axes on screen, two or three."""
    point: tuple[float | None, ...]
    """Where the other axes are cut, in pixels of the finest level."""
    centre: tuple[float, ...]
    """The middle of the canvas, in pixels of `level`."""
    mark: Any = 0
    """What is drawn over chunks that could not be had."""
    refines: bool = False
    """The volume is to be shown at finer levels as they come."""


# Which chunks a view needs, and how urgently.


def requests(
    grid: ChunkGrid,
    indices: Iterable[ChunkIndex],
    centre: Sequence[float],
    priority: Priority,
    step: int = 0,
) -> list[ChunkRequest]:
    """Ask for chunks of a level, those nearest to a point of it first."""
    wanted = list(indices)
    if not wanted:
        return []
    middles = (np.array(wanted) + 0.5) * grid.chunks
    distances = np.linalg.norm(middles - np.asarray(centre), axis=1).tolist()
    return [
        ChunkRequest(grid.chunk(index), priority, distance, step)
        for index, distance in zip(wanted, distances, strict=True)
    ]


def visible(
    grids: Sequence[ChunkGrid],
    level: int,
    missing: Sequence[ChunkIndex],
    centre: Sequence[float],
    have: Container[ChunkKey],
) -> list[ChunkRequest]:
    """Ask for what a view misses of its level: a coarse picture first, then itself.

    `centre` is where it is looked at, in pixels of the level.
    """
    if not missing:
        return []
    asked = requests(grids[level], missing, centre, Priority.SHARP)
    hole = boxes.hull(grids[level].bounds(index) for index in missing)
    last = len(grids) - 1
    between = range(level + 1, last)
    coarse = {j: _uncached(grids, level, j, hole, have) for j in between}
    paying = (j for j in between if _pays(len(missing), len(coarse[j]), grids[level]))
    # Of the levels between, the finest that pays is enough.
    chosen = {j: (Priority.BETWEEN, coarse[j]) for j in [*paying][:1]}
    if last > level:
        chosen[last] = Priority.OVERVIEW, _uncached(grids, level, last, hole, have)
    for coarser, (priority, indices) in chosen.items():
        middle = scaled(grids, level, coarser, centre)
        asked += requests(grids[coarser], indices, middle, priority)
    return asked


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
    indices = grid.within(projected(grids, level, coarser, hole))
    return [index for index in indices if grid.key(index) not in have]


def _pays(sharp: int, between: int, grid: ChunkGrid) -> bool:
    # What fits into one round of reads arrives as early as a level between would.
    return sharp > grid.source.concurrency and between * FEWER <= sharp


# What may be looked at next: planes in the direction of scrolling, the neighbours.


@dataclass(slots=True)
class ScrollDirection:
    """Where somebody scrolls along the axes that are not displayed.

    Only the axis of the last step counts, and only its direction: a step back turns
    it round at once. ``step`` is 1 or -1.
    """

    point: tuple[float | None, ...] = ()
    axis: int | None = None
    step: float = 0.0

    def update(self, point: Sequence[float | None]) -> None:
        """Note a view of a point, in pixels of the finest level; None where displayed.

        Any number of steps in one axis keeps their direction; a change of several
        axes at once, or of what is displayed, ends the scrolling.
        """
        new = tuple(point)
        if new == self.point:
            return
        old, self.point = self.point, new
        self.axis, self.step = None, 0.0
        if len(old) != len(new):
            return
        moved = [axis for axis in range(len(new)) if old[axis] != new[axis]]
        if len(moved) != 1:
            return
        before, after = old[moved[0]], new[moved[0]]
        if before is not None and after is not None:
            self.axis = moved[0]
            self.step = 1.0 if after > before else -1.0


@dataclass(frozen=True, slots=True)
class PrefetchPlan:
    """What a prefetch starts from: what is looked at, in pixels of its level."""

    level: int
    bounds: Bounds
    centre: tuple[float, ...]
    displayed: tuple[int, ...]
    direction: ScrollDirection = field(default_factory=ScrollDirection)


def prefetch(
    grids: Sequence[ChunkGrid],
    plan: PrefetchPlan,
    budget: int,
    have: Container[ChunkKey],
) -> list[ChunkRequest]:
    """Ask for what may be looked at next, the likeliest first, within a budget.

    First the whole coarsest level, so that any slider position shows something at
    once (where it takes no more than the budget), then the next planes, then the
    ring of neighbours, then planes further on.

    `budget` is bytes of decoded chunks, for the coarsest level and again for the rest.
    """
    grid = grids[plan.level]
    planes = _planes(grids[0].shape, grid, plan)
    neighbours = chain(planes[:1], [_ring(grid, plan)], planes[1:])
    coarsest = [r for r in _coarsest(grids, plan, budget) if r.chunk.key not in have]
    return coarsest + _within(budget, _in_boxes(grid, neighbours, plan, have))


def _coarsest(
    grids: Sequence[ChunkGrid], plan: PrefetchPlan, budget: int
) -> list[ChunkRequest]:
    grid = grids[-1]
    whole = tuple((0, size) for size in grid.shape)
    # Channels of one array share its chunks: no more than one channel's are counted.
    if (
        prod(grid.counts) > MOST_CHUNKS_OF_COARSEST
        or grid.nbytes_within(whole) > budget
    ):
        return []
    middle = scaled(grids, plan.level, len(grids) - 1, plan.centre)
    return requests(grid, grid.within(whole), middle, Priority.COARSEST)


def _planes(finest: Sequence[int], grid: ChunkGrid, plan: PrefetchPlan) -> list[Bounds]:
    axis = plan.direction.axis
    if axis is None or axis in plan.displayed:
        return []
    position = plan.direction.point[axis]
    if position is None:
        return []
    planes = []
    for step in range(1, PLANES + 1):
        # As napari finds a level's plane, see ``_thick_slice_at_level``.
        factor = finest[axis] / grid.shape[axis]
        plane = round((position + step * plan.direction.step) / factor)
        if not 0 <= plane < grid.shape[axis]:
            break
        box = list(plan.bounds)
        box[axis] = plane, plane + 1
        planes.append(tuple(box))
    return planes


def _ring(grid: ChunkGrid, plan: PrefetchPlan) -> Bounds:
    box = list(plan.bounds)
    for axis in plan.displayed:
        start, stop = box[axis]
        chunk = grid.chunks[axis]
        box[axis] = max(0, start - chunk), min(grid.shape[axis], stop + chunk)
    return tuple(box)


def _in_boxes(
    grid: ChunkGrid,
    neighbours: Iterable[Bounds],
    plan: PrefetchPlan,
    have: Container[ChunkKey],
) -> Iterator[ChunkRequest]:
    seen = {grid.key(index) for index in grid.within(plan.bounds)}
    for step, box in enumerate(neighbours):
        indices = [index for index in grid.within(box) if grid.key(index) not in seen]
        seen.update(grid.key(index) for index in indices)
        missing = (index for index in indices if grid.key(index) not in have)
        found = requests(grid, missing, plan.centre, Priority.PREFETCH, step)
        yield from sorted(found, key=lambda request: request.distance)


def _within(budget: int, asked: Iterable[ChunkRequest]) -> list[ChunkRequest]:
    taken: list[ChunkRequest] = []
    for request in islice(asked, MOST_CHUNKS_AHEAD):
        budget -= request.chunk.nbytes
        if budget < 0:
            break
        taken.append(request)
    return taken


# Which level a volume is shown at in 3-D.


def finest_fitting(
    grids: Sequence[ChunkGrid],
    displayed: Collection[int],
    budget: int,
    longest: int | None = LONGEST_EDGE,
) -> int:
    """Give the finest level that takes at most a budget of bytes, else the coarsest.

    All of the `displayed` axes are shown, at most `longest` pixels along each; of the
    others one index is.
    """
    for level, grid in enumerate(grids):
        sizes = [grid.shape[axis] for axis in displayed]
        if longest is not None and max(sizes, default=0) > longest:
            continue
        if prod(sizes) * grid.dtype.itemsize <= budget:
            return level
    return len(grids) - 1
