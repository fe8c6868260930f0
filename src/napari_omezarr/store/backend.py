"""What a backend is: the bytes of one place, by one attempt each, and what it lists."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from napari_omezarr.errors import (
    AccessDeniedError,
    ListingDeniedError,
    SignInNeededError,
)
from napari_omezarr.location import DOCUMENTS

from .error_mapping import Failure, Reason, RequestFailed, says_denied, translate

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Mapping

    from zarr.abc.buffer import Buffer, BufferPrototype
    from zarr.abc.store import ByteRequest

    from napari_omezarr.errors import StoreError

    from .error_mapping import ErrorContext


REMOTE_CONCURRENCY = 64
LOCAL_CONCURRENCY = 8
_LISTS_AT_A_TIME = 4
PAGE = 1000
"""How many keys S3 gives at most with one request."""
FIRST_BYTE = RangeByteRequest(0, 1)

T = TypeVar("T")

Piece = Callable[[int, int], Awaitable[bytes]]
"""Gives the bytes of a long object from one offset to before another."""

DOCUMENT_BYTES = 64 << 20
"""A document of zarr is no longer than this."""
OBJECT_BYTES = 4 << 30
"""Nothing is read whole that is longer than this."""

# How many bytes what is read whole may have, before and after it is unpacked.

_most: ContextVar[int] = ContextVar("napari_omezarr_most", default=OBJECT_BYTES)
_decoded: ContextVar[bool] = ContextVar("napari_omezarr_decoded", default=False)


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Let what is read whole inside the block be no longer than so many bytes."""
    token = _most.set(min(count, _most.get()))
    try:
        yield
    finally:
        _most.reset(token)


@contextmanager
def for_decoding(count: int = OBJECT_BYTES) -> Iterator[None]:
    """Read inside the block, of so many bytes at most, what is only decoded.

    A long body of the web is then a view of memory, filled as it comes: it is written
    once, not twice, and in large pages. Such a view is no `bytes` but for decoders.
    """
    tokens = _most.set(min(count, _most.get())), _decoded.set(True)
    try:
        yield
    finally:
        _most.reset(tokens[0])
        _decoded.reset(tokens[1])


@contextmanager
def bounded_anew() -> Iterator[None]:
    """Leave what holds for a chunk: what is read inside the block is not the chunk."""
    tokens = _most.set(OBJECT_BYTES), _decoded.set(False)
    try:
        yield
    finally:
        _most.reset(tokens[0])
        _decoded.reset(tokens[1])


def is_for_decoding() -> bool:
    """Say whether what is read is only decoded."""
    return _decoded.get()


def most_bytes() -> int:
    """Give how many bytes what is read whole may have."""
    return _most.get()


# What is said about objects, in obstore's words.


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """A folder or an object that was listed."""

    name: str
    """Its path below the place that was listed, without a slash at its end."""
    is_folder: bool
    """Whether it is a common prefix of keys, or a folder."""
    size: int | None = None
    """Bytes of an object, if they are known."""
    modified: str = ""
    """When the object was written, ISO 8601 in UTC; ``""`` if nobody says."""
    etag: str = ""
    """What names its content, as the list says; ``""`` if that says nothing."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """Some items; ``token`` asks for the next ones and is ``""`` after the last."""

    items: tuple[ObjectMeta, ...]
    token: str = ""


@dataclass(frozen=True, slots=True)
class GetResult:
    """An object, or a part of it, as it was read.

    ``etag`` names this state of the object, and ``size`` is the length of all of it in
    bytes, if they are known. `for_decoding` lets a long body be a view of memory.
    """

    body: bytes = field(repr=False)
    etag: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class PutMode:
    """Write only if the object is in this state; no etag: if there is none."""

    etag: str = ""

    @property
    def headers(self) -> Mapping[str, str]:
        """Say it over HTTP."""
        return {"If-Match": self.etag} if self.etag else {"If-None-Match": "*"}


# What a store sent, received, and has to say about it.


@dataclass(slots=True)
class RequestStats:
    """Counters of one store, written on the I/O loop only."""

    rounds: int = 0
    """Sets of keys that were asked for at once."""
    requests: int = 0
    """GETs sent, repeated ones and those that failed included."""
    received: int = 0
    """Bytes of bodies that arrived."""


PUBLIC = "A public bucket"
"""How a note begins that tells nothing but that nobody had to sign in."""


def is_quiet(note: str) -> bool:
    """Say whether a note tells what is no news: nobody wished to sign in."""
    return note.startswith(PUBLIC)


def brief(note: str) -> str:
    """Give a note as briefly as a status line has it."""
    return "public" if is_quiet(note) else note


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


# One way to the objects below a location.


class ObjectBackend(Protocol):
    """Reads the objects below a location; ``""`` is the key of the location itself.

    All that asks runs on the I/O loop and is one attempt. It raises `RequestFailed`
    or ``OSError``, and `StoreError` where it is clear that asking again does not help.
    A backend that can only read is one of these and has nothing to tell beyond.

    Attributes
    ----------
    concurrency : int
        How many requests at a time do well here.
    stats : RequestStats
        What was sent and received.
    """

    concurrency: int
    stats: RequestStats

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read an object, or a part of it; None if the place knows there is none.

        Fewer bytes than wanted come only where the object ends before.
        """
        ...

    def forget(self, key: str) -> None:
        """Drop what is known of the version of a key, of which all is read anew."""
        return

    def verdict(self, failure: RequestFailed) -> RequestFailed | StoreError:
        """Say which of its problems a failure stands for, by what is known by now."""
        return failure

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened here, each once."""
        return ()

    @property
    def choices(self) -> tuple[str, ...]:
        """The paths of several images below, one of which must be chosen."""
        return ()


@runtime_checkable
class Versioned(Protocol):
    """A backend that says of which version an object is."""

    async def version(self, key: str) -> str:
        """Ask by one small request; ``""`` if there is no answer to that."""
        ...


class Attempts(Protocol):
    """Calls a function until it answers, and raises our errors."""

    async def __call__(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call it."""
        ...


PIECE = 16 << 20
"""So many bytes of a long object are sent, or copied, at a time."""
LONG = 2 * PIECE
"""From so many bytes on an object is sent in pieces."""
PIECES_AT_A_TIME = 6
"""So many of these are on their way, and in memory."""


def pieces_of(size: int) -> list[tuple[int, int]]:
    """Say where to cut a long object: S3 takes 10,000 parts, each of 5 MiB or more.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
    """
    step = max(PIECE, -(-size // 10_000))
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def piece_of(body: bytes | memoryview) -> Piece:
    """Give what cuts pieces out of a body that is in memory."""
    whole = memoryview(body)

    async def piece(start: int, stop: int) -> Any:
        return whole[start:stop]

    return piece


async def joined(size: int, piece: Piece) -> bytes:
    """Give all of a long object, for who can only be given it whole."""
    return b"".join([await piece(*span) for span in pieces_of(size)])


async def all_of(sending: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all at once; where one fails, or nobody waits any more, all have ended."""
    tasks = [asyncio.ensure_future(each) for each in sending]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class WritableBackend(ObjectBackend, Protocol):
    """Changes what lies below a location, too."""

    async def write(
        self, key: str, body: bytes, condition: PutMode | None = None
    ) -> None:
        """Write an object, whole or not at all."""
        ...

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write an object, in several requests if it is long: each by `attempts`."""
        ...

    async def put_pieces(
        self, key: str, size: int, piece: Piece, attempts: Attempts
    ) -> None:
        """Write a long object by `pieces_of` it, of which few are in memory."""
        ...

    async def copy(self, key: str, to: str, size: int, attempts: Attempts) -> None:
        """Copy an object of so many bytes over another, without them coming here."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; none there is as good."""
        ...

    async def list_all(
        self, prefix: str, token: str = "", size: int = PAGE
    ) -> ListPage:
        """List all objects below a folder, at any depth; ``""`` is the place."""
        ...


# What lies directly below a place, page by page.


class Lister(Protocol):
    """One way to list what lies below a place; runs on the I/O loop.

    Both methods raise `StoreError` where the place does not list.
    """

    stats: RequestStats

    async def page(
        self, prefix: str = "", token: str = "", size: int = PAGE
    ) -> ListPage:
        """Give what lies directly below and whose name begins with `prefix`."""
        ...

    async def deep_page(self, token: str = "") -> ListPage:
        """Give all objects below, at any depth: names are whole paths."""
        ...


async def all_pages(ask: Callable[..., Awaitable[ListPage]]) -> AsyncIterator[ListPage]:
    """Give page after page; ``ask`` is a lister's ``page`` or ``deep_page``."""
    page = await ask()
    yield page
    while page.token:
        page = await ask(token=page.token)
        yield page


async def all_items(ask: Callable[..., Awaitable[ListPage]]) -> list[ObjectMeta]:
    """Give what is on all pages."""
    return [item async for page in all_pages(ask) for item in page.items]


class Items(Protocol):
    """What a place that needs no pages says of itself."""

    async def __call__(self) -> Iterable[ObjectMeta]:
        """Give what lies directly below, in any order."""
        ...

    async def deep(self) -> Iterable[ObjectMeta]:
        """Give all objects at any depth, by their whole paths."""
        ...


class WholeLister:
    """Lists a place that gives all its items at once, a folder or an archive."""

    def __init__(self, load: Items, stats: RequestStats | None = None) -> None:
        self.stats = stats or RequestStats()
        self._load = load
        self._items: list[ObjectMeta] | None = None

    async def deep_page(self, token: str = "") -> ListPage:
        """Give all objects at any depth, in the order of their paths."""
        return ListPage(tuple(sorted(await self._load.deep(), key=_name)))

    async def page(
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


class PageReader(Protocol):
    """Asks a service for pages of what lies below a place, by one attempt each."""

    stats: RequestStats

    async def listed(
        self, prefix: str, token: str = "", size: int = PAGE, delimiter: str = ""
    ) -> ListPage | None:
        """Give a page of the objects whose keys begin so; None: it is no list.

        What has the delimiter behind the prefix is given once, as a folder.
        """
        ...

    def verdict(self, failure: RequestFailed) -> RequestFailed | StoreError:
        """Say which of its problems a failure stands for."""
        ...

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe the place for the words of an error about `url`."""
        ...


def whole_key(prefix: str, key: str) -> str:
    """Give the key of an object below a prefix; slashes at its ends are parts of it."""
    return f"{prefix}/{key}" if prefix and key else prefix or key


async def page_below(pages: PageReader, folder: str, token: str, size: int) -> ListPage:
    """Give a page of all objects below a folder; a `RequestFailed` if it is none."""
    page = await pages.listed(f"{folder}/" if folder else "", token, size)
    if page is None:
        raise RequestFailed(reason=Reason.WEB_PAGE)
    return page


class PagedLister:
    """What lies below a place of an object store: one request for each page.

    ``url`` is the address for people. What is not listed for this sign-in, or is no
    such place, is a ListingDeniedError.
    """

    def __init__(self, pages: PageReader, url: str, retry: RetryPolicy) -> None:
        self.stats: RequestStats = pages.stats
        self.url = url
        self._pages = pages
        self._retry = retry
        self._slots = asyncio.Semaphore(_LISTS_AT_A_TIME)

    async def page(
        self, prefix: str = "", token: str = "", size: int = PAGE
    ) -> ListPage:
        """Give a page of what lies directly below; `token` is the server's own."""
        page = await self._page(prefix, token, size, "/")
        items = tuple(item for item in page.items if "/" not in item.name)
        return replace(page, items=items)

    async def deep_page(self, token: str = "") -> ListPage:
        """Give a page of all objects below, at any depth: names are whole paths."""
        return await self._page("", token, PAGE)

    async def is_refused(self) -> bool | None:
        """Say whether the service lets nobody list here who signs so; None: unknown."""
        answer = await self.tried(partial(self._pages.listed, "", size=1))
        if not isinstance(answer, FAILURES):
            return False
        if isinstance(answer, RequestFailed):
            verdict = self._pages.verdict(answer)
            if isinstance(verdict, RequestFailed) and says_denied(verdict):
                return True
        return None

    async def _page(
        self, prefix: str, token: str, size: int, delimiter: str = ""
    ) -> ListPage:
        while True:
            ask = partial(self._pages.listed, prefix, token, size, delimiter)
            page = await self.answer(ask)
            if page is None:
                raise not_listed(self.url)
            if page.token and page.token == token:
                raise self._error(RequestFailed(reason=Reason.CIRCLES))
            # Keys may hold empty parts and dots, which lead nowhere.
            nowhere = {"", ".", ".."}
            found = (i for i in page.items if not nowhere & set(i.name.split("/")))
            items = tuple(sorted(found, key=_name))
            token = page.token
            if items or not token:  # a page may be empty, and not the last
                return ListPage(items, token)

    async def tried(self, attempt: Callable[[], Awaitable[T]]) -> T | Failure:
        """Try until there is an answer, or a failure that lasts."""
        return await retrying(attempt, self._retry, self._slots)

    async def answer(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until there is an answer, and raise our errors."""
        answer = await self.tried(attempt)
        if isinstance(answer, FAILURES):
            raise self._error(answer)
        return answer

    def _error(self, failure: Failure) -> StoreError:
        context = self._pages.context(self.url)
        if not isinstance(failure, RequestFailed):
            return translate(failure, context)
        verdict = self._pages.verdict(failure)
        error = translate(verdict, context)
        # Who is not known at all may sign in: that is not about the listing.
        known = isinstance(verdict, RequestFailed) and verdict.status not in (0, 401)
        return about_listing(error, self.url) if known else error


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


def fitted(body: bytes, wanted: ByteRequest | None, size: int) -> GetResult:
    """Judge what came for a part of a file of `size` bytes, and cut a whole one.

    Raises
    ------
    RequestFailed
        It is neither the part nor the whole file.
    """
    start, end = span(wanted, size)
    if len(body) == end - start:
        return GetResult(body, size=size)
    if len(body) == size:
        return GetResult(body[start:end], size=size)
    raise RequestFailed(reason=Reason.TRUNCATED)


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


class PartsStore(Store):
    """A store of zarr's that reads parts of keys by reading each, all at once."""

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Read parts of keys, all at once."""
        return await asyncio.gather(
            *(self.get(key, prototype, wanted) for key, wanted in key_ranges)
        )


# How long to wait for a place, and how often to ask it again: the only such loop.

FAILURES = (RequestFailed, OSError)
"""What an attempt raises that is a `Failure`; a StoreError is an OSError."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds on waiting and asking again; all times in seconds."""

    connect: float = 15
    silence: float = 20
    """How long a connection may take, and how long one may be silent."""
    tries: int = 6
    """How often a key is asked for at most."""
    total: float = 60
    """No further try begins after this time."""
    first_pause: float = 0.25
    longest_pause: float = 10
    """The pause before the second try is drawn from zero to `first_pause`; the bound
    doubles with each further try, up to `longest_pause`. A server's own ``Retry-After``
    is kept up to `longest_pause` too."""

    def pause(self, failures: int, elapsed: float, asked: float = 0) -> float | None:
        """Decide how many seconds to wait after so many failures; None to give up.

        ``elapsed`` counts from the beginning of the first try; ``asked`` is the
        server's ``Retry-After``, 0 if it gave none.
        """
        if failures >= self.tries:
            return None
        # "Full jitter": many clients that failed together come back spread out.
        bound = min(self.longest_pause, self.first_pause * 2 ** (failures - 1))
        pause = max(random.uniform(0, bound), min(asked, self.longest_pause))
        return pause if elapsed + pause < self.total else None


_once: ContextVar[bool] = ContextVar("napari_omezarr_once", default=False)


@contextmanager
def tried_once() -> Iterator[None]:
    """Let what is asked inside the block be asked once, whatever the policy says.

    For who comes again later by himself: his tries must not multiply with ours.
    """
    token = _once.set(True)
    try:
        yield
    finally:
        _once.reset(token)


async def retrying(
    attempt: Callable[[], Awaitable[T]],
    retry: RetryPolicy,
    slots: asyncio.Semaphore,
) -> T | Failure:
    """Try until there is an answer or a lasting failure, or the policy ends.

    One try raises a `Failure`; the last one is given. ``slots`` bounds how many tries
    are under way; a pause takes none.
    """
    clock = asyncio.get_running_loop().time
    begin = clock()
    failures = 0
    while True:
        try:
            async with slots:
                return await attempt()
        except FAILURES as error:
            failure = error
        failures += 1
        if not (isinstance(failure, RequestFailed) and failure.transient):
            return failure
        if _once.get():
            return failure
        seconds = retry.pause(failures, clock() - begin, failure.retry_after)
        if seconds is None:
            return failure
        await asyncio.sleep(seconds)


# Web pages that stand where data should be: portals, sign-in forms, viewers.

_BEGINNINGS = (b"<!doctype html", b"<html", b"<head")


def looks_like_html(key: str, body: bytes) -> bool:
    """Say whether a body is a page for people, judged by how it begins."""
    # The declared type is no help: many servers call a .zattrs a page, and some call
    # their pages nothing. JSON never begins with "<".
    if b"<" not in bytes(body[:64]):
        return False
    beginning = bytes(body[:512]).lstrip().lower()
    if key.endswith(".json") or key.rpartition("/")[2] in DOCUMENTS:
        return beginning.startswith(b"<")
    return beginning.startswith(_BEGINNINGS)
