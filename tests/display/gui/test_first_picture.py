"""From a dropped address to the first picture in a real viewer, in rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import small_images
from gui_steps import PLUGIN, until
from napari_omezarr.display import Engine, Settings, shared_engine, status, use_engine
from napari_omezarr.display.chunk_cache import ChunkGrid
from napari_omezarr.pyramid import pixels_of, shards

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from servers.http import FileServer

SHAPE, LEVELS = (4, 64, 96), 3
METADATA, FIRST = 2, 1


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    """Fetch nothing that is not seen."""
    settings = Settings(
        enabled=True, cache_bytes=2**26, volume_bytes=10**6, prefetch_bytes=0
    )
    use_engine(Engine(settings))
    yield
    use_engine(Engine())


@pytest.mark.parametrize("layout", [{}, {"shards": SHAPE}], ids=["chunks", "shards"])
def test_the_first_picture_takes_three_rounds(
    viewer: Any,
    http_server: FileServer,
    tmp_path: Path,
    qtbot: QtBot,
    layout: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    levels = small_images.put_image(
        tmp_path / "a.ome.zarr",
        "0.5",
        names="zyx",
        shape=SHAPE,
        count=LEVELS,
        chunks=(1, 16, 24),
        **layout,
    )
    monkeypatch.setattr(shards, "SMALL", 2 * levels[-1].nbytes)
    with http_server.round_count() as rounds:
        (layer,) = viewer.open(f"{http_server.url}/a.ome.zarr", plugin=PLUGIN)
        assert rounds.count == METADATA
        coarsest = ChunkGrid(pixels_of(layer.data[LEVELS - 1]))
        plane = [coarsest.key((z, 0, 0)) for z in range(coarsest.shape[0])]
        cache = shared_engine().cache
        until(qtbot, lambda: any(key in cache for key in plane))
        assert rounds.count == METADATA + FIRST
    until(qtbot, lambda: status(layer).sharp)
    np.testing.assert_array_equal(np.asarray(layer.data[0]), levels[0])
