"""Which level a volume is shown at in 3-D."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .chunks import ChunkGrid

LONGEST_EDGE = 2048
"""What every desktop GPU takes along each edge of a 3-D texture; napari strides longer
ones down."""


def finest_fitting(
    grids: Sequence[ChunkGrid],
    displayed: Collection[int],
    budget: int,
    longest: int | None = LONGEST_EDGE,
) -> int:
    """Give the finest level that fits a budget, else the coarsest.

    Parameters
    ----------
    grids : sequence of ChunkGrid
        The levels, finest first.
    displayed : collection of int
        The axes that are shown; of all others one index is.
    budget : int
        Bytes that the shown array may take.
    longest : int or None, optional
        The most pixels along each shown axis.
    """
    for level, grid in enumerate(grids):
        sizes = [grid.shape[axis] for axis in displayed]
        if longest is not None and max(sizes, default=0) > longest:
            continue
        if prod(sizes) * grid.dtype.itemsize <= budget:
            return level
    return len(grids) - 1
