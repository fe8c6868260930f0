"""The display when a real server fails, stalls and returns."""

from __future__ import annotations

import sys
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from napari.layers import Image, Labels

from gui_steps import every_turn, until, until_all_came
from napari_omezarr import Location, _hooks
from napari_omezarr.display import (
    ChunkRetryPolicy,
    Engine,
    attach,
    status,
    use_engine,
    wait_until_sharp,
)
from napari_omezarr.display.napari_hook import _manager
from napari_omezarr.errors import AccessDeniedError, StoreError
from napari_omezarr.pyramid import ArrayPixels, to_dask
from napari_omezarr.store import RetryPolicy, open_store, run
from quick_retries import IMPATIENT, PIXELS, QUICK, write_image
from servers.faults import Dropped, Stalled, Status, page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari.layers import Layer
    from pytestqt.qtbot import QtBot

    from servers.http import FileServer

CHUNKS = "*/c/*"


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    """Ask again at once; nothing is said of silence, which the store breaks first."""
    use_engine(Engine(retry_policy=ChunkRetryPolicy(tries=2, first=0, longest=0.2)))
    yield
    use_engine(Engine())


def opened(server: FileServer, path: str, retry: RetryPolicy) -> ArrayPixels:
    address = f"{server.url}/{path}"
    store = open_store(Location.parse(address), retry=retry)
    return ArrayPixels(run(zarr.AsyncArray.open(store)), address, 8)


def layer_at(server: FileServer, folder: Path, retry: RetryPolicy) -> Image:
    """A layer of an image on a server, that the display shows."""
    write_image(folder / "image.zarr")
    pixels = opened(server, "image.zarr/0", retry)
    layer = Image(to_dask(pixels), contrast_limits=(0, 64), visible=False)
    assert attach(layer, [pixels])
    layer.visible = True
    return layer


@pytest.mark.parametrize(
    ("fault", "retry"),
    [(Status(500), QUICK), (Dropped(), QUICK), (Stalled(), IMPATIENT)],
)
def test_an_outage_is_told_once_and_what_it_owes_comes_when_it_returns(
    viewer: Any,
    http_server: FileServer,
    tmp_path: Path,
    qtbot: QtBot,
    told: list[Any],
    fault: Any,
    retry: RetryPolicy,
) -> None:
    http_server.fault(CHUNKS, fault, forever=True)
    layer = layer_at(http_server, tmp_path, retry)
    viewer.add_layer(layer)
    with pytest.raises(StoreError):
        wait_until_sharp(layer)
    assert status(layer).failed
    (notice,) = told
    # Nothing more is done: the host is asked now and then, by the display itself.
    http_server.clear()
    until(qtbot, lambda: status(layer).sharp)
    assert wait_until_sharp(layer)
    for y, x in ((0, 0), (3, 4), (7, 7)):
        assert layer.get_value((y, x)) == PIXELS[y, x]
    np.testing.assert_array_equal(np.asarray(layer.data), PIXELS)
    assert told == [notice]


def test_nothing_of_the_window_is_held_by_the_threads_that_bring_chunks(
    viewer: Any, http_server: FileServer, tmp_path: Path, qtbot: QtBot, told: list[Any]
) -> None:
    """PySide deletes in the thread that lets go last, where Qt stops no timer."""
    http_server.fault(CHUNKS, Status(403), forever=True)
    layer = layer_at(http_server, tmp_path, QUICK)
    manager = _manager()
    with pytest.raises(AccessDeniedError) as raised:
        wait_until_sharp(layer)
    view = manager.registry.get(layer).view
    same: dict[str, BaseException] = {}

    def is_kept() -> bool:
        same.update((str(each), each) for each in view.errors)
        return str(raised.value) in same

    until(qtbot, is_kept)  # others fail meanwhile, and it is tried again
    kept = same[str(raised.value)]
    assert raised.value is not kept
    names = {frame.f_code.co_name for frame, _ in walk_tb(kept.__traceback__)}
    assert not names & {"wait_until_sharp", sys._getframe().f_code.co_name}
    fetcher = manager.engine.fetcher
    assert fetcher.progress(*view.owners).troubles
    use_engine(Engine())
    assert _manager() is manager
    assert manager.registry.get(layer) is None
    assert not fetcher.progress(*view.owners).troubles, "it asks for ever"


VOLUME = np.random.default_rng(0).integers(1, 60, (6, 32, 32), "u2")


def volume_at(
    server: FileServer, folder: Path, kind: type[Layer], retry: RetryPolicy = QUICK
) -> Layer:
    """A layer of two levels on a server; all of the coarse one was read ahead."""
    for level, array in enumerate((VOLUME, VOLUME[:, ::2, ::2])):
        at = folder / "volume.zarr" / str(level)
        zarr.create_array(at, data=array, chunks=(1, 16, 16), fill_value=0)
    levels = [opened(server, f"volume.zarr/{n}", retry) for n in (0, 1)]
    arrays = [to_dask(pixels) for pixels in levels]
    options = {"contrast_limits": (0, 64)} if kind is Image else {}
    layer = kind(arrays, multiscale=True, visible=False, **options)
    assert attach(layer, levels, label=kind is Labels)
    layer.visible = True
    return layer


def paths_of(server: FileServer, part: str) -> set[str]:
    """Which paths with a part have been asked for."""
    return {request.path for request in server.requests if part in request.path}


@pytest.mark.parametrize("kind", [Image, Labels])
def test_a_server_goes_away_and_comes_back(
    viewer: Any,
    http_server: FileServer,
    tmp_path: Path,
    qtbot: QtBot,
    told: list[Any],
    kind: type[Layer],
) -> None:
    layer = volume_at(http_server, tmp_path, kind)
    viewer.add_layer(layer)
    viewer.dims.set_point(0, 0)
    assert wait_until_sharp(layer)
    coarsest = "/volume.zarr/1/c/"
    # Each once: one may have been left while the plane changed, and come again.
    until(qtbot, lambda: len(paths_of(http_server, coarsest)) == 6)
    until_all_came(qtbot, layer)
    http_server.go_away()
    for plane in (1, 5, 4):
        viewer.dims.set_point(0, plane)
        until(qtbot, lambda: status(layer).failed and layer.loaded)
    coarse = np.kron(VOLUME[4, ::2, ::2], np.ones((2, 2), "u2"))
    # Stripes, and between them what is known.
    until(qtbot, lambda: (layer._slice.image.raw != coarse).any())
    seen = layer._slice.image.raw
    assert 0.1 < (seen != coarse).mean() < 0.6
    assert len(np.unique(seen[seen != coarse])) == 1
    assert layer.get_value((4, 5, 5), view_direction=None) is None
    assert layer.get_status((4, 5, 5))["coordinates"].endswith(": not loaded")
    # It is said for as long as it lasts, whatever napari says there.
    host = f"127.0.0.1:{http_server.port}"
    for theirs in ("Ready", layer.get_status((4, 5, 5)), "something"):
        viewer.status = theirs
        assert f"{host} has not answered since" in str(viewer.status)
    viewer.dims.ndisplay = 3
    until(qtbot, lambda: layer.loaded)
    # A finer volume, striped all over, would show less.
    np.testing.assert_array_equal(layer._slice.image.raw, VOLUME[:, ::2, ::2])
    http_server.come_back()
    until(qtbot, lambda: layer._slice.image.raw.shape == VOLUME.shape)
    assert wait_until_sharp(layer)
    np.testing.assert_array_equal(layer._slice.image.raw, VOLUME)
    viewer.dims.ndisplay = 2
    assert wait_until_sharp(layer)
    until(qtbot, lambda: viewer.status == "something")
    level = layer.data_level
    value = (VOLUME, VOLUME[:, ::2, ::2])[level][4, 8 >> level, 8 >> level]
    assert layer.get_value((4, 8, 8)) == (level, value)
    assert len(told) == 1


def test_a_place_that_takes_connections_and_says_nothing(
    viewer: Any, http_server: FileServer, tmp_path: Path, qtbot: QtBot, told: list[Any]
) -> None:
    """It is told while the requests are still under way, and the window is free."""
    policy = ChunkRetryPolicy(tries=2, first=0, longest=0.2, silence=0.3)
    use_engine(Engine(retry_policy=policy))
    layer = volume_at(http_server, tmp_path, Image, PATIENT)
    viewer.add_layer(layer)
    viewer.dims.set_point(0, 0)
    assert wait_until_sharp(layer)
    # A busy machine may have been silent for as long before.
    told.clear()
    http_server.fault(CHUNKS, Stalled(), forever=True)
    viewer.dims.set_point(0, 3)
    until(qtbot, lambda: "has not answered since" in str(viewer.status))
    assert status(layer).pending
    until(qtbot, lambda: layer.loaded)
    assert layer.get_value((3, 5, 5), view_direction=None) is None
    assert layer.get_status((3, 5, 5))["coordinates"].endswith(": not loaded")
    turns: list[int] = []
    timer = every_turn(lambda: turns.append(1))
    until(qtbot, lambda: len(turns) > 50)
    timer.stop()
    assert len(told) == 1
    http_server.clear()
    assert wait_until_sharp(layer)
    np.testing.assert_array_equal(layer._slice.image.raw, VOLUME[3])
    until(qtbot, lambda: "has not answered" not in str(viewer.status))


PATIENT = RetryPolicy(tries=6, first_pause=0, silence=60)


@pytest.mark.parametrize(
    "fault", [Status(401), Status(403), Status(200, b"garbage"), page()]
)
def test_what_was_refused_or_damaged_comes_after_retry(
    viewer: Any,
    http_server: FileServer,
    tmp_path: Path,
    qtbot: QtBot,
    told: list[Any],
    fault: Any,
) -> None:
    use_engine(Engine(retry_policy=ChunkRetryPolicy(tries=2, first=0, longest=3600)))
    http_server.fault(CHUNKS, fault, forever=True)
    layer = layer_at(http_server, tmp_path, QUICK)
    viewer.add_layer(layer)
    until(qtbot, lambda: status(layer).failed == 16)
    until(qtbot, lambda: " since " in str(viewer.status))
    assert layer.get_value((0, 0)) is None
    http_server.clear()
    ((_, retry),) = told[0].actions
    retry(None)
    assert wait_until_sharp(layer)
    np.testing.assert_array_equal(layer._slice.image.raw, PIXELS)
    assert layer.get_value((0, 0)) == PIXELS[0, 0]
    assert " since " not in str(viewer.status)
    assert len(http_server.requests) == 16


def test_retry_is_in_the_menu_when_its_notification_has_faded(
    viewer: Any, http_server: FileServer, tmp_path: Path, qtbot: QtBot, told: list[Any]
) -> None:
    use_engine(Engine(retry_policy=ChunkRetryPolicy(tries=2, first=0, longest=3600)))
    http_server.fault(CHUNKS, Status(403), forever=True)
    layer = layer_at(http_server, tmp_path, QUICK)
    viewer.add_layer(layer)
    until(qtbot, lambda: "(Layers > Visualize > Try again)" in str(viewer.status))
    http_server.clear()
    _hooks.retry()
    assert wait_until_sharp(layer)
    np.testing.assert_array_equal(layer._slice.image.raw, PIXELS)
    assert "Try again" not in str(viewer.status)
