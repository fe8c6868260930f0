"""Show an image in napari, and leave what one sees and the link to it in a folder.

``python seen_in_napari.py ADDRESS FOLDER`` is a program of its own, because Playwright
and Qt would share a thread otherwise, and each wants its own loop there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["NAPARI_CONFIG"] = ""

# isort: split

import napari
from PIL import Image

from napari_omezarr.browsing import Viewer, share_link
from napari_omezarr.display import wait_until_sharp
from napari_omezarr.location import Location
from napari_omezarr.widgets.browser.actions import present_view

LIMITS = ((0, 1500), (0, 1000))


def main(address: str, folder: Path) -> None:
    """Write ``seen.png`` and ``link.txt``."""
    viewer = napari.Viewer(show=False)
    viewer.window.resize(1000, 800)
    viewer.show()
    viewer.open(address, plugin="napari-omezarr")
    *channels, labels = viewer.layers
    for layer, color, limits in zip(channels, ("red", "cyan"), LIMITS, strict=True):
        layer.colormap, layer.contrast_limits = color, limits
    labels.visible = False
    viewer.dims.set_point(0, 110)
    viewer.scene.camera.center, viewer.scene.camera.zoom = (110, 20, 430), 4
    for layer in channels:
        wait_until_sharp(layer)
    view = present_view(viewer, Location.parse(address))
    picture = viewer.screenshot(flash=False)[..., :3]
    Image.fromarray(picture).save(folder / "seen.png")
    (folder / "link.txt").write_text(share_link(address, Viewer.NEUROGLANCER, view))
    viewer.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
