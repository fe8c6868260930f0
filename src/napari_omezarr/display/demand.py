"""Who wants which chunk, and which one is to be read next; decides, reads nothing."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from napari_omezarr.errors import StoreTimeoutError

from .chunks import place_of
from .place import TRANSIENT, Place, Retrying
from .request import FOREGROUND, Entry, Failure, Notice, Request, Want

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Hashable, Iterable, Sequence

    from .chunks import Chunk, ChunkKey
    from .request import Priority


class Demand:
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
        self.wants: dict[Hashable, Want] = {}
        self.entries: dict[ChunkKey, Entry] = {}
        self.failures: dict[ChunkKey, Failure] = {}
        self.places: dict[str, Place] = {}
        self.changed: set[Hashable] = set()
        self.notices: list[Notice] = []
        self._queues: dict[str, list[tuple[Priority, int, Entry]]] = {}
        self._waiting: list[tuple[float, int, Entry]] = []
        self._numbers = count()

    def want(
        self,
        owner: Hashable,
        requests: Iterable[Request],
        generation: int = 0,
        now: float = 0.0,
    ) -> None:
        """Set all that an owner wants from now on; what it wanted before is dropped.

        An older generation than one that was heard already is ignored.
        """
        want = self.wants.setdefault(owner, Want())
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
        want = self.wants.pop(owner, Want())
        for key in want.pending:
            self._release(owner, key)
        self.changed.discard(owner)

    def forget_failures(self, tokens: Collection[str]) -> None:
        """Drop what is kept about chunks of pixels that nobody will look at again."""
        for key in [key for key in self.failures if key[0] in tokens]:
            del self.failures[key]

    def unwanted(self) -> list[Entry]:
        """Take out the reads under way that nobody wants any more."""
        dropped: list[Entry] = [
            entry
            for place in self.places.values()
            for entry in place.reading
            if not entry.owners and self.entries.get(entry.chunk.key) is entry
        ]
        for entry in dropped:
            del self.entries[entry.chunk.key]
        return dropped

    def next(self, now: float) -> Entry | float | None:
        """Give the entry to read now, else when to ask again, else None.

        An entry that is given counts as being read.
        """
        self._wake(now)
        moments = [moment for moment, _, _ in self._waiting[:1]]
        best: Place | None = None
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

    def arrived(self, entry: Entry, now: float = 0.0) -> None:
        """Note that a chunk was read."""
        entry.place.reading.discard(entry)
        self.failures.pop(entry.chunk.key, None)
        for owner in self._settle(entry):
            want = self.wants[owner]
            want.arrived += 1
            want.bytes += entry.chunk.nbytes
        if entry.place.succeeded(now):
            self.retry(entry.place)

    def cancelled(self, entry: Entry) -> None:
        """Note that a read was given up, as nobody wanted it."""
        entry.place.reading.discard(entry)

    def failed(self, entry: Entry, error: BaseException, now: float) -> None:
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

    def retry(self, place: Place | None = None) -> None:
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
            entry = Entry(request.chunk, self._place(request.chunk))
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

    def _settle(self, entry: Entry) -> Sequence[Hashable]:
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

    def _place(self, chunk: Chunk) -> Place:
        name = place_of(chunk.pixels)
        place = self.places.get(name)
        if place is None:
            place = Place(name, max(1, chunk.pixels.concurrency), self.retrying)
            self.places[name] = place
            self._queues[name] = []
        return place

    def _queue(self, entry: Entry) -> None:
        if entry.started is None and not entry.waiting:
            item = (entry.priority, next(self._numbers), entry)
            heappush(self._queues[entry.place.name], item)

    def _head(self, place: Place) -> tuple[Priority, int]:
        """Give what comes first in the queue of a place that may be read from."""
        priority, number, _ = self._queues[place.name][0]
        return priority, number

    def _may_read(self, place: Place) -> bool:
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

    def _is_queued(self, entry: Entry, priority: Priority) -> bool:
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

    def _probe(self, place: Place, now: float) -> float | None:
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
