"""A plate in a private bucket, with time and depth: walked, asked, coloured, saved."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gui_steps import until
from napari_omezarr import Location, write_plate
from napari_omezarr.connections import (
    Connection,
    ConnectionFile,
    Keys,
    Profile,
    key_store,
)
from napari_omezarr.demo.server import OWNER
from napari_omezarr.display import wait_until_sharp

pytest.importorskip("napari")

from qtpy.QtCore import Qt

from napari_omezarr.widgets.open import add_layers, open_place
from napari_omezarr.widgets.plate_navigator import PlateNavigator, plate_of

pytestmark = [pytest.mark.gui, pytest.mark.timeout(120, method="thread")]

PIXELS = np.random.default_rng(3).integers(1, 900, (2, 2, 3, 32, 40)).astype("u2")
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}


@pytest.fixture
def place(s3_server, s3_prefix, tmp_path):
    """The plate, by a connection's name; nobody else may look at it."""
    folder = tmp_path / "p.zarr"
    write_plate(
        {"A1": [PIXELS, PIXELS // 5], "B2": [PIXELS // 2, PIXELS // 3]},
        folder,
        axes="tczyx",
        scale=(3, 1, 2, 0.5, 0.5),
        units=UNITS,
        channels=["DNA", "Actin"],
        levels=2,
    )
    table = folder / "tables" / "drugs"
    table.mkdir(parents=True)
    group = {"zarr_format": 3, "node_type": "group"}
    listed = {"attributes": {"tables": ["drugs"]}}
    said = {"attributes": {"type": "condition_table", "backend": "csv"}}
    (folder / "tables" / "zarr.json").write_text(json.dumps(group | listed))
    (table / "zarr.json").write_text(json.dumps(group | said))
    (table / "table.csv").write_text("row,column,drug\nA,1,none\nB,2,taxol\n")
    s3_server.upload(folder, f"private/{s3_prefix}/p.zarr")
    profile = Profile("Lab", endpoint=s3_server.endpoint, sign_in="keys")
    ConnectionFile().save(Connection(profile))
    key_store().hold("Lab", Keys(OWNER.key, OWNER.secret))
    return Location.parse(f"s3://private/{s3_prefix}/p.zarr", profile="Lab")


def test_a_plate_of_time_and_depth_in_a_private_bucket(
    place, make_napari_viewer, qtbot
):
    viewer = make_napari_viewer(show=True)
    dna, actin = add_layers(viewer, open_place(place))
    assert (dna.name, actin.name) == ("DNA", "Actin")
    assert tuple(viewer.dims.axis_labels) == ("t", "z", "y", "x")
    navigator = PlateNavigator(viewer)
    viewer.window.add_dock_widget(navigator)
    until(qtbot, lambda: navigator.colour.findText("drugs: drug") > 0)
    grid = navigator.mosaic.fields.grid
    navigator.go_to((1, 1))
    viewer.dims.set_current_step(0, 1)
    viewer.dims.set_current_step(1, 2)
    assert wait_until_sharp(dna)
    top, left = grid.corner((1, 1))
    world = dna.data_to_world((1, 2, top + 3, left + 5))
    status = dna.get_status(tuple(world), world=True)
    assert "B/2, field 0 [" in status["coordinates"]
    assert status["value"].endswith(f", {PIXELS[1, 0, 2, 3, 5] // 2}")

    navigator.which.setCurrentIndex(2)  # the second field
    spot = navigator.map.well_rect((1, 1)).center().toPoint()
    qtbot.mouseDClick(navigator.map, Qt.MouseButton.LeftButton, pos=spot)
    until(qtbot, lambda: len(viewer.layers) == 4)
    field = viewer.layers[2]
    np.testing.assert_array_equal(field.data[0].compute(), PIXELS[:, 0] // 3)
    assert [la.visible for la in viewer.layers] == [False, False, True, True]
    viewer.layers.remove(dna)
    viewer.layers.remove(actin)
    viewer.layers.selection.active = field
    navigator.back.click()  # the plate is found above it, by the same sign-in
    until(qtbot, lambda: len(viewer.layers) == 4)
    plate = viewer.layers[-1]
    assert plate_of(plate).fields.grid.size == (2, 2)
    assert OWNER.secret not in repr(plate.metadata) + str(plate.source)

    cells = np.zeros(plate.data[0].shape, np.int32)
    cells[..., top + 2 : top + 6, left + 1 : left + 9] = 7
    viewer.add_labels(cells, name="cells", scale=plate.scale, units=plate.units)
    navigator.save.click()
    until(qtbot, lambda: navigator.message.text() == "Saved into 1 field.")
    layers = add_layers(viewer, open_place(place / "B" / "2" / "0"))
    saved = layers[-1].data[0].compute()
    assert saved.shape == (2, 3, 32, 40)
    assert (saved[:, :, 2:6, 1:9] == 7).all()
    assert saved.astype(bool).sum() == 2 * 3 * 4 * 8
