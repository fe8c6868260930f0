"""No store, however it was damaged or made, ends us, fills memory or raises foreign.

``OMEZARR_HOSTILE=5000`` tries so many, from ``OMEZARR_HOSTILE_FIRST`` on.
"""

from __future__ import annotations

import os

import pytest

import hostile_stores

COUNT = int(os.environ.get("OMEZARR_HOSTILE", "60"))
FIRST = int(os.environ.get("OMEZARR_HOSTILE_FIRST", "0"))
STEP = 60


@pytest.mark.timeout(hostile_stores.SECONDS * (STEP + 5))
@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, STEP))
def test_an_answer_or_our_error_is_all_that_comes(first):
    tried, wrong = hostile_stores.tried(first, STEP)
    assert tried == STEP
    assert not wrong, "\n".join(wrong)


def test_what_is_wrong_is_noticed():
    assert hostile_stores.drawn(7) == hostile_stores.drawn(7)
    ends = [hostile_stores.drawn(n) == hostile_stores.drawn(n + 1) for n in range(5)]
    assert not all(ends)
