"""The dock that writes plates: layers, and files of a table, become fields of wells."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from gui_steps import until
from napari_omezarr import open as open_omezarr
from napari_omezarr import read_layers

pytest.importorskip("napari")

from napari_omezarr.widgets.plate_writer import PlateWriter

pytestmark = [pytest.mark.gui, pytest.mark.timeout(120, method="thread")]


@pytest.fixture
def writer(make_napari_viewer, qtbot, tmp_path):
    viewer = make_napari_viewer()
    dock = PlateWriter(viewer)
    qtbot.addWidget(dock)
    dock.target.line.set_address(str(tmp_path / "plate.zarr"))
    return dock


def texts(dock):
    rows, columns = dock.form.rowCount(), dock.form.columnCount()
    return [[dock.form.item(r, c).text() for c in range(columns)] for r in range(rows)]


def test_layers_become_channels_labels_and_wells(writer, qtbot, tmp_path):
    viewer = writer._viewer
    images = np.random.default_rng(1).integers(1, 99, (3, 16, 24)).astype(np.uint8)
    assert not writer.write.isEnabled()
    viewer.add_image(images[0], name="B03 DAPI", colormap="blue")
    viewer.add_image(images[1], name="B03 GFP", colormap="green")
    viewer.add_labels(images[0] // 50, name="cells")
    viewer.add_image(images[2], name="control")
    writer.layers.click()
    wells = [row[1] for row in texts(writer)]
    assert wells == ["B3", "B3", "A1", "A2"]
    writer.form.item(2, 1).setText("b03")
    writer.form.item(3, 1).setText("nowhere!")
    writer.write.click()
    assert "nowhere! is no well" in writer.message.text()
    writer.form.item(3, 1).setText("")  # is left out
    writer.version.setCurrentText("0.4")
    writer.write.click()
    until(qtbot, lambda: "Wrote 1 field to" in writer.message.text())
    layers = read_layers(tmp_path / "plate.zarr")
    assert [options["name"] for _, options, _ in layers] == ["DAPI", "GFP", "cells"]
    writer.open.click()
    until(qtbot, lambda: len(viewer.layers) == 7)


def test_wells_of_one_layer_each_have_one_channel(writer, qtbot, tmp_path):
    viewer = writer._viewer
    for name in ("control", "treated"):
        viewer.add_image(np.full((16, 24), 5, np.uint8), name=name)
    writer.layers.click()
    writer.write.click()
    until(qtbot, lambda: "Wrote 2 fields to" in writer.message.text())
    (layer,) = read_layers(tmp_path / "plate.zarr")
    assert layer[0].compute().sum() == 2 * 5 * 16 * 24


def test_files_of_a_table_join_the_plate_that_is_there(writer, qtbot, tmp_path):
    images = np.random.default_rng(2).integers(1, 99, (2, 16, 24)).astype(np.uint8)
    for number, image in enumerate(images):
        tifffile.imwrite(tmp_path / f"{number}.tif", image)
    table = tmp_path / "plate.csv"
    table.write_text("image;row;column;acquisition\n0.tif;C;1;0\n1.tif;D;2;1\n")
    writer.take_table(str(table))
    until(qtbot, lambda: writer.form.rowCount() == 2)
    assert [row[1:] for row in texts(writer)] == [["C/1", "", "0"], ["D/2", "", "1"]]
    writer.write.click()
    until(qtbot, lambda: "Wrote 2 fields to" in writer.message.text())
    plate = open_omezarr(tmp_path / "plate.zarr")
    assert plate.paths == ("C/1", "D/2")
    writer.write.click()
    until(qtbot, lambda: "has a field 0 already" in writer.message.text())
    writer.go_on.setChecked(True)
    writer.write.click()
    until(qtbot, lambda: "Wrote 0 fields to" in writer.message.text())
    table.write_text("well\nA1\n")
    writer.take_table(str(table))
    until(qtbot, lambda: "names no image" in writer.message.text())
