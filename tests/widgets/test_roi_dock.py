"""The dock that goes to regions of interest by their names."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from gui_steps import until
from napari_omezarr.location import Location
from napari_omezarr.widgets.open import add_layers, open_place
from napari_omezarr.widgets.roi_dock import RoiDock
from napari_omezarr.writing import write_image
from stored_tables import put_regions

pytestmark = pytest.mark.timeout(120, method="thread")
BOXES = [(0, 0, 10, 20), (10, 0, 10, 20), (0, 20, 10, 20)]


@pytest.fixture
def model(tmp_path):
    place = tmp_path / "a.zarr"
    options = {"units": "micrometer", "scale": (0.5, 0.5)}
    write_image(np.ones((40, 80), np.uint8), place, "yx", **options)
    put_regions(place, ["FOV_1", "FOV_2", "well"], BOXES)
    model = ViewerModel()
    add_layers(model, open_place(Location.parse(place)))
    return model


def names(dock):
    return [dock.names.item(row).text() for row in range(dock.names.count())]


@pytest.fixture
def dock(model, qtbot):
    dock = RoiDock(model)
    qtbot.addWidget(dock)
    until(qtbot, lambda: names(dock) and not dock.busy)
    return dock


def test_one_goes_to_a_region_by_its_name(dock, model, qtbot):
    assert names(dock) == ["FOV_1", "FOV_2", "well"]
    assert dock.said.text() == "3 regions."
    assert not dock.said.isHidden()
    dock.names.itemActivated.emit(dock.names.item(1))
    # Ten micrometers down, and half a pixel before the centre of the first one.
    np.testing.assert_allclose(model.scene.camera.center[-2:], (14.75, 9.75))
    qtbot.keyClicks(dock.filter, "fov")
    assert names(dock) == ["FOV_1", "FOV_2"]


def test_outlines_are_a_layer_whose_shapes_can_be_gone_to(dock, model, qtbot):
    dock.outlines.click()
    until(qtbot, lambda: len(model.layers) == 2 and not dock.busy)
    dock.table.setCurrentIndex(1)
    assert dock.table.currentText() == "layer FOV_ROI_table"
    assert names(dock) == ["FOV_1", "FOV_2", "well"]
    assert not dock.outlines.isEnabled()
    dock.go_to("well")
    np.testing.assert_allclose(model.scene.camera.center[-2:], (4.75, 29.75))


def test_without_regions_it_says_so(qtbot):
    dock = RoiDock(ViewerModel())
    qtbot.addWidget(dock)
    assert dock.said.text().startswith("No image")
    assert not dock.said.isHidden()
    assert not dock.outlines.isEnabled()


def test_a_table_that_cannot_be_read_is_said(model, qtbot, tmp_path):
    (tmp_path / "a.zarr" / "tables" / "FOV_ROI_table" / "table.csv").write_text("\0")
    dock = RoiDock(model)
    qtbot.addWidget(dock)
    until(qtbot, lambda: dock.table.count() and not dock.busy)
    assert "table" in dock.said.text()
    assert names(dock) == []
