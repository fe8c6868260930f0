"""Which chunk is read next, and for whom; decided without reading anything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.display import ChunkRetryPolicy
from napari_omezarr.display.chunk_cache import ChunkGrid
from napari_omezarr.display.chunk_queue import (
    ChunkQueue,
    ChunkRequest,
    ChunkState,
    Priority,
    QueuedChunk,
)
from napari_omezarr.errors import (
    AccessDeniedError,
    ServerBusyError,
    ServerError,
    StoreConnectionError,
    StoreTimeoutError,
)
from pixel_sources import MemoryPixels

RETRY_POLICY = ChunkRetryPolicy(tries=3, first=1, longest=30, silence=1000)
BROKEN = ServerError("broken")


def row(address="s3://idr/a", concurrency=64):
    pixels = MemoryPixels(np.zeros(1000, np.uint8), (1,))
    pixels.address = address
    pixels.concurrency = concurrency
    return ChunkGrid(pixels)


GRID = row()


def ask(number, priority=Priority.SHARP, distance=None, grid=GRID):
    return ChunkRequest(
        grid.chunk((number,)), priority, number if distance is None else distance
    )


def key(number):
    return GRID.key((number,))


@pytest.fixture
def have():
    return set()


@pytest.fixture
def queue(have):
    return ChunkQueue(have, RETRY_POLICY)


def taken(queue, now=0.0):
    """All that may be read now, in order."""
    numbers = []
    while isinstance(step := queue.next(now), QueuedChunk):
        numbers.append(step.chunk.key[1][0])
    return numbers


def reading(queue, number):
    return queue.chunks[key(number)]


def test_reads_by_priority_then_step_then_distance(queue):
    queue.request(
        "view",
        [
            ask(0, Priority.PREFETCH),
            ask(1, Priority.SHARP, 9),
            ask(2, Priority.SHARP, 1),
            ask(3, Priority.OVERVIEW, 50),
            ask(4, Priority.BETWEEN, 7),
            ask(5, Priority.THUMBNAIL),
        ],
    )
    assert taken(queue) == [3, 4, 2, 1, 5]


def test_what_nobody_sees_waits_for_what_somebody_does(queue):
    queue.request("view", [ask(0), ask(1, Priority.PREFETCH)])
    assert taken(queue) == [0]
    queue.arrived(reading(queue, 0))
    assert taken(queue) == [1]


def test_what_nobody_sees_leaves_half_the_room(have):
    queue = ChunkQueue(have, RETRY_POLICY)
    grid = row(concurrency=8)
    queue.request("view", [ask(n, Priority.PREFETCH, grid=grid) for n in range(20)])
    assert len(taken(queue)) == 4
    queue.request("other", [ask(n, Priority.SHARP, grid=grid) for n in range(100, 120)])
    assert len(taken(queue)) == 4


def test_each_host_has_its_own_room(have):
    queue = ChunkQueue(have, RETRY_POLICY)
    near = row("/home/data/a", concurrency=2)
    far = row("s3://idr/b", concurrency=3)
    queue.request("near", [ask(n, grid=near) for n in range(5)])
    queue.request("far", [ask(n, grid=far) for n in range(5)])
    assert taken(queue) == [0, 0, 1, 1, 2]


def test_a_chunk_that_two_want_is_read_once_as_the_more_urgent_wants_it(queue):
    queue.request("one", [ask(0, Priority.PREFETCH), ask(1)])
    queue.request("two", [ask(0, Priority.OVERVIEW)])
    assert taken(queue) == [0, 1]
    queue.arrived(reading(queue, 0))
    assert queue.changed == {"one", "two"}
    assert not queue.owners["two"].pending


def test_losing_the_more_urgent_owner_makes_it_less_urgent(queue):
    queue.request("one", [ask(0, Priority.SHARP, 5)])
    queue.request("two", [ask(0, Priority.OVERVIEW)])
    queue.request("one", [ask(0, Priority.SHARP, 5), ask(1, Priority.SHARP, 1)])
    queue.request("two", [])
    assert taken(queue) == [1, 0]


def test_a_new_request_drops_what_is_queued_and_gives_up_what_is_read(queue):
    queue.request("view", [ask(n) for n in range(100)])
    assert taken(queue) == list(range(64))
    queue.request("view", [ask(n) for n in range(60, 70)])
    dropped = queue.take_unwanted()
    assert sorted(queued.chunk.key[1][0] for queued in dropped) == list(range(60))
    for queued in dropped:
        queue.cancelled(queued)
    assert taken(queue) == list(range(64, 70))


def test_a_read_that_failed_when_nobody_wanted_it_is_asked_for_again(queue):
    queue.request("view", [ask(0)])
    taken(queue)
    queued = reading(queue, 0)
    queue.request("view", [])
    queue.cancelled(queued)
    assert queued.state is ChunkState.DONE
    queue.request("view", [ask(0)])
    assert taken(queue) == [0]


def test_what_is_shared_is_not_given_up(queue):
    queue.request("one", [ask(0)])
    queue.request("two", [ask(0)])
    taken(queue)
    queue.request("one", [])
    assert queue.take_unwanted() == []


def test_an_older_generation_is_not_heard(queue):
    queue.request("view", [ask(1)], generation=2)
    queue.request("view", [ask(0)], generation=1)
    assert taken(queue) == [1]


def test_what_is_there_already_is_not_read_but_told(queue, have):
    have.add(key(0))
    queue.request("view", [ask(0), ask(1)])
    assert queue.changed == {"view"}
    assert taken(queue) == [1]


def test_forgetting_an_owner_drops_all_it_wanted(queue):
    queue.request("view", [ask(0), ask(1)])
    queue.forget("view")
    queue.forget("nobody")
    assert taken(queue) == []
    assert not queue.owners
    assert not queue.chunks


def test_counts_start_anew_when_all_was_there(queue):
    queue.request("view", [ask(0), ask(1)])
    taken(queue)
    queue.arrived(reading(queue, 0))
    queue.request("view", [ask(1)])
    assert (queue.owners["view"].arrived, queue.owners["view"].bytes) == (1, 1)
    queue.arrived(reading(queue, 1))
    queue.request("view", [ask(2)])
    assert queue.owners["view"].arrived == 0


def fail(queue, number, now, error=BROKEN):
    """Let a chunk fail that is being read."""
    queue.failed(reading(queue, number), error, now)


def test_a_chunk_that_failed_is_asked_for_again_later_then_given_up(queue):
    queue.request("view", [ask(0)])
    now = 0.0
    for pause in (1, 2):
        assert taken(queue, now) == [0]
        fail(queue, 0, now)
        assert queue.next(now) == now + pause
        assert queue.owners["view"].pending
        now += pause
    assert taken(queue, now) == [0]
    fail(queue, 0, now)
    assert queue.owners["view"].failed == {key(0)}
    assert not queue.owners["view"].pending
    assert queue.failures[key(0)].error is BROKEN
    assert queue.changed == {"view"}


def test_a_refused_chunk_is_given_up_at_once_and_asked_for_once_in_a_while(queue):
    queue.request("view", [ask(0), ask(1)])
    taken(queue)
    fail(queue, 0, 0.0, AccessDeniedError("no"))
    fail(queue, 1, 0.0, AccessDeniedError("no"))
    assert queue.owners["view"].failed == {key(0), key(1)}
    assert queue.next(0.0) == RETRY_POLICY.longest
    assert taken(queue, 30.0) == [0]
    queue.arrived(reading(queue, 0), 30.0)
    assert taken(queue, 30.0) == [1]


def test_a_chunk_that_cannot_be_decoded_is_not_asked_for_again_by_itself(queue):
    queue.request("view", [ask(0)])
    taken(queue)
    fail(queue, 0, 0.0, RuntimeError("bad magic"))
    assert queue.next(1e9) is None
    queue.retry()
    assert taken(queue) == [0]


def test_a_host_that_is_down_is_known_at_once_and_asked_for_one_chunk(queue):
    queue.request("view", [ask(n) for n in range(100)])
    first = taken(queue)
    fail(queue, 0, 1.0, StoreConnectionError("away"))
    assert queue.is_late(key(0))
    assert not queue.is_late(key(1))
    fail(queue, 1, 1.0, StoreConnectionError("away"))
    assert all(queue.is_late(key(n)) for n in range(100))
    for number in first[2:]:
        fail(queue, number, 1.0, StoreConnectionError("away"))
    assert len(queue.owners["view"].failed) == 100
    # Those that are looked at later are known to be owed without a request.
    queue.request("view", [ask(n) for n in range(200, 300)], now=1.5)
    assert len(queue.owners["view"].failed) == 100
    assert taken(queue, 1.5) == []
    assert taken(queue, 2.0) == [200]
    assert {t.since for t in queue.troubles(["view"]).values()} == {1.0}
    queue.arrived(reading(queue, 200), 3.0)
    assert not queue.is_late(key(300))
    assert len(queue.owners["view"].pending) == 99
    # Those that were passed meanwhile are no longer known to fail.
    assert not queue.failures


def test_looking_elsewhere_asks_a_host_that_is_down_but_not_more_often(queue):
    queue.request("view", [ask(n) for n in range(3)])
    now = give_up(queue, 0, 1, 2)
    asked = 0
    for step in range(100):
        queue.request("view", [ask(1000 + step)], now=now + step / 10)
        for queued in queue.take_unwanted():
            queue.cancelled(queued)
        for number in taken(queue, now + step / 10):
            asked += 1
            fail(queue, number, now + step / 10, StoreConnectionError("away"))
    assert 5 <= asked <= 11


def test_a_host_that_was_down_and_refuses_answers_again(queue):
    queue.request("view", [ask(n) for n in range(3)])
    now = give_up(queue, 0, 1, 2)
    (number,), now = next_reads(queue, now)
    fail(queue, number, now, AccessDeniedError("no"))
    assert not queue.hosts["idr"].down
    while others := taken(queue, now):
        for other in others:
            fail(queue, other, now, AccessDeniedError("no"))
    troubles = queue.troubles(["view"]).values()
    assert {type(trouble.error) for trouble in troubles} == {AccessDeniedError}


def give_up(queue, *numbers, now=0.0):
    """Let all reads fail until each of these was given up; returns when that was."""
    left = {key(number) for number in numbers}
    while left:
        for number in taken(queue, now):
            fail(queue, number, now, StoreConnectionError("away"))
        left -= queue.failures.keys()
        now = queue.next(now) if left else now
    return now


def test_a_bad_chunk_stays_given_up_while_others_arrive(queue):
    queue.request("view", [ask(0)])
    now = give_up(queue, 0)
    queue.request("view", [ask(0), ask(1)], now=now)
    assert taken(queue, now) == [1]
    queue.arrived(reading(queue, 1), now)
    assert taken(queue, now) == []
    assert len(queue.notices) == 1


def test_looking_again_after_long_tries_again(queue):
    queue.request("view", [ask(0)])
    now = give_up(queue, 0)
    queue.request("view", [])
    queue.request("view", [ask(0)], now=now + 31)
    assert taken(queue, now + 31) == [0]


def next_reads(queue, now):
    """Go to the next moment at which something is read."""
    while not (numbers := taken(queue, now)):
        now = queue.next(now)
    return numbers, now


def test_one_chunk_probes_a_host_and_brings_all_back(queue):
    queue.request("view", [ask(n) for n in range(3)])
    now = give_up(queue, 0, 1, 2)
    assert len(queue.owners["view"].failed) == 3
    assert len(queue.notices) == 1
    (number,), probe = next_reads(queue, now)
    assert now < probe <= now + 1
    queue.arrived(reading(queue, number), probe)
    assert sorted([number, *taken(queue, probe)]) == [0, 1, 2]
    assert not queue.owners["view"].failed


def test_a_probe_that_fails_asks_once_in_a_while(queue):
    queue.request("view", [ask(n) for n in range(3)])
    now = give_up(queue, 0, 1, 2)
    pauses = []
    for _ in range(5):
        before = now
        (number,), now = next_reads(queue, now)
        pauses.append(now - before)
        fail(queue, number, now, StoreConnectionError("away"))
    assert pauses == [1, 2, 30, 30, 30]
    assert len(queue.notices) == 1


def test_nobody_looking_ends_the_probes(queue):
    queue.request("view", [ask(0), ask(1)])
    now = give_up(queue, 0, 1)
    queue.request("view", [])
    while (step := queue.next(now)) is not None:
        assert isinstance(step, float)
        now = step
    assert queue.hosts["idr"].probe_at is None


def test_retrying_asks_for_everything_again(queue):
    queue.request("view", [ask(0), ask(1)])
    taken(queue)
    fail(queue, 0, 0.0, AccessDeniedError("no"))
    fail(queue, 1, 0.0, AccessDeniedError("no"))
    assert len(queue.notices) == 1
    queue.retry()
    assert taken(queue) == [0, 1]
    fail(queue, 0, 0.0, AccessDeniedError("no"))
    assert len(queue.notices) == 2


def test_a_busy_host_rests_and_another_does_not(have):
    queue = ChunkQueue(have, RETRY_POLICY)
    other = row("s3://elsewhere/b")
    queue.request("view", [ask(0), ask(1), ask(2, grid=other)])
    assert taken(queue, 10) == [0, 1, 2]
    fail(queue, 0, 10.0, ServerBusyError("busy"))
    queue.request("view", [ask(n) for n in range(4)])
    queue.request("else", [ask(n, grid=other) for n in (5, 6)])
    assert taken(queue, 10.5) == [5, 6]
    assert taken(queue, 11) == [0, 2, 3]


def test_a_silent_host_is_said_to_be_silent_once(have):
    queue = ChunkQueue(have, ChunkRetryPolicy(silence=10))
    queue.request("view", [ask(0)])
    taken(queue, 5)
    assert queue.next(5) == 15
    queue.changed.clear()
    queue.next(15)
    assert queue.changed == {"view"}
    assert queue.is_late(key(0))
    queue.next(30)
    (notice,) = queue.notices
    assert notice.host == "idr"
    assert "10 seconds" in str(notice.error)
    (trouble,) = queue.troubles(["view"]).values()
    assert trouble.since == 5
    # A failure of that read tells nothing new.
    fail(queue, 0, 40.0, StoreTimeoutError("late"))
    assert queue.hosts["idr"].down
    assert len(queue.notices) == 1


class Play:
    """Plays any sequence of events to a queue, and checks its state after each."""

    def __init__(self):
        self.have = set()
        self.queue = ChunkQueue(self.have, RETRY_POLICY)
        self.running = []
        self.now = 0.0

    def request(self, owner, numbers, priority):
        self.queue.request(owner, [ask(n, priority) for n in numbers], now=self.now)

    def forget(self, owner, *_):
        self.queue.forget(owner)

    def begin(self, *_):
        step = self.queue.next(self.now)
        if isinstance(step, QueuedChunk):
            assert step.chunk.key not in self.have
            self.running.append(step)

    def succeed(self, *_):
        if self.running:
            queued = self.running.pop(0)
            self.have.add(queued.chunk.key)
            self.queue.arrived(queued, self.now)

    def fail(self, *_, error=BROKEN):
        if self.running:
            queued = self.running.pop(0)
            self.queue.failed(queued, error, self.now)

    def refuse(self, *_):
        self.fail(error=AccessDeniedError("no"))

    def retry(self, *_):
        self.queue.retry()

    def read_all(self):
        """Let all that is wanted arrive, as it is asked for by itself or by Retry."""
        for _ in range(100):
            self.retry()
            self.now += 40
            while isinstance(step := self.queue.next(self.now), QueuedChunk):
                self.running.append(step)
            while self.running:
                self.succeed()

    def give_up_unwanted(self):
        for queued in self.queue.take_unwanted():
            self.running.remove(queued)
            self.queue.cancelled(queued)

    def check(self):
        queue = self.queue
        keys = [queued.chunk.key for queued in self.running]
        assert len(keys) == len(set(keys))
        reading = {queued for host in queue.hosts.values() for queued in host.reading}
        assert reading == set(self.running)
        for owner, mine in queue.owners.items():
            assert all(owner in queue.chunks[key].owners for key in mine.pending)
            assert mine.failed <= queue.failures.keys()
            assert not mine.failed & queue.chunks.keys()
            assert all(queue.is_late(key) for key in mine.failed)
            assert mine.pending | mine.failed <= mine.requests.keys()
        pending = {key for mine in queue.owners.values() for key in mine.pending}
        assert queue.chunks.keys() == pending


EVENTS = st.tuples(
    st.sampled_from(
        [*("request", "begin", "fail") * 2, "forget", "succeed", "refuse", "retry"]
    ),
    st.sampled_from("ab"),
    st.lists(st.integers(0, 7), max_size=5, unique=True),
    st.sampled_from(list(Priority)),
    st.sampled_from([0, 0.5, 40]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_whatever_happens_the_books_are_right(events):
    play = Play()
    for event, owner, numbers, priority, pause in events:
        play.now += pause
        getattr(play, event)(owner, numbers, priority)
        play.give_up_unwanted()
        play.check()
    play.read_all()
    play.check()
    for mine in play.queue.owners.values():
        assert mine.requests.keys() <= play.have
