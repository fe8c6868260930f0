"""A proxy before another server: its log, its rounds, its faults.

Heads go through unchanged, ``Host`` included, so that signatures stay valid.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from servers.wire import Answer, Request, WireServer, parse_head, read_body

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from napari_omezarr.demo.server import S3Server

_OURS = {"content-length", "transfer-encoding", "connection"}


class Proxy(WireServer):
    """Stand before the server at `upstream`, like ``http://127.0.0.1:8333``."""

    def __init__(self, upstream: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        super().__init__(tls=tls)

    async def answer(self, request: Request) -> Answer:
        reader, writer = await asyncio.open_connection(*self._upstream, limit=1 << 20)
        try:
            writer.write(request.raw)
            writer.write(_framed(request))
            first, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
            while first.split(" ")[1] == "100":
                first, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
            status = int(first.split(" ")[1])
            silent = request.method == "HEAD" or status in (204, 304)
            body = b"" if silent else await read_body(reader, headers)
        finally:
            writer.close()
        announced = (
            int(headers.get("content-length", 0)) if request.method == "HEAD" else None
        )
        kept = {name: value for name, value in headers.items() if name not in _OURS}
        return Answer(status, kept, body, announced)


@contextmanager
def before_buckets(server: S3Server, folder: Path, key: str) -> Iterator[Proxy]:
    """Put a folder into both buckets of a server, and stand before it."""
    for bucket in ("public", "private"):
        server.upload(folder, f"{bucket}/{key}")
    with Proxy(server.endpoint) as proxy:
        yield proxy


def _framed(request: Request) -> bytes:
    """The body as the head announces it: chunked again if it came chunked."""
    if request.headers.get("transfer-encoding", "").lower() != "chunked":
        return request.body
    part = (
        f"{len(request.body):x}\r\n".encode() + request.body + b"\r\n"
        if request.body
        else b""
    )
    return part + b"0\r\n\r\n"
