"""The bytes below a location as a zarr store, read-only."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from zarr.abc.store import RangeByteRequest, Store

from napari_omezarr._io_loop import on_io_loop, run
from napari_omezarr.errors import ObjectChangedError, StoreError, TruncatedBodyError
from napari_omezarr.location import NODE_DOCUMENTS

from .backend import FIRST_BYTE, NoteList, Versioned, is_empty, is_index
from .error_mapping import Reason, RequestFailed, translate
from .retry import FAILURES, looks_like_html, retrying

if TYPE_CHECKING:
    import builtins
    from collections.abc import (
        AsyncIterator,
        Callable,
        Coroutine,
        Hashable,
        Iterable,
        Sequence,
    )

    from zarr.abc.buffer import Buffer, BufferPrototype
    from zarr.abc.store import ByteRequest

    from napari_omezarr.location import Location

    from .backend import GetResult, ObjectBackend
    from .error_mapping import Failure
    from .retry import RetryPolicy

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


class RemoteStore(Store):
    """The bytes below a location, read-only; never lists, never asks for a size.

    A missing key is None. What a place refuses or fails to give is one of our errors,
    raised where it is read: for chunks that is late, and a chunk is never taken for
    empty because something failed.

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
    403, 404, 410 to a      never absent: an error; so is another ETag than that of
    part of a shard         the shard's index (`ObjectChangedError`)
    404, 410                absent, unless the code is NoSuchBucket:
                            `BucketNotFoundError`; so are a file or member that is not
                            there, and a key that leads out of the location
    403, no code or         absent, if any key was read here before, or beside it in
    AccessDenied,           the same `fetch`, or if another document of its folder can
    AllAccessDisabled,      be read (asked for where the key is a document's): S3 says
    Forbidden               so of missing keys to whoever may not list. Else
                            `AccessDeniedError`; from a bucket, unsigned,
                            `SignInNeededError`
    403, any other code     `KeyNotAcceptedError`, `ClockSkewError`,
                            `AccessDeniedError` (cold storage) or what the code says
    401                     `SignInNeededError`
    any, sign-in or         `SignInExpiredError`
    signature has ended
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

    Parameters
    ----------
    location : Location
        Where.
    backend : ObjectBackend
        The way there.
    retry : RetryPolicy
        How long to wait, and how often to ask.
    concurrency : int
        How many keys are asked for at a time.
    again : callable
        Opens the same store in another process, without arguments; picklable.
    """

    def __init__(
        self,
        location: Location,
        backend: ObjectBackend,
        *,
        retry: RetryPolicy,
        concurrency: int,
        again: Callable[[], RemoteStore],
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
        self._readable = False

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

    def fetch(self, keys: Iterable[str]) -> dict[str, bytes | StoreError | None]:
        """Ask for several whole objects at once and wait for all of them: one round.

        Callable from every thread but that of the I/O loop. A key has its bytes, None
        if it is missing, or what went wrong.
        """
        return run(self.answers(keys))

    async def answers(
        self, keys: Iterable[str], *, apart: bool = False
    ) -> dict[str, bytes | StoreError | None]:
        """Ask as `fetch` does, for callers that run on the I/O loop.

        Parameters
        ----------
        keys : Iterable of str
            Whole objects.
        apart : bool, optional
            Whether they are to be judged by themselves: that something else can be
            read here then does not make a refusal a missing key.
        """
        wanted = tuple(dict.fromkeys(keys))
        self._backend.stats.rounds += bool(wanted)
        answers = await asyncio.gather(*(self._ask(key, None) for key in wanted))
        readable = any(isinstance(answer, bytes) for answer in answers)
        self._readable |= readable
        if not apart:
            readable = self._readable
        return {
            key: self._judged(key, answer, readable=readable)
            if isinstance(answer, FAILURES)
            else answer
            for key, answer in zip(wanted, answers, strict=True)
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

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> builtins.list[Buffer | None]:
        """Read parts of keys, all at once."""
        return await asyncio.gather(
            *(self.get(key, prototype, wanted) for key, wanted in key_ranges)
        )

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

        None if it is missing, by the rules above.
        """
        answer = await self._result(key, wanted)
        if isinstance(answer, FAILURES):
            await self._find_readable(key, answer)
            error = self._judged(key, answer, readable=self._readable)
            if error is not None:
                raise error
            return None
        self._readable |= answer is not None
        return answer

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
            error = self._judged(key, answer, readable=False)
            if error is not None:
                raise error
        # An answer without bytes, that the object ends before, may name no version.
        elif answer is not None and answer.etag in (etag, "") and not answer.body:
            raise self._too_short(key)
        elif answer is not None and answer.etag == etag:
            if len(answer.body) != stop - start:
                raise self._too_short(key)
            return answer.body
        url = (self.location / key).display
        sentence = f"{url} has changed while it was read."
        raise ObjectChangedError(sentence, action="Open the image again.", url=url)

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
            return await self._indexes.get((key, wanted), fetch)
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

    async def _ask(
        self, key: str, wanted: ByteRequest | None
    ) -> bytes | Failure | None:
        answer = await self._result(key, wanted)
        return answer if answer is None or isinstance(answer, FAILURES) else answer.body

    async def _result(
        self, key: str, wanted: ByteRequest | None
    ) -> GetResult | Failure | None:
        # A key that leads out of the location does not exist.
        if ".." in key and ".." in key.split("/"):
            return None
        attempt = partial(self._read, key, wanted)
        return await retrying(attempt, self._retry, self._slots)

    async def _read(self, key: str, wanted: ByteRequest | None) -> GetResult | None:
        found = await self._backend.read(key, wanted)
        if found is not None and looks_like_html(key, found.body):
            raise RequestFailed(reason=Reason.WEB_PAGE)
        return found

    async def _find_readable(self, key: str, failure: Failure) -> None:
        """Find out whether metadata can be read beside a metadata key that cannot.

        zarr asks for one key after the other when it guesses the format, and the
        first may be one that is missing.
        """
        folder, _, name = key.rpartition("/")
        if self._readable or not self._denied(failure) or name not in NODE_DOCUMENTS:
            return
        beside = (f"{folder}/{other}".lstrip("/") for other in NODE_DOCUMENTS)
        asked = (self._ask(other, None) for other in beside if other != key)
        answers = await asyncio.gather(*asked)
        self._readable |= any(isinstance(found, bytes) for found in answers)

    def _judged(
        self, key: str, failure: Failure, *, readable: bool
    ) -> StoreError | None:
        """Decide what a failure means: that the key is missing, or which error."""
        if readable and self._denied(failure):
            self._notes.add("Missing parts answer 403 here; they count as empty.")
            return None
        url = (self.location / key).display if key else self.location.display
        return translate(self._verdict(failure), self._backend.context(url))

    def _denied(self, failure: Failure) -> bool:
        verdict = self._verdict(failure)
        return isinstance(verdict, RequestFailed) and verdict.denied

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
        return self._again, (), {"readable": self._readable}

    def __setstate__(self, state: dict[str, bool]) -> None:
        self._readable = state["readable"]

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


def _first(group: BaseExceptionGroup[StoreError]) -> StoreError:
    """Take the first error out of a group of groups."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
