"""Which chunk is read next, and for whom; decided without reading anything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.display.chunk_cache import ChunkGrid
from napari_omezarr.display.chunk_queue import (
    ChunkQueue,
    ChunkRequest,
    Priority,
    QueuedChunk,
    Retrying,
)
from napari_omezarr.errors import (
    AccessDeniedError,
    ServerBusyError,
    ServerError,
    StoreConnectionError,
)
from pixel_sources import MemoryPixels

RETRYING = Retrying(tries=3, first=1, longest=30, silence=1000)
BROKEN = ServerError("broken")


def row(address="s3://idr/a", concurrency=64):
    pixels = MemoryPixels(np.zeros(1000, np.uint8), (1,))
    pixels.address = address
    pixels.concurrency = concurrency
    return ChunkGrid(pixels)


GRID = row()


def ask(number, tier=Priority.SHARP, distance=None, grid=GRID):
    return ChunkRequest(
        grid.chunk((number,)), tier, number if distance is None else distance
    )


def key(number):
    return GRID.key((number,))


@pytest.fixture
def have():
    return set()


@pytest.fixture
def demand(have):
    return ChunkQueue(have, RETRYING)


def taken(demand, now=0.0):
    """All that may be read now, in order."""
    numbers = []
    while isinstance(step := demand.next(now), QueuedChunk):
        numbers.append(step.chunk.key[1][0])
    return numbers


def reading(demand, number):
    return demand.entries[key(number)]


def test_reads_by_tier_then_step_then_distance(demand):
    demand.want(
        "view",
        [
            ask(0, Priority.AHEAD),
            ask(1, Priority.SHARP, 9),
            ask(2, Priority.SHARP, 1),
            ask(3, Priority.OVERVIEW, 50),
            ask(4, Priority.BETWEEN, 7),
            ask(5, Priority.THUMBNAIL),
        ],
    )
    assert taken(demand) == [3, 4, 2, 1, 5]


def test_what_nobody_sees_waits_for_what_somebody_does(demand):
    demand.want("view", [ask(0), ask(1, Priority.AHEAD)])
    assert taken(demand) == [0]
    demand.arrived(reading(demand, 0))
    assert taken(demand) == [1]


def test_what_nobody_sees_leaves_half_the_room(have):
    demand = ChunkQueue(have, RETRYING)
    grid = row(concurrency=8)
    demand.want("view", [ask(n, Priority.AHEAD, grid=grid) for n in range(20)])
    assert len(taken(demand)) == 4
    demand.want("other", [ask(n, Priority.SHARP, grid=grid) for n in range(100, 120)])
    assert len(taken(demand)) == 4


def test_each_place_has_its_own_room(have):
    demand = ChunkQueue(have, RETRYING)
    near = row("/home/data/a", concurrency=2)
    far = row("s3://idr/b", concurrency=3)
    demand.want("near", [ask(n, grid=near) for n in range(5)])
    demand.want("far", [ask(n, grid=far) for n in range(5)])
    assert taken(demand) == [0, 0, 1, 1, 2]


def test_a_chunk_that_two_want_is_read_once_as_the_more_urgent_wants_it(demand):
    demand.want("one", [ask(0, Priority.AHEAD), ask(1)])
    demand.want("two", [ask(0, Priority.OVERVIEW)])
    assert taken(demand) == [0, 1]
    demand.arrived(reading(demand, 0))
    assert demand.changed == {"one", "two"}
    assert not demand.wants["two"].pending


def test_losing_the_more_urgent_owner_makes_it_less_urgent(demand):
    demand.want("one", [ask(0, Priority.SHARP, 5)])
    demand.want("two", [ask(0, Priority.OVERVIEW)])
    demand.want("one", [ask(0, Priority.SHARP, 5), ask(1, Priority.SHARP, 1)])
    demand.want("two", [])
    assert taken(demand) == [1, 0]


def test_a_new_want_drops_what_is_queued_and_gives_up_what_is_read(demand):
    demand.want("view", [ask(n) for n in range(100)])
    assert taken(demand) == list(range(64))
    demand.want("view", [ask(n) for n in range(60, 70)])
    dropped = demand.unwanted()
    assert sorted(entry.chunk.key[1][0] for entry in dropped) == list(range(60))
    for entry in dropped:
        demand.cancelled(entry)
    assert taken(demand) == list(range(64, 70))


def test_what_is_shared_is_not_given_up(demand):
    demand.want("one", [ask(0)])
    demand.want("two", [ask(0)])
    taken(demand)
    demand.want("one", [])
    assert demand.unwanted() == []


def test_an_older_generation_is_not_heard(demand):
    demand.want("view", [ask(1)], generation=2)
    demand.want("view", [ask(0)], generation=1)
    assert taken(demand) == [1]


def test_what_is_there_already_is_not_read_but_told(demand, have):
    have.add(key(0))
    demand.want("view", [ask(0), ask(1)])
    assert demand.changed == {"view"}
    assert taken(demand) == [1]


def test_forgetting_an_owner_drops_all_it_wanted(demand):
    demand.want("view", [ask(0), ask(1)])
    demand.forget("view")
    demand.forget("nobody")
    assert taken(demand) == []
    assert not demand.wants
    assert not demand.entries


def test_counts_start_anew_when_all_was_there(demand):
    demand.want("view", [ask(0), ask(1)])
    taken(demand)
    demand.arrived(reading(demand, 0))
    demand.want("view", [ask(1)])
    assert (demand.wants["view"].arrived, demand.wants["view"].bytes) == (1, 1)
    demand.arrived(reading(demand, 1))
    demand.want("view", [ask(2)])
    assert demand.wants["view"].arrived == 0


def fail(demand, number, now, error=BROKEN):
    """Let a chunk fail that is being read."""
    demand.failed(reading(demand, number), error, now)


def test_a_chunk_that_failed_is_asked_for_again_later_then_given_up(demand):
    demand.want("view", [ask(0)])
    now = 0.0
    for pause in (1, 2):
        assert taken(demand, now) == [0]
        fail(demand, 0, now)
        assert demand.next(now) == now + pause
        assert demand.wants["view"].pending
        now += pause
    assert taken(demand, now) == [0]
    fail(demand, 0, now)
    assert demand.wants["view"].failed == {key(0)}
    assert not demand.wants["view"].pending
    assert demand.failures[key(0)].error is BROKEN
    assert demand.changed == {"view"}


def test_a_refused_chunk_is_given_up_at_once(demand):
    demand.want("view", [ask(0)])
    taken(demand)
    fail(demand, 0, 0.0, AccessDeniedError("no"))
    assert demand.wants["view"].failed == {key(0)}
    assert demand.next(1e9) is None


def give_up(demand, *numbers, now=0.0):
    """Let all reads fail until each of these was given up; returns when that was."""
    left = {key(number) for number in numbers}
    while left:
        for number in taken(demand, now):
            fail(demand, number, now, StoreConnectionError("away"))
        left -= demand.failures.keys()
        now = demand.next(now) if left else now
    return now


def test_a_bad_chunk_stays_given_up_while_others_arrive(demand):
    demand.want("view", [ask(0)])
    now = give_up(demand, 0)
    demand.want("view", [ask(0), ask(1)], now=now)
    assert taken(demand, now) == [1]
    demand.arrived(reading(demand, 1), now)
    assert taken(demand, now) == []
    assert len(demand.notices) == 1


def test_looking_again_after_long_tries_again(demand):
    demand.want("view", [ask(0)])
    now = give_up(demand, 0)
    demand.want("view", [])
    demand.want("view", [ask(0)], now=now + 31)
    assert taken(demand, now + 31) == [0]


def next_reads(demand, now):
    """Go to the next moment at which something is read."""
    while not (numbers := taken(demand, now)):
        now = demand.next(now)
    return numbers, now


def test_one_chunk_probes_a_place_and_brings_all_back(demand):
    demand.want("view", [ask(n) for n in range(3)])
    now = give_up(demand, 0, 1, 2)
    assert len(demand.wants["view"].failed) == 3
    assert len(demand.notices) == 1
    (number,), probe = next_reads(demand, now)
    assert now < probe <= now + 60
    demand.arrived(reading(demand, number), probe)
    assert sorted([number, *taken(demand, probe)]) == [0, 1, 2]
    assert not demand.wants["view"].failed


def test_a_probe_that_fails_asks_once_in_a_while(demand):
    demand.want("view", [ask(n) for n in range(3)])
    now = give_up(demand, 0, 1, 2)
    for _ in range(4):
        before = now
        (number,), now = next_reads(demand, now)
        assert now >= before + 29
        fail(demand, number, now, StoreConnectionError("away"))
    assert len(demand.notices) == 1


def test_nobody_looking_ends_the_probes(demand):
    demand.want("view", [ask(0), ask(1)])
    now = give_up(demand, 0, 1)
    demand.want("view", [])
    while (step := demand.next(now)) is not None:
        assert isinstance(step, float)
        now = step
    assert demand.places["idr"].probe_at is None


def test_retrying_asks_for_everything_again(demand):
    demand.want("view", [ask(0), ask(1)])
    taken(demand)
    fail(demand, 0, 0.0, AccessDeniedError("no"))
    fail(demand, 1, 0.0, AccessDeniedError("no"))
    assert len(demand.notices) == 1
    demand.retry()
    assert taken(demand) == [0, 1]
    fail(demand, 0, 0.0, AccessDeniedError("no"))
    assert len(demand.notices) == 2


def test_a_busy_place_rests_and_another_does_not(have):
    demand = ChunkQueue(have, RETRYING)
    other = row("s3://elsewhere/b")
    demand.want("view", [ask(0), ask(1), ask(2, grid=other)])
    assert taken(demand, 10) == [0, 1, 2]
    fail(demand, 0, 10.0, ServerBusyError("busy"))
    demand.want("view", [ask(n) for n in range(4)])
    demand.want("else", [ask(n, grid=other) for n in (5, 6)])
    assert taken(demand, 10.5) == [5, 6]
    assert taken(demand, 11) == [0, 2, 3]


def test_a_silent_place_is_said_to_be_silent_once(have):
    demand = ChunkQueue(have, Retrying(silence=10))
    demand.want("view", [ask(0)])
    taken(demand, 5)
    assert demand.next(5) == 15
    demand.next(15)
    demand.next(30)
    (notice,) = demand.notices
    assert notice.place == "idr"
    assert "10 seconds" in str(notice.error)


class Play:
    """Plays any sequence of events to a demand, and checks its books after each."""

    def __init__(self):
        self.have = set()
        self.demand = ChunkQueue(self.have, RETRYING)
        self.running = []
        self.now = 0.0

    def want(self, owner, numbers, tier):
        self.demand.want(owner, [ask(n, tier) for n in numbers], now=self.now)

    def forget(self, owner, *_):
        self.demand.forget(owner)

    def begin(self, *_):
        step = self.demand.next(self.now)
        if isinstance(step, QueuedChunk):
            assert step.chunk.key not in self.have
            self.running.append(step)

    def succeed(self, *_):
        if self.running:
            entry = self.running.pop(0)
            self.have.add(entry.chunk.key)
            self.demand.arrived(entry, self.now)

    def fail(self, *_):
        if self.running:
            entry = self.running.pop(0)
            self.demand.failed(entry, BROKEN, self.now)

    def give_up_unwanted(self):
        for entry in self.demand.unwanted():
            self.running.remove(entry)
            self.demand.cancelled(entry)

    def check(self):
        demand = self.demand
        keys = [entry.chunk.key for entry in self.running]
        assert len(keys) == len(set(keys))
        reading = {entry for place in demand.places.values() for entry in place.reading}
        assert reading == set(self.running)
        for owner, want in demand.wants.items():
            assert all(owner in demand.entries[key].owners for key in want.pending)
            assert want.failed <= demand.failures.keys()
            assert want.pending | want.failed <= want.requests.keys()
        pending = {key for want in demand.wants.values() for key in want.pending}
        assert demand.entries.keys() == pending


EVENTS = st.tuples(
    st.sampled_from(["want", "want", "forget", "begin", "begin", "succeed", "fail"]),
    st.sampled_from("ab"),
    st.lists(st.integers(0, 7), max_size=5, unique=True),
    st.sampled_from(list(Priority)),
    st.sampled_from([0, 0.5, 40]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_whatever_happens_the_books_are_right(events):
    play = Play()
    for event, owner, numbers, tier, pause in events:
        play.now += pause
        getattr(play, event)(owner, numbers, tier)
        play.give_up_unwanted()
        play.check()
