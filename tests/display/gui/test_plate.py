"""The display of what is put together from many images: a plate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gui_steps import PLUGIN
from napari_omezarr.display import status, wait_until_sharp
from small_images import put_plate

if TYPE_CHECKING:
    from pathlib import Path

    from servers.http import FileServer


def test_the_wells_of_a_plate_are_read_as_they_are_seen(
    viewer: Any, tmp_path: Path, http_server: FileServer
) -> None:
    wells = put_plate(tmp_path / "plate.zarr", missing=("B/2",))
    shown, _ = viewer.open(f"{http_server.url}/plate.zarr", plugin=PLUGIN)
    assert wait_until_sharp(shown)
    assert status(shown).sharp
    assert status(shown).host == f"127.0.0.1:{http_server.port}"
    rows, columns = 16, 24
    for (row, column), field in {**wells, (1, 1): np.zeros((2, 16, 24))}.items():
        for y, x in ((0, 0), (7, 11), (15, 23)):
            index = row * rows + y, column * columns + x
            seen = shown.get_value(shown.data_to_world(index), world=True)
            assert seen == (0, field[0, y, x])
    chunks = [request.path for request in http_server.requests if "/c/" in request.path]
    # Both channels lie in the same chunks, which are read once.
    assert len(chunks) == len(set(chunks)) > 0
