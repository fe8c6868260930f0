"""Reading shards: objects that hold many chunks, and an index of where each lies.

What is asked for in the same turn of the loop is served together: a shard is read
whole, index included, where most of it is wanted or where it is small; else its index
once, and then chunks that are near each other in one request. All parts that answer
one reading are of one version of the object. Chunks are decoded in threads, out of the
bytes as they came.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from dataclasses import dataclass, field, fields, replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.buffer.cpu import buffer_prototype

from napari_omezarr.errors import (
    DamagedDataError,
    ObjectChangedError,
    StoreError,
    TruncatedBodyError,
)
from napari_omezarr.store import GetResult, for_decoding

from .boxes import ChunkPart, chunk_parts
from .codecs import unchecked
from .decoding import MISSING, Sharding, StoredChunk, sharding_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import zarr
    from zarr.abc.store import ByteRequest, Store

    from .boxes import Bounds

SMALL = 4 << 20
"""A shard of so many decoded bytes is read whole: its index would cost a round."""
LARGE = 32 << 20
"""A shard above is never read whole: several requests at a time are faster."""
NEAR = 128 << 10
"""Chunks with at most so many bytes between them are asked for in one request."""
LONGEST = 8 << 20
"""No chunks are joined to a longer request."""
TRIES = 3
"""How often a shard is read again that is replaced while it is read."""

_UNDER_WAY = 256 << 20  # bytes that are asked for, or not decoded yet, at a time
_INDEXES = 32 << 20
_WORTH_A_THREAD = 1 << 20
_MOST_CUT = 4096
_TURNS = 2  # for each thread that decodes, of a shard that is read by itself


# What a document says of its shards.


@dataclass(frozen=True, slots=True)
class ShardLayout(Sharding):
    """How the shards of an array are laid out."""

    shape: tuple[int, ...]  # of the array

    @property
    def is_small(self) -> bool:
        """Whether every shard is read whole, whatever is wanted of it."""
        along = zip(self.shape, self.shards, self.chunks, strict=True)
        count = prod(-(-min(size, shard) // chunk) for size, shard, chunk in along)
        return count * self.chunk_size <= SMALL

    @property
    def is_large(self) -> bool:
        """Whether a shard that is wanted whole is read in several requests."""
        return prod(self.grid) * self.chunk_size > LARGE

    def count(self, shard: Sequence[int]) -> int:
        """Count the chunks of a shard that lie in the array."""
        along = zip(shard, self.shape, self.shards, self.chunks, strict=True)
        return prod(
            -(-min(per, size - number * per) // chunk)
            for number, size, per, chunk in along
        )

    def index_request(self) -> ByteRequest:
        """Ask for the index alone."""
        if self.index_at_end:
            return SuffixByteRequest(self.index_size)
        return RangeByteRequest(0, self.index_size)


def layout_of(array: zarr.AsyncArray[Any]) -> ShardLayout | None:
    """Find how an array's shards are laid out, from its document alone.

    None if there are none, or if other codecs follow: those objects are read whole.
    """
    document: dict[str, Any] = array.metadata.to_dict()
    codecs: Any = document.get("codecs") or ()
    if len(codecs) != 1 or codecs[0]["name"] != "sharding_indexed":
        return None
    shards = tuple(document["chunk_grid"]["configuration"]["chunk_shape"])
    sharding = sharding_of(
        codecs[0]["configuration"],
        np.dtype(array.dtype),
        shards,
        array.metadata.fill_value,
        document["data_type"],
    )
    said = {each.name: getattr(sharding, each.name) for each in fields(sharding)}
    return ShardLayout(**said, shape=tuple(array.shape))


# What is read from: a store that knows versions, or any of zarr's.


class PartSource(Protocol):
    """Reads objects and parts of them, as `RemoteStore` does.

    What is only presumed to be missing is asked for again each time.
    """

    def is_presumed(self, key: str) -> bool:
        """Say whether a key is presumed missing; this task then rests on that."""
        ...

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read an object, or a part that tells whether it is there."""
        ...

    async def read_part(self, key: str, start: int, stop: int, etag: str) -> bytes:
        """Read a part of an object that is there, of the version that is named."""
        ...

    def forget(self, key: str) -> None:
        """Drop what is known of an object, which was changed."""
        ...


class ZarrParts:
    """A store of zarr's that says nothing of versions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def is_presumed(self, key: str) -> bool:
        """Presume nothing."""
        return False

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read an object, or a part of it."""
        found = await self._store.get(key, buffer_prototype, wanted)
        if found is None:
            return None
        return GetResult(cast("bytes", found.as_numpy_array().data))

    async def read_part(self, key: str, start: int, stop: int, etag: str) -> bytes:
        """Read a part of an object that is there."""
        found = await self.read(key, RangeByteRequest(start, stop))
        if found is None:
            raise ObjectChangedError(f"{key} has changed while it was read.")
        if len(found.body) != stop - start:
            raise TruncatedBodyError(f"{key} is shorter than its index says.")
        return found.body

    def forget(self, key: str) -> None:
        """Drop nothing: there is nothing."""


# The index of one shard.


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Where the chunks of a shard lie, in the version of it that ``etag`` names."""

    table: np.ndarray  # offset and length, by a chunk's position in C order
    etag: str
    size: int | None  # bytes of the whole object, if they are known
    # Where chunks can lie, and how long they can be: looked at for each of them.
    first: int
    last: int | None
    longest: int
    name: str

    @classmethod
    def parse(
        cls, body: Any, layout: ShardLayout, name: str, etag: str, size: int | None
    ) -> ShardIndex:
        """Take an index apart; raises `StoreError` if it is not one."""
        if len(body) != layout.index_size:
            raise _damaged(name)
        try:
            if layout.index_checked:
                body = unchecked(body)
        except ValueError as error:
            raise _damaged(name) from error
        table = np.frombuffer(body, layout.index_dtype).reshape(-1, 2)
        first = 0 if layout.index_at_end else layout.index_size
        last = size
        if size is not None and layout.index_at_end:
            last = size - layout.index_size
        return cls(table, etag, size, first, last, layout.longest_chunk, name)

    def extent(self, position: int) -> tuple[int, int] | None:
        """Give where a chunk begins and ends; None if it is missing.

        Raises
        ------
        StoreError
            It cannot lie there, or be so long.
        """
        return self.checked(*self.table[position].tolist())

    def checked(self, offset: int, length: int) -> tuple[int, int] | None:
        """Do so for an entry of the index."""
        if offset == length == MISSING:
            return None
        stop = offset + length
        outside = offset < self.first or (self.last is not None and stop > self.last)
        if outside or stop >= 2**63 or not 0 < length <= self.longest:
            raise _damaged(self.name)
        return offset, stop


def _damaged(name: str) -> DamagedDataError:
    sentence = f"{name} is damaged: its index cannot be right."
    return DamagedDataError(
        sentence, action="Ask its owner to copy it again.", url=name
    )


# What is asked for, and what is under way.


@dataclass(eq=False, slots=True)
class _ShardRead:
    """Chunks of one shard that somebody waits for, and where their pixels go."""

    parts: Sequence[ChunkPart]
    target: np.ndarray
    done: asyncio.Future[None]
    left: int = 0
    tries: int = 0

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def succeed(self) -> None:
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


@dataclass(frozen=True, slots=True)
class _InnerChunk:
    """A chunk's place in the object, None if it is missing, and who wants it."""

    extent: tuple[int, int] | None
    wanted: list[tuple[_ShardRead, ChunkPart]]


@dataclass(eq=False, slots=True)
class _Shard:
    """A shard of which something is wanted: who waits until its index is here."""

    key: str
    number: tuple[int, ...]
    waiting: list[_ShardRead] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


def _readings(chunks: Iterable[_InnerChunk]) -> set[_ShardRead]:
    return {reading for chunk in chunks for reading, _ in chunk.wanted}


@dataclass(frozen=True, slots=True)
class _Found:
    """An index, None if there is no shard; all of the object, if that was read."""

    index: ShardIndex | None
    body: bytes | None
    held: int  # bytes of the budget


class _Budget:
    """Bounds how many bytes are under way; more than all is let through alone."""

    def __init__(self, size: int) -> None:
        self._free = self._size = size
        self._changed = asyncio.Condition()

    async def take(self, count: int) -> int:
        count = min(count, self._size)
        async with self._changed:
            await self._changed.wait_for(lambda: count <= self._free)
            self._free -= count
        return count

    async def give_back(self, count: int) -> None:
        self._free += count
        if not count:
            return
        async with self._changed:
            self._changed.notify_all()


class ShardReader:
    """Reads the chunks of one array's shards, on the I/O loop.

    ``key`` gives the key of a shard by its numbers along each axis; ``told`` is called
    with these, and whether the shard is there.
    """

    def __init__(
        self,
        source: PartSource,
        layout: ShardLayout,
        key: Callable[[tuple[int, ...]], str],
        address: str,
        told: Callable[..., None],
    ) -> None:
        self.layout = layout
        self._told = told
        self._source = source
        self._key = key
        self._address = address
        self._shards: dict[str, _Shard] = {}
        self._indexes: OrderedDict[str, ShardIndex | None] = OrderedDict()
        self._index_bytes = 0
        self._budget = _Budget(_UNDER_WAY)
        self._cut: dict[Bounds, tuple[ChunkPart, ...]] = {}
        # The loop itself keeps no task alive.
        self._tasks: set[asyncio.Task[Any]] = set()

    async def fill(self, part: ChunkPart, box: np.ndarray) -> None:
        """Read what a box wants of one shard into its place there.

        Raises
        ------
        StoreError
            It could not be had; the box may hold some of it.
        """
        bounds = tuple((along.start, along.stop) for along in part.source)
        parts = self._parts(bounds)
        done = asyncio.get_running_loop().create_future()
        reading = _ShardRead(parts, box[part.target], done)
        self._ask(part.chunk, reading)
        await done
        # Whoever asked first has found that out, for all who wait.
        self._source.is_presumed(self._key(part.chunk))

    def _parts(self, bounds: Bounds) -> Sequence[ChunkPart]:
        """Cut a part of a shard into those of its chunks, which most shards share."""
        if bounds not in self._cut:
            parts = tuple(chunk_parts(bounds, self.layout.chunks))
            if len(parts) > _MOST_CUT:
                return parts
            self._cut.clear()
            self._cut[bounds] = parts
        return self._cut[bounds]

    async def stored_size(self, chunk: Sequence[int]) -> int:
        """Give how many bytes a chunk takes in its shard; 0 if it is missing."""
        grid = self.layout.grid
        pairs = [divmod(n, per) for n, per in zip(chunk, grid, strict=True)]
        key = self._key(tuple(shard for shard, _ in pairs))
        index = self._indexes.get(key)
        if index is None:
            index = await self._read_index(key)
        extent = index.extent(_position([n for _, n in pairs], grid)) if index else None
        return 0 if extent is None else extent[1] - extent[0]

    def _ask(self, number: tuple[int, ...], reading: _ShardRead) -> None:
        key = self._key(number)
        shard = self._shards.setdefault(key, _Shard(key, number))
        shard.waiting.append(reading)
        reading.done.add_done_callback(lambda _: self._given_up(shard))
        if shard.task is None or shard.task.done():
            shard.task = asyncio.ensure_future(self._serve(shard))
            shard.task.add_done_callback(partial(self._served, shard))

    def _given_up(self, shard: _Shard) -> None:
        if shard.task and all(reading.done.done() for reading in shard.waiting):
            shard.task.cancel()
            shard.task = None

    def _served(self, shard: _Shard, task: asyncio.Task[None]) -> None:
        current = shard.task is task
        if current:
            shard.task = None
        if shard.task is None and self._shards.get(shard.key) is shard:
            del self._shards[shard.key]
        if not current or task.cancelled() or not (error := task.exception()):
            return
        self._again(shard, dict.fromkeys(shard.waiting, error))

    def _again(
        self, shard: _Shard, problems: Mapping[_ShardRead, BaseException]
    ) -> None:
        """Begin anew where an object has changed meanwhile, and fail where it has not.

        All of it is read once more, so that what one reader gets is of one version.
        """
        changed = []
        for reading, error in problems.items():
            reading.tries += 1
            # An object that is too short may have been longer when its index was read.
            tries = 2 if isinstance(error, TruncatedBodyError) else TRIES
            again = isinstance(error, _AGAIN) and reading.tries < tries
            if again and not reading.done.done():
                changed.append(reading)
            else:
                reading.fail(error)
        if changed:
            self._forget(shard.key)
            self._source.forget(shard.key)
        for reading in changed:
            self._ask(shard.number, reading)

    async def _serve(self, shard: _Shard) -> None:
        """Read the index, or all, and go on with everybody who waits by then."""
        await asyncio.sleep(0)  # who asks in this turn of the loop is served together
        whole = self._is_read_whole(shard)
        held = 0
        if whole:
            count = self.layout.count(shard.number)
            held = await self._budget.take(count * self.layout.chunk_size)
        try:
            body = await self._read_whole(shard) if whole else None
            index = body[0] if body else await self._index(shard.key)
        except BaseException:
            await self._budget.give_back(held)
            raise
        self._told(shard.number, there=index is not None)
        readings = [each for each in shard.waiting if not each.done.done()]
        shard.waiting = []
        found = _Found(index, body[1] if body else None, held)
        going_on = asyncio.ensure_future(self._deliver(shard, found, readings))
        self._tasks.add(going_on)
        going_on.add_done_callback(partial(self._delivered, readings))

    def _delivered(
        self, readings: Iterable[_ShardRead], task: asyncio.Task[None]
    ) -> None:
        self._tasks.discard(task)
        for reading in readings:
            if task.cancelled():
                reading.done.cancel()
            elif error := task.exception():
                reading.fail(error)

    def _is_read_whole(self, shard: _Shard) -> bool:
        layout = self.layout
        count = layout.count(shard.number)
        if count * layout.chunk_size > LARGE:
            return False
        if count * layout.chunk_size <= SMALL and shard.key not in self._indexes:
            return True
        known = self._indexes.get(shard.key, _UNKNOWN)
        if isinstance(known, ShardIndex) and (known.size or 0) >= self._most(shard):
            return False
        wanted = {part.chunk for each in shard.waiting for part in each.parts}
        return known is not None and 2 * len(wanted) > count

    def _most(self, shard: _Shard) -> int:
        """Give the bytes that an object has at most, if it is nothing but a shard."""
        count = self.layout.count(shard.number)
        return count * self.layout.longest_chunk + self.layout.index_size

    async def _read_whole(
        self, shard: _Shard
    ) -> tuple[ShardIndex | None, bytes] | None:
        """Read an object and its index at once; None if it is longer than it can be."""
        # A range, as nothing else bounds what would come of an object gone wrong.
        most = self._most(shard)
        with for_decoding():
            found = await self._source.read(shard.key, RangeByteRequest(0, most))
        if found is None:
            self._keep(shard.key, None)
            return None, b""
        size, index_size = len(found.body), self.layout.index_size
        if size >= most or (found.size is not None and found.size != size):
            return None
        first = max(0, size - index_size) if self.layout.index_at_end else 0
        index = memoryview(found.body)[first : first + index_size]
        return self._parse(shard.key, index, found.etag, size), found.body

    async def _index(self, key: str) -> ShardIndex | None:
        if key in self._indexes:
            self._indexes.move_to_end(key)
            return self._indexes[key]
        return await self._read_index(key)

    async def _read_index(self, key: str) -> ShardIndex | None:
        found = await self._source.read(key, self.layout.index_request())
        if found is None:
            self._keep(key, None)
            return None
        return self._parse(key, found.body, found.etag, found.size)

    def _parse(self, key: str, body: Any, etag: str, size: int | None) -> ShardIndex:
        index = ShardIndex.parse(body, self.layout, self._name(key), etag, size)
        # Without a version nobody could tell later that it is no longer right.
        if etag:
            # A copy: the view would keep all of a shard that was read whole.
            self._keep(key, replace(index, table=index.table.copy()))
        return index

    def _keep(self, key: str, index: ShardIndex | None) -> None:
        self._forget(key)
        if index is None and self._source.is_presumed(key):
            return
        self._indexes[key] = index
        self._index_bytes += self.layout.index_size
        while self._index_bytes > _INDEXES and len(self._indexes) > 1:
            self._indexes.popitem(last=False)
            self._index_bytes -= self.layout.index_size

    def _forget(self, key: str) -> None:
        if key in self._indexes:
            del self._indexes[key]
            self._index_bytes -= self.layout.index_size

    # From an index, or a whole object, to pixels.

    async def _deliver(
        self, shard: _Shard, found: _Found, readings: list[_ShardRead]
    ) -> None:
        index, key = found.index, shard.key
        try:
            chunks = self._chunks(index, readings)
            if found.body is not None or index is None:
                body = memoryview(found.body or b"")
                await self._decode(key, body, 0, chunks)
                return
        finally:
            await self._budget.give_back(found.held)
        absent = [chunk for chunk in chunks if chunk.extent is None]
        spans = joined(chunks)
        work = [self._read(key, index, span) for span in spans]
        filling = self._decode(key, memoryview(b""), 0, absent)
        # All are waited for: none may write to a target that is read anew already.
        ended = await asyncio.gather(*work, filling, return_exceptions=True)
        problems: dict[_ShardRead, BaseException] = {}
        for error, members in zip(
            ended, [*(span.chunks for span in spans), absent], strict=True
        ):
            if error is None:
                continue
            for reading in _readings(members):
                # To begin anew is of no use where something else has failed.
                if isinstance(problems.get(reading, error), _AGAIN):
                    problems[reading] = error
                problems.setdefault(reading, error)
        if problems:
            self._again(shard, problems)

    def _chunks(
        self, index: ShardIndex | None, readings: Iterable[_ShardRead]
    ) -> list[_InnerChunk]:
        """Find where the chunks lie that are wanted, each once, in their order."""
        wanted: dict[tuple[int, ...], list[tuple[_ShardRead, ChunkPart]]] = {}
        for reading in readings:
            reading.left = len(reading.parts)
            for part in reading.parts:
                wanted.setdefault(part.chunk, []).append((reading, part))
        if index is None:
            return [_InnerChunk(None, wanting) for wanting in wanted.values()]
        chunks, grid = [], self.layout.grid
        entries = index.table[[_position(chunk, grid) for chunk in wanted]].tolist()
        for entry, wanting in zip(entries, wanted.values(), strict=True):
            try:
                extent = index.checked(*entry)
            except StoreError as error:
                for reading, _ in wanting:
                    reading.fail(error)
            else:
                chunks.append(_InnerChunk(extent, wanting))
        return chunks

    async def _read(self, key: str, index: ShardIndex, span: Span) -> None:
        """Read some chunks that lie together; ends early if nobody waits any more."""
        readings = _readings(span.chunks)
        task = asyncio.current_task()

        def given_up(_: object) -> None:
            if task and all(reading.done.done() for reading in readings):
                task.cancel()

        for reading in readings:
            reading.done.add_done_callback(given_up)
        held = await self._budget.take(span.stop - span.start)
        try:
            with for_decoding():
                body = await self._source.read_part(
                    key, span.start, span.stop, index.etag
                )
            for reading in readings:
                reading.done.remove_done_callback(given_up)
            await self._decode(key, memoryview(body), span.start, span.chunks)
        finally:
            await self._budget.give_back(held)

    async def _decode(
        self, key: str, body: memoryview, start: int, chunks: Sequence[_InnerChunk]
    ) -> None:
        """Decode chunks out of bytes that begin at `start`, and put them into place."""
        loop = asyncio.get_running_loop()
        # Those that are missing, and then in the order of the bytes.
        chunks = sorted(chunks, key=lambda chunk: chunk.extent or (-1, -1))
        worth = -(-_WORTH_A_THREAD // max(1, self.layout.chunk_size))
        size = max(1, worth, len(chunks) // (_TURNS * (os.cpu_count() or 1)))
        groups = [chunks[n : n + size] for n in range(0, len(chunks), size)]
        work = partial(self._place, self._name(key), body, start)

        async def place(group: Sequence[_InnerChunk]) -> None:
            found = await loop.run_in_executor(None, work, group)
            for chunk, error in zip(group, found, strict=True):
                for reading, _ in chunk.wanted:
                    if error is None:
                        reading.succeed()
                    else:
                        reading.fail(error)

        await asyncio.gather(*(place(group) for group in groups))

    def _place(
        self, name: str, body: memoryview, start: int, chunks: Sequence[_InnerChunk]
    ) -> list[StoreError | None]:
        """Decode some chunks, in any thread; gives for each what was wrong with it."""
        decoding, absent = self.layout.decoding, 0
        located: list[StoredChunk] = []
        for chunk in chunks:
            places = [(reading.target, part) for reading, part in chunk.wanted]
            if chunk.extent is not None:
                first, stop = chunk.extent
                located.append(StoredChunk(first - start, stop - start, name, places))
                continue
            absent += 1
            for target, part in places:
                target[part.target] = decoding.fill_value
        return [None] * absent + decoding.place_each(body, located)

    def _name(self, key: str) -> str:
        """Name an object as an error does."""
        return f"{self._address}/{key}"


_UNKNOWN = object()
_AGAIN = (ObjectChangedError, TruncatedBodyError)


def _position(chunk: Sequence[int], grid: Sequence[int]) -> int:
    """Give a chunk's position in C order."""
    position = 0
    for number, count in zip(chunk, grid, strict=True):
        position = position * count + number
    return position


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an object, and the chunks to take out of it."""

    start: int
    stop: int
    chunks: list[_InnerChunk]


def joined(chunks: Iterable[_InnerChunk]) -> list[Span]:
    """Join chunks that lie near each other, so that they cost one request."""
    spans: list[Span] = []
    placed = [(chunk.extent, chunk) for chunk in chunks if chunk.extent is not None]
    start = stop = 0
    members: list[_InnerChunk] = []
    for (first, last), chunk in sorted(placed, key=lambda pair: pair[0]):
        if members and (first - stop > NEAR or max(stop, last) - start > LONGEST):
            spans.append(Span(start, stop, members))
            members = []
        if not members:
            start = stop = first
        members.append(chunk)
        stop = max(stop, last)
    if members:
        spans.append(Span(start, stop, members))
    return spans
