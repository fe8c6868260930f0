"""The levels of an image that is to be written, and in which passes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from napari_omezarr.metadata import Affine

from .chunking import objects, step_factors
from .downsample import coarser_shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_omezarr.metadata import Axis
    from napari_omezarr.pyramid.boxes import Bounds

LONGEST_SIDE = 256
MOST_LEVELS = 32
IN_WORK = 2
"""Blocks in work at a time: while one is written, the next one is read."""
COPIES = 2.5
"""What a block takes in memory: itself, its coarser levels, what is encoded."""
_USEFUL_BLOCK = 2**24


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution level to be written.

    Parameters
    ----------
    path : str
        Of the array, below its group.
    shape, chunks : tuple of int
        In the order of the axes.
    shards : tuple of int or None
        Whole chunks; None: each chunk is an object.
    step : tuple of int
        How much coarser than the level before; 1 for the finest.
    factors : tuple of int
        How much coarser than the finest.
    affine : Affine
        From an index of the level to the world.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    step: tuple[int, ...]
    factors: tuple[int, ...]
    affine: Affine

    @property
    def unit(self) -> tuple[int, ...]:
        """What is stored as one object, which only one block may write."""
        return self.shards or self.chunks

    @property
    def objects(self) -> int:
        """How many objects hold the level's pixels, empty ones counted."""
        return objects(self.shape, self.unit)


@dataclass(frozen=True, slots=True)
class Pass:
    """One walk over a level, in blocks, that writes this level or coarser ones.

    Parameters
    ----------
    first, last : int
        The levels that it writes. It reads the source if ``first`` is 0, else
        level ``first - 1`` as it was written.
    block : tuple of int
        In pixels of what it reads: at each level that is written, whole objects,
        or the whole axis.
    shape : tuple of int
        Of what it reads.
    """

    first: int
    last: int
    block: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return objects(self.shape, self.block)

    def blocks(self) -> Iterator[Bounds]:
        """Give the blocks in order; together they are the whole array, once."""
        starts = [
            range(0, size, step)
            for size, step in zip(self.shape, self.block, strict=True)
        ]
        for corner in product(*starts):
            yield tuple(
                (start, min(start + step, size))
                for start, step, size in zip(
                    corner, self.block, self.shape, strict=True
                )
            )


def steps(
    axes: Sequence[Axis],
    shape: Sequence[int],
    spacing: Sequence[float],
    levels: int | None = None,
    fixed: Sequence[int] | None = None,
) -> tuple[tuple[int, ...], ...]:
    """Choose how much each level shrinks the one before; the first not at all.

    Parameters
    ----------
    axes, shape, spacing : sequence
        Of the finest level.
    levels : int or None, optional
        How many levels at most; None: until no spatial side exceeds 256.
    fixed : sequence of int or None, optional
        The factors of every step, instead of chosen ones.
    """
    found = [(1,) * len(shape)]
    sizes, widths = tuple(shape), list(spacing)
    while len(found) < (levels or MOST_LEVELS):
        if levels is None and _longest(axes, sizes) <= LONGEST_SIDE:
            break
        wanted = tuple(fixed) if fixed else step_factors(axes, sizes, widths)
        pairs = zip(wanted, sizes, strict=True)
        step = tuple(min(by, size) if size else 1 for by, size in pairs)
        smaller = coarser_shape(sizes, step)
        if smaller == sizes:
            break
        found.append(step)
        sizes = smaller
        widths = [width * by for width, by in zip(widths, step, strict=True)]
    return tuple(found)


def level_affine(finest: Affine, factors: Sequence[int]) -> Affine:
    """Place a level: a pixel's centre is that of the finer pixels it stands for.

    Its index 0 lies (factor - 1) / 2 finer pixels from theirs (0.6, "multiscales").
    """
    shift = Affine.from_translation([(by - 1) / 2 for by in factors])
    return finest @ shift @ Affine.from_scale([float(by) for by in factors])


def passes(
    levels: Sequence[Level],
    itemsize: int,
    memory: int,
    source_chunks: Sequence[int] | None = None,
) -> tuple[Pass, ...]:
    """Decide in how few passes all levels can be written within the memory.

    Each pass takes blocks as large as are needed to make as many levels as fit
    from one of them; the next one starts from the coarsest level made.

    Parameters
    ----------
    levels : sequence of Level
        Finest first.
    itemsize : int
        Bytes of a pixel.
    memory : int
        Bytes that all blocks in work may take.
    source_chunks : sequence of int or None, optional
        What the source reads at a time: blocks are whole ones where that fits,
        so that none is read twice.
    """
    limit = int(memory / COPIES / IN_WORK)
    found: list[Pass] = []
    first = 0
    while first < len(levels):
        base = levels[max(0, first - 1)]
        hint = source_chunks if first == 0 else base.unit
        last, block = _widest(levels, first, base, itemsize, limit)
        block = _fitted(block, hint, base.shape, itemsize, limit)
        found.append(Pass(first, last, block, base.shape))
        first = last + 1
    return tuple(found)


def _widest(
    levels: Sequence[Level], first: int, base: Level, itemsize: int, limit: int
) -> tuple[int, tuple[int, ...]]:
    last, block = first, _block((1,) * len(base.shape), levels[first], base)
    for number in range(first + 1, len(levels)):
        larger = _block(block, levels[number], base)
        # One coarser level is worth a larger block: else a whole pass is needed
        # that reads everything again.
        room = limit * IN_WORK if number == first + 1 and first == 0 else limit
        if math.prod(larger) * itemsize > room:
            break
        last, block = number, larger
    return last, block


def _block(block: Sequence[int], level: Level, base: Level) -> tuple[int, ...]:
    """Enlarge a block so that it is whole objects of a level too."""
    grown = []
    for axis, size in enumerate(base.shape):
        factor = level.factors[axis] // base.factors[axis]
        needed = math.lcm(block[axis], level.unit[axis] * factor)
        if level.unit[axis] >= level.shape[axis]:
            needed = size
        grown.append(max(1, min(needed, size)))
    return tuple(grown)


def _fitted(
    block: tuple[int, ...],
    chunks: Sequence[int] | None,
    shape: Sequence[int],
    itemsize: int,
    limit: int,
) -> tuple[int, ...]:
    """Enlarge a block to whole chunks of what is read, and to a useful size."""
    grown = list(block)
    for axis, chunk in enumerate(chunks or ()):
        wanted = min(-(-chunk // block[axis]) * block[axis], shape[axis])
        others = math.prod(grown) // grown[axis]
        if chunk > block[axis] and others * wanted * itemsize <= limit:
            grown[axis] = wanted
    useful = min(limit, _USEFUL_BLOCK)
    for axis in reversed(range(len(grown))):
        while grown[axis] < shape[axis] and 2 * math.prod(grown) * itemsize <= useful:
            grown[axis] = min(2 * grown[axis], shape[axis])
    return tuple(grown)


def _longest(axes: Sequence[Axis], shape: Sequence[int]) -> int:
    sides = [s for axis, s in zip(axes, shape, strict=True) if axis.type == "space"]
    return max(sides or shape[-2:], default=0)
