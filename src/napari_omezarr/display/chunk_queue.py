"""Who wants which chunk, and which one is to be read next; decides, reads nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
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

from .chunk_cache import host_of

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Hashable, Iterable, Sequence

    from .chunk_cache import Chunk, ChunkKey

TRANSIENT = (
    ServerBusyError,
    ServerError,
    StoreConnectionError,
    StoreTimeoutError,
    TruncatedBodyError,
)
"""Errors that may be gone at the next try."""

_AWAY = (StoreConnectionError, StoreTimeoutError)

SortKey = tuple[int, int, float]


# What is asked for, and what becomes of it.


class Priority(IntEnum):
    """What is read first; a lower one goes before a higher one."""

    OVERVIEW = 0
    BETWEEN = 1
    SHARP = 2
    THUMBNAIL = 3
    COARSEST = 4
    PREFETCH = 5


FOREGROUND = Priority.THUMBNAIL
"""The last priority that somebody sees; the ones after it wait for all of these."""


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """A chunk, and how urgent it is: priority, step within it, then nearest first."""

    chunk: Chunk
    priority: Priority
    distance: float = 0.0
    step: int = 0

    @property
    def sort_key(self) -> SortKey:
        """Lower is sooner."""
        # A plain number: queues compare it often, and an enumeration's is slow.
        return int(self.priority), self.step, self.distance


class ChunkState(Enum):
    """Where a chunk is on its way."""

    # It waits for its turn in the queue of its host.
    QUEUED = auto()
    # A read of it is under way, and takes one of the reads that its host is allowed.
    READING = auto()
    # The last read failed; after a pause it is queued again.
    PAUSED = auto()
    # Nobody wants it any more; its read is being cancelled, and counts until it ended.
    CANCELLED = auto()
    # It arrived, was given up, or was dropped: the queue knows it no more.
    DONE = auto()


@dataclass(slots=True, eq=False)
class QueuedChunk:
    """One chunk that is on its way, for all who want it."""

    chunk: Chunk
    host: HostLimiter
    owners: dict[Hashable, SortKey] = field(default_factory=dict)
    state: ChunkState = ChunkState.QUEUED
    attempts: int = 0
    # When the last read began.
    started: float = 0.0

    @property
    def sort_key(self) -> SortKey:
        """The most urgent of its owners'."""
        return min(self.owners.values())


@dataclass(frozen=True, slots=True)
class Failure:
    """A chunk that could not be had, and when it is worth another try, if ever."""

    chunk: Chunk
    error: BaseException
    host: HostLimiter
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
class FailureNotice:
    """A host that fails, told once until it is back."""

    host: str
    error: BaseException


# How hard one host may be asked, learnt from its answers.


@dataclass(frozen=True, slots=True)
class ChunkRetryPolicy:
    """How often and when a chunk is asked for again; times in seconds.

    The store has tried several times before (``store.RetryPolicy``), so these pauses
    are long and few, and each later try is one request. A chunk that failed `tries`
    times is given up; of those that a host owes, one is then asked for every `longest`
    seconds, to see the host return. After `silence` without an answer it is said that
    there is none.
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

    The limit falls by half when the host fails, to one when it is away, and grows
    by one with each chunk that arrives: a struggling server is never asked harder.
    """

    name: str
    # The most reads at a time.
    most: int
    retry_policy: ChunkRetryPolicy = field(default_factory=ChunkRetryPolicy)
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
        self.limit = self.most

    @property
    def down(self) -> bool:
        """Whether the host itself fails: one chunk that does may be just bad."""
        return len(self._failing) > 1

    def succeeded(self, now: float) -> bool:
        """Note a chunk that arrived; True when the host was down and is back."""
        back = self.down
        self.limit = min(self.most, self.limit + 1)
        self._answered(now)
        self._answers += 1
        if back:
            self.forgive()
        self._failing.clear()
        self._failures = 0
        return back

    def failed(self, queued: QueuedChunk, error: BaseException, now: float) -> None:
        """Note a failed read."""
        self._answered(now)
        if not isinstance(error, TRANSIENT):
            return
        self._failing.add(queued.chunk.key)
        away = isinstance(error, _AWAY)
        self.limit = 1 if away else max(1, self.limit // 2)
        # Reads that were under way together tell one thing, not many: one that began
        # before the last failure was counted does not lengthen the pause.
        if not self._failures or queued.started >= self._counted_at:
            self._failures += 1
            self._counted_at = now
        if self.down or isinstance(error, ServerBusyError):
            self.not_before = self._counted_at + self.retry_policy.pause(self._failures)

    def forgive(self) -> None:
        """Forget all failures, so that the next ones are told again."""
        self._failing.clear()
        self._failures = 0
        self.not_before = 0.0
        self.probe_at = None
        self._told.clear()

    def is_news(self, error: BaseException) -> bool:
        """Say whether a failure is to be told: the first of its kind, until it is back.

        When something arrived since, and now the whole host fails, it is news again.
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
        began = min(queued.started for queued in self.reading)
        return max(began, self._answered_at) + self.retry_policy.silence

    def _answered(self, now: float) -> None:
        self._answered_at = now
        self.silent = False


# What is wanted, in which order, and what became of it.


class ChunkQueue:
    """The chunks that are wanted, queued, being read, and given up.

    For one thread at a time; times are seconds of any one clock. What is in `have`
    needs no reading.
    """

    def __init__(
        self,
        have: Container[ChunkKey],
        retry_policy: ChunkRetryPolicy | None = None,
    ) -> None:
        self._have = have
        self.retry_policy = retry_policy or ChunkRetryPolicy()
        self.owners: dict[Hashable, OwnerRequests] = {}
        # Those that are not DONE or CANCELLED.
        self.chunks: dict[ChunkKey, QueuedChunk] = {}
        self.failures: dict[ChunkKey, Failure] = {}
        self.hosts: dict[str, HostLimiter] = {}
        self.changed: set[Hashable] = set()
        self.notices: list[FailureNotice] = []
        # By host. A chunk that moves is queued anew, its old items are skipped.
        self._queues: dict[str, list[tuple[SortKey, int, QueuedChunk]]] = {}
        self._paused: list[tuple[float, int, QueuedChunk]] = []
        self._numbers = count()

    def request(
        self,
        owner: Hashable,
        requests: Iterable[ChunkRequest],
        generation: int = 0,
        now: float = 0.0,
    ) -> None:
        """Set all that an owner wants from now on; what it wanted before is dropped.

        An older generation than one that was heard already is ignored.
        """
        mine = self.owners.setdefault(owner, OwnerRequests())
        if generation < mine.generation:
            return
        if not mine.pending:
            mine.arrived = mine.bytes = 0
        mine.generation = generation
        before = mine.pending
        mine.requests = {request.chunk.key: request for request in requests}
        known, mine.pending, mine.failed = mine.failed, set(), set()
        for key in mine.requests:
            self._add(owner, key, now)
        # Arrived, or given up, since the owner looked: it must look again.
        if mine.failed - known or len(mine.requests) > len(mine.pending | mine.failed):
            self.changed.add(owner)
        for key in before - mine.pending:
            self._release(owner, key)

    def forget(self, owner: Hashable) -> None:
        """Drop all that an owner wants."""
        for key in self.owners.pop(owner, OwnerRequests()).pending:
            self._release(owner, key)
        self.changed.discard(owner)

    def forget_failures(self, tokens: Collection[str]) -> None:
        """Drop what is kept about chunks of pixels that nobody will look at again."""
        for key in [key for key in self.failures if key[0] in tokens]:
            del self.failures[key]

    def take_unwanted(self) -> list[QueuedChunk]:
        """Take out the reads under way that nobody wants any more."""
        unwanted: list[QueuedChunk] = [
            queued
            for host in self.hosts.values()
            for queued in host.reading
            if not queued.owners and queued.state is ChunkState.READING
        ]
        for queued in unwanted:
            queued.state = ChunkState.CANCELLED
            del self.chunks[queued.chunk.key]
        return unwanted

    def next(self, now: float) -> QueuedChunk | float | None:
        """Give the chunk to read now, else when to ask again, else None.

        A chunk that is given counts as being read.
        """
        self._wake(now)
        moments = [moment for moment, _, _ in self._paused[:1]]
        best: HostLimiter | None = None
        for host in self.hosts.values():
            if not self._may_read(host):
                continue
            if host.not_before > now:
                moments.append(host.not_before)
            elif best is None or self._head(host) < self._head(best):
                best = host
        if best is None:
            for host in self.hosts.values():
                moments += [m for m in (host.probe_at, host.silent_from()) if m]
            return min(moments, default=None)
        queued = heappop(self._queues[best.name])[2]
        queued.state = ChunkState.READING
        queued.started = now
        best.reading.add(queued)
        return queued

    def arrived(self, queued: QueuedChunk, now: float = 0.0) -> None:
        """Note that a chunk was read."""
        queued.host.reading.discard(queued)
        self.failures.pop(queued.chunk.key, None)
        for owner in self._settle(queued):
            self.owners[owner].arrived += 1
            self.owners[owner].bytes += queued.chunk.nbytes
        if queued.host.succeeded(now):
            self.retry(queued.host)

    def cancelled(self, queued: QueuedChunk) -> None:
        """Note that a read ended without a chunk, which nobody wanted any more."""
        queued.host.reading.discard(queued)
        self._settle(queued)

    def failed(self, queued: QueuedChunk, error: BaseException, now: float) -> None:
        """Note a read that failed: it is asked for again later, or given up."""
        host = queued.host
        host.reading.discard(queued)
        host.failed(queued, error, now)
        if not queued.owners:
            self._settle(queued)
            return
        if host.is_news(error):
            self.notices.append(FailureNotice(host.name, error))
        queued.attempts += 1
        transient = isinstance(error, TRANSIENT)
        if transient and queued.attempts < self.retry_policy.tries:
            queued.state = ChunkState.PAUSED
            moment = now + self.retry_policy.pause(queued.attempts)
            heappush(self._paused, (moment, next(self._numbers), queued))
            return
        again_at = now + self.retry_policy.longest if transient else None
        host.probe_at = host.probe_at or again_at
        failure = Failure(queued.chunk, error, host, again_at)
        self.failures[queued.chunk.key] = failure
        for owner in self._settle(queued):
            self.owners[owner].failed.add(queued.chunk.key)

    def retry(self, host: HostLimiter | None = None) -> None:
        """Ask again for what was given up: everything, or what a host owed."""
        for key, failure in list(self.failures.items()):
            transient = failure.again_at is not None
            if host is None or (failure.host is host and transient):
                self._retry_failed(key)
        if host is None:
            for each in self.hosts.values():
                each.forgive()
                each.limit = each.most

    def _add(self, owner: Hashable, key: ChunkKey, now: float) -> None:
        mine = self.owners[owner]
        request = mine.requests[key]
        if key in self._have:
            return
        failure = self.failures.get(key)
        if failure is not None:
            if failure.again_at is None or failure.again_at > now:
                mine.failed.add(key)
                return
            del self.failures[key]
        queued = self.chunks.get(key)
        if queued is None:
            queued = QueuedChunk(request.chunk, self._host(request.chunk))
            if failure is not None:
                queued.attempts = self.retry_policy.tries - 1
            self.chunks[key] = queued
        mine.pending.add(key)
        before = min(queued.owners.values(), default=None)
        queued.owners[owner] = request.sort_key
        if queued.sort_key != before:
            self._enqueue(queued)

    def _release(self, owner: Hashable, key: ChunkKey) -> None:
        queued = self.chunks.get(key)
        if queued is not None:
            queued.owners.pop(owner, None)
            if queued.owners:
                self._enqueue(queued)
            elif queued.state is not ChunkState.READING:
                queued.state = ChunkState.DONE
                del self.chunks[key]

    def _settle(self, queued: QueuedChunk) -> Sequence[Hashable]:
        """Take a chunk out; give the owners who waited for it."""
        key = queued.chunk.key
        # One that was cancelled may be queued again meanwhile, as another.
        if queued.state is not ChunkState.CANCELLED:
            del self.chunks[key]
        queued.state = ChunkState.DONE
        owners = list(queued.owners)
        for owner in owners:
            self.owners[owner].pending.discard(key)
        self.changed.update(owners)
        return owners

    def _retry_failed(self, key: ChunkKey) -> None:
        del self.failures[key]
        for owner, mine in self.owners.items():
            if key in mine.failed:
                mine.failed.discard(key)
                self._add(owner, key, 0.0)
                self.changed.add(owner)

    def _host(self, chunk: Chunk) -> HostLimiter:
        name = host_of(chunk.pixels)
        if name not in self.hosts:
            most = max(1, chunk.pixels.concurrency)
            self.hosts[name] = HostLimiter(name, most, self.retry_policy)
            self._queues[name] = []
        return self.hosts[name]

    def _enqueue(self, queued: QueuedChunk) -> None:
        if queued.state is ChunkState.QUEUED:
            item = (queued.sort_key, next(self._numbers), queued)
            heappush(self._queues[queued.host.name], item)

    def _head(self, host: HostLimiter) -> tuple[SortKey, int]:
        """Give what comes first in the queue of a host that may be read from."""
        sort_key, number, _ = self._queues[host.name][0]
        return sort_key, number

    def _may_read(self, host: HostLimiter) -> bool:
        """Say whether a host has something queued and room to read it now."""
        queue = self._queues[host.name]
        while queue and not self._is_current(queue[0][2], queue[0][0]):
            heappop(queue)
        if not queue:
            return False
        if queue[0][0][0] <= FOREGROUND:
            return len(host.reading) < host.limit
        # What nobody sees yet takes turns: never beside what somebody waits for,
        # and with room left for what she may look at next.
        return len(host.reading) < max(1, host.limit // 2) and not any(
            queued.owners and queued.sort_key[0] <= FOREGROUND
            for queued in host.reading
        )

    @staticmethod
    def _is_current(queued: QueuedChunk, sort_key: SortKey) -> bool:
        """Say whether a queue's item is where its chunk is queued now."""
        return queued.state is ChunkState.QUEUED and queued.sort_key == sort_key

    def _wake(self, now: float) -> None:
        while self._paused and self._paused[0][0] <= now:
            queued = heappop(self._paused)[2]
            if queued.state is ChunkState.PAUSED:
                queued.state = ChunkState.QUEUED
                self._enqueue(queued)
        for host in self.hosts.values():
            if host.probe_at is not None and host.probe_at <= now:
                host.probe_at = self._probe(host, now)
            if (moment := host.silent_from()) is not None and moment <= now:
                host.silent = True
                seconds = f"{self.retry_policy.silence:.0f} seconds"
                error = StoreTimeoutError(f"{host.name} gave no answer for {seconds}.")
                self.notices.append(FailureNotice(host.name, error))

    def _probe(self, host: HostLimiter, now: float) -> float | None:
        """Ask again for one chunk that a host owes; say when to do so next."""
        if any(queued.host is host for queued in self.chunks.values()):
            # What is still to be asked for will tell as well, and has its turn first.
            return now + self.retry_policy.longest
        for key, failure in self.failures.items():
            wanted = any(key in mine.failed for mine in self.owners.values())
            if failure.host is host and failure.again_at and wanted:
                self._retry_failed(key)
                if key in self.chunks:
                    self.chunks[key].attempts = self.retry_policy.tries - 1
                return now + self.retry_policy.longest
        return None
