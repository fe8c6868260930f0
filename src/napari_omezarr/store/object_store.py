"""Objects of a bucket: one request each, signed if somebody signs; no HEAD.

The requests go through our own session, which sees every answer whole; why not through
obstore or aiobotocore's client: docs/decisions/017.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

from napari_omezarr.errors import StoreError
from napari_omezarr.location import encode

from . import http
from .backend import (
    FAILURES,
    FIRST_BYTE,
    LONG,
    PAGE,
    PIECE,
    PIECES_AT_A_TIME,
    REMOTE_CONCURRENCY,
    GetResult,
    ListPage,
    ObjectBackend,
    ObjectMeta,
    PagedLister,
    PutMode,
    RequestStats,
    WritableBackend,
    all_of,
    looks_like_html,
    not_listed,
    pieces_of,
    range_header,
    whole_key,
)
from .error_mapping import Reason, RequestFailed, failure_of
from .http import content_type, headers_for, response_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from botocore.credentials import ReadOnlyCredentials
    from zarr.abc.store import ByteRequest

    from .addressing import BucketAddress
    from .backend import Attempts, Piece, RetryPolicy
    from .error_mapping import ErrorContext
    from .http import Request, Response
    from .sign_in import BucketSession

# A prefix of a bucket, and what is asked of it.


@dataclass(frozen=True, slots=True)
class S3Request:
    """What is asked of a bucket: of a key, or of itself (``""``); not yet signed."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview | None = None


def query_of(wishes: Mapping[str, str]) -> str:
    """Write a query as it is signed: sorted, encoded, and without what is empty."""
    pairs = ((name, quote(text, safe="-_.~")) for name, text in sorted(wishes.items()))
    return "&".join(f"{name}={text}" for name, text in pairs if text)


class S3Backend(ObjectBackend):
    """The objects below a prefix of a bucket, to be read or written.

    Nothing is found out about the bucket before the first request: ``bucket`` is called
    with it, on the I/O loop, as it may read AWS's configuration files.
    """

    def __init__(
        self, bucket: Callable[[], BucketSession], prefix: str, access: http.Access
    ) -> None:
        self.concurrency = REMOTE_CONCURRENCY
        self.stats = RequestStats()
        self._find_bucket = bucket
        self._bucket: BucketSession | None = None
        self._prefix = prefix
        self._access = replace(access, redirects=False)

    def path(self, key: str) -> str:
        """Give the whole key of an object."""
        return whole_key(self._prefix, key)

    @property
    def above(self) -> str:
        """With what all keys here begin."""
        return f"{self._prefix}/" if self._prefix else ""

    def page_query(
        self, prefix: str, token: str = "", size: int = PAGE, delimiter: str = ""
    ) -> str:
        """Ask for a page of ListObjectsV2; `token` is the server's own."""
        wishes = {
            "continuation-token": token,
            "delimiter": delimiter,
            "encoding-type": "url",
            "list-type": "2",
            "max-keys": str(min(size, PAGE)),
            "prefix": self.above + prefix,
        }
        return query_of(wishes)

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        return replace(self._opened().context(url), doing=doing)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened in this bucket."""
        return self._bucket.notes.sentences if self._bucket else ()

    def _opened(self) -> BucketSession:
        if self._bucket is None:
            self._bucket = self._find_bucket()
            ca_file = self._access.ca_file or self._bucket.ca_file
            proxy = http.proxy_for(self._bucket.address.host)
            self._access = replace(self._access, ca_file=ca_file, proxy=proxy)
        return self._bucket


# Signatures for S3, version 4: what botocore's signer makes in a tenth of its time,
# which is half of all the time that a small object takes. A test compares them.

_EMPTY = hashlib.sha256(b"").hexdigest()


def signed(
    request: Request,
    credentials: ReadOnlyCredentials,
    address: BucketAddress,
    digest: str = _EMPTY,
    ahead: float = 0,
) -> Request:
    """Sign a request with all its headers, and with its body's hash.

    Its query must be sorted, as `query_of` writes it. `digest` is the SHA-256 of the
    body in hexadecimal digits: the service checks what came. Its clock is so many
    seconds `ahead` of ours.
    """
    scheme, _, rest = request.url.partition("://")
    host, _, target = rest.partition("/")
    path, _, query = target.partition("?")
    host = host.rpartition("@")[2].removesuffix(_DEFAULT_PORTS.get(scheme, ""))
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + ahead))
    headers = {
        **request.headers,
        "x-amz-content-sha256": digest,
        "x-amz-date": now,
    }
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    lower = {name.lower(): " ".join(text.split()) for name, text in headers.items()}
    lower["host"] = host.lower()
    said = sorted(lower.items())
    names = ";".join([name for name, _ in said])
    lines = "".join([f"{name}:{text}\n" for name, text in said])
    asked = f"{request.method}\n/{path}\n{query}\n{lines}\n{names}\n{digest}"
    region, service = address.region, address.signed_as
    scope = f"{now[:8]}/{region}/{service}/aws4_request"
    hashed = hashlib.sha256(asked.encode()).hexdigest()
    key = _signing_key(credentials.secret_key, now[:8], region, service)
    signature = _hmac(key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashed}").hex()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return http.Request(request.method, request.url, headers, request.body)


_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@lru_cache(maxsize=64)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


# Reading: as whoever signs, or as nobody if that turns out to be no good.

_CORRECTIONS = 4  # the region, how the bucket is named, who signs, what time it is


class S3Reader(S3Backend):
    """Reads the keys below a prefix of a bucket."""

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read an object by one GET, or two if signing in turns out to be no good."""
        return (await self.respond(key, wanted)).result(wanted)

    async def respond(
        self, key: str, wanted: ByteRequest | None, etag: str = ""
    ) -> Response:
        """Read as `read` does, unless the object is of the version that is named."""
        headers = headers_for(wanted, etag)
        return await self._signed(S3Request("GET", self.path(key), headers=headers))

    async def listing(self, query: str) -> bytes:
        """Ask the bucket itself, with a query as it will be sent: what it holds."""
        body = bytes((await self._signed(S3Request("GET", "", query))).body or b"")
        if looks_like_html("", body):
            raise RequestFailed(reason=Reason.WEB_PAGE)
        return body

    async def listed(
        self, prefix: str, token: str = "", size: int = PAGE, delimiter: str = ""
    ) -> ListPage | None:
        """Give a page of the objects whose keys begin so; None: it is no list."""
        body = await self.listing(self.page_query(prefix, token, size, delimiter))
        try:
            return list_page(body, len(self.above))
        except RequestFailed:
            return None

    async def sign_in(self) -> bool:
        """Sign from now on where nobody did, if somebody can; say whether it is so."""
        bucket = self._opened()
        if bucket.wary:
            with suppress(RequestFailed):
                await bucket.sign_in(RequestFailed(401))
                return True
        return False

    async def version(self, key: str) -> str:
        """Ask for the first byte, and take the version that the answer names."""
        return (await self.respond(key, FIRST_BYTE)).etag

    def identity(self, key: str) -> str:
        """Give an address of the object, whatever is learnt of its bucket's."""
        address = self._opened().address
        path = encode(self.path(key))
        return f"{address.endpoint or 's3:/'}/{address.name}/{path}"

    def verdict(self, failure: RequestFailed) -> RequestFailed | StoreError:
        """Give the failure that counts: the anonymous one only if those are read."""
        if failure.signed_failure is None or self._opened().anonymous:
            return failure
        return failure.signed_failure

    async def _signed(self, request: S3Request) -> Response:
        bucket = self._opened()
        if bucket.wary:
            try:
                response = await self._get(request, None)
            except RequestFailed as failure:
                refusal = failure
            else:
                bucket.was_open(self._prefix)
                return response
            if bucket.is_open(self._prefix):
                raise refusal  # of a missing key: who may not list is told so
            await bucket.sign_in(refusal)
        credentials = await bucket.credentials()
        if isinstance(credentials, StoreError):
            return await self._unsigned(request, credentials)
        try:
            response = await self._get(request, credentials)
        except RequestFailed as failure:
            if credentials is None or not bucket.may_go_anonymous(failure):
                raise
            problem = failure
        else:
            bucket.was_read(signed=credentials is not None)
            return response
        return await self._unsigned(request, problem)

    async def _unsigned(
        self, request: S3Request, problem: RequestFailed | StoreError
    ) -> Response:
        try:
            response = await self._get(request, None)
        except RequestFailed as failure:
            if failure.reason is not Reason.REFUSED:
                raise
            refused = replace(failure, signed_failure=problem)
        else:
            self._opened().go_anonymous(problem)
            return response
        self._opened().sign_in_failed(problem)
        raise refused

    async def _get(
        self, wish: S3Request, credentials: ReadOnlyCredentials | None
    ) -> Response:
        """Ask for an object, elsewhere if the answer says where, with keys of now."""
        bucket = self._opened()
        for attempt in range(1 + _CORRECTIONS):
            address, before, ahead = bucket.address, credentials, bucket.ahead
            url = address.url(wish.path) + (f"?{wish.query}" if wish.query else "")
            request = http.Request("GET", url, wish.headers)
            if credentials is not None:
                asked = http.Request("GET", url, {**wish.headers, **bucket.headers})
                request = signed(asked, credentials, address, ahead=ahead)
            raw = await http.send(request, self._access, self.stats)
            try:
                return response_of(raw, wish.headers)
            except RequestFailed as failure:
                if failure.reason is not Reason.REFUSED:
                    raise
                refused = replace(failure, signed=credentials is not None)
            if refused.expired and credentials is not None:
                credentials = await bucket.renewed(credentials)
            known = bucket.address != address or bucket.ahead != ahead
            moved = known or bucket.learn(refused) or bucket.learn_time(refused)
            if attempt == _CORRECTIONS or not (moved or credentials != before):
                break
        raise refused


# Long objects in parts: several on their way at a time, each tried again alone.

Part = TypeVar("Part")

_UPLOAD = re.compile(rb"<UploadId>([^<]+)</UploadId>")
_COMPLETED = re.compile(rb"<(CompleteMultipartUploadResult)[\s>]")


async def put_in_parts(
    writer: S3Writer, key: str, body: bytes, attempts: Attempts
) -> None:
    """Write a long object, whole or not at all."""
    whole = memoryview(body)
    parts = [whole[start : start + PIECE] for start in range(0, len(whole), PIECE)]
    path = writer.path(key)

    async def send(upload: str, number: int, part: memoryview) -> str:
        return await attempts(partial(_send, writer, path, upload, number, part))

    await assemble(writer, path, send, parts, attempts)


async def send_pieces(
    writer: S3Writer, key: str, size: int, piece: Piece, attempts: Attempts
) -> None:
    """Write a long object of pieces, each of which is had when it is its turn."""
    path = writer.path(key)
    few = asyncio.Semaphore(PIECES_AT_A_TIME)

    async def send(upload: str, number: int, span: tuple[int, int]) -> str:
        async with few:
            part = memoryview(await piece(*span))
            return await attempts(partial(_send, writer, path, upload, number, part))

    await assemble(writer, path, send, pieces_of(size), attempts)


async def assemble(
    writer: S3Writer,
    path: str,
    send: Callable[[str, int, Part], Coroutine[Any, Any, str]],
    parts: Sequence[Part],
    attempts: Attempts,
) -> None:
    """Make an object of parts, of which each is sent, and tried again, alone.

    `send` is given the upload's name, a part's number and the part; it gives its ETag.
    """
    upload = await attempts(partial(_begin, writer, path))
    try:
        etags = await all_of(send(upload, *part) for part in enumerate(parts, 1))
        await attempts(partial(_finish, writer, path, upload, etags))
    except BaseException:
        # What was sent is given up, so that it does not lie there unseen and paid for.
        with suppress(*FAILURES):
            query = query_of({"uploadId": upload})
            await writer.done(S3Request("DELETE", path, query))
        raise


async def _begin(writer: S3Writer, path: str) -> str:
    headers = {"Content-Type": "application/octet-stream"}
    answer = await writer.done(S3Request("POST", path, "uploads=", headers, b""))
    found = _UPLOAD.search(answer.body)
    if found is None:
        raise RequestFailed(reason=Reason.WEB_PAGE)
    return found[1].decode(errors="replace")


async def _send(
    writer: S3Writer, path: str, upload: str, number: int, part: memoryview
) -> str:
    query = query_of({"partNumber": str(number), "uploadId": upload})
    headers = {"Content-Type": "application/octet-stream"}
    answer = await writer.done(S3Request("PUT", path, query, headers, part))
    return answer.headers.get("ETag", "")


async def _finish(
    writer: S3Writer, path: str, upload: str, etags: Sequence[str]
) -> None:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    headers = {"Content-Type": "application/xml"}
    query = query_of({"uploadId": upload})
    answer = await writer.done(S3Request("POST", path, query, headers, body))
    made_of(answer, _COMPLETED)


# Long objects copied within a bucket, in parts: one request copies 5 GB at most.

LONGEST = 1 << 30
"""From so many bytes on an object is copied in parts; a service may take a while."""
COPY_PART = 256 << 20
_ETAG = re.compile(rb"<ETag>([^<]+)</ETag>")


async def copy_in_parts(
    writer: S3Writer,
    key: str,
    to: str,
    size: int,
    attempts: Attempts,
    part: int = COPY_PART,
) -> None:
    """Copy a long object over another, whole or not at all; S3 wants 5 MiB a part."""
    ranges = [(start, min(start + part, size)) for start in range(0, size, part)]
    path = writer.path(to)

    async def send(upload: str, number: int, span: tuple[int, int]) -> str:
        attempt = partial(_copy_part, writer, key, path, upload, number, span)
        return await attempts(attempt)

    await assemble(writer, path, send, ranges, attempts)


def copied(answer: http.RawResponse) -> bytes:
    """Give the ETag of what was copied."""
    return made_of(answer, _ETAG)


def made_of(answer: http.RawResponse, pattern: re.Pattern[bytes]) -> bytes:
    """Give from a document that something was made what it says of that."""
    # "200 OK" is sent at once, and what went wrong afterwards stands in the body.
    failure = failure_of(500, answer.headers, answer.body)
    if failure.code:
        raise failure
    found = pattern.search(answer.body)
    if found is None:
        raise RequestFailed(reason=Reason.WEB_PAGE)
    return found[1]


async def _copy_part(
    writer: S3Writer,
    key: str,
    path: str,
    upload: str,
    number: int,
    span: tuple[int, int],
) -> str:
    query = query_of({"partNumber": str(number), "uploadId": upload})
    first, end = span
    headers = {
        **writer.source(key),
        "x-amz-copy-source-range": f"bytes={first}-{end - 1}",
    }
    answer = await writer.done(S3Request("PUT", path, query, headers, b""))
    return copied(answer).decode().replace("&quot;", '"').replace("&#34;", '"')


# Objects of a bucket, put, deleted and listed: signed with their bodies.


class S3Writer(S3Backend, WritableBackend):
    """Writes the objects below a prefix of a bucket.

    The bucket must not go on without a sign-in by itself: who may read is not who
    may write.
    """

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read an object, or a part of it, by one GET."""
        headers = {} if wanted is None else {"Range": range_header(wanted)}
        answer = await self.send(S3Request("GET", self.path(key), headers=headers))
        found = response_of(answer, headers).result(wanted)
        # A date, which `Response` takes where there is no ETag, is no condition.
        return found and replace(found, etag=answer.headers.get("ETag", ""))

    async def write(
        self, key: str, body: bytes, condition: PutMode | None = None
    ) -> None:
        """Write an object by one PUT."""
        conditions = condition.headers if condition else {}
        headers = {"Content-Type": content_type(key), **conditions}
        await self.done(S3Request("PUT", self.path(key), headers=headers, body=body))

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write an object; a long one in parts."""
        if len(body) >= LONG:
            await put_in_parts(self, key, body, attempts)
        else:
            await attempts(partial(self.write, key, body))

    async def put_pieces(
        self, key: str, size: int, piece: Piece, attempts: Attempts
    ) -> None:
        """Write an object of pieces, as they come."""
        await send_pieces(self, key, size, piece, attempts)

    async def copy(self, key: str, to: str, size: int, attempts: Attempts) -> None:
        """Let the service copy an object; a long one in parts."""
        if size >= LONGEST:
            await copy_in_parts(self, key, to, size, attempts)
        else:
            await attempts(partial(self._copy, key, to))

    async def _copy(self, key: str, to: str) -> None:
        answer = await self.done(
            S3Request("PUT", self.path(to), headers=self.source(key), body=b"")
        )
        copied(answer)

    def source(self, key: str) -> Mapping[str, str]:
        """Say in a header which object is to be copied."""
        name, path = self._opened().address.name, self.path(key)
        name = f"{name}/object/{path}" if ":" in name else f"/{name}/{path}"
        return {"x-amz-copy-source": quote(name, safe="/-_.~")}

    async def delete(self, key: str) -> None:
        """Delete an object by one DELETE."""
        answer = await self.send(S3Request("DELETE", self.path(key)))
        failure = failure_of(answer.status, answer.headers, answer.body)
        if answer.status != 404 or failure.code == "NoSuchBucket":
            http.accepted(answer)

    async def list_all(
        self, prefix: str, token: str = "", size: int = PAGE
    ) -> ListPage:
        """Ask for a page of ListObjectsV2, without a delimiter."""
        query = self.page_query(f"{prefix}/" if prefix else "", token, size)
        answer = await self.done(S3Request("GET", "", query))
        return list_page(answer.body, len(self.above))

    async def done(self, wish: S3Request) -> http.RawResponse:
        """Send a request that must succeed."""
        return http.accepted(await self.send(wish))

    async def send(self, wish: S3Request) -> http.RawResponse:
        """Send a request, elsewhere if the answer says where, as whoever signs now."""
        bucket = self._opened()
        credentials = await bucket.credentials()
        digest = (await http.hashed(hashlib.sha256, wish.body or b"")).hex()
        for attempt in range(1 + _CORRECTIONS):
            address = bucket.address
            url = address.url(wish.path) + (f"?{wish.query}" if wish.query else "")
            headers = {**wish.headers, **bucket.headers}
            request = http.Request(wish.method, url, headers, wish.body)
            if credentials is not None:
                request = signed(request, credentials, address, digest)
            answer = await http.send(request, self._access, self.stats)
            if answer.status < 300 or answer.status == 404:
                break
            failure = failure_of(answer.status, answer.headers, answer.body)
            before = credentials
            if failure.expired and credentials is not None:
                credentials = await bucket.renewed(credentials)
            moved = bucket.address != address or bucket.learn(failure)
            if attempt == _CORRECTIONS or not (moved or credentials != before):
                raise replace(failure, signed=before is not None)
        return answer


# Lists: pages of ListObjectsV2, and the buckets of a service.


def list_page(body: bytes, above: int) -> ListPage:
    """Read a page of ListObjectsV2, whose keys have `above` characters too many.

    Raises
    ------
    RequestFailed
        It is none.
    """
    root = parsed_xml(body, "ListBucketResult")
    page = texts_of(root)
    encoded = page.get("EncodingType") == "url"
    kinds = {"CommonPrefixes": "Prefix", "Contents": "Key"}
    items = []
    for element in root:
        kind = tag_of(element)
        if kind not in kinds:
            continue
        facts = texts_of(element)
        key = facts.get(kinds[kind], "")
        name = (unquote_plus(key) if encoded else key)[above:]
        if kind == "CommonPrefixes":
            items.append(ObjectMeta(name.removesuffix("/"), True))
            continue
        number = http.size_said(facts.get("Size", ""))
        said = (facts.get("LastModified", ""), facts.get("ETag", "").strip('"'))
        items.append(ObjectMeta(name, False, number, *said))
    more = page.get("IsTruncated") == "true"
    token = page.get("NextContinuationToken", "") if more else ""
    if more and not token:
        raise RequestFailed(reason=Reason.BROKEN_OFF)
    return ListPage(tuple(items), token)


class BucketLister(PagedLister):
    """What lies below a prefix of a bucket, and the buckets of its service."""

    def __init__(self, reader: S3Reader, url: str, retry: RetryPolicy) -> None:
        super().__init__(reader, url, retry)
        self._reader = reader

    async def buckets(self) -> tuple[ObjectMeta, ...]:
        """List the buckets of the service, which few sign-ins may."""
        found = await self._buckets()
        # Some list no bucket to whom they do not know, and call that a success.
        if not found and await self._reader.sign_in():
            found = await self._buckets()
        return found

    async def _buckets(self) -> tuple[ObjectMeta, ...]:
        body = await self.answer(partial(self._reader.listing, ""))
        try:
            root = parsed_xml(body, "ListAllMyBucketsResult")
        except RequestFailed:
            raise not_listed(self.url) from None
        found = (element for element in root.iter() if tag_of(element) == "Bucket")
        return tuple(
            ObjectMeta(said["Name"], True, modified=said.get("CreationDate", ""))
            for said in map(texts_of, found)
            if said.get("Name")
        )


def parsed_xml(body: bytes, expected: str) -> ElementTree.Element:
    """Read a document whose root is called so.

    Raises
    ------
    RequestFailed
        It is none.
    """
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise RequestFailed(reason=Reason.WEB_PAGE) from None
    if tag_of(root) != expected:
        raise RequestFailed(reason=Reason.WEB_PAGE)
    return root


def texts_of(element: ElementTree.Element) -> dict[str, str]:
    """Give the texts of an element's children by their names."""
    return {tag_of(child): child.text or "" for child in element}


def tag_of(element: ElementTree.Element) -> str:
    """Give the name without the namespace, which not every server sends."""
    return element.tag.rpartition("}")[2]
