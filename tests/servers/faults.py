"""What a test server does instead of answering as it should."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate


@dataclass(frozen=True, slots=True)
class Proceed:
    """Answer as if there were no fault: a gap in a sequence of faults."""


@dataclass(frozen=True, slots=True)
class Status:
    """Answer this status, with these headers and this body."""

    code: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reset:
    """Send the head and some bytes of the body, then reset the connection."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Truncated:
    """Send the head and some bytes of the body, then close politely."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Dropped:
    """Close the connection without any answer."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Do what is asked, and close the connection without the answer."""


@dataclass(frozen=True, slots=True)
class Stalled:
    """Hold the answer until the test calls ``server.release()``."""


@dataclass(frozen=True, slots=True)
class Framed:
    """Send the right answer in one of `frames.FRAMES`."""

    how: str


Fault = Proceed | Status | Reset | Truncated | Dropped | Lost | Stalled | Framed


def page(
    text: str = "<!DOCTYPE html><html><body>Please sign in</body></html>",
) -> Status:
    """A web page with status 200, as a portal or a captive network answers."""
    return Status(200, text.encode(), {"Content-Type": "text/html; charset=utf-8"})


def redirect(to: str, code: int = 302) -> Status:
    """The address is elsewhere."""
    return Status(code, b"", {"Location": to})


def time_ahead(minutes: float) -> dict[str, str]:
    """What a server says of the time whose clock is so many minutes ahead."""
    return {"Date": formatdate(time.time() + 60 * minutes, usegmt=True)}


def s3_error(
    status: int, code: str, *, headers: dict[str, str] | None = None, **details: str
) -> Status:
    """An error of an S3 server: a small XML document with its code."""
    inside = "".join(f"<{name}>{text}</{name}>" for name, text in details.items())
    body = f"<Error><Code>{code}</Code><Message>planted</Message>{inside}</Error>"
    return Status(
        status, body.encode(), {"Content-Type": "application/xml", **(headers or {})}
    )
