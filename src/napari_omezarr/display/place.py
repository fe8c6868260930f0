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
    from .chunks import ChunkKey
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
    these pauses are long and few. A chunk that failed `tries` times is given up; of
    those a place owes, one is then asked for every `longest` seconds, to see the
    place return. After `silence` without an answer it is said that there is none.
    """

    tries: int = 4
    first: float = 1.0
    longest: float = 30.0
    silence: float = 10.0

    def pause(self, failures: int) -> float:
        """Give the pause after so many failures in a row, at least 1."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 30))


@dataclass(slots=True)
class Place:
    """One host or bucket: how many reads at a time, when the next one may begin.

    The limit falls by half when the place fails, to one when it is away, and grows
    by one with each chunk that arrives: a struggling server is never asked harder.

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
    not_before: float = 0.0
    probe_at: float | None = None
    silent: bool = False
    _failing: set[ChunkKey] = field(default_factory=set)
    _failures: int = 0
    _counted_at: float = 0.0
    _answered_at: float = 0.0
    _answers: int = 0
    _told: dict[type[BaseException], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.limit = self.full

    @property
    def running(self) -> int:
        """How many reads are under way."""
        return len(self.reading)

    @property
    def down(self) -> bool:
        """Whether the place itself fails: one chunk that does may be just bad."""
        return len(self._failing) > 1

    def succeeded(self, now: float) -> bool:
        """Note a chunk that arrived; True when the place was down and is back."""
        back = self.down
        self.limit = min(self.full, self.limit + 1)
        self._answered(now)
        self._answers += 1
        if back:
            self.forgive()
        self._failing.clear()
        self._failures = 0
        return back

    def failed(self, entry: Entry, error: BaseException, now: float) -> None:
        """Note a failed read.

        Reads that were under way together tell one thing, not many: one that began
        before the last failure was counted does not lengthen the pause.
        """
        self._answered(now)
        if not isinstance(error, TRANSIENT):
            return
        self._failing.add(entry.chunk.key)
        away = isinstance(error, _AWAY)
        self.limit = 1 if away else max(1, self.limit // 2)
        began = now if entry.started is None else entry.started
        if not self._failures or began >= self._counted_at:
            self._failures += 1
            self._counted_at = now
        if self.down or isinstance(error, ServerBusyError):
            self.not_before = self._counted_at + self.retrying.pause(self._failures)

    def forgive(self) -> None:
        """Forget all failures, so that the next ones are told again."""
        self._failing.clear()
        self._failures = 0
        self.not_before = 0.0
        self.probe_at = None
        self._told.clear()

    def tells(self, error: BaseException) -> bool:
        """Say whether a failure is news: the first of its kind, until it is back.

        When something arrived since, and now the whole place fails, it is news again.
        """
        told_at = self._told.get(type(error))
        if told_at is None or (self.down and told_at < self._answers):
            self._told[type(error)] = self._answers
            return True
        return False

    def silent_from(self) -> float | None:
        """Give when it is to be said that nothing is heard; None when it is not."""
        if self.silent or not self.reading:
            return None
        began = min(entry.started or 0.0 for entry in self.reading)
        return max(began, self._answered_at) + self.retrying.silence

    def _answered(self, now: float) -> None:
        self._answered_at = now
        self.silent = False
