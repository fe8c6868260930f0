"""The bytes below a location as a zarr store, read-only."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from zarr.abc.store import RangeByteRequest

from napari_omezarr._io_loop import Noted, on_io_loop, run
from napari_omezarr.errors import (
    ObjectChangedError,
    RefusedChunksError,
    StoreError,
    TruncatedBodyError,
)
from napari_omezarr.location import DOCUMENTS, NODE_DOCUMENTS
from napari_omezarr.plain_text import counted

from .backend import (
    DOCUMENT_BYTES,
    FAILURES,
    FIRST_BYTE,
    GetResult,
    NoteList,
    PartsStore,
    Versioned,
    at_most,
    cut,
    is_empty,
    is_index,
    looks_like_html,
    most_bytes,
    retrying,
)
from .error_mapping import Reason, RequestFailed, says_denied, tells_of_all, translate

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Callable,
        Collection,
        Coroutine,
        Hashable,
        Iterable,
        Sequence,
    )

    from zarr.abc.buffer import Buffer, BufferPrototype
    from zarr.abc.store import ByteRequest

    from napari_omezarr.location import Location

    from .backend import ObjectBackend, RetryPolicy
    from .error_mapping import Failure

# Small answers that are asked for again and again: the indexes of shards.

K = TypeVar("K", bound="Hashable")

_OVERHEAD = 100


class ByteCache(Generic[K]):
    """The last answers up to a number of bytes; each is fetched once at a time.

    Lives on one event loop. That something is missing is an answer too; a failure
    is not, and is told to all who wait for it. An answer above the limit is not kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[K, bytes | None] = OrderedDict()
        self._coming: dict[K, _Coming] = {}

    async def get(
        self, key: K, fetch: Callable[[], Coroutine[Any, Any, bytes | None]]
    ) -> bytes | None:
        """Return the answer that is kept, or the one that `fetch` brings."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        coming = self._coming.get(key)
        if coming is None:
            coming = self._coming[key] = _Coming(asyncio.ensure_future(fetch()))
            coming.task.add_done_callback(lambda task: self._came(key, task))
        return await self._wait(key, coming)

    def forget(self, concerns: Callable[[K], bool]) -> None:
        """Drop some answers; who waits for one still gets it."""
        for key in [key for key in self._kept if concerns(key)]:
            self._size -= _weight(self._kept.pop(key))
        for key in [key for key in self._coming if concerns(key)]:
            del self._coming[key]

    async def _wait(self, key: K, coming: _Coming) -> bytes | None:
        coming.waiting += 1
        try:
            return await asyncio.shield(coming.task)
        finally:
            coming.waiting -= 1
            if not coming.waiting:
                coming.task.cancel()
                if self._coming.get(key) is coming:
                    del self._coming[key]

    def _came(self, key: K, task: asyncio.Task[bytes | None]) -> None:
        coming = self._coming.get(key)
        # Forgotten meanwhile, or the last who waited has given up.
        if coming is None or coming.task is not task:
            return
        del self._coming[key]
        if not task.cancelled() and task.exception() is None:
            self._keep(key, task.result())

    def _keep(self, key: K, body: bytes | None) -> None:
        if _weight(body) > self._limit:
            return
        self._kept[key] = body
        self._size += _weight(body)
        while self._size > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self._size -= _weight(dropped)


@dataclass(slots=True)
class _Coming:
    """A fetch, and how many wait for it: when the last gives up, it ends."""

    task: asyncio.Task[bytes | None]
    waiting: int = 0


def _weight(body: bytes | None) -> int:
    return _OVERHEAD + len(body or b"")


# The store: what zarr and the reader ask, with the rules that hold everywhere.

_INDEX_BYTES = 32 << 20
_UNKNOWN = 30  # seconds for which nobody asks again whether a bucket may be listed


class RemoteStore(PartsStore):
    """The bytes below a location, read-only; never lists, never asks for a size.

    A missing key is None; what counts as missing stands in `error_mapping` alone.
    What a place refuses or fails to give is one of our errors, raised where it is read:
    for chunks that is late, and a chunk is never taken for empty because something
    failed.

    ======================  =========================================================
    answer                  means
    ======================  =========================================================
    200, 206                the bytes (of a 200, the part that was asked for); a web
                            page instead of data is `WebPageError`; of a 206 another
                            part than was asked for, of a 200 so many bytes before the
                            part that they are not read past, `ServerError`
    304                     what the disk cache holds is current
    416                     the object ends before the part begins: no bytes, and for
                            a part of a shard `TruncatedBodyError`
    400, 416, 501 to the    on the web, asked again by the object's length, which the
    last bytes of an        answer to its first byte says; so are a 200 of a long
    object                  object and a 206 of another part
    403, no code or         `AccessDeniedError`; from a bucket, unsigned,
    AccessDenied            `SignInNeededError`; to the end or the beginning of an
                            object of which all may be *presumed* missing: asked for
                            as a whole
    403, any other code     `KeyNotAcceptedError`, `ClockSkewError`,
                            `AccessDeniedError` (cold storage) or what the code says
    401                     `SignInNeededError`
    any, sign-in or         `SignInExpiredError`
    signature has ended
    404 to a part from the  `ObjectChangedError`; so is another ETag than that of a
    middle of an object     shard's index
    301, 307, 400, naming   a bucket is asked there, by its region or host, at most
    a region or host        twice more; then `WrongRegionError`
    other redirects         followed on the web; too many, or one of a bucket:
                            `ServerError`
    429, 503, SlowDown      asked again; in the end `ServerBusyError`
    408, 500, 502, 504      asked again; in the end `ServerError`
    connection broken,      asked again; in the end `StoreConnectionError`,
    silence, body too short `StoreTimeoutError`, `TruncatedBodyError`
    no host, no connection, `StoreConnectionError`, `CertificateError`, at once; what
    no encryption, no trust the disk cache holds is shown instead where nobody answers
    405, 507                `ReadOnlyError`, `DiskFullError`: answers to writes
    anything else           `ServerError`, with the status
    ======================  =========================================================

    After a bucket's 401, after a key that has ended or is rejected, and, until anything
    was read with the key, after a 403, a bucket is asked once more without signing in,
    if the sign-in was found by itself.

    ``again`` opens the same store in another process, without arguments, and is
    picklable. ``refuses_listing`` asks whether this sign-in may not list what is below
    the location, None where that cannot be found out; only of a bucket, whose objects
    may then be presumed missing: ``presumed`` has these.
    """

    def __init__(
        self,
        location: Location,
        backend: ObjectBackend,
        *,
        retry: RetryPolicy,
        concurrency: int,
        again: Callable[[], RemoteStore],
        refuses_listing: Callable[[], Coroutine[Any, Any, bool | None]] | None = None,
    ) -> None:
        super().__init__(read_only=True)
        self.location = location
        self.concurrency = concurrency
        self._backend = backend
        self._retry = retry
        self._slots = asyncio.Semaphore(concurrency)
        self._indexes: ByteCache[tuple[str, ByteRequest | None]] = ByteCache(
            _INDEX_BYTES
        )
        # Of which version the indexes are that zarr was given, by the shard's key.
        self._indexed: dict[str, str] = {}
        self._again = again
        self._notes = NoteList()
        # The folders of which a document could be read.
        self._readable: set[str] = set()
        self._refuses_listing = refuses_listing
        self._listing: asyncio.Future[bool | None] | None = None
        self._listing_asked = 0.0
        self.presumed: set[str] = set()

    @property
    def rounds(self) -> int:
        """How many sets of keys were fetched."""
        return self._backend.stats.rounds

    @property
    def requests(self) -> int:
        """How many GETs were sent (files opened), repeated ones included."""
        return self._backend.stats.requests

    @property
    def bytes_received(self) -> int:
        """How many bytes of bodies came."""
        return self._backend.stats.received

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened here, each once; no secret is in them."""
        return (*self._backend.notes, *self._notes.sentences)

    @property
    def choices(self) -> tuple[str, ...]:
        """Paths of several images below, where the place knows them without a list."""
        return self._backend.choices

    def say(self, sentence: str) -> None:
        """Add to the notes what was found out here; callable on the I/O loop."""
        self._notes.add(sentence)

    def fetch(self, keys: Iterable[str]) -> dict[str, bytes | StoreError | None]:
        """Ask for several whole objects at once and wait for all of them: one round.

        Callable from every thread but that of the I/O loop. A key has its bytes, None
        if it is missing, or what went wrong.
        """
        return run(self.answers(keys))

    async def answers(
        self, keys: Iterable[str], *, apart: bool = False
    ) -> dict[str, bytes | StoreError | None]:
        """Ask for whole objects as `fetch` does, for callers that run on the I/O loop.

        Answers ``apart`` are judged by themselves: that something else can be read here
        then makes no refusal a key that is presumed missing.
        """
        wanted = tuple(dict.fromkeys(keys))
        self._backend.stats.rounds += bool(wanted)
        found = await asyncio.gather(*(self._result(key, None) for key in wanted))
        answers = dict(zip(wanted, found, strict=True))
        readable = {key for key in wanted if isinstance(answers[key], GetResult)}
        documents = _folders(readable)
        for key in readable:
            self._was_read(key)
        if not apart:
            documents = self._readable
        return {
            key: await self._judged(key, answer, documents)
            for key, answer in answers.items()
        }

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a key, or a part of it, from any loop; raises `StoreError`."""
        body = await on_io_loop(self._get(key, byte_range))
        return None if body is None else prototype.buffer.from_bytes(body)

    async def get_ranges(
        self, key: str, byte_ranges: Sequence[ByteRequest | None], **options: Any
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Read parts of one key, near ones together (zarr 3.4 and later asks so).

        Raises one `StoreError`, where zarr would hand on a group.
        """
        try:
            inherited: Any = super()  # without the method in zarr 3.1, which asks not
            async for parts in inherited.get_ranges(key, byte_ranges, **options):
                yield parts
        except BaseExceptionGroup as group:
            failed = group.subgroup(StoreError)
            if failed is None:
                raise
            problem = _first(failed)
        else:
            return
        raise problem

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a key, or a part of it that tells whether it is there; on the I/O loop.

        None if it is missing, by the table of `error_mapping`.
        """
        answer = await self._result(key, wanted)
        if isinstance(answer, GetResult):
            self._was_read(key)
            return answer
        if answer is None and tells_of_all(wanted):
            self.presumed.discard(key)
            return None
        if answer is None:
            raise self._changed(key)
        if tells_of_all(wanted):
            await self._find_readable(key, answer)
            if await self._may_be_missing(key, answer, self._readable):
                return await self._presumed(key, wanted)
        raise self._error(key, answer)

    async def read_part(self, key: str, start: int, stop: int, etag: str) -> bytes:
        """Read a part of a key that is known to be there; on the I/O loop.

        Raises
        ------
        ObjectChangedError
            It is no longer of the version that is named, or gone.
        StoreError
            It could not be had, or ends before. A refusal never means a missing key.
        """
        answer = await self._result(key, RangeByteRequest(start, stop))
        if isinstance(answer, FAILURES):
            raise self._error(key, answer)
        # An answer without bytes, that the object ends before, may name no version.
        if answer is not None and answer.etag in (etag, "") and not answer.body:
            raise self._too_short(key)
        if answer is not None and answer.etag == etag:
            if len(answer.body) != stop - start:
                raise self._too_short(key)
            return answer.body
        raise self._changed(key)

    def forget(self, key: str) -> None:
        """Drop what is known of a key that was changed: it is read anew."""
        self._indexed.pop(key, None)
        self._indexes.forget(lambda kept: kept[0] == key)
        self._backend.forget(key)

    async def exists(self, key: str) -> bool:
        """Say whether there is a key, by reading its first byte."""
        return await on_io_loop(self.read(key, FIRST_BYTE)) is not None

    async def version(self, key: str) -> str:
        """Give the version of a key, on the I/O loop: its ETag, or when it was written.

        It is equal as long as the key is unchanged, and ``""`` if the place does not
        say, or there is no such key.
        """
        if not isinstance(self._backend, Versioned):
            return ""
        try:
            return await self._backend.version(key)
        except FAILURES:
            return ""

    async def _get(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        if is_empty(wanted):
            return b""
        if is_index(wanted):
            fetch = partial(self._index, key, wanted)
            index = await self._indexes.get((key, wanted), fetch)
            if self.is_presumed(key):
                self._indexes.forget(lambda kept: kept[0] == key)
            return index
        if isinstance(wanted, RangeByteRequest) and key in self._indexed:
            etag = self._indexed[key]
            return await self.read_part(key, wanted.start, wanted.end, etag)
        found = await self.read(key, wanted)
        if found is None:
            return None
        if not found.body and isinstance(wanted, RangeByteRequest):
            raise self._too_short(key)
        return found.body

    async def _index(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        """Read what may be the index of a shard, or a chunk at the shard's start."""
        known = self._indexed.get(key)
        if known is not None and isinstance(wanted, RangeByteRequest):
            return await self.read_part(key, wanted.start, wanted.end, known)
        found = await self.read(key, wanted)
        if found is None:
            return None
        self._indexed[key] = found.etag
        return found.body

    async def _result(
        self, key: str, wanted: ByteRequest | None
    ) -> GetResult | Failure | None:
        # A key that leads out of the location does not exist.
        if ".." in key and ".." in key.split("/"):
            return None
        attempt = partial(self._read, key, wanted)
        return await retrying(attempt, self._retry, self._slots)

    async def _read(self, key: str, wanted: ByteRequest | None) -> GetResult | None:
        document = key.rpartition("/")[2] in DOCUMENTS
        with at_most(DOCUMENT_BYTES) if document else nullcontext():
            found = await self._backend.read(key, wanted)
            if found is None:
                return None
            if wanted is None and len(found.body) > most_bytes():
                raise RequestFailed(reason=Reason.TOO_LONG)
        if looks_like_html(key, found.body):
            raise RequestFailed(reason=Reason.WEB_PAGE)
        return found

    # What is missing, by the table of `error_mapping`.

    def _was_read(self, key: str) -> None:
        """Note what was read: which documents, and what was presumed missing before."""
        self.presumed.discard(key)
        # With the place itself among them all keys are below one.
        if "" not in self._readable and key.rpartition("/")[2] in DOCUMENTS:
            self._readable |= _folders([key])

    async def _find_readable(self, key: str, failure: Failure) -> None:
        """Find out whether metadata can be read beside a metadata key that cannot.

        zarr asks for one key after the other when it guesses the format, and the
        first may be one that is missing.
        """
        folder, _, name = key.rpartition("/")
        if name not in NODE_DOCUMENTS or _is_below(key, self._readable):
            return
        if not self._is_denied(failure):
            return
        beside = (f"{folder}/{other}".lstrip("/") for other in NODE_DOCUMENTS)
        others = [other for other in beside if other != key]
        answers = await asyncio.gather(*(self._result(each, None) for each in others))
        for other, answer in zip(others, answers, strict=True):
            if isinstance(answer, GetResult):
                self._was_read(other)

    async def _may_be_missing(
        self, key: str, failure: Failure, documents: Collection[str]
    ) -> bool:
        """Say whether S3 answers so for keys that are missing."""
        return (
            self._is_denied(failure)
            and _is_below(key, documents)
            and await self._is_unlisted()
        )

    def _is_denied(self, failure: Failure) -> bool:
        verdict = self._verdict(failure)
        possible = self._refuses_listing is not None
        return possible and isinstance(verdict, RequestFailed) and says_denied(verdict)

    async def _is_unlisted(self) -> bool:
        """Say whether it is known that this sign-in may not list; asked once."""
        if self._refuses_listing is None:
            return False
        now = asyncio.get_running_loop().time()
        unknown = self._listing and self._listing.done() and not self._listing.result()
        if self._listing is None or (unknown and now > self._listing_asked + _UNKNOWN):
            self._listing = asyncio.ensure_future(self._refuses_listing())
            self._listing_asked = now
        return bool(await asyncio.shield(self._listing))

    def is_presumed(self, key: str) -> bool:
        """Say whether a key is presumed missing; this task then rests on that."""
        if key in self.presumed:
            presumptions.add((self.location / key).display)
        return key in self.presumed

    async def _presumed(self, key: str, wanted: ByteRequest | None) -> GetResult | None:
        """Take a key for missing, of which all was asked for; ask for all else."""
        if wanted is not None:
            whole = await self.read(key)
            return whole and replace(whole, body=cut(whole.body, wanted))
        self._presume(key)
        return None

    def _presume(self, key: str) -> None:
        where = self.location.display
        presumptions.add((self.location / key).display)
        if key.rpartition("/")[2] in DOCUMENTS:
            said = f"{where} may not be listed, and answers 403 to what is not there."
            self._notes.add(said)
            return
        self.presumed.add(key)
        self._notes.add(
            f"{where} may not be listed, and answers 403 to parts of the image: nobody "
            "can tell whether they were never written or are refused. They count as "
            "empty."
        )

    async def _judged(
        self, key: str, answer: GetResult | Failure | None, documents: Collection[str]
    ) -> bytes | StoreError | None:
        """Decide what the answer to a whole key means."""
        if answer is None:
            self.presumed.discard(key)
            return None
        if isinstance(answer, GetResult):
            return answer.body
        if await self._may_be_missing(key, answer, documents):
            self._presume(key)
            return None
        return self._error(key, answer)

    def _error(self, key: str, failure: Failure) -> StoreError:
        url = (self.location / key).display if key else self.location.display
        verdict = self._verdict(failure)
        if isinstance(verdict, RequestFailed) and verdict.reason is Reason.WEB_PAGE:
            known = self._readable and key.rpartition("/")[2] not in DOCUMENTS
            verdict = replace(verdict, reason=Reason.PORTAL) if known else verdict
        return translate(verdict, self._backend.context(url))

    def _changed(self, key: str) -> ObjectChangedError:
        url = (self.location / key).display
        sentence = f"{url} has changed while it was read."
        return ObjectChangedError(sentence, action="Open the image again.", url=url)

    def _verdict(self, failure: Failure) -> Failure:
        if isinstance(failure, RequestFailed):
            return self._backend.verdict(failure)
        return failure

    def _too_short(self, key: str) -> TruncatedBodyError:
        url = (self.location / key).display
        sentence = f"{url} is shorter than its index says."
        action = "Ask its owner to copy it again."
        return TruncatedBodyError(sentence, action=action, url=url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and self.location == other.location

    def __hash__(self) -> int:
        return hash(self.location)

    def __repr__(self) -> str:
        return f"RemoteStore({self.location.display!r})"

    def __str__(self) -> str:
        return self.location.display

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again, (), {"readable": sorted(self._readable)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._readable = set(state["readable"])

    def with_read_only(self, read_only: bool = False) -> RemoteStore:
        """Give the store itself, which is read-only and nothing else."""
        if not read_only:
            raise ValueError(f"{self} is opened for reading only.")
        return self

    @property
    def supports_writes(self) -> bool:
        """False: writing goes another way."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """False: nothing is deleted here."""
        return False

    @property
    def supports_listing(self) -> bool:
        """False: what is there is found out by asking for it."""
        return False

    async def set(self, key: str, value: Buffer) -> NoReturn:
        """Refuse to write."""
        raise ValueError(f"{self} is opened for reading only.")

    async def delete(self, key: str) -> NoReturn:
        """Refuse to delete."""
        raise ValueError(f"{self} is opened for reading only.")

    def list(self) -> NoReturn:
        """Refuse to list."""
        raise NotImplementedError("This store asks for keys and never lists them.")

    def list_prefix(self, prefix: str) -> NoReturn:
        """Refuse to list."""
        self.list()

    def list_dir(self, prefix: str) -> NoReturn:
        """Refuse to list."""
        self.list()


SIGN_IN_TO_LIST = "Sign in as somebody who may list it."
AGREE = f"{SIGN_IN_TO_LIST[:-1]}, or agree to that (accept_refused)."


def _refused_chunks(found: Collection[str], action: str) -> RefusedChunksError | None:
    """Give the error that some chunks are presumed missing; documents may be."""
    chunks = [each for each in found if each.rpartition("/")[2] not in DOCUMENTS]
    if not chunks:
        return None
    first, so_many = min(chunks), counted(len(chunks), "chunk")
    return RefusedChunksError(
        f"{first} is refused, and nobody can tell whether it was ever written; "
        f"{so_many} would be written as empty.",
        action=action,
        url=first,
    )


presumptions = Noted("presumptions", _refused_chunks)
"""The addresses of what is presumed missing, by the tasks whose answers rest on it."""


def _folders(keys: Iterable[str]) -> set[str]:
    """Give the folders of the documents among some keys."""
    parts = (key.rpartition("/") for key in keys)
    return {folder for folder, _, name in parts if name in DOCUMENTS}


def _is_below(key: str, folders: Collection[str]) -> bool:
    """Say whether a key lies in one of some folders, at any depth."""
    while key:
        key = key.rpartition("/")[0]
        if key in folders:
            return True
    return False


def _first(group: BaseExceptionGroup[StoreError]) -> StoreError:
    """Take the first error out of a group of groups."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
