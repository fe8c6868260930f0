"""Files on a web server: plain GETs, the query with each, redirects followed."""

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

from .backend import FIRST_BYTE, REMOTE_CONCURRENCY, RequestStats, cut, range_header
from .error_mapping import BrokenBy, ErrorContext, Interrupted, Refused, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.abc import AbstractStreamWriter
    from zarr.abc.store import ByteRequest

    from .error_mapping import Refusal
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
    """A request.

    Attributes
    ----------
    method : str
        GET, PUT, ...
    url : str
        Sent exactly as it is: signatures depend on the encoding.
    headers : Mapping
        Headers besides the usual.
    body : bytes-like or None
        What to send.
    """

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
    redirects : bool
        Whether to follow redirects.
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
_KINDS: tuple[tuple[tuple[type[Exception], ...], BrokenBy], ...] = (
    (
        (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError),
        BrokenBy.CERTIFICATE,
    ),
    ((aiohttp.ClientSSLError, ssl.SSLError), BrokenBy.ENCRYPTION),
    ((aiohttp.ClientConnectorDNSError,), BrokenBy.UNKNOWN_HOST),
    ((TimeoutError,), BrokenBy.SILENCE),
    ((aiohttp.ClientConnectorError,), BrokenBy.NO_CONNECTION),
    ((aiohttp.ClientPayloadError,), BrokenBy.TRUNCATED),
    ((aiohttp.TooManyRedirects,), BrokenBy.CIRCLES),
    ((aiohttp.InvalidURL, ValueError), BrokenBy.UNUSABLE),
    ((Exception,), BrokenBy.BROKEN),
)
_Place = tuple[int, asyncio.AbstractEventLoop, str | None, bool]
_sessions: dict[_Place, aiohttp.ClientSession] = {}


async def get(
    url: str, headers: Mapping[str, str], access: Access, stats: RequestStats
) -> RawResponse:
    """Send one GET and take its whole answer; runs on the I/O loop.

    Parameters
    ----------
    url : str
        Sent exactly as it is: signatures depend on the encoding.
    headers : Mapping
        Headers besides the usual.
    access : Access
        What to trust and how long to wait.
    stats : RequestStats
        Where the request and its bytes are counted.

    Returns
    -------
    Answer
        Whatever the status.

    Raises
    ------
    Interrupted
        If there is no whole answer.
    """
    return await send(Request("GET", url, headers), access, stats)


async def send(message: Request, access: Access, stats: RequestStats) -> RawResponse:
    """Send one request and take its whole answer; runs on the I/O loop.

    Parameters
    ----------
    message : Message
        What to send.
    access, stats
        As for `get`.

    Returns
    -------
    Answer
        Whatever the status.

    Raises
    ------
    Interrupted
        If there is no whole answer.
    """
    stats.requests += 1
    try:
        async with _session(access).request(
            message.method,
            URL(message.url, encoded=True),
            headers=message.headers,
            data=None if message.body is None else _Body(message.body),
            allow_redirects=access.redirects,
            proxy=access.proxy,
            timeout=_timeout(message, access),
        ) as response:
            body = await response.read()
            stats.received += len(body)
            return RawResponse(response.status, response.headers, body)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        kind = _kind(error)
    # Raised here, where the error that may quote the address is not its context.
    raise Interrupted(kind)


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


def _timeout(message: Request, access: Access) -> aiohttp.ClientTimeout:
    """Bound the time of sending a body too, on which silence says nothing."""
    if message.body is None:
        return access.timeout
    retry = access.retry
    total = retry.connect + retry.silence + len(message.body) / _SLOWEST
    return aiohttp.ClientTimeout(
        total=total, sock_connect=retry.connect, sock_read=retry.silence
    )


def decoded(answer: RawResponse) -> bytes:
    """Undo a ``Content-Encoding`` that was not asked for: files stored gzipped.

    Raises
    ------
    Interrupted
        If the body is not what the header says.
    """
    if answer.headers.get("Content-Encoding", "").lower() not in ("gzip", "x-gzip"):
        return answer.body
    try:
        return zlib.decompress(answer.body, wbits=31)
    except zlib.error:
        raise Interrupted(BrokenBy.TRUNCATED) from None


def _kind(error: Exception) -> BrokenBy:
    """Say what an exception of the network means; the first row that fits decides."""
    return next(kind for types, kind in _KINDS if isinstance(error, types))


def _session(access: Access) -> aiohttp.ClientSession:
    # A fork has a loop of its own.
    place = (os.getpid(), io_loop(), access.ca_file, access.unverified)
    if place not in _sessions:
        _sessions[place] = aiohttp.ClientSession(
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
    return _sessions[place]


def _trust(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if access.unverified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca_file:
        try:
            context.load_verify_locations(cafile=access.ca_file)
        except OSError:  # ssl.SSLError is one
            raise Interrupted(BrokenBy.NO_CA_FILE) from None
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

    def part(self, wanted: ByteRequest | None) -> bytes | None:
        """Return what was asked for, also where more came."""
        if self.body is None or self.partial:
            return self.body
        return cut(self.body, wanted)


def headers_for(wanted: ByteRequest | None, etag: str = "") -> dict[str, str]:
    """Say in headers what is asked for.

    Parameters
    ----------
    wanted : ByteRequest or None
        The part, or None for all of it.
    etag : str, optional
        Of the version that is at hand: only another is to be sent.
    """
    headers = {} if wanted is None else {"Range": range_header(wanted)}
    if etag:
        is_date = _HTTP_DATE.match(etag)
        name = "If-Modified-Since" if is_date else "If-None-Match"
        headers[name] = etag
    return headers


def response_of(answer: RawResponse, asked: Mapping[str, str]) -> Response:
    """Reduce an answer to what it says about the object.

    Parameters
    ----------
    answer : web.Answer
        The answer to a GET.
    asked : Mapping
        The headers of the GET, as `headers_for` makes them.

    Raises
    ------
    Refused
        If the answer says something else.
    Interrupted
        If the body is not what its headers say.
    """
    match answer.status:
        case 200:
            body = decoded(answer)
            return replace(_described(answer), body=body, total=len(body))
        case 206 if "Range" in asked:
            return _part(answer)
        case 416:  # the object ends before the range begins
            return Response(b"", partial=True, storable=False)
        case 304 if asked.keys() & {"If-None-Match", "If-Modified-Since"}:
            return Response(None, unchanged=True)
    refusal = refusal_of(answer.status, answer.headers, answer.body)
    if answer.status in (404, 410) and refusal.code != "NoSuchBucket":
        return _described(answer)
    raise Refused(refusal)


def _part(answer: RawResponse) -> Response:
    said = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
    reply = replace(_described(answer), body=answer.body, partial=True)
    if said is None:
        return replace(reply, storable=False)
    return replace(reply, start=int(said[1]), total=int(said[2]))


def _described(answer: RawResponse) -> Response:
    """Take from the headers what they say about any body, or about none."""
    storable, lifetime = _permission(answer.headers)
    etag = answer.headers.get("ETag") or answer.headers.get("Last-Modified", "")
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


# Files on a web server: plain GETs, the query with each, redirects followed.


class HttpTransport:
    """The keys below a web address.

    Parameters
    ----------
    address : callable
        From a key to its whole address, encoded and with the query.
    access : web.Access
        What to trust and how long to wait.
    bucket : str, optional
        The bucket behind the address, if it is one.
    extra : str, optional
        Our extra dependency that could sign in here.
    """

    concurrency = REMOTE_CONCURRENCY

    def __init__(
        self,
        address: Callable[[str], str],
        access: Access,
        *,
        bucket: str = "",
        extra: str = "",
    ) -> None:
        self.stats = RequestStats()
        self._bucket = bucket
        self._extra = extra
        self._address = address
        self._access = access

    async def read(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        """Read a key by one GET."""
        return (await self.reply(key, wanted)).part(wanted)

    async def reply(
        self, key: str, wanted: ByteRequest | None, etag: str = ""
    ) -> Response:
        """Read a key by one GET, unless the object is of the version that is named."""
        headers = headers_for(wanted, etag)
        answer = await get(self._address(key), headers, self._access, self.stats)
        return response_of(answer, headers)

    async def version(self, key: str) -> str:
        """Ask for the first byte, and take the version that the answer names."""
        return (await self.reply(key, FIRST_BYTE)).etag

    def identity(self, key: str) -> str:
        """Return the address, with whatever signs it."""
        return self._address(key)

    def verdict(self, refused: Refused) -> Refusal:
        """Return the only answer there is."""
        return refused.refusal

    def place(self, url: str) -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        parts = urlsplit(self._address(""))
        host = parts.netloc.rpartition("@")[2]
        return ErrorContext(
            url,
            host,
            bucket=self._bucket,
            has_query=bool(parts.query),
            extra=self._extra,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing happens here that is worth a sentence."""
        return ()
