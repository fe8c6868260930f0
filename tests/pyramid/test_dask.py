"""Chunks merged into blocks that dask can bear."""

from __future__ import annotations

from math import ceil, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.pyramid import merged_chunks, to_dask
from napari_omezarr.pyramid.dask_arrays import (
    BATCH_BYTES,
    BLOCK_BYTES,
    MANY_CHUNKS,
    MOST_BLOCKS,
    blocks_of,
)
from pixel_sources import MemoryPixels


class OnlyShapes:
    """Pixels of one byte that are never read."""

    def __init__(self, shape, chunks):
        self.shape, self.chunks, self.dtype = shape, chunks, np.dtype(np.uint8)


SIZES = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(1, 64)), min_size=1, max_size=5
)


@given(SIZES, st.integers(1, 10_000))
def test_blocks_are_few_and_made_of_whole_chunks(sizes, most):
    shape = [size for size, _ in sizes]
    chunks = [min(size, chunk) for size, chunk in sizes]
    blocks = merged_chunks(shape, chunks, most, 64)
    counts = [ceil(size / block) for size, block in zip(shape, blocks, strict=True)]
    assert prod(counts) <= most
    for size, chunk, block in zip(shape, chunks, blocks, strict=True):
        assert block == size or block % chunk == 0


@given(SIZES, st.lists(st.integers(1, 40), min_size=5, max_size=5), st.booleans())
def test_blocks_are_as_large_as_dask_likes_and_cut_no_shard(sizes, per_shard, sharded):
    shape = tuple(size for size, _ in sizes)
    chunks = tuple(min(size, chunk) for size, chunk in sizes)
    pixels = OnlyShapes(shape, chunks)
    if sharded:
        by = zip(chunks, per_shard, strict=False)
        pixels.shards = tuple(chunk * count for chunk, count in by)
    blocks = blocks_of(pixels)
    count = prod(ceil(size / block) for size, block in zip(shape, blocks, strict=True))
    assert count <= MOST_BLOCKS
    for size, chunk, block in zip(shape, chunks, blocks, strict=True):
        assert block == size or block % chunk == 0
    stored = prod(ceil(s / c) for s, c in zip(shape, chunks, strict=True))
    if stored <= MANY_CHUNKS:
        assert blocks == chunks
    elif stored <= MOST_BLOCKS:
        assert prod(blocks) <= max(BLOCK_BYTES, prod(chunks), BATCH_BYTES * sharded)
    if sharded:
        for size, shard, block in zip(shape, pixels.shards, blocks, strict=True):
            assert block == size or shard % block == 0 or block % shard == 0


@pytest.mark.parametrize(
    ("shape", "chunks", "blocks"),
    [
        ((2, 64, 1024, 1024), (1, 1, 512, 512), (1, 8, 1024, 1024)),
        ((40, 5120, 5120), (1, 512, 512), (1, 2560, 2560)),
        ((900, 512, 512), (1, 512, 512), (32, 512, 512)),
        ((512, 512, 512), (64, 64, 64), (64, 256, 512)),
        ((300, 4096, 4096), (1, 4096, 4096), (1, 4096, 4096)),
    ],
    ids=["small planes", "large planes", "planes", "cubes", "large chunks"],
)
def test_blocks_fill_a_plane_and_then_a_few_planes(shape, chunks, blocks):
    assert blocks_of(OnlyShapes(shape, chunks)) == blocks


def test_few_chunks_stay_as_they_are():
    assert merged_chunks((4, 512, 512), (1, 256, 256), MOST_BLOCKS, 64) == (1, 256, 256)


def test_planes_are_merged_first_and_then_the_first_axis():
    blocks = merged_chunks((2000, 5120, 5120), (1, 64, 64), 10_000, 64)
    assert blocks[1:] == (512, 512)
    blocks = merged_chunks((100, 4, 300, 640), (1, 1, 64, 64), 1000, 64)
    assert blocks == (1, 1, 300, 640)


@pytest.mark.parametrize("key", [(5, slice(2, 9)), (slice(None, None, -3), 4)])
def test_a_slice_of_the_dask_array_reads_only_what_it_needs(key):
    pixels = MemoryPixels(np.arange(20 * 30).reshape(20, 30), chunks=(10, 10))
    array = to_dask(pixels)
    np.testing.assert_array_equal(array[5, 2:9].compute(), pixels.array[5, 2:9])
    assert pixels.reads == [((5, 6), (2, 9))]
    np.testing.assert_array_equal(array[key].compute(), pixels.array[key])


def test_making_the_dask_array_reads_nothing():
    pixels = MemoryPixels(np.zeros((20, 30)), chunks=(1, 1))
    assert to_dask(pixels).shape == (20, 30)
    assert pixels.reads == []
