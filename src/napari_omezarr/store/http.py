"""Requests over HTTP, what their answers say, and the files of a web server."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import ssl
import sys
import urllib.request
import zlib
from collections import OrderedDict
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary, WeakValueDictionary

import aiohttp
from yarl import URL
from zarr.abc.store import RangeByteRequest, SuffixByteRequest

from napari_omezarr._io_loop import io_loop
from napari_omezarr.connections import key_store, sign_in_headers
from napari_omezarr.errors import OptionError, SignInNeededError

from .absence import says_absent
from .backend import (
    FIRST_BYTE,
    REMOTE_CONCURRENCY,
    GetResult,
    NoteList,
    ObjectBackend,
    RequestStats,
    cut,
    most_bytes,
    range_header,
    span,
)
from .error_mapping import ErrorContext, Reason, RequestFailed, failure_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import SimpleNamespace

    from aiohttp.abc import AbstractStreamWriter
    from zarr.abc.store import ByteRequest

    from .retry import RetryPolicy

# Requests over HTTP: one session for all stores, nothing decided about an answer.

CONNECTIONS = 64
_READ_BUFFER = 1 << 20
_PIECE = 1 << 18
_SLOWEST = 20_000  # bytes per second that a connection takes at least
_SLOWEST_ANSWER = 500  # the same of an answer, after its first seconds
_ERROR_BYTES = 1 << 20
_KEEP_ALIVE = 20
_REMEMBER_ADDRESS = 300
_REDIRECTS = 10
_REDIRECTED = (301, 302, 303, 307, 308)


# Where parts are asked for and whole bodies come instead: how long a body may be to
# be taken whole, how much of a longer one is read past to get at a part, and from
# where on it is worth a request to find out whether exact ranges work.
_TAKEN_WHOLE = 64 << 20
_READ_PAST = 256 << 20
_WORTH_A_REQUEST = 1 << 20
_WHOLE_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class RawResponse:
    """An answer with its body as it came.

    Attributes
    ----------
    start, total : int, int or None
        Of a whole body of `total` bytes only a part was taken, from `start` on; a
        total of None: all of it.
    is_elsewhere : bool
        It is of something of another name, to which the request was sent on.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    start: int = 0
    total: int | None = None
    is_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A request; its address is sent exactly as it is, as signatures depend on it.

    What signs in (`sign_in`) is sent to the host of the address alone: not after a
    redirect to another one, another port or another protocol.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | memoryview | None = field(default=None, repr=False)
    sign_in: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Access:
    """How to reach the hosts of one store.

    Attributes
    ----------
    ca_file : str or None
        Certificates to trust besides those that this computer trusts.
    unverified : bool
        Take any certificate, because the person said so of this host.
    proxy : str or None
        The proxy that the environment or the system names for the host.
    """

    retry: RetryPolicy
    ca_file: str | None = None
    unverified: bool = False
    proxy: str | None = field(default=None, repr=False)
    redirects: bool = True

    @cached_property
    def timeout(self) -> aiohttp.ClientTimeout:
        """The same bounds as aiohttp has them: on silence, not on the whole body."""
        return aiohttp.ClientTimeout(
            total=None,
            sock_connect=self.retry.connect,
            sock_read=self.retry.silence,
        )

    @cached_property
    def whole_bodies(self) -> asyncio.Semaphore:
        """Bounds how many long bodies come at a time where parts were asked for."""
        return asyncio.Semaphore(_WHOLE_AT_ONCE)


# From the special to the general: aiohttp's exceptions are each other's subclasses.
_REASONS: tuple[tuple[tuple[type[Exception], ...], Reason], ...] = (
    (
        (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError),
        Reason.CERTIFICATE,
    ),
    ((aiohttp.ClientSSLError, ssl.SSLError), Reason.ENCRYPTION),
    (
        (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError),
        Reason.PROXY,
    ),
    ((aiohttp.ClientConnectorDNSError,), Reason.UNKNOWN_HOST),
    ((TimeoutError,), Reason.SILENCE),
    ((aiohttp.ClientConnectorError,), Reason.NO_CONNECTION),
    ((aiohttp.ClientPayloadError,), Reason.TRUNCATED),
    ((aiohttp.TooManyRedirects,), Reason.CIRCLES),
    ((aiohttp.InvalidURL, ValueError), Reason.UNUSABLE),
    ((Exception,), Reason.BROKEN),
)
_SessionKey = tuple[int, asyncio.AbstractEventLoop, str | None, bool]
_sessions: dict[_SessionKey, aiohttp.ClientSession] = {}


async def _take_all(
    response: aiohttp.ClientResponse, stats: RequestStats
) -> RawResponse:
    body = await _read(response, most_bytes(), stats)
    return RawResponse(response.status, response.headers, body)


async def _read(
    response: aiohttp.ClientResponse, most: int, stats: RequestStats
) -> bytes:
    """Take a body that has so many bytes at most, and does not come too slowly.

    Of an answer that is an error only the beginning is taken.
    """
    is_error = response.status >= 300
    most = _ERROR_BYTES if is_error else most
    if not is_error and (response.content_length or 0) > most:
        response.close()
        raise RequestFailed(reason=Reason.TOO_LONG)
    clock = _clocks.get(response)
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        stats.received += len(piece)
        if clock is not None:
            clock.came(len(piece))
        if size > most:
            response.close()
            if not is_error:
                raise RequestFailed(reason=Reason.TOO_LONG)
            break
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _Clock:
    """Bounds how long an answer may take, by how much of it has come.

    It begins when there is a connection: to wait for one is the fault of nobody.
    """

    def __init__(self, silence: float) -> None:
        self.timeout = asyncio.timeout(None)
        self._silence = silence
        self._due = 0.0

    def begin(self) -> None:
        """Count from now on."""
        self._due = asyncio.get_running_loop().time() + 2 * self._silence
        self.timeout.reschedule(self._due)

    def came(self, count: int) -> None:
        """Give the rest as much longer as these bytes may take."""
        self._due += count / _SLOWEST_ANSWER
        if not self.timeout.expired():
            self.timeout.reschedule(self._due)


_clocks: WeakKeyDictionary[aiohttp.ClientResponse, _Clock] = WeakKeyDictionary()


async def _connected(_: object, context: SimpleNamespace, __: object) -> None:
    clock = context.trace_request_ctx
    if isinstance(clock, _Clock):
        clock.begin()


def _tracing() -> aiohttp.TraceConfig:
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_connected)
    tracing.on_connection_create_end.append(_connected)
    return tracing


async def send(
    request: Request,
    access: Access,
    stats: RequestStats,
    take: Callable[
        [aiohttp.ClientResponse, RequestStats], Awaitable[RawResponse]
    ] = _take_all,
) -> RawResponse:
    """Send one request and take its answer, whatever its status; on the I/O loop.

    Raises
    ------
    RequestFailed
        There is no whole answer, or `take` refuses it.
    """
    stats.requests += 1
    url = URL(request.url, encoded=True)
    host, sign_in = url.origin(), request.sign_in
    try:
        for _ in range(1 + _REDIRECTS):
            clock = _Clock(access.retry.silence) if request.body is None else None
            async with (
                clock.timeout if clock else nullcontext(),
                _session(access).request(
                    request.method,
                    url,
                    headers={**request.headers, **sign_in},
                    data=None if request.body is None else _Body(request.body),
                    # aiohttp would take any headers along to wherever it is sent.
                    allow_redirects=access.redirects and not request.sign_in,
                    proxy=access.proxy,
                    timeout=_timeout(request, access),
                    trace_request_ctx=clock,
                ) as response,
            ):
                if clock:
                    _clocks[response] = clock
                to = response.headers.get("Location")
                moved = response.status in _REDIRECTED and access.redirects
                if not (request.sign_in and moved and to):
                    raw = await take(response, stats)
                    # An object that is sent on keeps its name; a page does not.
                    there = response.url.name == URL(request.url, encoded=True).name
                    return raw if there else replace(raw, is_elsewhere=True)
                url = url.join(URL(to, encoded=True))
            if url.origin() != host:
                sign_in = {}
        raise RequestFailed(reason=Reason.CIRCLES)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason = next(reason for types, reason in _REASONS if isinstance(error, types))
    # Raised here, where the error that may quote the address is not its context.
    raise RequestFailed(reason=reason)


async def _take_part(
    wanted: ByteRequest,
    access: Access,
    response: aiohttp.ClientResponse,
    stats: RequestStats,
) -> RawResponse:
    """Take of a whole body that came instead of a part only what memory allows.

    A body that is not too long is taken whole, as more parts of it will be wanted.
    """
    if response.status != 200:
        start, end = span(wanted, sys.maxsize)
        body = await _read(response, end - start + _ERROR_BYTES, stats)
        return RawResponse(response.status, response.headers, body)
    size = response.content_length
    if size is not None and size <= _WORTH_A_REQUEST:
        return await _take_all(response, stats)
    async with access.whole_bodies:
        if size is None or size <= _TAKEN_WHOLE:
            body = await _read_up_to(response, _TAKEN_WHOLE, stats)
            return RawResponse(response.status, response.headers, body)
        start, end = span(wanted, size)
        # A part of what is encoded cannot be decoded.
        if end > _READ_PAST or is_encoded(response.headers):
            response.close()
            raise RequestFailed(reason=Reason.NO_RANGES)
        body = await _read_past(response, start, end, stats)
    response.close()  # the rest is not wanted
    return RawResponse(response.status, response.headers, body, start, size)


async def _take_small(
    wanted: ByteRequest,
    access: Access,
    response: aiohttp.ClientResponse,
    stats: RequestStats,
) -> RawResponse:
    """Take nothing of a long body that came instead of a part, but its length."""
    size = response.content_length
    if response.status != 200 or size is None or size <= _WORTH_A_REQUEST:
        return await _take_part(wanted, access, response, stats)
    response.close()
    return RawResponse(response.status, response.headers, b"", size, size)


async def _read_up_to(
    response: aiohttp.ClientResponse, limit: int, stats: RequestStats
) -> bytes:
    try:
        return await _read(response, limit, stats)
    except RequestFailed:
        raise RequestFailed(reason=Reason.NO_RANGES) from None


async def _read_past(
    response: aiohttp.ClientResponse, start: int, end: int, stats: RequestStats
) -> bytes:
    """Read a body up to `end`, and keep it from `start` on."""
    body = bytearray()
    position = 0
    while position < end:
        piece = await response.content.read(min(_PIECE, end - position))
        if not piece:
            raise RequestFailed(reason=Reason.TRUNCATED)
        stats.received += len(piece)
        if (clock := _clocks.get(response)) is not None:
            clock.came(len(piece))
        body += piece[max(0, start - position) :]
        position += len(piece)
    return bytes(body)


class _Body(aiohttp.Payload):
    """A body that is sent bit by bit, so that the loop serves others meanwhile.

    It keeps no position: aiohttp itself sends a request again if a connection that
    it kept turns out to have ended.
    """

    def __init__(self, body: bytes | memoryview) -> None:
        super().__init__(body, content_type="application/octet-stream")
        self._body = memoryview(body)

    @property
    def size(self) -> int:
        """The length in bytes."""
        return len(self._body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Give it as text, which nobody asks for."""
        return str(self._body, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send it."""
        for start in range(0, len(self._body), _PIECE):
            await writer.write(self._body[start : start + _PIECE])


def _timeout(request: Request, access: Access) -> aiohttp.ClientTimeout:
    """Bound the time of sending a body too, on which silence says nothing."""
    if request.body is None:
        return access.timeout
    retry = access.retry
    total = retry.connect + retry.silence + len(request.body) / _SLOWEST
    return aiohttp.ClientTimeout(
        total=total, sock_connect=retry.connect, sock_read=retry.silence
    )


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Say whether a body has an encoding, though none was asked for."""
    return headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")


def decoded(raw: RawResponse) -> bytes:
    """Undo a ``Content-Encoding`` that was not asked for: files stored gzipped."""
    if raw.headers.get("Content-Encoding", "").lower() not in ("gzip", "x-gzip"):
        return raw.body
    plain = zlib.decompressobj(wbits=31)
    try:
        body = plain.decompress(raw.body, most_bytes())
    except zlib.error:
        raise RequestFailed(reason=Reason.TRUNCATED) from None
    if plain.unconsumed_tail:
        raise RequestFailed(reason=Reason.TOO_LONG)
    if not plain.eof or plain.unused_data:
        raise RequestFailed(reason=Reason.TRUNCATED)
    return body


def _session(access: Access) -> aiohttp.ClientSession:
    # A fork has a loop of its own.
    key = (os.getpid(), io_loop(), access.ca_file, access.unverified)
    if key not in _sessions:
        _sessions[key] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                limit_per_host=CONNECTIONS,
                keepalive_timeout=_KEEP_ALIVE,
                ttl_dns_cache=_REMEMBER_ADDRESS,
                ssl=_trust(access),
            ),
            headers={"Accept-Encoding": "identity", "User-Agent": "napari-omezarr"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER,
            trace_configs=[_tracing()],
            requote_redirect_url=False,
        )
    return _sessions[key]


def _trust(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if access.unverified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca_file:
        try:
            context.load_verify_locations(cafile=access.ca_file)
        except OSError:  # ssl.SSLError is one
            raise RequestFailed(reason=Reason.NO_CA_FILE) from None
    return context


def proxy_for(url: str) -> str | None:
    """Find the proxy that the environment or the system names for an address."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return found


@atexit.register
def _close() -> None:
    """Close the sessions while their loop still turns, so that nothing warns."""
    for (process, loop, *_), session in _sessions.items():
        if process == os.getpid() and loop.is_running():
            closing = asyncio.run_coroutine_threadsafe(session.close(), loop)
            with suppress(TimeoutError):
                closing.result(5)


# What a web server answered about an object, as far as a cache must know it.

_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")
_UNSATISFIED = re.compile(r"bytes \*/(\d+)$")
_HTTP_DATE = re.compile(r"\w{3}, .* GMT$")


@dataclass(frozen=True, slots=True)
class Response:
    """The bytes of an object, or that there is none, or that it has not changed.

    Attributes
    ----------
    body : bytes or None
        What came; None if there is no such object, or if it is unchanged.
    start, total : int
        Where in the object the body begins, and the object's size.
    partial : bool
        Whether the body is a part, and not the object.
    etag : str
        The ``ETag``, else ``Last-Modified``; ``""`` if the server gives neither.
    lifetime : int or None
        For how many seconds the server lets the answer be used without asking
        again; None if it says nothing.
    storable : bool
        Whether the answer may be kept.
    unchanged : bool
        Whether the object is still the one whose etag was sent.
    """

    body: bytes | None
    start: int = 0
    total: int = 0
    partial: bool = False
    etag: str = ""
    lifetime: int | None = None
    storable: bool = True
    unchanged: bool = False

    def result(self, wanted: ByteRequest | None) -> GetResult | None:
        """Give what was asked for, also where more came."""
        if self.body is None:
            return None
        body = self.body if self.partial else cut(self.body, wanted)
        return GetResult(body, self.etag, self.total or None)


def headers_for(wanted: ByteRequest | None, etag: str = "") -> dict[str, str]:
    """Ask for a part or (None) for all, but only of another version than `etag`."""
    headers = {} if wanted is None else {"Range": range_header(wanted)}
    if etag:
        name = "If-Modified-Since" if _HTTP_DATE.match(etag) else "If-None-Match"
        headers[name] = etag
    return headers


def response_of(raw: RawResponse, asked: Mapping[str, str]) -> Response:
    """Reduce the answer to a GET to what it says about the object.

    Parameters
    ----------
    raw : RawResponse
        The answer.
    asked : Mapping
        The headers of the GET, as `headers_for` makes them.

    Raises
    ------
    RequestFailed
        The answer says something else, or its body is not what its headers say.
    """
    match raw.status:
        case 200 if raw.total is None:
            body = decoded(raw)
            return _described(raw, body, total=len(body))
        case 200:
            total = raw.total or 0
            return _described(raw, raw.body, start=raw.start, total=total, partial=True)
        case 206 if "Range" in asked:
            return _part(raw, asked["Range"])
        case 416 if "Range" in asked:
            return _nothing(raw, asked["Range"])
        case 304 if asked.keys() & {"If-None-Match", "If-Modified-Since"}:
            return Response(None, unchanged=True)
    failure = failure_of(raw.status, raw.headers, raw.body)
    if says_absent(raw.status, failure.code) and not raw.is_elsewhere:
        return _described(raw)
    raise failure


def _part(raw: RawResponse, asked: str) -> Response:
    """Check that a part is the one that was asked for, and that all of it came."""
    said = _CONTENT_RANGE.match(raw.headers.get("Content-Range", "").strip())
    # Without it nobody knows which part came; several parts have one each, inside.
    if said is None:
        raise RequestFailed(reason=Reason.WRONG_RANGE)
    start, end = int(said[1]), int(said[2]) + 1
    total = None if said[3] == "*" else int(said[3])
    # Where the size is not said, only a part that is as long as was asked is whole.
    if (start, end) != _asked_span(asked, sys.maxsize if total is None else total):
        raise RequestFailed(reason=Reason.WRONG_RANGE)
    if len(raw.body) != end - start:
        raise RequestFailed(reason=Reason.TRUNCATED)
    known = _described(raw, raw.body, start=start, total=total or 0, partial=True)
    return known if total is not None else replace(known, storable=False)


def _asked_span(asked: str, size: int) -> tuple[int, int] | None:
    """Find where a ``Range`` begins and ends in an object of `size` bytes."""
    match = _RANGE.match(asked)
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


def _nothing(raw: RawResponse, asked: str) -> Response:
    """Take it that the object ends before the range begins, unless it does not."""
    size = _unsatisfied(raw)
    begin, end = _asked_span(asked, size or 0) or (0, 0)
    if begin < end:
        raise RequestFailed(reason=Reason.WRONG_RANGE)
    return Response(b"", partial=True, storable=False)


def _unsatisfied(raw: RawResponse) -> int | None:
    """Read the size of the object that a 416 names."""
    said = _UNSATISFIED.match(raw.headers.get("Content-Range", "").strip())
    return int(said[1]) if said else None


def _described(raw: RawResponse, body: bytes | None = None, **known: Any) -> Response:
    """Take from the headers what they say about any body, or about none."""
    storable, lifetime = _permission(raw.headers)
    etag = raw.headers.get("ETag") or raw.headers.get("Last-Modified", "")
    return Response(body, etag=etag, lifetime=lifetime, storable=storable, **known)


def _permission(headers: Mapping[str, str]) -> tuple[bool, int | None]:
    """Read whether an answer may be kept, and for how many seconds it is fresh."""
    said = headers.get("Cache-Control", "").lower().split(",")
    pairs = (directive.partition("=") for directive in said)
    directives = {name.strip(): value for name, _, value in pairs}
    storable = "no-store" not in directives and headers.get("Vary", "").strip() != "*"
    if "no-cache" in directives:
        return storable, 0
    seconds = directives.get("max-age", "").strip('" ')
    return storable, int(seconds) if seconds.isdecimal() else None


def _suffix_understood(raw: RawResponse, asked: str) -> tuple[bool, int | None]:
    """Say whether an answer is one to ``bytes=-N``, and the object's size if not."""
    match raw.status:
        case 200:
            return raw.total is None, raw.total
        case 206:
            said = _CONTENT_RANGE.match(raw.headers.get("Content-Range", "").strip())
            if said is None or said[3] == "*":
                return False, None
            span_said = int(said[1]), int(said[2]) + 1
            return span_said == _asked_span(asked, int(said[3])), int(said[3])
        case 416:
            size = _unsatisfied(raw)
            return size == 0, size
    return raw.status not in (400, 501), None


# Files on a web server.


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


class HeaderSignIn:
    """The headers that sign in at one web host: a person's own, from the key store."""

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self._endpoint = endpoint
        self._headers: Mapping[str, str] | None = None
        self._revision = -1
        self._finding = asyncio.Lock()

    async def headers(self) -> Mapping[str, str]:
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

    Parameters
    ----------
    address : callable
        From a key to its whole address, encoded and with the query.
    access : Access
        What to trust and how long to wait.
    bucket : str, optional
        The bucket behind the address, if it is one.
    extra : str, optional
        Our extra dependency that could sign in here.
    sign_in : HeaderSignIn, optional
        What signs in at the host of these addresses.
    """

    def __init__(
        self,
        address: Callable[[str], str],
        access: Access,
        *,
        bucket: str = "",
        extra: str = "",
        sign_in: HeaderSignIn | None = None,
    ) -> None:
        self.concurrency = REMOTE_CONCURRENCY
        self.stats = RequestStats()
        self._bucket = bucket
        self._extra = extra
        self._sign_in = sign_in
        self._address = address
        self._access = access
        self._notes = NoteList()
        self._has_ranges = True
        self._has_suffixes = True
        self._bodies = _WholeBodies(_TAKEN_WHOLE)
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
        take = partial(_take_part, wanted, self._access)
        raw = await self._send("GET", key, headers, take)
        if raw.status == 206 and is_encoded(raw.headers):
            return await self._get_decoded(key, wanted, etag)
        return self._kept(key, wanted, raw, response_of(raw, headers))

    async def _get_decoded(self, key: str, wanted: ByteRequest, etag: str) -> Response:
        """Ask for all: a part of what is encoded is not a part of the object."""
        headers = headers_for(None, etag)
        take = partial(_take_part, wanted, self._access)
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
            take = _take_small if self._has_ranges else _take_part
            taking = partial(take, wanted, self._access)
            raw = await self._send("GET", key, headers, taking)
            if raw.status == 206 and is_encoded(raw.headers):
                return await self._get_decoded(key, wanted, etag)
            understood, total = _suffix_understood(raw, headers["Range"])
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
        length = raw.headers.get("Content-Length", "")
        if raw.status != 200 or not length.isdecimal() or is_encoded(raw.headers):
            raise RequestFailed(reason=Reason.WRONG_RANGE)
        return int(length)

    async def _send(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        take: Callable[
            [aiohttp.ClientResponse, RequestStats], Awaitable[RawResponse]
        ] = _take_all,
    ) -> RawResponse:
        request = Request(method, self._address(key), headers)
        if self._sign_in is not None:
            request = replace(request, sign_in=await self._sign_in.headers())
        try:
            return await send(request, self._access, self.stats, take)
        except RequestFailed as failure:
            if failure.reason is Reason.NO_RANGES:
                self._found_no_ranges()
            raise

    def say_not_signed(self, name: str) -> None:
        """Say that a connection was named whose token is for another host."""
        self._notes.add(f"{name} signs in at another host, and was not used here.")

    def verdict(self, failure: RequestFailed) -> RequestFailed:
        """Say of a refusal whether somebody had signed in."""
        signed = self._sign_in is not None and failure.reason is Reason.REFUSED
        return replace(failure, signed=True) if signed else failure

    def identity(self, key: str) -> str:
        """Give the address, with whatever signs it."""
        return self._address(key)

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        parts = urlsplit(self._address(""))
        return ErrorContext(
            url,
            parts.netloc.rpartition("@")[2],
            bucket=self._bucket,
            profile=self._sign_in.name if self._sign_in else None,
            has_query=bool(parts.query),
            extra=self._extra,
            doing=doing,
        )
