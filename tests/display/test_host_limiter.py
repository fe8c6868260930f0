"""How hard a host is asked, by what it answered; no clock runs here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_omezarr.display import ChunkRetryPolicy
from napari_omezarr.display.chunk_queue import HostLimiter
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
    """A read under way, as far as a host looks at it."""
    return SimpleNamespace(chunk=SimpleNamespace(key=("a", (number,))), started=started)


@pytest.fixture
def host():
    return HostLimiter("idr", 64, ChunkRetryPolicy(first=1, longest=30))


def test_pauses_double_up_to_the_longest():
    policy = ChunkRetryPolicy(first=1, longest=5)
    assert [policy.pause(n) for n in range(1, 6)] == [1, 2, 4, 5, 5]


def test_a_busy_server_is_asked_half_as_hard_and_later(host):
    host.failed(read(0), BUSY, now=10)
    assert host.limit == 32
    assert host.not_before == 11


def test_the_limit_never_reaches_zero(host):
    for number in range(20):
        host.failed(read(number), BUSY, now=number)
    assert host.limit == 1


def test_a_host_that_is_away_is_asked_once_at_a_time(host):
    host.failed(read(0), AWAY, now=10)
    assert host.limit == 1


def test_each_arrival_gives_back_one(host):
    host.failed(read(0), BUSY, now=10)
    for _ in range(5):
        host.succeeded(now=11)
    assert host.limit == 37
    for _ in range(99):
        host.succeeded(now=11)
    assert host.limit == 64


def test_one_bad_chunk_does_not_stop_the_others(host):
    for moment in range(4):
        host.failed(read(0, started=moment), BROKEN, now=moment)
    assert not host.down
    assert host.not_before == 0
    assert not host.succeeded(now=5)


def test_reads_that_fail_together_count_once(host):
    for number in range(10):
        host.failed(read(number, started=0), BROKEN, now=5)
    assert host.not_before == 6
    host.failed(read(0, started=6), BROKEN, now=7)
    assert host.not_before == 9


def test_a_host_that_was_down_is_back_with_the_first_arrival(host):
    host.failed(read(0), AWAY, now=1)
    host.failed(read(1), AWAY, now=1)
    assert host.down
    assert host.succeeded(now=2)
    assert not host.down
    assert host.not_before == 0
    assert not host.succeeded(now=3)


def test_a_refusal_says_nothing_about_how_hard_to_ask(host):
    host.failed(read(0), AccessDeniedError("no"), now=1)
    host.failed(read(1), AccessDeniedError("no"), now=1)
    assert host.limit == 64
    assert not host.down


def test_a_failure_is_told_once(host):
    assert host.is_news(BROKEN)
    assert not host.is_news(ServerError("again"))
    assert host.is_news(AWAY)


def test_a_bad_chunk_is_told_once_though_others_arrive(host):
    host.failed(read(0), BROKEN, now=1)
    assert host.is_news(BROKEN)
    host.succeeded(now=2)
    host.failed(read(0), BROKEN, now=3)
    assert not host.is_news(BROKEN)


def test_an_outage_after_a_bad_chunk_is_told(host):
    host.failed(read(0), BROKEN, now=1)
    assert host.is_news(BROKEN)
    host.succeeded(now=2)
    host.failed(read(1), BROKEN, now=3)
    host.failed(read(2), BROKEN, now=3)
    assert host.is_news(BROKEN)
    assert not host.is_news(BROKEN)


def test_the_next_outage_is_told_anew(host):
    for number in range(2):
        host.failed(read(number), AWAY, now=1)
    assert host.is_news(AWAY)
    host.succeeded(now=2)
    for number in range(2):
        host.failed(read(number), AWAY, now=3)
    assert host.is_news(AWAY)


def test_silence_counts_from_the_last_answer(host):
    assert host.silent_from() is None
    host.reading.add(entry := _hashable(read(0, started=5)))
    assert host.silent_from() == 15
    host.succeeded(now=12)
    assert host.silent_from() == 22
    host.fell_silent(12)
    assert host.silent_from() is None
    # A read that ends without an answer ends no silence, any answer does.
    host.failed(entry, StoreTimeoutError("late"), now=30)
    assert host.down
    assert host.since == 12
    host.failed(entry, AccessDeniedError("no"), now=31)
    assert not host.down


def _hashable(entry):
    return type("Read", (), vars(entry))()
