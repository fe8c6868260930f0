"""Blobs of Azure's storage: one request each through our own client, signed by us.

Why not through adlfs: docs/decisions/047.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote
from uuid import uuid4

from napari_omezarr.errors import SignInNeededError, StoreError
from napari_omezarr.location import encode

from .azure_sign_in import SIGN_IN, Account, account_of, signature_of
from .backend import (
    LONG,
    PAGE,
    PIECES_AT_A_TIME,
    PUBLIC,
    ListPage,
    ObjectMeta,
    PutMode,
    WritableBackend,
    all_of,
    page_below,
    piece_of,
    pieces_of,
)
from .error_mapping import ErrorContext, Reason, RequestFailed, failure_of, says_absent
from .http import (
    Access,
    Request,
    accepted,
    content_md5,
    content_type,
    proxy_for,
    send,
    size_said,
    take_all,
)
from .object_store import parsed_xml, query_of, tag_of, texts_of
from .web_server import HttpBackend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_omezarr.location import Location

    from .backend import Attempts, Piece, RetryPolicy
    from .http import RawResponse, Take

_COPY_PAUSE = 0.5


class AzureBackend(HttpBackend, WritableBackend):
    """The blobs below a folder of a container, to be read or written.

    A token is for reading only where it turns out to be good: what everybody may read
    is read without. Who ``writes`` signs in any case.
    """

    def __init__(
        self,
        account: Account,
        location: Location,
        retry: RetryPolicy,
        *,
        writes: bool = False,
    ) -> None:
        self._account = account
        self._is_trying = bool(account.tokens) and not writes
        self._is_link = bool(location.query)
        self._container = f"{account.endpoint}/{encode(location.root)}"
        self._above = f"{location.path}/".lstrip("/")
        query = signature_of(location.query) or account.sas
        place = f"{self._container}/{encode(location.path)}".rstrip("/")
        access = Access(retry, proxy=proxy_for(account.endpoint), redirects=False)
        super().__init__(_asking(place, query), access, bucket=location.root)
        # So that a blob's length is asked for at once where its end is wanted.
        self._has_suffixes = False

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        said = super().context(url, doing)
        return replace(said, has_query=self._is_link, sign_in=SIGN_IN)

    def verdict(self, failure: RequestFailed) -> RequestFailed:
        """Say of a refusal whether somebody had signed in."""
        signed = failure.reason is Reason.REFUSED and self._account.signs
        return replace(failure, signed=True) if signed else failure

    async def _send(
        self, method: str, key: str, headers: Mapping[str, str], take: Take = take_all
    ) -> RawResponse:
        return await self._sent(Request(method, self.identity(key), headers), take)

    async def _sent(self, request: Request, take: Take = take_all) -> RawResponse:
        """Send a request as whoever signs; a token is given up where it is no good."""
        if not self._is_trying:
            return await self._signed(request, self._account, take)
        refused: RawResponse | StoreError
        try:
            refused = await self._signed(request, self._account, take)
            if refused.status not in (401, 403):
                self._is_trying = refused.status >= 300
                return refused
        except SignInNeededError as error:
            refused = error
        public = Account(self._account.endpoint)
        answer = await self._signed(request, public, take)
        code = answer.headers.get("x-ms-error-code")
        if answer.status < 300 or code == "BlobNotFound":
            self._account, self._is_trying = public, False
            note = f"{PUBLIC} is read without signing in: {self._bucket}."
            if not isinstance(refused, StoreError):
                note = f"Your sign-in with Azure gives no access here. {note}"
            self._notes.add(note)
            return answer
        if isinstance(refused, StoreError):
            raise refused
        return refused

    async def _signed(
        self, request: Request, account: Account, take: Take
    ) -> RawResponse:
        signed = replace(request, sign_in=await account.headers(request))
        return await send(signed, self._access, self.stats, take)

    async def _done(
        self,
        method: str,
        key: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> RawResponse:
        """Send a request that must succeed."""
        url = _asking(self.identity(key), query)
        return accepted(await self._sent(Request(method, url, headers or {}, body)))

    async def write(
        self, key: str, body: bytes, condition: PutMode | None = None
    ) -> None:
        """Write a blob by one PUT, which the service checks with a hash."""
        headers = {
            "Content-Type": content_type(key),
            "Content-MD5": await content_md5(body),
            **(condition.headers if condition else {}),
            "x-ms-blob-type": "BlockBlob",
        }
        await self._done("PUT", key, headers=headers, body=body)

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write a blob; a long one in blocks."""
        if len(body) < LONG:
            await attempts(partial(self.write, key, body))
        else:
            await self.put_pieces(key, len(body), piece_of(body), attempts)

    async def put_pieces(
        self, key: str, size: int, piece: Piece, attempts: Attempts
    ) -> None:
        """Write a blob of blocks, several of which are on their way at a time.

        It is there, whole, with the list of them. Blocks that no list names are dropped
        by Azure: with the next write of the blob, and after a week.
        """
        few = asyncio.Semaphore(PIECES_AT_A_TIME)
        upload = uuid4().hex  # another's blocks of the same blob have other names

        async def send_block(number: int, span: tuple[int, int]) -> str:
            name = base64.b64encode(f"{upload}{number:06}".encode()).decode()
            async with few:
                block = await piece(*span)
                await attempts(partial(self._put_block, key, name, block))
            return name

        names = await all_of(
            send_block(number, span) for number, span in enumerate(pieces_of(size))
        )
        await attempts(partial(self._put_list, key, names))

    async def _put_block(self, key: str, name: str, block: bytes) -> None:
        query = query_of({"blockid": name, "comp": "block"})
        kind, md5 = "application/octet-stream", await content_md5(block)
        headers = {"Content-Type": kind, "Content-MD5": md5}
        await self._done("PUT", key, query, headers, block)

    async def _put_list(self, key: str, names: list[str]) -> None:
        listed = "".join(f"<Latest>{name}</Latest>" for name in names)
        headers = {
            "Content-Type": "application/xml",
            "x-ms-blob-content-type": content_type(key),
        }
        body = f"<BlockList>{listed}</BlockList>".encode()
        await self._done("PUT", key, "comp=blocklist", headers, body)

    async def copy(self, key: str, to: str, size: int, attempts: Attempts) -> None:
        """Let the service copy a blob, however long it takes."""
        source = {
            "Content-Type": content_type(to),
            "x-ms-copy-source": self.identity(key),
        }
        begin = partial(self._copy_state, "PUT", to, source, b"")
        is_pending = await attempts(begin)
        while is_pending:
            await asyncio.sleep(_COPY_PAUSE)
            is_pending = await attempts(partial(self._copy_state, "HEAD", to, {}))

    async def _copy_state(
        self,
        method: str,
        to: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> bool:
        """Begin a copy, or ask for its state; say whether it goes on."""
        answer = await self._done(method, to, headers=headers, body=body)
        state = answer.headers.get("x-ms-copy-status")
        if state not in ("pending", "success"):
            raise RequestFailed(500)
        return state == "pending"

    async def delete(self, key: str) -> None:
        """Delete a blob by one DELETE."""
        raw = await self._sent(Request("DELETE", self.identity(key), {}))
        failure = failure_of(raw.status, raw.headers, raw.body)
        if not says_absent(raw.status, failure.code):
            accepted(raw)

    async def list_all(
        self, prefix: str, token: str = "", size: int = PAGE
    ) -> ListPage:
        """Ask for a page of all blobs below a folder."""
        return await page_below(self, prefix, token, size)

    async def listed(
        self, prefix: str, token: str = "", size: int = PAGE, delimiter: str = ""
    ) -> ListPage | None:
        """Give a page of List Blobs; None: it is no list."""
        wishes = {
            "comp": "list",
            "delimiter": delimiter,
            "marker": token,
            "maxresults": str(size),
            "prefix": self._above + prefix,
            "restype": "container",
        }
        url = _asking(f"{self._container}{self._query}", query_of(wishes))
        answer = accepted(await self._sent(Request("GET", url, {})))
        try:
            return list_page(answer.body, len(self._above))
        except RequestFailed:
            return None


def _asking(url: str, query: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


def list_page(body: bytes, above: int) -> ListPage:
    """Read a page of List Blobs, whose names have `above` characters too many.

    Raises
    ------
    RequestFailed
        It is none.
    """
    root = parsed_xml(body, "EnumerationResults")
    items = []
    for element in root.iterfind("{*}Blobs/*"):
        name = element.find("{*}Name")
        said = next(map(texts_of, element.iterfind("{*}Properties")), {})
        if name is None or said.get("ResourceType") == "directory":
            continue
        text = name.text or ""
        text = (unquote(text) if name.get("Encoded") == "true" else text)[above:]
        if tag_of(element) == "BlobPrefix":
            items.append(ObjectMeta(text.removesuffix("/"), True))
            continue
        size = size_said(said.get("Content-Length", ""))
        when = _iso(said.get("Last-Modified", ""))
        items.append(ObjectMeta(text, False, size, when, said.get("Etag", "")))
    return ListPage(tuple(items), texts_of(root).get("NextMarker", ""))


def _iso(date: str) -> str:
    try:
        return parsedate_to_datetime(date).isoformat(timespec="seconds")
    except ValueError:
        return ""


def azure_backend(
    location: Location, retry: RetryPolicy, *, writes: bool = False
) -> AzureBackend:
    """Make what reads or writes the blobs below a place; nobody is asked."""
    return AzureBackend(account_of(location), location, retry, writes=writes)
