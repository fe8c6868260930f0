"""Make the pictures of the browser dock from the running program.

There must be a display (``scripts/headless`` makes one)::

    scripts/headless .venv/bin/python scripts/pictures_browser.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

# First, for it sets what napari must find.
from pictures import COLOURS, FOLDER, until, wait

# isort: split

import napari
from napari.layers import Labels
from qtpy.QtCore import Qt

from napari_omezarr.connections import ConnectionFile, demo_connection
from napari_omezarr.demo.server import S3Server
from napari_omezarr.display import wait_until_sharp
from napari_omezarr.samples import write_cells, write_plate
from napari_omezarr.user_files import CACHE_VARIABLE, FOLDER_VARIABLE
from napari_omezarr.widgets.qt_async import pending

if TYPE_CHECKING:
    from napari_omezarr.widgets.browser.browser import Browser

IMAGE, SMALL = "6001240.ome.zarr", "control, untreated.zarr"


def main() -> None:
    """Make both pictures: dark and wide, light and as narrow as it may be."""
    with tempfile.TemporaryDirectory() as folder, S3Server() as server:
        os.environ |= {FOLDER_VARIABLE: folder, CACHE_VARIABLE: folder}
        publish(server, Path(folder) / "study")
        ConnectionFile().save(demo_connection(server.endpoint))
        viewer = napari.Viewer(show=False)
        viewer.show()
        viewer.window.resize(1500, 900)
        wait(0.5)
        dock, widget = viewer.window.add_plugin_dock_widget(
            "napari-omezarr", "OME-Zarr browser"
        )
        until(lambda: widget.browser)
        dark_and_wide(viewer, dock, widget.browser, server)
        light_and_narrow(viewer, dock, widget.browser, server)
        viewer.close()


def publish(server: S3Server, folder: Path) -> None:
    """Put images and folders below ``public/study``."""
    folder.mkdir()
    write_cells(folder / IMAGE)
    write_cells(folder / SMALL, shape=(8, 128, 128), version="0.4")
    # Nothing in the name says that it is one.
    write_cells(folder / "5f1c-4e2a", shape=(16, 128, 128))
    write_plate(folder / "screen 12.ome.zarr")
    for name in ("protocols", "raw"):
        (folder / name).mkdir()
        (folder / name / "notes.txt").write_text("notes")
    server.upload(folder, "public/study")


def dark_and_wide(
    viewer: napari.Viewer, dock: Any, browser: Browser, server: S3Server
) -> None:
    """Show an image chosen, described and opened."""
    browser.navigation.go_to_pasted(f"s3+{server.endpoint}/public/study|anonymous:true")
    resize(dock, 480)
    settle(browser)
    choose(browser, IMAGE)
    browser.row_actions.open.trigger()
    until(lambda: len(viewer.layers) == len(COLOURS) + 1)
    for layer in viewer.layers:
        if isinstance(layer, Labels):
            layer.contour = 2
        wait_until_sharp(layer)
    settle(browser)
    viewer.screenshot(FOLDER / "browser.png", canvas_only=False, flash=False)


def light_and_narrow(
    viewer: napari.Viewer, dock: Any, browser: Browser, server: S3Server
) -> None:
    """Show an error below rows."""
    viewer.theme = "light"
    resize(dock, 300)
    choose(browser, SMALL)
    browser.header.address.set_address("https://")
    browser.navigation.go_to_text()
    settle(browser)
    dock.grab().save(str(FOLDER / "browser-light-narrow.png"))


def choose(browser: Browser, name: str) -> None:
    """Choose an image and show its parts."""
    index = browser.tree.rows.find(name)
    browser.tree.choose(index)
    browser.tree.expand(index)
    settle(browser)


def settle(browser: Browser) -> None:
    """Let the window live until everything that is shown is known."""
    wait(0.5)
    until(lambda: not (pending or browser.tree.settling))
    until(lambda: not browser.details.busy)
    wait(0.5)


def resize(dock: Any, width: int) -> None:
    """Make a dock so wide."""
    dock.window().resizeDocks([dock], [width], Qt.Orientation.Horizontal)
    wait(0.2)


if __name__ == "__main__":
    main()
