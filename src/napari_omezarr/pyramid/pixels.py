"""The pixels of one level, read when asked for and never before."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from uuid import uuid4

import numpy as np
from zarr.buffer.cpu import buffer_prototype

from napari_omezarr.store import run

from .concurrency import at_once, reading_at
from .decoding import decoding_of
from .selection import bounded, parts_of

if TYPE_CHECKING:
    import zarr

    from .decoding import Decoding
    from .selection import Bounds, Part


@runtime_checkable
class Pixels(Protocol):
    """What the display, dask and a writer need of a level.

    Chunks lie on a regular grid that begins at 0.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type, in native byte order."""
        ...

    @property
    def ndim(self) -> int:
        """The number of axes."""
        ...

    @property
    def chunks(self) -> tuple[int, ...]:
        """The shape of the smallest part that is worth reading."""
        ...

    @property
    def token(self) -> str:
        """A name: equal tokens, equal pixels."""
        ...

    @property
    def concurrency(self) -> int:
        """How many chunks may be asked for at a time."""
        ...

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop."""
        ...

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read in the calling thread; any basic or orthogonal key."""
        ...


class Readable:
    """Reading by key, in the calling thread, for everything that can ``read``."""

    def __getitem__(self: Pixels, key: Any) -> np.ndarray:
        selection = bounded(key, self.shape)
        sizes = [stop - start for start, stop in selection.bounds]
        if 0 in sizes:
            return selection.taken_from(np.empty(sizes, self.dtype))
        with reading_at(self.concurrency):
            box = run(self.read(selection.bounds))
        return selection.taken_from(box)

    @property
    def ndim(self: Pixels) -> int:
        """The number of axes."""
        return len(self.shape)


class ArrayPixels(Readable):
    """The pixels of a zarr array, in native byte order.

    Parameters
    ----------
    array : zarr.AsyncArray
        Opened from its metadata document, without a request.
    address : str
        The array's address without secrets; names the pixels.
    concurrency : int
        How many chunks may be asked for at a time.
    """

    def __init__(
        self, array: zarr.AsyncArray[Any], address: str, concurrency: int
    ) -> None:
        self._array = array
        self.address = address
        self.concurrency = concurrency
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype).newbyteorder("=")
        self.chunks: tuple[int, ...] = tuple(
            min(chunk, max(1, size))
            for chunk, size in zip(array.chunks, self.shape, strict=True)
        )
        self.shards: tuple[int, ...] | None = (
            None if array.shards is None else tuple(array.shards)
        )
        self._decoding = decoding_of(array)
        # Unique for each opening: what lies at the address may have changed since.
        self.token = uuid4().hex

    def __repr__(self) -> str:
        return f"<ArrayPixels {self.address} {self.shape} {self.dtype}>"

    @property
    def store(self) -> Any:
        """The store that the chunks come from."""
        return self._array.store_path.store

    @property
    def document(self) -> dict[str, Any]:
        """The array's metadata document."""
        return dict(self._array.metadata.to_dict())

    @property
    def stored_chunks(self) -> tuple[int, ...]:
        """The shape that every chunk is stored in, those at the edges too."""
        return tuple(self._array.chunks)

    @property
    def stored_grid(self) -> tuple[int, ...]:
        """How many stored objects there are along each axis: shards, or chunks."""
        pairs = zip(self.shape, self.shards or self.stored_chunks, strict=True)
        return tuple(-(-size // each) for size, each in pairs)

    def stored_key(self, chunk: tuple[int, ...]) -> str:
        """Give the key of the object in the store that a chunk lies in.

        Parameters
        ----------
        chunk : tuple of int
            The chunk's index along each axis.
        """
        shape = self.shards or self._array.chunks
        inner = self._array.chunks
        index = tuple(i * c // s for i, c, s in zip(chunk, inner, shape, strict=True))
        path = self._array.store_path.path
        return f"{path}/{self._array.metadata.encode_chunk_key(index)}".lstrip("/")

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop.

        Raises
        ------
        StoreError
            A chunk could not be had; a missing chunk is the fill value instead.
        """
        if self._decoding is None:
            selection = tuple(slice(start, stop) for start, stop in bounds)
            return np.asarray(await self._array.getitem(selection), dtype=self.dtype)
        box = np.empty([stop - start for start, stop in bounds], self.dtype)
        parts = parts_of(bounds, self._decoding.shape)
        await at_once(
            (partial(self._place, part, box, self._decoding) for part in parts),
            self.concurrency,
        )
        return box

    async def _place(self, part: Part, box: np.ndarray, decoding: Decoding) -> None:
        """Read one chunk and put what is wanted of it into its place in the box."""
        place = self._array.store_path
        key = self._array.metadata.encode_chunk_key(part.chunk)
        body = await (place / key).get(buffer_prototype)
        if body is None:
            box[part.target] = decoding.fill_value
            return

        def decode() -> None:
            pixels = decoding.decode(body.as_numpy_array(), f"{self.address}/{key}")
            box[part.target] = pixels[part.source]

        await asyncio.get_running_loop().run_in_executor(None, decode)
