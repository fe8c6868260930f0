"""Files of a web server: read by name and in parts, listed by its index pages."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urljoin, urlsplit
from weakref import WeakValueDictionary

from zarr.abc.store import RangeByteRequest, SuffixByteRequest

from napari_omezarr.connections import key_store, sign_in_headers
from napari_omezarr.errors import (
    ListingDeniedError,
    OptionError,
    SignInNeededError,
    WebPageError,
)
from napari_omezarr.location import encode

from .backend import (
    FAILURES,
    FIRST_BYTE,
    PAGE,
    REMOTE_CONCURRENCY,
    GetResult,
    ListPage,
    NoteList,
    ObjectBackend,
    ObjectMeta,
    RequestStats,
    WholeLister,
    not_listed,
    retrying,
    span,
)
from .error_mapping import ErrorContext, Reason, RequestFailed, translate
from .http import (
    TAKEN_WHOLE,
    Request,
    Response,
    headers_for,
    is_encoded,
    response_of,
    send,
    size_said,
    suffix_understood,
    take_all,
    take_part,
    take_small,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zarr.abc.store import ByteRequest

    from napari_omezarr.errors import StoreError

    from .backend import Lister, RetryPolicy
    from .http import Access, RawResponse, Take


class _WholeBodies:
    """The last whole bodies that came instead of parts, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[str, Response] = OrderedDict()

    def find(self, key: str) -> Response | None:
        """Give the body of a key, if it is kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: str, response: Response) -> None:
        """Keep a body, and drop those that were not asked for longest."""
        self.drop(key)
        self._kept[key] = response
        self._size += response.total
        while self._size > self._limit:
            self._size -= self._kept.popitem(last=False)[1].total

    def drop(self, key: str) -> None:
        """Drop the body of a key."""
        if before := self._kept.pop(key, None):
            self._size -= before.total


class SignIn(Protocol):
    """Signs in at one web host; ``name`` is what people call it by."""

    name: str

    async def headers(self, request: Request) -> Mapping[str, str]:
        """Give the headers that sign a request in, on the I/O loop.

        Raises
        ------
        StoreError
            Nobody can sign it.
        """
        ...


class HeaderSignIn:
    """The headers that sign in at one web host: a person's own, from the key store."""

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self._endpoint = endpoint
        self._headers: Mapping[str, str] | None = None
        self._revision = -1
        self._finding = asyncio.Lock()

    async def headers(self, request: Request) -> Mapping[str, str]:
        """Find them; a keychain may have to ask the person, so not on the loop.

        Raises
        ------
        SignInNeededError
            They are not known any more, or none that can be sent.
        """
        async with self._finding:
            revision = key_store().revision
            if self._headers is None or self._revision != revision:
                self._headers = await asyncio.to_thread(self._find)
                self._revision = revision
        return self._headers

    def _find(self) -> Mapping[str, str]:
        keys = key_store().find(self.name)
        with suppress(OptionError):
            if keys is not None and keys.access_key == self._endpoint:
                return sign_in_headers(keys)
        sentence = f"The token of the connection {self.name} is not known any more."
        raise SignInNeededError(sentence, action="Type it again in the connection.")


class HttpBackend(ObjectBackend):
    """The keys below a web address.

    ``address`` is that of the place, encoded and with the query; ``bucket`` is the
    bucket behind it, if it is one; ``sign_in`` what signs in at the host of these
    addresses.
    """

    def __init__(
        self,
        address: str,
        access: Access,
        *,
        bucket: str = "",
        sign_in: SignIn | None = None,
    ) -> None:
        self.concurrency = REMOTE_CONCURRENCY
        self.stats = RequestStats()
        self._bucket = bucket
        self._sign_in = sign_in
        self._address = address
        place, mark, query = address.partition("?")
        self._below, self._query = f"{place.removesuffix('/')}/", mark + query
        self._access = access
        self._notes = NoteList()
        self._has_ranges = True
        self._has_suffixes = True
        self._bodies = _WholeBodies(TAKEN_WHOLE)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what this server cannot do."""
        return self._notes.sentences

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a key by one GET, or by two or three where the server has no such."""
        return (await self.respond(key, wanted)).result(wanted)

    async def respond(
        self, key: str, wanted: ByteRequest | None, etag: str = ""
    ) -> Response:
        """Read as `read` does, unless the object is of the version that is named."""
        if wanted is None or etag:
            return await self._respond(key, wanted, etag)
        if self._has_ranges:
            return self._bodies.find(key) or await self._respond(key, wanted)
        # Whoever wants another part of the same body waits for it.
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            return self._bodies.find(key) or await self._respond(key, wanted)

    async def version(self, key: str) -> str:
        """Ask for the first byte, and take the version that the answer names."""
        return (await self._respond(key, FIRST_BYTE)).etag

    def forget(self, key: str) -> None:
        """Drop the whole body of a key."""
        self._bodies.drop(key)

    async def _respond(
        self, key: str, wanted: ByteRequest | None, etag: str = ""
    ) -> Response:
        if isinstance(wanted, SuffixByteRequest):
            return await self._end(key, wanted, etag)
        return await self._get(key, wanted, etag)

    async def _get(
        self, key: str, wanted: ByteRequest | None, etag: str = ""
    ) -> Response:
        """Read by one GET, or by another one where a part came encoded."""
        headers = headers_for(wanted, etag)
        if wanted is None:
            return response_of(await self._send("GET", key, headers), headers)
        take = partial(take_part, wanted, self._access)
        raw = await self._send("GET", key, headers, take)
        if raw.status == 206 and is_encoded(raw.headers):
            return await self._get_decoded(key, wanted, etag)
        return self._kept(key, wanted, raw, response_of(raw, headers))

    async def _get_decoded(self, key: str, wanted: ByteRequest, etag: str) -> Response:
        """Ask for all: a part of what is encoded is not a part of the object."""
        headers = headers_for(None, etag)
        take = partial(take_part, wanted, self._access)
        raw = await self._send("GET", key, headers, take)
        return self._kept(key, wanted, raw, response_of(raw, headers))

    def _kept(
        self, key: str, wanted: ByteRequest, raw: RawResponse, response: Response
    ) -> Response:
        """Keep a whole body that came instead of a part, for the parts to come."""
        if raw.status != 200 or response.body is None:
            return response
        exact = not isinstance(wanted, SuffixByteRequest)
        whole = span(wanted, response.total) == (0, response.total)
        if exact and not whole and not is_encoded(raw.headers):
            self._found_no_ranges()
        if not response.partial:
            self._bodies.keep(key, response)
        return response

    def _found_no_ranges(self) -> None:
        self._has_ranges = False
        host = self.context("").host
        self._notes.add(f"{host} sends files only whole, so parts of them are slow.")

    async def _end(self, key: str, wanted: SuffixByteRequest, etag: str) -> Response:
        """Read the last bytes, by the object's length if the server does not count.

        ``bytes=-N`` is refused by some (400, 416, 501), ignored by others, and by
        a few taken for the first N bytes. They know other ranges.
        """
        total, ignored = None, False
        if self._has_suffixes:
            headers = headers_for(wanted, etag)
            take = take_small if self._has_ranges else take_part
            taking = partial(take, wanted, self._access)
            raw = await self._send("GET", key, headers, taking)
            if raw.status == 206 and is_encoded(raw.headers):
                return await self._get_decoded(key, wanted, etag)
            understood, total = suffix_understood(raw, headers["Range"])
            if understood or (raw.status == 200 and not self._has_ranges):
                return self._kept(key, wanted, raw, response_of(raw, headers))
            ignored = raw.status == 200
        if total is None:
            first = await self._get(key, FIRST_BYTE, etag)
            if not (first.partial and first.body):  # whole, missing, the same, empty
                self._has_suffixes &= not first.body
                return first
            total = first.total or await self._announced(key)
        exact = RangeByteRequest(max(0, total - wanted.suffix), total)
        response = await self._get(key, exact, etag)
        if response.body is not None and response.total not in (0, total):
            # It was written anew in between: the end is elsewhere now.
            raise RequestFailed(reason=Reason.TRUNCATED)
        # Where all ranges are ignored, a suffix brings the whole body as well.
        self._has_suffixes = ignored and not self._has_ranges
        return response

    async def _announced(self, key: str) -> int:
        """Ask for the length alone, where an answer to a range does not say it."""
        raw = await self._send("HEAD", key, {})
        length = size_said(raw.headers.get("Content-Length", ""))
        if raw.status != 200 or length is None or is_encoded(raw.headers):
            raise RequestFailed(reason=Reason.WRONG_RANGE)
        return length

    async def _send(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        take: Take = take_all,
    ) -> RawResponse:
        request = Request(method, self.identity(key), headers)
        if self._sign_in is not None:
            sign_in = await self._sign_in.headers(request)
            request = replace(request, sign_in=sign_in)
        try:
            return await send(request, self._access, self.stats, take)
        except RequestFailed as failure:
            if failure.reason is Reason.NO_RANGES:
                self._found_no_ranges()
            raise

    def say_not_signed(self, name: str) -> None:
        """Say that a connection was named whose token is for another host."""
        self._notes.add(f"{name} signs in at another host, and was not used here.")

    def verdict(self, failure: RequestFailed) -> RequestFailed | StoreError:
        """Say of a refusal whether somebody had signed in."""
        signed = self._sign_in is not None and failure.reason is Reason.REFUSED
        return replace(failure, signed=True) if signed else failure

    def identity(self, key: str) -> str:
        """Give the address, with whatever signs it."""
        if not key:
            return self._address
        return f"{self._below}{encode(key)}{self._query}"

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        parts = urlsplit(self._address)
        return ErrorContext(
            url,
            parts.netloc.rpartition("@")[2],
            bucket=self._bucket,
            profile=self._sign_in.name if self._sign_in else None,
            has_query=bool(parts.query),
            doing=doing,
        )


# Index pages (nginx, Apache, Python, others) as listings.

_MOST = 16 * 2**20
"""Bytes of a page that are read; such a page has a hundred thousand names."""

_TITLE = re.compile(r"^\s*(?:index of|directory listing|listing of)\b", re.IGNORECASE)
_DATES = (
    (re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}"), "%Y-%m-%d %H:%M"),
    (re.compile(r"\d{2}-[A-Z][a-z]{2}-\d{4} \d{2}:\d{2}"), "%d-%b-%Y %H:%M"),
)
_SIZE = re.compile(r"(?:^|\s)(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*$")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


class IndexParser(HTMLParser):
    """Collects the links of a page, with the text after each, and its title."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[tuple[str, list[str]]] = []
        self.titles: list[str] = []
        self._in_title = False
        self._in_link = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a link or a title."""
        self._in_title = self._in_title or tag in ("title", "h1")
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self._in_link = True
            self.links.append((href, []))

    def handle_endtag(self, tag: str) -> None:
        """End it."""
        if tag in ("title", "h1"):
            self._in_title = False
        if tag == "a":
            self._in_link = False

    def handle_data(self, data: str) -> None:
        """Take the text of a title, or what is said of the last link."""
        if self._in_title:
            self.titles.append(data)
        elif self.links and not self._in_link:
            self.links[-1][1].append(data)


def index_items(page: str, url: str) -> tuple[ObjectMeta, ...] | None:
    """Give what an index page lists directly below its own address, ``url``.

    None where the page is no index: other pages have links, too.
    """
    parser = IndexParser()
    parser.feed(page)
    if not any(map(_TITLE.match, parser.titles)):
        return None
    base = urlsplit(url)
    above = unquote(base.path).rstrip("/") + "/"
    found: dict[str, ObjectMeta] = {}
    for href, said in parser.links:
        target = urlsplit(urljoin(url, href))
        path = unquote(target.path)
        own_host = (target.scheme, target.netloc) == (base.scheme, base.netloc)
        if target.query or target.fragment or not own_host:
            continue
        name = path.removeprefix(above).rstrip("/")
        if not path.startswith(above) or "/" in name or name in ("", ".", ".."):
            continue
        text = " ".join(" ".join(said).split())
        is_folder = path.endswith("/")
        size = None if is_folder else _size(text)
        found[name] = ObjectMeta(name, is_folder, size, _date(text))
    return tuple(found.values())


def _date(text: str) -> str:
    for pattern, layout in _DATES:
        if match := pattern.search(text):
            try:
                when = datetime.strptime(match[0], layout).replace(tzinfo=UTC)
            except ValueError:
                return ""
            return when.isoformat(timespec="seconds")
    return ""


def _size(text: str) -> int | None:
    rest = text
    for pattern, _ in _DATES:
        rest = pattern.sub(" ", rest)
    match = _SIZE.search(rest)
    return round(float(match[1]) * 1024 ** _POWERS[match[2]]) if match else None


class IndexItems:
    """The items of a place on a web server, from its index page: one request.

    The address has a slash at its end and no query.
    """

    def __init__(
        self, backend: ObjectBackend, address: str, display: str, retry: RetryPolicy
    ) -> None:
        self._backend = backend
        self._address = address
        self._display = display
        self._retry = retry

    async def __call__(self) -> Iterable[ObjectMeta]:
        """Ask for the page; ListingDeniedError where there is none."""
        attempt = partial(self._backend.read, "")
        answer = await retrying(attempt, self._retry, asyncio.Semaphore(1))
        if isinstance(answer, FAILURES):
            raise translate(answer, ErrorContext(self._display))
        page = "" if answer is None else answer.body[:_MOST].decode("utf-8", "replace")
        items = index_items(page, self._address)
        if items is None:
            raise not_listed(self._display)
        return items

    async def deep(self) -> Iterable[ObjectMeta]:
        """Nobody says what lies at any depth."""
        raise not_listed(self._display)


class IndexedLister:
    """Lists a web address as a bucket where one answers, else by its index page."""

    def __init__(self, bucket: Lister | None, index: WholeLister, display: str) -> None:
        self._lister: Lister = bucket or index
        self._index = index
        self._display = display
        self.stats: RequestStats = self._lister.stats

    async def page(
        self, prefix: str = "", token: str = "", size: int = PAGE
    ) -> ListPage:
        """Give what lies directly below and whose name begins with `prefix`."""
        try:
            return await self._lister.page(prefix, token, size)
        except (ListingDeniedError, WebPageError) as error:
            # Who is refused by a bucket is in the right place, and may not.
            page = isinstance(error, WebPageError)
            if self._lister is self._index or not (page or self._is_no_bucket(error)):
                raise
            try:
                found = await self._index.page(prefix, token, size)
            except ListingDeniedError:
                raise error from None
            self._lister, self.stats = self._index, self._index.stats
            return found

    async def deep_page(self, token: str = "") -> ListPage:
        """Give all objects at any depth, which an index page does not."""
        try:
            return await self._lister.deep_page(token)
        except WebPageError as error:  # of a server that is no bucket
            raise not_listed(self._display) from error

    def _is_no_bucket(self, error: ListingDeniedError | WebPageError) -> bool:
        return error.sentence == not_listed(self._display).sentence
