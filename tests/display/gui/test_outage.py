"""The display when a real server fails, stalls and returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from napari.layers import Image
from napari.utils.notifications import notification_manager

from gui_steps import until
from napari_omezarr import Location
from napari_omezarr.display import (
    ChunkRetryPolicy,
    Engine,
    attach,
    status,
    use_engine,
    wait_until_sharp,
)
from napari_omezarr.errors import StoreError
from napari_omezarr.pyramid import ArrayPixels, to_dask
from napari_omezarr.store import open_store, run
from quick_retries import IMPATIENT, PIXELS, QUICK, write_image
from servers.faults import Dropped, Stalled, Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_omezarr.store import RetryPolicy
    from servers.http import FileServer

CHUNKS = "*/c/*"


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    """Ask again at once; nothing is said of silence, which the store breaks first."""
    use_engine(Engine(retry_policy=ChunkRetryPolicy(tries=2, first=0, longest=0.2)))
    yield
    use_engine(Engine())


@pytest.fixture
def told() -> Iterator[list[Any]]:
    notification_manager.records.clear()
    yield notification_manager.records
    notification_manager.records.clear()


def layer_at(server: FileServer, folder: Path, retry: RetryPolicy) -> Image:
    """A layer of an image on a server, that the display shows."""
    write_image(folder / "image.zarr")
    address = f"{server.url}/image.zarr/0"
    store = open_store(Location.parse(address), retry=retry)
    pixels = ArrayPixels(run(zarr.AsyncArray.open(store)), address, 8)
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
