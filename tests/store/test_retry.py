"""How often, and how long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.store import RetryPolicy


@given(st.integers(1, 20), st.floats(0, 200), st.floats(0, 1000))
def test_pauses_are_bounded(failures, elapsed, asked):
    retry = RetryPolicy()
    pause = retry.pause(failures, elapsed, asked)
    if pause is None:
        assert failures >= retry.tries or elapsed + retry.longest_pause >= 60
    else:
        assert min(asked, retry.longest_pause) <= pause <= retry.longest_pause
        assert elapsed + pause < retry.total


def test_pauses_grow_and_are_spread():
    retry = RetryPolicy(tries=9, first_pause=1, longest_pause=100)
    for failures, bound in [(1, 1), (2, 2), (3, 4), (8, 100)]:
        pauses = [retry.pause(failures, 0) or 0.0 for _ in range(200)]
        assert max(pauses) <= bound
        assert max(pauses) > bound / 2
        assert min(pauses) < bound / 4


def test_the_last_try_is_the_last():
    assert RetryPolicy(tries=3).pause(3, 0) is None
    assert RetryPolicy(tries=3, total=9).pause(1, 9) is None
