"""How hard a place is asked, by what it answered; no clock runs here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_omezarr.display.chunk_queue import HostLimiter, Retrying
from napari_omezarr.errors import (
    AccessDeniedError,
    ServerBusyError,
    ServerError,
    StoreConnectionError,
    StoreTimeoutError,
)

BUSY = ServerBusyError("busy")
BROKEN = ServerError("broken")
AWAY = StoreConnectionError("away")


def read(number, started=0.0):
    """A read under way, as far as a place looks at it."""
    return SimpleNamespace(chunk=SimpleNamespace(key=("a", (number,))), started=started)


@pytest.fixture
def place():
    return HostLimiter("idr", 64, Retrying(first=1, longest=30))


def test_pauses_double_up_to_the_longest():
    retrying = Retrying(first=1, longest=5)
    assert [retrying.pause(n) for n in range(1, 6)] == [1, 2, 4, 5, 5]


def test_a_busy_server_is_asked_half_as_hard_and_later(place):
    place.failed(read(0), BUSY, now=10)
    assert place.limit == 32
    assert place.not_before == 11


def test_the_limit_never_reaches_zero(place):
    for number in range(20):
        place.failed(read(number), BUSY, now=number)
    assert place.limit == 1


def test_a_place_that_is_away_is_asked_once_at_a_time(place):
    place.failed(read(0), AWAY, now=10)
    assert place.limit == 1


def test_each_arrival_gives_back_one(place):
    place.failed(read(0), BUSY, now=10)
    for _ in range(5):
        place.succeeded(now=11)
    assert place.limit == 37
    for _ in range(99):
        place.succeeded(now=11)
    assert place.limit == 64


def test_one_bad_chunk_does_not_stop_the_others(place):
    for moment in range(4):
        place.failed(read(0, started=moment), BROKEN, now=moment)
    assert not place.down
    assert place.not_before == 0
    assert not place.succeeded(now=5)


def test_reads_that_fail_together_count_once(place):
    for number in range(10):
        place.failed(read(number, started=0), BROKEN, now=5)
    assert place.not_before == 6
    place.failed(read(0, started=6), BROKEN, now=7)
    assert place.not_before == 9


def test_a_place_that_was_down_is_back_with_the_first_arrival(place):
    place.failed(read(0), AWAY, now=1)
    place.failed(read(1), AWAY, now=1)
    assert place.down
    assert place.succeeded(now=2)
    assert not place.down
    assert place.not_before == 0
    assert not place.succeeded(now=3)


def test_a_refusal_says_nothing_about_how_hard_to_ask(place):
    place.failed(read(0), AccessDeniedError("no"), now=1)
    place.failed(read(1), AccessDeniedError("no"), now=1)
    assert place.limit == 64
    assert not place.down


def test_a_failure_is_told_once(place):
    assert place.tells(BROKEN)
    assert not place.tells(ServerError("again"))
    assert place.tells(AWAY)


def test_a_bad_chunk_is_told_once_though_others_arrive(place):
    place.failed(read(0), BROKEN, now=1)
    assert place.tells(BROKEN)
    place.succeeded(now=2)
    place.failed(read(0), BROKEN, now=3)
    assert not place.tells(BROKEN)


def test_an_outage_after_a_bad_chunk_is_told(place):
    place.failed(read(0), BROKEN, now=1)
    assert place.tells(BROKEN)
    place.succeeded(now=2)
    place.failed(read(1), BROKEN, now=3)
    place.failed(read(2), BROKEN, now=3)
    assert place.tells(BROKEN)
    assert not place.tells(BROKEN)


def test_the_next_outage_is_told_anew(place):
    for number in range(2):
        place.failed(read(number), AWAY, now=1)
    assert place.tells(AWAY)
    place.succeeded(now=2)
    for number in range(2):
        place.failed(read(number), AWAY, now=3)
    assert place.tells(AWAY)


def test_silence_counts_from_the_last_answer(place):
    assert place.silent_from() is None
    place.reading.add(entry := _hashable(read(0, started=5)))
    assert place.silent_from() == 15
    place.succeeded(now=12)
    assert place.silent_from() == 22
    place.silent = True
    assert place.silent_from() is None
    place.failed(entry, StoreTimeoutError("late"), now=30)
    assert not place.silent


def _hashable(entry):
    return type("Read", (), vars(entry))()
