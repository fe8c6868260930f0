"""A box put together: exact where cached, else the finest coarser level."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.display.chunk_cache import ChunkCache, ChunkGrid
from napari_omezarr.display.compose import assemble, projected
from napari_omezarr.pyramid import FixedAxes
from pixel_sources import MemoryPixels


def cached(grids, chosen):
    """A cache of these (level, chunk index) pairs."""
    cache = ChunkCache(2**30)
    for level, index in chosen:
        put(cache, grids[level], index)
    return cache


def put(cache, grid, index):
    chunk = grid.chunk(index)
    box = grid.source.array[tuple(slice(*bound) for bound in chunk.bounds)]
    cache.put(chunk.key, box.copy())


def all_chunks(grids, levels=None):
    levels = range(len(grids)) if levels is None else levels
    return [
        (level, index)
        for level in levels
        for index in product(*(range(count) for count in grids[level].counts))
    ]


def expected(grids, arrays, level, bounds, chosen):
    """What a box shows, pixel by pixel: the definition, slowly."""
    box = np.zeros([stop - start for start, stop in bounds], arrays[level].dtype)
    for place in np.ndindex(*box.shape):
        pixel = [
            start + offset for (start, _), offset in zip(bounds, place, strict=True)
        ]
        for coarser in range(level, len(grids)):
            # The centre of the pixel, measured in fractions of the axis, which all
            # levels share as napari draws them.
            there = tuple(
                int((p + 0.5) / size * other)
                for p, size, other in zip(
                    pixel, arrays[level].shape, arrays[coarser].shape, strict=True
                )
            )
            index = tuple(
                t // chunk
                for t, chunk in zip(there, grids[coarser].chunks, strict=True)
            )
            if (coarser, index) in chosen:
                box[place] = arrays[coarser][there]
                break
    return box


@st.composite
def situations(draw):
    """Levels of any shapes, some chunks of them cached, and a box."""
    ndim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 17)) for _ in range(ndim))
    arrays, grids = [], []
    for level in range(draw(st.integers(1, 4))):
        size = int(np.prod(shape))
        array = np.arange(size).reshape(shape) + 10_000 * (level + 1)
        chunks = tuple(draw(st.integers(1, size)) for size in shape)
        arrays.append(array)
        grids.append(ChunkGrid(MemoryPixels(array, chunks)))
        shape = tuple(
            max(1, draw(st.sampled_from([s, s // 2, -(-s // 2), s // 3])))
            for s in shape
        )
    level = draw(st.integers(0, len(grids) - 1))
    bounds = []
    for size in arrays[level].shape:
        start = draw(st.integers(0, size - 1))
        bounds.append((start, draw(st.integers(start + 1, size))))
    chunks = all_chunks(grids)
    flags = draw(st.lists(st.booleans(), min_size=len(chunks), max_size=len(chunks)))
    chosen = {pair for pair, flag in zip(chunks, flags, strict=True) if flag}
    return grids, arrays, level, tuple(bounds), chosen


@settings(max_examples=150, deadline=None)
@given(situations())
def test_every_pixel_is_the_finest_known_one(situation):
    grids, arrays, level, bounds, chosen = situation
    assembly = assemble(grids, level, bounds, cached(grids, chosen))
    assert np.array_equal(
        assembly.array, expected(grids, arrays, level, bounds, chosen)
    )
    needed = set(grids[level].within(bounds))
    assert set(assembly.missing) == {i for i in needed if (level, i) not in chosen}
    assert len(assembly.missing) == len(set(assembly.missing))


def levels_of(array, chunks, count=3):
    """Levels of block means, as a writer makes them."""
    grids = []
    for _ in range(count):
        grids.append(ChunkGrid(MemoryPixels(array, chunks)))
        height, width = array.shape
        array = array.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return grids


def test_a_coarse_pixel_covers_its_own_block():
    grids = levels_of(np.random.default_rng(0).random((16, 16)), (8, 8))
    cache = cached(grids, all_chunks(grids, [2]))
    array = assemble(grids, 0, ((0, 16), (0, 16)), cache).array
    assert np.array_equal(array, np.kron(grids[2].source.array, np.ones((4, 4))))


def test_the_middle_of_a_ramp_stays_in_place():
    # Half a pixel of error would move the mean of every row by half a pixel's worth.
    ramp = np.tile(np.arange(64.0), (64, 1))
    grids = levels_of(ramp, (16, 16), count=4)
    cache = cached(grids, all_chunks(grids, [3]))
    array = assemble(grids, 0, ((0, 64), (0, 64)), cache).array
    assert (array - ramp).mean() == pytest.approx(0)


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_cached_is_exact(count):
    array = np.random.default_rng(0).integers(0, 99, (30, 20, 20), dtype=np.int16)
    grids = [ChunkGrid(MemoryPixels(array[:, ::k, ::k], (4, 7, 6))) for k in (1, 2)][
        :count
    ]
    bounds = ((5, 6), (3, 17), (0, 20))
    assembly = assemble(grids, 0, bounds, cached(grids, all_chunks(grids)))
    assert np.array_equal(assembly.array, array[5:6, 3:17])
    assert assembly.missing == ()
    assembly.array[:] = 0
    assert np.array_equal(
        assemble(grids, 0, bounds, cached(grids, all_chunks(grids))).array,
        array[5:6, 3:17],
    )


def test_labels_are_taken_never_mixed():
    labels = np.random.default_rng(0).choice([0, 7, 1000], (33, 21)).astype(np.uint32)
    grids = [ChunkGrid(MemoryPixels(labels[::k, ::k], (8, 8))) for k in (1, 3)]
    cache = cached(grids, [*all_chunks(grids, [1]), (0, (1, 1))])
    array = assemble(grids, 0, ((0, 33), (0, 21)), cache).array
    assert set(np.unique(array)) <= {0, 7, 1000}
    assert array.dtype == np.uint32


def test_colours_stay_with_their_pixel():
    picture = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    grids = [ChunkGrid(MemoryPixels(picture[::k, ::k], (5, 5, 3))) for k in (1, 2)]
    cache = cached(grids, all_chunks(grids, [1]))
    array = assemble(grids, 0, ((0, 20), (0, 20), (0, 3)), cache).array
    assert np.array_equal(array, picture[::2, ::2].repeat(2, 0).repeat(2, 1))


def test_a_channel_is_taken_out_of_a_shared_chunk():
    array = np.arange(3 * 8 * 8).reshape(3, 8, 8)
    pixels = MemoryPixels(array, (2, 4, 4))
    grids = [ChunkGrid(FixedAxes(pixels, {0: channel})) for channel in range(3)]
    cache = ChunkCache(2**30)
    put(cache, grids[0], (0, 0))
    boxes = [assemble([grid], 0, ((0, 4), (0, 4)), cache) for grid in grids]
    assert np.array_equal(boxes[0].array, array[0, :4, :4])
    assert np.array_equal(boxes[1].array, array[1, :4, :4])
    assert boxes[2].missing == ((0, 0),)


def test_an_empty_box_is_empty():
    grids = [ChunkGrid(MemoryPixels(np.ones((4, 4)), (2, 2)))]
    assembly = assemble(grids, 0, ((0, 0), (1, 3)), ChunkCache(1))
    assert assembly.array.shape == (0, 2)
    assert assembly.missing == ()


def test_projection_covers_every_pixel_that_is_taken():
    grids = [ChunkGrid(MemoryPixels(np.zeros(size), (4,))) for size in (29, 14, 5)]
    for coarser in (1, 2):
        for start in range(29):
            for stop in range(start + 1, 30):
                ((low, high),) = projected(grids, 0, coarser, ((start, stop),))
                size = grids[coarser].shape[0]
                taken = [int((p + 0.5) / 29 * size) for p in range(start, stop)]
                assert (low, high) == (min(taken), max(taken) + 1)
