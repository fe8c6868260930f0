"""What may be looked at next: planes in the direction of travel, the neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING

from .needs import requests, scaled
from .request import Tier

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from napari_omezarr.pyramid.boxes import Bounds

    from .chunks import ChunkGrid, ChunkKey
    from .request import Request

PLANES = 4
"""How many planes ahead, at most."""

MOST_WARM = 1024
"""A coarsest level of more chunks is not read whole, however small it is."""

MOST_AHEAD = 512
"""No more chunks than these are read ahead of a look, however small they are."""


@dataclass(slots=True)
class Travel:
    """Where somebody steps through the axes that are not displayed.

    Only the axis of the last step counts, and only its direction: a step back turns
    it round at once.
    """

    point: tuple[float | None, ...] = ()
    axis: int | None = None
    stride: float = 0.0

    def to(self, point: Sequence[float | None]) -> None:
        """Note a look at a point, in pixels of the finest level; None where displayed.

        Any number of steps in one axis keeps their direction; a change of several
        axes at once, or of what is displayed, ends the travel.
        """
        new = tuple(point)
        if new == self.point:
            return
        old, self.point = self.point, new
        self.axis, self.stride = None, 0.0
        if len(old) != len(new):
            return
        moved = [axis for axis in range(len(new)) if old[axis] != new[axis]]
        if len(moved) != 1:
            return
        before, after = old[moved[0]], new[moved[0]]
        if before is not None and after is not None:
            self.axis = moved[0]
            self.stride = 1.0 if after > before else -1.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a prefetch starts from.

    Attributes
    ----------
    level : int
        The level that is looked at.
    bounds : Bounds
        The box that is looked at, in its pixels.
    centre : tuple of float
        Where it is looked at, in its pixels.
    displayed : tuple of int
        The axes on screen.
    travel : Travel
        Where somebody steps to.
    """

    level: int
    bounds: Bounds
    centre: tuple[float, ...]
    displayed: tuple[int, ...]
    travel: Travel = field(default_factory=Travel)


def ahead(
    grids: Sequence[ChunkGrid],
    outlook: Outlook,
    budget: int,
    have: Container[ChunkKey],
) -> list[Request]:
    """Ask for what may be looked at next, the likeliest first, within a budget.

    First the whole coarsest level, so that any slider position shows something at
    once (where it takes no more than the budget), then the next planes, then the
    ring of neighbours, then planes further on.

    Parameters
    ----------
    grids : sequence of ChunkGrid
        The levels, finest first.
    outlook : Outlook
        What is looked at.
    budget : int
        Bytes of decoded chunks, for the coarsest level and again for the rest.
    have : Container of ChunkKey
        What is cached.
    """
    warm = [r for r in _coarsest(grids, outlook, budget) if r.chunk.key not in have]
    planes = _planes(grids[0].shape, grids[outlook.level], outlook)
    boxes = chain(planes[:1], [_ring(grids[outlook.level], outlook)], planes[1:])
    return warm + _within(budget, _in_boxes(grids[outlook.level], boxes, outlook, have))


def _coarsest(
    grids: Sequence[ChunkGrid], outlook: Outlook, budget: int
) -> list[Request]:
    grid = grids[-1]
    whole = tuple((0, size) for size in grid.shape)
    # Windows on one array share chunks that hold several channels: no more than one
    # channel's worth of chunks is asked for.
    count = 1
    for number in grid.counts:
        count *= number
    if count > MOST_WARM or grid.nbytes_within(whole) > budget:
        return []
    middle = scaled(grids, outlook.level, len(grids) - 1, outlook.centre)
    return requests(grid, grid.within(whole), middle, Tier.WARM)


def _planes(finest: Sequence[int], grid: ChunkGrid, outlook: Outlook) -> list[Bounds]:
    travel = outlook.travel
    axis = travel.axis
    if axis is None or axis in outlook.displayed:
        return []
    position = travel.point[axis]
    if position is None:
        return []
    boxes = []
    for step in range(1, PLANES + 1):
        # As napari finds a level's plane, see ``_thick_slice_at_level``.
        factor = finest[axis] / grid.shape[axis]
        plane = round((position + step * travel.stride) / factor)
        if not 0 <= plane < grid.shape[axis]:
            break
        box = list(outlook.bounds)
        box[axis] = plane, plane + 1
        boxes.append(tuple(box))
    return boxes


def _ring(grid: ChunkGrid, outlook: Outlook) -> Bounds:
    box = list(outlook.bounds)
    for axis in outlook.displayed:
        start, stop = box[axis]
        chunk = grid.chunks[axis]
        box[axis] = max(0, start - chunk), min(grid.shape[axis], stop + chunk)
    return tuple(box)


def _in_boxes(
    grid: ChunkGrid,
    boxes: Iterable[Bounds],
    outlook: Outlook,
    have: Container[ChunkKey],
) -> Iterator[Request]:
    seen = {grid.key(index) for index in grid.within(outlook.bounds)}
    for step, box in enumerate(boxes):
        indices = [index for index in grid.within(box) if grid.key(index) not in seen]
        seen.update(grid.key(index) for index in indices)
        missing = (index for index in indices if grid.key(index) not in have)
        found = requests(grid, missing, outlook.centre, Tier.AHEAD, step)
        yield from sorted(found, key=lambda request: request.distance)


def _within(budget: int, asked: Iterable[Request]) -> list[Request]:
    taken: list[Request] = []
    for request in islice(asked, MOST_AHEAD):
        budget -= request.chunk.nbytes
        if budget < 0:
            break
        taken.append(request)
    return taken
