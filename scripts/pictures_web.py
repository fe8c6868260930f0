"""Make the pictures of what vizarr and neuroglancer show of ours, in Chromium.

After ``make test-browsers``, which installs what it needs; there must be a display::

    PYTHONPATH=tests scripts/headless .venv-browsers/bin/python scripts/pictures_web.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

# First, for it sets what napari must find.
from pictures import FOLDER, GAP, until

# isort: split

import imageio.v3 as imageio
import napari
import numpy as np

from browsers.hosts import OpenFileServer, ViewerHost
from browsers.window import Chromium, shot
from napari_omezarr import read_layers, write_layers
from napari_omezarr.browsing import Viewer, share_link
from napari_omezarr.display import wait_until_sharp
from napari_omezarr.location import Location
from napari_omezarr.samples import write_cells
from napari_omezarr.widgets.browser.actions import present_view

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "cells.ome.zarr"
WINDOW, PART = (700, 900), (500, 620)
"""Rows and columns of the pictures."""


def main() -> None:
    """Make both pictures: a written image in each viewer; a link beside napari."""
    with tempfile.TemporaryDirectory() as folder, OpenFileServer(Path(folder)) as files:
        write_cells(Path(folder) / "sample.ome.zarr", shape=(32, 256, 256))
        layers = read_layers(Path(folder) / "sample.ome.zarr")
        write_layers(layers, Path(folder) / NAME, version="0.4")
        address = f"{files.url}/{NAME}"
        seen, link = in_napari(address)
        plain = [
            share_link(address, one) for one in (Viewer.VIZARR, Viewer.NEUROGLANCER)
        ]
        with Chromium() as chromium:
            opened = [in_browser(chromium, one, ornaments=True) for one in plain]
            shared = in_browser(chromium, link, ornaments=False)
    beside(opened, WINDOW, "web-viewers.png")
    beside([seen, shared], PART, "shared-view.png")


def in_napari(address: str) -> tuple[np.ndarray, str]:
    """Show a part of the image; returns the picture, and the link to it."""
    viewer = napari.Viewer(show=False)
    viewer.window.resize(1000, 800)
    viewer.show()
    viewer.open(address, plugin="napari-omezarr")
    until(lambda: len(viewer.layers) == 3)
    nuclei, membranes, labels = viewer.layers
    nuclei.colormap, membranes.colormap = "yellow", "blue"
    labels.visible = False
    middle = nuclei.extent.world.mean(axis=0)
    viewer.dims.set_point(0, middle[0])
    viewer.scene.camera.center = (0, 0.8 * middle[1], 0.9 * middle[2])
    viewer.scene.camera.zoom = 20
    for layer in viewer.layers[:2]:
        wait_until_sharp(layer)
    picture = viewer.screenshot(flash=False)[..., :3]
    view = present_view(viewer, Location.parse(address))
    viewer.close()
    return picture, share_link(address, Viewer.NEUROGLANCER, view)


def in_browser(chromium: Chromium, link: str, *, ornaments: bool) -> np.ndarray:
    """Open a link in a local copy of its viewer; returns the picture."""
    (viewer,) = (one for one in Viewer if link.startswith(one.address))
    with ViewerHost(viewer) as host:
        page = chromium.page()
        host.open(page, link, ornaments=ornaments)
        page.wait_for_selector(host.panel)
        page.wait_for_load_state("networkidle")
        pixels = shot(page, "" if ornaments else host.panel).pixels
        page.context.close()
    return pixels


def beside(pictures: Sequence[np.ndarray], size: tuple[int, int], name: str) -> None:
    """Write the middles of pictures beside each other."""
    rows, columns = size
    white = np.full((rows, GAP, 3), 255, np.uint8)
    cut = []
    for picture in pictures:
        top, left = (picture.shape[0] - rows) // 2, (picture.shape[1] - columns) // 2
        cut += [white, picture[top : top + rows, left : left + columns]]
    imageio.imwrite(FOLDER / name, np.concatenate(cut[1:], axis=1))


if __name__ == "__main__":
    main()
