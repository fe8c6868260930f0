"""Requests over HTTP, what their answers say, and the files of a web server."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import ssl
import urllib.request
import zlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from napari_omezarr._io_loop import io_loop

from .backend import (
    FIRST_BYTE,
    REMOTE_CONCURRENCY,
    GetResult,
    ObjectBackend,
    RequestStats,
    cut,
    range_header,
)
from .error_mapping import ErrorContext, Reason, RequestFailed, failure_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.abc import AbstractStreamWriter
    from zarr.abc.store import ByteRequest

    from .retry import RetryPolicy

# Requests over HTTP: one session for all stores, nothing decided about an answer.

CONNECTIONS = 64
_READ_BUFFER = 1 << 20
_PIECE = 1 << 18
_SLOWEST = 20_000  # bytes per second that a connection takes at least
_KEEP_ALIVE = 20
_REMEMBER_ADDRESS = 300


@dataclass(frozen=True, slots=True)
class RawResponse:
    """An answer with its whole body, as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A request; its address is sent exactly as it is, as signatures depend on it."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | memoryview | None = field(default=None, repr=False)


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


# From the special to the general: aiohttp's exceptions are each other's subclasses.
_REASONS: tuple[tuple[tuple[type[Exception], ...], Reason], ...] = (
    (
        (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError),
        Reason.CERTIFICATE,
    ),
    ((aiohttp.ClientSSLError, ssl.SSLError), Reason.ENCRYPTION),
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


async def send(request: Request, access: Access, stats: RequestStats) -> RawResponse:
    """Send one request and take its whole answer, whatever its status; on the I/O loop.

    Raises
    ------
    RequestFailed
        There is no whole answer.
    """
    stats.requests += 1
    try:
        async with _session(access).request(
            request.method,
            URL(request.url, encoded=True),
            headers=request.headers,
            data=None if request.body is None else _Body(request.body),
            allow_redirects=access.redirects,
            proxy=access.proxy,
            timeout=_timeout(request, access),
        ) as response:
            body = await response.read()
            stats.received += len(body)
            return RawResponse(response.status, response.headers, body)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason = next(reason for types, reason in _REASONS if isinstance(error, types))
    # Raised here, where the error that may quote the address is not its context.
    raise RequestFailed(reason=reason)


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


def decoded(raw: RawResponse) -> bytes:
    """Undo a ``Content-Encoding`` that was not asked for: files stored gzipped."""
    if raw.headers.get("Content-Encoding", "").lower() not in ("gzip", "x-gzip"):
        return raw.body
    try:
        return zlib.decompress(raw.body, wbits=31)
    except zlib.error:
        raise RequestFailed(reason=Reason.TRUNCATED) from None


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

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)$")
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
        case 200:
            body = decoded(raw)
            return replace(_described(raw), body=body, total=len(body))
        case 206 if "Range" in asked:
            return _part(raw)
        case 416:  # the object ends before the range begins
            return Response(b"", partial=True, storable=False)
        case 304 if asked.keys() & {"If-None-Match", "If-Modified-Since"}:
            return Response(None, unchanged=True)
    failure = failure_of(raw.status, raw.headers, raw.body)
    if raw.status in (404, 410) and failure.code != "NoSuchBucket":
        return _described(raw)
    raise failure


def _part(raw: RawResponse) -> Response:
    said = _CONTENT_RANGE.match(raw.headers.get("Content-Range", ""))
    response = replace(_described(raw), body=raw.body, partial=True)
    if said is None:
        return replace(response, storable=False)
    return replace(response, start=int(said[1]), total=int(said[2]))


def _described(raw: RawResponse) -> Response:
    """Take from the headers what they say about any body, or about none."""
    storable, lifetime = _permission(raw.headers)
    etag = raw.headers.get("ETag") or raw.headers.get("Last-Modified", "")
    return Response(None, etag=etag, lifetime=lifetime, storable=storable)


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


# Files on a web server.


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
    """

    def __init__(
        self,
        address: Callable[[str], str],
        access: Access,
        *,
        bucket: str = "",
        extra: str = "",
    ) -> None:
        self.concurrency = REMOTE_CONCURRENCY
        self.stats = RequestStats()
        self._bucket = bucket
        self._extra = extra
        self._address = address
        self._access = access

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a key by one GET."""
        return (await self.respond(key, wanted)).result(wanted)

    async def respond(
        self, key: str, wanted: ByteRequest | None, etag: str = ""
    ) -> Response:
        """Read a key by one GET, unless the object is of the version that is named."""
        headers = headers_for(wanted, etag)
        request = Request("GET", self._address(key), headers)
        return response_of(await send(request, self._access, self.stats), headers)

    async def version(self, key: str) -> str:
        """Ask for the first byte, and take the version that the answer names."""
        return (await self.respond(key, FIRST_BYTE)).etag

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
            has_query=bool(parts.query),
            extra=self._extra,
            doing=doing,
        )
