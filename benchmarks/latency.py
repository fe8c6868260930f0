"""A web server, or a proxy before one, that is as far away as one wishes.

Loopback answers at once; the network that remote data lie behind does not. This
server holds each request for one round trip, and the first request of a connection
for one more (the handshake of TCP), with TLS for two more. It counts requests, bytes
and *round trips*: the longest chain of requests of which each began after the one
before was answered, which is what a round trip multiplies. What is sent to it can be
bounded, for all connections together; a bound on answers is not simulated.

It runs in a process of its own with a thread for each connection: blocking reads,
``sendfile`` and sleeping all let the other threads run. By hand::

    python benchmarks/latency.py FOLDER_OR_URL --rtt 100
"""

from __future__ import annotations

import argparse
import json
import math
import re
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import ExitStack
    from io import BufferedIOBase

_BUFFER = 1 << 20
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d*)-(\d*)\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ServerStats:
    """What a server was asked since it was last reset.

    Attributes
    ----------
    requests : int
        All of them, HEAD, missing keys and repetitions included.
    round_trips : int
        The longest chain; exact only when the round trip is much longer than the
        time that a client needs to send what it asks at once.
    connections : int
        Those on which a request came.
    sent : int
        Bytes of the bodies of answers.
    received : int
        Bytes of the bodies of requests.
    """

    requests: int
    round_trips: int
    connections: int
    sent: int
    received: int = 0


class Latency:
    """A server in a process of its own; starts on entering, ends on leaving.

    Parameters
    ----------
    source : Path or str
        The folder to serve, or the address of the server to stand before.
    certificate : Path, optional
        Serve https with this certificate and its key, both in one PEM file.
    """

    def __init__(self, source: Path | str, certificate: Path | None = None) -> None:
        self._source = source
        self._certificate = certificate

    def __enter__(self) -> Self:
        told = ["--certificate", str(self._certificate)] if self._certificate else []
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._source), "--controlled", *told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        scheme = "https" if self._certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self._answer()}"
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.terminate()

    def reset(self, rtt: float, uplink: float = math.inf) -> None:
        """Forget what was counted; be as far away as is said from now on.

        Parameters
        ----------
        rtt : float
            Milliseconds.
        uplink : float, optional
            Megabytes (10**6 bytes) of bodies that are taken in a second.
        """
        self._ask(f"reset {rtt} {uplink}")

    def stats(self) -> ServerStats:
        """Say what was asked since the last reset."""
        return ServerStats(**json.loads(self._ask("stats")))

    def _ask(self, command: str) -> str:
        assert self._process.stdin
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def certified(stack: ExitStack) -> tuple[Path, dict[str, str]]:
    """Make a certificate for this machine, and what lets a contender trust it.

    Returns
    -------
    Path, dict
        The PEM file for the server; variables for the environment of the contenders,
        of which each library reads another one.
    """
    import trustme  # late: only who measures https needs it

    folder = Path(stack.enter_context(TemporaryDirectory()))
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(folder / "server.pem")
    )
    trusted = str(folder / "authority.pem")
    authority.cert_pem.write_to_path(trusted)
    names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "TENSORSTORE_CA_BUNDLE")
    return folder / "server.pem", dict.fromkeys(names, trusted)


@dataclass(slots=True)
class _Uplink:
    """A line that takes some megabytes a second, one piece after another."""

    rate: float = math.inf
    _free: float = 0
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def take(self, count: int) -> None:
        """Return when so many bytes would have come through."""
        with self._turn:
            now = time.perf_counter()
            self._free = max(now, self._free) + count / self.rate / 1e6
            pause = self._free - now
        if pause > 0:
            time.sleep(pause)


@dataclass(slots=True)
class _Counts:
    """The log of one server; threads only append, which needs no lock."""

    rtt: float = 0
    uplink: _Uplink = field(default_factory=_Uplink)
    requests: list[tuple[float, float]] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)

    def stats(self) -> ServerStats:
        connections = len(set(self.connections))
        round_trips = _longest_chain(self.requests)
        sent, received = sum(self.sent), sum(self.received)
        return ServerStats(len(self.requests), round_trips, connections, sent, received)


def _longest_chain(spans: Iterable[tuple[float, float]]) -> int:
    ends: list[float] = []
    for begin, end in sorted(spans, key=lambda span: span[1]):
        if not ends or begin >= ends[-1]:
            ends.append(end)
    return len(ends)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024
    allow_reuse_address = True

    def __init__(self, source: str, port: int, certificate: str = "") -> None:
        self.source = source
        self.tls: ssl.SSLContext | None = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate)
        self.counts = _Counts()
        parts = urlsplit(source)
        handler = _Proxy if parts.scheme in ("http", "https") else _Files
        self.upstream = (parts.hostname, parts.port)
        self.root = Path(source).resolve()
        super().__init__(("127.0.0.1", port), handler)

    def handle_error(self, request: Any, address: Any) -> None:
        """Pass over clients that hang up; everything else is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, address)


class _Connection(socketserver.StreamRequestHandler):
    server: _Server
    rbufsize = 1 << 16
    disable_nagle_algorithm = True

    def setup(self) -> None:
        # Here, in the connection's thread, as a handshake takes a while.
        if self.server.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def handle(self) -> None:
        # A handshake of TLS 1.3 is one round trip, whether a session is resumed or not.
        first = 2 if self.server.tls else 1
        while head := _read_head(self.rfile):
            counts = self.server.counts
            begin = time.perf_counter()
            time.sleep(counts.rtt / 1000 * (1 + first))
            # Stamped before the answer goes out: what its reader asks next is later.
            answered = self.answer(head)
            counts.requests.append((begin, answered))
            counts.connections.append(id(self.connection))
            first = 0
            if _CLOSE.search(head):
                break

    def answer(self, head: bytes) -> float:
        """Answer one request and give the time just before the answer's first byte."""
        raise NotImplementedError


class _Files(_Connection):
    """The files of a folder, whole or a range of them."""

    def answer(self, head: bytes) -> float:
        method, target, _ = head.split(b" ", 2)
        path = unquote(target.decode().partition("?")[0]).lstrip("/")
        file = (self.server.root / path).resolve()
        if not (file.is_relative_to(self.server.root) and file.is_file()):
            return self._head("404 Not Found", 0)
        size = file.stat().st_size
        span = _RANGE.search(head)
        start, stop = _span(*span.groups(), size=size) if span else (0, size)
        if start >= stop and span:
            return self._head("416 Range Not Satisfiable", 0)
        further = f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n" if span else ""
        status = "206 Partial Content" if span else "200 OK"
        stamp = self._head(status, stop - start, further)
        if method == b"GET" and stop > start:
            with file.open("rb") as opened:
                self.connection.sendfile(opened, start, stop - start)
            self.server.counts.sent.append(stop - start)
        return stamp

    def _head(self, status: str, length: int, further: str = "") -> float:
        stamp = time.perf_counter()
        self.connection.sendall(
            f"HTTP/1.1 {status}\r\n"
            "Content-Type: application/octet-stream\r\n"
            "Accept-Ranges: bytes\r\n"
            f"{further}Content-Length: {length}\r\n\r\n".encode()
        )
        return stamp


class _Proxy(_Connection):
    """What another server answers; heads go through as they are, so signatures hold."""

    def setup(self) -> None:
        super().setup()
        self._upstream = socket.create_connection(self.server.upstream)
        self._upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._upstream.makefile("rb")
        self._buffer = memoryview(bytearray(_BUFFER))

    def finish(self) -> None:
        self._answers.close()
        self._upstream.close()
        super().finish()

    def answer(self, head: bytes) -> float:
        self._upstream.sendall(head)
        self._pass_body(head)
        answer = _read_head(self._answers)
        while answer.split(b" ", 2)[1] == b"100":
            answer = _read_head(self._answers)
        stamp = time.perf_counter()
        self.connection.sendall(answer)
        if head.startswith(b"HEAD ") or answer.split(b" ", 2)[1] in (b"204", b"304"):
            return stamp
        if length := _LENGTH.search(answer):
            self._copy(int(length[1]))
        elif _CHUNKED.search(answer):
            while size := self._copy_line():
                self._copy(size + 2)
            self._copy_line()
        return stamp

    def _pass_body(self, head: bytes) -> None:
        """Pass on what a request brings; who asks whether to send it may."""
        if _EXPECT.search(head):
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if length := _LENGTH.search(head):
            self._send(int(length[1]))
        elif _CHUNKED.search(head):
            while size := self._send_line():
                self._send(size + 2)
            self._send_line()

    def _send_line(self) -> int:
        line = self.rfile.readline()
        self._upstream.sendall(line)
        return int(line.split(b";")[0].strip() or b"0", 16)

    def _send(self, length: int) -> None:
        left = length
        while left:
            count = self.rfile.readinto1(self._buffer[: min(left, _BUFFER)])
            if not count:
                raise ConnectionResetError("the client ended its request early")
            self.server.counts.uplink.take(count)
            self._upstream.sendall(self._buffer[:count])
            left -= count
        self.server.counts.received.append(length)

    def _copy_line(self) -> int:
        line = self._answers.readline()
        self.connection.sendall(line)
        return int(line.split(b";")[0].strip() or b"0", 16)

    def _copy(self, length: int) -> None:
        left = length
        while left:
            count = self._answers.readinto1(self._buffer[: min(left, _BUFFER)])
            if not count:
                raise ConnectionResetError("the server ended its answer early")
            self.connection.sendall(self._buffer[:count])
            left -= count
        self.server.counts.sent.append(length)


def _read_head(stream: BufferedIOBase) -> bytes:
    """Read up to the empty line; nothing if the other side hung up."""
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _span(first: bytes, last: bytes, *, size: int) -> tuple[int, int]:
    """Give the bytes that a ``Range`` header means."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


def _obey(server: _Server) -> None:
    """Do what the lines of standard input say, until there are no more."""
    for line in sys.stdin:
        command, *values = line.split()
        if command == "reset":
            rtt, uplink = map(float, values)
            server.counts = _Counts(rtt, _Uplink(uplink))
            print("done", flush=True)
        else:
            print(json.dumps(asdict(server.counts.stats())), flush=True)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", help="a folder, or the address of a server")
    parser.add_argument("--rtt", type=float, default=0, help="milliseconds")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", default="", help="PEM, with its key: https")
    parser.add_argument("--controlled", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    certificate = arguments.certificate
    with _Server(arguments.source, arguments.port, certificate) as server:
        server.counts.rtt = arguments.rtt
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        if arguments.controlled:
            print(port, flush=True)
            _obey(server)
        else:
            scheme = "https" if certificate else "http"
            print(
                f"{scheme}://127.0.0.1:{port} is {arguments.rtt:g} ms away; Enter ends."
            )
            sys.stdin.readline()


if __name__ == "__main__":
    main()
