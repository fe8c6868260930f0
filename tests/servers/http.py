"""A folder over HTTP, with ranges and ETags; knows nothing of OME-Zarr."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from napari_omezarr.location import Location
from servers.faults import s3_error
from servers.wire import Answer, Request, WireServer

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from servers.faults import Status

_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")


class FileServer(WireServer):
    """Serve the files below a folder.

    Parameters
    ----------
    root : Path
        The folder.
    forbid_missing : bool
        Answer 403 where a file is missing, as S3 does to those who may not list.
    tls : ssl.SSLContext, optional
        Serve https with this certificate.
    """

    def __init__(
        self,
        root: Path,
        *,
        forbid_missing: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.root = root
        self.forbid_missing = forbid_missing
        super().__init__(tls)

    async def answer(self, request: Request) -> Answer:
        file = (self.root / request.path.lstrip("/")).resolve()
        if not (file.is_file() and file.is_relative_to(self.root.resolve())):
            return Answer(403 if self.forbid_missing else 404)
        body = file.read_bytes()
        kind = (
            "application/json" if file.suffix == ".json" else "application/octet-stream"
        )
        headers = {
            "Content-Type": kind,
            "Accept-Ranges": "bytes",
            "ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"',
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Answer(304, headers)
        return cut(body, request.range, headers)


class Bucket(FileServer):
    """Serve the folders below a folder as buckets do that anybody may read.

    Attributes
    ----------
    lists : bool
        Whether anybody may list; if not, a missing key is denied, as by S3.
    """

    lists = False

    def place(self, path: str) -> Location:
        """Give a place in it, as `Location.parse` does."""
        return Location.parse(f"s3://{path}", endpoint=self.url, anonymous=True)

    async def answer(self, request: Request) -> Answer:
        if request.query.startswith("list-type") or "&list-type" in request.query:
            if not self.lists:
                return _said(s3_error(403, "AccessDenied"))
            return Answer(200, {}, self._listed(request))
        answer = await super().answer(request)
        if answer.status not in (403, 404):
            return answer
        missing = s3_error(404, "NoSuchKey")
        return _said(missing if self.lists else s3_error(403, "AccessDenied"))

    def _listed(self, request: Request) -> bytes:
        """All objects below a prefix, at any depth, on one page."""
        prefix = parse_qs(request.query).get("prefix", [""])[0]
        bucket = self.root / request.path.strip("/")
        found = sorted(file for file in bucket.rglob("*") if file.is_file())
        keys = ((file.relative_to(bucket).as_posix(), file) for file in found)
        rows = "".join(
            f"<Contents><Key>{quote(key)}</Key><Size>{file.stat().st_size}</Size>"
            "</Contents>"
            for key, file in keys
            if key.startswith(prefix)
        )
        return f"<ListBucketResult>{rows}</ListBucketResult>".encode()


def _said(fault: Status) -> Answer:
    return Answer(fault.code, fault.headers, fault.body)


class GuardedServer(FileServer):
    """Serve the files below a folder to who sends a header: its name in small letters,
    and its value.
    """

    def __init__(
        self, root: Path, header: tuple[str, str], tls: ssl.SSLContext | None = None
    ) -> None:
        self.header = header
        super().__init__(root, tls=tls)

    async def answer(self, request: Request) -> Answer:
        name, value = self.header
        if request.headers.get(name) != value:
            return Answer(401, {"WWW-Authenticate": "Bearer"})
        return await super().answer(request)


def cut(body: bytes, wanted: str, headers: dict[str, str]) -> Answer:
    """The answer for a ``Range`` header: 200, 206 or 416."""
    match = _RANGE.match(wanted)
    if not match or match.group() == "bytes=-":
        return Answer(200, headers, body)
    first, last = match.groups()
    size = len(body)
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        return Answer(416, {"Content-Range": f"bytes */{size}"})
    return Answer(
        206,
        headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"},
        body[start:stop],
    )
