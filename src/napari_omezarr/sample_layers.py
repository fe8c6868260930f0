"""The sample image that napari's File > Open Sample computes on this computer."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layers import read_layers
from .samples import write_cells

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

SHAPE = (16, 384, 384)
"""z, y, x: large enough for three levels, small enough to be there at once."""


def cells_layers() -> list[tuple[Any, dict[str, Any], str]]:
    """Give the layer data of an epithelium: nuclei, membranes and labels."""
    return read_layers(Path(_folder().name) / "epithelium.ome.zarr")


@cache
def _folder() -> TemporaryDirectory[str]:
    """Write the sample once; the folder goes when Python ends."""
    folder = tempfile.TemporaryDirectory(prefix="napari-omezarr-")
    write_cells(Path(folder.name) / "epithelium.ome.zarr", shape=SHAPE)
    return folder
