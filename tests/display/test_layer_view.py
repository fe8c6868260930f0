"""What a layer shows and wants, without a viewer: the engine and gated pixels."""

from __future__ import annotations

from threading import Condition

import numpy as np
import pytest

from gated_pixels import Gate, GatedPixels, pyramid
from napari_omezarr.display import (
    MEGABYTE,
    ChunkRetryPolicy,
    Engine,
    Settings,
    shared_engine,
    use_engine,
)
from napari_omezarr.display.layer_view import LayerView
from napari_omezarr.display.wanted import SliceView
from napari_omezarr.errors import AccessDeniedError
from napari_omezarr.pyramid import FixedAxes

SETTINGS = Settings(
    enabled=True, cache_bytes=64 * MEGABYTE, volume_bytes=10**6, prefetch_bytes=0
)
AHEAD = Settings(
    enabled=True, cache_bytes=64 * MEGABYTE, volume_bytes=10**6, prefetch_bytes=10**7
)
AT_ONCE = ChunkRetryPolicy(tries=2, first=0, longest=3600, silence=3600)


@pytest.fixture
def gate():
    return Gate()


def noise(*shape):
    return np.random.default_rng(0).integers(1, 1000, shape, dtype=np.uint16)


def planes(gate, count=10, levels=3, **options):
    return pyramid(noise(count, 128, 128), (1, 32, 32), gate, levels=levels, **options)


def slice_view_at(z, level=0, thumbnail=2, mark=7):
    return SliceView(
        level, thumbnail, (1, 2), (float(z), None, None), (z, 64, 64), mark
    )


def see(view, slice_view):
    """Slice as napari does: the picture, then the thumbnail."""
    picture, thumbnail = view.show(slice_view)
    index = int(slice_view.point[0])
    return np.asarray(picture[index]), np.asarray(thumbnail[index])


class Watch:
    """Waits for an engine's fetcher."""

    def __init__(self, settings=SETTINGS):
        self.engine = Engine(settings, AT_ONCE)
        self._news = Condition()
        self.engine.fetcher.listen(self._note)

    def _note(self):
        with self._news:
            self._news.notify_all()

    def until(self, condition):
        with self._news:
            assert self._news.wait_for(condition, 60)

    def sharp(self, view):
        self.until(lambda: not view.status().pending)


def test_what_is_seen_becomes_exact(gate):
    watch = Watch()
    levels = planes(gate)
    view = LayerView(levels, watch.engine)
    picture, thumbnail = see(view, slice_view_at(4))
    assert not picture.any()
    assert not thumbnail.any()
    # 16 sharp chunks, one coarse that is the thumbnail's too.
    assert view.status().pending == 18
    assert view.status().host == "far"
    gate.open()
    watch.sharp(view)
    assert view.has_news(watch.engine.fetcher.take_changed())
    picture, thumbnail = see(view, slice_view_at(4))
    assert np.array_equal(picture, levels[0].array[4])
    assert np.array_equal(thumbnail, levels[2].array[4])
    assert watch.engine.fetcher.reads_begun == 17


def test_an_old_view_that_is_sliced_late_wants_nothing(gate):
    view = LayerView(planes(gate), Watch().engine)
    old, _ = view.show(slice_view_at(1))
    see(view, slice_view_at(8))
    np.asarray(old[1])
    gate.wait_for(lambda: len(gate.waiting) >= 17)
    assert {index[0] for _, index in gate.asked} == {8}


def test_what_is_released_wants_nothing_even_when_sliced_late(gate):
    view = LayerView(planes(gate), Watch().engine)
    late, _ = view.show(slice_view_at(1))
    see(view, slice_view_at(1))
    gate.wait_for(lambda: len(gate.waiting) == 17)
    view.release()
    np.asarray(late[1])
    gate.wait_for(lambda: not gate.waiting)
    assert view.status().pending == 0
    assert view.errors == ()


def test_two_views_of_one_array_share_everything(gate):
    watch = Watch()
    array = np.stack([noise(128, 128), noise(128, 128) + 1])[:, None]
    sources = pyramid(array, (2, 1, 32, 32), gate)
    views = [
        LayerView([FixedAxes(p, {0: channel}) for p in sources], watch.engine)
        for channel in range(2)
    ]
    gate.open()
    for view in views:
        see(view, slice_view_at(0))
    for channel, view in enumerate(views):
        watch.sharp(view)
        assert np.array_equal(
            see(view, slice_view_at(0))[0], sources[0].array[channel, 0]
        )
    assert set(gate.asked.values()) == {1}
    assert watch.engine.fetcher.reads_begun == 17


def test_the_coarsest_level_comes_first_when_reads_are_few(gate):
    levels = planes(gate, concurrency=1)
    view = LayerView(levels, Watch().engine)
    see(view, slice_view_at(4))
    gate.wait_for(lambda: gate.waiting)
    assert list(gate.asked) == [(levels[2], (4, 0, 0))]


def test_failed_chunks_are_hatched_and_the_error_is_known(gate):
    watch = Watch()
    levels = planes(gate)
    error = AccessDeniedError("no")
    gate.errors[levels[0], (4, 0, 0)] = error
    gate.open()
    view = LayerView(levels, watch.engine)
    see(view, slice_view_at(4, mark=2000))
    watch.sharp(view)
    picture, _ = see(view, slice_view_at(4, mark=2000))
    assert (picture[:32, :32] == 2000).any()
    coarse = levels[2].array[4, :8, :8].repeat(4, 0).repeat(4, 1)
    unmarked = picture[:32, :32] != 2000
    assert np.array_equal(picture[:32, :32][unmarked], coarse[unmarked])
    assert np.array_equal(picture[32:], levels[0].array[4, 32:])
    assert view.errors == (error,)
    assert view.status().failed == 1


def test_what_is_ahead_is_read_when_the_view_is_sharp(gate):
    watch = Watch(AHEAD)
    levels = planes(gate, count=20)
    view = LayerView(levels, watch.engine)
    see(view, slice_view_at(9))
    see(view, slice_view_at(10))
    sharp = {(levels[0], (10, y, x)) for y in range(4) for x in range(4)}
    gate.wait_for(lambda: gate.waiting.keys() == sharp | {(levels[2], (10, 0, 0))})
    gate.open()
    watch.sharp(view)
    see(view, slice_view_at(10))
    prefetch = view.owners[-1]
    watch.until(lambda: not watch.engine.fetcher.progress(prefetch).pending)
    cache = watch.engine.cache
    for z in (11, 12, 13, 14):
        indices = view.grids[0].within(((z, z + 1), (0, 128), (0, 128)))
        assert all(view.grids[0].key(index) in cache for index in indices)
    assert all(view.grids[2].key((z, 0, 0)) in cache for z in range(20))
    assert not any(view.grids[0].key((z, 0, 0)) in cache for z in (8, 15))


def test_turning_round_drops_what_was_ahead(gate):
    watch = Watch(AHEAD)
    levels = planes(gate, count=20)
    view = LayerView(levels, watch.engine)
    see(view, slice_view_at(9))
    see(view, slice_view_at(10))
    # What was asked for the view before is given up a moment later.
    gate.wait_for(lambda: {index[0] for _, index in gate.waiting} == {10})
    gate.open()
    watch.sharp(view)
    gate.shut()
    see(view, slice_view_at(10))
    gate.wait_for(lambda: gate.waiting)
    see(view, slice_view_at(9))
    prefetch = view.owners[-1]
    assert watch.engine.fetcher.progress(prefetch).pending == 0
    gate.wait_for(lambda: {index[0] for _, index in gate.waiting} <= {9})
    gate.open()


def test_a_thumbnail_of_much_is_only_what_is_there(gate):
    array = np.broadcast_to(np.uint16(1), (1, 8192, 8192))
    pixels = GatedPixels(array, (1, 1024, 1024), gate)
    view = LayerView([pixels], Watch().engine)
    slice_view = SliceView(0, 0, (1, 2), (0.0, None, None), (0, 512, 512))
    picture, thumbnail = view.show(slice_view)
    np.asarray(picture[0, :1024, :1024])
    np.asarray(thumbnail[0])
    assert view.status().pending == 1


def volume_at(level, moment=0):
    point = (float(moment), None, None, None)
    return SliceView(level, 2, (1, 2, 3), point, (0, 0, 0, 0), refines=True)


def test_a_volume_refines_level_by_level_to_what_fits(gate):
    watch = Watch()
    levels = pyramid(
        noise(2, 64, 128, 128), (1, 16, 32, 32), gate, axes=(1, 2, 3), concurrency=8
    )
    view = LayerView(levels, watch.engine)
    picture, _ = view.show(volume_at(2))
    np.asarray(picture[0])
    assert not view.refiner.is_done
    view.refiner.begin()
    assert view.refiner.complete_level() is None
    gate.open()
    watch.sharp(view)
    # 64 x 128 x 128 of 2 bytes is more than the million that may be shown.
    assert view.refiner.owner in watch.engine.fetcher.take_changed()
    assert view.refiner.complete_level() == 1
    assert view.refiner.ready_level() is None
    watch.until(lambda: view.refiner.ready_level() == 1)
    picture, _ = view.show(volume_at(1))
    assert np.array_equal(np.asarray(picture[0]), levels[1].array[0])
    view.refiner.begin()
    assert view.refiner.complete_level() is None
    assert view.refiner.is_done
    assert not gate.chunks_of(levels[0])


def test_leaving_the_volume_drops_the_refining(gate):
    watch = Watch()
    levels = pyramid(noise(1, 64, 128, 128), (1, 16, 32, 32), gate, axes=(1, 2, 3))
    view = LayerView(levels, watch.engine)
    view.show(volume_at(2))
    view.refiner.begin()
    gate.wait_for(lambda: gate.waiting)
    flat = SliceView(2, 2, (2, 3), (0.0, 0.0, None, None), (0, 0, 0, 0))
    view.show(flat)
    gate.wait_for(lambda: not gate.waiting)
    assert view.refiner.complete_level() is None


def test_a_plane_too_large_for_the_memory_is_not_affordable(gate):
    view = LayerView(planes(gate), Watch().engine)
    assert view.affordable(0, (1, 2)) == 0
    small = Settings(enabled=True, cache_bytes=1, volume_bytes=9000, prefetch_bytes=0)
    view = LayerView(planes(gate), Engine(small))
    assert view.affordable(0, (1, 2)) == 1
    assert view.affordable(1, (1, 2)) == 1


def test_chunks_go_with_the_last_layer_that_shows_them():
    watch = Watch()
    cache = watch.engine.cache
    cache.put(("a", (0,)), np.zeros(4))
    cache.put(("b", (0,)), np.zeros(4))
    watch.engine.add_user({"a", "b"})
    watch.engine.add_user({"a"})
    watch.engine.remove_user({"a", "b"})
    assert ("a", (0,)) in cache
    assert ("b", (0,)) not in cache
    watch.engine.remove_user({"a"})
    assert ("a", (0,)) not in cache


def test_scrolling_through_much_more_than_the_cache_holds_leaves_nothing(gate):
    small = Settings(
        enabled=True, cache_bytes=10**5, volume_bytes=10**6, prefetch_bytes=10**5
    )
    watch = Watch(small)
    levels = planes(gate, count=60)
    view = LayerView(levels, watch.engine)
    gate.open()
    for z in range(60):
        see(view, slice_view_at(z))
        watch.sharp(view)
        picture, _ = see(view, slice_view_at(z))
        assert np.array_equal(picture, levels[0].array[z])
        # What is on screen never goes, though it may not fit.
        on_screen = 2 * (128 * 128 + 32 * 32)
        assert watch.engine.cache.statistics.bytes <= 10**5 + on_screen
    watch.until(lambda: not watch.engine.fetcher.progress(*view.owners).pending)
    view.release()
    assert watch.engine.cache.statistics.bytes <= 10**5


def test_failures_of_pixels_that_are_gone_are_forgotten(gate):
    watch = Watch()
    levels = planes(gate)
    gate.errors[None] = AccessDeniedError("no")
    gate.open()
    view = LayerView(levels, watch.engine)
    watch.engine.add_user(view.tokens)
    see(view, slice_view_at(0))
    watch.sharp(view)
    assert watch.engine.fetcher.is_late(view.grids[0].key((0, 0, 0)))
    view.release()
    watch.engine.remove_user(view.tokens)
    assert not watch.engine.fetcher.is_late(view.grids[0].key((0, 0, 0)))


def test_there_is_one_engine_and_it_follows_the_person():
    first = shared_engine()
    assert shared_engine() is first
    mine = Engine(SETTINGS)
    assert not mine.follows_preferences
    use_engine(mine)
    assert shared_engine() is mine
    mine.settings = AHEAD
    assert mine.cache.statistics.capacity == AHEAD.cache_bytes
    use_engine(Engine())
    assert shared_engine().follows_preferences
