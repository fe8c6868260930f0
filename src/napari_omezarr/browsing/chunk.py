"""One chunk of an image: its pixels, its size in the store, how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING

from napari_omezarr.errors import OptionError, UnsupportedDataError
from napari_omezarr.pyramid.pixels import ArrayPixels
from napari_omezarr.reading import ReadOptions, read
from napari_omezarr.store import run

if TYPE_CHECKING:
    import numpy as np

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Pixels

_INDEX_ENTRY, _CHECKSUM = 16, 4
"""Bytes in the index of a shard: two integers for each chunk, and CRC32C at its end."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk, as it was read.

    Attributes
    ----------
    key : str
        The object that it lies in, below the image.
    index : tuple of int
        Which chunk, along each axis.
    pixels : numpy.ndarray
        Without what juts out over the image's edge; the fill value if `is_missing`.
    stored : int
        Bytes in the store; 0 if nothing is stored.
    raw : int
        Bytes without compression.
    seconds : float
        From asking to decoded pixels.
    is_missing : bool
        Whether nothing is stored, which is how fill values are kept.
    """

    key: str
    index: tuple[int, ...]
    pixels: np.ndarray
    stored: int
    raw: int
    seconds: float
    is_missing: bool

    @property
    def ratio(self) -> float | None:
        """How many times smaller it is in the store; None if nothing is stored."""
        return self.raw / self.stored if self.stored else None


def view_chunk(location: Location, level: int, index: tuple[int, ...]) -> Chunk:
    """Read one chunk of an image; blocks.

    Parameters
    ----------
    location : Location
        The image, the label image or the array.
    level : int
        Which level, 0 being the finest.
    index : tuple of int
        Which chunk along each axis of the array.

    Raises
    ------
    OptionError
        There is no such level or chunk.
    UnsupportedDataError
        It is a plate, whose chunks are those of its fields.
    StoreError
        It could not be read.
    """
    reading = read(location, ReadOptions(labels=False, level=level))
    return fetch_chunk(array_of(reading.pyramids[0].levels[0].pixels), index)


def array_of(pixels: Pixels) -> ArrayPixels:
    """Give the array that some pixels are.

    Raises
    ------
    UnsupportedDataError
        They are put together of several.
    """
    if not isinstance(pixels, ArrayPixels):
        sentence = "A plate has no chunks of its own."
        raise UnsupportedDataError(sentence, action="Choose a field of a well.")
    return pixels


def fetch_chunk(pixels: ArrayPixels, index: tuple[int, ...]) -> Chunk:
    """Read one chunk and take its time; blocks.

    Raises
    ------
    OptionError
        There is no such chunk.
    StoreError
        It could not be read.
    """
    grid = grid_of(pixels)
    inside = len(index) == len(grid) and all(
        0 <= i < n for i, n in zip(index, grid, strict=True)
    )
    if not inside:
        counts = ", ".join(map(str, grid))
        raise OptionError(f"There is no chunk {index}; there are ({counts}) of them.")
    return run(_fetch(pixels, index))


def grid_of(pixels: ArrayPixels) -> tuple[int, ...]:
    """Count the chunks along each axis."""
    pairs = zip(pixels.shape, pixels.chunks, strict=True)
    return tuple(-(-size // chunk) for size, chunk in pairs)


async def _fetch(pixels: ArrayPixels, index: tuple[int, ...]) -> Chunk:
    key = pixels.stored_key(index)
    is_there = await pixels.store.exists(key)
    bounds = tuple(
        (i * chunk, min((i + 1) * chunk, size))
        for i, chunk, size in zip(index, pixels.chunks, pixels.shape, strict=True)
    )
    before, start = pixels.store.bytes_received, perf_counter()
    box = await pixels.read(bounds)
    seconds = perf_counter() - start
    received = pixels.store.bytes_received - before
    stored = max(0, received - _index_size(pixels)) if is_there else 0
    raw = prod(pixels.stored_chunks) * pixels.dtype.itemsize
    return Chunk(key, index, box, stored, raw, seconds, stored == 0)


def _index_size(pixels: ArrayPixels) -> int:
    if pixels.shards is None:
        return 0
    pairs = zip(pixels.shards, pixels.stored_chunks, strict=True)
    return prod(shard // chunk for shard, chunk in pairs) * _INDEX_ENTRY + _CHECKSUM
