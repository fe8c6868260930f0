"""A bucket in memory, of a service that holds to conditions, or does not know them."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from servers.wire import Answer, Request, WireServer


class Bucket(WireServer):
    """Put, get, delete and list objects; whoever signs is let in.

    Attributes
    ----------
    objects : dict
        The bodies by key.
    knows_conditions : bool
        Whether ``If-Match`` and ``If-None-Match`` of a PUT are held to; old services
        write all the same, without a word.
    """

    def __init__(self, *, knows_conditions: bool) -> None:
        self.knows_conditions = knows_conditions
        self.objects: dict[str, bytes] = {}
        super().__init__()

    async def answer(self, request: Request) -> Answer:
        wishes = {name: texts[0] for name, texts in parse_qs(request.query).items()}
        key = request.path.lstrip("/").partition("/")[2]
        if wishes.get("list-type") == "2":
            return self._listing(wishes)
        found = self.objects.get(key)
        match request.method:
            case "PUT":
                if self.knows_conditions and not _holds(request, found):
                    return _error(412, "PreconditionFailed")
                self.objects[key] = request.body
                return Answer(200, {"ETag": _etag(request.body)})
            case "DELETE":
                self.objects.pop(key, None)
                return Answer(204)
            case "GET" if found is not None:
                return Answer(200, {"ETag": _etag(found)}, found)
        return _error(404, "NoSuchKey")

    def _listing(self, wishes: dict[str, str]) -> Answer:
        keys = sorted(k for k in self.objects if k.startswith(wishes.get("prefix", "")))
        rows = "".join(
            f"<Contents><Key>{escape(k)}</Key><Size>{len(self.objects[k])}</Size>"
            "</Contents>"
            for k in keys[: int(wishes.get("max-keys", "1000"))]
        )
        body = f"<ListBucketResult>{rows}</ListBucketResult>"
        return Answer(200, {"Content-Type": "application/xml"}, body.encode())


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _holds(request: Request, found: bytes | None) -> bool:
    wanted = request.headers.get("if-match")
    if wanted is not None:
        return found is not None and wanted == _etag(found)
    return found is None or "if-none-match" not in request.headers


def _error(status: int, code: str) -> Answer:
    body = f"<Error><Code>{code}</Code></Error>".encode()
    return Answer(status, {"Content-Type": "application/xml"}, body)
