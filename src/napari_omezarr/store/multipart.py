"""Long objects in parts: several on their way at a time, each tried again alone."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from .interruption import Interrupted, Kind
from .refusal import Refused, refusal_of
from .s3_order import Order, query_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .outlet import Attempts
    from .s3_outlet import S3Outlet

Part = TypeVar("Part")

LONG = 32 << 20
"""From so many bytes on an object is sent in parts."""
PART = 16 << 20
_UPLOAD = re.compile(rb"<UploadId>([^<]+)</UploadId>")


async def put_in_parts(
    outlet: S3Outlet, key: str, body: bytes, attempts: Attempts
) -> None:
    """Write a long object, whole or not at all.

    Parameters
    ----------
    outlet : S3Outlet
        Where.
    key : str
        Of the object.
    body : bytes-like
        All of it; parts are views.
    attempts : callable
        Is given each request, to try it as often as patience allows.

    Raises
    ------
    StoreError
        A request failed in all tries. What was sent is given up, so that it does
        not lie there unseen and paid for.
    """
    whole = memoryview(body)
    parts = [whole[start : start + PART] for start in range(0, len(whole), PART)]
    path = outlet.path(key)
    await assemble(outlet, path, partial(_send, outlet, path), parts, attempts)


async def assemble(
    outlet: S3Outlet,
    path: str,
    send: Callable[[str, int, Part], Awaitable[str]],
    parts: Sequence[Part],
    attempts: Attempts,
) -> None:
    """Make an object of parts, of which each is sent, and tried again, alone.

    Parameters
    ----------
    outlet : S3Outlet
        Where.
    path : str
        The whole key.
    send : callable
        Is given the upload's name, a part's number and the part; gives its tag.
    parts : sequence
        In order.
    attempts : callable
        Is given each request.

    Raises
    ------
    StoreError
        As `put_in_parts`.
    """
    upload = await attempts(partial(_begin, outlet, path))
    sending = [
        asyncio.ensure_future(attempts(partial(send, upload, number, part)))
        for number, part in enumerate(parts, 1)
    ]
    try:
        tags = await asyncio.gather(*sending)
        await attempts(partial(_finish, outlet, path, upload, tags))
    except BaseException:
        for part in sending:
            part.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        with suppress(Refused, Interrupted, OSError):
            query = query_of({"uploadId": upload})
            await outlet.done(Order("DELETE", path, query))
        raise


async def _begin(outlet: S3Outlet, path: str) -> str:
    headers = {"Content-Type": "application/octet-stream"}
    answer = await outlet.done(Order("POST", path, "uploads=", headers, b""))
    found = _UPLOAD.search(answer.body)
    if found is None:
        raise Interrupted(Kind.WEB_PAGE)
    return found[1].decode()


async def _send(
    outlet: S3Outlet, path: str, upload: str, number: int, part: memoryview
) -> str:
    query = query_of({"partNumber": str(number), "uploadId": upload})
    headers = {"Content-Type": "application/octet-stream"}
    answer = await outlet.done(Order("PUT", path, query, headers, part))
    return answer.headers.get("ETag", "")


async def _finish(
    outlet: S3Outlet, path: str, upload: str, tags: Sequence[str]
) -> None:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
        for number, tag in enumerate(tags, 1)
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    headers = {"Content-Type": "application/xml"}
    query = query_of({"uploadId": upload})
    answer = await outlet.done(Order("POST", path, query, headers, body))
    # "200 OK" is sent at once, and what went wrong afterwards stands in the body.
    if b"<Error>" in answer.body:
        raise Refused(refusal_of(500, answer.headers, answer.body))
