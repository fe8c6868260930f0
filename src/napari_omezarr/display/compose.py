"""How a chunk that could not be had looks: hatched, never silently black."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.pyramid import Bounds

    from .chunk_cache import ChunkCache, ChunkGrid, ChunkIndex

# A box of one level put together from what is cached of it and of coarser levels.


@dataclass(frozen=True, slots=True)
class Assembly:
    """A box as far as it is known.

    Attributes
    ----------
    array : numpy.ndarray
        The box, writable, in memory of its own; 0 where nothing is known yet.
    missing : tuple of chunk indices
        The chunks of the level itself that are not cached.
    """

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


@dataclass(frozen=True, slots=True)
class _Layer:
    """What a level knows of a box: its cached tiles, and the holes between them."""

    tiles: tuple[tuple[tuple[_Run, ...], np.ndarray], ...]
    holes: tuple[tuple[_Run, ...], ...]


def assemble(
    grids: Sequence[ChunkGrid], level: int, bounds: Bounds, cache: ChunkCache
) -> Assembly:
    """Put a box together; a hole shows the finest coarser level that is cached.

    Parameters
    ----------
    grids : sequence of ChunkGrid
        The levels, finest first, on the same axes.
    level : int
        The level that the box is of.
    bounds : Bounds
        The box, on the pixels of that level.
    cache : ChunkCache
        What is there; nothing is fetched.

    Notes
    -----
    Pixels are taken, never interpolated, so that labels stay labels. The pixel that
    is taken holds the centre of the one that is shown, where all levels cover the
    same extent, as napari draws them.
    """
    array = np.zeros([stop - start for start, stop in bounds], grids[level].dtype)
    layers: list[tuple[int, _Layer]] = []
    hole: Bounds | None = bounds
    for coarser in range(level, len(grids)):
        if hole is None:
            break
        layers.append((coarser, _layer(grids, level, coarser, hole, cache)))
        hole = _hull(layers[-1][1].holes, hole)
    for coarser, layer in reversed(layers):
        for runs, tile in layer.tiles:
            _paste(array, bounds, runs, grids[coarser].seen(tile))
    missing = tuple(tuple(run.chunk for run in runs) for runs in layers[0][1].holes)
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


def _layer(
    grids: Sequence[ChunkGrid],
    level: int,
    coarser: int,
    bounds: Bounds,
    cache: ChunkCache,
) -> _Layer:
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
    return _Layer(
        tiles=tuple((runs, tile) for runs, tile in pairs if tile is not None),
        holes=tuple(runs for runs, tile in pairs if tile is None),
    )


def _runs(bound: tuple[int, int], chunk: int, source: int, target: int) -> list[_Run]:
    """Cut a range of pixels at the borders of a level's chunks."""
    start, stop = bound
    if source == target:
        return [
            _Run(
                number,
                (max(start, number * chunk), min(stop, (number + 1) * chunk)),
                slice(
                    max(start, number * chunk) - number * chunk,
                    min(stop, (number + 1) * chunk) - number * chunk,
                ),
            )
            for number in range(
                start // chunk, -(-stop // chunk) if stop > start else 0
            )
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


def _hull(holes: Sequence[tuple[_Run, ...]], bounds: Bounds) -> Bounds | None:
    """Give the smallest box around all holes, None if there are none."""
    if not holes:
        return None
    return tuple(
        (
            min(runs[axis].at[0] for runs in holes),
            max(runs[axis].at[1] for runs in holes),
        )
        for axis in range(len(bounds))
    )


def _paste(
    array: np.ndarray, bounds: Bounds, runs: tuple[_Run, ...], tile: np.ndarray
) -> None:
    starts = [start for start, _ in bounds]
    target = tuple(
        slice(run.at[0] - start, run.at[1] - start)
        for run, start in zip(runs, starts, strict=True)
    )
    # From the last axis on: the first axes then copy whole rows, which is fast.
    for axis in reversed(range(tile.ndim)):
        take = runs[axis].take
        if isinstance(take, slice):
            tile = tile[(slice(None),) * axis + (take,)]
        else:
            tile = tile.take(take, axis=axis)
    array[target] = tile


# How a chunk that could not be had looks: hatched, never silently black.

STRIPES = 8
"""How many stripes cross a chunk."""


def hatch(
    array: np.ndarray, bounds: Bounds, chunk: Bounds, plane: tuple[int, int], value: Any
) -> None:
    """Draw diagonal stripes over the part of a box that lies in a chunk, in place.

    Between the stripes stays what coarser levels know, so that the part is both
    recognised and not mistaken for data.

    Parameters
    ----------
    array : numpy.ndarray
        The box, any number of axes.
    bounds, chunk : Bounds
        What the box and the chunk cover, in the same level's pixels.
    plane : tuple of int
        The two axes that the diagonals lie in.
    value : scalar
        What the stripes are drawn in.
    """
    part = [
        (max(start, low), min(stop, high))
        for (start, stop), (low, high) in zip(bounds, chunk, strict=True)
    ]
    edge = max(chunk[axis][1] - chunk[axis][0] for axis in plane)
    period = max(2, edge // STRIPES)
    diagonal = np.zeros([1] * array.ndim, int)
    for axis in plane:
        shape = [1] * array.ndim
        shape[axis] = -1
        diagonal = diagonal + np.arange(*part[axis]).reshape(shape)
    stripes = diagonal % period < max(1, period // 4)
    inside = array[
        tuple(
            slice(low - start, high - start)
            for (low, high), (start, _) in zip(part, bounds, strict=True)
        )
    ]
    inside[np.broadcast_to(stripes, inside.shape)] = value


def image_mark(dtype: np.dtype[Any], limits: tuple[float, float] | None) -> Any:
    """Give what an image is hatched in: the brightest value that is on screen.

    Parameters
    ----------
    dtype : numpy.dtype
        The image's data type; the value is one of it.
    limits : tuple of float or None
        The contrast limits; None (for RGB) means white.
    """
    if dtype.kind == "b":
        return True
    if dtype.kind in "iu":
        information = np.iinfo(dtype)
        brightest = information.max if limits is None else limits[1]
        return min(max(int(brightest), information.min), information.max)
    return 1.0 if limits is None else limits[1]


def label_mark(colormap: Any, dtype: np.dtype[Any]) -> int:
    """Give the label that a label image is hatched in: one that has a colour.

    Parameters
    ----------
    colormap : napari.utils.colormaps.Colormap
        With a ``color_dict`` (label to RGBA), only some labels may be visible.
    dtype : numpy.dtype
        The label image's data type; the label is one of it.
    """
    largest = int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1
    colors = getattr(colormap, "color_dict", {})
    visible = (
        label
        for label, color in colors.items()
        if label and label <= largest and color[-1] > 0
    )
    return next(visible, min(largest, np.iinfo(np.int32).max))
