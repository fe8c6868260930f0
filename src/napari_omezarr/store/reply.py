"""What a web server answered about an object, as far as a cache must know it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import web
from .byterange import cut, range_header
from .refusal import Refused, refusal_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarr.abc.store import ByteRequest

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)$")
_HTTP_DATE = re.compile(r"\w{3}, .* GMT$")


@dataclass(frozen=True, slots=True)
class Reply:
    """The bytes of an object, or that there is none, or that it has not changed.

    Attributes
    ----------
    body : bytes or None
        What came; None if there is no such object, or if it is unchanged.
    start, total : int
        Where in the object the body begins, and the object's size.
    partial : bool
        Whether the body is a part, and not the object.
    validator : str
        The ``ETag``, else ``Last-Modified``; ``""`` if the server gives neither.
    lifetime : int or None
        For how many seconds the server lets the answer be used without asking
        again; None if it says nothing.
    storable : bool
        Whether the answer may be kept.
    unchanged : bool
        Whether the object is still the one whose validator was sent.
    """

    body: bytes | None
    start: int = 0
    total: int = 0
    partial: bool = False
    validator: str = ""
    lifetime: int | None = None
    storable: bool = True
    unchanged: bool = False

    def part(self, wanted: ByteRequest | None) -> bytes | None:
        """Return what was asked for, also where more came."""
        if self.body is None or self.partial:
            return self.body
        return cut(self.body, wanted)


def headers_for(wanted: ByteRequest | None, validator: str = "") -> dict[str, str]:
    """Say in headers what is asked for.

    Parameters
    ----------
    wanted : ByteRequest or None
        The part, or None for all of it.
    validator : str, optional
        Of the version that is at hand: only another is to be sent.
    """
    headers = {} if wanted is None else {"Range": range_header(wanted)}
    if validator:
        is_date = _HTTP_DATE.match(validator)
        name = "If-Modified-Since" if is_date else "If-None-Match"
        headers[name] = validator
    return headers


def reply_of(answer: web.Answer, asked: Mapping[str, str]) -> Reply:
    """Reduce an answer to what it says about the object.

    Parameters
    ----------
    answer : web.Answer
        The answer to a GET.
    asked : Mapping
        The headers of the GET, as `headers_for` makes them.

    Raises
    ------
    Refused
        If the answer says something else.
    Interrupted
        If the body is not what its headers say.
    """
    match answer.status:
        case 200:
            body = web.decoded(answer)
            return replace(_described(answer), body=body, total=len(body))
        case 206 if "Range" in asked:
            return _part(answer)
        case 416:  # the object ends before the range begins
            return Reply(b"", partial=True, storable=False)
        case 304 if asked.keys() & {"If-None-Match", "If-Modified-Since"}:
            return Reply(None, unchanged=True)
    refusal = refusal_of(answer.status, answer.headers, answer.body)
    if answer.status in (404, 410) and refusal.code != "NoSuchBucket":
        return _described(answer)
    raise Refused(refusal)


def _part(answer: web.Answer) -> Reply:
    said = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
    reply = replace(_described(answer), body=answer.body, partial=True)
    if said is None:
        return replace(reply, storable=False)
    return replace(reply, start=int(said[1]), total=int(said[2]))


def _described(answer: web.Answer) -> Reply:
    """Take from the headers what they say about any body, or about none."""
    storable, lifetime = _permission(answer.headers)
    validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified", "")
    return Reply(None, validator=validator, lifetime=lifetime, storable=storable)


def _permission(headers: Mapping[str, str]) -> tuple[bool, int | None]:
    """Read whether an answer may be kept, and for how many seconds it is fresh."""
    said = headers.get("Cache-Control", "").lower().split(",")
    pairs = (directive.partition("=") for directive in said)
    directives = {name.strip(): value for name, _, value in pairs}
    storable = "no-store" not in directives and headers.get("Vary", "").strip() != "*"
    if "no-cache" in directives:
        return storable, 0
    seconds = directives.get("max-age", "").strip('" ')
    return storable, int(seconds) if seconds.isdecimal() else None
