"""Moving objects of a store as they are: whole or not there, documents last.

What is long goes piece by piece, so that memory stays bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from napari_omezarr._io_loop import bounded_gather
from napari_omezarr.errors import (
    NodeNotFoundError,
    ObjectChangedError,
    StoreError,
    TruncatedBodyError,
    VerificationError,
)
from napari_omezarr.location import NODE_DOCUMENTS, WEB
from napari_omezarr.store import AGREE, FIRST_BYTE, pieces_of, presumptions
from napari_omezarr.user_files import cache_folder, read_json, write_json

from .hierarchy import is_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from napari_omezarr.store import ObjectMeta, RemoteStore

    from .hierarchy import Hierarchy

_AT_A_TIME = 48
_MEDIUM_AT_A_TIME = 16
_MEDIUM = 2**20
"""From how many bytes on fewer objects are copied at a time."""
_LARGE = 64 * 2**20
"""From how many bytes an object is copied alone, and piece by piece where that can be,
so that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far a copy is: objects and bytes, done of all."""

    objects: int
    all_objects: int
    bytes: int
    all_bytes: int


class CopyRun:
    """One run of a copy: the items that are not done yet."""

    def __init__(
        self,
        source: RemoteStore,
        target: Hierarchy,
        items: Sequence[ObjectMeta],
        done: Sequence[ObjectMeta],
        progress: Callable[[CopyProgress], None] | None,
    ) -> None:
        self.objects = 0
        self.bytes = 0
        self._source = source
        self._target = target
        self._progress = progress
        self._all = (len(items), sum(item.size or 0 for item in items))
        self._done = (len(done), sum(item.size or 0 for item in done))
        self._passed = 0
        finished = {item.name for item in done}
        self._waiting = [item for item in items if item.name not in finished]
        self._alone = asyncio.Lock()
        self._few = asyncio.Semaphore(_MEDIUM_AT_A_TIME)
        self._written: RemoteStore | None = None

    async def run(
        self, *, accept_refused: bool, written: RemoteStore | None = None
    ) -> None:
        """Copy them, the root's document last.

        With ``written``, the target as who reads it finds it, all is read back.
        """
        self._written = written
        self._tell()
        # Where nothing is listed, what a refusal means depends on what can be read.
        await self._source.answers(
            item.name
            for item in self._waiting
            if item.size is None and item.name in NODE_DOCUMENTS
        )
        with nullcontext() if accept_refused else presumptions.refused(AGREE):
            await self._copy_all(i for i in self._waiting if not is_document(i.name))
        # The root's document comes last of all: until then it is no image to a reader.
        documents = [item for item in self._waiting if is_document(item.name)]
        for depth in sorted({d.name.count("/") for d in documents}, reverse=True):
            await self._copy_all(d for d in documents if d.name.count("/") == depth)

    async def _copy_all(self, items: Iterable[ObjectMeta]) -> None:
        await bounded_gather((partial(self._step, item) for item in items), _AT_A_TIME)

    async def _step(self, item: ObjectMeta) -> None:
        # Of unknown size they may be of any.
        size = _MEDIUM if item.size is None else item.size
        alone = self._alone if size >= _LARGE else nullcontext()
        async with alone, self._few if size >= _MEDIUM else nullcontext():
            if is_long(self._source, item):
                copied: int | None = await self._copy_pieces(item)
            else:
                copied = await self._copy(item)
        self.objects += copied is not None
        self.bytes += copied or 0
        self._passed += 1
        self._tell()

    async def _copy_pieces(self, item: ObjectMeta) -> int:
        """Copy a long object by its pieces, each of which is told of when it comes."""
        long = LongObject(self._source, item, hashes=self._written is not None)

        async def piece(start: int, stop: int) -> bytes:
            body = await long.piece(start, stop)
            self.bytes += len(body)
            self._tell()
            return body

        await long.open()
        await self._target.put_pieces(item.name, long.size, piece)
        if self._written is not None:
            written = LongObject(self._written, replace(item, etag=""))
            if await written.md5() != long.hash.hexdigest():
                raise _read_back_differs(item.name, long.place)
        return 0  # they are counted

    async def _copy(self, item: ObjectMeta) -> int | None:
        """Copy an object and give its size; None if it may be missing, and is."""
        # What was listed is there: a refusal is one, and no way to say "missing".
        listed = item.size is not None
        body = (await self._source.answers([item.name], apart=listed))[item.name]
        if isinstance(body, StoreError):
            raise body
        place = (self._source.location / item.name).display
        if body is None and not listed:
            return None
        if body is None:
            raise _gone(place)
        if item.size is not None and len(body) != item.size:
            raise _of_another_size(place)
        # A folder writes in the thread that begins, a bucket on this loop.
        put = await asyncio.to_thread(self._begin_put, item, body)
        if put is None:
            await self._check_again(item, body, place)
            put = await asyncio.to_thread(self._target.begin_put, item.name, body)
        if put.done():
            put.result()
        else:
            await asyncio.wrap_future(put)
        if self._written is not None:
            found = await asyncio.to_thread(self._target.read, item.name)
            if found is None or found.body != body:
                raise _read_back_differs(item.name, place)
        return len(body)

    def _begin_put(self, item: ObjectMeta, body: bytes) -> Future[None] | None:
        """Begin to put what fits its checksum; None if it does not."""
        if is_md5(item.etag) and md5(body) != item.etag:
            return None
        return self._target.begin_put(item.name, body)

    async def _check_again(self, item: ObjectMeta, body: bytes, place: str) -> None:
        """Fetch what does not fit its checksum once more.

        An encrypted object's ETag looks like a checksum and is none: then what comes
        is twice the same.
        """
        self._source.forget(item.name)
        again = (await self._source.answers([item.name], apart=True))[item.name]
        if again != body:
            raise _differs(place)

    def _tell(self) -> None:
        if self._progress is not None:
            objects, size = self._done[0] + self._passed, self._done[1] + self.bytes
            self._progress(CopyProgress(objects, self._all[0], size, self._all[1]))


# A long object, of which a few pieces are in memory at a time.


def is_long(store: RemoteStore, item: ObjectMeta) -> bool:
    """Whether an object is copied piece by piece.

    Not out of an archive, where a piece may cost as much as all before it, nor from a
    web server, which may send no pieces at all.
    """
    place = store.location
    apart = not place.is_archive and place.protocol not in WEB
    return apart and item.size is not None and item.size >= _LARGE


class LongObject:
    """A long object as it was when its first piece came.

    The pieces are asked for in their order, several at a time. They are hashed in it
    where the listing tells what the hash of all should be, or where that is wished.
    """

    def __init__(
        self, store: RemoteStore, item: ObjectMeta, *, hashes: bool = False
    ) -> None:
        self.size = item.size or 0
        self.place = (store.location / item.name).display
        self.hash = hashlib.md5(usedforsecurity=False)
        self._store = store
        self._item = item
        self._wanted = item.etag if is_md5(item.etag) else None
        self._hashes = hashes or self._wanted is not None
        self._etag = ""
        self._hashed = 0
        self._turn = asyncio.Condition()

    async def open(self) -> None:
        """Find out which state of the object is copied."""
        found = await self._store.read(self._item.name, FIRST_BYTE)
        if found is None:
            raise _gone(self.place)
        if found.size not in (None, self.size):
            raise _of_another_size(self.place)
        self._etag = found.etag

    async def piece(self, start: int, stop: int) -> bytes:
        """Give a piece; the last one only if all fit their checksum."""
        body = await self._read(start, stop)
        if self._hashes:
            await self._hash_in_turn(start, body)
        differs = self._wanted not in (None, self.hash.hexdigest())
        if differs and stop == self.size:
            await self._check_again()
        return body

    async def md5(self) -> str:
        """Give the checksum of all."""
        await self.open()
        for start, stop in pieces_of(self.size):
            await self._hash_in_turn(start, await self._read(start, stop))
        return self.hash.hexdigest()

    async def _read(self, start: int, stop: int) -> bytes:
        return await self._store.read_part(self._item.name, start, stop, self._etag)

    async def _hash_in_turn(self, start: int, body: bytes) -> None:
        async with self._turn:
            await self._turn.wait_for(lambda: self._hashed == start)
            await asyncio.to_thread(self.hash.update, body)
            self._hashed += len(body)
            self._turn.notify_all()

    async def _check_again(self) -> None:
        """Read all once more; what is no checksum of it comes twice the same."""
        self._store.forget(self._item.name)
        again = LongObject(self._store, self._item)
        if await again.md5() != self.hash.hexdigest():
            raise _differs(self.place)


def _gone(place: str) -> NodeNotFoundError:
    sentence = f"{place} has gone while it was copied."
    return NodeNotFoundError(sentence, action="Start again.", url=place)


def _of_another_size(place: str) -> TruncatedBodyError:
    sentence = f"{place} has changed while it was copied."
    return TruncatedBodyError(sentence, action="Start again.", url=place)


def _differs(place: str) -> ObjectChangedError:
    sentence = f"{place} came differently twice."
    action = "Start again; check the network."
    return ObjectChangedError(sentence, action=action, url=place)


def _read_back_differs(name: str, place: str) -> VerificationError:
    sentence = f"What was read back of {name} differs."
    action = "Copy it again; check the disk or the network."
    return VerificationError(sentence, action=action, url=place)


def md5(body: bytes) -> str:
    """Give the checksum that most services take for an ETag."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def is_md5(etag: str) -> bool:
    """Whether an ETag may be the checksum of all: those of uploads in parts are not."""
    return re.fullmatch("[0-9a-f]{32}", etag) is not None


# Which copies were begun and not ended: that lets them go on, and nothing else.


class CopyJournal:
    """A small file in the cache folder for one copy; no secret is in it or its name."""

    def __init__(self, source: str, target: str) -> None:
        self._ends = {"source": source, "target": target}
        name = hashlib.sha256("\n".join(self._ends.values()).encode()).hexdigest()
        self._file = cache_folder() / "copies" / f"{name[:32]}.json"

    def is_known(self) -> bool:
        """Say whether this copy was begun before and did not end."""
        content = read_json(self._file)
        return isinstance(content, dict) and self._ends.items() <= content.items()

    def begin(self, items: Iterable[ObjectMeta]) -> bool:
        """Note that the copy began; true if the source is as it was at the last time.

        What is there of it then still counts.
        """
        digest = hashlib.sha256()
        for item in items:
            told = f"{item.name}\n{item.size}\n{item.modified}\n"
            # A file's name may be no Unicode.
            digest.update(told.encode(errors="backslashreplace"))
        content = {**self._ends, "listing": digest.hexdigest()}
        before = read_json(self._file)
        if before == content:
            return True
        write_json(self._file, content)
        return before is None

    def end(self) -> None:
        """Forget the copy, as it is whole."""
        self._file.unlink(missing_ok=True)
