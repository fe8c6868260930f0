"""Asking a transport for a key until it answers, or until patience ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from napari_omezarr.errors import StoreError

from .interruption import Interrupted, Kind
from .pages import is_page
from .refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from zarr.abc.store import ByteRequest

    from .patience import Patience
    from .transport import Transport

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Broken:
    """What stood in the way at the last try."""

    problem: Refused | Interrupted | StoreError | OSError


class Asking:
    """A transport, asked with a limit on concurrency and again after passing failures.

    Parameters
    ----------
    transport : Transport
        Asked for one key at a time by each try.
    patience : Patience
        How often, and how long.
    concurrency : int
        How many tries are under way at once.
    """

    def __init__(
        self, transport: Transport, patience: Patience, concurrency: int
    ) -> None:
        self._transport = transport
        self._patience = patience
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
        return await persevere(lambda: self._try(key, wanted), self._patience)

    async def _try(self, key: str, wanted: ByteRequest | None) -> bytes | Broken | None:
        async with self._slots:
            try:
                body = await self._transport.read(key, wanted)
            except (Refused, Interrupted, StoreError, OSError) as error:
                return Broken(error)
        if body is not None and is_page(key, body):
            return Broken(Interrupted(Kind.WEB_PAGE))
        return body


async def persevere(
    attempt: Callable[[], Awaitable[T | Broken]],
    patience: Patience,
    rest: Callable[[float], Awaitable[bool]] | None = None,
) -> T | Broken:
    """Try until something else than a passing failure comes, or patience ends.

    Parameters
    ----------
    attempt : callable
        One try.
    patience : Patience
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
        pause = patience.pause(failures, elapsed, _asked(answer.problem))
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
