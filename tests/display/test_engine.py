"""The fetcher on the real I/O loop, with pixels that arrive when the test says so."""

from __future__ import annotations

import asyncio
import gc
import weakref
from itertools import product
from threading import Condition

import numpy as np
import pytest
import zarr

import small_images
from gated_pixels import LONG, Gate, GatedPixels
from napari_omezarr.display import ChunkRetryPolicy
from napari_omezarr.display.chunk_cache import ChunkCache, ChunkGrid
from napari_omezarr.display.chunk_queue import ChunkRequest, Priority
from napari_omezarr.display.engine import Fetcher
from napari_omezarr.errors import (
    AccessDeniedError,
    StoreConnectionError,
    TruncatedBodyError,
)
from napari_omezarr.location import Location
from napari_omezarr.pyramid import ArrayPixels, FixedAxes
from napari_omezarr.reading import read
from napari_omezarr.store import open_store, run
from quick_retries import PIXELS, QUICK, write_image
from servers import faults
from servers.http import Bucket

AT_ONCE = ChunkRetryPolicy(tries=3, first=0, longest=3600, silence=3600)


class Watched(Fetcher):
    """A fetcher that a test can wait for."""

    def __init__(self, cache):
        super().__init__(cache, retry_policy=AT_ONCE)
        self._news = Condition()
        self.listen(self._note)

    def _note(self):
        with self._news:
            self._news.notify_all()

    def wait_for(self, condition):
        with self._news:
            assert self._news.wait_for(condition, LONG), "the fetcher was in vain"

    def wait_for_all(self, owner):
        self.wait_for(lambda: not self.progress(owner).pending)


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def cache():
    return ChunkCache(2**20)


@pytest.fixture
def fetcher(cache):
    return Watched(cache)


def pixels_of(gate, size=64, **options):
    return GatedPixels(np.arange(size, dtype=np.uint16), (4,), gate, **options)


def ask(pixels, *numbers, priority=Priority.SHARP):
    grid = ChunkGrid(pixels)
    return [ChunkRequest(grid.chunk((number,)), priority, number) for number in numbers]


def test_a_wanted_chunk_comes_into_the_cache(fetcher, cache, gate):
    pixels = pixels_of(gate)
    fetcher.request({"view": ask(pixels, 3)})
    gate.wait_for(lambda: gate.waiting)
    assert fetcher.progress("view").pending == 1
    gate.open()
    fetcher.wait_for_all("view")
    assert cache.get([(pixels.token, (3,))])[0].tolist() == [12, 13, 14, 15]
    assert fetcher.take_changed() == {"view"}
    assert fetcher.take_changed() == frozenset()
    progress = fetcher.progress("view")
    assert (progress.arrived, progress.bytes, progress.errors) == (1, 8, ())


def test_the_nearest_is_read_first_and_not_more_at_a_time_than_allowed(fetcher, gate):
    pixels = pixels_of(gate, concurrency=2)
    fetcher.request({"view": ask(pixels, 5, 1, 3)})
    gate.wait_for(lambda: len(gate.waiting) == 2)
    assert gate.chunks_of(pixels) == {(1,): 1, (3,): 1}
    gate.release((pixels, (1,)))
    gate.wait_for(lambda: gate.asked[pixels, (5,)])
    gate.open()
    fetcher.wait_for_all("view")


def test_no_read_begins_while_they_are_held(fetcher, gate):
    pixels = pixels_of(gate)
    gate.open()
    fetcher.hold(3600)
    fetcher.request({"view": ask(pixels, 3)})
    run(asyncio.sleep(0))  # what the request put on the loop came before
    assert (fetcher.reads_begun, fetcher.progress("view").pending) == (0, 1)
    fetcher.hold(0)
    fetcher.wait_for_all("view")
    fetcher.hold(0.01)  # it ends by itself as well
    fetcher.request({"view": ask(pixels, 4)})
    fetcher.wait_for_all("view")
    assert fetcher.reads_begun == 2


def test_each_chunk_is_read_once_however_many_want_it(fetcher, gate):
    array = np.arange(2 * 16, dtype=np.uint8).reshape(2, 16)
    pixels = GatedPixels(array, (2, 4), gate)
    windows = [FixedAxes(pixels, {0: channel}) for channel in range(2)]
    for round_ in range(3):
        for number, window in enumerate(windows):
            fetcher.request({(number, round_): ask(window, 0, 1, 2)})
    gate.open()
    for number in range(2):
        for round_ in range(3):
            fetcher.wait_for_all((number, round_))
    assert gate.chunks_of(pixels) == {(0, n): 1 for n in range(3)}
    assert fetcher.reads_begun == 3


def test_what_is_no_longer_wanted_is_cancelled_or_never_asked_for(fetcher, gate):
    pixels = pixels_of(gate, concurrency=2)
    fetcher.request({"view": ask(pixels, 0, 1, 2, 3)})
    gate.wait_for(lambda: len(gate.waiting) == 2)
    fetcher.request({"view": ask(pixels, 1, 4)})
    gate.wait_for(lambda: gate.asked[pixels, (4,)])
    assert gate.chunks_of(pixels, gate.cancelled) == {(0,): 1}
    gate.open()
    fetcher.wait_for_all("view")
    assert gate.chunks_of(pixels) == {(0,): 1, (1,): 1, (4,): 1}


def test_what_another_wants_is_not_cancelled(fetcher, gate):
    pixels = pixels_of(gate)
    fetcher.request({"one": ask(pixels, 0), "two": ask(pixels, 0, 1)})
    gate.wait_for(lambda: len(gate.waiting) == 2)
    fetcher.forget("two")
    gate.wait_for(lambda: gate.cancelled)
    assert gate.chunks_of(pixels, gate.cancelled) == {(1,): 1}
    gate.open()
    fetcher.wait_for_all("one")
    assert gate.asked[pixels, (0,)] == 1


def test_what_arrived_meanwhile_is_told(fetcher, cache, gate):
    pixels = pixels_of(gate)
    cache.put((pixels.token, (0,)), np.zeros(4, np.uint16))
    fetcher.request({"view": ask(pixels, 0)})
    fetcher.wait_for(lambda: fetcher.take_changed() == {"view"})
    assert not gate.asked


def test_a_failing_chunk_is_asked_for_so_often_and_then_given_up(fetcher, gate):
    pixels = pixels_of(gate)
    error = StoreConnectionError("idr cannot be reached.")
    gate.errors[pixels, (1,)] = error
    gate.open()
    fetcher.request({"view": ask(pixels, 0, 1)})
    fetcher.wait_for_all("view")
    assert gate.chunks_of(pixels) == {(0,): 1, (1,): AT_ONCE.tries}
    assert fetcher.progress("view").errors == (error,)
    assert fetcher.is_late((pixels.token, (1,)))
    assert not fetcher.is_late((pixels.token, (0,)))
    (notice,) = fetcher.take_notices()
    assert (notice.host, notice.error) == ("far", error)
    assert fetcher.take_notices() == []


def test_the_tries_of_the_display_and_of_the_store_do_not_multiply(
    fetcher, http_server, tmp_path
):
    """The store tries as often as it does; each time that follows is one request."""
    write_image(tmp_path / "image.zarr")
    address = f"{http_server.url}/image.zarr/0"
    store = open_store(Location.parse(address), retry=QUICK)
    pixels = ArrayPixels(run(zarr.AsyncArray.open(store)), address, 8)
    http_server.fault("*/c/0/0", faults.Status(500), forever=True)
    chunk = ChunkGrid(pixels).chunk((0, 0))
    fetcher.request({"view": [ChunkRequest(chunk, Priority.SHARP, 0)]})
    fetcher.wait_for_all("view")
    asked = [request for request in http_server.requests if "/c/" in request.path]
    assert len(asked) == QUICK.tries + AT_ONCE.tries - 1
    # Who asks for it herself is answered as at first.
    http_server.clear_log()
    fetcher.retry()
    fetcher.wait_for(lambda: fetcher.is_late((pixels.token, (0, 0))))
    fetcher.wait_for_all("view")
    assert len(http_server.requests) == QUICK.tries + AT_ONCE.tries - 1


def test_a_refused_chunk_is_asked_for_once_until_retried(fetcher, cache, gate):
    pixels = pixels_of(gate)
    gate.errors[None] = AccessDeniedError("no")
    gate.open()
    fetcher.request({"view": ask(pixels, 0, 1, 2)})
    fetcher.wait_for_all("view")
    assert len(fetcher.take_notices()) == 1
    gate.errors.clear()
    fetcher.take_changed()
    fetcher.retry()
    fetcher.wait_for(lambda: not fetcher.progress("view").pending)
    assert fetcher.progress("view").errors == ()
    assert all((pixels.token, (n,)) in cache for n in range(3))
    assert set(gate.chunks_of(pixels).values()) == {2}


def test_a_place_that_returns_brings_all_it_owes(fetcher, cache, gate):
    pixels = pixels_of(gate)
    gate.errors[None] = StoreConnectionError("away")
    gate.open()
    fetcher.request({"view": ask(pixels, 0, 1, 2)})
    fetcher.wait_for_all("view")
    assert len(fetcher.progress("view").errors) == 3
    gate.errors.clear()
    fetcher.request({"view": ask(pixels, 0, 1, 2), "next": ask(pixels, 7)})
    fetcher.wait_for(lambda: all((pixels.token, (n,)) in cache for n in (0, 1, 2, 7)))
    assert fetcher.progress("view").errors == ()


def test_an_error_of_a_codec_is_told_as_it_is(fetcher, gate):
    pixels = pixels_of(gate)
    gate.errors[None] = RuntimeError("Zstd decompression error: bad magic")
    gate.open()
    fetcher.request({"view": ask(pixels, 0)})
    fetcher.wait_for_all("view")
    assert gate.asked[pixels, (0,)] == 1
    assert "bad magic" in str(fetcher.take_notices()[0].error)


def test_a_chunk_of_a_wrong_shape_is_an_error(fetcher, gate):
    pixels = pixels_of(gate, size=64)
    pixels.array = pixels.array[:2]
    gate.open()
    fetcher.request({"view": ask(pixels, 0)})
    fetcher.wait_for_all("view")
    (error,) = fetcher.progress("view").errors
    assert isinstance(error, TruncatedBodyError)


def test_a_read_that_ends_itself_is_a_failure_not_a_hang(fetcher, gate):
    pixels = pixels_of(gate)
    fetcher.request({"view": ask(pixels, 0)})
    for _ in range(AT_ONCE.tries):
        gate.wait_for(lambda: gate.waiting)
        gate.interrupt()
    fetcher.wait_for_all("view")
    (error,) = fetcher.progress("view").errors
    assert isinstance(error, StoreConnectionError)


def test_chunks_own_their_memory(fetcher, cache, gate):
    whole = np.arange(2 * 16, dtype=np.uint8).reshape(2, 16)
    pixels = GatedPixels(whole, (1, 16), gate)

    async def read(bounds):
        return whole[tuple(slice(*bound) for bound in bounds)]

    pixels.read = read
    fetcher.request(
        {"view": [ChunkRequest(ChunkGrid(pixels).chunk((0, 0)), Priority.SHARP)]}
    )
    fetcher.wait_for_all("view")
    (chunk,) = cache.get([(pixels.token, (0, 0))])
    assert chunk.base is None
    assert whole.flags.writeable


def test_what_was_forgotten_is_not_kept_alive(fetcher, gate):
    pixels = pixels_of(gate)
    gone = weakref.ref(pixels)
    gate.open()
    fetcher.request({"view": ask(pixels, 0)})
    fetcher.wait_for_all("view")
    fetcher.forget("view")
    gate.asked.clear()
    del pixels
    gc.collect()
    assert gone() is None


def test_a_chunk_that_is_presumed_missing_is_asked_for_again(tmp_path):
    with Bucket(tmp_path) as bucket:
        write_image(tmp_path / "bucket/a.zarr")
        bucket.lists = False
        chunk = tmp_path / "bucket/a.zarr/0/c/0/0"
        body = chunk.read_bytes()
        chunk.unlink()
        array = zarr.open_group(open_store(bucket.place("bucket/a.zarr")), mode="r")[
            "0"
        ]
        pixels = ArrayPixels(array._async_array, "a", 8)
        cache = ChunkCache(2**20, doubted=0)
        fetcher = Watched(cache)
        grid = ChunkGrid(pixels)
        keys = [grid.key((0, column)) for column in range(2)]
        for kept in (False, True):
            chunks = [grid.chunk((0, column)) for column in range(2)]
            wanted = [ChunkRequest(each, Priority.SHARP, 0) for each in chunks]
            fetcher.request({"view": [w for w in wanted if w.chunk.key not in cache]})
            fetcher.wait_for_all("view")
            found = cache.get(keys)  # somebody looks
            assert [array is not None for array in found] == [kept, True]
            chunk.write_bytes(body)
        np.testing.assert_array_equal(found[0], PIXELS[:2, :2])


def test_a_refused_field_of_a_plate_is_asked_for_again(tmp_path):
    """Also where what was had lies in the same chunk, and where fields are kept."""
    with Bucket(tmp_path) as bucket:
        fields = small_images.put_plate(tmp_path / "bucket/p.zarr", rows=2, columns=2)
        bucket.lists = False
        chunks = sorted((tmp_path / "bucket/p.zarr/A/2/0/0/c").rglob("*"))
        bodies = {each: each.read_bytes() for each in chunks if each.is_file()}
        for each in bodies:
            each.unlink()
        plate = read(bucket.place("bucket/p.zarr")).pyramids[0].levels[0].pixels
        cache = ChunkCache(2**20, doubted=0)
        fetcher = Watched(cache)
        grid = ChunkGrid(plate)
        indices = list(product(*map(range, grid.counts)))
        for there in (False, True):
            wanted = [ChunkRequest(grid.chunk(i), Priority.SHARP, 0) for i in indices]
            fetcher.request({"view": [w for w in wanted if w.chunk.key not in cache]})
            fetcher.wait_for_all("view")
            found = cache.get([grid.key(index) for index in indices])  # she looks
            boxes = [grid.bounds(index) for index in indices]
            kept = [each is not None for each in found]
            doubted = [shows(plate, box, (0, 1)) for box in boxes]
            assert kept == [there or not doubt for doubt in doubted]
            for each, body in bodies.items():
                each.write_bytes(body)
        assert sum(doubted) >= 1
        assert not all(doubted)
        top, left = plate.fields.grid.corner((0, 1))
        expected = fields[0, 1]
        height, width = expected.shape[-2:]
        pixels = plate[..., top : top + height, left : left + width]
        np.testing.assert_array_equal(pixels, expected)
        assert plate.store.presumed == set()


def shows(plate, box, place):
    """Whether a box holds pixels of a well."""
    corner, cell = plate.fields.grid.corner(place), plate.fields.grid.cell
    return all(
        low < first + size and first < high
        for (low, high), first, size in zip(box[-2:], corner, cell, strict=True)
    )
