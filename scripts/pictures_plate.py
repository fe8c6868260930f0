"""Make the picture of a plate and its dock from the running program.

There must be a display (``scripts/headless`` makes one)::

    scripts/headless .venv/bin/python scripts/pictures_plate.py
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

# First, for it sets what napari must find.
from pictures import FOLDER, until, wait

# isort: split

import imageio.v3 as imageio
import napari

from napari_omezarr import write_plate
from napari_omezarr.display import wait_until_sharp
from napari_omezarr.samples import cells
from napari_omezarr.user_files import CACHE_VARIABLE, FOLDER_VARIABLE
from napari_omezarr.widgets.plate_navigator import PlateNavigator
from napari_omezarr.widgets.plate_writer import PlateWriter

ROWS, COLUMNS, SIDE = 6, 8, 192
MISSING = ("C/5", "F/8")


def main() -> None:
    """Make the pictures: the plate by dose, one well, and the dock that writes."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {FOLDER_VARIABLE: folder, CACHE_VARIABLE: folder}
        place = Path(folder) / "screen.ome.zarr"
        make_plate(place)
        viewer = napari.Viewer(show=False)
        viewer.window.resize(1300, 800)
        viewer.show()
        viewer.open(str(place), plugin="napari-omezarr")
        dock = PlateNavigator(viewer)
        viewer.window.add_dock_widget(dock, name="OME-Zarr plate")
        until(lambda: dock.colour.findText("drug: dose_uM") > 0)
        dock.colour.setCurrentText("drug: dose_uM")
        wait(1)
        viewer.reset_view()
        settle(viewer)
        dock.names.setChecked(True)
        viewer.reset_view(margin=0.02)
        wait(1)
        save(viewer, "plate.png")
        dock.names.setChecked(False)
        dock.colour.setCurrentIndex(0)
        dock.map.current = (1, 2)
        dock.go_to((1, 2))
        wait(1)
        settle(viewer)
        save(viewer, "plate-well.png")
        viewer.close()
        show_writer(Path(folder))


def show_writer(folder: Path) -> None:
    """Make the picture of the dock that writes plates."""
    viewer = napari.Viewer(show=False)
    viewer.window.resize(1100, 700)
    viewer.show()
    made = cells((12, SIDE, SIDE), seed=5)
    viewer.add_image(made.image[0, 6], name="B03 DAPI", colormap="blue")
    other = made.image[1, 6]
    viewer.add_image(other, name="B03 actin", colormap="green", blending="additive")
    viewer.add_image(made.image[0, 4], name="C03 DAPI", colormap="blue", visible=False)
    dock = PlateWriter(viewer)
    viewer.window.add_dock_widget(dock, name="Write OME-Zarr plate")
    dock.target.line.set_address("s3://screens/plate-7.ome.zarr")
    dock.name.setText("Plate 7")
    wait(1)
    save(viewer, "plate-writer.png")
    viewer.close()


def settle(viewer: napari.Viewer) -> None:
    """Wait until all layers are sharp."""
    for layer in viewer.layers:
        wait_until_sharp(layer)
    wait(1)


def save(viewer: napari.Viewer, name: str) -> None:
    """Save a picture of the window."""
    picture = viewer.screenshot(canvas_only=False, flash=False)[..., :3]
    imageio.imwrite(FOLDER / name, picture)


def make_plate(place: Path) -> None:
    """Write wells of two fields, a table of doses, and take two wells away."""
    planes = cells((12, SIDE, 2 * COLUMNS * SIDE), seed=3).image[:, 6]
    images = {}
    for row in range(ROWS):
        for column in range(COLUMNS):
            fields = []
            for number in (0, 1):
                first = ((2 * column + number + 3 * row) % (2 * COLUMNS)) * SIDE
                part = planes[..., first : first + SIDE]
                fields.append((part * (1 - 0.1 * row)).astype(planes.dtype))
            images[f"{'ABCDEF'[row]}{column + 1}"] = fields
    write_plate(
        images,
        place,
        name="screen",
        axes="cyx",
        scale=(1, 0.2, 0.2),
        units="micrometer",
        channels=("Nuclei", "Membranes"),
        colors=("00FFFF", "FF00FF"),
        contrast_limits=((120, 2600), (120, 2000)),
    )
    for well in MISSING:
        shutil.rmtree(place / well)
    table = place / "tables" / "drug"
    table.mkdir(parents=True)
    group = {"zarr_format": 3, "node_type": "group"}
    listed = {"attributes": {"tables": ["drug"]}}
    said = {"attributes": {"type": "condition_table", "backend": "csv"}}
    (place / "tables" / "zarr.json").write_text(json.dumps(group | listed))
    (table / "zarr.json").write_text(json.dumps(group | said))
    rows = [
        f"{'ABCDEF'[row]},{column + 1},{2**column / 4:g}"
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]
    (table / "table.csv").write_text("\n".join(["row,column,dose_uM", *rows]))


if __name__ == "__main__":
    main()
