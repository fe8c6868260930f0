"""The wells of a plate as one plane, of tiles that are in memory."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.errors import UnsupportedDataError
from napari_omezarr.pyramid import (
    Arranged,
    Mosaic,
    MosaicLevel,
    WellGrid,
    coarser_levels,
    to_dask,
)
from pixel_sources import KnownFields, KnownTile, MemoryPixels, mosaic_of_tiles


def tile(value, shape=(4, 4), origin=(0, 0)):
    return KnownTile(MemoryPixels(np.full(shape, value, np.uint8), (2, 2)), origin)


def test_a_mosaic_shows_each_tile_in_its_place_and_holes_as_zero():
    tiles = {(0, 0): tile(1), (0, 2): tile(3), (1, 1): KnownTile(None)}
    mosaic = mosaic_of_tiles(tile(1).pixels, (2, 3), tiles)
    expected = np.zeros((8, 12), np.uint8)
    expected[:4, :4], expected[:4, 8:] = 1, 3
    np.testing.assert_array_equal(mosaic[...], expected)
    np.testing.assert_array_equal(mosaic[2:6, 3:9], expected[2:6, 3:9])


def test_between_wells_there_is_a_gap():
    tiles = {(0, 0): tile(1), (1, 1): tile(4)}
    mosaic = mosaic_of_tiles(tile(1).pixels, (2, 2), tiles, gap=3)
    expected = np.zeros((11, 11), np.uint8)
    expected[:4, :4], expected[7:, 7:] = 1, 4
    np.testing.assert_array_equal(mosaic[...], expected)


def test_only_the_tiles_that_are_looked_at_are_opened():
    tiles = {(0, column): tile(column) for column in range(5)}
    mosaic = mosaic_of_tiles(tile(0).pixels, (1, 5), tiles)
    mosaic[:, 5:11]
    assert [t.opened for t in tiles.values()] == [0, 1, 1, 0, 0]
    mosaic[:, 8:12]
    assert [t.opened for t in tiles.values()] == [0, 1, 2, 0, 0]


def test_tiles_of_another_size_leave_zero_or_have_no_room():
    tiles = {(0, 0): tile(1, (2, 6)), (0, 1): tile(2, (6, 3))}
    mosaic = mosaic_of_tiles(tile(0).pixels, (1, 2), tiles)
    for columns in (slice(0, 4), slice(4, 8)):
        with pytest.raises(UnsupportedDataError, match="and its place 4 x 4"):
            mosaic[:, columns]
    mosaic = mosaic_of_tiles(tile(0).pixels, (1, 2), tiles, room=(6, 6))
    expected = np.zeros((6, 12), np.uint8)
    expected[:2, :6], expected[:6, 6:9] = 1, 2
    np.testing.assert_array_equal(mosaic[...], expected)


@settings(max_examples=40)
@given(st.lists(st.none() | st.integers(0, 4), min_size=1, max_size=6), st.data())
def test_channels_come_in_any_order_and_those_that_lack_are_zero(chosen, data):
    axis = data.draw(st.integers(0, 2))
    array = np.moveaxis(np.arange(1, 61, dtype=np.uint8).reshape(5, 3, 4), 0, axis)
    pixels = Arranged(MemoryPixels(array, (1, 2, 2)), (0, 1, 2), axis, tuple(chosen))
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
    mosaic = mosaic_of_tiles(template, (1, 1), tiles)
    if held:
        np.testing.assert_array_equal(mosaic[...], values[None])
    else:
        with pytest.raises(UnsupportedDataError, match="cannot"):
            mosaic[...]


def test_a_tile_that_fails_raises_and_is_asked_again():
    class BrokenTile(KnownTile):
        is_broken = True

        async def level(self, number):
            if self.is_broken:
                raise TimeoutError
            return await super().level(number)

    broken = BrokenTile(tile(9).pixels)
    mosaic = mosaic_of_tiles(tile(0).pixels, (1, 1), {(0, 0): broken})
    with pytest.raises(TimeoutError):
        mosaic[...]
    broken.is_broken = False
    assert mosaic[0, 0] == 9


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_box_of_fields_in_wells_is_what_they_hold(data):
    """Wells of several fields, which may overlap: later ones lie over earlier ones."""
    draw = data.draw
    height, width = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    rows, columns, gap = (draw(st.integers(*ends)) for ends in ((1, 3), (1, 3), (0, 3)))
    cell = 2 * height + 1, 2 * width + 1
    grid_places = [(r, c) for r in range(rows) for c in range(columns)]
    pitch = cell[0] + gap, cell[1] + gap
    shape = pitch[0] * (rows - 1) + cell[0], pitch[1] * (columns - 1) + cell[1]
    expected = np.zeros((2, *shape), np.uint16)
    tiles = {}
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    for place in grid_places:
        if not draw(st.booleans()):
            continue
        tiles[place] = []
        for _ in range(draw(st.integers(0, 3))):
            values = rng.integers(1, 999, (2, height, width)).astype(np.uint16)
            y, x = draw(st.integers(0, height + 1)), draw(st.integers(0, width + 1))
            chunks = (1, draw(st.integers(1, height)), draw(st.integers(1, width)))
            tiles[place].append(KnownTile(MemoryPixels(values, chunks), (y, x)))
            top, left = place[0] * pitch[0] + y, place[1] * pitch[1] + x
            expected[:, top : top + height, left : left + width] = values
    grid = WellGrid((rows, columns), cell, pitch, dict.fromkeys(tiles, "A/1"))
    level = MosaicLevel(0, (1, 1), (2, height, width), (1, 4, 4), np.dtype(np.uint16))
    mosaic = Mosaic(KnownFields(tiles, grid), level)
    np.testing.assert_array_equal(mosaic[...], expected)
    low = [draw(st.integers(0, size - 1)) for size in shape]
    box = (slice(1, 2), slice(low[0], None), slice(low[1], None))
    np.testing.assert_array_equal(mosaic[box], expected[box])
    np.testing.assert_array_equal(to_dask(mosaic).compute(), expected)


@pytest.mark.parametrize("labels", [False, True])
def test_coarser_levels_are_made_of_the_coarsest_and_kept(labels):
    values = np.random.default_rng(0).integers(1, 99, (64, 64)).astype(np.uint16)
    pixels = MemoryPixels(values, (32, 32))
    places = [(r, c) for r in range(40) for c in range(3)]
    tiles = {place: KnownTile(pixels) for place in places}
    grid = WellGrid((40, 3), (64, 64), (68, 68), dict.fromkeys(places, "A/1"))
    first = MosaicLevel(0, (1, 1), (64, 64), (32, 32), np.dtype(np.uint16))
    levels = [first, *coarser_levels(grid, first)]
    assert [level.factors for level in levels] == [(1, 1), (2, 2)]
    fields = KnownFields(tiles, grid)
    finest = Mosaic(fields, first, labels=labels)
    half = Mosaic(fields, levels[1], labels=labels).keep_with(finest)
    assert half.shape == (1358, 100)
    part = half[:34, :34]
    by_mean = np.rint(values.reshape(32, 2, 32, 2).mean((1, 3)))
    expected = values[1::2, 1::2] if labels else by_mean
    np.testing.assert_array_equal(part[:32, :32], expected)
    assert not part[32:].any()
    read = len(pixels.reads)
    half[:34, :34]
    assert len(pixels.reads) == read


def test_steps_go_through_what_is_shown_one_at_a_time():
    tiles = {(n, 0, column): tile(10 * n + column) for n in (1, 2) for column in (0, 1)}
    grid = WellGrid((1, 2), (4, 4), (4, 4), {(0, 0): "A/1", (0, 1): "A/2"})
    level = MosaicLevel(0, (1, 1), (4, 4), (2, 2), np.dtype(np.uint8))
    mosaic = Mosaic(KnownFields(tiles, grid, steps=(3,)), level)
    assert mosaic.shape == (3, 4, 8)
    assert mosaic.chunks[0] == 1
    np.testing.assert_array_equal(mosaic[:, 0, [0, 4]], [[0, 0], [10, 11], [20, 21]])
    mosaic[1]
    assert (tiles[1, 0, 0].opened, tiles[2, 0, 0].opened) == (2, 1)


def test_a_mosaic_can_be_sent_to_another_process():
    mosaic = mosaic_of_tiles(tile(1).pixels, (1, 1), {(0, 0): tile(7)})
    before = mosaic[...]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(mosaic))[...], before)


def test_a_grid_knows_the_well_at_a_place():
    grid = WellGrid((2, 3), (10, 20), (11, 22), {(1, 2): "B/3"})
    assert grid.shape == (21, 64)
    assert grid.place_at(11, 44) == (1, 2)
    assert grid.place_at(10, 0) is None
    assert grid.place_at(0, 21) is None
    assert grid.place_at(-1, 0) is None
    assert grid.place_at(0, 70) is None
