"""The pixels of one level, read when asked for and never before."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from uuid import uuid4

import numpy as np
import zarr
from numcodecs import get_codec
from zarr.buffer.cpu import buffer_prototype
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, ZstdCodec

from napari_omezarr._io_loop import bounded_gather
from napari_omezarr.errors import StoreError
from napari_omezarr.store import run

from .boxes import bounded, chunk_counts, chunk_parts, shape_of, slices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numcodecs.abc import Codec

    from .boxes import Bounds, ChunkPart

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


# Chunks of the usual kind, decoded in one step and not by zarr's pipeline.
#
# The pipeline takes any chain of codecs, at the price of a dozen tasks of Python for
# each chunk; and it copies all chunks into place on one thread, the one that serves
# the network. Nearly every image is numbers in C order that one codec compressed.
# Those need one call in a thread for each chunk: a third less processor time, and the
# network never waits (benchmarks/README.md).

_PLAIN = {"blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"}
"""zarr 2's compressors, of which each is the whole way from bytes to bytes."""

_SAME: dict[type, str] = {BloscCodec: "blosc", GzipCodec: "gzip", ZstdCodec: "zstd"}
"""zarr 3's compressors by the name of the one of zarr 2 that undoes the same."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the bytes of a chunk become its pixels."""

    dtype: np.dtype[Any]  # as stored, byte order included
    shape: tuple[int, ...]  # of every stored chunk, those over an edge included
    codec: Codec | None
    fill_value: Any  # what all pixels of a missing chunk are

    def decode(self, body: bytes, name: str) -> np.ndarray:
        """Decode one chunk, in any thread, to ``dtype`` and ``shape``; may view `body`.

        Raises
        ------
        StoreError
            The bytes are not what the array's document says.
        """
        try:
            plain = body if self.codec is None else self.codec.decode(body)
            return np.frombuffer(plain, self.dtype).reshape(self.shape)
        # The words for "this is not mine" of the codecs, and of numpy.
        except (RuntimeError, ValueError, OSError, EOFError) as error:
            sentence = f"{name} is damaged: it cannot be decoded."
            action = "Ask its owner to copy it again."
            raise StoreError(sentence, action=action, url=name) from error


def decoding_of(array: zarr.AsyncArray[Any]) -> Decoding | None:
    """Find the one step that decodes an array's chunks, from its document alone.

    None where it takes more: shards, filters, another order, several codecs or one
    that is not known here. zarr's pipeline then decodes.
    """
    if array.shards is not None or array.filters or array.order != "C":
        return None
    dtype = _stored_dtype(array)
    if dtype is None or len(array.compressors) > 1:
        return None
    codec = None
    if array.compressors:
        codec = _decompressor(array.compressors[0])
        if codec is None:
            return None
    fill_value = array.metadata.fill_value
    return Decoding(dtype, array.chunks, codec, 0 if fill_value is None else fill_value)


def _stored_dtype(array: zarr.AsyncArray[Any]) -> np.dtype[Any] | None:
    """Give the type of the numbers in the stored bytes, if they are just that."""
    dtype = np.dtype(array.dtype)
    if array.metadata.zarr_format == 2:
        return dtype
    if not isinstance(array.serializer, BytesCodec):
        return None
    endian = array.serializer.endian
    # An enumeration up to zarr 3.1, its value later; None where a number is a byte.
    order = getattr(endian, "value", endian)
    return dtype.newbyteorder(">" if order == "big" else "<")


def _decompressor(compressor: Any) -> Codec | None:
    codec_id = getattr(compressor, "codec_id", None)
    if codec_id in _PLAIN:
        return compressor
    same = _SAME.get(type(compressor))
    return None if same is None else get_codec({"id": same})


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
        return chunk_counts(self.shape, self.shards or self.stored_chunks)

    def stored_key(self, chunk: tuple[int, ...]) -> str:
        """Give the key of the stored object that a chunk lies in, by its index."""
        shape = self.shards or self._array.chunks
        inner = self._array.chunks
        index = tuple(i * c // s for i, c, s in zip(chunk, inner, shape, strict=True))
        path = self._array.store_path.path
        return f"{path}/{self._array.metadata.encode_chunk_key(index)}".lstrip("/")

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop; a missing chunk is the fill value.

        Raises
        ------
        StoreError
            A chunk could not be had.
        """
        if self._decoding is None:
            found = await self._array.getitem(slices(bounds))
            return np.asarray(found, dtype=self.dtype)
        box = np.empty(shape_of(bounds), self.dtype)
        parts = chunk_parts(bounds, self._decoding.shape)
        await bounded_gather(
            (partial(self._place, part, box, self._decoding) for part in parts),
            self.concurrency,
        )
        return box

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
