"""How hard one place may be asked, learnt from its answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_omezarr.errors import (
    ServerBusyError,
    ServerError,
    StoreConnectionError,
    StoreTimeoutError,
    TruncatedBodyError,
)

if TYPE_CHECKING:
    from .request import Entry

TRANSIENT = (
    ServerBusyError,
    ServerError,
    StoreConnectionError,
    StoreTimeoutError,
    TruncatedBodyError,
)
"""Errors that may be gone at the next try."""

_AWAY = (StoreConnectionError, StoreTimeoutError)


@dataclass(frozen=True, slots=True)
class Retrying:
    """How often and when a chunk is asked for again; times in seconds.

    The store has been patient before (several tries, see ``store.patience``), so
    these pauses are long and few. A chunk that failed `tries` times is marked; one
    marked chunk is then asked for every `longest` seconds, to see a place return.
    """

    tries: int = 4
    first: float = 1.0
    longest: float = 30.0

    def pause(self, failures: int) -> float:
        """Give the pause after so many failures in a row, at least 1."""
        return float(min(self.longest, self.first * 2 ** (failures - 1)))


@dataclass(slots=True)
class Place:
    """One host or bucket: at most ``limit`` reads at a time, none before a time.

    The limit falls by half when the place fails, to one when it is away, and grows
    by one with each chunk that arrives: it never asks a struggling server harder.

    Parameters
    ----------
    name : str
        For the person.
    full : int
        The most reads at a time.
    """

    name: str
    full: int
    retrying: Retrying = field(default_factory=Retrying)
    limit: int = 0
    reading: set[Entry] = field(default_factory=set)
    failures: int = 0
    counted_at: float = 0.0
    not_before: float = 0.0
    probe_at: float | None = None
    told: set[type[BaseException]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.limit = self.full

    @property
    def running(self) -> int:
        """How many reads are under way."""
        return len(self.reading)

    def succeeded(self) -> bool:
        """Note a chunk that arrived; True when the place was down and is back."""
        back = self.failures > 1 or self.probe_at is not None
        self.failures = 0
        self.not_before = 0.0
        self.limit = min(self.full, self.limit + 1)
        if back:
            self.forgive()
        return back

    def failed(self, error: BaseException, started: float, now: float) -> None:
        """Note a failed read that began at a time, both by the same clock.

        Reads that were under way together tell one thing, not many: one that began
        before the last failure was counted does not count.
        """
        if not isinstance(error, TRANSIENT):
            return
        away = isinstance(error, _AWAY)
        self.limit = 1 if away else max(1, self.limit // 2)
        if self.failures and started < self.counted_at:
            return
        self.failures += 1
        self.counted_at = now
        # One bad object must not stop all others: only a second failure in a row,
        # or a server that asks for it, makes the whole place pause.
        if self.failures > 1 or isinstance(error, ServerBusyError):
            self.not_before = now + self.retrying.pause(self.failures)

    def forgive(self) -> None:
        """Forget all failures, so that the next ones are told again."""
        self.failures = 0
        self.not_before = 0.0
        self.probe_at = None
        self.told.clear()
