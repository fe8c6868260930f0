"""Make the picture of tables beside an image from the running program.

There must be a display (``scripts/headless`` makes one)::

    scripts/headless .venv/bin/python scripts/pictures_tables.py
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

# First, for it sets what napari must find.
from pictures import FOLDER, until, wait

# isort: split

import imageio.v3 as imageio
import napari
import numpy as np

from napari_omezarr import read, write_layers
from napari_omezarr.display import wait_until_sharp
from napari_omezarr.samples import write_cells
from napari_omezarr.user_files import CACHE_VARIABLE, FOLDER_VARIABLE

SIDE = 35.0
"""Of a region, in micrometers."""


def main() -> None:
    """Make the picture: regions with their dock, spots, features of labels."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {FOLDER_VARIABLE: folder, CACHE_VARIABLE: folder}
        place = Path(folder) / "epithelium.ome.zarr"
        write_image(Path(folder) / "cells.ome.zarr", place)
        viewer = napari.Viewer(show=False)
        viewer.window.resize(1300, 800)
        viewer.show()
        viewer.open(str(place), plugin="napari-omezarr")
        until(lambda: "spots" in viewer.layers)
        until(lambda: len(viewer.layers["nuclei"].features.columns))
        _, dock = viewer.window.add_plugin_dock_widget(
            "napari-omezarr", "OME-Zarr regions of interest"
        )
        until(lambda: dock.names.count())
        dock.outlines.click()
        until(lambda: not dock.busy and len(viewer.layers) == 5)
        viewer.reset_view()
        for layer in viewer.layers[:3]:
            wait_until_sharp(layer)
        wait(1)
        picture = viewer.screenshot(canvas_only=False, flash=False)[..., :3]
        imageio.imwrite(FOLDER / "tables.png", picture)
        viewer.close()


def write_image(source: Path, place: Path) -> None:
    """Save an image with features and spots, and put a table of regions beside it."""
    write_cells(source, shape=(8, 384, 512))
    image, nuclei = read(source).pyramids
    values = np.unique(np.asarray(nuclei.data()[0]))[1:]
    rng = np.random.default_rng(1)
    features = {"index": values, "area": rng.integers(80, 400, values.size)}
    features |= {f"measure {n}": rng.random(values.size) for n in range(20)}
    scale = image.levels[0].affine.scale
    height, width = image.shape[-2] * scale[-2], image.shape[-1] * scale[-1]
    labels = (nuclei.data()[0], {"name": "nuclei", "features": features}, "labels")
    labels[1]["scale"] = nuclei.levels[0].affine.scale
    places = rng.random((30, 2)) * (height, width)
    spots = (places, {"name": "spots", "size": 2, "face_color": "white"}, "points")
    write_layers([image, labels, spots], place)
    regions = {}
    for row in range(int(height // SIDE)):
        for column in range(int(width // SIDE)):
            name = f"FOV_{len(regions) + 1}"
            regions[name] = (row * SIDE, column * SIDE)
    put_regions(place / "tables", regions)


def put_regions(folder: Path, regions: dict[str, tuple[float, float]]) -> None:
    """Put a table of regions as ngio does, in its layout for CSV."""
    said = {"type": "roi_table", "table_version": "1", "backend": "csv"}
    said |= {"index_key": "FieldIndex", "index_type": "str"}
    group = {"zarr_format": 3, "node_type": "group", "attributes": said}
    table = folder / "FOV_ROI_table"
    table.mkdir()
    (table / "zarr.json").write_text(json.dumps(group))
    names = "x_micrometer,y_micrometer,len_x_micrometer,len_y_micrometer"
    rows = [f"{n},{x},{y},{SIDE},{SIDE}" for n, (y, x) in regions.items()]
    (table / "table.csv").write_text("\n".join([f"FieldIndex,{names}", *rows]))
    listing = json.loads((folder / "zarr.json").read_text())
    listing["attributes"]["tables"].append("FOV_ROI_table")
    (folder / "zarr.json").write_text(json.dumps(listing))


if __name__ == "__main__":
    main()
