"""The pixels of one level, read when asked for and never before."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from uuid import uuid4

import numpy as np
import zarr
from zarr.buffer.cpu import buffer_prototype

from napari_omezarr._io_loop import bounded_gather
from napari_omezarr.store import RemoteStore, run

from .boxes import bounded, chunk_counts, chunk_parts, shape_of
from .decoding import decoding_of
from .shards import ShardReader, ZarrParts, layout_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .boxes import Bounds, ChunkPart
    from .decoding import Decoding
    from .shards import PartSource, ShardLayout

# How many chunks zarr asks for at a time.

_KEY = "async.concurrency"
_lock = Lock()
_reads: list[int] = []
_outer: list[Any] = []


@contextmanager
def reading_at(concurrency: int) -> Iterator[None]:
    """Let zarr ask for ``concurrency`` chunks at a time inside the block.

    zarr has one setting for the whole process, which every read looks up anew.
    While several reads overlap, the highest holds; after the last one the
    setting is what it was before the first. (A ``with zarr.config.set`` in each
    thread would end with whichever value was restored last.)
    """
    with _lock:
        if not _reads:
            _outer.append(zarr.config.get(_KEY))
        _reads.append(concurrency)
        zarr.config.set({_KEY: max(*_reads, *_outer)})
    try:
        yield
    finally:
        with _lock:
            _reads.remove(concurrency)
            zarr.config.set({_KEY: max(*_reads, *_outer) if _reads else _outer.pop()})


# Pixels, and those of a zarr array.


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
        sizes = shape_of(selection.bounds)
        if 0 in sizes:
            return selection.taken_from(np.empty(sizes, self.dtype))
        with reading_at(self.concurrency):
            box = run(self.read(selection.bounds))
        return selection.taken_from(box)

    def __array__(self: Pixels, dtype: Any = None, copy: bool | None = None) -> Any:
        if copy is False:
            msg = "pixels have to be read, which cannot be done without a copy"
            raise ValueError(msg)
        return np.asarray(self[...], dtype=dtype)

    @property
    def ndim(self: Pixels) -> int:
        """The number of axes."""
        return len(self.shape)


class ArrayPixels(Readable):
    """The pixels of a zarr array, in native byte order.

    The array was opened from its document, without a request; ``address`` names the
    pixels and holds no secret.
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
        self._decoding: Decoding | None = None
        self._shard_reader: ShardReader | None = None
        layout = layout_of(array)
        if layout is None:
            self._decoding = decoding_of(array)
        else:
            parts = _parts_of(array.store_path.store)
            name = self._object_key
            self._shard_reader = ShardReader(parts, layout, name, address)
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
    def shard_layout(self) -> ShardLayout | None:
        """How the shards are laid out; None if there are none."""
        return self._shard_reader.layout if self._shard_reader else None

    @property
    def stored_chunks(self) -> tuple[int, ...]:
        """The shape that every chunk is stored in, those at the edges too."""
        return tuple(self._array.chunks)

    @property
    def stored_grid(self) -> tuple[int, ...]:
        """How many stored objects there are along each axis: shards, or chunks."""
        return chunk_counts(self.shape, self.shards or self.stored_chunks)

    def stored_key(self, chunk: tuple[int, ...]) -> str:
        """Give the key of the stored object that a chunk lies in, by its index."""
        shape = self.shards or self._array.chunks
        inner = self._array.chunks
        index = tuple(i * c // s for i, c, s in zip(chunk, inner, shape, strict=True))
        return self._object_key(index)

    def _object_key(self, index: tuple[int, ...]) -> str:
        path = self._array.store_path.path
        return f"{path}/{self._array.metadata.encode_chunk_key(index)}".lstrip("/")

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop; a missing chunk is the fill value.

        Raises
        ------
        StoreError
            A chunk could not be had.
        """
        if self._shard_reader is not None:
            box = np.empty(shape_of(bounds), self.dtype)
            shards = chunk_parts(bounds, self._shard_reader.layout.shards)
            await bounded_gather(
                (partial(self._shard_reader.fill, part, box) for part in shards),
                self.concurrency,
            )
            return box
        assert self._decoding is not None
        box = np.empty(shape_of(bounds), self.dtype)
        parts = chunk_parts(bounds, self._decoding.shape)
        await bounded_gather(
            (partial(self._place, part, box, self._decoding) for part in parts),
            self.concurrency,
        )
        return box

    async def stored_size(self, chunk: tuple[int, ...]) -> int | None:
        """Give how many bytes a chunk takes in its shard; None if nobody knows."""
        return (
            None
            if self._shard_reader is None
            else await self._shard_reader.stored_size(chunk)
        )

    async def _place(
        self, part: ChunkPart, box: np.ndarray, decoding: Decoding
    ) -> None:
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


def _parts_of(store: Any) -> PartSource:
    return store if isinstance(store, RemoteStore) else ZarrParts(store)
