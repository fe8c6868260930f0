"""The chunks of a level, seen through windows."""

from __future__ import annotations

import numpy as np
import pytest

from napari_omezarr.display.chunk_cache import ChunkGrid, host_of
from napari_omezarr.pyramid import Cast, ChannelsLast, FixedAxes
from pixel_sources import MemoryPixels


@pytest.fixture
def pixels():
    array = np.arange(4 * 3 * 10 * 9).reshape(4, 3, 10, 9)
    return MemoryPixels(array, (2, 2, 4, 4))


def test_a_level_is_its_own_source(pixels):
    grid = ChunkGrid(pixels)
    assert grid.counts == (2, 2, 3, 3)
    chunk = grid.chunk((1, 1, 2, 2))
    assert chunk.bounds == ((2, 4), (2, 3), (8, 10), (8, 9))
    assert chunk.shape == (2, 1, 2, 1)
    assert chunk.nbytes == 4 * pixels.dtype.itemsize
    assert grid.bounds((1, 1, 2, 2)) == chunk.bounds


def test_channels_in_one_chunk_share_it(pixels):
    keys = [
        ChunkGrid(FixedAxes(pixels, {1: channel})).key((0, 1, 2))
        for channel in range(3)
    ]
    assert keys[0] == keys[1] == (pixels.token, (0, 0, 1, 2))
    assert keys[2] == (pixels.token, (0, 1, 1, 2))


@pytest.mark.parametrize("fixed", [{0: 3}, {1: 2}, {0: 1, 1: 1}, {3: 8}])
def test_what_is_seen_of_a_stored_chunk(pixels, fixed):
    window = FixedAxes(pixels, fixed)
    grid = ChunkGrid(window)
    index = (0,) * window.ndim
    chunk = grid.chunk(index)
    stored = pixels.array[tuple(slice(*bound) for bound in chunk.bounds)]
    seen = window[tuple(slice(*bound) for bound in grid.bounds(index))]
    assert np.array_equal(grid.shown(stored), seen)


def test_a_window_on_a_window_is_seen_through(pixels):
    inner = FixedAxes(pixels, {0: 3})
    grid = ChunkGrid(FixedAxes(inner, {0: 1}))
    assert grid.source is pixels
    assert grid.key((2, 1)) == (pixels.token, (1, 0, 2, 1))
    chunk = grid.chunk((2, 1))
    stored = pixels.array[tuple(slice(*bound) for bound in chunk.bounds)]
    assert np.array_equal(grid.shown(stored), pixels.array[3, 1, 8:10, 4:8])


def test_the_chunks_within_a_box(pixels):
    grid = ChunkGrid(FixedAxes(pixels, {0: 0}))
    assert list(grid.within(((0, 1), (3, 5), (0, 9)))) == [
        (0, y, x) for y in (0, 1) for x in (0, 1, 2)
    ]
    assert list(grid.within(((0, 1), (3, 3), (0, 9)))) == []
    assert grid.nbytes_within(((0, 1), (3, 5), (0, 9))) == 6 * 2 * 2 * 4 * 4 * 8


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("s3://idr/zarr/a.zarr/0", "idr"),
        ("https://example.org/a.zarr/0", "example.org"),
        ("/home/somebody/a.zarr/0", "this computer"),
    ],
)
def test_a_host_is_the_server_or_bucket(pixels, address, host):
    pixels.address = address
    assert host_of(pixels) == host
    assert (
        host_of(Cast(ChannelsLast(FixedAxes(pixels, {0: 0}), 0), np.dtype("u1")))
        == host
    )


def test_pixels_without_an_address_are_here(pixels):
    assert host_of(pixels) == "this computer"
