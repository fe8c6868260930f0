"""Features of labels that come from a table, after the picture."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from gui_steps import until
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.widgets.open import add_layers, open_place
from napari_omezarr.widgets.qt_async import pending
from napari_omezarr.writing import write_layers
from servers.http import FileServer

pytestmark = pytest.mark.timeout(120, method="thread")
AREAS = np.arange(1000) * 0.5


@pytest.fixture
def place(tmp_path):
    labels = (np.arange(64 * 64) % 1000).reshape(64, 64)
    features = {"index": np.arange(1000), "area": AREAS, "kind": ["a"] * 1000}
    known = {"name": "cells", "features": features}
    image = (np.ones((64, 64), np.uint16), {"name": "dapi"}, "image")
    write_layers([image, (labels, known, "labels")], tmp_path / "a.zarr")
    return tmp_path / "a.zarr"


def test_features_come_after_the_picture(qtbot, place):
    with FileServer(place.parent) as server:
        opened = open_place(Location.parse(f"{server.url}/a.zarr"))
        assert not [each for each in server.requests if "tables" in each.path]
        model = ViewerModel()
        add_layers(model, opened)
        cells = model.layers["cells"]
        until(qtbot, lambda: len(cells.features) == 1000)
    np.testing.assert_array_equal(cells.features["area"], AREAS)
    assert list(cells.features.columns) == ["index", "area", "kind"]
    assert "table" not in cells.metadata["omezarr"]


def test_features_that_somebody_was_faster_to_set_stay(qtbot, place):
    model = ViewerModel()
    add_layers(model, open_place(Location.parse(place)))
    cells = model.layers["cells"]
    cells.features = {"index": [1], "mine": [2]}
    until(qtbot, lambda: not pending)
    assert list(cells.features.columns) == ["index", "mine"]


def test_labels_saved_before_their_features_were_read_keep_them(place):
    layers = read_layers(place, features=False)
    write_layers(layers, place.parent / "b.zarr")
    found = read_layers(place.parent / "b.zarr")[1][1]["features"]
    np.testing.assert_array_equal(found["area"], AREAS)
