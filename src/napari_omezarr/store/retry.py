"""How long to wait for a place, and how often to ask it again: the only such loop."""

from __future__ import annotations

import asyncio
import random
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from napari_omezarr.location import DOCUMENTS

from .error_mapping import Failure, RequestFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

FAILURES = (RequestFailed, OSError)
"""What an attempt raises that is a `Failure`; a StoreError is an OSError."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds on waiting and asking again; all times in seconds."""

    connect: float = 15
    silence: float = 20
    """How long a connection may take, and how long one may be silent."""
    tries: int = 6
    """How often a key is asked for at most."""
    total: float = 60
    """No further try begins after this time."""
    first_pause: float = 0.25
    longest_pause: float = 10
    """The pause before the second try is drawn from zero to `first_pause`; the bound
    doubles with each further try, up to `longest_pause`. A server's own ``Retry-After``
    is kept up to `longest_pause` too."""

    def pause(self, failures: int, elapsed: float, asked: float = 0) -> float | None:
        """Decide how many seconds to wait after so many failures; None to give up.

        ``elapsed`` counts from the beginning of the first try; ``asked`` is the
        server's ``Retry-After``, 0 if it gave none.
        """
        if failures >= self.tries:
            return None
        # "Full jitter": many clients that failed together come back spread out.
        bound = min(self.longest_pause, self.first_pause * 2 ** (failures - 1))
        pause = max(random.uniform(0, bound), min(asked, self.longest_pause))
        return pause if elapsed + pause < self.total else None


_once: ContextVar[bool] = ContextVar("napari_omezarr_once", default=False)


@contextmanager
def tried_once() -> Iterator[None]:
    """Let what is asked inside the block be asked once, whatever the policy says.

    For who comes again later by himself: his tries must not multiply with ours.
    """
    token = _once.set(True)
    try:
        yield
    finally:
        _once.reset(token)


async def retrying(
    attempt: Callable[[], Awaitable[T]],
    retry: RetryPolicy,
    slots: asyncio.Semaphore,
) -> T | Failure:
    """Try until there is an answer or a lasting failure, or the policy ends.

    One try raises a `Failure`; the last one is given. ``slots`` bounds how many tries
    are under way; a pause takes none.
    """
    clock = asyncio.get_running_loop().time
    begin = clock()
    failures = 0
    while True:
        try:
            async with slots:
                return await attempt()
        except FAILURES as error:
            failure = error
        failures += 1
        if not (isinstance(failure, RequestFailed) and failure.transient):
            return failure
        if _once.get():
            return failure
        seconds = retry.pause(failures, clock() - begin, failure.retry_after)
        if seconds is None:
            return failure
        await asyncio.sleep(seconds)


# Web pages that stand where data should be: portals, sign-in forms, viewers.

_BEGINNINGS = (b"<!doctype html", b"<html", b"<head")


def looks_like_html(key: str, body: bytes) -> bool:
    """Say whether a body is a page for people, judged by how it begins."""
    # The declared type is no help: many servers call a .zattrs a page, and some call
    # their pages nothing. JSON never begins with "<".
    if b"<" not in bytes(body[:64]):
        return False
    beginning = bytes(body[:512]).lstrip().lower()
    if key.endswith(".json") or key.rpartition("/")[2] in DOCUMENTS:
        return beginning.startswith(b"<")
    return beginning.startswith(_BEGINNINGS)
