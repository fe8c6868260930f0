"""Requests over HTTP: one session for all stores, nothing decided about an answer."""

from __future__ import annotations

import asyncio
import atexit
import os
import ssl
import urllib.request
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from .interruption import Interrupted, Kind
from .loop import io_loop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.abc import AbstractStreamWriter

    from .patience import Patience
    from .tally import Tally

CONNECTIONS = 64
_READ_BUFFER = 1 << 20
_PIECE = 1 << 18
_SLOWEST = 20_000  # bytes per second that a connection takes at least
_KEEP_ALIVE = 20
_REMEMBER_ADDRESS = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its whole body, as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Message:
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

    patience: Patience
    ca_file: str | None = None
    unverified: bool = False
    proxy: str | None = field(default=None, repr=False)
    redirects: bool = True

    @cached_property
    def timeout(self) -> aiohttp.ClientTimeout:
        """The same bounds as aiohttp has them: on silence, not on the whole body."""
        return aiohttp.ClientTimeout(
            total=None,
            sock_connect=self.patience.connect,
            sock_read=self.patience.silence,
        )


# From the special to the general: aiohttp's exceptions are each other's subclasses.
_KINDS: tuple[tuple[tuple[type[Exception], ...], Kind], ...] = (
    (
        (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError),
        Kind.CERTIFICATE,
    ),
    ((aiohttp.ClientSSLError, ssl.SSLError), Kind.ENCRYPTION),
    ((aiohttp.ClientConnectorDNSError,), Kind.UNKNOWN_HOST),
    ((TimeoutError,), Kind.SILENCE),
    ((aiohttp.ClientConnectorError,), Kind.NO_CONNECTION),
    ((aiohttp.ClientPayloadError,), Kind.TRUNCATED),
    ((aiohttp.TooManyRedirects,), Kind.CIRCLES),
    ((aiohttp.InvalidURL, ValueError), Kind.UNUSABLE),
    ((Exception,), Kind.BROKEN),
)
_Place = tuple[int, asyncio.AbstractEventLoop, str | None, bool]
_sessions: dict[_Place, aiohttp.ClientSession] = {}


async def get(
    url: str, headers: Mapping[str, str], access: Access, tally: Tally
) -> Answer:
    """Send one GET and take its whole answer; runs on the I/O loop.

    Parameters
    ----------
    url : str
        Sent exactly as it is: signatures depend on the encoding.
    headers : Mapping
        Headers besides the usual.
    access : Access
        What to trust and how long to wait.
    tally : Tally
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
    return await send(Message("GET", url, headers), access, tally)


async def send(message: Message, access: Access, tally: Tally) -> Answer:
    """Send one request and take its whole answer; runs on the I/O loop.

    Parameters
    ----------
    message : Message
        What to send.
    access, tally
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
    tally.requests += 1
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
            tally.received += len(body)
            return Answer(response.status, response.headers, body)
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


def _timeout(message: Message, access: Access) -> aiohttp.ClientTimeout:
    """Bound the time of sending a body too, on which silence says nothing."""
    if message.body is None:
        return access.timeout
    patience = access.patience
    total = patience.connect + patience.silence + len(message.body) / _SLOWEST
    return aiohttp.ClientTimeout(
        total=total, sock_connect=patience.connect, sock_read=patience.silence
    )


def decoded(answer: Answer) -> bytes:
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
        raise Interrupted(Kind.TRUNCATED) from None


def _kind(error: Exception) -> Kind:
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
            raise Interrupted(Kind.NO_CA_FILE) from None
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
