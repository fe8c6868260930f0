"""HTTP/1.1 over plain sockets, in a thread: what the test servers share.

Plain sockets, because a fault such as a reset in the middle of a body is below
what web frameworks let one do, and because a proxy must not touch a signed head.
"""

from __future__ import annotations

import asyncio
import fnmatch
import socket
import struct
import sys
import threading
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from servers.faults import (
    Dropped,
    Fault,
    Framed,
    Lost,
    Proceed,
    Reset,
    Stalled,
    Status,
    Truncated,
)
from servers.frames import FRAMES, GOING_ON

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from types import FrameType


_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; `status` is 0 until the answer is decided."""

    method: str
    path: str
    query: str
    range: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    raw: bytes = field(default=b"", repr=False, compare=False)
    body: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes
    ----------
    announced : int or None
        The length of a body that is not sent (HEAD).
    zeros : int
        So many zeros are sent after the body, for as long as the client takes them.
    has_length : bool
        Whether the length is said; else the body comes in chunks of HTTP.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    announced: int | None = None
    zeros: int = 0
    has_length: bool = True

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {'OK' if self.status < 400 else 'Sorry'}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        length = len(self.body) if self.announced is None else self.announced
        said = f"Content-Length: {length + self.zeros}"
        lines += [said if self.has_length else "Transfer-Encoding: chunked", "", ""]
        return "\r\n".join(lines).encode("latin-1")


@dataclass
class Rounds:
    """How many rounds of requests there were, and how many requests each had."""

    sizes: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.sizes)


class _Gate:
    """Hold every request until no further one came for a moment, then let all go.

    In that moment no thread of this process, which the client is, has gone a step. It
    is made of short waits, of which one that ends late does not count: on a busy
    machine the client had no turn in it either.
    """

    TICK, LATE = 0.02, 0.01

    def __init__(self, quiet: float) -> None:
        self.rounds = Rounds()
        self._quiet = quiet
        self._waited = 0.0
        self._held = 0
        self._open = asyncio.Event()
        self._waits = False
        self._seen: dict[int, tuple[FrameType, int]] = {}

    async def pass_through(self) -> None:
        self._held += 1
        self._waited = 0.0
        if not self._waits:
            self._waits = True
            self._wait()
        await self._open.wait()

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(due := loop.time() + self.TICK, self._count, due)

    def _count(self, due: float) -> None:
        seen = {
            thread: (frame, frame.f_lasti)
            for thread, frame in sys._current_frames().items()
            if thread != threading.get_ident() and not _polls(frame)
        }
        if seen != self._seen:
            self._seen, self._waited = seen, 0.0
        elif asyncio.get_running_loop().time() - due < self.LATE:
            self._waited += self.TICK
        if self._waited < self._quiet:
            self._wait()
        else:
            self.rounds.sizes.append(self._held)
            self._open.set()
            self._held, self._open, self._waits = 0, asyncio.Event(), False
            self._seen = {}


def _polls(frame: FrameType | None) -> bool:
    """Whether a thread runs pytest-qt's event loop until something is so."""
    while frame is not None and not frame.f_code.co_filename.endswith("qtbot.py"):
        frame = frame.f_back
    return frame is not None


class _Encrypted(Exception):
    """The client shakes hands for TLS, where plain HTTP is spoken."""


class _Plan:
    """The faults for the paths of one pattern, used up one by one."""

    def __init__(
        self, pattern: str, method: str | None, faults: tuple[Fault, ...], forever: bool
    ) -> None:
        self._pattern, self._method, self._forever = pattern, method, forever
        self._faults = deque(faults)

    def next_for(self, request: Request) -> Fault | None:
        wanted = self._method in (None, request.method)
        if not (
            wanted and self._faults and fnmatch.fnmatchcase(request.path, self._pattern)
        ):
            return None
        return self._faults[0] if self._forever else self._faults.popleft()


class WireServer:
    """A server in a thread, with a log, faults, and a way to count rounds.

    Attributes
    ----------
    delay : float
        Seconds by which each answer is held: a simulated round trip.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.delay = 0.0
        self._tls = tls
        self._log: list[Request] = []
        self._arrived = threading.Condition()
        self._under_way = 0
        self._plans: list[_Plan] = []
        self._gate: _Gate | None = None
        self._connections: dict[asyncio.Task[None], socket.socket] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self._listen()
        self._released = self._run(self._start_listening())

    async def answer(self, request: Request) -> Answer:
        """The answer if there is no fault; each kind of server has its own."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """What arrived so far, in order."""
        with self._arrived:
            return list(self._log)

    def clear_log(self) -> None:
        """Forget the requests."""
        with self._arrived:
            self._log.clear()

    def clear(self) -> None:
        """Forget the requests and the faults; let stalled answers go."""
        self.clear_log()
        self._plans.clear()
        self.release()

    def fault(
        self,
        pattern: str,
        *faults: Fault,
        method: str | None = None,
        forever: bool = False,
    ) -> None:
        """Answer requests whose path matches with these faults, one after another.

        `pattern` is a shell pattern over the whole decoded path (``*`` also matches
        slashes). When they are used up, answers are normal again; with `forever`
        the (one) fault stays.
        """
        self._plans.append(_Plan(pattern, method, faults, forever))

    def release(self) -> None:
        """Let the answers go that are stalled now."""
        released = self._run(self._new_event())
        self._released, before = released, self._released
        self._loop.call_soon_threadsafe(before.set)

    def wait_for(self, count: int, timeout: float = 60) -> None:
        """Block until that many requests have arrived since the last `clear`."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._log) >= count, timeout):
                raise TimeoutError(f"{len(self._log)} requests came, not {count}")

    def wait_until_idle(self, timeout: float = 60) -> None:
        """Block until what has arrived is answered, or given up; nobody asks more."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: not self._under_way, timeout):
                raise TimeoutError(f"{self._under_way} requests are still under way")

    @contextmanager
    def round_count(self, quiet: float = 0.2) -> Iterator[Rounds]:
        """Count rounds: a round is all that a client asks before it needs an answer.

        Every answer waits until the client has been quiet for `quiet` seconds.
        """
        gate = self._gate = _Gate(quiet)
        try:
            yield gate.rounds
        finally:
            self._gate = None

    def stop_listening(self) -> None:
        """Take no further connections, so that nobody is there."""
        self._run(self._stop_listening())

    def go_away(self) -> None:
        """Take no further connections and drop those that there are."""
        self._run(self._stop())

    def come_back(self) -> None:
        """Listen again, at the same address."""
        self._listen()
        self._run(self._start_listening())

    def close(self) -> None:
        """Stop listening, drop all connections, end the thread."""
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        if self._thread.is_alive():
            raise TimeoutError("the thread of the test server does not end")
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _new_event(self) -> asyncio.Event:
        return asyncio.Event()

    async def _start_listening(self) -> asyncio.Event:
        self._loop.add_reader(self._listener, self._accept)
        return asyncio.Event()

    async def _stop_listening(self) -> None:
        if self._listener.fileno() != -1:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    async def _stop(self) -> None:
        await self._stop_listening()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _turn_over()  # the ends of the connections

    def _accept(self) -> None:
        # Neither asyncio's own server nor `sock_accept`: both forget a connection
        # that comes while they are being closed, and its socket is never closed.
        with suppress(BlockingIOError, ConnectionError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            task = self._loop.create_task(self._serve(connection))
            self._connections[task] = connection
            task.add_done_callback(self._close_connection)

    def _close_connection(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task).close()  # also if no transport had taken it

    async def _serve(self, connection: socket.socket) -> None:
        reader = asyncio.StreamReader(limit=1 << 20)
        protocol = asyncio.StreamReaderProtocol(reader)
        ends = (asyncio.IncompleteReadError, OSError, asyncio.CancelledError)
        with suppress(*ends):
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
            try:
                while await self._exchange(reader, writer):
                    pass
            except _Encrypted:
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            except asyncio.CancelledError:
                transport.abort()
            finally:
                writer.close()
                await writer.wait_closed()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        request = await read_request(reader)
        index = self._record(request)
        try:
            return await self._respond(request, index, reader, writer)
        finally:
            with self._arrived:
                self._under_way -= 1
                self._arrived.notify_all()

    async def _respond(
        self,
        request: Request,
        index: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if self._gate:
            await self._gate.pass_through()
        if self.delay:
            await asyncio.sleep(self.delay)
        fault = self._next_fault(request)
        if isinstance(fault, Stalled):
            await self._released.wait()
            # Of what was asked by who has gone meanwhile nothing comes any more.
            if reader.at_eof() or reader.exception():
                return False
        if isinstance(fault, Dropped):
            return False
        answer = await self._decide(request, fault)
        self._settle(index, request, answer.status)
        if isinstance(fault, Lost):
            return False
        return await _send(request, answer, fault, writer)

    async def _decide(self, request: Request, fault: Fault | None) -> Answer:
        if isinstance(fault, Status):
            answer = Answer(fault.code, fault.headers, fault.body)
        else:
            answer = await self.answer(request)
        if request.method == "HEAD" and answer.announced is None:
            answer = replace(answer, body=b"", announced=len(answer.body))
        return answer

    def _next_fault(self, request: Request) -> Fault | None:
        return next(
            (fault for plan in self._plans if (fault := plan.next_for(request))), None
        )

    def _record(self, request: Request) -> int:
        with self._arrived:
            self._log.append(request)
            self._under_way += 1
            self._arrived.notify_all()
            return len(self._log) - 1

    def _settle(self, index: int, request: Request, status: int) -> None:
        with self._arrived:
            if index < len(self._log) and self._log[index] is request:
                self._log[index] = replace(request, status=status)


async def _turn_over() -> None:
    """Let the loop call what is due by now."""
    for _ in range(20):
        await asyncio.sleep(0)


async def _send(
    request: Request, answer: Answer, fault: Fault | None, writer: asyncio.StreamWriter
) -> bool:
    """Send the answer; true if the connection may be used again."""
    if isinstance(fault, Framed):
        writer.write(FRAMES[fault.how](answer))
        await writer.drain()
        return fault.how in GOING_ON
    if answer.zeros or not answer.has_length:
        await _send_long(answer, writer)
        return True
    whole = answer.body
    if isinstance(fault, (Reset, Truncated)):
        whole = whole[: fault.after]
    writer.write(answer.head() + whole if len(whole) < 65536 else answer.head())
    if len(whole) >= 65536:
        writer.write(whole)
    await writer.drain()
    if isinstance(fault, Reset):
        # A linger time of zero makes the close a reset (RST) instead of an end (FIN).
        connection = writer.get_extra_info("socket")
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()
    if isinstance(fault, (Reset, Truncated)):
        return False
    return request.headers.get("connection", "").lower() != "close"


async def _send_long(answer: Answer, writer: asyncio.StreamWriter) -> None:
    """Send piece by piece what is never held as a whole."""
    writer.write(answer.head())
    pieces = chain(
        [answer.body] if answer.body else [],
        repeat(bytes(_PIECE), answer.zeros // _PIECE),
        [bytes(answer.zeros % _PIECE)] if answer.zeros % _PIECE else [],
    )
    for piece in pieces:
        framed = piece
        if not answer.has_length:
            framed = f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
        writer.write(framed)
        await writer.drain()
    writer.write(b"" if answer.has_length else b"0\r\n\r\n")
    await writer.drain()


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read one request with its body."""
    first_byte = await reader.readexactly(1)
    if first_byte == b"\x16":
        raise _Encrypted
    raw = first_byte + await reader.readuntil(b"\r\n\r\n")
    first, headers = parse_head(raw)
    method, target, _ = first.split(" ", 2)
    path, _, query = target.partition("?")
    body = await read_body(reader, headers)
    return Request(
        method=method,
        path=unquote(path),
        query=query,
        range=headers.get("range", ""),
        headers=headers,
        raw=raw,
        body=body,
    )


def parse_head(raw: bytes) -> tuple[str, dict[str, str]]:
    """The first line of a head, and its headers by their lower-case names."""
    first, *lines = raw.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return first, {name.lower(): value.strip() for name, _, value in pairs}


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """Read a body, with the framing of a chunked one removed."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)


__all__ = [
    "Answer",
    "Proceed",
    "Request",
    "Rounds",
    "WireServer",
    "parse_head",
    "read_body",
]
