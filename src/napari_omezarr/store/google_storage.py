"""Objects of Google Cloud Storage, by its JSON API: one request each; no HEAD.

The requests go through our own session; gcsfs only finds who signs in. Why so, and
what this API makes of versions and conditions: docs/decisions/047.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from napari_omezarr.errors import ServerError, SignInExpiredError, StoreError

from .backend import (
    FAILURES,
    LONG,
    PAGE,
    PIECE,
    GetResult,
    ListPage,
    ObjectMeta,
    PutMode,
    WritableBackend,
    page_below,
    piece_of,
    whole_key,
)
from .error_mapping import (
    GOOGLE_SIGN_IN,
    Reason,
    RequestFailed,
    google_failure,
    says_absent,
)
from .filesystems import require
from .google_sign_in import GoogleSignIn, google_endpoint, google_sign_in
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
from .web_server import HttpBackend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarr.abc.store import ByteRequest

    from napari_omezarr.location import Location

    from .backend import Attempts, Piece, RetryPolicy
    from .error_mapping import ErrorContext
    from .http import RawResponse, Take

# Reading and listing.

_FIELDS = "kind,nextPageToken,prefixes,items(name,size,updated,generation)"


class GoogleReader(HttpBackend):
    """Reads and lists the objects below a prefix of a bucket.

    The etag of an object is its generation, which conditions for writing name.
    """

    _writes = False
    """Whether all is asked as who signs in, and must be as it is now."""
    _is_known = False
    """Whether something was read by who signs in."""

    def __init__(
        self, location: Location, retry: RetryPolicy, sign_in: GoogleSignIn | None
    ) -> None:
        self._endpoint = location.endpoint or google_endpoint()
        access = Access(retry, proxy=proxy_for(self._endpoint), redirects=False)
        super().__init__(self._endpoint, access, bucket=location.root)
        self._who = sign_in
        self._prefix = location.path
        self._objects = f"/storage/v1/b/{location.root}/o"
        self._is_open = False

    async def listed(
        self, prefix: str, token: str = "", size: int = PAGE, delimiter: str = ""
    ) -> ListPage | None:
        """Give a page of the objects whose keys begin so; None: it is no list."""
        above = f"{self._prefix}/" if self._prefix else ""
        wishes = {
            "delimiter": delimiter,
            "fields": _FIELDS,
            "maxResults": str(min(size, PAGE)),
            "pageToken": token,
            "prefix": above + prefix,
        }
        raw = await self.done("GET", f"{self._objects}?{_query(wishes)}")
        return _page(raw.body, len(above))

    def path(self, key: str) -> str:
        """Give the name of an object as a part of an address."""
        return quote(whole_key(self._prefix, key), safe="", errors="surrogateescape")

    def identity(self, key: str) -> str:
        """Give the address of an object."""
        return f"{self._endpoint}{self._objects}/{self.path(key)}?alt=media"

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe this bucket for the words of an error about `url`."""
        missing = self._who is None and find_spec("gcsfs") is None
        said = "To sign in, run: pip install 'napari-omezarr[gcs]'"
        sign_in = said if missing else GOOGLE_SIGN_IN
        return replace(super().context(url, doing), sign_in=sign_in)

    def verdict(self, failure: RequestFailed) -> RequestFailed | StoreError:
        """Give the failure that counts: the anonymous one only if that reads here."""
        problem = failure.signed_failure
        return failure if problem is None or self._is_open else problem

    async def _send(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        take: Take = take_all,
    ) -> RawResponse:
        url, known = self.identity(key), headers.get("If-None-Match", "")
        if self._writes:  # what everybody may read comes out of caches, for an hour
            headers = {**headers, "Cache-Control": "no-cache"}
        if known.isdecimal():
            headers = {n: text for n, text in headers.items() if n != "If-None-Match"}
            url = f"{url}&ifGenerationNotMatch={known}"
        raw = await self.ask(Request(method, url, headers), take)
        generation = raw.headers.get("x-goog-generation")
        if generation is None:
            return raw
        said: Any = raw.headers
        said = said.copy()
        said["ETag"] = generation
        return replace(raw, headers=said)

    async def ask(self, request: Request, take: Take = take_all) -> RawResponse:
        """Send a request as whoever signs in; as nobody, where that is no good.

        Raises
        ------
        RequestFailed
            The answer is an error, and not that there is no such object.
        """
        problem: RequestFailed | StoreError
        try:
            raw, signed = await self._signed(request, take)
        except StoreError as error:
            problem, said = error, error.sentence
        else:
            failure = _failure(raw, signed=signed)
            if failure is None:
                self._is_known |= signed and raw.status < 300
                return raw
            if self._is_known or not (signed and failure.denied):
                raise failure
            problem, said = failure, "Your Google sign-in gives no access here."
        if self._writes:
            raise problem
        raw = await self._sent(request, {}, take)
        failure = _failure(raw, signed=False)
        if failure is not None:
            raise replace(failure, signed_failure=problem if failure.denied else None)
        self._is_open = True
        self._notes.add(f"{said} The bucket {self._bucket} is read without signing in.")
        return raw

    async def _signed(self, request: Request, take: Take) -> tuple[RawResponse, bool]:
        """Send a request with the token of now, or a newer one; say whether with any.

        Raises
        ------
        StoreError
            There is none that is accepted.
        """
        who = None if self._is_open else self._who
        signs = await who.headers(request) if who else {}
        raw = await self._sent(request, signs, take)
        if who is not None and signs and raw.status == 401:
            if await who.renewed(signs):
                signs = await who.headers(request)
                raw = await self._sent(request, signs, take)
            if raw.status == 401:
                sentence = "Your Google sign-in has ended, or is not accepted."
                raise SignInExpiredError(sentence, action=GOOGLE_SIGN_IN)
        return raw, bool(signs)

    async def _sent(
        self, request: Request, signs: Mapping[str, str], take: Take
    ) -> RawResponse:
        asked = replace(request, sign_in=signs) if signs else request
        return await send(asked, self._access, self.stats, take)

    async def done(
        self,
        method: str,
        target: str,
        body: bytes | memoryview | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        missing: str = "NoSuchBucket",
    ) -> RawResponse:
        """Send a request that must succeed, to what follows the endpoint.

        ``missing`` is the code of what is not there, if it is answered 404.
        """
        url = f"{self._endpoint}{target}"
        raw = await self.ask(Request(method, url, headers or {}, body))
        if raw.status == 404:
            raise RequestFailed(404, missing)
        return raw if raw.status == 308 and method == "PUT" else accepted(raw)


def _failure(raw: RawResponse, *, signed: bool) -> RequestFailed | None:
    """Give what an answer says that is an error; none that an object is not there."""
    # 308 without an address means that the next piece is awaited.
    goes_on = raw.status == 308 and "Location" not in raw.headers
    if raw.status < 300 or raw.status in (304, 416) or goes_on:
        return None
    failure = google_failure(raw.status, raw.headers, raw.body, signed=signed)
    return None if says_absent(failure.status, failure.code) else failure


def _query(wishes: Mapping[str, str]) -> str:
    pairs = ((name, quote(text, safe="")) for name, text in wishes.items())
    return "&".join(f"{name}={text}" for name, text in pairs if text)


def _page(body: bytes, above: int) -> ListPage | None:
    """Read a page of a list, whose names have `above` characters too many."""
    said = _document(body)
    if said.get("kind") != "storage#objects":
        return None
    try:
        items = [
            ObjectMeta(str(name)[above:].removesuffix("/"), True)
            for name in said.get("prefixes", ())
        ]
        items += [
            ObjectMeta(
                str(each["name"])[above:],
                False,
                size_said(str(each.get("size", ""))),
                str(each.get("updated", "")),
                str(each.get("generation", "")),
            )
            for each in said.get("items", ())
        ]
    except (AttributeError, KeyError, TypeError):
        return None
    return ListPage(tuple(items), str(said.get("nextPageToken", "")))


def _document(body: bytes) -> dict[str, Any]:
    """Read a JSON object; an empty one if it is none."""
    try:
        said = json.loads(bytes(body))
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def google_reader(location: Location, retry: RetryPolicy) -> GoogleReader:
    """Make what reads and lists a place; nothing is asked yet."""
    return GoogleReader(location, retry, google_sign_in(location))


# Writing, each object under a condition on its generation where one is wished.

_UPLOAD = re.compile(r"[?&]upload_id=([\w%.~+/=-]+)", re.ASCII)
_SENT = re.compile(r"bytes=0-(\d{1,18})$")
_NO_GENERATION = "1"
_MOST_STEPS = 10_000
_UPLOADS = 3


class _UploadLostError(ServerError):
    """An upload is not known any more, and must be begun anew."""


class GoogleWriter(GoogleReader, WritableBackend):
    """Writes the objects below a prefix of a bucket: who may read is not who may."""

    _writes = True

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read an object as it is now; its etag is one that conditions can name."""
        found = await super().read(key, wanted)
        is_generation = found is not None and found.etag.isdecimal()
        return found if is_generation or found is None else replace(found, etag="")

    async def write(
        self, key: str, body: bytes, condition: PutMode | None = None
    ) -> None:
        """Write an object by one POST, of what it is and of its bytes.

        Emulators hold to conditions of this kind of upload alone.
        """
        match = f"&ifGenerationMatch={_generation(condition)}" if condition else ""
        edge, md5 = uuid4().hex, await content_md5(body)
        about = f'Content-Type: application/json\r\n\r\n{{"md5Hash": "{md5}"}}'
        head = f"--{edge}\r\n{about}\r\n--{edge}\r\n"
        kind = f"Content-Type: {content_type(key)}\r\n\r\n"
        end = f"\r\n--{edge}--\r\n"
        whole = b"".join([f"{head}{kind}".encode(), body, end.encode()])
        headers = {"Content-Type": f"multipart/related; boundary={edge}"}
        await self.done("POST", self._upload("multipart", key) + match, whole, headers)

    def _upload(self, kind: str, key: str) -> str:
        return f"/upload{self._objects}?uploadType={kind}&name={self.path(key)}"

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write an object; a long one in pieces."""
        if len(body) < LONG:
            await attempts(partial(self.write, key, body))
        else:
            await self.put_pieces(key, len(body), piece_of(body), attempts)

    async def put_pieces(
        self, key: str, size: int, piece: Piece, attempts: Attempts
    ) -> None:
        """Write an object of pieces, one after another: it is there after the last.

        What the service has lost of it is begun anew, as it asks for.
        """
        for left in reversed(range(_UPLOADS)):
            try:
                await self._put_pieces(key, size, piece, attempts)
            except _UploadLostError:
                if not left:
                    raise
            else:
                return

    async def _put_pieces(
        self, key: str, size: int, piece: Piece, attempts: Attempts
    ) -> None:
        """Send all pieces once; while one is sent, the next is had."""
        upload = await attempts(partial(self._begin, key))
        # Not `pieces_of`: each must have a multiple of 256 KiB, and none are too many.
        spans = [(start, min(start + PIECE, size)) for start in range(0, size, PIECE)]
        coming = asyncio.ensure_future(piece(*spans[0]))
        whole = hashlib.md5(usedforsecurity=False)
        try:
            for (start, stop), following in zip_longest(spans, spans[1:]):
                body = await coming
                if following is not None:
                    coming = asyncio.ensure_future(piece(*following))
                await asyncio.to_thread(whole.update, body)
                headers = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
                if following is None:  # so that nothing else is made of them
                    md5 = base64.b64encode(whole.digest()).decode()
                    headers["x-goog-hash"] = f"md5={md5}"
                send = partial(self._send_piece, upload, stop, size, headers, body)
                await attempts(send)
        except BaseException:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
            # What was sent is given up, so that it does not lie there for a week.
            with suppress(*FAILURES):
                await self.done("DELETE", upload, b"", missing="NoSuchUpload")
            raise

    async def _begin(self, key: str) -> str:
        target = self._upload("resumable", key)
        headers = {"X-Upload-Content-Type": content_type(key)}
        raw = await self.done("POST", target, b"", headers)
        # Whoever has its number may go on with it, so it is told to nobody else.
        found = _UPLOAD.search(raw.headers.get("Location", ""))
        if found is None:
            raise RequestFailed(reason=Reason.WEB_PAGE)
        return f"{target}&upload_id={found[1]}"

    async def _send_piece(
        self, upload: str, stop: int, size: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Send a piece; of one that is sent again what has arrived is passed over."""
        try:
            raw = await self.done("PUT", upload, body, headers, missing="NoSuchUpload")
        except RequestFailed as failure:
            if failure.status in (404, 410) and failure.code != "NoSuchBucket":
                sentence = "Google's storage has lost what was sent of an object."
                raise _UploadLostError(sentence, action="Save it again.") from None
            raise
        if raw.status < 300:
            return
        sent = _SENT.match(raw.headers.get("Range", ""))
        if stop == size or sent is None or int(sent[1]) + 1 < stop:
            raise RequestFailed(reason=Reason.TRUNCATED)

    async def copy(self, key: str, to: str, size: int, attempts: Attempts) -> None:
        """Let the service copy an object, in as many steps as it says."""
        token, step = "", 0
        while token or not step:
            token = await attempts(partial(self._rewrite, key, to, token, step))
            step += 1

    async def _rewrite(self, key: str, to: str, token: str, step: int) -> str:
        """Copy some more; gives what asks for the rest, or ``""``."""
        if step == _MOST_STEPS:
            raise RequestFailed(reason=Reason.CIRCLES)
        there = f"rewriteTo{self._objects.removeprefix('/storage/v1')}"
        target = f"{self._objects}/{self.path(key)}/{there}/{self.path(to)}"
        query = _query({"rewriteToken": token, "fields": "done,rewriteToken"})
        raw = await self.done("POST", f"{target}?{query}", b"", missing="NoSuchKey")
        said = _document(raw.body)
        rest = str(said.get("rewriteToken", ""))
        if not (said.get("done") or rest):
            raise RequestFailed(reason=Reason.WEB_PAGE)
        return rest

    async def delete(self, key: str) -> None:
        """Delete an object by one DELETE."""
        url = self.identity(key).partition("?")[0]
        raw = await self.ask(Request("DELETE", url, {}))
        if raw.status != 404:
            accepted(raw)

    async def list_all(
        self, prefix: str, token: str = "", size: int = PAGE
    ) -> ListPage:
        """Ask for a page without a delimiter."""
        return await page_below(self, prefix, token, size)


def _generation(condition: PutMode) -> str:
    """Give the generation that an object must have: 0 of one that is not there."""
    said = condition.etag.strip('"')
    if not said:
        return "0"
    # An etag that is none of ours stands for a state that is not there.
    return said if said.isdecimal() and said.strip("0") else _NO_GENERATION


def google_writer(location: Location, retry: RetryPolicy) -> GoogleWriter:
    """Make what changes a place.

    Raises
    ------
    OptionError
        What could sign in there is not installed.
    """
    sign_in = google_sign_in(location)
    if sign_in is None and (location.endpoint or google_endpoint()).startswith(
        "https:"
    ):
        require("gcsfs", "gcs", location.display)
    return GoogleWriter(location, retry, sign_in)
