"""Answers that HTTP allows and few expect, and such that it does not allow."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.wire import Answer

_END = b"\r\n"
_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"


def _head(answer: Answer, *more: str, version: str = "1.1") -> bytes:
    """The head of an answer, with other lines about the length of the body."""
    first, *lines = answer.head().decode("latin-1").split("\r\n")
    lines = [line for line in lines if line and not line.startswith("Content-Length")]
    first = first.replace("HTTP/1.1", f"HTTP/{version}")
    return "\r\n".join([first, *lines, *more, "", ""]).encode("latin-1")


def _length(answer: Answer) -> str:
    return f"Content-Length: {len(answer.body)}"


def _chunked(body: bytes, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    middle = max(1, len(body) // 2)
    pieces = [piece for piece in (body[:middle], body[middle:]) if piece]
    framed = (b"%x%b\r\n%b\r\n" % (len(p), extension, p) for p in pieces)
    return b"".join(framed) + b"0\r\n" + trailer + _END


_CHUNKED = "Transfer-Encoding: chunked"

# By name: the bytes of an answer. After those in `ENDING` the connection is closed.
FRAMES: dict[str, Callable[[Answer], bytes]] = {
    "interim": lambda a: _HINTS + _HINTS + _head(a, _length(a)) + a.body,
    "interim alone": lambda a: _HINTS,
    "switching": lambda a: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "trailers": lambda a: (
        _head(a, _CHUNKED) + _chunked(a.body, b";a=b", b"ETag: wrong\r\n")
    ),
    "old": lambda a: _head(a, _length(a), version="1.0") + a.body,
    "old, no length": lambda a: _head(a, version="1.0") + a.body,
    "old, cut": lambda a: _head(a, _length(a), version="1.0") + a.body[:-1],
    "closes": lambda a: _head(a, _length(a), "Connection: close") + a.body[:-2],
    "same lengths": lambda a: _head(a, _length(a), _length(a)) + a.body,
    "two lengths": lambda a: _head(a, _length(a), "Content-Length: 3") + a.body,
    "list of lengths": lambda a: _head(a, f"{_length(a)}, 3") + a.body,
    "negative length": lambda a: _head(a, "Content-Length: -5") + a.body,
    "endless length": lambda a: _head(a, f"Content-Length: {'9' * 400}") + a.body,
    "longest length": lambda a: _head(a, f"Content-Length: {2**63 - 1}") + a.body,
    "length and chunks": lambda a: (
        _head(a, "Content-Length: 3", _CHUNKED) + _chunked(a.body)
    ),
    "no size of a chunk": lambda a: _head(a, _CHUNKED) + b"zz\r\n" + a.body,
    "negative chunk": lambda a: _head(a, _CHUNKED) + b"-5\r\n" + a.body,
    "endless chunk": lambda a: _head(a, _CHUNKED) + b"f" * 40 + b"\r\n" + a.body,
    "wrong size of a chunk": lambda a: (
        _head(a, _CHUNKED) + b"3\r\n" + a.body + b"\r\n0\r\n\r\n"
    ),
    "no last chunk": lambda a: _head(a, _CHUNKED) + _chunked(a.body)[:-5],
    "unknown coding": lambda a: _head(a, "Transfer-Encoding: gzip, x") + a.body,
    "long header": lambda a: _head(a, _length(a), f"X: {'x' * 70_000}") + a.body,
    "many headers": lambda a: (
        _head(a, _length(a), *(f"X-{n}: {n}" for n in range(3000))) + a.body
    ),
    "folded header": lambda a: _head(a, _length(a), "X: a\r\n b") + a.body,
    "odd header": lambda a: _head(a, _length(a), "X\0: \x01", "no colon") + a.body,
    "lone ends": lambda a: _head(a, _length(a), "X: a\nY: b\rZ: c") + a.body,
    "garbage behind": lambda a: _head(a, _length(a)) + a.body + b"\0garbage\r\n\r\n",
    "no status": lambda a: b"HTTP/1.1\r\n\r\n" + a.body,
    "no number": lambda a: b"HTTP/1.1 2x0 OK\r\n\r\n" + a.body,
    "too large a number": lambda a: b"HTTP/1.1 99999 OK\r\n\r\n" + a.body,
    "no HTTP": lambda a: b"220 ftp.example.org FTP server ready\r\n",
    "TLS": lambda a: b"\x15\x03\x01\x00\x02\x02\x28",
    "nothing": lambda a: b"\r\n\r\n",
}
GOING_ON = ("interim", "trailers", "same lengths", "garbage behind", "many headers")

# By name: what is done to a body, and what is said of that.
PACKED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "gzip": (gzip.compress, "gzip"),
    "gzip twice": (lambda body: gzip.compress(gzip.compress(body)), "gzip, gzip"),
    "deflate": (zlib.compress, "deflate"),
    "bare deflate": (lambda body: zlib.compress(body)[2:-4], "Deflate"),
    "mixed": (lambda body: gzip.compress(zlib.compress(body)), "deflate, x-gzip"),
    "gzip and more": (lambda body: gzip.compress(body) + b"more", "gzip"),
    "gzip cut": (lambda body: gzip.compress(body)[:-3], "gzip"),
    "br": (lambda body: body[::-1], "br"),
    "zstd": (lambda body: bytes(b ^ 255 for b in body), "zstd"),
    "mislabelled": (lambda body: body, "utf-8"),
    "of S3": (lambda body: body, "aws-chunked"),
    "many": (lambda body: body, ", ".join(["gzip"] * 500)),
}

RANGES = (
    "bytes */300",
    "bytes */*",
    "bytes 0-0/*",
    "items 0-1/2",
    "bytes=0-3/300",
    "bytes 5-1/300",
    f"bytes 0-{'9' * 5000}/{'9' * 5000}",
    f"bytes */{'9' * 5000}",
    "bytes -1-3/2",
    "",
)
ETAGS = ('W/"weak"', "bare", '"a", "b"', '""', "*", '"é"')
LATER = (
    "Fri, 31 Dec 1999 23:59:59 GMT",
    "Fri, 31 Dec 2999 23:59:59 GMT",
    "Fri, 31 Dec 9999999999 23:59:59 GMT",
    "Fri, 31 Dec 1999 23:59:59 +99999999999",
    "-5",
    "1e3",
    "9" * 4400,
    "soon",
)
PLACES = (
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "//",
    "http://",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "http://a b/",
    "\0",
    "?",
    "javascript:x",
    "http://127.0.0.1:1/",
)


def packed(answer: Answer, how: str) -> Answer:
    """Pack the body of an answer as a whole, whatever part of the object it is."""
    pack, said = PACKED[how]
    headers = answer.headers | {"Content-Encoding": said}
    return replace(answer, headers=headers, body=pack(answer.body))
