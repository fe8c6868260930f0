"""Objects of a bucket: one GET each, signed if somebody signs; no HEAD, no LIST.

The requests go through our own session, signed by botocore. aiobotocore's client,
on which s3fs builds, needs two to three times the processor time for each request,
and asks for the size of an object before it asks for the object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from napari_omezarr.errors import StoreError

from . import web
from .bucket_place import BucketPlace
from .byterange import FIRST_BYTE
from .refusal import Refused
from .reply import headers_for, reply_of
from .signing import signed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.credentials import ReadOnlyCredentials
    from zarr.abc.store import ByteRequest

    from .refusal import Refusal
    from .reply import Reply
    from .translation import Place

_CORRECTIONS = 2  # the region, and how the bucket is named


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is asked of a bucket: a key or ``""`` for itself, and how."""

    path: str
    headers: Mapping[str, str]
    query: str = ""


class S3Transport(BucketPlace):
    """Reads the keys below a prefix of a bucket."""

    async def read(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        """Read an object by one GET, or two if signing in turns out to be no good."""
        return (await self.reply(key, wanted)).part(wanted)

    async def reply(
        self, key: str, wanted: ByteRequest | None, validator: str = ""
    ) -> Reply:
        """Read as `read` does, unless the object is of the version that is named."""
        return await self._signed(_Wish(self.path(key), headers_for(wanted, validator)))

    async def listing(self, query: str) -> bytes:
        """Ask the bucket itself, with a query: a page of what it holds.

        Parameters
        ----------
        query : str
            Encoded as it will be sent.
        """
        reply = await self._signed(_Wish("", {}, query))
        return reply.body or b""

    async def version(self, key: str) -> str:
        """Ask for the first byte, and take the version that the answer names."""
        return (await self.reply(key, FIRST_BYTE)).validator

    def identity(self, key: str) -> str:
        """Return an address of the object, whatever is learnt of its bucket's."""
        address = self._opened().address
        path = quote(self.path(key))
        return f"{address.endpoint or 's3:/'}/{address.bucket}/{path}"

    def verdict(self, refused: Refused) -> Refusal | StoreError:
        """Return the answer that counts: the anonymous one only if those are read."""
        if refused.before is None or self._opened().anonymous:
            return refused.refusal
        return refused.before

    def place(self, url: str) -> Place:
        """Describe this place for the words of an error about `url`."""
        return self._opened().place(url)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened in this bucket."""
        return self._bucket.notes.sentences if self._bucket else ()

    async def _signed(self, wish: _Wish) -> Reply:
        """Ask as whoever signs here, or as nobody if that turns out to be no good."""
        bucket = self._opened()
        credentials = await bucket.credentials()
        if isinstance(credentials, StoreError):
            return await self._unsigned(wish, credentials)
        try:
            reply = await self._get(wish, credentials)
        except Refused as refused:
            if credentials is None or not bucket.may_go_anonymous(refused.refusal):
                raise
            problem = refused.refusal
        else:
            bucket.was_read(signed=credentials is not None)
            return reply
        return await self._unsigned(wish, problem)

    async def _unsigned(self, wish: _Wish, problem: Refusal | StoreError) -> Reply:
        try:
            reply = await self._get(wish, None)
        except Refused as refused:
            refusal = refused.refusal
        else:
            self._opened().go_anonymous(problem)
            return reply
        self._opened().sign_in_failed(problem)
        raise Refused(refusal, before=problem)

    async def _get(self, wish: _Wish, credentials: ReadOnlyCredentials | None) -> Reply:
        """Ask for an object, elsewhere if the answer says where."""
        bucket = self._opened()
        for attempt in range(1 + _CORRECTIONS):
            address = bucket.address
            url = address.url(wish.path) + (f"?{wish.query}" if wish.query else "")
            sent = wish.headers
            if credentials is not None:
                headers = {**wish.headers, **bucket.headers}
                sent = signed(url, headers, credentials, address.region)
            answer = await web.get(url, sent, self._access, self.tally)
            try:
                return reply_of(answer, wish.headers)
            except Refused as refused:
                refusal = replace(refused.refusal, signed=credentials is not None)
            moved = bucket.address != address or bucket.learn(refusal)
            if attempt == _CORRECTIONS or not moved:
                break
        raise Refused(refusal)
