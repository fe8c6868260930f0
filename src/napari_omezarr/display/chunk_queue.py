"""Who wants which chunk, and which one is to be read next; decides, reads nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from napari_omezarr.errors import (
    ServerBusyError,
    ServerError,
    StoreConnectionError,
    StoreTimeoutError,
    TruncatedBodyError,
)

from .chunk_cache import place_of

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Hashable, Iterable, Sequence

    from .chunk_cache import Chunk, ChunkKey

# What is asked for, and what becomes of it.

SortKey = tuple[int, int, float]


class Priority(IntEnum):
    """What is read first; a lower tier goes before a higher one."""

    OVERVIEW = 0
    BETWEEN = 1
    SHARP = 2
    THUMBNAIL = 3
    WARM = 4
    AHEAD = 5


FOREGROUND = Priority.THUMBNAIL
"""The last tier that somebody sees; the ones after it wait for all of these."""


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """A chunk, and how urgent it is: by tier, by step within it, then nearest first."""

    chunk: Chunk
    tier: Priority
    distance: float = 0.0
    step: int = 0

    @property
    def priority(self) -> SortKey:
        """Lower is sooner."""
        # A plain number: queues compare it often, and an enumeration's is slow.
        return int(self.tier), self.step, self.distance


@dataclass(slots=True, eq=False)
class QueuedChunk:
    """One chunk that is on its way, for all who want it."""

    chunk: Chunk
    place: HostLimiter
    owners: dict[Hashable, SortKey] = field(default_factory=dict)
    attempts: int = 0
    started: float | None = None
    waiting: bool = False

    @property
    def priority(self) -> SortKey:
        """The most urgent of its owners'."""
        return min(self.owners.values())


@dataclass(frozen=True, slots=True)
class Failure:
    """A chunk that could not be had."""

    chunk: Chunk
    error: BaseException
    place: HostLimiter
    again_at: float | None


@dataclass(slots=True)
class OwnerRequests:
    """What one owner waits for, and what came of it so far."""

    generation: int = -1
    requests: dict[ChunkKey, ChunkRequest] = field(default_factory=dict)
    failed: set[ChunkKey] = field(default_factory=set)
    pending: set[ChunkKey] = field(default_factory=set)
    arrived: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """A place that fails, told once until it is back."""

    place: str
    error: BaseException


# How hard one place may be asked, learnt from its answers.

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
class HostLimiter:
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
    reading: set[QueuedChunk] = field(default_factory=set)
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

    def failed(self, entry: QueuedChunk, error: BaseException, now: float) -> None:
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


# Who wants which chunk, and which one is to be read next; decides, reads nothing.


class ChunkQueue:
    """The chunks that are wanted, queued, being read, and given up.

    For one thread at a time; times are seconds of any one clock.

    Parameters
    ----------
    have : Container of ChunkKey
        Chunks that need no reading.
    retrying : Retrying, optional
        How often and when a chunk is asked for again.
    """

    def __init__(
        self, have: Container[ChunkKey], retrying: Retrying | None = None
    ) -> None:
        self._have = have
        self.retrying = retrying or Retrying()
        self.wants: dict[Hashable, OwnerRequests] = {}
        self.entries: dict[ChunkKey, QueuedChunk] = {}
        self.failures: dict[ChunkKey, Failure] = {}
        self.places: dict[str, HostLimiter] = {}
        self.changed: set[Hashable] = set()
        self.notices: list[Notice] = []
        self._queues: dict[str, list[tuple[SortKey, int, QueuedChunk]]] = {}
        self._waiting: list[tuple[float, int, QueuedChunk]] = []
        self._numbers = count()

    def want(
        self,
        owner: Hashable,
        requests: Iterable[ChunkRequest],
        generation: int = 0,
        now: float = 0.0,
    ) -> None:
        """Set all that an owner wants from now on; what it wanted before is dropped.

        An older generation than one that was heard already is ignored.
        """
        want = self.wants.setdefault(owner, OwnerRequests())
        if generation < want.generation:
            return
        if not want.pending:
            want.arrived = want.bytes = 0
        want.generation = generation
        before = want.pending
        want.requests = {request.chunk.key: request for request in requests}
        known, want.pending, want.failed = want.failed, set(), set()
        for key in want.requests:
            self._demand(owner, key, now)
        # Arrived, or given up, since the owner looked: it must look again.
        if want.failed - known or len(want.requests) > len(want.pending | want.failed):
            self.changed.add(owner)
        for key in before - want.pending:
            self._release(owner, key)

    def forget(self, owner: Hashable) -> None:
        """Drop all that an owner wants."""
        want = self.wants.pop(owner, OwnerRequests())
        for key in want.pending:
            self._release(owner, key)
        self.changed.discard(owner)

    def forget_failures(self, tokens: Collection[str]) -> None:
        """Drop what is kept about chunks of pixels that nobody will look at again."""
        for key in [key for key in self.failures if key[0] in tokens]:
            del self.failures[key]

    def unwanted(self) -> list[QueuedChunk]:
        """Take out the reads under way that nobody wants any more."""
        dropped: list[QueuedChunk] = [
            entry
            for place in self.places.values()
            for entry in place.reading
            if not entry.owners and self.entries.get(entry.chunk.key) is entry
        ]
        for entry in dropped:
            del self.entries[entry.chunk.key]
        return dropped

    def next(self, now: float) -> QueuedChunk | float | None:
        """Give the entry to read now, else when to ask again, else None.

        An entry that is given counts as being read.
        """
        self._wake(now)
        moments = [moment for moment, _, _ in self._waiting[:1]]
        best: HostLimiter | None = None
        for place in self.places.values():
            if not self._may_read(place):
                continue
            if place.not_before > now:
                moments.append(place.not_before)
            elif best is None or self._head(place) < self._head(best):
                best = place
        if best is None:
            for place in self.places.values():
                moments += [m for m in (place.probe_at, place.silent_from()) if m]
            return min(moments, default=None)
        entry = heappop(self._queues[best.name])[2]
        entry.started = now
        best.reading.add(entry)
        return entry

    def arrived(self, entry: QueuedChunk, now: float = 0.0) -> None:
        """Note that a chunk was read."""
        entry.place.reading.discard(entry)
        self.failures.pop(entry.chunk.key, None)
        for owner in self._settle(entry):
            want = self.wants[owner]
            want.arrived += 1
            want.bytes += entry.chunk.nbytes
        if entry.place.succeeded(now):
            self.retry(entry.place)

    def cancelled(self, entry: QueuedChunk) -> None:
        """Note that a read was given up, as nobody wanted it."""
        entry.place.reading.discard(entry)

    def failed(self, entry: QueuedChunk, error: BaseException, now: float) -> None:
        """Note a read that failed: it is asked for again later, or given up."""
        place = entry.place
        place.reading.discard(entry)
        place.failed(entry, error, now)
        if self.entries.get(entry.chunk.key) is not entry:
            return
        if place.tells(error):
            self.notices.append(Notice(place.name, error))
        entry.attempts += 1
        entry.started = None
        transient = isinstance(error, TRANSIENT)
        if transient and entry.attempts < self.retrying.tries:
            entry.waiting = True
            moment = now + self.retrying.pause(entry.attempts)
            heappush(self._waiting, (moment, next(self._numbers), entry))
            return
        again_at = now + self.retrying.longest if transient else None
        place.probe_at = place.probe_at or again_at
        failure = Failure(entry.chunk, error, place, again_at)
        self.failures[entry.chunk.key] = failure
        for owner in self._settle(entry):
            self.wants[owner].failed.add(entry.chunk.key)

    def retry(self, place: HostLimiter | None = None) -> None:
        """Ask again for what was given up: everything, or what a place owed."""
        for key, failure in list(self.failures.items()):
            transient = failure.again_at is not None
            if place is None or (failure.place is place and transient):
                self._again(key)
        if place is None:
            for each in self.places.values():
                each.forgive()
                each.limit = each.full

    def _demand(self, owner: Hashable, key: ChunkKey, now: float) -> None:
        want = self.wants[owner]
        request = want.requests[key]
        if key in self._have:
            return
        failure = self.failures.get(key)
        if failure is not None:
            if failure.again_at is None or failure.again_at > now:
                want.failed.add(key)
                return
            del self.failures[key]
        entry = self.entries.get(key)
        if entry is None:
            entry = QueuedChunk(request.chunk, self._place(request.chunk))
            if failure is not None:
                entry.attempts = self.retrying.tries - 1
            self.entries[key] = entry
        want.pending.add(key)
        before = min(entry.owners.values(), default=None)
        entry.owners[owner] = request.priority
        if entry.priority != before:
            self._queue(entry)

    def _release(self, owner: Hashable, key: ChunkKey) -> None:
        entry = self.entries.get(key)
        if entry is not None:
            entry.owners.pop(owner, None)
            if entry.owners:
                self._queue(entry)
            elif entry.started is None:
                del self.entries[key]

    def _settle(self, entry: QueuedChunk) -> Sequence[Hashable]:
        """Take an entry out; give the owners who waited for it."""
        key = entry.chunk.key
        if self.entries.get(key) is entry:
            del self.entries[key]
        owners = list(entry.owners)
        for owner in owners:
            self.wants[owner].pending.discard(key)
        self.changed.update(owners)
        return owners

    def _again(self, key: ChunkKey) -> None:
        del self.failures[key]
        for owner, want in self.wants.items():
            if key in want.failed:
                want.failed.discard(key)
                self._demand(owner, key, 0.0)
                self.changed.add(owner)

    def _place(self, chunk: Chunk) -> HostLimiter:
        name = place_of(chunk.pixels)
        place = self.places.get(name)
        if place is None:
            place = HostLimiter(name, max(1, chunk.pixels.concurrency), self.retrying)
            self.places[name] = place
            self._queues[name] = []
        return place

    def _queue(self, entry: QueuedChunk) -> None:
        if entry.started is None and not entry.waiting:
            item = (entry.priority, next(self._numbers), entry)
            heappush(self._queues[entry.place.name], item)

    def _head(self, place: HostLimiter) -> tuple[SortKey, int]:
        """Give what comes first in the queue of a place that may be read from."""
        priority, number, _ = self._queues[place.name][0]
        return priority, number

    def _may_read(self, place: HostLimiter) -> bool:
        """Say whether a place has something queued and room to read it now."""
        queue = self._queues[place.name]
        while queue and not self._is_queued(queue[0][2], queue[0][0]):
            heappop(queue)
        if not queue:
            return False
        if queue[0][0][0] <= FOREGROUND:
            return place.running < place.limit
        # What nobody sees yet takes turns: never beside what somebody waits for,
        # and with room left for what she may look at next.
        return place.running < max(1, place.limit // 2) and not any(
            entry.owners and entry.priority[0] <= FOREGROUND for entry in place.reading
        )

    def _is_queued(self, entry: QueuedChunk, priority: SortKey) -> bool:
        """Say whether a queue's item is true: an entry moves by being queued anew."""
        return (
            self.entries.get(entry.chunk.key) is entry
            and bool(entry.owners)
            and entry.started is None
            and not entry.waiting
            and entry.priority == priority
        )

    def _wake(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            entry = heappop(self._waiting)[2]
            entry.waiting = False
            if entry.owners and self.entries.get(entry.chunk.key) is entry:
                self._queue(entry)
        for place in self.places.values():
            if place.probe_at is not None and place.probe_at <= now:
                place.probe_at = self._probe(place, now)
            if (moment := place.silent_from()) is not None and moment <= now:
                place.silent = True
                seconds = f"{self.retrying.silence:.0f} seconds"
                error = StoreTimeoutError(f"{place.name} gave no answer for {seconds}.")
                self.notices.append(Notice(place.name, error))

    def _probe(self, place: HostLimiter, now: float) -> float | None:
        """Ask again for one chunk that a place owes; say when to do so next."""
        if any(entry.place is place for entry in self.entries.values()):
            # What is still to be asked for will tell as well, and has its turn first.
            return now + self.retrying.longest
        for key, failure in self.failures.items():
            wanted = any(key in want.failed for want in self.wants.values())
            if failure.place is place and failure.again_at and wanted:
                self._again(key)
                if key in self.entries:
                    self.entries[key].attempts = self.retrying.tries - 1
                return now + self.retrying.longest
        return None
