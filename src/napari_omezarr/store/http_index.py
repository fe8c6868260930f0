"""The index pages of web servers (nginx, Apache, Python, others) as listings."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from functools import partial
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from napari_omezarr.errors import ListingDeniedError, WebPageError

from .backend import PAGE, ListPage, ObjectMeta, WholeLister, not_listed
from .error_mapping import ErrorContext, translate
from .retry import FAILURES, retrying

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .backend import Lister, ObjectBackend, RequestStats
    from .retry import RetryPolicy

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

    Parameters
    ----------
    backend : ObjectBackend
        The keys below the place.
    address : str
        Of the place, with a slash at its end and without a query.
    display : str
        The same for people.
    retry : RetryPolicy
        How long to wait, and how often to ask.
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
        return await self._lister.deep_page(token)

    def _is_no_bucket(self, error: ListingDeniedError | WebPageError) -> bool:
        return error.sentence == not_listed(self._display).sentence
