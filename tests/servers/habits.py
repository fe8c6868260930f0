"""Web servers that know ranges badly, or not at all."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from servers.http import FileServer
from servers.wire import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from servers.wire import Request

Habit = Any


def _is_suffix(request: Request) -> bool:
    return request.range.startswith("bytes=-")


def _all(answer: Answer, body: bytes) -> Answer:
    headers = {n: text for n, text in answer.headers.items() if n != "Content-Range"}
    return Answer(200, headers, body)


def refuses_suffixes(status: int, *, says_size: bool = False) -> Habit:
    """Answer this status where the last bytes are asked for."""

    def habit(answer: Answer, request: Request, body: bytes) -> Answer:
        if not _is_suffix(request):
            return answer
        headers = {"Content-Range": f"bytes */{len(body)}"} if says_size else {}
        return Answer(status, headers, b"Invalid range")

    return habit


def ignores_suffixes(answer: Answer, request: Request, body: bytes) -> Answer:
    """Send all where the last bytes are asked for, as Azure does."""
    return _all(answer, body) if _is_suffix(request) else answer


def takes_suffixes_for_beginnings(
    answer: Answer, request: Request, body: bytes
) -> Answer:
    """Send the first N bytes where the last N are asked for."""
    if not _is_suffix(request):
        return answer
    part = body[: int(request.range.removeprefix("bytes=-"))]
    said = f"bytes 0-{len(part) - 1}/{len(body)}"
    return Answer(206, {"Content-Range": said}, part)


def hides_the_size(answer: Answer, request: Request, body: bytes) -> Answer:
    """Refuse the last bytes, and name no size with other parts."""
    if _is_suffix(request):
        return Answer(400)
    said = answer.headers.get("Content-Range", "").rpartition("/")[0]
    headers = {"Content-Range": f"{said}/*"} if answer.status == 206 else {}
    return replace(answer, headers=headers)


def has_no_ranges(answer: Answer, request: Request, body: bytes) -> Answer:
    """Send all, whatever is asked for."""
    return _all(answer, body)


def has_no_ranges_and_refuses_suffixes(
    answer: Answer, request: Request, body: bytes
) -> Answer:
    """Send all, and refuse the last bytes."""
    return Answer(400) if _is_suffix(request) else _all(answer, body)


def has_no_ranges_and_no_length(
    answer: Answer, request: Request, body: bytes
) -> Answer:
    """Send all in chunks of HTTP."""
    return Answer(200, {}, body, has_length=False)


def gzips_wholes(answer: Answer, request: Request, body: bytes) -> Answer:
    """Send all, packed, whatever is asked for."""
    return Answer(200, {"Content-Encoding": "gzip"}, gzip.compress(body))


def gzips_parts(answer: Answer, request: Request, body: bytes) -> Answer:
    """Send the part that is asked for, of what is packed."""
    packed = gzip.compress(body, mtime=0)
    headers = {"Content-Encoding": "gzip"}
    if answer.status != 206:
        return Answer(answer.status, headers, packed)
    first, _, last = request.range.removeprefix("bytes=").partition("-")
    begin = int(first) if first else max(0, len(packed) - int(last))
    part = packed[begin : int(last) + 1 if first and last else None]
    said = f"bytes {begin}-{begin + len(part) - 1}/{len(packed)}"
    return Answer(206, headers | {"Content-Range": said}, part)


def shifts(answer: Answer, request: Request, body: bytes) -> Answer:
    """Send a part that begins one byte too late, and say so."""
    if answer.status != 206:
        return answer
    begin, end = _span(answer)
    said = f"bytes {begin + 1}-{end}/{len(body)}"
    return replace(
        answer, headers={"Content-Range": said}, body=body[begin + 1 :][: end - begin]
    )


def cuts_short(answer: Answer, request: Request, body: bytes) -> Answer:
    """Send a part that ends too early, and say so."""
    if answer.status != 206:
        return answer
    begin, end = _span(answer)
    said = f"bytes {begin}-{max(begin, end - 2)}/{len(body)}"
    return replace(answer, headers={"Content-Range": said}, body=body[begin : end - 1])


def lies_about_the_length(answer: Answer, request: Request, body: bytes) -> Answer:
    """Announce the right part, and send less."""
    if answer.status != 206:
        return answer
    return replace(answer, body=answer.body[:-1])


def says_bytes_in_capitals(answer: Answer, request: Request, body: bytes) -> Answer:
    """Write the unit of a range as few do, and all may."""
    said = answer.headers.get("Content-Range")
    if said is None:
        return answer
    capital = {"Content-Range": said.replace("bytes", "Bytes")}
    return replace(answer, headers=answer.headers | capital)


def says_no_range(answer: Answer, request: Request, body: bytes) -> Answer:
    """Send a part without saying which."""
    return replace(answer, headers={})


def sends_many_parts(answer: Answer, request: Request, body: bytes) -> Answer:
    """Send a part as multipart/byteranges."""
    if answer.status != 206:
        return answer
    said = answer.headers["Content-Range"]
    inside = f"--x\r\nContent-Range: {said}\r\n\r\n".encode() + answer.body
    headers = {"Content-Type": "multipart/byteranges; boundary=x"}
    return Answer(206, headers, inside + b"\r\n--x--\r\n")


def refuses_parts_that_are_there(
    answer: Answer, request: Request, body: bytes
) -> Answer:
    """Say of every part that the object ends before it."""
    if not request.range:
        return answer
    return Answer(416, {"Content-Range": f"bytes */{len(body)}"})


def _span(answer: Answer) -> tuple[int, int]:
    said = answer.headers["Content-Range"].removeprefix("bytes ").partition("/")[0]
    begin, _, last = said.partition("-")
    return int(begin), int(last) + 1


class HabitServer(FileServer):
    """Serve the files below a folder, with a habit."""

    def __init__(self, root: Path, habit: Habit | None = None) -> None:
        self.habit = habit
        super().__init__(root)

    async def answer(self, request: Request) -> Answer:
        answer = await super().answer(request)
        file = self.root / request.path.lstrip("/")
        if self.habit is None or not file.is_file():
            return answer
        return self.habit(answer, request, file.read_bytes())
