"""zarr stores that somebody else made: read and written by our rules, on zarr's loop.

A store of a network keeps its connections on the event loop that first used it, which
is zarr's own for everybody who calls zarr from a script. So each call goes there. A
store's None means that a key is missing; whatever it raises becomes one of our errors,
and quotes nothing. Nothing is closed or committed here: that stays with its owner.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4
from weakref import WeakValueDictionary

import zarr
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.buffer import default_buffer_prototype
from zarr.errors import GroupNotFoundError
from zarr.storage import LocalStore, MemoryStore, StorePath

from napari_omezarr._io_loop import outcome
from napari_omezarr.errors import NodeNotFoundError, StoreError
from napari_omezarr.location import Location

from .backend import (
    REMOTE_CONCURRENCY,
    GetResult,
    ObjectBackend,
    PartsStore,
    RequestStats,
    fitted,
)
from .error_mapping import ErrorContext, translate
from .store import RemoteStore
from .writable import WritableStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from zarr.abc.buffer import Buffer, BufferPrototype
    from zarr.abc.store import ByteRequest

    from .backend import RetryPolicy

T = TypeVar("T")

PROTOCOL = "store"
"""The protocol of a `Location` in a store of somebody else; no text parses to it."""

ZarrNode = (zarr.Group, zarr.Array, zarr.AsyncGroup, zarr.AsyncArray)
"""What stands for a place in a store."""

_known: WeakValueDictionary[str, Store] = WeakValueDictionary()


# From what a script has in hand to a location, and back.


def is_zarr(source: object) -> bool:
    """Say whether something is a zarr store, or a node in one."""
    return isinstance(source, (Store, *ZarrNode))


def given_place(source: Any, **said: Any) -> Location:
    """Give the place of an address, which may say how to sign in, or of a store."""
    return location_of(source) if is_zarr(source) else Location.parse(source, **said)


def store_and_path(source: Any) -> tuple[Store, str]:
    """Give the store of a store, a group or an array, and the path in it."""
    if isinstance(source, Store):
        return source, ""
    return source.store_path.store, source.store_path.path.strip("/")


def location_of(source: Any) -> Location:
    """Give the place of a store, a group or an array.

    A local store is its folder, and ours are what they were opened from. Any other
    place is known for as long as its store lives.
    """
    store, path = store_and_path(source)
    if type(store) is LocalStore:
        place = Location.parse(store.root)
    elif isinstance(store, RemoteStore):
        place = store.location
    elif isinstance(store, WritableStore):
        place = store.place.location
    else:
        place = _registered(store)
    return place / path if path else place


def foreign_store(location: Location) -> Store:
    """Give the store of somebody else that a place is in; see `location_of`.

    Raises
    ------
    NodeNotFoundError
        That store is gone.
    """
    store = _known.get(location.root)
    if store is None:
        raise NodeNotFoundError(
            f"{location.display} was a store in memory that is gone.",
            action="Open it again from its own object.",
            url=location.display,
        )
    return store


def _registered(store: Store, name: str = "") -> Location:
    known = (name for name, each in list(_known.items()) if each is store)
    # What a store says of itself may hold its sign-in; its type does not. Its id is
    # given again once it is gone, and a name never.
    name = name or next(known, f"{type(store).__name__}-{uuid4().hex[:12]}")
    _known[name] = store
    zarr_loop()  # now, in the caller's thread: the I/O loop would wait for it
    return Location(PROTOCOL, name, "")


def open_foreign(location: Location, retry: RetryPolicy) -> RemoteStore:
    """Make our store of a place in a store of somebody else.

    Raises
    ------
    NodeNotFoundError
        That store is gone.
    """
    store = foreign_store(location)
    backend = ForeignBackend(ForeignStore(store, location.display), location.path)
    return RemoteStore(
        location,
        backend,
        retry=retry,
        concurrency=backend.concurrency,
        again=partial(_again, store, location, retry),
    )


def _again(store: Store, location: Location, retry: RetryPolicy) -> RemoteStore:
    _registered(store, location.root)
    return open_foreign(location, retry)


# On zarr's loop.

_loops: dict[int, asyncio.AbstractEventLoop] = {}
"""zarr's event loop, by the process."""


class _Probe(MemoryStore):
    """An empty store that notes the loop on which zarr asks it."""

    async def get(self, *_: Any, **__: Any) -> None:
        _loops[os.getpid()] = asyncio.get_running_loop()


def zarr_loop() -> asyncio.AbstractEventLoop:
    """Give the event loop of zarr's synchronous calls, started if it was not."""
    loop = _loops.get(os.getpid())
    if loop is None or loop.is_closed():
        with suppress(GroupNotFoundError, FileNotFoundError):
            zarr.open_group(_Probe(), mode="r")
        loop = _loops[os.getpid()]
    return loop


async def on_zarr_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await a coroutine on zarr's loop, from whatever loop the caller runs on."""
    loop = zarr_loop()
    if asyncio.get_running_loop() is loop:
        return await work()
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), loop))


class ForeignStore(PartsStore):
    """A store of somebody else, with its calls on zarr's loop and errors of ours."""

    def __init__(self, inner: Store, address: str) -> None:
        super().__init__(read_only=inner.read_only)
        self.inner = inner
        self.address = address.rstrip("/")
        self._place: StorePath | None = None

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a key, or a part of it."""
        work = partial(self.inner.get, key, prototype, byte_range)
        return await self._do("read", key, work)

    async def exists(self, key: str) -> bool:
        """Say whether there is a key."""
        return await self._do("read", key, partial(self.inner.exists, key))

    async def getsize(self, key: str) -> int:
        """Give how many bytes a key has."""
        return await self._do("read", key, partial(self.inner.getsize, key))

    async def set(self, key: str, value: Buffer) -> None:
        """Write a key."""
        await self._do("write to", key, partial(self.inner.set, key, value))

    async def delete(self, key: str) -> None:
        """Delete a key; none there is as good."""
        if await self.exists(key):
            await self._do("delete", key, partial(self.inner.delete, key))

    async def list(self) -> AsyncIterator[str]:
        """List all keys."""
        for key in await self._listed(self.inner.list):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List the keys that begin with a prefix."""
        for key in await self._listed(partial(self.inner.list_prefix, prefix)):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List what lies directly below a folder."""
        for key in await self._listed(partial(self.inner.list_dir, prefix)):
            yield key

    async def _listed(self, listing: Callable[[], AsyncIterator[str]]) -> Any:
        async def gathered() -> Any:
            return [key async for key in listing()]

        return await self._do("list", "", gathered)

    async def _do(
        self, doing: str, key: str, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        async def opened() -> T:
            if self._place is None:
                # Some stores are opened at the first use, as a zip file is.
                self._place = await StorePath.open(self.inner, "")
            return await work()

        answer = await outcome(on_zarr_loop(opened))
        if not isinstance(answer, Exception):
            return answer
        from .filesystems import SharedFilesystem  # late, as it loads fsspec

        url = f"{self.address}/{key}".rstrip("/")
        place = ErrorContext(url, self.address, doing=doing)
        failure = SharedFilesystem(place, made=self.inner).explain(answer)
        if type(failure) is StoreError:
            # Nothing is known of it but its type, which is no text of a server.
            if doing not in ("read", "list") and self.inner.read_only:
                sentence = f"{self.address} was opened to be read only."
                action = "Open the store so that it can be written."
                raise StoreError(sentence, action=action, url=url)
            verb = {"read": "read", "list": "listed", "delete": "deleted"}.get(doing)
            sentence = f"{url} cannot be {verb or 'written'} ({type(answer).__name__})."
            raise StoreError(sentence, action="Ask who made the store.", url=url)
        raise translate(failure, place)

    @property
    def supports_writes(self) -> bool:
        """Whether the store can be written."""
        return bool(self.inner.supports_writes)

    @property
    def supports_deletes(self) -> bool:
        """Whether keys can be deleted."""
        return bool(self.inner.supports_deletes)

    @property
    def supports_listing(self) -> bool:
        """Whether keys can be listed."""
        return bool(self.inner.supports_listing)

    def with_read_only(self, read_only: bool = False) -> ForeignStore:
        """Give the same with the store's own word on that."""
        return ForeignStore(self.inner.with_read_only(read_only), self.address)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ForeignStore) and self.inner == other.inner

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        return f"ForeignStore({self.address!r})"

    def __str__(self) -> str:
        return self.address

    def __reduce__(self) -> tuple[Any, ...]:
        return ForeignStore, (self.inner, self.address)


class ForeignBackend(ObjectBackend):
    """The keys below a path of a store of somebody else."""

    def __init__(self, store: ForeignStore, path: str) -> None:
        self.concurrency = REMOTE_CONCURRENCY
        self.stats = RequestStats()
        self._store = store
        self._path = path

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a key, or a part of it; what the store gives as None is missing."""
        self.stats.requests += 1
        path = f"{self._path}/{key}".strip("/")
        if not path:
            return None
        found = await self._store.get(path, default_buffer_prototype(), wanted)
        if found is None:
            return None
        body = found.to_bytes()
        self.stats.received += len(body)
        length = _length(wanted)
        if length is None or len(body) == length:
            return GetResult(body)
        return fitted(body, wanted, await self._store.getsize(path))

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe the store."""
        return ErrorContext(url, self._store.address, doing=doing)


def _length(wanted: ByteRequest | None) -> int | None:
    """Say how many bytes a part has in an object that is long enough."""
    match wanted:
        case RangeByteRequest(start, end):
            return end - start
        case SuffixByteRequest(suffix):
            return suffix
    return None
