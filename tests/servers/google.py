"""Google's storage as its JSON API describes it; knows nothing of OME-Zarr.

https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import parse_qs, unquote

from servers.faults import Status
from servers.http import cut
from servers.wire import Answer, Request, WireServer

MEDIA = "alt=media"
STEP = 256 << 10
"""Pieces of a resumable upload, but the last, are multiples of this."""


def google_error(status: int, reason: str, message: str = "planted") -> Status:
    """An error of the JSON API."""
    details = [{"domain": "global", "reason": reason, "message": message}]
    said = {"error": {"code": status, "message": message, "errors": details}}
    body = json.dumps(said, indent=1).encode()
    return Status(status, body, {"Content-Type": "application/json; charset=UTF-8"})


@dataclass
class Stored:
    body: bytes
    generation: int
    kind: str
    is_packed: bool = False
    """Whether it is stored with ``Content-Encoding: gzip``."""


@dataclass
class Upload:
    key: str
    kind: str
    body: bytearray = field(default_factory=bytearray)
    is_done: bool = False


class GoogleStorage(WireServer):
    """Serve buckets.

    Attributes
    ----------
    buckets : dict
        The objects of each, by name. A bucket that is not there is made by ``place``.
    tokens : dict
        What each token may do: letters of ``r``, ``w`` and ``l`` (lists). ``""`` is
        who has not signed in.
    payer : str
        The project that must be named as paying for requests; any if ``""``.
    keeps : int
        Bytes that are kept of a piece of an upload at most, but of its last.
    page : int
        Rows of a list at most.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.tokens = {"": "rwl"}
        self.payer = ""
        self.keeps = 1 << 30
        self.page = 1000
        self.uploads: dict[str, Upload] = {}
        self._numbers = count(1_700_000_000_000_000)
        super().__init__()

    def place(self, path: str = "a.zarr") -> str:
        """Make a bucket, and give the address of a place in it."""
        bucket = f"bucket-{self.port}"  # what is learnt of one is kept by its name
        self.buckets.setdefault(bucket, {})
        return f"gs://{bucket}/{path}"

    def keys(self) -> list[str]:
        """All keys of all buckets."""
        return sorted(key for objects in self.buckets.values() for key in objects)

    async def answer(self, request: Request) -> Answer:
        target = request.raw.split(b" ", 2)[1].decode("latin-1")
        path, _, query = target.partition("?")
        wishes = {name: values[0] for name, values in parse_qs(query).items()}
        said = self._answer(request, path, wishes, MEDIA in query)
        if isinstance(said, Status):
            return Answer(said.code, said.headers, said.body)
        return said

    def _answer(
        self, request: Request, path: str, wishes: dict[str, str], media: bool
    ) -> Answer | Status:
        kind, _, rest = path.partition("storage/v1/b/")
        bucket, _, key = rest.partition("/o")
        is_list = request.method == "GET" and not key
        wanted = "l" if is_list else "r" if request.method == "GET" else "w"
        refusal = self._refusal(request, wanted, media)
        objects = self.buckets.get(bucket)
        if refusal is not None:
            return refusal
        if objects is None:
            return google_error(404, "notFound", "The specified bucket does not exist.")
        if kind == "/upload/":
            return self._uploaded(request, objects, wishes)
        if is_list:
            return self._listed(objects, wishes)
        return self._object(request, objects, key[1:], wishes, media)

    def _refusal(self, request: Request, wanted: str, media: bool) -> Status | None:
        token = _token(request)
        if token not in self.tokens:
            return google_error(401, "authError", "Invalid Credentials")
        if self.payer not in ("", request.headers.get("x-goog-user-project")):
            said = "Bucket is a requester pays bucket but no user project provided."
            return google_error(400, "required", said)
        if wanted not in self.tokens[token]:
            return _denied(token, wanted, media)
        return None

    def _object(
        self,
        request: Request,
        objects: dict[str, Stored],
        target: str,
        wishes: dict[str, str],
        media: bool,
    ) -> Answer | Status:
        name, _, to = target.partition("/rewriteTo/")
        key = unquote(name, errors="strict")
        if key not in objects:
            if "l" not in self.tokens[_token(request)]:
                return _denied(_token(request), "r", media)
            words = Status(404, f"No such object: {key}".encode())
            return words if media else google_error(404, "notFound")
        if to:
            to = unquote(to.rpartition("/o/")[2], errors="strict")
            return self._rewritten(objects, objects[key], to, wishes)
        if request.method == "DELETE":
            del objects[key]
            return Answer(204)
        return _read(request, objects[key], wishes)

    def _listed(self, objects: dict[str, Stored], wishes: dict[str, str]) -> Answer:
        prefix, delimiter = wishes.get("prefix", ""), wishes.get("delimiter")
        rows: dict[str, Stored | None] = {}
        for key in sorted(objects):
            if key.startswith(prefix):
                below, mark, _ = key[len(prefix) :].partition(delimiter or "\0")
                folder = prefix + below + mark
                rows[folder if mark else key] = None if mark else objects[key]
        names = [name for name in rows if name > wishes.get("pageToken", "")]
        size = min(self.page, int(wishes.get("maxResults", 1000)))
        said: dict[str, object] = {"kind": "storage#objects"}
        if len(names) > size:
            said["nextPageToken"] = names[size - 1]
        found = [(name, rows[name]) for name in names[:size]]
        said["prefixes"] = [name for name, stored in found if stored is None]
        said["items"] = [
            {
                "name": name,
                "size": str(len(stored.body)),
                "updated": "2026-11-27T20:00:00.000Z",
                "generation": str(stored.generation),
            }
            for name, stored in found
            if stored is not None
        ]
        return _json(said)

    def _uploaded(
        self, request: Request, objects: dict[str, Stored], wishes: dict[str, str]
    ) -> Answer | Status:
        if "upload_id" in wishes:
            return self._piece(request, objects, wishes["upload_id"])
        key = wishes["name"]
        if wishes["uploadType"] == "resumable":
            number = f"upload-{next(self._numbers)}"
            self.uploads[number] = Upload(key, request.headers["x-upload-content-type"])
            said = f"{self.url}{request.path}?{request.query}&upload_id={number}"
            return Answer(200, {"Location": said, "X-GUploader-UploadID": number})
        before = objects.get(key)
        expected = wishes.get("ifGenerationMatch")
        if expected not in (None, str(before.generation if before else 0)):
            return google_error(412, "conditionNotMet")
        assert wishes["uploadType"] == "multipart"
        about, kind, body = _parts(request)
        if about["md5Hash"] != _md5(body):
            return google_error(400, "invalid", "Provided MD5 hash does not match")
        return self._store(objects, key, body, kind)

    def _piece(
        self, request: Request, objects: dict[str, Stored], number: str
    ) -> Answer | Status:
        """Take a piece: of what is there already nothing, of the rest what is kept."""
        upload = self.uploads.get(number)
        if upload is None:
            return google_error(404, "notFound", "Not Found")
        if "content-length" not in request.headers:
            return google_error(411, "required", "Length Required")
        if request.method == "DELETE":
            del self.uploads[number]
            return Answer(499)
        if upload.is_done:  # its answer was lost
            return _described(upload.key, objects[upload.key])
        return self._taken(request, objects, upload)

    def _taken(
        self, request: Request, objects: dict[str, Stored], upload: Upload
    ) -> Answer | Status:
        span, _, total = request.headers["content-range"][6:].partition("/")
        start, end = (int(text) for text in span.split("-"))
        have, is_last = len(upload.body), end + 1 == int(total)
        if start > have or (not is_last and (end + 1 - start) % STEP):
            return google_error(400, "invalid")
        fresh = request.body[have - start :]
        upload.body += fresh if is_last else fresh[: self.keeps]
        if not is_last:
            said = {"Range": f"bytes=0-{len(upload.body) - 1}"} if upload.body else {}
            return Answer(308, said)
        if request.headers["x-goog-hash"] != f"md5={_md5(upload.body)}":
            return google_error(400, "invalid", "Provided MD5 hash does not match")
        upload.is_done = True
        return self._store(objects, upload.key, bytes(upload.body), upload.kind)

    def _rewritten(
        self,
        objects: dict[str, Stored],
        found: Stored,
        to: str,
        wishes: dict[str, str],
    ) -> Answer:
        """Copy in two steps, as Google does what is long."""
        if "rewriteToken" not in wishes:
            return _json({"done": False, "rewriteToken": "go on/+"})
        assert wishes["rewriteToken"] == "go on/+"
        self._store(objects, to, found.body, found.kind)
        return _json({"done": True})

    def _store(
        self, objects: dict[str, Stored], key: str, body: bytes, kind: str
    ) -> Answer:
        objects[key] = Stored(body, next(self._numbers), kind)
        return _described(key, objects[key])


def _parts(request: Request) -> tuple[dict[str, str], str, bytes]:
    """Take what is said of an object, its type and its bytes from the two parts."""
    edge = request.headers["content-type"].partition("boundary=")[2].encode()
    first, second = request.body.split(b"--" + edge + b"\r\n")[1:]
    about = json.loads(first.partition(b"\r\n\r\n")[2])
    head, _, rest = second.partition(b"\r\n\r\n")
    body, _, end = rest.rpartition(b"\r\n--" + edge + b"--")
    assert end == b"\r\n"
    return about, head.decode().partition(": ")[2], body


def _described(key: str, found: Stored) -> Answer:
    size, generation = str(len(found.body)), str(found.generation)
    return _json({"name": key, "generation": generation, "size": size})


def _md5(body: bytes | bytearray) -> str:
    made = hashlib.md5(body, usedforsecurity=False).digest()
    return base64.b64encode(made).decode()


def _token(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _read(request: Request, found: Stored, wishes: dict[str, str]) -> Answer:
    if wishes.get("ifGenerationNotMatch") == str(found.generation):
        return Answer(304)
    headers = {
        "Content-Type": found.kind,
        "ETag": "CJj+planted==",
        "X-Goog-Generation": str(found.generation),
    }
    if found.is_packed:  # unpacked for who takes no gzip, and then never cut
        headers["X-Goog-Stored-Content-Encoding"] = "gzip"
        body = gzip.decompress(found.body)
        return Answer(200, headers, body, has_length=False)
    return cut(found.body, request.range, headers)


def _denied(token: str, wanted: str, media: bool) -> Status:
    """Google's words, which are a document or, where bytes were asked for, a text."""
    verb = {"r": "get", "w": "create", "l": "list"}[wanted]
    who = "who@example.org" if token else "Anonymous caller"
    said = f"{who} does not have storage.objects.{verb} access to the object."
    status = 403 if token else 401
    if media:
        return Status(status, said.encode(), {"Content-Type": "text/html"})
    return google_error(status, "forbidden" if token else "required", said)


def _json(said: object) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(said).encode())
