"""Dask arrays over lazily indexed pixels, O(1) in the number of chunks."""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import dask.array as da
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .pixels import Pixels

_PIXELS: WeakValueDictionary[str, Pixels] = WeakValueDictionary()
"""The pixels behind each array of `to_dask`, as long as somebody holds them."""

MOST_BLOCKS = 10_000
"""Dask's own cost grows with the blocks of an array, so a level has no more."""


def merged_chunks(
    shape: Sequence[int], chunks: Sequence[int], most: int = MOST_BLOCKS
) -> tuple[int, ...]:
    """Merge chunks into blocks until there are at most ``most`` of them.

    The first axes are merged first: they are the ones that a viewer steps
    through, and dask reads only the plane that is asked for out of a block.

    Parameters
    ----------
    shape, chunks : sequence of int
        The array's shape and the shape of one stored chunk, in the same axes.
    most : int, optional
        The most blocks that the result may have.

    Returns
    -------
    tuple of int
        A block's shape; along each axis a multiple of the chunk, or the whole axis.
    """
    blocks = [max(1, chunk) for chunk in chunks]
    counts = [ceil(size / block) for size, block in zip(shape, blocks, strict=True)]
    for axis in range(len(blocks)):
        total = prod(counts)
        if total <= most:
            break
        others = total // max(1, counts[axis])
        wanted = max(1, most // max(1, others))
        factor = ceil(counts[axis] / wanted)
        blocks[axis] *= factor
        counts[axis] = ceil(shape[axis] / blocks[axis])
    return tuple(min(b, max(1, s)) for b, s in zip(blocks, shape, strict=True))


def to_dask(pixels: Pixels) -> da.Array:
    """Give pixels as a dask array; nothing is read.

    Parameters
    ----------
    pixels : Pixels
        Any number of axes; the array has its shape, dtype and axis order.

    Returns
    -------
    dask.array.Array
        Lazy; each block is read when it is computed, whole or only the part that
        a slice asks for. Computing it raises ``StoreError`` when a read fails.
    """
    # A name of our own: dask would hash the whole object to make one.
    name = f"omezarr-{pixels.token}"
    _PIXELS[name] = pixels
    array: da.Array = da.from_array(
        pixels,
        chunks=merged_chunks(pixels.shape, pixels.chunks),
        name=name,
        meta=np.empty((0,) * len(pixels.shape), pixels.dtype),
        inline_array=True,
    )
    return array


def pixels_of(array: da.Array) -> Pixels | None:
    """Give the pixels that an array of `to_dask` reads; None for any other array.

    A writer reads them with many requests at once, where dask would ask for as
    many chunks at a time as there are processors.
    """
    return _PIXELS.get(array.name)
