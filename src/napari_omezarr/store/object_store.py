"""A place that can be changed: objects put, read, deleted and listed, with retry."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from botocore.awsrequest import AWSRequest

from napari_omezarr.errors import StoreError

from .backend import ObjectMeta, about_listing, not_listed
from .error_mapping import ErrorContext, Refused, translate
from .retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping


import hashlib
import logging
import re
from contextlib import suppress
from dataclasses import field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

from botocore.auth import S3SigV4Auth

from . import http
from .backend import (
    FIRST_BYTE,
    PAGE,
    REMOTE_CONCURRENCY,
    DeepPage,
    GetResult,
    ListPage,
    PutMode,
    RequestStats,
    StoredObject,
    range_header,
)
from .error_mapping import (
    BrokenBy,
    Interrupted,
    Refusal,
    refusal_of,
)
from .http import headers_for, response_of
from .retry import Broken, RetryingReader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from botocore.credentials import ReadOnlyCredentials
    from zarr.abc.store import ByteRequest

    from .backend import Attempts
    from .http import Request, Response
    from .retry import RetryPolicy
    from .sign_in import BucketSession

    T = TypeVar("T")

# A prefix of a bucket, of which nothing is found out before the first request.


class BucketPlace:
    """The objects below a prefix of a bucket, to be read or written.

    Parameters
    ----------
    bucket : callable
        Gives what is known of the bucket; called with the first request, on the I/O
        loop, as it may read AWS's configuration files.
    prefix : str
        The key below which the keys are; ``""`` for the whole bucket.
    access : web.Access
        What to trust and how long to wait.
    """

    concurrency = REMOTE_CONCURRENCY

    def __init__(
        self, bucket: Callable[[], BucketSession], prefix: str, access: http.Access
    ) -> None:
        self.stats = RequestStats()
        self._find_bucket = bucket
        self._bucket: BucketSession | None = None
        self._prefix = prefix
        self._access = replace(access, redirects=False)

    def path(self, key: str) -> str:
        """Give the whole key of an object."""
        return f"{self._prefix}/{key}".strip("/")

    def _opened(self) -> BucketSession:
        if self._bucket is None:
            self._bucket = self._find_bucket()
            ca_file = self._access.ca_file or self._bucket.ca_file
            proxy = http.proxy_for(self._bucket.address.host)
            self._access = replace(self._access, ca_file=ca_file, proxy=proxy)
        return self._bucket


# Signatures for S3, made by botocore's own signer.

# At DEBUG the signer writes what it signs, session tokens included.
logging.getLogger("botocore.auth").setLevel(logging.INFO)


def signed(
    url: str, headers: Mapping[str, str], credentials: ReadOnlyCredentials, region: str
) -> dict[str, str]:
    """Sign a GET.

    Parameters
    ----------
    url : str
        Encoded as it will be sent.
    headers : Mapping
        Headers of the request; they are signed too.
    credentials : ReadOnlyCredentials
        Who signs.
    region : str
        The region that the signature is for.

    Returns
    -------
    dict
        All headers to send, the signature among them.
    """
    request = AWSRequest("GET", url, headers=dict(headers))
    S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return dict(request.headers.items())


def signed_message(
    message: Request, digest: str, credentials: ReadOnlyCredentials, region: str
) -> Request:
    """Sign a request together with its body, so that the service checks what came.

    Parameters
    ----------
    message : Message
        The request; all its headers are signed too.
    digest : str
        The SHA-256 of its body in hexadecimal digits.
    credentials, region
        As for `signed`.

    Returns
    -------
    Message
        The same with the signature among its headers.
    """
    headers = dict(message.headers)
    request = AWSRequest(message.method, message.url, headers=headers)
    _BodySigner(credentials, region, digest).add_auth(request)
    return replace(message, headers=dict(request.headers.items()))


class _BodySigner(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs a body whose hash is known: made in a thread, and once for all tries."""

    def __init__(
        self, credentials: ReadOnlyCredentials, region: str, digest: str
    ) -> None:
        super().__init__(credentials, "s3", region)
        self._digest = digest

    def payload(self, request: AWSRequest) -> str:
        """Give the hash of the body."""
        return self._digest


# Objects of a bucket: one GET each, signed if somebody signs; no HEAD, no LIST.
#
# The requests go through our own session, signed by botocore. aiobotocore's client,
# on which s3fs builds, needs two to three times the processor time for each request,
# and asks for the size of an object before it asks for the object.

_READ_CORRECTIONS = 2  # the region, and how the bucket is named


@dataclass(frozen=True, slots=True)
class _ObjectRequest:
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
        self, key: str, wanted: ByteRequest | None, etag: str = ""
    ) -> Response:
        """Read as `read` does, unless the object is of the version that is named."""
        return await self._signed(
            _ObjectRequest(self.path(key), headers_for(wanted, etag))
        )

    async def listing(self, query: str) -> bytes:
        """Ask the bucket itself, with a query: a page of what it holds.

        Parameters
        ----------
        query : str
            Encoded as it will be sent.
        """
        reply = await self._signed(_ObjectRequest("", {}, query))
        return reply.body or b""

    async def version(self, key: str) -> str:
        """Ask for the first byte, and take the version that the answer names."""
        return (await self.reply(key, FIRST_BYTE)).etag

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

    def place(self, url: str) -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        return self._opened().place(url)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened in this bucket."""
        return self._bucket.notes.sentences if self._bucket else ()

    async def _signed(self, wish: _ObjectRequest) -> Response:
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

    async def _unsigned(
        self, wish: _ObjectRequest, problem: Refusal | StoreError
    ) -> Response:
        try:
            reply = await self._get(wish, None)
        except Refused as refused:
            refusal = refused.refusal
        else:
            self._opened().go_anonymous(problem)
            return reply
        self._opened().sign_in_failed(problem)
        raise Refused(refusal, before=problem)

    async def _get(
        self, wish: _ObjectRequest, credentials: ReadOnlyCredentials | None
    ) -> Response:
        """Ask for an object, elsewhere if the answer says where."""
        bucket = self._opened()
        for attempt in range(1 + _READ_CORRECTIONS):
            address = bucket.address
            url = address.url(wish.path) + (f"?{wish.query}" if wish.query else "")
            sent = wish.headers
            if credentials is not None:
                headers = {**wish.headers, **bucket.headers}
                sent = signed(url, headers, credentials, address.region)
            answer = await http.get(url, sent, self._access, self.stats)
            try:
                return response_of(answer, wish.headers)
            except Refused as refused:
                refusal = replace(refused.refusal, signed=credentials is not None)
            moved = bucket.address != address or bucket.learn(refusal)
            if attempt == _READ_CORRECTIONS or not moved:
                break
        raise Refused(refusal)


# What is asked of a bucket, before somebody signs it.


@dataclass(frozen=True, slots=True)
class UnsignedRequest:
    """What is asked of a bucket: of a key, or of itself (``""``)."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview | None = None


def query_of(wishes: Mapping[str, str]) -> str:
    """Write a query as it is signed: sorted, and encoded like everything else."""
    pairs = sorted((name, quote(text, safe="-_.~")) for name, text in wishes.items())
    return "&".join(f"{name}={text}" for name, text in pairs)


# Long objects in parts: several on their way at a time, each tried again alone.

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
        Is given each request, to try it again after a passing failure.

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
            await outlet.done(UnsignedRequest("DELETE", path, query))
        raise


async def _begin(outlet: S3Outlet, path: str) -> str:
    headers = {"Content-Type": "application/octet-stream"}
    answer = await outlet.done(UnsignedRequest("POST", path, "uploads=", headers, b""))
    found = _UPLOAD.search(answer.body)
    if found is None:
        raise Interrupted(BrokenBy.WEB_PAGE)
    return found[1].decode()


async def _send(
    outlet: S3Outlet, path: str, upload: str, number: int, part: memoryview
) -> str:
    query = query_of({"partNumber": str(number), "uploadId": upload})
    headers = {"Content-Type": "application/octet-stream"}
    answer = await outlet.done(UnsignedRequest("PUT", path, query, headers, part))
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
    answer = await outlet.done(UnsignedRequest("POST", path, query, headers, body))
    # "200 OK" is sent at once, and what went wrong afterwards stands in the body.
    if b"<Error>" in answer.body:
        raise Refused(refusal_of(500, answer.headers, answer.body))


# Long objects copied within a bucket, in parts: one request copies 5 GB at most.

LONGEST = 1 << 30
"""From so many bytes on an object is copied in parts; a service may take a while."""
COPY_PART = 256 << 20
_TAG = re.compile(rb"<ETag>([^<]+)</ETag>")


async def copy_in_parts(
    outlet: S3Outlet,
    key: str,
    to: str,
    size: int,
    attempts: Attempts,
    part: int = COPY_PART,
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
        Is given each request, to try it again after a passing failure.
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


def copied(answer: http.RawResponse) -> bytes:
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
        raise Interrupted(BrokenBy.WEB_PAGE)
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
    answer = await outlet.done(UnsignedRequest("PUT", path, query, headers, b""))
    return copied(answer).decode().replace("&quot;", '"').replace("&#34;", '"')


# Objects of a bucket, put, deleted and listed: signed with their bodies.

_WRITE_CORRECTIONS = 3  # the region, how the bucket is named, who signs
_LONG = 1 << 21
"""From so many bytes on, hashing takes longer than going to a thread and back."""
_BINARY: Mapping[str, str] = {"Content-Type": "application/octet-stream"}
_JSON: Mapping[str, str] = {"Content-Type": "application/json"}


class S3Outlet(BucketPlace):
    """Writes the objects below a prefix of a bucket.

    The bucket must not go on without a sign-in by itself: who may read is not who
    may write.
    """

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read an object, or a part of it, by one GET."""
        headers = {} if wanted is None else {"Range": range_header(wanted)}
        answer = await self.send(
            UnsignedRequest("GET", self.path(key), headers=headers)
        )
        reply = response_of(answer, headers)
        body = reply.part(wanted)
        return None if body is None else GetResult(body, answer.headers.get("ETag", ""))

    async def write(
        self, key: str, body: bytes, condition: PutMode | None = None
    ) -> None:
        """Write an object by one PUT."""
        name = key.rpartition("/")[2]
        kind = _JSON if name.endswith("json") or name.startswith(".z") else _BINARY
        headers = {**kind, **(condition.headers if condition else {})}
        await self.done(
            UnsignedRequest("PUT", self.path(key), headers=headers, body=body)
        )

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
            UnsignedRequest("PUT", self.path(to), headers=self.source(key), body=b"")
        )
        copied(answer)

    def source(self, key: str) -> Mapping[str, str]:
        """Say in a header which object is to be copied."""
        name = f"/{self._opened().address.bucket}/{self.path(key)}"
        return {"x-amz-copy-source": quote(name, safe="/-_.~")}

    async def delete(self, key: str) -> None:
        """Delete an object by one DELETE."""
        answer = await self.send(UnsignedRequest("DELETE", self.path(key)))
        if answer.status != 404:
            _accept(answer)
        elif (refusal := refusal_of(404, answer.headers, answer.body)).code == (
            "NoSuchBucket"
        ):
            raise Refused(refusal)

    async def page(self, prefix: str, token: str = "", size: int = 1000) -> DeepPage:
        """Ask for a page of ListObjectsV2."""
        below = f"{self.path(prefix)}/".lstrip("/")
        wishes = {
            "continuation-token": token,
            "encoding-type": "url",
            "list-type": "2",
            "max-keys": str(size),
            "prefix": below,
        }
        query = query_of({name: text for name, text in wishes.items() if text})
        answer = await self.done(UnsignedRequest("GET", "", query))
        above = len(f"{self._prefix}/".lstrip("/"))
        return _page(answer.body, above)

    async def done(self, order: UnsignedRequest) -> http.RawResponse:
        """Send an order that must succeed.

        Raises
        ------
        Refused
            It was refused.
        """
        return _accept(await self.send(order))

    async def send(self, order: UnsignedRequest) -> http.RawResponse:
        """Send an order, elsewhere if the answer says where, as whoever signs now."""
        bucket = self._opened()
        credentials = await bucket.credentials()
        digest = await _digest(order.body)
        for attempt in range(1 + _WRITE_CORRECTIONS):
            address = bucket.address
            url = address.url(order.path) + (f"?{order.query}" if order.query else "")
            headers = {**order.headers, **bucket.headers}
            message = http.Request(order.method, url, headers, order.body)
            if credentials is not None:
                message = signed_message(message, digest, credentials, address.region)
            answer = await http.send(message, self._access, self.stats)
            if answer.status < 300 or answer.status == 404:
                break
            refusal = refusal_of(answer.status, answer.headers, answer.body)
            before = credentials
            if refusal.expired:
                # She may have signed in anew while this goes on.
                bucket.sign_in_failed(refusal)
                credentials = await bucket.credentials()
            moved = bucket.address != address or bucket.learn(refusal)
            if attempt == _WRITE_CORRECTIONS or not (moved or credentials != before):
                raise Refused(replace(refusal, signed=before is not None))
        return answer

    def place(self, url: str, doing: str) -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        return replace(self._opened().place(url), doing=doing)


async def _digest(body: bytes | memoryview | None) -> str:
    if body is None or len(body) < _LONG:
        return hashlib.sha256(body or b"").hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()


def _accept(answer: http.RawResponse) -> http.RawResponse:
    if answer.status >= 300:
        raise Refused(refusal_of(answer.status, answer.headers, answer.body))
    return answer


def _page(body: bytes, above: int) -> DeepPage:
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise Interrupted(BrokenBy.WEB_PAGE) from None
    if not root.tag.endswith("ListBucketResult"):
        raise Interrupted(BrokenBy.WEB_PAGE)
    encoded = root.findtext("{*}EncodingType") == "url"
    entries = []
    for element in root.iterfind("{*}Contents"):
        key = element.findtext("{*}Key", "")
        key = unquote_plus(key) if encoded else key
        entries.append(StoredObject(key[above:], int(element.findtext("{*}Size", "0"))))
    more = root.findtext("{*}IsTruncated") == "true"
    token = root.findtext("{*}NextContinuationToken", "") if more else ""
    return DeepPage(tuple(entries), token)


# Pages of ListObjectsV2, and the list of buckets.

_AT_A_TIME = 4


class BucketLister:
    """What lies below a prefix of a bucket: one request for each page.

    Parameters
    ----------
    transport : S3Transport
        The bucket.
    prefix : str
        The key of the place, without ``/`` at its end.
    url : str
        The address of the place for people.
    retry : RetryPolicy
        How long to wait, and how often to ask.
    """

    def __init__(
        self, transport: S3Transport, prefix: str, url: str, retry: RetryPolicy
    ) -> None:
        self.stats: RequestStats = transport.stats
        self._questions = _Questions(transport)
        self._asking = RetryingReader(self._questions, retry, _AT_A_TIME)
        self._above = f"{prefix}/" if prefix else ""
        self._url = url

    async def batch(
        self, prefix: str = "", token: str = "", size: int = PAGE
    ) -> ListPage:
        """Give a page; `token` is the server's own continuation token.

        Raises
        ------
        ListingDeniedError
            The bucket is not listed for this sign-in, or it is none.
        StoreError
            There was no answer.
        """
        wishes = {
            "continuation-token": token,
            "delimiter": "/",
            "encoding-type": "url",
            "list-type": "2",
            "max-keys": str(min(size, PAGE)),
            "prefix": self._above + prefix,
        }
        root = await self._answer(_query(wishes), "ListBucketResult")
        return _batch(root, len(self._above))

    async def tree(self, token: str = "") -> ListPage:
        """Give a page of all objects below, at any depth: names are whole paths.

        Raises
        ------
        StoreError
            The bucket was not listed.
        """
        wishes = {
            "continuation-token": token,
            "encoding-type": "url",
            "list-type": "2",
            "prefix": self._above,
        }
        root = await self._answer(_query(wishes), "ListBucketResult")
        return _batch(root, len(self._above), deep=True)

    async def buckets(self) -> tuple[ObjectMeta, ...]:
        """List the buckets of the service, which few sign-ins may.

        Raises
        ------
        ListingDeniedError
            This sign-in may not.
        StoreError
            There was no answer.
        """
        root = await self._answer("", "ListAllMyBucketsResult")
        found = (element for element in root.iter() if _tag(element) == "Bucket")
        return tuple(
            ObjectMeta(said["Name"], True, modified=said.get("CreationDate", ""))
            for said in map(_said, found)
            if said.get("Name")
        )

    async def _answer(self, query: str, expected: str) -> ElementTree.Element:
        answer = await self._asking.ask(query, None)
        if isinstance(answer, Broken):
            raise self._error(answer)
        try:
            root = ElementTree.fromstring(answer or b"")
        except ElementTree.ParseError:
            raise not_listed(self._url) from None
        if _tag(root) != expected:
            raise not_listed(self._url)
        return root

    def _error(self, answer: Broken) -> StoreError:
        place = self._questions.place(self._url)
        problem = answer.problem
        if isinstance(problem, Refused):
            verdict = self._questions.verdict(problem)
            error = translate(verdict, place)
            # Who is not known at all may sign in: that is not about the listing.
            known = isinstance(verdict, Refusal) and verdict.status != 401
            return about_listing(error, self._url) if known else error
        return translate(problem, place)


class _Questions:
    """A bucket whose keys are the queries of listings."""

    concurrency = _AT_A_TIME

    def __init__(self, transport: S3Transport) -> None:
        self.stats: RequestStats = transport.stats
        self._transport = transport

    async def read(self, key: str, _wanted: ByteRequest | None) -> bytes | None:
        return await self._transport.listing(key)

    def verdict(self, refused: Refused) -> Refusal | StoreError:
        return self._transport.verdict(refused)

    def place(self, url: str) -> ErrorContext:
        return self._transport.place(url)

    @property
    def notes(self) -> tuple[str, ...]:
        return self._transport.notes


def _query(wishes: dict[str, str]) -> str:
    # Sorted and encoded as it is signed.
    pairs = ((name, quote(text, safe="-_.~")) for name, text in wishes.items() if text)
    return "&".join(f"{name}={text}" for name, text in pairs)


def _batch(root: ElementTree.Element, above: int, *, deep: bool = False) -> ListPage:
    said = _said(root)
    encoded = said.get("EncodingType") == "url"
    items = []
    for element in root:
        item = _item(element, above, encoded=encoded)
        if item is not None and _is_path(item.name, deep=deep):
            items.append(item)
    more = said.get("IsTruncated") == "true"
    items.sort(key=lambda item: item.name)
    return ListPage(tuple(items), said.get("NextContinuationToken", "") if more else "")


def _item(
    element: ElementTree.Element, above: int, *, encoded: bool
) -> ObjectMeta | None:
    """Read a common prefix or an object; None for every other element."""
    kind = _tag(element)
    if kind not in ("CommonPrefixes", "Contents"):
        return None
    said = _said(element)
    key = said.get("Prefix" if kind == "CommonPrefixes" else "Key", "")
    name = (unquote_plus(key) if encoded else key)[above:]
    name = name.removesuffix("/") if kind == "CommonPrefixes" else name
    if kind == "CommonPrefixes":
        return ObjectMeta(name, True)
    size = said.get("Size", "")
    number = int(size) if size.isdecimal() else None
    return ObjectMeta(name, False, number, said.get("LastModified", ""))


def _is_path(name: str, *, deep: bool) -> bool:
    """Say whether a name leads down: keys may hold empty parts and dots."""
    parts = name.split("/")
    return (deep or len(parts) == 1) and not {"", ".", ".."} & set(parts)


def _said(element: ElementTree.Element) -> dict[str, str]:
    return {_tag(child): child.text or "" for child in element}


def _tag(element: ElementTree.Element) -> str:
    """Give the name without the namespace, which not every server sends."""
    return element.tag.rpartition("}")[2]
