"""The chunks of one level, as the display sees them and as they are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from napari_omezarr.pyramid import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from napari_omezarr.pyramid import Pixels
    from napari_omezarr.pyramid.boxes import Bounds

ChunkIndex = tuple[int, ...]
ChunkKey = tuple[str, ChunkIndex]
"""The token of the stored pixels, and a chunk's place on their grid."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stored chunk: how to name it and how to read it."""

    key: ChunkKey
    pixels: Pixels = field(compare=False, repr=False)
    bounds: Bounds = field(compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The chunk's shape; smaller than others at the array's end."""
        return tuple(stop - start for start, stop in self.bounds)

    @property
    def nbytes(self) -> int:
        """The chunk's size when decoded."""
        return prod(self.shape) * self.pixels.dtype.itemsize


class ChunkGrid:
    """The chunks of a level.

    Windows are seen through: the channels of one array name the same stored chunk,
    so that it is fetched and decoded once for all of them.

    Parameters
    ----------
    pixels : Pixels
        What the layer shows; all indices and bounds of this class are on its axes.
    """

    def __init__(self, pixels: Pixels) -> None:
        self.shape = pixels.shape
        self.dtype = pixels.dtype
        self.chunks = pixels.chunks
        self.ndim = len(pixels.shape)
        self.source, self._axes, fixed = _seen_through(pixels)
        self._origin = [0] * len(self.source.shape)
        self._inside: list[Any] = [slice(None)] * len(self.source.shape)
        for axis, index in fixed.items():
            size = self.source.chunks[axis]
            self._origin[axis], self._inside[axis] = divmod(index, size)

    @property
    def token(self) -> str:
        """The name of the stored pixels."""
        return self.source.token

    @property
    def counts(self) -> tuple[int, ...]:
        """How many chunks there are along each axis."""
        return tuple(
            -(-size // chunk)
            for size, chunk in zip(self.shape, self.chunks, strict=True)
        )

    def key(self, index: ChunkIndex) -> ChunkKey:
        """Name the stored chunk that holds a chunk of this grid."""
        stored = list(self._origin)
        for axis, number in zip(self._axes, index, strict=True):
            stored[axis] = number
        return self.source.token, tuple(stored)

    def chunk(self, index: ChunkIndex) -> Chunk:
        """Give the stored chunk that holds a chunk of this grid."""
        key = self.key(index)
        sizes = zip(key[1], self.source.chunks, self.source.shape, strict=True)
        bounds = tuple((n * c, min((n + 1) * c, size)) for n, c, size in sizes)
        return Chunk(key, self.source, bounds)

    def seen(self, stored: np.ndarray) -> np.ndarray:
        """Give the part of a stored chunk's array that this level shows, as a view."""
        part: np.ndarray = stored[tuple(self._inside)]
        return part

    def bounds(self, index: ChunkIndex) -> Bounds:
        """Give the box that a chunk covers."""
        sizes = zip(index, self.chunks, self.shape, strict=True)
        return tuple((n * c, min((n + 1) * c, size)) for n, c, size in sizes)

    def within(self, bounds: Bounds) -> Iterator[ChunkIndex]:
        """Go through the chunks that a box touches, in C order."""
        ranges = (
            range(start // chunk, -(-stop // chunk)) if stop > start else ()
            for (start, stop), chunk in zip(bounds, self.chunks, strict=True)
        )
        return product(*ranges)

    def nbytes_within(self, bounds: Bounds) -> int:
        """Give the decoded size of the stored chunks that a box touches."""
        counts = [
            -(-stop // chunk) - start // chunk
            for (start, stop), chunk in zip(bounds, self.chunks, strict=True)
        ]
        return prod(counts) * prod(self.source.chunks) * self.dtype.itemsize


def place_of(pixels: Pixels) -> str:
    """Say where pixels lie, as a person would: a host or bucket, else this computer."""
    address = getattr(_innermost(pixels), "address", "")
    return urlsplit(address).netloc or "this computer"


def notes_of(pixels: Pixels) -> tuple[str, ...]:
    """Give the sentences about what happened at the store that pixels come from."""
    store = getattr(_innermost(pixels), "store", None)
    notes: tuple[str, ...] = getattr(store, "notes", ())
    return notes


def _innermost(pixels: Any) -> Any:
    while hasattr(pixels, "source"):
        pixels = pixels.source
    return pixels


def _seen_through(pixels: Pixels) -> tuple[Pixels, list[int], dict[int, int]]:
    """Give the pixels behind all windows, where our axes lie in them, what is fixed."""
    axes = list(range(len(pixels.shape)))
    fixed: dict[int, int] = {}
    while isinstance(pixels, Window):
        outer = range(len(pixels.source.shape))
        kept = [axis for axis in outer if axis not in pixels.fixed]
        axes = [kept[axis] for axis in axes]
        fixed = {kept[axis]: index for axis, index in fixed.items()} | pixels.fixed
        pixels = pixels.source
    return pixels, axes, fixed
