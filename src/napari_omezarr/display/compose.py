"""A box of a level put together from what is cached of it and of coarser levels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.pyramid import boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.pyramid import Bounds

    from .chunk_cache import ChunkCache, ChunkGrid, ChunkIndex

STRIPES = 8
"""How many stripes cross a chunk that could not be had."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """A box as far as it is known, and the chunks of its level that are not cached."""

    # Writable, in memory of its own; 0 where nothing is known yet.
    array: np.ndarray
    missing: tuple[ChunkIndex, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """Along one axis, the pixels of the box that lie in one chunk of a level.

    ``at`` is where in the box, ``take`` which of the chunk's pixels: a slice on the
    level itself, indices on a coarser one.
    """

    chunk: int
    at: tuple[int, int]
    take: Any


_Runs = tuple[_Run, ...]


def assemble(
    grids: Sequence[ChunkGrid], level: int, bounds: Bounds, cache: ChunkCache
) -> Assembly:
    """Put a box of a level together; a hole shows the finest coarser level cached.

    Pixels are taken, never interpolated, so that labels stay labels. The pixel that
    is taken holds the centre of the one that is shown, where all levels cover the
    same extent, as napari draws them.
    """
    array = np.zeros(boxes.shape_of(bounds), grids[level].dtype)
    found = [_known(grids, level, level, bounds, cache)]
    for coarser in range(level + 1, len(grids)):
        _, holes = found[-1]
        if not holes:
            break
        hole = boxes.hull(tuple(run.at for run in runs) for runs in holes)
        found.append(_known(grids, level, coarser, hole, cache))
    # The coarsest first, so that finer ones lie over it.
    for coarser, (cached, _) in reversed(list(enumerate(found, start=level))):
        for runs, chunk in cached:
            _paste(array, bounds, runs, grids[coarser].shown(chunk))
    missing = tuple(tuple(run.chunk for run in runs) for runs in found[0][1])
    return Assembly(array, missing)


def projected(
    grids: Sequence[ChunkGrid], level: int, coarser: int, bounds: Bounds
) -> Bounds:
    """Give the box of a coarser level that shows what a box of a level shows."""
    source, target = grids[coarser].shape, grids[level].shape
    return tuple(
        (_nearest(start, s, t), _nearest(stop - 1, s, t) + 1)
        if stop > start
        else (0, 0)
        for (start, stop), s, t in zip(bounds, source, target, strict=True)
    )


def _nearest(pixel: Any, source: int, target: int) -> Any:
    """Give the pixel of an axis of size `source` at the centre of one of `target`."""
    return (2 * pixel + 1) * source // (2 * target)


def _known(
    grids: Sequence[ChunkGrid],
    level: int,
    coarser: int,
    bounds: Bounds,
    cache: ChunkCache,
) -> tuple[list[tuple[_Runs, np.ndarray]], list[_Runs]]:
    """Give what a level knows of a box: its cached chunks, and the holes between."""
    grid = grids[coarser]
    axes = [
        _runs(bound, chunk, source, target)
        for bound, chunk, source, target in zip(
            bounds, grid.chunks, grid.shape, grids[level].shape, strict=True
        )
    ]
    places = list(product(*axes))
    keys = [grid.key(tuple(run.chunk for run in runs)) for runs in places]
    pairs = list(zip(places, cache.get(keys), strict=True))
    cached = [(runs, chunk) for runs, chunk in pairs if chunk is not None]
    return cached, [runs for runs, chunk in pairs if chunk is None]


def _runs(bound: tuple[int, int], chunk: int, source: int, target: int) -> list[_Run]:
    """Cut a range of pixels at the borders of a level's chunks."""
    start, stop = bound
    if source == target:
        (touched,) = boxes.touched((bound,), (chunk,))
        origins = (number * chunk for number in touched)
        ends = ((o, max(start, o), min(stop, o + chunk)) for o in origins)
        return [
            _Run(origin // chunk, (low, high), slice(low - origin, high - origin))
            for origin, low, high in ends
        ]
    pixels = _nearest(np.arange(start, stop), source, target)
    numbers = pixels // chunk
    borders = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(pixels)]
    return [
        _Run(
            int(numbers[low]),
            (start + low, start + high),
            pixels[low:high] - numbers[low] * chunk,
        )
        for low, high in pairwise(borders)
        if high > low
    ]


def _paste(array: np.ndarray, bounds: Bounds, runs: _Runs, tile: np.ndarray) -> None:
    target = boxes.slices_within(tuple(run.at for run in runs), bounds)
    # From the last axis on: the first axes then copy whole rows, which is fast.
    for axis in reversed(range(tile.ndim)):
        take = runs[axis].take
        if isinstance(take, slice):
            tile = tile[(slice(None),) * axis + (take,)]
        else:
            tile = tile.take(take, axis=axis)
    array[target] = tile


# How a chunk that could not be had looks: hatched, never silently black.


def hatch(
    array: np.ndarray, bounds: Bounds, chunk: Bounds, plane: tuple[int, int], value: Any
) -> None:
    """Draw diagonal stripes over the part of a box that lies in a chunk, in place.

    Between the stripes stays what coarser levels know, so that the part is both
    recognised and not mistaken for data. `bounds` is the box of the array, on the
    pixels of the same level; the diagonals lie in the two axes of `plane`.
    """
    part = boxes.overlap(bounds, chunk)
    edge = max(chunk[axis][1] - chunk[axis][0] for axis in plane)
    period = max(2, edge // STRIPES)
    diagonal = np.zeros([1] * array.ndim, int)
    for axis in plane:
        shape = [1] * array.ndim
        shape[axis] = -1
        diagonal = diagonal + np.arange(*part[axis]).reshape(shape)
    stripes = diagonal % period < max(1, period // 4)
    inside = array[boxes.slices_within(part, bounds)]
    inside[np.broadcast_to(stripes, inside.shape)] = value


def image_mark(dtype: np.dtype[Any], limits: tuple[float, float] | None) -> Any:
    """Give what an image is hatched in: the brightest value that is on screen.

    `limits` are its contrast limits; RGB has none, and is hatched in white.
    """
    if dtype.kind == "b":
        return True
    if dtype.kind in "iu":
        information = np.iinfo(dtype)
        brightest = information.max if limits is None else limits[1]
        return min(max(int(brightest), information.min), information.max)
    return 1.0 if limits is None else limits[1]


def label_mark(colormap: Any, dtype: np.dtype[Any]) -> int:
    """Give the label that a label image is hatched in: one that has a colour."""
    # With a ``color_dict``, label to RGBA, only some labels may be visible.
    largest = int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1
    colors = getattr(colormap, "color_dict", {})
    visible = (
        label
        for label, color in colors.items()
        if label and label <= largest and color[-1] > 0
    )
    return next(visible, min(largest, np.iinfo(np.int32).max))
