"""The pixels of one level, read when asked for and never before."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain, count, islice, pairwise, product
from math import prod
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from uuid import uuid4

import numpy as np
import zarr
from zarr.storage import StorePath

from napari_omezarr._io_loop import bounded_gather, oldest_garbage_waits
from napari_omezarr.errors import DamagedDataError, ObjectChangedError, StoreError
from napari_omezarr.location import ARRAY_DOCUMENT
from napari_omezarr.store import FIRST_BYTE, RemoteStore, for_decoding, run

from .boxes import bounded, chunk_counts, chunk_parts, shape_of, touched
from .decoding import StoredChunk, decoding_of, is_of_document
from .shards import ShardReader, ZarrParts, layout_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .boxes import Bounds, ChunkPart
    from .decoding import Decoding, Place
    from .shards import PartSource, ShardLayout

_log = logging.getLogger(__name__)

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


def findings(pixels: Any) -> tuple[str, ...]:
    """Give what was found out of the chunks behind some pixels, in sentences."""
    while hasattr(pixels, "source"):
        pixels = pixels.source
    found: tuple[str, ...] = getattr(pixels, "findings", ())
    return found


_PROCESS = uuid4().hex
_numbers = count()


def new_token() -> str:
    """Give a name that no other pixels have, in any process, without asking for noise.

    The thread that serves the network would wait for Python's lock after each.
    """
    return f"{_PROCESS}{os.getpid():x}-{next(_numbers)}"


_PROBES = 3
_ENOUGH = 8
"""After so many chunks that are not there, or all, it is said that there is none."""
_REST = 4
"""So many threads take what would be handed to one if more came."""
TRUSTED = 60.0
"""Seconds for which a document is known to be that of the chunks that are missing."""


class ArrayPixels(Readable):
    """The pixels of a zarr array, in native byte order.

    The array was opened from its document, without a request; ``address`` names the
    pixels and holds no secret. As long as no chunk is there where the document says,
    it is looked for under the other separator of indexes, too.

    Attributes
    ----------
    findings : tuple of str
        What was found out of its chunks while they were read, in sentences.
    may_be_empty : bool
        Whether it is usual that there is no chunk at all, as for new labels.
    confirm : callable or None
        Awaited with the first box; raises if the document is known to be outdated.
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
        self._source = _source_of(self.store)
        self._shard_reader = self._reader_of_shards()
        self._decoding = None if self._shard_reader else decoding_of(array)
        # Unique for each opening: what lies at the address may have changed since.
        self.token = new_token()
        self.findings: tuple[str, ...] = ()
        self.may_be_empty = False
        self.confirm: Callable[[], Awaitable[None]] | None = None
        self._found = self._missed = False
        self._known_at, self._checked_at = time.monotonic(), -TRUSTED
        self._absent: set[tuple[int, ...]] = set()
        self._probes = 0
        self._probing = asyncio.Lock()

    @property
    def attributes(self) -> dict[str, Any]:
        """What somebody added to the array's document."""
        return dict(self._array.attrs)

    def at(self, path: str, address: str) -> ArrayPixels:
        """Give the pixels of another array of the same store and the same document."""
        array = zarr.AsyncArray(self._array.metadata, StorePath(self.store, path))
        other = ArrayPixels.__new__(ArrayPixels)
        fresh = {"token": new_token(), "findings": (), "confirm": None}
        own = {"_array": array, "address": address, "_found": False, "_probes": 0}
        own |= {"_absent": set(), "_missed": False, "_checked_at": -TRUSTED}
        own |= {"_known_at": time.monotonic()}
        other.__setstate__(self.__getstate__() | fresh | own)
        return other

    def __getstate__(self) -> dict[str, Any]:
        # A lock that somebody has waited for belongs to a loop; readers hold tasks.
        own = {"_probing", "_source", "_shard_reader"}
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._probing = asyncio.Lock()
        self._source = _source_of(self.store)
        self._shard_reader = self._reader_of_shards()

    def _reader_of_shards(self) -> ShardReader | None:
        layout = layout_of(self._array) if self.shards else None
        if layout is None:
            return None
        name, told = self._object_key, self._tell
        return ShardReader(self._source, layout, name, self.address, told)

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
            A chunk could not be had, or the document is of an older array.
        """
        array = self._array
        confirming = self.confirm and asyncio.ensure_future(self.confirm())
        try:
            if confirming is None:
                box = await self._read(bounds)
            else:
                box, _ = await asyncio.gather(self._read(bounds), confirming)
                self.confirm = None
        except DamagedDataError as error:
            # An outdated document is why, and is to be known when it is opened again.
            if confirming is not None:
                await confirming
            await self._raise_if_rewritten(error)
            raise
        if self._missed:
            await self._raise_if_rewritten(None)
        if self._absent and not self._found and await self._is_respelled(bounds, array):
            box = await self._read(bounds)
        return box

    async def _raise_if_rewritten(self, error: DamagedDataError | None) -> None:
        """Raise `ObjectChangedError` if the array's document is another one by now.

        Chunks that do not fit the document, or are not there, may be of a later array.
        """
        now = time.monotonic()
        known_at = self._checked_at if error else self._known_at
        if not isinstance(self.store, RemoteStore) or now - known_at < TRUSTED:
            return
        self._known_at = self._checked_at = now
        self._missed = False
        document = ARRAY_DOCUMENT[self._array.metadata.zarr_format]
        key = f"{self._array.store_path.path}/{document}".lstrip("/")
        answer = (await self.store.answers((key,)))[key]
        if isinstance(answer, StoreError) or is_of_document(self._array, answer):
            return
        sentence = f"The array {self.address} was written anew since it was opened."
        action = "Open the image again."
        raise ObjectChangedError(sentence, action=action, url=self.address) from error

    async def _read(self, bounds: Bounds) -> np.ndarray:
        if self._shard_reader is not None:
            box = np.empty(shape_of(bounds), self.dtype)
            shards = chunk_parts(bounds, self._shard_reader.layout.shards)
            fill = self._shard_reader.fill
            with oldest_garbage_waits():
                await bounded_gather(
                    (partial(fill, part, box) for part in shards), self.concurrency
                )
            return box
        assert self._decoding is not None
        # Made as they are asked for: a list of thousands lets Python look for garbage.
        parts = chunk_parts(bounds, self._decoding.shape)
        first = list(islice(parts, 2))
        if len(first) == 1:
            return await self._part(first[0], self._decoding)
        box = np.empty(shape_of(bounds), self.dtype)
        queue = DecodeQueue(self._decoding)
        work = (partial(self._place, part, box, queue) for part in chain(first, parts))
        with oldest_garbage_waits():
            await bounded_gather(work, self.concurrency)
            await queue.finish()
        return box

    # Whether there are any chunks, and under which names.

    def _tell(self, index: tuple[int, ...], *, there: bool) -> None:
        self._missed |= not there
        if there:
            self._found = True
            self._absent.clear()
        elif not self._found and len(self._absent) < _ENOUGH:
            self._absent.add(index)

    async def _is_respelled(self, bounds: Bounds, array: Any) -> bool:
        """Say whether the chunks are under other names, which are used from now on."""
        async with self._probing:
            if self._array is not array:
                return True
            if self._found:
                return False
            other = _respelled(array)
            if other is not None and self._probes < _PROBES:
                self._probes += 1
                index = next(iter(product(*touched(bounds, self._unit))))
                key = other.metadata.encode_chunk_key(index)
                said = array.metadata.encode_chunk_key(index)
                place = f"{array.store_path.path}/{key}".lstrip("/")
                if await self._source.read(place, FIRST_BYTE) is not None:
                    self._array = other
                    self._absent.clear()
                    self._say(
                        f"The chunks of {self.address} have names like {key}, and its "
                        f"document says {said}: they are read where they are."
                    )
                    return True
                if isinstance(self.store, RemoteStore):  # a name that nobody gave
                    self.store.presumed.discard(place)
            if not self.may_be_empty and len(self._absent) >= min(
                _ENOUGH, prod(self.stored_grid)
            ):
                self._say(
                    f"No chunk of {self.address} is there: all is shown as its fill "
                    "value. Its upload may not be complete."
                )
            return False

    def _say(self, sentence: str) -> None:
        if sentence in self.findings:
            return
        self.findings += (sentence,)
        _log.warning("%s", sentence)
        if isinstance(self.store, RemoteStore):
            self.store.say(sentence)

    @property
    def _unit(self) -> tuple[int, ...]:
        return self.shards or self.stored_chunks

    async def stored_size(self, chunk: tuple[int, ...]) -> int | None:
        """Give how many bytes a chunk takes in its shard; None if nobody knows."""
        return (
            None
            if self._shard_reader is None
            else await self._shard_reader.stored_size(chunk)
        )

    async def _place(
        self, part: ChunkPart, box: np.ndarray, queue: DecodeQueue
    ) -> None:
        """Read one chunk and put what is wanted of it into its place in the box."""
        decoding = queue.decoding
        body, name = await self._stored(part, decoding)
        if body is None:
            box[part.target] = decoding.fill_value
        elif decoding.is_quick:
            decoding.place(body, name, [(box, part)])
        else:
            await queue.place(body, name, (box, part))

    async def _part(self, part: ChunkPart, decoding: Decoding) -> np.ndarray:
        """Read what is wanted of one chunk: memory of its own, taken once."""
        body, name = await self._stored(part, decoding)
        decode = partial(self._decoded, body, name, part, decoding)
        if body is None or decoding.is_quick:
            return decode()
        return await asyncio.get_running_loop().run_in_executor(None, decode)

    def _decoded(
        self, body: Any, name: str, part: ChunkPart, decoding: Decoding
    ) -> np.ndarray:
        """Decode what is wanted of one chunk, which is fill value where it is None."""
        if body is None:
            box = np.empty(tuple(along.stop for along in part.target), self.dtype)
            box[...] = decoding.fill_value
            return box
        pixels = decoding.decode(body, name)
        found = pixels[part.source]
        # What a codec made is nobody else's; without one it is what the store gave.
        own = pixels.flags.writeable and not np.may_share_memory(pixels, body)
        whole = found.size == pixels.size and pixels.dtype == self.dtype
        if own and whole and pixels.flags.c_contiguous:
            return found
        return np.array(found, self.dtype, order="C")

    def read_here(
        self, bounds: Bounds, get: Callable[[str], bytes | None], name: str
    ) -> np.ndarray | None:
        """Read a box of one chunk in the calling thread; None if it is not of one.

        ``get`` gives the bytes that are stored under a key of the array that has the
        ``name``, None where there are none. Asking by the I/O loop takes longer where
        nothing is waited for.
        """
        if self._decoding is None or 0 in shape_of(bounds):
            return None
        first, *more = islice(chunk_parts(bounds, self._decoding.shape), 2)
        if more:
            return None
        key = self._array.metadata.encode_chunk_key(first.chunk)
        body = get(key)
        stored = None if body is None else np.frombuffer(body, np.uint8)
        return self._decoded(stored, f"{name}/{key}", first, self._decoding)

    async def _stored(self, part: ChunkPart, decoding: Decoding) -> tuple[Any, str]:
        """Give the bytes of a chunk, None if it is missing, and its name for errors."""
        name = self._array.metadata.encode_chunk_key(part.chunk)
        key = f"{self._array.store_path.path}/{name}".lstrip("/")
        with for_decoding(decoding.longest):
            found = await self._source.read(key)
        self._tell(part.chunk, there=found is not None)
        stored = None if found is None else np.frombuffer(found.body, np.uint8)
        return stored, f"{self.address}/{name}"


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A chunk that has come, its name, and where its pixels go."""

    body: np.ndarray
    name: str
    place: Place


class DecodeQueue:
    """The chunks of a box that have come and are not decoded yet; on the I/O loop.

    They wait until there are enough to hand over to a thread, or no more come.
    """

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding
        self._waiting: list[_Arrived] = []

    async def place(self, body: np.ndarray, name: str, place: Place) -> None:
        """Decode a chunk into its place together with others, by now or later.

        Raises
        ------
        StoreError
            As `Decoding.place` does, for any of them.
        """
        self._waiting.append(_Arrived(body, name, place))
        if len(self._waiting) >= self.decoding.handed_over:
            chunks, self._waiting = self._waiting, []
            await self._hand_over(chunks)

    async def finish(self) -> None:
        """Decode what waits, in several threads. Raises as `place` does."""
        chunks, self._waiting = self._waiting, []
        size = max(1, self.decoding.handed_over // _REST)
        groups = (chunks[n : n + size] for n in range(0, len(chunks), size))
        await asyncio.gather(*map(self._hand_over, groups))

    async def _hand_over(self, chunks: Sequence[_Arrived]) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._decode, chunks)

    def _decode(self, chunks: Sequence[_Arrived]) -> None:
        in_a_row = self.decoding.in_a_row and self.decoding.together > 1
        for group in [chunks] if in_a_row else [[chunk] for chunk in chunks]:
            for error in self.decoding.place_each(*_in_a_row(group)):
                if error is not None:
                    raise error


def _in_a_row(chunks: Sequence[_Arrived]) -> tuple[memoryview, list[StoredChunk]]:
    """Lay the bytes of chunks one after the other."""
    ends = list(accumulate(chunk.body.nbytes for chunk in chunks))
    located = [
        StoredChunk(start, stop, chunk.name, [chunk.place])
        for chunk, (start, stop) in zip(chunks, pairwise([0, *ends]), strict=True)
    ]
    if len(chunks) == 1:
        return chunks[0].body.data, located
    return memoryview(b"".join([chunk.body.data for chunk in chunks])), located


def _respelled(array: zarr.AsyncArray[Any]) -> zarr.AsyncArray[Any] | None:
    """Give an array whose chunks have the other separator; None if that is the same."""
    document: dict[str, Any] = dict(array.metadata.to_dict())
    if array.metadata.zarr_format == 2:
        said = document.get("dimension_separator") or "."
        document["dimension_separator"] = _OTHER[said]
    else:
        encoding = document["chunk_key_encoding"]
        usual = "/" if encoding["name"] == "default" else "."
        said = (encoding.get("configuration") or {}).get("separator", usual)
        document["chunk_key_encoding"] = {
            "name": encoding["name"],
            "configuration": {"separator": _OTHER[said]},
        }
    other = zarr.AsyncArray.from_dict(array.store_path, document)
    index = (0,) * array.ndim
    same = other.metadata.encode_chunk_key(index) == array.metadata.encode_chunk_key(
        index
    )
    return None if same else other


_OTHER = {".": "/", "/": "."}


def _source_of(store: Any) -> PartSource:
    return store if isinstance(store, RemoteStore) else ZarrParts(store)
