"""The objects below a location, changed with retries, and as a zarr store."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from napari_omezarr._io_loop import on_io_loop
from napari_omezarr.errors import (
    AccessDeniedError,
    ListingDeniedError,
    NodeNotFoundError,
    StoreError,
)

from .backend import (
    FAILURES,
    PAGE,
    PIECE,
    ListPage,
    PartsStore,
    PutMode,
    retrying,
)
from .error_mapping import (
    Reason,
    RequestFailed,
    says_changed,
    says_denied,
    tells_of_all,
    translate,
)

if TYPE_CHECKING:
    import builtins
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from zarr.abc.buffer import Buffer, BufferPrototype
    from zarr.abc.store import ByteRequest

    from napari_omezarr.location import Location

    from .backend import (
        Attempts,
        GetResult,
        ObjectMeta,
        Piece,
        RetryPolicy,
        WritableBackend,
    )
    from .error_mapping import Failure

T = TypeVar("T")

_UNKNOWN = 501
_GLANCE = 8
"""Keys that are listed to see whether a folder holds any."""
_NO_ETAG = '"00000000000000000000000000000000"'
_FIRST_ROOM, _GROWTH, _MOST_ROOM = 4 << 20, 3, 1 << 30
"""Bytes that may be on their way at first, by how many times what was sent that
grows, and up to where."""
_SHORT, _LONG, _SLOW = 1.0, 4.0, 256_000
"""An object is fast before the first of these many seconds, and slow after the second
if so few bytes a second were sent."""
CLAIM = ".saving"
"""The name of the object, or how that of the file ends, which claims a place."""
_PROBE = ".probe-"
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("STORAGE_EMULATOR_HOST",),
}
_holding: dict[str, bool] = {}
"""Whether the services, or their buckets, that were written to hold to conditions."""
_turns: dict[tuple[int, str], asyncio.Lock] = {}


def probe_key(folder: str = "") -> str:
    """Make up the key of an object that shows whether one may write in a folder."""
    return f"{folder}/{_PROBE}{uuid4().hex[:12]}".lstrip("/")


def _turn(service: str) -> asyncio.Lock:
    """Give what lets one of this process after the other; a loop has its own."""
    key = id(asyncio.get_running_loop()), service
    return _turns.setdefault(key, asyncio.Lock())


class SendingRoom:
    """How many bytes may be on their way at a time: as many as get through.

    Dozens of large objects that share a slow line all end after the time that is waited
    for each, and none before: nothing would be stored, and all be sent again. So few
    are sent at first, and more as they turn out to be fast.
    """

    def __init__(self) -> None:
        self.most = _FIRST_ROOM
        self._under_way = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Send an object, or a part, of so many bytes, when there is room for it."""
        await self._take(size)
        begun = time.monotonic()
        try:
            yield
        finally:
            self.learn(size, time.monotonic() - begun)
            self._give(size)

    def learn(self, size: int, seconds: float) -> None:
        """Give more room where so many bytes were sent fast, and less where slowly."""
        if seconds > _LONG and size < _SLOW * seconds:
            self.most = max(1, self._under_way // 2)
        else:
            more = _GROWTH * size if seconds < _SHORT else size // 8
            self.most = min(_MOST_ROOM, self.most + more)

    async def _take(self, size: int) -> None:
        if not self._waiting and self._fits(size):
            self._under_way += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._give(size)
            raise

    def _give(self, size: int) -> None:
        self._under_way -= size
        while self._waiting:
            size, turn = self._waiting[0]
            if not (turn.done() or self._fits(size)):
                return
            self._waiting.popleft()
            if not turn.done():
                self._under_way += size
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        """Say whether there is room; one goes in any case."""
        return not self._under_way or self._under_way + size <= self.most


class WritablePlace:
    """The objects below a location, for who changes them.

    All methods run on the I/O loop and raise `StoreError`. ``again`` opens the same in
    another process, without arguments, and is picklable.
    """

    def __init__(
        self,
        location: Location,
        backend: WritableBackend,
        retry: RetryPolicy,
        again: Callable[[], WritablePlace],
    ) -> None:
        self.location = location
        self.concurrency = backend.concurrency
        self._backend = backend
        self._retry = retry
        self._again = again
        self._slots = asyncio.Semaphore(backend.concurrency)
        self._sending = SendingRoom()
        self._was_read = False
        self._unlisted: bool | None = None
        named = map(os.environ.get, _ENDPOINTS.get(location.protocol, ()))
        where = (location.protocol, location.endpoint or next(filter(None, named), ""))
        self._service = "/".join((*where, location.root))

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read an object, or a part of it; None if there is none.

        Once one was read, S3's "denied" means that there is none, if it is known that
        nothing may be listed here; see `error_mapping`.
        """
        answer = await self._tried(partial(self._backend.read, key, wanted))
        if isinstance(answer, FAILURES):
            denied = isinstance(answer, RequestFailed) and says_denied(answer)
            denied = denied and self._was_read and tells_of_all(wanted)
            if denied and await self._is_unlisted():
                return None
            raise self._error(answer, key, "read")
        self._was_read = self._was_read or answer is not None
        return answer

    async def _is_unlisted(self) -> bool:
        """Say whether S3 itself lets nobody list here who signs so; asked once."""
        if self._unlisted is None:
            answer = await self._tried(partial(self._backend.list_all, "", "", 1))
            refused = isinstance(answer, RequestFailed) and says_denied(answer)
            if refused or isinstance(answer, ListPage):
                self._unlisted = refused
        return bool(self._unlisted)

    async def put(self, key: str, body: bytes) -> None:
        """Write an object, whole or not at all, over whatever is there."""
        attempts = self._attempts(key, min(len(body), PIECE))
        await self._backend.put(key, body, attempts)

    async def put_pieces(self, key: str, size: int, piece: Piece) -> None:
        """Write a long object of the pieces that `pieces_of` names, as they come."""
        attempts = self._attempts(key, PIECE)
        await self._backend.put_pieces(key, size, piece, attempts)

    def _attempts(self, key: str, size: int) -> Attempts:
        """Make what sends so many bytes of an object when there is room for them."""

        async def sent(attempt: Callable[[], Awaitable[T]]) -> T:
            async with self._sending.taken(size):
                return await attempt()

        async def attempts(attempt: Callable[[], Awaitable[T]]) -> T:
            return await self._answer(partial(sent, attempt), key, "write to")

        return attempts

    async def replace(self, key: str, body: bytes, expected: GetResult | None) -> bool:
        """Write an object if it is still as it was read (None: not there).

        The service is asked to hold to the condition while it writes. Where it is not
        known to do so the object is read again before, by one of this process at a
        time. False: it has been changed meanwhile.
        """
        named = expected is None or expected.etag
        if named and _holding.get(self._service):
            return await self._write_if(key, body, expected)
        async with _turn(self._service):
            found = await self.read(key)
            if (found and found.body) != (expected and expected.body):
                return False
            return await self._write_if(key, body, found)

    async def _write_if(self, key: str, body: bytes, found: GetResult | None) -> bool:
        condition = PutMode(found.etag if found else "")
        answer = await self._conditional(key, body, condition)
        if answer is None:
            await self.put(key, body)
        if answer is not False:
            return True
        # An answer that was lost may have been a success of ours.
        now = await self.read(key)
        return now is not None and now.body == body

    async def _conditional(
        self, key: str, body: bytes, condition: PutMode
    ) -> bool | None:
        """Say whether an object was written; None where no condition is known."""
        write = partial(self._backend.write, key, body, condition)
        answer = await self._tried(write)
        if not isinstance(answer, FAILURES):
            return True
        if _status(answer) == _UNKNOWN:
            return None
        if not says_changed(answer, was_there=bool(condition.etag)):
            raise self._error(answer, key, "write to")
        return False

    async def holds_conditions(self, there: tuple[str, bytes] | None = None) -> bool:
        """Say whether the service holds to conditions; it is tried once a process.

        Old ones overwrite without a word: only a condition that does not hold tells.
        It is tried on what is ``there``, a key and its body, or on an object that is
        made for that.
        """
        if self.location.protocol == "memory":
            return True  # which others of this process change in turn
        known = _holding.get(self._service)
        if known is None:
            async with _turn(f"{self._service} tried"):
                known = _holding.get(self._service)
                if known is None:
                    trying = self._refuses(*there) if there else self._probe()
                    known = _holding[self._service] = await trying
        return known

    async def _refuses(self, key: str, body: bytes) -> bool:
        """Say whether what is there is overwritten under no false condition."""
        refusals = [
            await self._conditional(key, body, PutMode(etag)) is False
            for etag in ("", _NO_ETAG)
        ]
        return all(refusals)

    async def _probe(self) -> bool:
        key = probe_key()
        try:
            if not await self._conditional(key, b"", PutMode()):
                return False
            refuses = await self._refuses(key, b"")
        except AccessDeniedError:
            return False
        with suppress(AccessDeniedError):
            await self.delete(key)
        return refuses

    async def copy(self, key: str, to: str, size: int) -> None:
        """Copy an object of so many bytes over another, by the service if it can."""
        if key.endswith("/") and not size:  # which SeaweedFS does not copy
            return await self.put(to, b"")

        async def attempts(attempt: Callable[[], Awaitable[T]]) -> T:
            answer = await self._tried(attempt)
            if not isinstance(answer, FAILURES):
                return answer
            if _status(answer) == _UNKNOWN:
                raise _UnknownError
            raise self._error(answer, to, "write to")

        try:
            await self._backend.copy(key, to, size, attempts)
        except _UnknownError:
            found = await self.read(key)
            if found is None:
                url = (self.location / key).display
                raise NodeNotFoundError(f"{url} is not there.", url=url) from None
            await self.put(to, found.body)

    async def delete(self, key: str) -> None:
        """Delete an object; none there is as good."""
        await self._answer(partial(self._backend.delete, key), key, "delete")

    async def objects(
        self, prefix: str = "", size: int = PAGE
    ) -> AsyncGenerator[ObjectMeta]:
        """List all that lies below a folder, at any depth; so many at a time.

        A name that ends in a slash is an object that some programs put for a folder;
        the one of the place itself is left out.
        """
        token, before = "", None
        while token != before:
            ask = partial(self._backend.list_all, prefix, token, size)
            page = await self._answer(ask, prefix, "list")
            for each in page.items:
                if each.name:
                    yield each
            if not page.token:
                return
            token, before = page.token, token
        circles = RequestFailed(reason=Reason.CIRCLES)
        raise self._error(circles, prefix, "list")

    async def holds(
        self, prefix: str = "", but: Callable[[str], bool] = lambda _: False
    ) -> bool:
        """Say whether anything lies below a folder, but for certain keys."""
        async with aclosing(self.objects(prefix, _GLANCE)) as found:
            async for each in found:
                if not (each.name.endswith("/") or but(each.name)):
                    return True
        return False

    async def _answer(
        self, attempt: Callable[[], Awaitable[T]], key: str, doing: str
    ) -> T:
        answer = await self._tried(attempt)
        if isinstance(answer, FAILURES):
            raise self._error(answer, key, doing)
        return answer

    async def _tried(self, attempt: Callable[[], Awaitable[T]]) -> T | Failure:
        return await retrying(attempt, self._retry, self._slots)

    def _error(self, failure: Failure, key: str, doing: str) -> StoreError:
        folder, _, name = key.rpartition("/")
        # A person knows the folder, and no such object.
        about = folder if name.startswith((_PROBE, CLAIM)) else key
        url = (self.location / about).display if about else self.location.display
        if isinstance(failure, RequestFailed):
            failure = self._backend.verdict(failure)
        error = translate(failure, self._backend.context(url, doing))
        if doing == "list" and type(error) is AccessDeniedError:
            return ListingDeniedError(error.sentence, action=error.action, url=url)
        return error

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location.display!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again, ()


class _UnknownError(Exception):
    """The service does not know this kind of request."""


def _status(failure: Failure) -> int:
    return failure.status if isinstance(failure, RequestFailed) else 0


# The same as a zarr store, for the pixels of what is being written.


class WritableStore(PartsStore):
    """The objects of a place that can be changed, as zarr wants them; not cached."""

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, place: WritablePlace, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.place = place

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a key, or a part of it, from any loop."""
        found: GetResult | None = await on_io_loop(self.place.read(key, byte_range))
        return None if found is None else prototype.buffer.from_bytes(found.body)

    async def exists(self, key: str) -> bool:
        """Say whether there is a key."""
        return await on_io_loop(self.place.read(key)) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Write a key."""
        self._refuse_if_read_only()
        await on_io_loop(self.place.put(key, value.to_bytes()))

    async def delete(self, key: str) -> None:
        """Delete a key; none there is as good."""
        self._refuse_if_read_only()
        await on_io_loop(self.place.delete(key))

    async def list(self) -> AsyncIterator[str]:
        """List all keys."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List the keys that begin with a prefix."""
        for key in await on_io_loop(self._keys(prefix.rpartition("/")[0])):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List what lies directly below a folder."""
        below = f"{prefix.rstrip('/')}/".lstrip("/")
        keys = await on_io_loop(self._keys(prefix.strip("/")))
        names = {key[len(below) :].partition("/")[0] for key in keys}
        for name in sorted(names):
            yield name

    async def _keys(self, folder: str) -> builtins.list[str]:
        names = [each.name async for each in self.place.objects(folder)]
        return [name for name in names if not name.endswith("/")]

    def with_read_only(self, read_only: bool = False) -> WritableStore:
        """Return a store of the same objects."""
        return WritableStore(self.place, read_only=read_only)

    def _refuse_if_read_only(self) -> None:
        if self.read_only:
            raise ValueError(f"{self} is opened for reading only.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WritableStore):
            return False
        same = self.place.location == other.place.location
        return same and self.read_only == other.read_only

    def __hash__(self) -> int:
        return hash(self.place.location)

    def __repr__(self) -> str:
        return f"WritableStore({str(self)!r})"

    def __str__(self) -> str:
        return self.place.location.display

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(WritableStore, read_only=self.read_only), (self.place,)
