"""Views of pixels: the same values, seen differently, read through the source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.errors import UnsupportedDataError
from napari_omezarr.pyramid import (
    Cast,
    ChannelsLast,
    ChosenChannels,
    FixedAxes,
    Mosaic,
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


class KnownTile:
    def __init__(self, pixels):
        self.pixels = pixels
        self.opened = 0

    async def open(self):
        self.opened += 1
        return self.pixels

    def misfit(self, said):
        return UnsupportedDataError(f"It {said}.", action="Open it by itself.")


class BrokenTile:
    def __init__(self):
        self.broken = True

    async def open(self):
        if self.broken:
            raise TimeoutError
        return MemoryPixels(np.full((4, 4), 9, np.uint8), (2, 2))


def tile(value, shape=(4, 4)):
    return KnownTile(MemoryPixels(np.full(shape, value, np.uint8), (2, 2)))


def test_a_mosaic_shows_each_tile_in_its_place_and_holes_as_zero():
    template = tile(1).pixels
    tiles = {(0, 0): tile(1), (0, 2): tile(3), (1, 1): KnownTile(None)}
    mosaic = Mosaic(template, (2, 3), tiles)
    expected = np.zeros((8, 12), np.uint8)
    expected[:4, :4], expected[:4, 8:] = 1, 3
    np.testing.assert_array_equal(mosaic[...], expected)
    np.testing.assert_array_equal(mosaic[2:6, 3:9], expected[2:6, 3:9])


def test_only_the_tiles_that_are_looked_at_are_opened_and_each_once():
    tiles = {(0, column): tile(column) for column in range(5)}
    mosaic = Mosaic(tiles[0, 0].pixels, (1, 5), tiles)
    for _ in range(2):
        mosaic[:, 5:11]
    assert [t.opened for t in tiles.values()] == [0, 1, 1, 0, 0]


def test_tiles_of_another_size_leave_zero_or_have_no_room():
    tiles = {(0, 0): tile(1, (2, 6)), (0, 1): tile(2, (6, 3))}
    mosaic = Mosaic(tile(0).pixels, (1, 2), tiles)
    for columns in (slice(0, 4), slice(4, 8)):
        with pytest.raises(UnsupportedDataError, match="and its place 4 x 4"):
            mosaic[:, columns]
    mosaic = Mosaic(tile(0).pixels, (1, 2), tiles, tile_shape=(6, 6))
    expected = np.zeros((6, 12), np.uint8)
    expected[:2, :6], expected[:6, 6:9] = 1, 2
    np.testing.assert_array_equal(mosaic[...], expected)


@settings(max_examples=40)
@given(st.lists(st.none() | st.integers(0, 4), min_size=1, max_size=6), st.data())
def test_channels_come_in_any_order_and_those_that_lack_are_zero(chosen, data):
    axis = data.draw(st.integers(0, 2))
    array = np.moveaxis(np.arange(1, 61, dtype=np.uint8).reshape(5, 3, 4), 0, axis)
    pixels = ChosenChannels(MemoryPixels(array, (1, 2, 2)), axis, tuple(chosen))
    held = np.concatenate([array, np.zeros_like(array.take([0], axis))], axis)
    expected = held.take([5 if number is None else number for number in chosen], axis)
    np.testing.assert_array_equal(pixels[...], expected)
    low = data.draw(st.integers(0, len(chosen) - 1))
    part = (slice(None),) * axis + (slice(low, None),)
    np.testing.assert_array_equal(pixels[part], expected[part])


@pytest.mark.parametrize(
    ("values", "dtype", "held"),
    [
        (np.float32([1, 0, 7]), np.uint8, True),
        (np.float32([1, 0.25, 7]), np.uint8, False),
        (np.float32([1, np.nan, 7]), np.uint8, False),
        (np.int16([-1, 0, 7]), np.uint8, False),
        (np.uint16([300, 0, 7]), np.uint8, False),
        (np.int64([2**53 + 1, 0, 7]), np.float64, False),
        (np.uint8([1, 0, 7]), np.float32, True),
        (np.float64([1.5, np.nan, np.inf]), np.float32, True),
        (np.float64([0.1, 0, 7]), np.float32, False),
        (np.uint8([1, 0, 7]), bool, False),
    ],
)
def test_values_of_another_type_are_the_same_or_an_error(values, dtype, held):
    tiles = {(0, 0): KnownTile(MemoryPixels(values[None], (1, 3)))}
    template = MemoryPixels(np.zeros((1, 3), dtype), (1, 3))
    mosaic = Mosaic(template, (1, 1), tiles)
    if held:
        np.testing.assert_array_equal(mosaic[...], values[None])
    else:
        with pytest.raises(UnsupportedDataError, match="cannot"):
            mosaic[...]


def test_tiles_may_lack_axes_in_front_or_have_empty_ones():
    flat = np.arange(12, dtype=np.uint8).reshape(3, 4)
    template = MemoryPixels(np.zeros((2, 3, 4), np.uint8), (1, 3, 4))
    tiles = {
        (0, 0): KnownTile(MemoryPixels(flat, (3, 4))),
        (0, 1): KnownTile(MemoryPixels(np.stack([flat, flat])[None], (1, 1, 3, 4))),
    }
    mosaic = Mosaic(template, (1, 2), tiles)
    expected = np.zeros((2, 3, 8), np.uint8)
    expected[0, :, :4], expected[:, :, 4:] = flat, flat
    np.testing.assert_array_equal(mosaic[...], expected)
    np.testing.assert_array_equal(mosaic[1, 1:, 2:7], expected[1, 1:, 2:7])
    deep = KnownTile(MemoryPixels(np.zeros((2, 2, 3, 4), np.uint8), (1, 1, 3, 4)))
    with pytest.raises(UnsupportedDataError, match="has 4 axes"):
        Mosaic(template, (1, 1), {(0, 0): deep})[...]


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


def test_a_tile_that_fails_raises_and_is_asked_again():
    broken = BrokenTile()
    mosaic = Mosaic(tile(0).pixels, (1, 1), {(0, 0): broken})
    with pytest.raises(TimeoutError):
        mosaic[...]
    broken.broken = False
    assert mosaic[0, 0] == 9


def test_a_mosaic_never_splits_a_chunk_over_two_tiles():
    odd = MemoryPixels(np.zeros((2, 5, 7), np.uint8), (1, 2, 2))
    assert Mosaic(odd, (2, 2), {}).chunks == (1, 5, 7)
    even = MemoryPixels(np.zeros((2, 4, 6), np.uint8), (1, 2, 2))
    assert Mosaic(even, (2, 2), {}).chunks == (1, 2, 2)
