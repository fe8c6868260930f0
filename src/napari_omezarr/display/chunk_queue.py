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
    StoreError,
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
    # The last read failed; after a pause it is queued again, and hatched until then.
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
    # Why the last read failed, and when the first did.
    error: BaseException | None = None
    since: float = 0.0
    # It was given up before, and is asked for to see whether that has changed.
    is_probe: bool = False

    @property
    def late(self) -> bool:
        """Whether it could not be had so far: its reads failed, or nobody answers."""
        return self.error is not None or self.host.down

    @property
    def sort_key(self) -> SortKey:
        """The most urgent of its owners'."""
        return min(self.owners.values())


@dataclass(frozen=True, slots=True)
class Failure:
    """A chunk that could not be had, since when, and when another try is worth it."""

    chunk: Chunk
    error: BaseException
    host: HostLimiter
    since: float
    again_at: float


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
    """A host that fails, told once until it is back; or pixels to be opened again.

    `token` names the pixels; only what `is_news` is for the person.
    """

    host: str
    error: BaseException
    token: str = ""
    is_news: bool = True


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a chunk of a host could not be had so far, and since when."""

    host: str
    error: BaseException
    since: float


# How hard one host may be asked, learnt from its answers.


@dataclass(frozen=True, slots=True)
class ChunkRetryPolicy:
    """How often and when a chunk is asked for again; times in seconds.

    The store has tried several times before (``store.RetryPolicy``), so these pauses
    are long and few, and each later try is one request. A chunk that failed `tries`
    times is given up, all of a host's at once when the host is down. Of those that a
    host owes one is then asked for, after pauses that double and from the `tries`-th
    on last `longest`, to see it return; sooner when somebody looks elsewhere. After
    `silence` without an answer a host is down.
    """

    tries: int = 4
    first: float = 1.0
    longest: float = 30.0
    silence: float = 10.0

    def pause(self, failures: int) -> float:
        """Give the pause after so many failures in a row, at least 1."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 30))


@dataclass(slots=True, eq=False)
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
    # Since when nothing good came from it, and why; None while it is well.
    since: float | None = None
    error: BaseException | None = None
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
        return self.silent or len(self._failing) > 1

    def succeeded(self, now: float) -> bool:
        """Note a chunk that arrived; True when the host was down and is back."""
        back = self.down
        self.limit = min(self.most, self.limit + 1)
        self._answered_at = now
        self._answers += 1
        self._recover()
        self.since = self.error = None
        self._failing.clear()
        self._failures = 0
        return back

    def failed(self, queued: QueuedChunk, error: BaseException, now: float) -> None:
        """Note a failed read."""
        self._answered_at = now
        away = isinstance(error, _AWAY)
        if not isinstance(error, TRANSIENT):
            # It answers, be it with a refusal.
            self._recover()
            return
        self.silent &= away
        self._failing.add(queued.chunk.key)
        self._troubled(error, now)
        self.limit = 1 if away else max(1, self.limit // 2)
        # Reads that were under way together tell one thing, not many: one that began
        # before the last failure was counted does not lengthen the pause.
        if not self._failures or queued.started > self._counted_at:
            self._failures += 1
            self._counted_at = now
        if self.down or isinstance(error, ServerBusyError):
            self.not_before = self._counted_at + self._pause()
        if self.down:
            self.probe_at = self.not_before

    def fell_silent(self, moment: float) -> StoreTimeoutError:
        """Note that nothing is heard since `moment`; gives what to say of it."""
        self.silent = True
        self.limit = 1
        seconds = f"{self.retry_policy.silence:.0f} seconds"
        error = StoreTimeoutError(
            f"{self.name} gave no answer for {seconds}.",
            action="Check whether this computer is online.",
        )
        self._troubled(error, moment)
        return error

    def ask_soon(self, now: float) -> None:
        """Ask a host that is down again soon: somebody looks at something new."""
        moment = max(now, self._counted_at + self.retry_policy.first)
        self.probe_at = moment if self.probe_at is None else min(self.probe_at, moment)
        self.not_before = min(self.not_before, self.probe_at)

    def trouble(self, error: BaseException | None, since: float) -> Trouble:
        """Say why a chunk could not be had: for its own error, or as the host is down.

        `since` is when that began, where it is not the host's fault.
        """
        if self.error is not None and (self.down or error is None):
            error, since = self.error, since if self.since is None else self.since
        unknown = StoreConnectionError(f"{self.name} cannot be reached.")
        return Trouble(self.name, error or unknown, since)

    def is_asked_by(self, moment: float) -> bool:
        """Say whether it is being asked, while it is down, or will be soon."""
        due = self.probe_at is not None and self.probe_at <= moment
        return self.down and (due or bool(self.reading))

    def forgive(self, *, keep: bool = False) -> None:
        """Forget all failures, so that the next ones are told again.

        With `keep`, a host that is down stays so until it answers.
        """
        if not keep:
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

    def _recover(self) -> None:
        if self.down:
            self.forgive()
            self.silent = False
            self.since = self.error = None

    def _troubled(self, error: BaseException, now: float) -> None:
        self.error = error
        if self.since is None:
            self.since = now

    def _pause(self) -> float:
        policy, failures = self.retry_policy, self._failures
        return policy.pause(failures) if failures < policy.tries else policy.longest


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
        # Those of them whose reads have failed.
        self._failing: set[ChunkKey] = set()
        self.failures: dict[ChunkKey, Failure] = {}
        self.hosts: dict[str, HostLimiter] = {}
        self.changed: set[Hashable] = set()
        # An owner went on to what is there: nothing is new, but less is waited for.
        self.quieter = False
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
        self.quieter |= bool(known or before) and not (mine.failed or mine.pending)
        new = mine.failed - known
        if new or len(mine.requests) > len(mine.pending | mine.failed):
            self.changed.add(owner)
        for host in {self.failures[key].host for key in new}:
            if host.down:
                host.ask_soon(now)
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
            self._drop(queued.chunk.key)
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
        if queued.host.succeeded(now) or queued.is_probe:
            self._retry_host(queued.host)

    def cancelled(self, queued: QueuedChunk) -> None:
        """Note that a read ended without a chunk, which nobody wanted any more."""
        queued.host.reading.discard(queued)
        self._settle(queued)

    def failed(self, queued: QueuedChunk, error: BaseException, now: float) -> None:
        """Note a read that failed: it is asked for again later, or given up."""
        host = queued.host
        host.reading.discard(queued)
        was_down = host.down
        host.failed(queued, error, now)
        if was_down and not host.down:
            self._retry_host(host)
        if not queued.owners:
            self._settle(queued)
            return
        is_news = host.is_news(error)
        if is_news or getattr(error, "opening_helps", False):
            token = queued.chunk.key[0]
            self.notices.append(FailureNotice(host.name, error, token, is_news))
        queued.attempts += 1
        queued.since = now if queued.error is None else queued.since
        queued.error = error
        self._failing.add(queued.chunk.key)
        transient = isinstance(error, TRANSIENT)
        if host.down:
            self._give_up_all(host, now)
        if host.down or not transient or queued.attempts >= self.retry_policy.tries:
            self._give_up(queued, error, now)
            return
        self.changed.update(queued.owners)
        queued.state = ChunkState.PAUSED
        moment = now + self.retry_policy.pause(queued.attempts)
        heappush(self._paused, (moment, next(self._numbers), queued))

    def retry(self) -> None:
        """Ask again, now, for all that was given up; of a host that is down for one."""
        for host in self.hosts.values():
            down = host.down
            host.forgive(keep=down)
            if down:
                host.probe_at = 0.0
            else:
                host.limit = host.most
                self._retry_host(host)

    def is_late(self, key: ChunkKey) -> bool:
        """Say whether a chunk could not be had so far; it may be on its way again."""
        queued = self.chunks.get(key)
        return key in self.failures or (queued is not None and queued.late)

    def is_lost(self, key: ChunkKey) -> bool:
        """Say whether a chunk was given up though its host is well."""
        failure = self.failures.get(key)
        return failure is not None and not failure.host.down

    def troubles(self, owners: Iterable[Hashable]) -> dict[ChunkKey, Trouble]:
        """Give what some owners want and could not be had so far, and why."""
        found: dict[ChunkKey, Trouble] = {}
        # Asked for often, while thousands of chunks are on their way.
        is_down = any(host.down for host in self.hosts.values())
        for mine in (self.owners[each] for each in owners if each in self.owners):
            for key in mine.failed & self.failures.keys():
                failure = self.failures[key]
                found[key] = failure.host.trouble(failure.error, failure.since)
            for key in mine.pending if is_down else mine.pending & self._failing:
                queued = self.chunks[key]
                if queued.late:
                    found[key] = queued.host.trouble(queued.error, queued.since)
        return found

    def errors(self, owners: Iterable[Hashable], now: float) -> list[BaseException]:
        """Give why chunks of some owners were given up, if no try is due now."""
        soon = now + self.retry_policy.first
        wanted = (self.owners[owner].failed for owner in owners if owner in self.owners)
        failures = (self.failures.get(key) for failed in wanted for key in failed)
        return [f.error for f in failures if f and not f.host.is_asked_by(soon)]

    def _add(self, owner: Hashable, key: ChunkKey, now: float) -> None:
        mine = self.owners[owner]
        request = mine.requests[key]
        if key in self._have:
            return
        failure = self.failures.get(key)
        host = self._host(request.chunk)
        if failure is not None and (host.down or failure.again_at > now):
            mine.failed.add(key)
            return
        queued = self.chunks.get(key)
        if queued is None and host.down:
            error = host.trouble(None, now).error
            self._note_failure(request.chunk, host, error, now, now)
            mine.failed.add(key)
            return
        if queued is None:
            queued = self._queue(request.chunk)
        self._join(queued, owner)

    def _queue(self, chunk: Chunk) -> QueuedChunk:
        """Put a chunk in the queue, for all who were told that it failed as well."""
        queued = self.chunks[chunk.key] = QueuedChunk(chunk, self._host(chunk))
        failure = self.failures.pop(chunk.key, None)
        if failure is not None:
            queued.attempts = self.retry_policy.tries - 1
            queued.error, queued.since = failure.error, failure.since
            self._failing.add(chunk.key)
        for owner in self._owners_without(chunk.key):
            self._join(queued, owner)
        return queued

    def _join(self, queued: QueuedChunk, owner: Hashable) -> None:
        """Have an owner wait for a chunk."""
        mine = self.owners[owner]
        mine.pending.add(queued.chunk.key)
        request = mine.requests[queued.chunk.key]
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
                self._drop(key)

    def _drop(self, key: ChunkKey) -> None:
        del self.chunks[key]
        self._failing.discard(key)

    def _settle(self, queued: QueuedChunk) -> Sequence[Hashable]:
        """Take a chunk out; give the owners who waited for it."""
        key = queued.chunk.key
        # One that was cancelled may be queued again meanwhile, as another.
        if queued.state is not ChunkState.CANCELLED:
            self._drop(key)
        queued.state = ChunkState.DONE
        owners = list(queued.owners)
        for owner in owners:
            self.owners[owner].pending.discard(key)
        self.changed.update(owners)
        return owners

    def _give_up(self, queued: QueuedChunk, error: BaseException, now: float) -> None:
        since = now if queued.error is None else queued.since
        again_at = self._note_failure(queued.chunk, queued.host, error, now, since)
        # What cannot be decoded is as bad the next time.
        if isinstance(error, StoreError):
            queued.host.probe_at = queued.host.probe_at or again_at
        for owner in self._settle(queued):
            self.owners[owner].failed.add(queued.chunk.key)

    def _give_up_all(self, host: HostLimiter, now: float) -> None:
        """Give up what a host that is down was not asked for yet."""
        error = host.trouble(None, now).error
        for queued in list(self.chunks.values()):
            waits = queued.state in (ChunkState.QUEUED, ChunkState.PAUSED)
            if queued.host is host and waits:
                self._give_up(queued, queued.error or error, now)
            elif queued.host is host:
                self.changed.update(queued.owners)

    def _note_failure(
        self,
        chunk: Chunk,
        host: HostLimiter,
        error: BaseException,
        now: float,
        since: float,
    ) -> float:
        """Keep that a chunk could not be had; gives when another try is worth it."""
        again_at = now + self.retry_policy.longest
        self.failures[chunk.key] = Failure(chunk, error, host, since, again_at)
        return again_at

    def _retry_host(self, host: HostLimiter) -> None:
        """Ask again for all that a host owes."""
        for key, failure in list(self.failures.items()):
            wanted = any(key in mine.failed for mine in self.owners.values())
            if failure.host is host and wanted:
                self._queue(failure.chunk).attempts = 0
            elif failure.host is host:
                del self.failures[key]

    def _owners_without(self, key: ChunkKey) -> list[Hashable]:
        """Take a chunk that failed from its owners, and give them."""
        found = [owner for owner, mine in self.owners.items() if key in mine.failed]
        for owner in found:
            self.owners[owner].failed.discard(key)
        self.changed.update(found)
        return found

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
                error = host.fell_silent(moment - self.retry_policy.silence)
                if host.is_news(error):
                    self.notices.append(FailureNotice(host.name, error))
                self._give_up_all(host, now)

    def _probe(self, host: HostLimiter, now: float) -> float | None:
        """Ask again for one chunk that a host owes; say when to do so next."""
        if any(queued.host is host for queued in self.chunks.values()):
            # What is still to be asked for will tell as well, and has its turn first.
            return now + self.retry_policy.longest
        owed = [
            (mine.requests[key].sort_key, key)
            for mine in self.owners.values()
            for key in mine.failed & self.failures.keys()
            if self.failures[key].host is host
            and isinstance(self.failures[key].error, StoreError)
        ]
        if not owed:
            return None
        _, key = min(owed)
        self._queue(self.failures[key].chunk).is_probe = True
        host.not_before = min(host.not_before, now)
        return now + self.retry_policy.longest
