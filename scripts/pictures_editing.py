"""Make the pictures of an edited region that is written back, from the running program.

There must be a display (``scripts/headless`` makes one)::

    scripts/headless .venv/bin/python scripts/pictures_editing.py
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

# First, for it sets what napari must find.
from pictures import keep, loaded_region, until, wait

# isort: split

import napari
import numpy as np
from qtpy.QtCore import Qt

from napari_omezarr import patch
from napari_omezarr.samples import write_cells


def main() -> None:
    """Write an edited region back, which can be undone; also where others were faster.

    The last picture is of new labels in the dock that saves.
    """
    # The dock says where it is: not in a folder that is called anew each time.
    folder = Path(tempfile.gettempdir()) / "data"
    folder.mkdir()
    with ExitStack() as at_the_end:
        at_the_end.callback(shutil.rmtree, folder)
        place = folder / "cells.ome.zarr"
        write_cells(place, shape=(8, 256, 256))
        viewer, panel = edited_region(place)
        keep("write-back.png", viewer.screenshot(canvas_only=False, flash=False))
        press(panel, "&Write them")
        until(lambda: "&Undo" in [button.text() for button in panel.buttons])
        wait(1)
        keep("undo.png", viewer.screenshot(canvas_only=False, flash=False))
        viewer.close()
        viewer, panel = edited_region(place)
        patch(place / "labels" / "nuclei", (3, 100, 100), np.ones((2, 20, 20), "u2"))
        press(panel, "&Write them")
        until(lambda: "somebody else" in panel.text.text())
        wait(1)
        keep("conflict.png", viewer.screenshot(canvas_only=False, flash=False))
        viewer.close()
        keep("add-labels.png", adding_labels(place))


def edited_region(place: Path) -> tuple[napari.Viewer, Any]:
    """Paint into labels of a region, and ask what would be written."""
    viewer = napari.Viewer(show=False)
    viewer.window.resize(1250, 820)
    viewer.show()
    viewer.open(str(place), plugin="napari-omezarr")
    until(lambda: len(viewer.layers) == 3)
    dock, layer = loaded_region(viewer)
    viewer.layers.selection = {layer}
    layer.data[:, 90:130, 90:150] = layer.data.max() + 1
    layer.refresh()
    press(dock.edits, "&Write back…")
    until(lambda: "edited pixels" in dock.edits.text.text())
    wait(1)
    return viewer, dock.edits


def adding_labels(place: Path) -> np.ndarray:
    """Draw labels over an image that is open, and give its address in the save dock."""
    viewer = napari.Viewer(show=False)
    viewer.window.resize(1250, 820)
    viewer.show()
    viewer.open(str(place), plugin="napari-omezarr")
    until(lambda: len(viewer.layers) == 3)
    drawn = np.zeros((8, 256, 256), np.uint8)
    drawn[:, 60:150, 40:130], drawn[:, 120:220, 140:230] = 1, 2
    nuclei = viewer.layers["nuclei"]
    viewer.add_labels(drawn, name="regions", scale=nuclei.scale, units=nuclei.units)
    _, dock = viewer.window.add_plugin_dock_widget(
        "napari-omezarr", "Save as OME-Zarr…"
    )
    rows = dock.view.layers
    for row in range(1, rows.count()):  # all but the uppermost
        rows.item(row).setCheckState(Qt.CheckState.Unchecked)
    dock.view.target.line.set_address(str(place))
    until(lambda: "Adding the labels" in dock.view.target.state.text())
    wait(1)
    picture = viewer.screenshot(canvas_only=False, flash=False)
    viewer.close()
    return picture


def press(panel: Any, name: str) -> None:
    """Press a button of the panel once it is there."""
    until(lambda: name in [button.text() for button in panel.buttons])
    next(each for each in panel.buttons if each.text() == name).click()


if __name__ == "__main__":
    main()
