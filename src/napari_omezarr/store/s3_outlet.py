"""Objects of a bucket, put, deleted and listed: signed with their bodies."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

from . import web
from .bucket_place import BucketPlace
from .byterange import range_header
from .copying import LONGEST, copied, copy_in_parts
from .interruption import Interrupted, Kind
from .multipart import LONG, put_in_parts
from .outlet import Entry, Held, Page
from .refusal import Refused, refusal_of
from .reply import reply_of
from .s3_order import Order, query_of
from .signing import signed_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarr.abc.store import ByteRequest

    from .outlet import Attempts, Condition
    from .translation import Place

_CORRECTIONS = 3  # the region, how the bucket is named, who signs
_LONG = 1 << 21
"""From so many bytes on, hashing takes longer than going to a thread and back."""
_BINARY: Mapping[str, str] = {"Content-Type": "application/octet-stream"}
_JSON: Mapping[str, str] = {"Content-Type": "application/json"}


class S3Outlet(BucketPlace):
    """Writes the objects below a prefix of a bucket.

    The bucket must not go on without a sign-in by itself: who may read is not who
    may write.
    """

    async def read(self, key: str, wanted: ByteRequest | None = None) -> Held | None:
        """Read an object, or a part of it, by one GET."""
        headers = {} if wanted is None else {"Range": range_header(wanted)}
        answer = await self.send(Order("GET", self.path(key), headers=headers))
        reply = reply_of(answer, headers)
        body = reply.part(wanted)
        return None if body is None else Held(body, answer.headers.get("ETag", ""))

    async def write(
        self, key: str, body: bytes, condition: Condition | None = None
    ) -> None:
        """Write an object by one PUT."""
        name = key.rpartition("/")[2]
        kind = _JSON if name.endswith("json") or name.startswith(".z") else _BINARY
        headers = {**kind, **(condition.headers if condition else {})}
        await self.done(Order("PUT", self.path(key), headers=headers, body=body))

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write an object; a long one in parts."""
        if len(body) >= LONG:
            await put_in_parts(self, key, body, attempts)
        else:
            await attempts(partial(self.write, key, body))

    async def copy(self, key: str, to: str, size: int, attempts: Attempts) -> None:
        """Let the service copy an object; a long one in parts."""
        if size >= LONGEST:
            await copy_in_parts(self, key, to, size, attempts)
        else:
            await attempts(partial(self._copy, key, to))

    async def _copy(self, key: str, to: str) -> None:
        answer = await self.done(
            Order("PUT", self.path(to), headers=self.source(key), body=b"")
        )
        copied(answer)

    def source(self, key: str) -> Mapping[str, str]:
        """Say in a header which object is to be copied."""
        name = f"/{self._opened().address.bucket}/{self.path(key)}"
        return {"x-amz-copy-source": quote(name, safe="/-_.~")}

    async def delete(self, key: str) -> None:
        """Delete an object by one DELETE."""
        answer = await self.send(Order("DELETE", self.path(key)))
        if answer.status != 404:
            _accept(answer)
        elif (refusal := refusal_of(404, answer.headers, answer.body)).code == (
            "NoSuchBucket"
        ):
            raise Refused(refusal)

    async def page(self, prefix: str, rest: str = "", size: int = 1000) -> Page:
        """Ask for a page of ListObjectsV2."""
        below = f"{self.path(prefix)}/".lstrip("/")
        wishes = {
            "continuation-token": rest,
            "encoding-type": "url",
            "list-type": "2",
            "max-keys": str(size),
            "prefix": below,
        }
        query = query_of({name: text for name, text in wishes.items() if text})
        answer = await self.done(Order("GET", "", query))
        above = len(f"{self._prefix}/".lstrip("/"))
        return _page(answer.body, above)

    async def done(self, order: Order) -> web.Answer:
        """Send an order that must succeed.

        Raises
        ------
        Refused
            It was refused.
        """
        return _accept(await self.send(order))

    async def send(self, order: Order) -> web.Answer:
        """Send an order, elsewhere if the answer says where, as whoever signs now."""
        bucket = self._opened()
        credentials = await bucket.credentials()
        digest = await _digest(order.body)
        for attempt in range(1 + _CORRECTIONS):
            address = bucket.address
            url = address.url(order.path) + (f"?{order.query}" if order.query else "")
            headers = {**order.headers, **bucket.headers}
            message = web.Message(order.method, url, headers, order.body)
            if credentials is not None:
                message = signed_message(message, digest, credentials, address.region)
            answer = await web.send(message, self._access, self.tally)
            if answer.status < 300 or answer.status == 404:
                break
            refusal = refusal_of(answer.status, answer.headers, answer.body)
            before = credentials
            if refusal.expired:
                # She may have signed in anew while this goes on.
                bucket.sign_in_failed(refusal)
                credentials = await bucket.credentials()
            moved = bucket.address != address or bucket.learn(refusal)
            if attempt == _CORRECTIONS or not (moved or credentials != before):
                raise Refused(replace(refusal, signed=before is not None))
        return answer

    def place(self, url: str, doing: str) -> Place:
        """Describe this place for the words of an error about `url`."""
        return replace(self._opened().place(url), doing=doing)


async def _digest(body: bytes | memoryview | None) -> str:
    if body is None or len(body) < _LONG:
        return hashlib.sha256(body or b"").hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()


def _accept(answer: web.Answer) -> web.Answer:
    if answer.status >= 300:
        raise Refused(refusal_of(answer.status, answer.headers, answer.body))
    return answer


def _page(body: bytes, above: int) -> Page:
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise Interrupted(Kind.WEB_PAGE) from None
    if not root.tag.endswith("ListBucketResult"):
        raise Interrupted(Kind.WEB_PAGE)
    encoded = root.findtext("{*}EncodingType") == "url"
    entries = []
    for element in root.iterfind("{*}Contents"):
        key = element.findtext("{*}Key", "")
        key = unquote_plus(key) if encoded else key
        entries.append(Entry(key[above:], int(element.findtext("{*}Size", "0"))))
    more = root.findtext("{*}IsTruncated") == "true"
    rest = root.findtext("{*}NextContinuationToken", "") if more else ""
    return Page(tuple(entries), rest)
