"""The small decisions of the display: settings, words, marks, levels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from napari_omezarr.display import MEGABYTE, Settings
from napari_omezarr.display.chunk_cache import ChunkGrid
from napari_omezarr.display.compose import (
    hatch,
    image_mark,
    label_mark,
)
from napari_omezarr.display.engine import GIGABYTE
from napari_omezarr.display.layer_view import ProgressiveLevel, Status, loading_text
from napari_omezarr.display.wanted import finest_fitting
from pixel_sources import MemoryPixels


def test_defaults_leave_most_of_the_memory_to_others():
    settings = Settings.of()
    assert settings.enabled
    assert 0 < settings.cache_bytes <= 4 * GIGABYTE
    assert settings.volume_bytes == 128 * MEGABYTE
    assert settings.prefetch_bytes == 64 * MEGABYTE


def test_settings_are_in_the_units_a_person_sees():
    options = SimpleNamespace(
        progressive=False, cache_gb=1.5, volume_mb=10, prefetch_mb=0
    )
    settings = Settings.of(options)
    assert not settings.enabled
    assert settings.cache_bytes == 3 * GIGABYTE // 2
    assert (settings.volume_bytes, settings.prefetch_bytes) == (10 * MEGABYTE, 0)


def test_a_cache_of_zero_means_the_default():
    assert Settings.of(SimpleNamespace(cache_gb=0)) == Settings.of()


def test_the_status_says_what_loads_from_where():
    statuses = [
        Status(pending=3, arrived=5, bytes=2_000_000, host="idr", level=0),
        Status(pending=2, arrived=2, bytes=1_100_000, host="idr", level=2),
        Status(host="elsewhere", level=1),
    ]
    assert loading_text(statuses) == "loading level 0, 2: 7 of 12, 3.1 MB from idr"
    assert loading_text([Status(), Status(failed=1)]) == ""


def test_sharp_is_nothing_missing_and_nothing_failed():
    assert Status().sharp
    assert not Status(pending=1).sharp
    assert not Status(failed=1).sharp


def test_a_failed_chunk_is_hatched_and_its_neighbour_is_not():
    box = np.zeros((1, 20, 30), np.uint8)
    bounds = ((5, 6), (10, 30), (0, 30))
    hatch(box, bounds, ((5, 6), (16, 32), (16, 32)), (1, 2), 200)
    part = box[0, 6:20, 16:30]
    assert 0.1 < (part == 200).mean() < 0.6
    assert box.sum() == part.sum()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2)])
def test_the_smallest_chunk_shows_a_mark(shape):
    box = np.zeros(shape)
    bounds = tuple((0, size) for size in shape)
    hatch(box, bounds, bounds, (0, 1), 1)
    assert box.any()


def test_colours_are_hatched_in_all_channels():
    box = np.zeros((16, 16, 3), np.uint8)
    bounds = ((0, 16), (0, 16), (0, 3))
    hatch(box, bounds, bounds, (0, 1), 255)
    assert set(box.sum(axis=-1).ravel().tolist()) == {0, 765}


@pytest.mark.parametrize(
    ("dtype", "limits", "mark"),
    [
        ("u1", (0, 300), 255),
        ("u2", (10, 300), 300),
        ("i2", (-900, -5), -5),
        ("f4", (0.0, 0.5), 0.5),
        ("f4", None, 1.0),
        ("u1", None, 255),
        ("?", (0, 1), True),
    ],
)
def test_an_image_is_marked_in_what_is_brightest_on_screen(dtype, limits, mark):
    assert image_mark(np.dtype(dtype), limits) == mark


def test_labels_are_marked_in_a_label_that_is_visible():
    some = SimpleNamespace(
        color_dict={
            None: (0, 0, 0, 0),
            0: (1, 1, 1, 1),
            4: (1, 0, 0, 0),
            9: (1, 0, 0, 1),
        }
    )
    assert label_mark(some, np.dtype("u2")) == 9
    assert label_mark(SimpleNamespace(), np.dtype("u2")) == 65535
    assert label_mark(SimpleNamespace(), np.dtype("u8")) == 2**31 - 1


def volumes(*shapes):
    return [ChunkGrid(MemoryPixels(np.zeros(s, np.uint16), s)) for s in shapes]


def test_a_volume_is_shown_at_the_finest_level_that_fits():
    grids = volumes((2, 20, 40, 40), (2, 20, 20, 20), (2, 20, 10, 10))
    axes = (1, 2, 3)
    assert finest_fitting(grids, axes, 64_000) == 0
    assert finest_fitting(grids, axes, 63_999) == 1
    assert finest_fitting(grids, axes, 1) == 2
    assert finest_fitting(grids, axes, 10**9, longest=39) == 1
    assert finest_fitting(grids, axes, 10**9, longest=None) == 0


slices = st.builds(
    slice,
    st.none() | st.integers(-9, 9),
    st.none() | st.integers(-9, 9),
    st.sampled_from([None, 1, 2, 3, -1, -2]),
)


@example(first=[slice(None)] * 3, second=[0, 0, 0])
@given(
    st.lists(slices, min_size=3, max_size=3),
    st.lists(slices | st.integers(0, 0), max_size=3),
)
def test_slicing_lazily_is_slicing(first, second):
    array = np.arange(5 * 6 * 7).reshape(5, 6, 7)
    asked = []

    def show(bounds):
        asked.append(bounds)
        return array[tuple(slice(*bound) for bound in bounds)]

    level = ProgressiveLevel(array.shape, array.dtype, show)
    once = array[tuple(first)]
    if any(size == 0 for size in once.shape):
        second = []
    lazy = level[tuple(first)][tuple(second)]
    expected = once[tuple(second)]
    assert not asked
    assert (lazy.shape, lazy.ndim, lazy.size) == (
        expected.shape,
        expected.ndim,
        expected.size,
    )
    assert np.array_equal(np.asarray(lazy), expected)
    assert len(asked) == 1
