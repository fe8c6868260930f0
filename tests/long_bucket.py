"""A bucket with more keys than anybody would upload for a test, page by page."""

from __future__ import annotations

from bisect import bisect_left
from urllib.parse import parse_qs

from servers.wire import Answer, Request, WireServer


class LongBucket(WireServer):
    """Answer ListObjectsV2 for `count` keys below ``many/``: folders or files."""

    def __init__(self, count: int, ending: str = "/x") -> None:
        self.names = [f"item-{number:06}" for number in range(count)]
        self.ending = ending
        super().__init__()

    async def answer(self, request: Request) -> Answer:
        wanted = {name: texts[0] for name, texts in parse_qs(request.query).items()}
        if wanted.get("list-type") != "2":
            return Answer(404)
        begins = wanted["prefix"].removeprefix("many/")
        start = int(wanted.get("continuation-token", "0"))
        size = int(wanted["max-keys"])
        start = max(start, bisect_left(self.names, begins))
        stop = bisect_left(self.names, f"{begins}~")
        page = self.names[start : min(stop, start + size)]
        start += len(page)
        more = start < stop
        rows = "".join(map(self._row, page))
        token = f"<NextContinuationToken>{start}</NextContinuationToken>" * more
        truncated = str(more).lower()
        body = (
            f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{token}{rows}"
            "</ListBucketResult>"
        )
        return Answer(200, {"Content-Type": "application/xml"}, body.encode())

    def _row(self, name: str) -> str:
        if self.ending:
            return f"<CommonPrefixes><Prefix>many/{name}/</Prefix></CommonPrefixes>"
        return f"<Contents><Key>many/{name}</Key><Size>7</Size></Contents>"
