"""The display in real viewers: nothing waits, coarse at once, then exact."""

from __future__ import annotations

import gc
import weakref
from importlib import import_module

import numpy as np
import pytest
import qtpy
from napari.components import Dims
from napari.layers import Image, Labels
from napari.settings import get_plugin_settings, get_settings
from npe2 import PluginManifest
from qtpy.QtWidgets import QApplication

from gated_pixels import Gate, pyramid
from gui_steps import until, until_all_came
from napari_omezarr.display import (
    MEGABYTE,
    ChunkRetryPolicy,
    Engine,
    Settings,
    attach,
    detach,
    shared_engine,
    status,
    use_engine,
    wait_until_sharp,
)
from napari_omezarr.display.chunk_cache import ChunkGrid
from napari_omezarr.display.manager import _ASYNC_FREEZES, Notifier, Throttle
from napari_omezarr.display.napari_hook import _manager
from napari_omezarr.errors import AccessDeniedError, ServerError, StoreConnectionError
from napari_omezarr.pyramid import ChannelsLast, FixedAxes, to_dask

SETTINGS = Settings(
    enabled=True,
    cache_bytes=256 * MEGABYTE,
    volume_bytes=MEGABYTE,
    prefetch_bytes=0,
)
AT_ONCE = ChunkRetryPolicy(tries=3, first=0, longest=3600, silence=3600)


@pytest.fixture(autouse=True)
def fresh_engine(qapp):
    use_engine(Engine(SETTINGS, AT_ONCE))
    yield
    use_engine(Engine(SETTINGS, AT_ONCE))


@pytest.fixture
def kept_calls(monkeypatch):
    """What superqt calls from thread to thread is let go of when a test ends, here.

    napari's slicing thread would let go of a call that nobody keeps. There PySide6
    disconnects it, with a mutex of Qt in its hand, and waits for the interpreter; the
    GUI thread, which has that, may wait for the mutex: neither goes on.
    """
    kept = []
    if qtpy.PYSIDE6:
        module = import_module("superqt.utils._ensure_thread")
        future, begin = module.Future, module.CallCallable.__init__

        def begin_kept(call, *called):
            kept.append(call)
            once = [called]

            def run():
                function, args, kwargs = once.pop()  # the viewer is not kept
                return function(*args, **kwargs)

            begin(call, run, (), {})

        def kept_future():
            kept.append(future())
            return kept[-1]

        monkeypatch.setattr(module, "Future", kept_future)
        monkeypatch.setattr(module.CallCallable, "__init__", begin_kept)
    return kept


# The viewer is gone before them.
@pytest.fixture(params=["sync", "async"])
def viewer(kept_calls, make_napari_viewer, request):
    viewer = make_napari_viewer(show=True)
    get_settings().experimental.async_ = request.param == "async"
    # PySide6 brings it, and it is no news here.
    _manager().notifier.mark_said([_ASYNC_FREEZES])
    return viewer


@pytest.fixture
def sync_viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def gate():
    return Gate()


def noise(*shape, dtype=np.uint16, high=1000):
    return np.random.default_rng(0).integers(1, high, shape, dtype=dtype)


def image_of(levels, **options):
    """An invisible layer, as the door makes it."""
    arrays = [to_dask(pixels) for pixels in levels]
    data = arrays if len(arrays) > 1 else arrays[0]
    options = {"contrast_limits": (0, 1000), "visible": False} | options
    return Image(data, multiscale=len(arrays) > 1, **options)


def shown(viewer, levels, **options):
    """Add an attached layer; some pixels may be waited for."""
    layer = image_of(levels, **options)
    assert attach(layer, levels)
    layer.visible = True
    viewer.add_layer(layer)
    return layer


def settle(viewer, layer):
    """Let the events that are due happen, slicing threads included."""
    for _ in range(5):
        QApplication.processEvents()
        viewer._layer_slicer.wait_until_idle(timeout=60)
    QApplication.processEvents()


def picture(layer):
    """What is on screen, before contrast and colours."""
    return layer._slice.image.raw


def exact(layer, levels, *index):
    """The pixels that the screen should show at a non-displayed index."""
    level = layer.data_level
    corners = layer.corner_pixels
    axes = [slice(a, b + 1) for a, b in corners[:, -2:].T]
    return levels[level].array[(*index, *axes)]


def reads(gate, levels):
    return [gate.chunks_of(pixels) for pixels in levels]


def zoom(viewer, factor):
    viewer.scene.camera.zoom *= factor
    QApplication.processEvents()


# What is on screen, and when


def test_adding_a_layer_waits_for_nothing_then_it_is_exact(viewer, gate):
    levels = pyramid(noise(3, 256, 256), (1, 64, 64), gate)
    layer = shown(viewer, levels)
    settle(viewer, layer)
    assert not picture(layer).any()
    assert status(layer).pending
    gate.open()
    assert wait_until_sharp(layer)
    plane = int(viewer.dims.point[0])
    assert np.array_equal(picture(layer), exact(layer, levels, plane))
    assert status(layer).pending == 0


def test_the_last_chunk_of_a_picture_is_shown_at_once(
    sync_viewer, gate, qtbot, monkeypatch
):
    levels = pyramid(noise(1, 128, 128), (1, 64, 64), gate, levels=1)
    layer = shown(sync_viewer, levels)
    gate.wait_for(lambda: len(gate.waiting) == 4)
    settle(sync_viewer, layer)
    until(qtbot, lambda: not _manager()._timer.isActive())
    monkeypatch.setattr(_manager(), "_throttle", Throttle(shortest=3600))
    for seen in (1, 1, 1, 4):  # the ones between the first and the last come together
        gate.release(next(iter(gate.waiting)))
        until(qtbot, lambda seen=seen: np.count_nonzero(picture(layer)) == seen * 4096)
    assert np.array_equal(picture(layer), exact(layer, levels, 0))


def test_the_coarse_picture_comes_first_then_the_sharp_one(viewer, gate):
    levels = pyramid(noise(2, 2048, 2048), (1, 256, 256), gate, levels=4)
    layer = shown(viewer, levels)
    settle(viewer, layer)
    gate.open()
    assert wait_until_sharp(layer)
    gate.shut()
    zoom(viewer, 8)
    settle(viewer, layer)
    assert layer.data_level == 0
    gate.wait_for(lambda: gate.waiting)
    plane = int(viewer.dims.point[0])
    corners = layer.corner_pixels[:, 1:]
    finest_known = levels[2].array[plane].repeat(4, 0).repeat(4, 1)
    known = set(gate.chunks_of(levels[2])) - {
        i for p, i in gate.waiting if p is levels[2]
    }
    assert len(known) >= 4
    (top, left), (bottom, right) = corners
    assert np.array_equal(
        picture(layer), finest_known[top : bottom + 1, left : right + 1]
    )
    gate.open()
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), exact(layer, levels, plane))


def test_a_step_in_z_shows_the_right_plane_coarsely_at_once(sync_viewer, gate, qtbot):
    levels = pyramid(noise(10, 512, 512), (1, 64, 64), gate, levels=4)
    shared_engine().settings = Settings.of()
    layer = shown(sync_viewer, levels)
    gate.open()
    assert wait_until_sharp(layer)
    coarsest = levels[3]
    gate.wait_for(lambda: len(gate.chunks_of(coarsest)) == 10)
    until_all_came(qtbot, layer)
    gate.shut()
    sync_viewer.dims.set_point(0, 2)
    # No event has been processed: the step itself left the plane on screen.
    shape = picture(layer).shape
    factor = shape[0] // 64
    expected = coarsest.array[2].repeat(factor, 0).repeat(factor, 1)
    assert np.array_equal(picture(layer), expected)
    gate.open()
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), exact(layer, levels, 2))


def test_each_chunk_is_read_once(sync_viewer, gate):
    levels = pyramid(noise(3, 1024, 1024), (1, 128, 128), gate)
    gate.open()
    layer = shown(sync_viewer, levels)
    assert wait_until_sharp(layer)
    for factor in (4, 0.5, 2):
        zoom(sync_viewer, factor)
        assert wait_until_sharp(layer)
    sync_viewer.dims.set_point(0, 0)
    assert wait_until_sharp(layer)
    assert not gate.cancelled
    assert all(set(counts.values()) <= {1} for counts in reads(gate, levels))


def test_no_more_is_read_than_napari_itself_would_read(sync_viewer, gate):
    levels = pyramid(noise(2, 2048, 2048), (1, 128, 128), gate, levels=4)
    gate.open()
    layer = shown(sync_viewer, levels)
    wait_until_sharp(layer)
    before = shared_engine().fetcher.reads_begun
    zoom(sync_viewer, 8)
    assert wait_until_sharp(layer)
    assert layer.data_level == 0
    corners = layer.corner_pixels
    sides = (corners[1, 1:] + 1) // 128 - corners[0, 1:] // 128
    assert shared_engine().fetcher.reads_begun - before <= 1.2 * sides.prod()


def test_a_fast_scroll_drops_what_it_has_passed(sync_viewer, gate):
    levels = pyramid(noise(40, 256, 256), (1, 64, 64), gate, levels=2, concurrency=4)
    layer = shown(sync_viewer, levels)
    for plane in range(40):
        sync_viewer.dims.set_point(0, plane)
    QApplication.processEvents()
    gate.wait_for(lambda: {index[0] for _, index in gate.waiting} == {39})
    gate.open()
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), exact(layer, levels, 39))
    finished = gate.asked - gate.cancelled
    assert {index[0] for _, index in finished} == {39}


def test_a_hidden_layer_reads_nothing(viewer, gate):
    levels = pyramid(noise(3, 256, 256), (1, 64, 64), gate)
    layer = image_of(levels)
    assert attach(layer, levels)
    viewer.add_layer(layer)
    viewer.dims.set_point(0, 2)
    settle(viewer, layer)
    assert not gate.asked
    assert wait_until_sharp(layer)
    layer.visible = True
    gate.open()
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), exact(layer, levels, 2))


def test_hiding_drops_what_a_layer_waits_for(sync_viewer, gate):
    levels = pyramid(noise(3, 256, 256), (1, 64, 64), gate)
    layer = shown(sync_viewer, levels)
    settle(sync_viewer, layer)
    gate.wait_for(lambda: gate.waiting)
    layer.visible = False
    gate.wait_for(lambda: not gate.waiting)
    assert status(layer).pending == 0


def test_the_channels_of_an_array_share_its_chunks(sync_viewer, gate):
    array = noise(2, 3, 256, 256)
    sources = pyramid(array, (2, 1, 64, 64), gate)
    channels = [[FixedAxes(p, {0: channel}) for p in sources] for channel in range(2)]
    layers = [shown(sync_viewer, levels) for levels in channels]
    gate.open()
    for layer in layers:
        assert wait_until_sharp(layer)
    plane = int(sync_viewer.dims.point[0])
    for channel, layer in enumerate(layers):
        assert np.array_equal(picture(layer), exact(layer, sources, channel, plane))
    finished = gate.asked - gate.cancelled
    assert all(set(gate.chunks_of(p, finished).values()) <= {1} for p in sources)


# Kinds of layers and views


def test_a_single_scale_image(sync_viewer, gate):
    (pixels,) = levels = pyramid(noise(3, 128, 128), (1, 64, 64), gate, levels=1)
    layer = shown(sync_viewer, levels)
    gate.open()
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), pixels.array[int(sync_viewer.dims.point[0])])


def test_a_flat_pyramid_is_not_read_in_the_gui_thread(viewer, gate):
    levels = pyramid(noise(512, 512), (64, 64), gate)
    layer = shown(viewer, levels)
    settle(viewer, layer)
    assert not picture(layer).any()
    gate.open()
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), exact(layer, levels))
    assert np.array_equal(layer._slice.thumbnail.raw, levels[-1].array)


@pytest.mark.parametrize("channels", [3, 4])
def test_an_rgb_picture(sync_viewer, gate, channels):
    array = noise(channels, 256, 256, dtype=np.uint8, high=255)
    sources = pyramid(array, (1, 64, 64), gate)
    levels = [ChannelsLast(pixels, 0) for pixels in sources]
    layer = shown(sync_viewer, levels, rgb=True, contrast_limits=None)
    gate.open()
    assert wait_until_sharp(layer)
    corners = layer.corner_pixels
    expected = np.moveaxis(sources[layer.data_level].array, 0, -1)
    assert np.array_equal(
        picture(layer),
        expected[corners[0, 0] : corners[1, 0] + 1, corners[0, 1] : corners[1, 1] + 1],
    )


def test_labels_stay_labels(viewer, gate):
    array = np.kron(noise(2, 32, 32, dtype=np.uint32), np.ones((1, 8, 8), np.uint32))
    levels = pyramid(array, (1, 64, 64), gate)
    layer = Labels([to_dask(p) for p in levels], multiscale=True, visible=False)
    assert attach(layer, levels, label=True)
    layer.visible = True
    viewer.add_layer(layer)
    gate.wait_for(lambda: (levels[2], (0, 0, 0)) in gate.waiting)
    gate.release(*[read for read in gate.waiting if read[0] is levels[2]])
    settle(viewer, layer)
    assert set(np.unique(picture(layer))) <= {0, *np.unique(array)}
    gate.open()
    assert wait_until_sharp(layer)
    plane = int(viewer.dims.point[0])
    assert np.array_equal(picture(layer), exact(layer, levels, plane))
    assert layer.get_value(viewer.dims.point)[1] in array


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_turned_axes(sync_viewer, gate, order):
    levels = pyramid(noise(64, 64, 64), (16, 16, 16), gate, axes=(0, 1, 2), levels=2)
    layer = shown(sync_viewer, levels)
    sync_viewer.dims.order = order
    gate.open()
    assert wait_until_sharp(layer)
    axis = order[0]
    plane = int(sync_viewer.dims.point[axis])
    level = layer.data_level
    assert level == 0
    expected = levels[0].array.take(plane, axis)
    assert np.array_equal(
        picture(layer), expected.T if order[1] > order[2] else expected
    )


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_a_thick_slice_is_projected(sync_viewer, gate, mode):
    levels = pyramid(noise(9, 64, 64), (2, 32, 32), gate, levels=2)
    layer = shown(sync_viewer, levels, projection_mode=mode)
    sync_viewer.dims.set_point(0, 4)
    sync_viewer.dims.margin_left = (2, 0, 0)
    sync_viewer.dims.margin_right = (2, 0, 0)
    gate.open()
    assert wait_until_sharp(layer)
    expected = getattr(levels[layer.data_level].array[2:7], mode)(axis=0)
    assert np.allclose(picture(layer), expected)


def test_a_grid_of_layers(sync_viewer, gate):
    pyramids = [pyramid(noise(2, 256, 256) + n, (1, 64, 64), gate) for n in range(3)]
    layers = [shown(sync_viewer, levels) for levels in pyramids]
    sync_viewer.canvas.grid.enabled = True
    gate.open()
    for layer, levels in zip(layers, pyramids, strict=True):
        assert wait_until_sharp(layer)
        plane = int(sync_viewer.dims.point[0])
        assert np.array_equal(picture(layer), exact(layer, levels, plane))


def test_two_viewers_share_what_was_read(make_napari_viewer, gate):
    levels = pyramid(noise(3, 256, 256), (1, 64, 64), gate)
    gate.open()
    viewers = [make_napari_viewer(show=True) for _ in range(2)]
    for viewer in viewers:
        layer = shown(viewer, levels)
        assert wait_until_sharp(layer)
        plane = int(viewer.dims.point[0])
        assert np.array_equal(picture(layer), exact(layer, levels, plane))
    assert all(set(counts.values()) <= {1} for counts in reads(gate, levels))


# What others see of the layer


def test_data_are_real_pixels_for_everybody(sync_viewer, gate):
    levels = pyramid(noise(3, 128, 128), (1, 64, 64), gate)
    layer = shown(sync_viewer, levels)
    settle(sync_viewer, layer)
    gate.open()
    for array, pixels in zip(layer.data, levels, strict=True):
        assert np.array_equal(np.asarray(array), pixels.array)
    data, _, kind = layer.as_layer_data_tuple()
    assert kind == "image"
    assert np.array_equal(np.asarray(data[0]), levels[0].array)


def test_the_value_under_the_cursor_is_exact_when_sharp(sync_viewer, gate):
    levels = pyramid(noise(3, 128, 128), (1, 64, 64), gate, levels=2)
    layer = shown(sync_viewer, levels)
    gate.open()
    assert wait_until_sharp(layer)
    level, value = layer.get_value((1, 50, 60))
    factor = 2**level
    assert value == levels[level].array[1, 50 // factor, 60 // factor]


def test_the_duplicate_of_a_layer_is_attached_too(sync_viewer, gate):
    levels = pyramid(noise(3, 256, 256), (1, 64, 64), gate)
    gate.open()
    layer = shown(sync_viewer, levels)
    assert wait_until_sharp(layer)
    sync_viewer.layers.selection = {layer}
    from napari.layers._layer_actions import _duplicate_layer

    _duplicate_layer(sync_viewer.layers)
    copy = next(each for each in sync_viewer.layers if each is not layer)
    gate.shut()
    sync_viewer.dims.set_point(0, 2)
    assert status(copy).pending
    gate.open()
    assert wait_until_sharp(copy)
    assert np.array_equal(picture(copy), exact(copy, levels, 2))


def test_replacing_the_data_makes_an_ordinary_layer(sync_viewer, gate):
    levels = pyramid(noise(3, 64, 64), (1, 64, 64), gate, levels=1)
    layer = shown(sync_viewer, levels)
    layer.data = np.full((3, 64, 64), 7, np.uint16)
    assert (picture(layer) == 7).all()
    assert status(layer).pending == 0


def test_detached_layers_are_ordinary_ones(sync_viewer, gate):
    levels = pyramid(noise(128, 128), (64, 64), gate, levels=2)
    gate.open()
    layer = shown(sync_viewer, levels)
    assert wait_until_sharp(layer)
    reads_before = shared_engine().fetcher.reads_begun
    detach(layer)
    detach(layer)
    layer.refresh()
    assert np.array_equal(picture(layer), exact(layer, levels))
    assert shared_engine().fetcher.reads_begun == reads_before
    assert attach(layer, levels)


def test_levels_must_be_those_of_the_layer(gate):
    levels = pyramid(noise(128, 128), (64, 64), gate, levels=2)
    with pytest.raises(ValueError, match="levels"):
        attach(image_of(levels), levels[:1])


# Living and dying


def test_removing_a_layer_drops_what_it_waits_for_and_adding_it_again_shows_it(
    sync_viewer, gate
):
    levels = pyramid(noise(3, 256, 256), (1, 64, 64), gate)
    layer = shown(sync_viewer, levels)
    settle(sync_viewer, layer)
    gate.wait_for(lambda: gate.waiting)
    sync_viewer.layers.remove(layer)
    gate.wait_for(lambda: not gate.waiting)
    sync_viewer.add_layer(layer)
    gate.open()
    assert wait_until_sharp(layer)
    plane = int(sync_viewer.dims.point[0])
    assert np.array_equal(picture(layer), exact(layer, levels, plane))


def test_chunks_go_with_the_layer_that_leaves_the_viewer(make_napari_viewer, gate):
    """At once, and not when Python collects the layer: it may live on for ever."""
    viewer = make_napari_viewer()
    gate.open()
    levels = pyramid(noise(3, 256, 256), (1, 64, 64), gate)
    layer, twin = shown(viewer, levels), shown(viewer, levels)
    other = shown(viewer, pyramid(noise(3, 256, 256), (1, 64, 64), gate))
    assert all(wait_until_sharp(each) for each in (layer, twin, other))
    cache = shared_engine().cache
    all_of_them = cache.statistics.bytes
    viewer.layers.remove(layer)
    assert cache.statistics.bytes == all_of_them  # its twin shows them
    viewer.layers.remove(twin)
    left = cache.statistics.bytes
    assert 0 < left < all_of_them
    viewer.layers.remove(other)
    assert cache.statistics.bytes == 0
    viewer.add_layer(layer)
    viewer.dims.set_point(0, 0)
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), exact(layer, levels, 0))
    assert cache.statistics.bytes
    viewer.layers.remove(layer)
    assert cache.statistics.bytes == 0


def napari_lets_go(viewer):
    """Whether a layer that has nothing to do with us is freed when it is removed."""
    plain = weakref.ref(viewer.add_image(np.zeros((3, 8, 8))))
    viewer.layers.remove(plain())
    gc.collect()
    return plain() is None


def test_a_layer_that_is_gone_leaves_nothing_behind(make_napari_viewer, gate):
    # Not on screen: vispy frees GL buffers when garbage is collected, and with a
    # software renderer the next draw may then crash, whatever the layers are.
    sync_viewer = make_napari_viewer()
    if not napari_lets_go(sync_viewer):
        assert qtpy.PYSIDE6
        pytest.skip("napari keeps every layer that was in a viewer, under this Qt")
    gate.open()
    levels = pyramid(noise(3, 256, 256), (1, 64, 64), gate)
    kept = pyramid(noise(3, 256, 256), (1, 64, 64), gate)
    layer = shown(sync_viewer, levels)
    other = shown(sync_viewer, kept)
    assert wait_until_sharp(layer)
    assert wait_until_sharp(other)
    gone = weakref.ref(layer)
    pixels = weakref.ref(levels[0])
    cache = shared_engine().cache
    keys = [
        grid.key(index)
        for grid in map(ChunkGrid, levels)
        for index in grid.within([(0, size) for size in grid.shape])
    ]
    assert any(key in cache for key in keys)
    sync_viewer.layers.remove(layer)
    gate.asked.clear()
    del layer, levels
    gc.collect()
    assert gone() is None
    sync_viewer.dims.set_point(0, 0)
    assert wait_until_sharp(other)
    assert pixels() is None
    assert not any(key in cache for key in keys)


# 3-D


def test_a_volume_is_coarse_at_once_and_refines_to_what_fits(viewer, gate):
    levels = pyramid(noise(64, 256, 256), (16, 64, 64), gate, axes=(0, 1, 2), levels=4)
    layer = shown(viewer, levels)
    gate.open()
    assert wait_until_sharp(layer)
    gate.shut()
    viewer.dims.ndisplay = 3
    settle(viewer, layer)
    assert layer.data_level == 3
    gate.open()
    assert wait_until_sharp(layer)
    # 32 x 128 x 128 of 2 bytes is the megabyte that the settings allow.
    assert layer.data_level == layer.locked_data_level == 1
    assert np.array_equal(picture(layer), levels[1].array)
    viewer.dims.ndisplay = 2
    assert wait_until_sharp(layer)
    assert layer.locked_data_level is None
    plane = int(viewer.dims.point[0])
    assert np.array_equal(
        picture(layer), exact(layer, levels, plane // 2**layer.data_level)
    )


def test_a_level_that_a_person_locks_in_3d_is_hers(sync_viewer, gate):
    levels = pyramid(noise(64, 256, 256), (16, 64, 64), gate, axes=(0, 1, 2), levels=4)
    gate.open()
    layer = shown(sync_viewer, levels)
    sync_viewer.dims.ndisplay = 3
    assert wait_until_sharp(layer)
    layer.locked_data_level = 2
    assert wait_until_sharp(layer)
    assert layer.locked_data_level == 2
    assert np.array_equal(picture(layer), levels[2].array)
    sync_viewer.dims.ndisplay = 2
    assert wait_until_sharp(layer)
    assert layer.locked_data_level == 2


def test_time_in_3d_shows_the_right_moment(sync_viewer, gate):
    levels = pyramid(
        noise(3, 16, 64, 64), (1, 8, 32, 32), gate, axes=(1, 2, 3), levels=2
    )
    gate.open()
    layer = shown(sync_viewer, levels)
    sync_viewer.dims.ndisplay = 3
    assert wait_until_sharp(layer)
    sync_viewer.dims.set_point(0, 2)
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), levels[layer.data_level].array[2])


def test_a_single_scale_volume_fills_up(sync_viewer, gate):
    levels = pyramid(noise(16, 64, 64), (8, 32, 32), gate, levels=1)
    layer = shown(sync_viewer, levels)
    sync_viewer.dims.ndisplay = 3
    gate.open()
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), levels[0].array)


def test_a_plane_that_is_too_large_when_locked_is_shown_coarser(sync_viewer, gate):
    shared_engine().settings = Settings(
        enabled=True, cache_bytes=2**28, volume_bytes=2**17, prefetch_bytes=0
    )
    gate.open()
    levels = pyramid(noise(512, 512), (64, 64), gate, levels=3)
    layer = shown(sync_viewer, levels)
    layer.locked_data_level = 0
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), levels[1].array)


# Failures


def test_a_refusal_is_told_once_and_marked_and_retried(viewer, gate, told, qtbot):
    levels = pyramid(noise(3, 256, 256), (1, 64, 64), gate)
    error = AccessDeniedError("This key may not read idr.")
    gate.errors[None] = error
    gate.open()
    layer = shown(viewer, levels)
    with pytest.raises(AccessDeniedError, match="may not read"):
        wait_until_sharp(layer)
    settle(viewer, layer)
    viewer.dims.set_point(0, 0)
    with pytest.raises(AccessDeniedError):
        wait_until_sharp(layer)
    settle(viewer, layer)
    (notice,) = told
    assert notice.message == "This key may not read idr."
    assert status(layer).failed
    until(qtbot, lambda: (picture(layer) == 1000).any())
    gate.errors.clear()
    ((label, retry),) = notice.actions
    assert label == "Retry"
    retry(None)
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), exact(layer, levels, 0))


def test_what_becomes_known_of_a_place_is_told_once(sync_viewer, gate, told):
    class Store:
        notes = ("It is read without signing in.",)

    levels = pyramid(noise(4, 256, 256), (1, 64, 64), gate)
    levels[0].store = Store()
    gate.open()
    layer = shown(sync_viewer, levels)
    assert wait_until_sharp(layer)
    # Who opened the image has told what was known then.
    assert not told
    levels[0].store.notes += ("You are offline; shown from the cache.",)
    for plane in (0, 3):
        sync_viewer.dims.set_point(0, plane)
        assert wait_until_sharp(layer)
    (notice,) = told
    assert notice.message == "You are offline; shown from the cache."


def test_a_store_that_vanishes_while_scrolling_and_returns(viewer, gate, told):
    levels = pyramid(noise(9, 256, 256), (1, 64, 64), gate)
    gate.open()
    layer = shown(viewer, levels)
    assert wait_until_sharp(layer)
    gate.errors[None] = StoreConnectionError("idr cannot be reached.")
    for plane in (5, 6, 7):
        viewer.dims.set_point(0, plane)
        with pytest.raises(StoreConnectionError):
            wait_until_sharp(layer)
    assert [notice.message for notice in told] == ["idr cannot be reached."]
    gate.errors.clear()
    viewer.dims.set_point(0, 8)
    assert wait_until_sharp(layer)
    viewer.dims.set_point(0, 7)
    assert wait_until_sharp(layer)
    assert np.array_equal(picture(layer), exact(layer, levels, 7))
    assert len(told) == 1


def test_a_chunk_that_cannot_be_decoded_says_where_it_came_from(
    sync_viewer, gate, told
):
    levels = pyramid(noise(128, 128), (64, 64), gate, levels=1)
    gate.errors[None] = RuntimeError("bad magic number")
    gate.open()
    layer = shown(sync_viewer, levels)
    with pytest.raises(RuntimeError, match="magic"):
        wait_until_sharp(layer)
    settle(sync_viewer, layer)
    (notice,) = told
    assert notice.message == "A chunk from far cannot be decoded: bad magic number"


def test_waiting_ends_when_the_time_is_up(sync_viewer, gate):
    levels = pyramid(noise(128, 128), (64, 64), gate, levels=1)
    layer = shown(sync_viewer, levels)
    assert not wait_until_sharp(layer, timeout=0)
    gate.open()
    assert wait_until_sharp(layer)


def test_one_bad_chunk_leaves_the_rest_exact(sync_viewer, gate, told, qtbot):
    levels = pyramid(noise(1, 128, 128), (1, 64, 64), gate, levels=1)
    gate.errors[levels[0], (0, 1, 1)] = ServerError("The server failed.")
    gate.open()
    layer = shown(sync_viewer, levels)
    with pytest.raises(ServerError):
        wait_until_sharp(layer)
    # The bad one may be known before the others have come.
    exact_rows = levels[0].array[0, :64]
    until(qtbot, lambda: np.array_equal(picture(layer)[:64], exact_rows))
    until(qtbot, lambda: set(np.unique(picture(layer)[64:, 64:])) == {0, 1000})
    assert len(told) == 1


# Settings, status, and a napari that has moved


def test_the_status_line_says_what_loads(sync_viewer, gate, qtbot):
    levels = pyramid(noise(1, 128, 128), (1, 64, 64), gate, levels=1)
    layer = shown(sync_viewer, levels)
    gate.wait_for(lambda: len(gate.waiting) == 4)
    gate.release((levels[0], (0, 0, 0)))
    until(qtbot, lambda: status(layer).arrived)
    until(qtbot, lambda: "1 of 4" in str(sync_viewer.status))
    assert "from far" in str(sync_viewer.status)
    gate.open()
    assert wait_until_sharp(layer)
    assert "loading" not in str(sync_viewer.status)


def test_switched_off_layers_are_ordinary_ones(gate):
    shared_engine().settings = Settings(
        enabled=False, cache_bytes=1, volume_bytes=1, prefetch_bytes=0
    )
    levels = pyramid(noise(128, 128), (64, 64), gate, levels=2)
    layer = image_of(levels)
    assert not attach(layer, levels)
    gate.open()
    layer.visible = True
    assert np.array_equal(picture(layer), levels[1].array)
    assert wait_until_sharp(layer)
    assert status(layer).host == ""


def test_what_a_person_sets_is_followed(plugin_settings, npe2pm, gate):
    npe2pm.register(PluginManifest.from_distribution("napari-omezarr"))
    options = get_plugin_settings("napari-omezarr").display
    use_engine(Engine())
    levels = pyramid(noise(128, 128), (64, 64), gate, levels=2)
    layer = image_of(levels)
    assert attach(layer, levels)
    assert shared_engine().settings == Settings.of()
    options.cache_gb = 0.5
    options.prefetch_mb = 7
    assert shared_engine().cache.statistics.capacity == 512 * MEGABYTE
    assert shared_engine().settings.prefetch_bytes == 7 * MEGABYTE
    options.progressive = False
    assert status(layer).host == ""
    assert not attach(layer, levels)


def test_this_napari_has_the_place_that_the_display_hooks_into(gate):
    """When this fails, napari has moved: see ``attach._hook``."""
    levels = pyramid(noise(128, 128), (64, 64), gate, levels=2)
    layer = image_of(levels)
    assert attach(layer, levels)
    state = layer._slicing_state
    dims = Dims(ndim=2, ndisplay=2)
    request = state._make_slice_request(dims)
    assert type(request.data_at_data_level).__name__ == "ProgressiveLevel"
    assert type(request.data_at_thumbnail_level).__name__ == "ProgressiveLevel"
    assert not gate.asked


def test_a_napari_without_the_place_leaves_ordinary_layers(gate, told):
    class Moved(Image):
        """A layer of a napari that slices some other way."""

        @property
        def _slicing_state(self):
            return self.__dict__["state"]

        @_slicing_state.setter
        def _slicing_state(self, state):
            state._slice_request_class = object
            self.__dict__["state"] = state

    levels = pyramid(noise(128, 128), (64, 64), gate, levels=1)
    layer = Moved(to_dask(levels[0]), contrast_limits=(0, 1000), visible=False)
    assert not attach(layer, levels)
    assert not attach(layer, levels)
    (notice,) = told
    assert "Asynchronously keeps" in notice.message


@pytest.mark.parametrize("is_set", [False, True])
@pytest.mark.parametrize("hooked", [False, True])
def test_asynchronous_slices_are_advised_where_they_help(
    told, monkeypatch, is_set, hooked
):
    monkeypatch.setattr(get_settings().experimental, "async_", is_set)
    notifier = Notifier()
    for _ in range(2):
        notifier.advise_on_async(hooked=hooked)
    freezes, helps = is_set and qtpy.PYSIDE6, not (is_set or hooked)
    said = ["Turn it off" in one.message for one in told]
    assert said == [True] * freezes + [False] * helps
