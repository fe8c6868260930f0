"""Arrays of other readers, read through the same door as ours."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dask.array as da
import numpy as np

from napari_omezarr.pyramid import Pixels, pixels_of
from napari_omezarr.pyramid.pixels import Readable

if TYPE_CHECKING:
    from napari_omezarr.pyramid.boxes import Bounds

_THREADS = 4


class ForeignPixels(Readable):
    """A numpy, dask or zarr array, or any other that is sliced like them.

    Parameters
    ----------
    array : array-like
        With ``shape``, ``dtype`` and slicing. Slices are read in threads, for such
        an array blocks; what goes wrong then is raised as its library says it.
    """

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape: tuple[int, ...] = tuple(int(size) for size in array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype).newbyteorder("=")
        self.chunks = _chunks(array, self.shape)
        self.concurrency = _THREADS
        self.token = uuid4().hex
        self._threads = ThreadPoolExecutor(_THREADS, "napari-omezarr region")

    def __repr__(self) -> str:
        return f"<ForeignPixels {type(self.array).__name__} {self.shape} {self.dtype}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, without holding up the I/O loop that it is called on."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._slice, bounds)

    def _slice(self, bounds: Bounds) -> np.ndarray:
        box = self.array[tuple(slice(start, stop) for start, stop in bounds)]
        return np.asarray(box, dtype=self.dtype)


def as_pixels(array: Any) -> Pixels:
    """Give the pixels that an array of ours reads, else a door to the array."""
    ours = pixels_of(array) if isinstance(array, da.Array) else None
    return ForeignPixels(array) if ours is None else ours


def _chunks(array: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape of a chunk: the largest one of dask, the whole of numpy."""
    chunks = getattr(array, "chunksize", None) or getattr(array, "chunks", None)
    if chunks is None or len(chunks) != len(shape):
        return tuple(max(1, size) for size in shape)
    return tuple(
        max(1, min(int(chunk), size)) for chunk, size in zip(chunks, shape, strict=True)
    )
