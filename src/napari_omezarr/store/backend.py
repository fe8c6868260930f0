"""Byte ranges as zarr asks for them, as HTTP says them, and cut from a body."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from napari_omezarr.errors import (
    AccessDeniedError,
    ListingDeniedError,
    SignInNeededError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from zarr.abc.store import ByteRequest

    from napari_omezarr.errors import StoreError

    from .error_mapping import ErrorContext, Refusal, Refused

# What a store needs of a place: bytes of a key, and some facts.

REMOTE_CONCURRENCY = 64
LOCAL_CONCURRENCY = 8


class Transport(Protocol):
    """One way to the bytes below a location.

    Attributes
    ----------
    concurrency : int
        How many reads at a time do well here.
    stats : RequestStats
        What was sent and received, and what is worth saying about it.
    """

    concurrency: int
    stats: RequestStats

    async def read(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        """Read a key, or a part of it, by one attempt; runs on the I/O loop.

        Parameters
        ----------
        key : str
            Below the location; ``""`` is the location itself.
        wanted : ByteRequest or None
            The part, or None for all of it.

        Returns
        -------
        bytes or None
            The bytes, fewer than wanted only where the object ends before; None
            if the place knows that there is no such object.

        Raises
        ------
        Refused
            If the place answered something else.
        Interrupted, OSError
            If there was no whole answer.
        StoreError
            If it is clear that asking again does not help.
        """
        ...

    def verdict(self, refused: Refused) -> Refusal | StoreError:
        """Say which of its problems a refusal stands for, by what is known by now."""
        ...

    def place(self, url: str) -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened here, each once."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """A transport that says of which version an object is."""

    async def version(self, key: str) -> str:
        """Ask by one small request; ``""`` if there is no answer to that."""
        ...


# What a writer needs of a place: to put, look at, delete and list objects, once.

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GetResult:
    """An object as it was read; ``etag`` names this state of it (its ETag)."""

    body: bytes = field(repr=False)
    etag: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that was listed: its key below the place, and its bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class DeepPage:
    """Some entries; ``token`` asks for the next ones and is ``""`` after the last."""

    entries: tuple[StoredObject, ...]
    token: str = ""


@dataclass(frozen=True, slots=True)
class PutMode:
    """Write only if the object is in this state; no tag: if there is none."""

    etag: str = ""

    @property
    def headers(self) -> Mapping[str, str]:
        """Say it over HTTP."""
        return {"If-Match": self.etag} if self.etag else {"If-None-Match": "*"}


class Attempts(Protocol):
    """Calls a function until it answers, and raises our errors."""

    async def __call__(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call it."""
        ...


class Outlet(Protocol):
    """One way to change what lies below a location; each call is one attempt.

    All run on the I/O loop. They raise `Refused`, `Interrupted`, ``OSError`` where
    the place answers something else or not at all, and `StoreError` where asking
    again does not help.
    """

    @property
    def concurrency(self) -> int:
        """How many requests at a time do well here."""
        ...

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read an object, or a part of it; None if there is none."""
        ...

    async def write(
        self, key: str, body: bytes, condition: PutMode | None = None
    ) -> None:
        """Write an object, whole or not at all."""
        ...

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write an object, in several requests if it is long.

        Parameters
        ----------
        key : str
            Of the object.
        body : bytes
            All of it.
        attempts : callable
            Is given each request, to try it again after a passing failure.
        """
        ...

    async def copy(self, key: str, to: str, size: int, attempts: Attempts) -> None:
        """Copy an object over another without its bytes coming here.

        Parameters
        ----------
        key, to : str
            Which, and where to; below the place both.
        size : int
            Its bytes.
        attempts : callable
            As for `put`.
        """
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; none there is as good."""
        ...

    async def page(self, prefix: str, token: str = "", size: int = 1000) -> DeepPage:
        """List all that lies below a folder, at any depth; ``""`` is the place."""
        ...

    def place(self, url: str, doing: str) -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        ...


# What a store sent, received, and has to say about it.


class NoteList:
    """Sentences for the person, each kept once however often it is said."""

    def __init__(self) -> None:
        self._sentences: dict[str, None] = {}

    def add(self, sentence: str) -> None:
        """Keep a sentence."""
        self._sentences.setdefault(sentence)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The sentences, in the order in which they came up."""
        return tuple(self._sentences)


@dataclass(slots=True)
class RequestStats:
    """Counters of one store, written on the I/O loop only.

    Attributes
    ----------
    rounds : int
        Sets of keys that were asked for at once.
    requests : int
        GETs sent, repeated ones and those that failed included.
    received : int
        Bytes of bodies that arrived.
    """

    rounds: int = 0
    requests: int = 0
    received: int = 0


# What lies directly below a place, page by page; the only part that lists.

PAGE = 1000
"""How many keys S3 gives at most with one request."""


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """A folder or an object, directly below the place.

    Attributes
    ----------
    name : str
        The last part of its key, without a slash.
    is_folder : bool
        Whether it is a common prefix of keys, or a folder.
    size : int or None
        Bytes of an object.
    modified : str
        When the object was written, ISO 8601 in UTC; ``""`` if nobody says.
    """

    name: str
    is_folder: bool
    size: int | None = None
    modified: str = ""


@dataclass(frozen=True, slots=True)
class ListPage:
    """Some items; ``token`` asks for the next ones and is ``""`` after the last."""

    items: tuple[ObjectMeta, ...]
    token: str = ""


class Lister(Protocol):
    """One way to list what lies below a place.

    Attributes
    ----------
    stats : RequestStats
        What it sent and received.
    """

    stats: RequestStats

    async def batch(
        self, prefix: str = "", token: str = "", size: int = PAGE
    ) -> ListPage:
        """Give some items whose names begin with `prefix`; runs on the I/O loop.

        Parameters
        ----------
        prefix : str
            The beginning of the names; the place itself selects, where it can.
        token : str
            Of the batch before; ``""`` for the first.
        size : int
            How many items at most.

        Raises
        ------
        StoreError
            The place did not list.
        """
        ...

    async def tree(self, token: str = "") -> ListPage:
        """Give some of all objects below, at any depth: names are whole paths.

        Raises
        ------
        StoreError
            The place did not list.
        """
        ...


class Items(Protocol):
    """What a place that needs no pages says of itself."""

    async def __call__(self) -> Iterable[ObjectMeta]:
        """Give what lies directly below, in any order."""
        ...

    async def tree(self) -> Iterable[ObjectMeta]:
        """Give all objects at any depth, by their whole paths."""
        ...


class WholeLister:
    """A place that gives all its items at once: a folder, an archive.

    Parameters
    ----------
    load : Items
        Gives the items; called once.
    stats : RequestStats, optional
        Counts what `load` sends and receives.
    """

    def __init__(self, load: Items, stats: RequestStats | None = None) -> None:
        self.stats = stats or RequestStats()
        self._load = load
        self._items: list[ObjectMeta] | None = None

    async def tree(self, token: str = "") -> ListPage:
        """Give all objects at any depth, in the order of their paths."""
        return ListPage(tuple(sorted(await self._load.tree(), key=_name)))

    async def batch(
        self, prefix: str = "", token: str = "", size: int = PAGE
    ) -> ListPage:
        """Give the items after `token`, which is a name, in the order of names."""
        if self._items is None:
            self._items = sorted(await self._load(), key=_name)
        start = bisect_left(self._items, max(prefix, token), key=_name)
        if token and start < len(self._items) and self._items[start].name == token:
            start += 1
        found = self._items[start : start + size + 1]
        matching = [item for item in found if item.name.startswith(prefix)]
        more = len(matching) > size
        items = tuple(matching[:size])
        return ListPage(items, items[-1].name if more else "")


def about_listing(error: StoreError, url: str) -> StoreError:
    """Say of "you may not" that it is only about the listing: keys may be open.

    Errors that are about the sign-in itself stay what they are.
    """
    if type(error) not in (AccessDeniedError, SignInNeededError):
        return error
    sentence = f"Listing is not allowed at {url}."
    action = "Type the full address of an image, or choose another sign-in."
    return ListingDeniedError(sentence, action=action, url=url)


def not_listed(url: str) -> ListingDeniedError:
    """Say that a web server does not tell what it holds."""
    sentence = f"{url} does not tell what it holds."
    action = "Type the full address of an image."
    return ListingDeniedError(sentence, action=action, url=url)


def _name(item: ObjectMeta) -> str:
    return item.name


# Byte ranges as zarr asks for them, as HTTP says them, and cut from a body.

FIRST_BYTE = RangeByteRequest(0, 1)


def range_header(wanted: ByteRequest) -> str:
    """Say a range as the value of HTTP's ``Range`` header.

    Examples
    --------
    >>> range_header(RangeByteRequest(0, 10))
    'bytes=0-9'
    """
    match wanted:
        case RangeByteRequest(start, end):
            return f"bytes={start}-{end - 1}"
        case OffsetByteRequest(offset):
            return f"bytes={offset}-"
        case SuffixByteRequest(suffix):
            return f"bytes=-{suffix}"


def span(wanted: ByteRequest | None, size: int) -> tuple[int, int]:
    """Find where a range begins and ends in an object of `size` bytes."""
    match wanted:
        case RangeByteRequest(start, end):
            return min(start, size), min(end, size)
        case OffsetByteRequest(offset):
            return min(offset, size), size
        case SuffixByteRequest(suffix):
            return max(0, size - suffix), size
        case None:
            return 0, size


def cut(body: bytes, wanted: ByteRequest | None) -> bytes:
    """Cut a range from a whole body."""
    start, end = span(wanted, len(body))
    return body if (start, end) == (0, len(body)) else body[start:end]


def is_empty(wanted: ByteRequest | None) -> bool:
    """Say whether a range has no bytes, which HTTP cannot ask for."""
    match wanted:
        case RangeByteRequest(start, end):
            return start >= end
        case SuffixByteRequest(suffix):
            return suffix == 0
    return False


def is_index(wanted: ByteRequest | None) -> bool:
    """Say whether a range is what zarr asks for to learn where a shard's chunks are.

    An index has 16 bytes for each chunk, and mostly 4 more for a checksum; it lies
    at the shard's end, or at its beginning.
    """
    match wanted:
        case SuffixByteRequest(size) | RangeByteRequest(0, size):
            return size % 16 in (0, 4)
    return False
