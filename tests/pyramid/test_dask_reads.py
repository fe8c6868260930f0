"""What dask arrays of remote pixels read: each wanted chunk once, many at a time."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
import weakref
from collections import Counter
from contextlib import contextmanager
from itertools import product

import dask
import dask.array as da
import numpy as np
import pytest
from dask.graph_manipulation import clone
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.errors import StoreError
from napari_omezarr.pyramid import (
    FixedAxes,
    Readable,
    chunk_index,
    dask_arrays,
    pixels_of,
    to_dask,
)
from pixel_sources import MemoryPixels


class ShardedPixels(MemoryPixels):
    def __init__(self, array, chunks, shards):
        super().__init__(array, chunks)
        self.shards = shards


class MeetingPixels(Readable):
    """Chunks that are given when enough are asked for at a time, or a task waits."""

    def __init__(self, array, chunks, meeting):
        self.array, self.chunks, self.meeting = array, chunks, meeting
        self.shape, self.dtype, self.token = array.shape, array.dtype, "meeting"
        self.concurrency, self.readings = meeting, None
        self.under_way = self.most = 0

    async def read(self, bounds):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            # What is taken lets others begin: so those that are first must be given.
            while self.most < self.meeting and self.is_ahead(bounds):
                await asyncio.sleep(0.001)
        finally:
            self.under_way -= 1
        return self.array[tuple(slice(*bound) for bound in bounds)]

    def is_ahead(self, bounds):
        """Whether no task has come for a chunk yet."""
        (reading,) = self.readings = self.readings or readings_of(self)
        with reading._lock:
            return chunk_index(bounds, self.chunks) in reading._begun


class BrokenPixels(MemoryPixels):
    """The first read is given, that of a box is broken, the others are never given."""

    def __init__(self, array, chunks, broken):
        super().__init__(array, chunks)
        self.broken = broken
        self.concurrency = 64
        self.cancelled = 0

    async def read(self, bounds):
        self.reads.append(bounds)
        if len(self.reads) == 1:
            return self.array[tuple(slice(*bound) for bound in bounds)]
        if bounds == self.broken:
            raise StoreError("It is broken.", action="Mend it.", url="x")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class GatedPixels(MemoryPixels):
    """Nothing is given before all that is wanted was asked for."""

    def __init__(self, array, chunks, wanted):
        super().__init__(array, chunks)
        self.wanted = wanted
        self.concurrency = 64
        self.gate = asyncio.Event()

    async def read(self, bounds):
        self.reads.append(bounds)
        if len(self.reads) == self.wanted:
            self.gate.set()
        await asyncio.wait_for(self.gate.wait(), 30)
        return self.array[tuple(slice(*bound) for bound in bounds)]


def chunks_read(pixels):
    """How often each chunk was read, by its index."""
    found = Counter()
    for bounds in pixels.reads:
        along = (
            range(start // by, -(-stop // by))
            for (start, stop), by in zip(bounds, pixels.chunks, strict=True)
        )
        found.update(product(*along))
    return found


def chunks_of(pixels, key=..., blocks=None):
    """The chunks that a key needs, or all those of the blocks that it needs."""
    numbers = np.indices(pixels.shape)
    by, of = (
        np.array(sizes).reshape(-1, *[1] * len(pixels.shape))
        for sizes in (pixels.chunks, blocks or pixels.chunks)
    )
    wanted = (numbers // of)[(slice(None), *(key if key is not ... else (key,)))]
    found = {tuple(place) for place in wanted.reshape(len(by), -1).T}
    pairs = zip(
        (numbers // of).reshape(len(by), -1).T,
        (numbers // by).reshape(len(by), -1).T,
        strict=True,
    )
    return Counter({tuple(chunk): 1 for block, chunk in pairs if tuple(block) in found})


@st.composite
def sources(draw):
    axes = draw(
        st.lists(
            st.tuples(st.integers(1, 24), st.integers(1, 9), st.integers(1, 3)),
            min_size=1,
            max_size=3,
        )
    )
    array = np.arange(np.prod([size for size, _, _ in axes])).astype(np.int32)
    array = array.reshape([size for size, _, _ in axes])
    chunks = tuple(min(size, chunk) for size, chunk, _ in axes)
    shards = tuple(c * by for c, (_, _, by) in zip(chunks, axes, strict=True))
    if draw(st.booleans()):
        return ShardedPixels(array, chunks, shards)
    return MemoryPixels(array, chunks)


@st.composite
def keys(draw, shape):
    key = []
    for size in shape:
        if draw(st.booleans()):
            key.append(draw(st.integers(0, size - 1)))
        else:
            start = draw(st.integers(0, size - 1))
            stop = draw(st.integers(start + 1, size))
            key.append(slice(start, stop, draw(st.integers(1, 4))))
    return tuple(key)


USES = {
    "all": lambda a: a,
    "map_blocks": lambda a: da.map_blocks(lambda block: block + 1, a, dtype=a.dtype),
    "mean": lambda a: a.mean(),
    "sum of an axis": lambda a: a.sum(axis=0),
    "rechunk": lambda a: a.rechunk(5),
    "stack": lambda a: da.stack([a + 1, a]),
    "overlap": lambda a: a[::-1] + a,
}
IN_NUMPY = {
    "map_blocks": lambda a: a + 1,
    "mean": lambda a: a.mean(),
    "sum of an axis": lambda a: a.sum(axis=0),
    "stack": lambda a: np.stack([a + 1, a]),
    "overlap": lambda a: a[::-1] + a,
}


MERGED = {"MANY_CHUNKS": 2, "BLOCK_BYTES": 600, "BATCH_BYTES": 1500, "MOST_BLOCKS": 200}
AS_STORED = {"MANY_CHUNKS": 24**3}
BLOCKS = pytest.mark.parametrize("sizes", [AS_STORED, MERGED], ids=["stored", "merged"])


@contextmanager
def blocks_by(sizes):
    """What is many and large: a test has small numbers for it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in sizes.items():
            patch.setattr(dask_arrays, name, size)
        yield


@BLOCKS
@given(pixels=sources(), use=st.sampled_from(sorted(USES)))
def test_any_use_equals_numpy_and_reads_each_chunk_once(sizes, pixels, use):
    with blocks_by(sizes):
        array = to_dask(pixels)
        got = USES[use](array).compute(scheduler="threads", num_workers=2)
    np.testing.assert_allclose(got, IN_NUMPY.get(use, np.asarray)(pixels.array))
    assert chunks_read(pixels) == chunks_of(pixels)


@BLOCKS
@given(pixels=sources(), data=st.data())
def test_any_slice_equals_numpy_and_reads_only_its_chunks(sizes, pixels, data):
    key = data.draw(keys(pixels.shape))
    with blocks_by(sizes):
        got = to_dask(pixels)[key].compute(scheduler="threads", num_workers=2)
    np.testing.assert_array_equal(got, pixels.array[key])
    assert chunks_read(pixels) == chunks_of(pixels, key)


@BLOCKS
@given(pixels=sources(), data=st.data())
def test_a_slice_without_fusion_equals_numpy_and_reads_its_blocks(sizes, pixels, data):
    key = data.draw(keys(pixels.shape))
    with blocks_by(sizes), dask.config.set({"optimization.fuse.active": False}):
        array = to_dask(pixels)
        got = array[key].compute()
    np.testing.assert_array_equal(got, pixels.array[key])
    # Dask also takes blocks out of which a step takes nothing.
    steps_of_1 = tuple(
        slice(part.start, part.stop) if isinstance(part, slice) else part
        for part in key
    )
    blocks = array.chunksize
    assert chunks_read(pixels) >= chunks_of(pixels, key, blocks)
    assert chunks_read(pixels) <= chunks_of(pixels, steps_of_1, blocks)


def volume(**options):
    array = np.arange(6 * 40 * 40, dtype=np.int32).reshape(6, 40, 40)
    return MemoryPixels(array, (1, 10, 10), **options)


@pytest.mark.parametrize("use", ["all", "map_blocks", "mean"])
def test_many_chunks_are_asked_for_at_a_time_by_two_threads(use):
    pixels = MeetingPixels(volume().array, (1, 10, 10), meeting=24)
    got = USES[use](to_dask(pixels)).compute(scheduler="threads", num_workers=2)
    np.testing.assert_allclose(got, IN_NUMPY.get(use, np.asarray)(pixels.array))
    # And the two that the tasks asked for themselves.
    assert 24 <= pixels.most <= 26


def test_an_unoptimized_graph_reads_each_chunk_by_itself():
    pixels = volume()
    got = to_dask(pixels).compute(optimize_graph=False)
    np.testing.assert_array_equal(got, pixels.array)
    assert chunks_read(pixels) == chunks_of(pixels)


def test_a_clone_reads_the_same():
    pixels = volume()
    np.testing.assert_array_equal(clone(to_dask(pixels)).compute(), pixels.array)


def test_one_block_alone_is_read_alone():
    pixels = volume()
    blocks = to_dask(pixels).to_delayed()
    np.testing.assert_array_equal(
        blocks[2, 1, 3].compute(), pixels.array[2:3, 10:20, 30:]
    )
    assert pixels.reads == [((2, 3), (10, 20), (30, 40))]


def test_a_kept_graph_can_be_computed_again():
    pixels = volume()
    (array,) = dask.optimize(to_dask(pixels) + 1)
    for times in (1, 2):
        np.testing.assert_array_equal(array.compute(), pixels.array + 1)
        assert set(chunks_read(pixels).values()) == {times}


def test_two_arrays_of_kept_graphs_are_not_mixed():
    pixels = volume()
    array = to_dask(pixels)
    first, second = dask.optimize(array[:2, :20])[0], dask.optimize(array[1:, 5:])[0]
    one, two = dask.compute(first, second)
    np.testing.assert_array_equal(one, pixels.array[:2, :20])
    np.testing.assert_array_equal(two, pixels.array[1:, 5:])


def test_what_is_read_ahead_is_bounded(monkeypatch):
    monkeypatch.setattr(dask_arrays, "BATCH_BLOCKS", 8)
    monkeypatch.setattr(dask_arrays, "AHEAD_BLOCKS", 12)
    pixels = volume()
    used, held, lock = [0], [], threading.Lock()

    def use(block):
        with lock:
            used[0] += 1
            held.append(len(pixels.reads) - used[0])
        return block[:, :1, :1]

    meta = np.empty((0, 0, 0), np.int32)
    array = da.map_blocks(use, to_dask(pixels), chunks=(1, 1, 1), meta=meta)
    array.compute(scheduler="threads", num_workers=2)
    assert used == [96]
    assert max(held) <= 12 + 2


class CopiedPixels(MemoryPixels):
    """Each box has memory of its own, as what is decoded has."""

    async def read(self, bounds):
        return (await super().read(bounds)).copy()


@pytest.mark.parametrize("announced", [True, False])
def test_a_part_of_a_chunk_does_not_keep_the_chunk(announced):
    pixels = CopiedPixels(volume().array, (1, 10, 10))
    how = {} if announced else {"callbacks": ()}
    kept = to_dask(pixels)[:, :, 3].persist(**how)
    blocks = [kept.dask[key] for key in sorted(kept.dask)]
    arrays = [getattr(block, "value", block) for block in blocks]
    assert len(arrays) == 24
    assert all(a.base is None or a.base.nbytes <= 40 for a in arrays)
    # Not announced, whole chunks are read ahead.
    whole = [box for box in pixels.reads if box[2] == (0, 10)]
    assert bool(whole) is not announced


def test_a_part_of_a_merged_block_is_read_alone_also_if_not_announced():
    array = np.arange(64 * 40 * 40, dtype=np.int32).reshape(64, 40, 40)
    pixels = MemoryPixels(array, (1, 10, 10))
    whole = to_dask(pixels)
    assert whole.chunksize == (4, 40, 40)
    got = whole[:, 5, 12:31].compute(callbacks=())
    np.testing.assert_array_equal(got, array[:, 5, 12:31])
    assert chunks_read(pixels) == chunks_of(pixels, np.s_[:, 5, 12:31])


def test_what_two_computations_of_a_graph_take_of_a_block_may_differ():
    array = np.arange(32 * 16, dtype=np.int32).reshape(32, 16)
    pixels = MemoryPixels(array, (1, 1))
    pixels.concurrency = 64
    (whole,) = dask.optimize(to_dask(pixels))
    (half,) = dask.optimize(to_dask(pixels)[:, :5])
    for _ in range(2):
        got = dask.compute(whole, half)
        np.testing.assert_array_equal(got[0], array)
        np.testing.assert_array_equal(got[1], array[:, :5])


def readings_of(pixels):
    """The reads of the graphs of some pixels that are still held."""
    everything = gc.get_objects()
    kind = dask_arrays._ReadAhead
    return weakref.WeakSet(
        o for o in everything if type(o) is kind and o.pixels is pixels
    )


def assert_forgotten(readings):
    """The other thread may be about to end its task, and an error holds its frames."""
    for _ in range(1200):
        gc.collect()
        if not readings:
            return
        threading.Event().wait(0.05)
    raise AssertionError(list(readings))


def test_reads_end_with_the_graph():
    pixels = volume()
    (array,) = dask.optimize(to_dask(pixels))
    readings = readings_of(pixels)
    assert len(readings) == 1
    array.compute()
    del array
    assert_forgotten(readings)


def test_an_error_is_ours_and_ends_the_reads_that_were_begun(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(dask_arrays, "AHEAD_BLOCKS", 0)
        known = volume()
        to_dask(known).compute(scheduler="sync")
    # The first task lets the reads ahead begin, and the second waits for one of them.
    pixels = BrokenPixels(volume().array, (1, 10, 10), broken=known.reads[1])
    with pytest.raises(StoreError, match="broken"):
        to_dask(pixels).compute(scheduler="sync")
    for _ in range(1200):
        if pixels.cancelled == 63:
            break
        threading.Event().wait(0.05)
    assert pixels.cancelled == 63
    assert len(pixels.reads) == 1 + 64


@pytest.mark.parametrize("use", ["all", "map_blocks", "mean", "sum of an axis"])
def test_all_that_a_computation_takes_is_asked_for_with_its_first_chunk(use):
    pixels = GatedPixels(volume().array, (1, 10, 10), wanted=3 * 4 * 2)
    array = USES[use](to_dask(pixels)[2:5, 5:35, 20:])
    got = array.compute(scheduler="sync")
    np.testing.assert_allclose(
        got, IN_NUMPY.get(use, np.asarray)(pixels.array[2:5, 5:35, 20:])
    )
    assert chunks_read(pixels) == chunks_of(pixels, np.s_[2:5, 5:35, 20:])


@settings(max_examples=15)
@given(st.data())
def test_a_part_of_what_was_culled_reads_only_its_chunks(data):
    pixels = volume()
    pixels.concurrency = 64
    blocks = to_dask(pixels).to_delayed()
    some = data.draw(st.sets(st.sampled_from(list(np.ndindex(blocks.shape)))))
    got = dask.compute(*(blocks[place] for place in sorted(some)))
    assert len(got) == len(some)
    assert chunks_read(pixels) == Counter(some)


def test_computations_that_dask_does_not_announce_are_right():
    pixels = volume()
    pixels.concurrency = 64
    array = to_dask(pixels)
    got = array.compute(scheduler="threads", num_workers=2, callbacks=())
    np.testing.assert_array_equal(got, pixels.array)
    assert chunks_read(pixels) == chunks_of(pixels)


def test_two_threads_that_compute_at_a_time_get_what_they_asked_for():
    pixels = volume()
    pixels.concurrency = 64
    (kept,) = dask.optimize(to_dask(pixels))
    meeting, got = threading.Barrier(2, timeout=60), [None, None]

    def work(number):
        meeting.wait()
        array = kept if number else to_dask(pixels)[:, 15:]
        got[number] = array.compute(scheduler="threads", num_workers=2)

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    np.testing.assert_array_equal(got[0], pixels.array[:, 15:])
    np.testing.assert_array_equal(got[1], pixels.array)


def test_a_computation_that_fails_elsewhere_leaves_nothing_behind():
    pixels = MeetingPixels(volume().array, (1, 10, 10), meeting=10)
    seen = []

    def fail(block):
        seen.append(readings_of(pixels))
        raise ValueError("no")

    meta = np.empty((0, 0, 0), np.int32)
    with pytest.raises(ValueError, match="no"):
        da.map_blocks(fail, to_dask(pixels), meta=meta).compute(
            scheduler="threads", num_workers=2
        )
    assert seen
    assert_forgotten(seen[0])


def test_the_layer_travels_without_its_tasks():
    array = np.zeros((90, 90, 1), np.uint8)
    pixels = MemoryPixels(array, (1, 1, 1))
    layer = to_dask(pixels).dask.layers[f"omezarr-{pixels.token}"]
    assert not layer.is_materialized()
    culled, _ = layer.cull({(layer.name, 3, 5, 0), ("other", 1)}, ())
    assert [key for key in culled if key[0] == layer.name] == [(layer.name, 3, 5, 0)]
    again = pickle.loads(pickle.dumps(culled))
    assert not again.is_materialized()
    assert set(again) == set(culled)
    assert pixels.reads == []


def test_pixels_are_found_again():
    pixels = volume()
    assert pixels_of(to_dask(pixels)) is pixels


def test_a_plane_of_very_many_chunks_is_read_a_batch_at_a_time():
    pixels = MemoryPixels(np.zeros((200, 32, 32), np.uint8), (1, 2, 2))
    array = to_dask(pixels)
    assert array.npartitions <= 10_000
    array[7].compute()
    assert chunks_read(pixels) == chunks_of(pixels, (7,))
    assert len(pixels.reads) <= 4


def test_what_shards_hold_is_read_together_through_views_too():
    array = np.arange(2 * 32 * 32, dtype=np.int32).reshape(2, 32, 32)
    pixels = ShardedPixels(array, (1, 4, 4), (1, 16, 16))
    got = to_dask(FixedAxes(pixels, {0: 1})).compute()
    np.testing.assert_array_equal(got, array[1])
    assert set(chunks_read(pixels).values()) == {1}
    assert len(pixels.reads) < 16
