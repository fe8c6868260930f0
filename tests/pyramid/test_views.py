"""Views of pixels: the same values, seen differently, read through the source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.pyramid import (
    Cast,
    ChannelsLast,
    FixedAxes,
    Pixels,
    Resized,
)
from pixel_sources import MemoryPixels


@pytest.fixture
def source():
    array = np.arange(3 * 4 * 5 * 6, dtype=np.uint16).reshape(3, 4, 5, 6)
    return MemoryPixels(array, chunks=(1, 2, 3, 3))


def test_a_window_holds_an_axis(source):
    window = FixedAxes(source, {0: 2})
    assert isinstance(window, Pixels)
    assert (window.shape, window.chunks, window.ndim) == ((4, 5, 6), (2, 3, 3), 3)
    np.testing.assert_array_equal(window[1:3, ::2, -1], source.array[2, 1:3, ::2, -1])
    assert source.reads == [((2, 3), (1, 3), (0, 5), (5, 6))]


def test_two_channels_have_two_tokens(source):
    tokens = {FixedAxes(source, {0: channel}).token for channel in range(3)}
    assert len(tokens) == 3


def test_channels_last_reads_all_channels_at_the_end(source):
    picture = ChannelsLast(source, 0)
    assert (picture.shape, picture.chunks) == ((4, 5, 6, 3), (2, 3, 3, 3))
    expected = np.moveaxis(source.array, 0, -1)
    np.testing.assert_array_equal(picture[...], expected)
    np.testing.assert_array_equal(picture[1, 2:4], expected[1, 2:4])


def test_cast_makes_whole_numbers_of_floats():
    values = np.array([[0.0, 1.0], [np.nan, 7.0]])
    cast = Cast(MemoryPixels(values, (1, 2)), np.dtype(np.int32))
    assert cast[...].dtype == np.int32
    np.testing.assert_array_equal(cast[...], [[0, 1], [0, 7]])


@settings(max_examples=40)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.data(),
)
def test_another_grid_has_the_nearest_pixels(whole, shape, data):
    array = np.arange(np.prod(whole), dtype=np.uint16).reshape(whole)
    chunks = tuple(data.draw(st.integers(1, size)) for size in whole)
    resized = Resized(MemoryPixels(array, chunks), shape)
    centres = [(np.arange(n) + 0.5) * w / n for n, w in zip(shape, whole, strict=True)]
    expected = array[np.ix_(*(np.floor(c + 1e-9).astype(int) for c in centres))]
    np.testing.assert_array_equal(resized[...], expected)
    low = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    np.testing.assert_array_equal(
        resized[low[0] :, low[1] :], expected[low[0] :, low[1] :]
    )
