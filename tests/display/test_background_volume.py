"""A volume that is put together in another thread."""

from __future__ import annotations

from threading import Event, get_ident

import numpy as np
import pytest

from napari_omezarr.display.compose import Assembly
from napari_omezarr.display.layer_view import BackgroundVolume

VOLUME = Assembly(np.zeros((2, 2, 2)), ())


@pytest.fixture
def ready():
    return Event()


@pytest.fixture
def background(ready):
    return BackgroundVolume(ready.set)


def test_it_is_made_elsewhere_and_given_once(background, ready):
    threads = []

    def make():
        threads.append(get_ident())
        return VOLUME

    assert background.take("a") is None
    assert not background.prepare("a", make)
    assert ready.wait(60)
    assert background.prepare("a", make)
    assert background.take("b") is None
    assert background.take("a") is VOLUME
    assert background.take("a") is None
    assert len(threads) == 1
    assert threads[0] != get_ident()


def test_one_is_made_at_a_time_and_the_last_that_is_wanted_counts(background, ready):
    go = Event()

    def make():
        assert go.wait(60)
        return VOLUME

    assert not background.prepare("a", make)
    assert not background.prepare("b", make)
    assert background.take("a") is None
    go.set()
    assert ready.wait(60)
    ready.clear()
    assert not background.prepare("b", make)
    assert ready.wait(60)
    assert background.take("a") is None
    assert background.take("b") is VOLUME


def test_what_could_not_be_made_is_left_to_who_wants_it(background, ready):
    def make():
        raise MemoryError

    assert not background.prepare("a", make)
    assert ready.wait(60)
    assert background.prepare("a", make)
    assert background.take("a") is None


def test_what_is_dropped_is_made_anew(background, ready):
    assert not background.prepare("a", lambda: VOLUME)
    assert ready.wait(60)
    background.drop()
    assert background.take("a") is None
    assert not background.prepare("a", lambda: VOLUME)
