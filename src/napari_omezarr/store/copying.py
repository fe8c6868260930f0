"""Long objects copied within a bucket, in parts: one request copies 5 GB at most."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from .interruption import Interrupted, Kind
from .multipart import assemble
from .refusal import Refused, refusal_of
from .s3_order import Order, query_of

if TYPE_CHECKING:
    from . import web
    from .outlet import Attempts
    from .s3_outlet import S3Outlet

LONGEST = 1 << 30
"""From so many bytes on an object is copied in parts; a service may take a while."""
PART = 256 << 20
_TAG = re.compile(rb"<ETag>([^<]+)</ETag>")


async def copy_in_parts(
    outlet: S3Outlet,
    key: str,
    to: str,
    size: int,
    attempts: Attempts,
    part: int = PART,
) -> None:
    """Copy a long object over another, whole or not at all.

    Parameters
    ----------
    outlet : S3Outlet
        Where both are.
    key, to : str
        Which, and where to.
    size : int
        Its bytes.
    attempts : callable
        Is given each request, to try it as often as patience allows.
    part : int, optional
        Bytes of each part; S3 wants 5 MiB at least.

    Raises
    ------
    StoreError
        A request failed in all tries; what had been copied is given up.
    """
    ranges = [(start, min(start + part, size)) for start in range(0, size, part)]
    path = outlet.path(to)
    send = partial(_copy_part, outlet, key, path)
    await assemble(outlet, path, send, ranges, attempts)


def copied(answer: web.Answer) -> bytes:
    """Give the tag of what was copied.

    Raises
    ------
    Refused
        "200 OK" was sent at once, and what went wrong afterwards stands in the body.
    """
    found = _TAG.search(answer.body)
    if b"<Error>" in answer.body:
        raise Refused(refusal_of(500, answer.headers, answer.body))
    if found is None:
        raise Interrupted(Kind.WEB_PAGE)
    return found[1]


async def _copy_part(
    outlet: S3Outlet,
    key: str,
    path: str,
    upload: str,
    number: int,
    span: tuple[int, int],
) -> str:
    query = query_of({"partNumber": str(number), "uploadId": upload})
    first, end = span
    headers = {
        **outlet.source(key),
        "x-amz-copy-source-range": f"bytes={first}-{end - 1}",
    }
    answer = await outlet.done(Order("PUT", path, query, headers, b""))
    return copied(answer).decode().replace("&quot;", '"').replace("&#34;", '"')
