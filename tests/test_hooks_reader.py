"""The reader where no napari runs: what ``npe2.read`` gives to a script."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import npe2
import numpy as np
import pytest

from napari_omezarr import _hooks
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.samples import write_cells

if TYPE_CHECKING:
    from pathlib import Path

    from servers.http import FileServer

PLUGIN = "napari-omezarr"


@pytest.fixture(autouse=True)
def plugins() -> None:
    """What napari does when it starts, and a script has to do itself."""
    npe2.PluginManager.instance().discover()


def test_npe2_reads_layer_data(tmp_path: Path, http_server: FileServer) -> None:
    made = write_cells(tmp_path / "cells.ome.zarr", shape=(2, 64, 64))
    address = f"{http_server.url}/cells.ome.zarr"
    layers = npe2.read([address], stack=False, plugin_name=PLUGIN)
    assert [kind for _, _, kind in layers] == ["image", "image", "labels"]
    levels, options, _ = layers[0]
    assert options["contrast_limits"] == (120, 2600)
    np.testing.assert_array_equal(levels[0], made.image[0])


def test_a_stack_gives_the_layers_of_all(tmp_path: Path) -> None:
    places = [str(tmp_path / name) for name in ("a.zarr", "b.zarr")]
    for place in places:
        write_cells(place, shape=(2, 64, 64))
    assert len(npe2.read(places, stack=True, plugin_name=PLUGIN)) == 6


def test_a_failure_is_our_error(http_server: FileServer) -> None:
    address = f"{http_server.url}/nothing.zarr"
    with pytest.raises(OMEZarrError, match="nothing"):
        npe2.read([address], stack=False, plugin_name=PLUGIN)


def test_the_computed_sample_is_layer_data() -> None:
    layers = _hooks.sample_cells()
    assert [kind for _, _, kind in layers] == ["image", "image", "labels"]
    assert [len(levels) for levels, _, _ in layers] == [3, 3, 3]


def test_reading_imports_neither_napari_nor_qt(tmp_path: Path) -> None:
    write_cells(tmp_path / "cells.zarr", shape=(2, 64, 64))
    program = (
        "import sys\n"
        "from napari_omezarr._hooks import get_reader\n"
        "path = sys.argv[1]\n"
        "assert len(get_reader(path)(path)) == 3\n"
        "assert not {'napari', 'qtpy'} & sys.modules.keys()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cells.zarr")]
    outcome = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
