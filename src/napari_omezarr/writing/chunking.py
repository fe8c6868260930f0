"""How an array is cut: chunks of about 1 MB, shards where there would be too many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_omezarr.metadata import Axis

    from .options import Layout

CHUNK_BYTES = 2**20
SHARD_BYTES = 2**24
"""Larger ones leave too few to be on their way at a time within the memory."""
MANY_OBJECTS = 4000
"""From so many objects on, an object store is better off with shards."""
_ABOUT_AS_FINE = 1.5
_DEEP = 16


def spatial(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[int, ...]:
    """Give the axes along which an image has resolution: space, longer than 1."""
    found = [i for i, a in enumerate(axes) if a.type == "space" and shape[i] > 1]
    if found or any(axis.type == "space" for axis in axes):
        return tuple(found)
    return tuple(i for i in range(max(0, len(axes) - 2), len(axes)) if shape[i] > 1)


def default_chunks(
    axes: Sequence[Axis],
    shape: Sequence[int],
    itemsize: int,
    spacing: Sequence[float],
    layout: Layout = "auto",
) -> tuple[int, ...]:
    """Choose a chunk of about 1 MB.

    It doubles along the side that is shortest in the world, y and x only where
    the image is a stack of planes: where the voxel is much longer in z, or there
    are few planes.

    Parameters
    ----------
    axes, shape : sequence
        Of the finest level.
    itemsize : int
        Bytes of a pixel.
    spacing : sequence of float
        The pixel's size along each axis, in world units.
    layout : {"auto", "plane", "volume"}, optional
        Whether z takes part.
    """
    sides = spatial(axes, shape)
    volume = _is_volume(sides, shape, spacing, layout)
    growing = sides if volume else sides[-2:]
    width = [abs(size) if volume else 1.0 for size in spacing]
    chunk = [1] * len(shape)
    while 2 * math.prod(chunk) * itemsize <= CHUNK_BYTES:
        open_sides = [axis for axis in growing if chunk[axis] < shape[axis]]
        if not open_sides:
            break
        # Of equal sides the later one, whose pixels lie closer in memory.
        axis = min(reversed(open_sides), key=lambda a: chunk[a] * width[a])
        chunk[axis] *= 2
    return tuple(min(c, max(1, s)) for c, s in zip(chunk, shape, strict=True))


def default_shards(
    axes: Sequence[Axis], shape: Sequence[int], chunks: Sequence[int], itemsize: int
) -> tuple[int, ...]:
    """Choose a shard of whole chunks, about 16 MB, near a cube of chunks."""
    shard = list(chunks)
    growing = spatial(axes, shape) or tuple(range(len(shape)))
    while 2 * math.prod(shard) * itemsize <= SHARD_BYTES:
        open_sides = [axis for axis in growing if shard[axis] < shape[axis]]
        if not open_sides:
            break
        axis = min(reversed(open_sides), key=lambda a: shard[a] // chunks[a])
        shard[axis] *= 2
    return whole_chunks(shard, chunks, shape)


def whole_chunks(
    wanted: Sequence[int], chunks: Sequence[int], shape: Sequence[int]
) -> tuple[int, ...]:
    """Give the wanted shard as whole chunks, no longer than the array needs."""
    return tuple(
        chunk * max(1, min(-(-want // chunk), -(-size // chunk)))
        for want, chunk, size in zip(wanted, chunks, shape, strict=True)
    )


def named_sizes(
    sizes: Mapping[str, int], axes: Sequence[Axis], default: Sequence[int]
) -> tuple[int, ...]:
    """Put sizes that are given by axis name in place of the default ones."""
    return tuple(
        int(sizes.get(axis.name, other))
        for axis, other in zip(axes, default, strict=True)
    )


def objects(shape: Sequence[int], unit: Sequence[int]) -> int:
    """Count the objects that an array is stored in."""
    pairs = zip(shape, unit, strict=True)
    return math.prod(-(-size // step) for size, step in pairs)


def _is_volume(
    sides: Sequence[int],
    shape: Sequence[int],
    spacing: Sequence[float],
    layout: Layout,
) -> bool:
    if len(sides) < 3 or layout == "plane":
        return False
    if layout == "volume":
        return True
    depth = sides[0]
    finest = min(abs(spacing[axis]) for axis in sides)
    fine = abs(spacing[depth]) <= _ABOUT_AS_FINE * finest
    return fine and shape[depth] >= _DEEP


def step_factors(
    axes: Sequence[Axis], shape: Sequence[int], spacing: Sequence[float]
) -> tuple[int, ...]:
    """Choose by how much the next level shrinks each axis: 2 or 1.

    An axis waits until the others are about as coarse as it is, so that voxels
    become cubes and stay so.
    """
    sides = spatial(axes, shape)
    if not sides:
        return (1,) * len(shape)
    units = {axes[axis].unit for axis in sides}
    if len(units) > 1:  # sizes that cannot be compared: leave z alone
        sides = sides[-2:]
    finest = min(abs(spacing[axis]) for axis in sides)
    return tuple(
        2 if i in sides and abs(spacing[i]) <= _ABOUT_AS_FINE * finest else 1
        for i in range(len(shape))
    )
