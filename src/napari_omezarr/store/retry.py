"""Asking a transport for a key until it answers, or until patience ends."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from napari_omezarr.errors import StoreError
from napari_omezarr.location import DOCUMENTS

from .error_mapping import BrokenBy, Interrupted, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from zarr.abc.store import ByteRequest

    from .backend import Transport

# How long to wait for a place, and how often to ask again.


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds on waiting and asking again; all times in seconds.

    Attributes
    ----------
    connect, silence : float
        How long a connection may take, and how long one may be silent.
    tries : int
        How often a key is asked for at most.
    total : float
        No further try begins after this time.
    first_pause, longest_pause : float
        The pause before the second try is drawn from zero to `first_pause`; the
        bound doubles with each further try, up to `longest_pause`. A server's own
        ``Retry-After`` is kept up to `longest_pause` too.
    """

    connect: float = 15
    silence: float = 20
    tries: int = 6
    total: float = 60
    first_pause: float = 0.25
    longest_pause: float = 10

    def pause(self, failures: int, elapsed: float, asked: float = 0) -> float | None:
        """Decide how long to wait before asking again.

        Parameters
        ----------
        failures : int
            How many tries have failed, at least 1.
        elapsed : float
            Seconds since the first try began.
        asked : float
            The server's ``Retry-After`` in seconds, 0 if it gave none.

        Returns
        -------
        float or None
            Seconds to wait, or None to give up.

        Notes
        -----
        "Full jitter": many clients that failed together come back spread out.
        """
        if failures >= self.tries:
            return None
        bound = min(self.longest_pause, self.first_pause * 2 ** (failures - 1))
        pause = max(random.uniform(0, bound), min(asked, self.longest_pause))
        return pause if elapsed + pause < self.total else None


# Web pages that stand where data should be: portals, sign-in forms, viewers.

_BEGINNINGS = (b"<!doctype html", b"<html", b"<head")


def looks_like_html(key: str, body: bytes) -> bool:
    """Say whether a body is a page for people, judged by how it begins.

    The declared type is no help: many servers call a ``.zattrs`` a page, and some
    call their pages nothing. JSON never begins with ``<``.
    """
    if b"<" not in body[:64]:
        return False
    beginning = body[:512].lstrip().lower()
    if key.endswith(".json") or key.rpartition("/")[2] in DOCUMENTS:
        return beginning.startswith(b"<")
    return beginning.startswith(_BEGINNINGS)


# Asking a transport for a key until it answers, or until patience ends.

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Broken:
    """What stood in the way at the last try."""

    problem: Refused | Interrupted | StoreError | OSError


class RetryingReader:
    """A transport, asked with a limit on concurrency and again after passing failures.

    Parameters
    ----------
    transport : Transport
        Asked for one key at a time by each try.
    retry : RetryPolicy
        How often, and how long.
    concurrency : int
        How many tries are under way at once.
    """

    def __init__(
        self, transport: Transport, retry: RetryPolicy, concurrency: int
    ) -> None:
        self._transport = transport
        self._retry = retry
        self._slots = asyncio.Semaphore(concurrency)

    async def ask(self, key: str, wanted: ByteRequest | None) -> bytes | Broken | None:
        """Ask for a key or a part of it; runs on the I/O loop.

        A pause between tries takes no slot, and cancelling ends it. Keys that lead
        out of the location do not exist.

        Returns
        -------
        bytes, Broken or None
            The bytes, why there are none, or None if there is nothing.
        """
        if ".." in key and ".." in key.split("/"):
            return None
        return await retrying(lambda: self._try(key, wanted), self._retry)

    async def _try(self, key: str, wanted: ByteRequest | None) -> bytes | Broken | None:
        async with self._slots:
            try:
                body = await self._transport.read(key, wanted)
            except (Refused, Interrupted, StoreError, OSError) as error:
                return Broken(error)
        if body is not None and looks_like_html(key, body):
            return Broken(Interrupted(BrokenBy.WEB_PAGE))
        return body


async def retrying(
    attempt: Callable[[], Awaitable[T | Broken]],
    retry: RetryPolicy,
    rest: Callable[[float], Awaitable[bool]] | None = None,
) -> T | Broken:
    """Try until something else than a passing failure comes, or patience ends.

    Parameters
    ----------
    attempt : callable
        One try.
    retry : RetryPolicy
        How often, and how long.
    rest : callable, optional
        Awaited for the seconds between two tries; says whether to go on.
    """
    rest = rest or _slept
    begin = asyncio.get_running_loop().time()
    failures = 0
    while True:
        answer = await attempt()
        failures += 1
        if not isinstance(answer, Broken) or not _is_passing(answer.problem):
            return answer
        elapsed = asyncio.get_running_loop().time() - begin
        pause = retry.pause(failures, elapsed, _asked(answer.problem))
        if pause is None or not await rest(pause):
            return answer


async def _slept(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return True


def _is_passing(problem: Exception) -> bool:
    match problem:
        case Refused(refusal=refusal):
            return refusal.passing
        case Interrupted(kind=kind):
            return kind.passing
    return False


def _asked(problem: Exception) -> float:
    """How long the server asks to wait."""
    return problem.refusal.retry_after if isinstance(problem, Refused) else 0
