"""Requests over HTTP, and what their answers say of objects."""

from __future__ import annotations

import asyncio
import atexit
import base64
import hashlib
import math
import os
import re
import ssl
import sys
import time
import urllib.request
import zlib
from collections import defaultdict
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit
from weakref import ReferenceType, ref

import aiohttp
import numpy as np
from yarl import URL

from .backend import (
    GetResult,
    RequestStats,
    cut,
    is_for_decoding,
    looks_like_html,
    most_bytes,
    range_header,
    span,
)
from .error_mapping import Reason, RequestFailed, failure_of, says_absent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection
    from zarr.abc.store import ByteRequest

    from .backend import RetryPolicy

    Take = Callable[[aiohttp.ClientResponse, "Arrival"], Awaitable["RawResponse"]]

# Requests over HTTP: one session for all stores, nothing decided about an answer.

CONNECTIONS = 64
NEAR_CONNECTIONS = 8
_FAR = 0.002  # seconds
_NOTHING_CAME = 0.01
_READ_BUFFER = 1 << 20
_PIECE = 1 << 18
_SLOWEST = 20_000  # bytes per second that a connection takes at least
_SLOWEST_ANSWER = 500  # the same of an answer, after its first seconds
_ERROR_BYTES = 1 << 20
_KEEP_ALIVE = 20
_REMEMBER_ADDRESS = 300
_REDIRECTS = 10
_HASHED_LATE = 1 << 21  # from there on it takes longer than to a thread and back
_REDIRECTED = (301, 302, 303, 307, 308)


# Where parts are asked for and whole bodies come instead: how long a body may be to
# be taken whole, how much of a longer one is read past to get at a part, and from
# where on it is worth a request to find out whether exact ranges work.
TAKEN_WHOLE = 64 << 20
_READ_PAST = 256 << 20
_WORTH_A_REQUEST = 1 << 20
_WHOLE_AT_ONCE = 2

_LONG = 4 << 20
"""A body of so many bytes has memory of its own, where it is only decoded.

From there on numpy asks for large pages. In small ones two thirds of what the I/O
thread spent for a shard went into clearing them, twice: for the pieces, and for what
they were joined to.
"""


@dataclass(frozen=True, slots=True)
class RawResponse:
    """An answer with its body as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    start: int = 0
    total: int | None = None
    """Of a whole body of `total` bytes only a part was taken, from `start` on; a total
    of None: all of it."""
    is_elsewhere: bool = False
    """It is of something of another name, to which the request was sent on."""


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
    """How to reach the hosts of one store."""

    retry: RetryPolicy
    ca_file: str | None = None
    """Certificates to trust besides those that this computer trusts."""
    unverified: bool = False
    """Take any certificate, because the person said so of this host."""
    proxy: str | None = field(default=None, repr=False)
    """The proxy that the environment or the system names for the host."""
    redirects: bool = True

    @cached_property
    def timeout(self) -> aiohttp.ClientTimeout:
        """What aiohttp bounds of a request without a body; `Arrival` does the rest."""
        return aiohttp.ClientTimeout(total=None, sock_connect=self.retry.connect)

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
_SessionKey = tuple[int, asyncio.AbstractEventLoop, str | None, bool, bool]
_sessions: dict[_SessionKey, _Session] = {}


def content_type(key: str) -> str:
    """Say of which type an object is: a document of zarr's, or bytes."""
    name = key.rpartition("/")[2]
    is_json = name.endswith("json") or name.startswith(".z")
    return "application/json" if is_json else "application/octet-stream"


async def hashed(make: Callable[[bytes | memoryview], Any], body: Any) -> bytes:
    """Give a digest of a body; of a long one in a thread."""
    late = len(body) >= _HASHED_LATE
    made = await asyncio.to_thread(make, body) if late else make(body)
    digest: bytes = made.digest()
    return digest


async def content_md5(body: bytes | memoryview) -> str:
    """Hash a body as services do to see whether all of it came as it was sent."""
    digest = await hashed(partial(hashlib.md5, usedforsecurity=False), body)
    return base64.b64encode(digest).decode()


def accepted(answer: RawResponse) -> RawResponse:
    """Give an answer that says that something was done.

    Raises
    ------
    RequestFailed
        It says that it was not, or is a page of somebody who stands between.
    """
    if answer.status >= 300:
        raise failure_of(answer.status, answer.headers, answer.body)
    if looks_like_html("", answer.body):
        raise RequestFailed(reason=Reason.WEB_PAGE)
    return answer


async def take_all(response: aiohttp.ClientResponse, arrival: Arrival) -> RawResponse:
    """Take a whole body, up to what is read at most."""
    body = await _read(response, most_bytes(), arrival, view=is_for_decoding())
    return RawResponse(response.status, response.headers, body)


async def _read(
    response: aiohttp.ClientResponse, most: int, arrival: Arrival, *, view: bool = False
) -> bytes:
    """Take a body that has so many bytes at most, and does not come too slowly.

    Of an answer that is an error only the beginning is taken.
    """
    is_error = response.status >= 300
    most = _ERROR_BYTES if is_error else most
    length = response.content_length or 0
    if not is_error and length > most:
        response.close()
        raise RequestFailed(reason=Reason.TOO_LONG)
    if view and not is_error and _LONG <= length <= TAKEN_WHOLE:
        return cast("bytes", await _read_view(response, length, arrival))
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        arrival.came(len(piece))
        if size > most:
            response.close()
            if not is_error:
                raise RequestFailed(reason=Reason.TOO_LONG)
            break
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _read_view(
    response: aiohttp.ClientResponse, length: int, arrival: Arrival
) -> memoryview:
    """Take a body of a length that was said into memory of its own."""
    memory = np.empty(length, np.uint8).data
    size = 0
    async for piece in response.content.iter_any():
        start, size = size, size + len(piece)
        if size > length:
            response.close()
            raise RequestFailed(reason=Reason.TRUNCATED)
        memory[start:size] = piece
        arrival.came(len(piece))
    return memory[:size]


class Arrival:
    """Counts what comes of an answer, and bounds its silences and how long it takes.

    It begins when there is a connection: to wait for one is the fault of nobody. One
    timer serves both bounds, and is not set anew for each piece that comes: there are
    several for each small object. Where ``silence`` (in seconds) is None, aiohttp
    bounds it.
    """

    def __init__(
        self, stats: RequestStats, silence: float | None, host: HostQueue
    ) -> None:
        self._timeout = asyncio.timeout(None)
        self._stats = stats
        self._host = host
        self._silence = silence
        self._timer: asyncio.TimerHandle | None = None
        self._outer: ReferenceType[Arrival] | None = None
        self._due = self._heard = 0.0

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._outer = _arriving.get()
        _arriving.set(ref(self))
        return self

    async def __aexit__(self, *error: Any) -> None:
        self.pause()
        _arriving.set(self._outer)
        await self._timeout.__aexit__(*error)

    def begin(self) -> None:
        """Count from now on."""
        self._heard = self._host.heard = time.monotonic()
        if self._silence is not None:
            self.pause()
            loop = asyncio.get_running_loop()
            self._due = self._heard + 2 * self._silence
            self._timer = loop.call_at(self._heard + self._silence, self._look)

    def answered(self) -> None:
        """Hear that the head of the answer is there."""
        self._host.answered(time.monotonic() - self._heard)

    def came(self, count: int) -> None:
        """Give the rest as much longer as these bytes may take."""
        self._stats.received += count
        self._due += count / _SLOWEST_ANSWER
        self._heard = self._host.heard = time.monotonic()  # as the loop's clock

    def pause(self) -> None:
        """Bound nothing until it begins again."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        assert self._silence is not None
        loop = asyncio.get_running_loop()
        limit = min(self._due, self._heard + self._silence)
        if loop.time() < limit:
            self._timer = loop.call_at(limit, self._look)
        else:
            self._timeout.reschedule(limit)


_arriving: ContextVar[ReferenceType[Arrival] | None] = ContextVar(
    "napari_omezarr_arriving", default=None
)
"""Weak: a connection keeps the context in which it was made as long as it is open, and
so would keep the task of its first request, what that gave, and all that raised."""


class _Connector(aiohttp.TCPConnector):
    """Tells the answer that is awaited from when on there is a connection for it.

    aiohttp's tracing would tell it too, with 25 calls more for each request.
    """

    async def connect(self, *args: Any, **options: Any) -> Connection:
        connection = await super().connect(*args, **options)
        told = _arriving.get()
        if told is not None and (arrival := told()) is not None:
            arrival.begin()
        return connection


class HostQueue:
    """The requests that one host is sent, a few or many at a time; on the I/O loop.

    A few keep a near host busy, and more would only cost connections. There may be many
    as soon as it is known to be far, or nothing has come for a while (from a disk that
    seeks) while requests stood in line.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(NEAR_CONNECTIONS)
        self.heard = 0.0
        self._least = math.inf
        self._takes_many = False
        self._timer: asyncio.TimerHandle | None = None

    def turn(self) -> asyncio.Semaphore:
        """Give what a request waits for, and is in while it is on its way."""
        if not self._takes_many and self._turn.locked():
            if _FAR < self._least < math.inf:
                self._take_many()
            elif self._timer is None:
                self._look_at(time.monotonic() + _NOTHING_CAME)
        return self._turn

    def answered(self, seconds: float) -> None:
        """Hear how long the head of an answer took."""
        self._least = min(self._least, seconds)

    def _look_at(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        # Once more round the loop: what has come by then has been told of.
        self._timer = loop.call_at(when, loop.call_soon, self._look)

    def _look(self) -> None:
        self._timer = None
        due = self.heard + _NOTHING_CAME
        if self._takes_many or not self._turn.locked():
            return
        if time.monotonic() < due:
            self._look_at(due)
        else:
            self._take_many()

    def _take_many(self) -> None:
        self._takes_many = True
        for _ in range(CONNECTIONS - NEAR_CONNECTIONS):
            self._turn.release()


@dataclass(frozen=True, slots=True)
class _Session:
    """What aiohttp keeps for all hosts that are trusted in the same way."""

    client: aiohttp.ClientSession
    hosts: defaultdict[tuple[str, str], HostQueue]
    """By protocol, and name and port."""


async def send(
    request: Request, access: Access, stats: RequestStats, take: Take = take_all
) -> RawResponse:
    """Send one request and take its answer, whatever its status; on the I/O loop.

    Raises
    ------
    RequestFailed
        There is no whole answer, or `take` refuses it.
    """
    stats.requests += 1
    first = url = URL(request.url, encoded=True)
    sign_in = request.sign_in
    silence = access.retry.silence if request.body is None else None
    try:
        for _ in range(1 + _REDIRECTS):
            session = _session(access, url)
            host = session.hosts[url.scheme, url.raw_authority]
            async with (
                host.turn(),
                Arrival(stats, silence, host) as arrival,
                session.client.request(
                    request.method,
                    url,
                    headers={**request.headers, **sign_in},
                    data=None if request.body is None else _Body(request.body),
                    # aiohttp would take any headers along to wherever it is sent.
                    allow_redirects=access.redirects and not request.sign_in,
                    proxy=access.proxy,
                    timeout=_timeout(request, access),
                ) as response,
            ):
                arrival.answered()
                moved = response.status in _REDIRECTED and access.redirects
                to = response.headers.get("Location") if moved else None
                if not (request.sign_in and to):
                    raw = await take(response, arrival)
                    # An object that is sent on keeps its name; a page does not.
                    sent_on = bool(response.history) or url is not first
                    away = sent_on and response.url.name != first.name
                    return replace(raw, is_elsewhere=True) if away else raw
                url = url.join(URL(to, encoded=True))
            if url.origin() != first.origin():
                sign_in = {}
        raise RequestFailed(reason=Reason.CIRCLES)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason = next(reason for types, reason in _REASONS if isinstance(error, types))
    # Raised here, where the error that may quote the address is not its context.
    raise RequestFailed(reason=reason)


async def take_part(
    wanted: ByteRequest,
    access: Access,
    response: aiohttp.ClientResponse,
    arrival: Arrival,
) -> RawResponse:
    """Take of a whole body that came instead of a part only what memory allows.

    A body that is not too long is taken whole, as more parts of it will be wanted.
    """
    if response.status != 200:
        start, end = span(wanted, sys.maxsize)
        most, view = end - start + _ERROR_BYTES, is_for_decoding()
        body = await _read(response, most, arrival, view=view)
        return RawResponse(response.status, response.headers, body)
    size = response.content_length
    if size is not None and size <= _WORTH_A_REQUEST:
        return await take_all(response, arrival)
    arrival.pause()  # while others are read, this one is silent because of us
    async with access.whole_bodies:
        arrival.begin()
        if size is None or size <= TAKEN_WHOLE:
            body = await _read_up_to(response, TAKEN_WHOLE, arrival)
            return RawResponse(response.status, response.headers, body)
        start, end = span(wanted, size)
        # A part of what is encoded cannot be decoded.
        if end > _READ_PAST or is_encoded(response.headers):
            response.close()
            raise RequestFailed(reason=Reason.NO_RANGES)
        body = await _read_past(response, start, end, arrival)
    response.close()  # the rest is not wanted
    return RawResponse(response.status, response.headers, body, start, size)


async def take_small(
    wanted: ByteRequest,
    access: Access,
    response: aiohttp.ClientResponse,
    arrival: Arrival,
) -> RawResponse:
    """Take nothing of a long body that came instead of a part, but its length."""
    size = response.content_length
    if response.status != 200 or size is None or size <= _WORTH_A_REQUEST:
        return await take_part(wanted, access, response, arrival)
    response.close()
    return RawResponse(response.status, response.headers, b"", size, size)


async def _read_up_to(
    response: aiohttp.ClientResponse, limit: int, arrival: Arrival
) -> bytes:
    try:
        return await _read(response, limit, arrival)
    except RequestFailed:
        raise RequestFailed(reason=Reason.NO_RANGES) from None


async def _read_past(
    response: aiohttp.ClientResponse, start: int, end: int, arrival: Arrival
) -> bytes:
    """Read a body up to `end`, and keep it from `start` on."""
    body = bytearray()
    position = 0
    while position < end:
        piece = await response.content.read(min(_PIECE, end - position))
        if not piece:
            raise RequestFailed(reason=Reason.TRUNCATED)
        arrival.came(len(piece))
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


_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_ENCODINGS = {*_WINDOWS, "br", "zstd", "compress", "x-compress", "dcb", "dcz"}
"""What changes a body. Other words are there by mistake: utf-8, aws-chunked."""
_MOST_ENCODINGS = 4


def _encodings(headers: Mapping[str, str]) -> list[str]:
    """Give what was done to a body, though nothing was asked for; in order."""
    every = getattr(headers, "getall", None)  # a header may be there twice
    said = every("Content-Encoding", ()) if every else ()
    said = said or (headers.get("Content-Encoding", ""),)
    words = [word.strip().lower() for word in ",".join(said).split(",")]
    return [word for word in words if word in _ENCODINGS]


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Say whether a body has an encoding, though none was asked for.

    Or had one: Google undoes it, and sends such objects only whole.
    """
    stored = headers.get("x-goog-stored-content-encoding", "identity")
    return stored != "identity" or bool(_encodings(headers))


def decoded(raw: RawResponse) -> bytes:
    """Undo a ``Content-Encoding`` that was not asked for: files stored gzipped."""
    encodings = _encodings(raw.headers)
    body = raw.body
    if len(encodings) > _MOST_ENCODINGS or not set(encodings) <= _WINDOWS.keys():
        raise RequestFailed(reason=Reason.ENCODED)
    for encoding in reversed(encodings):
        body = _inflated(body, _WINDOWS[encoding])
    return body


def _inflated(body: bytes, window: int) -> bytes:
    # Some servers send deflate's data without the head that the standard wants.
    is_bare = window == 15 and int.from_bytes(body[:2]) % 31 != 0
    plain = zlib.decompressobj(-window if is_bare else window)
    try:
        body = plain.decompress(body, most_bytes())
    except zlib.error:
        raise RequestFailed(reason=Reason.TRUNCATED) from None
    if plain.unconsumed_tail:
        raise RequestFailed(reason=Reason.TOO_LONG)
    if not plain.eof or plain.unused_data:
        raise RequestFailed(reason=Reason.TRUNCATED)
    return body


def _session(access: Access, url: URL) -> _Session:
    # Where nothing is to be trusted, nobody reads which certificates are: it takes
    # 0.03 s. If a request is sent on to https, those count that aiohttp has read.
    own = bool(access.ca_file or access.unverified or access.proxy)
    trusts = own or url.scheme != "http"
    # A fork has a loop of its own.
    loop = asyncio.get_running_loop()
    key = (os.getpid(), loop, access.ca_file, access.unverified, trusts)
    if key not in _sessions:
        client = aiohttp.ClientSession(
            connector=_Connector(
                limit=0,
                limit_per_host=CONNECTIONS,
                keepalive_timeout=_KEEP_ALIVE,
                ttl_dns_cache=_REMEMBER_ADDRESS,
                ssl=_trust(access) if trusts else True,
            ),
            headers={"Accept-Encoding": "identity", "User-Agent": "napari-omezarr"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER,
            requote_redirect_url=False,
        )
        _sessions[key] = _Session(client, defaultdict(HostQueue))
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
    return found if "://" in found else f"http://{found}"


@atexit.register
def _close() -> None:
    """Close the sessions while their loop still turns, so that nothing warns."""
    for (process, loop, *_), session in _sessions.items():
        if process == os.getpid() and loop.is_running():
            closing = asyncio.run_coroutine_threadsafe(session.client.close(), loop)
            with suppress(TimeoutError):
                closing.result(5)


# What a web server answered about an object, as far as a cache must know it.

_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")
# Longer numbers are none that an object can have, and Python reads not any.
_NUMBER = r"(\d{1,18})"
# The unit's name is no matter of case (RFC 9110, 14.1).
_CONTENT_RANGE = re.compile(rf"(?i:bytes) {_NUMBER}-{_NUMBER}/(\d{{1,18}}|\*)$")
_UNSATISFIED = re.compile(rf"(?i:bytes) \*/{_NUMBER}$")
_HTTP_DATE = re.compile(r"\w{3}, .* GMT$")


@dataclass(frozen=True, slots=True)
class Response:
    """The bytes of an object, or that there is none, or that it has not changed."""

    body: bytes | None
    """What came; None if there is no such object, or if it is unchanged."""
    start: int = 0
    total: int = 0
    """Where in the object the body begins, and the object's size."""
    partial: bool = False
    """Whether the body is a part, and not the object."""
    etag: str = ""
    """The ``ETag``, else ``Last-Modified``; ``""`` if the server gives neither."""
    lifetime: int | None = None
    """For how many seconds the server lets the answer be used without asking again;
    None if it says nothing."""
    storable: bool = True
    """Whether the answer may be kept."""
    unchanged: bool = False
    """Whether the object is still the one whose etag was sent."""

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

    ``asked`` are the headers that the GET had.

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
    if is_encoded(raw.headers):  # a part of something else than the object
        raise RequestFailed(reason=Reason.ENCODED)
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
    control, vary = headers.get("Cache-Control"), headers.get("Vary")
    if not control and not vary:
        return True, None
    said = (control or "").lower().split(",")
    pairs = (directive.partition("=") for directive in said)
    directives = {name.strip(): value for name, _, value in pairs}
    storable = "no-store" not in directives and (vary or "").strip() != "*"
    if "no-cache" in directives:
        return storable, 0
    seconds = directives.get("max-age", "").strip('" ')
    return storable, size_said(seconds)


def size_said(text: str) -> int | None:
    """Read a number of a header or a list; None if it is none, or beyond all sense."""
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def suffix_understood(raw: RawResponse, asked: str) -> tuple[bool, int | None]:
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
