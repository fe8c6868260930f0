"""Pyramid: one image with its metadata and lazy levels; nothing is read yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, prod
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import dask.array as da
import numpy as np

from .views import FixedAxes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_omezarr.location import Location
    from napari_omezarr.metadata import Affine, Axis, ImageLabel, ResolvedChannel

    from .pixels import Pixels


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of an image.

    ``affine`` maps an index of ``pixels`` to world coordinates, N x (N+1), the
    centre of the first pixel being index 0.
    """

    path: str
    pixels: Pixels
    affine: Affine


@dataclass(frozen=True, slots=True)
class Pyramid:
    """One image or label image, finest level first; all levels have ``axes``.

    Parameters
    ----------
    location : Location
        The group, or the array, that it was read from.
    name : str
        The image's name, never empty.
    axes, world_axes : tuple of Axis
        Those of the arrays, in order, and those of the world that the affines lead
        to; the same but where a 0.6 document permutes or names another system.
    levels : tuple of Level
        At least one, each smaller than the one before.
    channel_axis : int or None
        Which axis is the channel axis.
    channels : tuple of ResolvedChannel
        One for each index of the channel axis; one when there is none.
    rgb : bool
        The channels are red, green, blue (and alpha) of one picture.
    label : ImageLabel or None
        Colours and properties; not None makes this a label image.
    version : str or None
        The OME-Zarr version; None for a plain zarr array.
    attributes : Mapping
        The group's original attributes.
    warnings : tuple of str
        What had to be tolerated to open it, a sentence each.
    default_point : dict of int to int
        The index to show first, by axis (``omero``'s defaultT and defaultZ).
    extras : Mapping
        The group's attributes that are none of OME-Zarr's: other programs' keys,
        and ``napari``, under which we save what OME-Zarr has no word for.

    Examples
    --------
    >>> from napari_omezarr import Location, read
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> image, nuclei = read(Location.parse("cells.ome.zarr")).pyramids
    >>> image.shape, [channel.name for channel in image.channels]
    ((2, 8, 64, 64), ['Nuclei', 'Membranes'])
    >>> [level.shape for level in image.data(0)]
    [(8, 64, 64), (8, 32, 32), (4, 16, 16)]
    >>> nuclei.label is not None
    True
    """

    location: Location
    name: str
    axes: tuple[Axis, ...]
    world_axes: tuple[Axis, ...]
    levels: tuple[Level, ...]
    channel_axis: int | None
    channels: tuple[ResolvedChannel, ...]
    rgb: bool = False
    label: ImageLabel | None = None
    version: str | None = None
    attributes: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    default_point: Mapping[int, int] | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the finest level."""
        return self.levels[0].pixels.shape

    def channel(self, index: int) -> tuple[Pixels, ...]:
        """Give the levels of one channel, without the channel axis.

        Raises
        ------
        IndexError
            There is no such channel.
        """
        if not 0 <= index < len(self.channels):
            msg = f"channel {index} of {len(self.channels)}"
            raise IndexError(msg)
        if self.channel_axis is None:
            return tuple(level.pixels for level in self.levels)
        fixed = {self.channel_axis: index}
        return tuple(FixedAxes(level.pixels, fixed) for level in self.levels)

    def data(self, index: int | None = None) -> tuple[da.Array, ...]:
        """Give lazy dask arrays of the levels, finest first.

        Parameters
        ----------
        index : int or None, optional
            One channel, without its axis; None gives all axes.
        """
        if index is None:
            return tuple(to_dask(level.pixels) for level in self.levels)
        return tuple(to_dask(pixels) for pixels in self.channel(index))


# Dask arrays over lazily indexed pixels, O(1) in the number of chunks.

_PIXELS: WeakValueDictionary[str, Pixels] = WeakValueDictionary()
"""The pixels behind each array of `to_dask`, as long as somebody holds them."""

MOST_BLOCKS = 10_000
"""Dask's own cost grows with the blocks of an array, so a level has no more."""


def merged_chunks(
    shape: Sequence[int], chunks: Sequence[int], most: int = MOST_BLOCKS
) -> tuple[int, ...]:
    """Merge chunks into blocks until there are at most ``most`` of them.

    Along each axis a block is a multiple of the chunk, or the whole axis. The first
    axes are merged first: they are the ones that a viewer steps through, and dask
    reads only the plane that is asked for out of a block.
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
    """Give pixels as a dask array of the same shape, dtype and axes; nothing is read.

    A block is read when it is computed, whole or only the part that a slice asks for.

    Raises
    ------
    StoreError
        When it is computed and a read fails.
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
