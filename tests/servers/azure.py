"""An account of Azure's storage in memory, by what its REST API's pages say.

One container, ``BOX``. Signatures, tokens, hashes and conditions are checked; answers
that are errors quote what was sent, as Azure's do.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, unquote_plus, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from servers.wire import Answer, Request, WireServer

if TYPE_CHECKING:
    import ssl

NAME, BOX = "lab", "box"
KEY = base64.b64encode(b"planted-key-of-the-lab").decode()
SAS = "sv=2021-12-02&sp=rwdl&sig=PLANTED%2Bs1gnature%3D"
TOKEN = "PLANTED-T0KEN"
SECRETS = (KEY, "s1gnature", TOKEN)
_ILLEGAL = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]")
"""What no document in XML can hold, or keep."""


class AzureAccount(WireServer):
    """Get, put, list, copy and delete blobs.

    Attributes
    ----------
    blobs : dict
        The bodies by key.
    public : str
        What everybody may: "" nothing, "blob" read, "container" list, too.
    page : int
        How many names a page of a list has at most; every other page has none.
    pending : int
        How often somebody asks for the state of a copy before it is done.
    waiting : dict
        The blocks by key and name that no list has named yet.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.waiting: dict[str, dict[str, bytes]] = {}
        self.lists: dict[str, list[str]] = {}
        self.public = ""
        self.page = 1000
        self.pending = 0
        self.folders: set[str] = set()
        self._versions = count(1)
        super().__init__(tls)

    @property
    def endpoint(self) -> str:
        """The account's own address."""
        return f"{self.url}/{NAME}"

    def connection_string(self, key: str = KEY, sas: str = "") -> str:
        """Say how to sign in, in Azure's words."""
        signs = f"SharedAccessSignature={sas}" if sas else f"AccountKey={key}"
        return f"AccountName={NAME};{signs};BlobEndpoint={self.endpoint}/;"

    async def answer(self, request: Request) -> Answer:
        wishes = dict(_pairs(request.query))
        container, _, key = request.path.removeprefix(f"/{NAME}/").partition("/")
        if refusal := self._refusal(request, wishes):
            return refusal
        if container != BOX:
            return _error(404, "ContainerNotFound")
        if wishes.get("comp") == "list":
            return self._listing(wishes)
        if request.method == "PUT":
            return self._put(request, wishes, key)
        if key in self.blobs and request.method != "DELETE":
            return self._get(request, key)
        gone = self.blobs.pop(key, None)
        return _error(404, "BlobNotFound") if gone is None else Answer(202)

    def _refusal(self, request: Request, wishes: dict[str, str]) -> Answer | None:
        """Give the error for who may not, in the words of Azure."""
        said = request.headers.get("authorization", "")
        if said.startswith("SharedKey "):
            expected = f"SharedKey {NAME}:{_signature(request)}"
            good = said == expected
            quoted = f"The MAC signature in '{said}' is not that of '{KEY}'."
            return None if good else _error(403, "AuthenticationFailed", quoted)
        if said:
            good = said == f"Bearer {TOKEN}"
            return None if good else _error(401, "InvalidAuthenticationInfo", said)
        if "sig" in wishes:
            if wishes["sig"] != dict(_pairs(SAS))["sig"]:
                return _error(403, "AuthenticationFailed", wishes["sig"])
            ended = "Signature not valid in the specified time frame: PLANTED"
            over = "ended" in wishes
            return _error(403, "AuthenticationFailed", ended) if over else None
        is_list = wishes.get("comp") == "list"
        may = {"": False, "blob": not is_list, "container": True}[self.public]
        if may and request.method in ("GET", "HEAD"):
            return None
        return _error(404, "ResourceNotFound")

    def _get(self, request: Request, key: str) -> Answer:
        etag, said = self.etags[key], request.headers
        headers = {"ETag": etag, "x-ms-copy-status": "success"}
        if self.pending and request.method == "HEAD":
            self.pending -= 1
            headers["x-ms-copy-status"] = "pending"
        if said.get("if-none-match") == etag:
            return Answer(304, headers)
        if said.get("if-match", etag) != etag:
            return _error(412, "ConditionNotMet")
        wanted = request.range or said.get("x-ms-range", "")  # of Azure's own library
        return _cut(self.blobs[key], wanted, headers)

    def _put(self, request: Request, wishes: dict[str, str], key: str) -> Answer:
        said = request.headers
        if "content-md5" in said and said["content-md5"] != _md5(request.body):
            return _error(400, "Md5Mismatch")
        if wishes.get("comp") == "block":
            return self._keep_block(key, wishes["blockid"], request.body)
        kinds = {"x-ms-blob-type", "x-ms-copy-source", "x-ms-blob-content-type"}
        if len(kinds & said.keys()) != 1:  # put, copied, or made of blocks
            return _error(400, "MissingRequiredHeader")
        if said.get("if-none-match") == "*" and key in self.blobs:
            return _error(409, "BlobAlreadyExists")
        if said.get("if-match", self.etags.get(key)) != self.etags.get(key):
            return _error(412, "ConditionNotMet")
        return self._store(request, wishes, key)

    def _keep_block(self, key: str, name: str, body: bytes) -> Answer:
        blocks = self.waiting.setdefault(key, {})
        if any(len(other) != len(name) for other in blocks):
            return _error(400, "InvalidBlobOrBlock")
        blocks[name] = body
        return Answer(201)

    def _store(self, request: Request, wishes: dict[str, str], key: str) -> Answer:
        body, headers = request.body, {}
        if source := request.headers.get("x-ms-copy-source"):
            from_ = unquote(urlsplit(source).path).removeprefix(f"/{NAME}/{BOX}/")
            if from_ not in self.blobs:
                return _error(404, "CannotVerifyCopySource")
            body = self.blobs[from_]
            headers["x-ms-copy-status"] = "pending" if self.pending else "success"
        if wishes.get("comp") == "blocklist":
            blocks = self.waiting.pop(key, {})
            names = [each.text for each in ElementTree.fromstring(request.body)]
            again = self.lists.get(key) == names
            self.lists[key] = names
            if not again and not set(names) <= blocks.keys():
                return _error(400, "InvalidBlockList")
            body = self.blobs[key] if again else b"".join(map(blocks.get, names))
        self.blobs[key] = body
        self.etags[key] = headers["ETag"] = f'"0x8D{next(self._versions):012X}"'
        return Answer(202 if source else 201, headers)

    def _listing(self, wishes: dict[str, str]) -> Answer:
        prefix, slash = wishes.get("prefix", ""), wishes.get("delimiter", "")
        found: dict[str, bool] = {}
        for key in sorted({*self.blobs, *self.folders}):
            if key.startswith(prefix):
                head, mark, _ = key[len(prefix) :].partition(slash or "\0")
                found[prefix + head + mark * bool(slash)] = bool(slash and mark)
        start, empty, _ = wishes.get("marker", "0").partition(" empty")
        most = 0 if empty else min(self.page, int(wishes["maxresults"]))
        names = list(found)[int(start) : int(start) + most]
        end = int(start) + len(names)
        marker = f"{end}{'' if empty else ' empty'}" if end < len(found) else ""
        rows = "".join(self._row(name, is_folder=found[name]) for name in names)
        body = (
            "\ufeff<?xml version='1.0' encoding='utf-8'?>"
            f'<EnumerationResults ServiceEndpoint="{self.endpoint}/">'
            f"<Blobs>{rows}</Blobs><NextMarker>{marker}</NextMarker>"
            "</EnumerationResults>"
        )
        return Answer(200, {"Content-Type": "application/xml"}, body.encode())

    def _row(self, name: str, *, is_folder: bool) -> str:
        said = f"<Name>{escape(name)}</Name>"
        if _ILLEGAL.search(name):
            said = f'<Name Encoded="true">{quote(name)}</Name>'
        if is_folder:
            return f"<BlobPrefix>{said}</BlobPrefix>"
        kind = "directory" if name in self.folders else "file"
        return (
            f"<Blob>{said}<Properties>"
            "<Last-Modified>Fri, 27 Nov 2026 20:00:00 GMT</Last-Modified>"
            f"<Etag>{self.etags.get(name, '')[1:-1]}</Etag>"
            f"<Content-Length>{len(self.blobs.get(name, b''))}</Content-Length>"
            f"<ResourceType>{kind}</ResourceType></Properties></Blob>"
        )


def _cut(body: bytes, wanted: str, headers: dict[str, str]) -> Answer:
    if not wanted:
        return Answer(200, headers, body)
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
    if found is None:
        return _error(400, "InvalidHeaderValue")
    start, size = int(found[1]), len(body)
    stop = min(size, int(found[2]) + 1) if found[2] else size
    if start >= size:
        return _error(416, "InvalidRange")
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Answer(206, headers, body[start:stop])


def _pairs(query: str) -> list[tuple[str, str]]:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(name, unquote_plus(text)) for name, _, text in pairs]


def _md5(body: bytes) -> str:
    made = hashlib.md5(body, usedforsecurity=False).digest()
    return base64.b64encode(made).decode()


def _signature(request: Request) -> str:
    """Sign a request as it came: "Authorize with Shared Key" of the REST API."""
    target = request.raw.split(b" ", 2)[1].decode()
    path, _, query = target.partition("?")
    said = request.headers
    length = said.get("content-length", "0")
    text = (
        f"{request.method}\n"
        f"{said.get('content-encoding', '')}\n{said.get('content-language', '')}\n"
        f"{'' if length == '0' else length}\n{said.get('content-md5', '')}\n"
        f"{said.get('content-type', '')}\n{said.get('date', '')}\n"
        f"{said.get('if-modified-since', '')}\n{said.get('if-match', '')}\n"
        f"{said.get('if-none-match', '')}\n{said.get('if-unmodified-since', '')}\n"
        f"{said.get('range', '')}\n"
    )
    for name in sorted(name for name in said if name.startswith("x-ms-")):
        text += f"{name}:{said[name]}\n"
    text += f"/{NAME}{path}"
    for name, value in sorted(_pairs(query)):
        text += f"\n{name}:{value}"
    made = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(made).decode()


def _error(status: int, code: str, detail: str = "") -> Answer:
    body = (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>planted</Message>"
        f"<AuthenticationErrorDetail>{escape(detail)}</AuthenticationErrorDetail>"
        "</Error>"
    )
    headers = {"Content-Type": "application/xml", "x-ms-error-code": code}
    return Answer(status, headers, body.encode())
