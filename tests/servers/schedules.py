"""Faults drawn from a seed: a bucket that has a bad day, the same each time."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from servers import frames
from servers.faults import (
    Dropped,
    Framed,
    Reset,
    Stalled,
    Status,
    Truncated,
    page,
    redirect,
    s3_error,
)
from servers.http import Bucket
from servers.wire import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from servers.faults import Fault
    from servers.wire import Request

JSON, HTML = b'{"message": "no"}', b"<html><body>no</body></html>"
BODIES = (b"", JSON, HTML, b"no", bytes(300))
STATUSES = (
    *range(201, 207),
    *range(300, 309),
    *(status for status in range(400, 432) if status != 404),
    *(451, 499, 500, 501, 502, 503, 504, 507, 511, 520, 599),
)
CODES = (
    (403, "AccessDenied"),
    (403, "AllAccessDisabled"),
    (403, "InvalidAccessKeyId"),
    (403, "SignatureDoesNotMatch"),
    (403, "RequestTimeTooSkewed"),
    (404, "NoSuchBucket"),
    (400, "ExpiredToken"),
    (503, "SlowDown"),
    (500, "InternalError"),
)
EXPIRED = s3_error(403, "AccessDenied", Message="Request has expired")


@dataclass(frozen=True)
class Bent:
    """Answer rightly but for one thing."""

    how: str


BENDS = (
    "another range",
    "no range said",
    "range ignored",
    "range cut",
    "no length",
    "no ETag",
    "another ETag",
    "said to be gzipped",
    "empty",
    "gone",
)


KINDS = (
    *("status", "code", "break", "bend", "page", "stall"),
    *("frame", "packed", "range", "etag", "later", "elsewhere"),
)


@dataclass
class Schedule:
    """What goes wrong on a day, by its seed.

    Whether a request fails depends on what is asked for, and on how often it was, and
    not on the order in which requests of several tasks happen to come.
    """

    seed: int
    absent: set[str] = field(default_factory=set)
    """The paths of which was once said that they are not there."""

    def __post_init__(self) -> None:
        day = Random(self.seed)
        self.rate = day.choice((0.03, 0.1, 0.3, 0.7))
        self.lasting = day.random() < 0.3
        self.spares_documents = day.random() < 0.7
        self.changes_after = day.choice((None, None, 4, 8, 12))
        self.ends_after = day.choice((None, None, None, 6, 10))
        self.kinds = day.sample(KINDS, 3)
        self._times: dict[str, int] = {}
        self._count = 0

    @property
    def changed(self) -> bool:
        """Whether the second version is what there is by now."""
        return self.changes_after is not None and self._count > self.changes_after

    def draw(self, request: Request) -> Fault | Bent | None:
        """Draw what happens to a request."""
        self._count += 1
        if self.ends_after is not None and self._count > self.ends_after:
            return EXPIRED
        if request.path.endswith(("zarr.json", ".zattrs", ".zarray", ".zgroup")) and (
            self.spares_documents
        ):
            return None
        name = f"{self.seed} {request.path} {request.range}"
        nth = self._times[name] = self._times.get(name, 0) + 1
        chance = Random(zlib.crc32(name.encode() + bytes([min(nth, 250)])))
        if self.lasting:
            chance = Random(zlib.crc32(name.encode()))
        if chance.random() >= self.rate:
            return None
        return self._fault(request, chance, chance.choice(self.kinds))

    def _fault(self, request: Request, chance: Random, kind: str) -> Fault | Bent:
        pick = chance.choice
        headers = pick(({}, {"Retry-After": "0"}, {"ETag": '"x"'}, {"Location": "/x"}))
        after = pick((0, 1, 7, 100))
        to = pick((*frames.PLACES, request.path, "/page"))
        moment = {"Retry-After": pick(frames.LATER)}
        kinds: dict[str, tuple[Fault | Bent, ...]] = {
            "status": (Status(pick(STATUSES), pick(BODIES), headers),),
            "code": (s3_error(*pick(CODES)),),
            "break": (Reset(after), Truncated(after), Dropped()),
            "page": (page(), redirect("/page"), redirect("/x", 307)),
            "stall": (Stalled(), *[Dropped()] * 9),
            "bend": tuple(map(Bent, BENDS)),
            "frame": tuple(map(Framed, frames.FRAMES)),
            "packed": tuple(Bent(f"packed {how}") for how in frames.PACKED),
            "range": tuple(Bent(f"range {said}") for said in frames.RANGES),
            "etag": tuple(Bent(f"etag {said}") for said in frames.ETAGS),
            "later": (Status(pick((301, 425, 429, 503)), b"", moment),),
            "elsewhere": (redirect(to, pick((301, 302, 303, 307, 308))),),
        }
        return pick(kinds[kind])


class BadDay(Bucket):
    """A bucket with two versions of all that is in it, and a schedule of faults."""

    lists = True

    def __init__(self, first: Path, second: Path) -> None:
        self._versions = first, second
        self.schedule: Schedule | None = None
        super().__init__(first)

    def _next_fault(self, request: Request) -> Fault | None:
        if self.schedule is None:
            return None
        drawn = self.schedule.draw(request)
        self._bent = getattr(self, "_bent", {})
        self._bent[id(request)] = drawn if isinstance(drawn, Bent) else None
        if (
            isinstance(drawn, Status)
            and drawn.code == 404
            and b"NoSuchB" not in (drawn.body)
        ):
            self.schedule.absent.add(request.path)
        return None if isinstance(drawn, Bent) else drawn

    async def answer(self, request: Request) -> Answer:
        changed = self.schedule is not None and self.schedule.changed
        self.root = self._versions[changed]
        if request.path == "/page":
            return Answer(200, {"Content-Type": "text/html"}, HTML)
        answer = await super().answer(request)
        bent = getattr(self, "_bent", {}).pop(id(request), None)
        if self.schedule is None:
            return answer
        if bent is not None:
            answer = await self._bend(request, answer, bent.how)
        if answer.status == 404:
            self.schedule.absent.add(request.path)
        return answer

    async def _bend(self, request: Request, answer: Answer, how: str) -> Answer:
        if how == "gone":
            return Answer(404)
        if how == "range ignored" and answer.status == 206:
            return await super().answer(replace(request, range=""))
        if answer.status not in (200, 206):
            return answer
        kind, _, what = how.partition(" ")
        if kind == "packed":
            return frames.packed(answer, what)
        if kind in ("range", "etag") and how not in BENDS:
            name = {"range": "Content-Range", "etag": "ETag"}[kind]
            headers = answer.headers | {name: what}
            status = 206 if kind == "range" else answer.status
            return replace(answer, status=status, headers=headers)
        changes = {
            "another range": {"Content-Range": "bytes 1-2/300"},
            "no range said": {"Content-Range": None},
            "no ETag": {"ETag": None},
            "another ETag": {"ETag": '"another"'},
            "said to be gzipped": {"Content-Encoding": "gzip"},
        }
        said = answer.headers | changes.get(how, {})
        headers = {name: value for name, value in said.items() if value is not None}
        body = {"range cut": answer.body[:-1], "empty": b""}.get(how, answer.body)
        return replace(
            answer, headers=headers, body=body, has_length=how != "no length"
        )
