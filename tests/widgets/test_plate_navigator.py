"""The dock of a plate: what it shows, where it goes, what it opens."""

from __future__ import annotations

import asyncio
import gc
import json
import math

import numpy as np
import pytest

from gui_steps import until
from napari_omezarr import Location, _io_loop, read_layers, write_plate
from napari_omezarr.display import shared_engine, wait_until_sharp
from napari_omezarr.errors import UnsupportedDataError
from napari_omezarr.pyramid import WellGrid
from napari_omezarr.store import run
from servers.plates import PlateServer

pytest.importorskip("napari")

from qtpy.QtCore import QPoint, Qt

from napari_omezarr.widgets import qt_async, show_again
from napari_omezarr.widgets.open import add_layers, open_place
from napari_omezarr.widgets.plate_map import PlateMap, WellColours, shade
from napari_omezarr.widgets.plate_navigator import PlateNavigator, filtered, plate_of
from napari_omezarr.widgets.viewer_layers import image_address

pytestmark = [pytest.mark.gui, pytest.mark.timeout(120, method="thread")]


@pytest.fixture(scope="module")
def plate():
    with PlateServer(3, 4, fields=2, size=64, missing=("B/2",)) as server:
        yield server


@pytest.fixture
def shown(plate, make_napari_viewer, qtbot):
    """A viewer with the plate and its dock."""
    viewer = make_napari_viewer(show=True)
    add_layers(viewer, open_place(Location.parse(plate.address)))
    navigator = PlateNavigator(viewer)
    viewer.window.add_dock_widget(navigator)
    assert wait_until_sharp(viewer.layers[0])
    return viewer, navigator


def test_wells_are_asked_for_once_the_layers_are_painted(
    plate, make_napari_viewer, monkeypatch
):
    monkeypatch.setattr(qt_async, "_PAINTED", 3_600_000)
    monkeypatch.setattr(qt_async, "_AT_LATEST", 3600)
    viewer = make_napari_viewer()
    opened = open_place(Location.parse(plate.address))
    before = len(plate.requests)
    try:
        add_layers(viewer, opened)
        run(asyncio.sleep(0.05))  # time for requests, if there were any
        assert len(plate.requests) == before
        shared_engine().fetcher.hold(0)  # as the paint does
        assert wait_until_sharp(viewer.layers[0])
        assert len(plate.requests) > before
    finally:
        gc.enable()


def test_old_garbage_waits_for_the_first_picture_of_a_plate(
    plate, make_napari_viewer, monkeypatch, qtbot
):
    said = [(700, 10, 10)]
    viewer = make_napari_viewer()
    opened = open_place(Location.parse(plate.address))
    monkeypatch.setattr(qt_async, "_FILLING", 0)
    monkeypatch.setattr(
        _io_loop, "_waiting", _io_loop._Waiting()
    )  # not what others began
    monkeypatch.setattr(gc, "get_threshold", lambda: said[-1])
    monkeypatch.setattr(gc, "set_threshold", lambda *counts: said.append(counts))
    add_layers(viewer, opened)
    until(qtbot, lambda: len(said) == 3)
    assert said[1:] == [(700, 10, 1000), (700, 10, 10)]


def test_fields_that_a_later_well_turns_out_to_have_can_be_opened(
    http_server, tmp_path, make_napari_viewer, qtbot
):
    field = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    wells = {"A1": [field], "A2": [field, field + 1, field + 2]}
    write_plate(wells, tmp_path / "p.zarr")
    viewer = make_napari_viewer()
    add_layers(viewer, open_place(Location.parse(f"{http_server.url}/p.zarr")))
    navigator = PlateNavigator(viewer)
    viewer.window.add_dock_widget(navigator)
    navigator.mosaic[...]
    until(qtbot, lambda: navigator.which.count() == 4)
    navigator.which.setCurrentIndex(3)
    navigator.open_well((0, 1))
    until(qtbot, lambda: len(viewer.layers) == 2)
    np.testing.assert_array_equal(np.asarray(viewer.layers[1].data), field + 2)


def test_the_dock_shows_goes_to_and_opens_wells(plate, shown, qtbot):
    viewer, navigator = shown
    grid = navigator.mosaic.fields.grid
    assert grid.size == (3, 4)
    assert navigator.map.described((1, 1)) == "B2: not there"
    assert navigator.map.described((2, 3)) == "C4: loaded"
    place = navigator.map.well_rect((2, 1)).center().toPoint()
    qtbot.mouseClick(navigator.map, Qt.MouseButton.LeftButton, pos=place)
    centre = np.add(grid.corner((2, 1)), np.divide(grid.cell, 2)) - 0.5
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], centre)
    assert navigator.message.text() == "C2: loaded"

    (layer,) = viewer.layers
    inside = np.add(grid.corner((2, 1)), 10.0)
    status = layer.get_status(tuple(inside), world=True)
    assert "C/2, field 0 [" in status["coordinates"]
    assert status["coordinates"].endswith(f": {status['value']}")

    navigator.names.setChecked(True)
    assert len(viewer.layers["well names"].data) == 12
    navigator.names.setChecked(False)
    assert list(viewer.layers) == [layer]

    navigator.which.setCurrentIndex(2)  # the second field
    qtbot.mouseDClick(navigator.map, Qt.MouseButton.LeftButton, pos=place)
    until(qtbot, lambda: len(viewer.layers) == 2)
    field = viewer.layers[1]
    assert (field.data[0].shape, layer.visible) == ((64, 64), False)
    expected = plate.shown("C/2", 1, 0)
    np.testing.assert_array_equal(field.data[0].compute(), expected)
    viewer.layers.selection.active = field
    assert navigator.mosaic is plate_of(layer)
    navigator.back.click()
    assert (layer.visible, field.visible) == (True, False)

    viewer.layers.remove(layer)
    viewer.layers.selection.active = field
    assert navigator.mosaic is None
    navigator.back.click()  # the plate is found above the field
    until(qtbot, lambda: navigator.mosaic is not None)
    assert navigator.mosaic.fields.grid.size == (3, 4)

    navigator.which.setCurrentIndex(0)
    navigator.map.current = (0, 0)
    qtbot.keyClick(navigator.map, Qt.Key.Key_Return)
    until(qtbot, lambda: len(viewer.layers) == 3)
    well = viewer.layers[-1]
    assert plate_of(well).fields.grid.size == (1, 1)
    assert well.data[0].shape == (64, 129)


def test_the_dock_leads_back_to_the_plate_and_opens_what_the_filter_leaves(
    shown, qtbot
):
    viewer, navigator = shown
    navigator.open_well((0, 0))
    until(qtbot, lambda: len(viewer.layers) == 2)
    assert [la.visible for la in viewer.layers] == [False, True]
    navigator.back.click()  # the well is of the plate's address, too
    assert [la.visible for la in viewer.layers] == [True, False]
    navigator.open_well((2, 3))
    until(qtbot, lambda: len(viewer.layers) == 3)
    place = navigator.map.well_rect((2, 1)).center().toPoint()
    qtbot.mouseClick(navigator.map, Qt.MouseButton.LeftButton, pos=place)
    assert [la.visible for la in viewer.layers] == [True, False, False]

    navigator.filter.setText("a C2")
    navigator.only.click()
    until(qtbot, lambda: len(viewer.layers) == 4)
    assert plate_of(viewer.layers[-1]).fields.grid.size == (2, 4)
    viewer.layers.selection.active = viewer.layers[-1]
    assert navigator.mosaic is plate_of(viewer.layers[-1])
    navigator.filter.clear()
    assert not navigator.only.isEnabled()


def test_a_plate_without_room_for_a_well_is_opened_again_by_a_button(
    make_napari_viewer, qtbot, http_server, tmp_path, monkeypatch
):
    place, sizes = tmp_path / f"{tmp_path.name}.zarr", [(16, 16)] * 15
    wells = {f"A{n}": np.ones(size, np.uint8) for n, size in enumerate(sizes, 1)}
    write_plate(wells | {"A8": np.ones((40, 40), np.uint8)}, place, axes="yx")
    viewer = make_napari_viewer()
    address = Location.parse(f"{http_server.url}/{place.name}")
    # By itself it was made anew just now, so that the person is asked.
    monkeypatch.setattr(show_again, "_PAUSE", math.inf)
    monkeypatch.setitem(show_again._opened_again, address.display, 0.0)
    add_layers(viewer, open_place(address))
    assert image_address(viewer.layers[0]) == address.display
    navigator = PlateNavigator(viewer)
    qtbot.addWidget(navigator)
    assert navigator.again.isHidden()
    with pytest.raises(UnsupportedDataError, match="Well A/8"):
        navigator.mosaic[...]
    until(qtbot, lambda: not navigator.again.isHidden())
    navigator.again.click()
    until(qtbot, lambda: len(viewer.layers) == 2)
    viewer.layers.selection.active = viewer.layers[1]
    assert navigator.mosaic.fields.grid.cell == (40, 40)
    assert navigator.mosaic[...].sum() == 40 * 40 + 14 * 16 * 16


def test_colours_filter_and_legend_and_a_well_that_is_missing(shown, qtbot):
    viewer, navigator = shown
    navigator.open_well((1, 1))
    until(qtbot, lambda: "no such field" in navigator.message.text())
    assert len(viewer.layers) == 1
    navigator.set_values("dose", {"A/1": 0.5, "A/2": 2.0, "C/4": 7.0})
    navigator.colour.setCurrentText("dose")
    navigator.filter.setText(">1")
    assert navigator.message.text() == "2 of 12 wells"
    assert navigator.map.described((0, 1)) == "A2: 2.0"
    navigator.filter.setText("b c3")
    assert navigator.message.text() == "5 of 12 wells"
    navigator.colour.setCurrentText("row")
    assert navigator.map.described((0, 1)) == "A2: A"
    picture = navigator.map.grab().toImage()
    spots = [navigator.map.well_rect((row, 0)).center().toPoint() for row in (0, 1, 2)]
    assert len({picture.pixelColor(spot).name() for spot in spots}) == 3


def test_a_table_colours_wells_and_labels_are_saved_into_fields(
    make_napari_viewer, qtbot, tmp_path
):
    place = tmp_path / "p.zarr"
    write_plate(
        {w: np.ones((64, 96), np.uint8) for w in ("A1", "B2")}, place, axes="yx"
    )
    (place / "tables" / "drugs").mkdir(parents=True)
    group = {"zarr_format": 3, "node_type": "group"}
    listed = {"attributes": {"tables": ["drugs"]}}
    said = {"attributes": {"type": "condition_table", "backend": "csv"}}
    (place / "tables" / "zarr.json").write_text(json.dumps(group | listed))
    (place / "tables" / "drugs" / "zarr.json").write_text(json.dumps(group | said))
    rows = "row,column,dose_uM\nA,1,0.01\nB,2,4\n"
    (place / "tables" / "drugs" / "table.csv").write_text(rows)
    viewer = make_napari_viewer()
    add_layers(viewer, open_place(Location.parse(place)))
    navigator = PlateNavigator(viewer)
    qtbot.addWidget(navigator)
    until(qtbot, lambda: navigator.colour.findText("drugs: dose_uM") > 0)
    assert navigator.decades.isHidden()
    navigator.colour.setCurrentText("drugs: dose_uM")
    assert navigator.map.described((1, 1)) == "B2: 4.0 uM"
    assert not navigator.decades.isHidden()
    cells = np.zeros(viewer.layers[0].data.shape, np.int32)
    cells[70:80, 100:110] = 3
    navigator.save_labels()
    assert navigator.message.text().startswith("Select labels")
    viewer.add_labels(cells, name="cells")
    navigator.save.click()
    until(qtbot, lambda: navigator.message.text() == "Saved into 1 field.")
    assert (place / "B" / "2" / "0" / "labels" / "cells").is_dir()


def test_labels_of_a_well_that_is_open_by_itself_go_into_its_fields(
    make_napari_viewer, qtbot, tmp_path
):
    place, field = tmp_path / "p.zarr", np.ones((64, 96), np.uint8)
    write_plate({"A1": field, "B2": [field, field]}, place, axes="yx")
    viewer = make_napari_viewer()
    add_layers(viewer, open_place(Location.parse(place)))
    navigator = PlateNavigator(viewer)
    qtbot.addWidget(navigator)
    navigator.open_well((1, 1))
    until(qtbot, lambda: len(viewer.layers) == 2)
    well = viewer.layers[1].data
    cells = np.zeros((well[0] if viewer.layers[1].multiscale else well).shape, np.int32)
    cells[7:9, 100:110] = 3  # of the second field
    viewer.add_labels(cells, name="cells")
    navigator.save.click()
    until(qtbot, lambda: navigator.message.text() == "Saved into 1 field.")
    saved = read_layers(place / "B" / "2" / "1" / "labels" / "cells")[0][0]
    finest = np.asarray(saved[0] if isinstance(saved, list) else saved)
    np.testing.assert_array_equal(finest, cells[:64, 97:])
    assert not (place / "A" / "1" / "0" / "labels").exists()
    navigator.open_well((0, 0))  # it has one field, which is an image
    until(qtbot, lambda: len(viewer.layers) == 4)
    viewer.add_labels(np.full((64, 96), 7, np.int32), name="cells of A1")
    navigator.save.click()
    until(qtbot, lambda: (place / "A" / "1" / "0" / "labels").exists())
    until(qtbot, lambda: navigator.message.text() == "Saved into 1 field.")
    saved = read_layers(place / "A" / "1" / "0" / "labels" / "cells of A1")[0][0]
    assert (np.asarray(saved[0] if isinstance(saved, list) else saved) == 7).all()


def test_keys_go_from_well_to_listed_well(qtbot):
    places = [(0, 0), (0, 3), (2, 0)]
    grid = WellGrid(
        (3, 4), (8, 8), (9, 9), {p: f"{p[0]}/{p[1]}" for p in places}, "ABC", "1234"
    )
    map_ = PlateMap()
    qtbot.addWidget(map_)
    map_.show_plate(grid, {})
    gone = []
    map_.chosen.connect(gone.append)
    for key in ("Home", "Right", "Right", "Left", "Down", "Up"):
        qtbot.keyClick(map_, getattr(Qt.Key, f"Key_{key}"))
    assert gone == [(0, 0), (0, 3), (0, 0), (2, 0), (0, 0)]
    assert map_.place_at(map_.well_rect((0, 3)).center()) == (0, 3)
    assert map_.place_at(map_.well_rect((1, 1)).center()) is None
    assert map_.place_at(QPoint(1, 1).toPointF()) is None


def test_a_scale_and_classes_have_legends():
    scale = WellColours({"A/1": 1, "A/2": 3})
    assert [text for _, text in scale.legend()] == ["1", "2", "3"]
    assert scale.of("A/2") == shade(1.0)
    assert scale.of("B/1") is None
    classes = WellColours({"A/1": "drug", "A/2": "none", "B/2": "drug"})
    assert [text for _, text in classes.legend()] == ["drug", "none"]
    assert classes.of("A/1") == classes.of("B/2") != classes.of("A/2")


def test_doses_have_a_scale_of_decades_with_their_unit():
    doses = {"A/1": 0, "A/2": 0.01, "A/3": 1, "A/4": 100}
    scale = WellColours(doses, "nM")
    texts = [text for _, text in scale.legend()]
    assert texts == ["0", "0.01 nM", "1 nM", "100 nM"]
    assert scale.of("A/3") == shade(0.5)
    assert scale.of("A/1") not in (shade(0.0), shade(0.5), shade(1.0))
    assert scale.said("A/4") == "100 nM"
    linear = WellColours(doses, by_decades=False)
    assert [text for _, text in linear.legend()] == ["0", "50", "100"]
    for narrow in ({"A/1": 1, "A/2": 99}, {"A/1": -1, "A/2": 0.1, "A/3": 900}):
        assert not WellColours(narrow).spans_decades


def test_wells_are_filtered_by_name_row_and_value():
    wells = ["A/1", "A/2", "B/1"]
    values = {"A/1": 0.5, "B/1": 2, "A/2": "high"}
    assert filtered(wells, values, "A") == {"A/1", "A/2"}
    assert filtered(wells, values, "b1, high") == {"B/1", "A/2"}
    assert filtered(wells, values, "<1") == {"A/1"}
    assert filtered(wells, values, "9") == set()
