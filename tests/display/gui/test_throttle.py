"""How often layers are refreshed; the module that says so needs Qt."""

from __future__ import annotations

import pytest

from napari_omezarr.display.manager import Throttle


def test_refreshes_leave_thrice_their_cost_to_others():
    throttle = Throttle(rest=3, shortest=0.03)
    assert throttle.wait(100) == 0
    throttle.spent(100, 101)
    assert throttle.wait(101) == 3
    assert throttle.wait(110) == 0


def test_cheap_refreshes_keep_a_least_distance():
    throttle = Throttle(rest=3, shortest=0.03)
    throttle.spent(100, 100.001)
    assert throttle.wait(100.001) == pytest.approx(0.029)


def test_the_last_refresh_of_a_picture_leaves_what_it_costs():
    throttle = Throttle(rest=3, shortest=0.03)
    throttle.spent(100, 101)
    assert throttle.wait(101, last=True) == 1
    throttle.spent(200, 200.001)
    assert throttle.wait(200.001, last=True) == pytest.approx(0.001)
