"""Looks and edited pixels that go back into the image they came from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from napari.qt import get_current_stylesheet
from napari.utils.notifications import NotificationSeverity

from gui_steps import PLUGIN, cut_off, until
from napari_omezarr import _hooks, patch, read_layers, write_image
from napari_omezarr.errors import OptionError
from napari_omezarr.widgets import edit_back
from napari_omezarr.widgets.edit_back import edited_region
from napari_omezarr.widgets.qt_async import pending
from napari_omezarr.widgets.region_box import cuts
from napari_omezarr.widgets.region_dock import RegionDock
from napari_omezarr.widgets.viewer_layers import keep_original, original_of

DATA = np.random.default_rng(8).integers(1, 250, (2, 4, 40, 50)).astype(np.uint8)
CELLS = (DATA[0] // 60).astype(np.uint16)


@pytest.fixture
def image(tmp_path):
    """Two channels with labels, of two levels."""
    place = tmp_path / "a.ome.zarr"
    write_image(
        DATA,
        place,
        "czyx",
        channels=["DAPI", "GFP"],
        labels={"cells": CELLS},
        levels=2,
        chunks=(1, 1, 20, 25),
    )
    return place


@pytest.fixture
def opened(image):
    """A viewer's model with the image, as it opens in one."""
    model = ViewerModel()
    for layer in read_layers(image):
        model.add_layer(Layer.create(*layer))
    return model


@pytest.fixture
def region(opened):
    """A region of all layers at level 0, as the region's dock makes them."""
    first, *others = opened.layers
    found = {}
    for cut in cuts(first, others, [(1, 3), (8, 31), (10, 40)], 0):
        box = tuple(slice(*bound) for bound in cut.region.bounds)
        layer = cut.new_layer(np.array(cut.layer.data[0][box]))
        keep_original(layer)
        found[layer.name] = opened.add_layer(layer)
    return found


def done(qtbot, notifications):
    until(qtbot, lambda: not pending and notifications)
    return notifications[-1]


def write_back(viewer, qtbot, notifications):
    """Ask to write back, and agree to what is said; gives what is said then."""
    _hooks.write_back(viewer)
    asked = done(qtbot, notifications)
    if not asked.actions:
        return asked
    ((text, write),) = asked.actions
    assert text == "Write them"
    notifications.clear()
    write(None)
    return done(qtbot, notifications)


def level(place, name, number=0):
    for data, options, _ in read_layers(place):
        if options["name"] == name:
            return np.asarray(data[number])
    raise AssertionError(name)


def test_rendering_goes_back_and_pixels_stay(opened, image, qtbot, notifications):
    layer = opened.layers["GFP"]
    layer.name, layer.colormap, layer.contrast_limits = "actin", "red", (7, 70)
    _hooks.update_rendering(opened)
    assert "actin" in done(qtbot, notifications).message
    options = {o["name"]: o for _, o, _ in read_layers(image)}
    assert tuple(options["actin"]["contrast_limits"]) == (7, 70)
    np.testing.assert_array_equal(level(image, "actin"), DATA[1])
    notifications.clear()
    _hooks.update_rendering(opened)
    assert "say already" in done(qtbot, notifications).message


def test_layers_from_elsewhere_have_no_image_to_update(notifications):
    viewer = ViewerModel()
    viewer.add_image(DATA[0], name="mine")
    _hooks.update_rendering(viewer)
    assert notifications[-1].severity == NotificationSeverity.ERROR
    assert "Save them as a new image" in notifications[-1].message


def test_the_dock_keeps_what_labels_were_when_they_were_loaded(viewer, image, qtbot):
    viewer.open(str(image), plugin=PLUGIN)
    dock = RegionDock(viewer)
    qtbot.addWidget(dock)
    dock.form.layer.value = viewer.layers["cells"]
    dock.form.level.value = 0
    dock.load()
    until(qtbot, lambda: not dock.busy)
    layer = viewer.layers["cells region"]
    layer.data[0, :5] = 9
    np.testing.assert_array_equal(original_of(layer), CELLS)
    assert edited_region([layer]).values[0, 0, 0] == 9


def test_labels_that_were_painted_as_they_are_read_go_back_by_a_region(
    viewer, tmp_path, qtbot, notifications
):
    place = tmp_path / "one level.ome.zarr"
    write_image(DATA[0], place, "zyx", labels={"cells": CELLS}, levels=1)
    viewer.open(str(place), plugin=PLUGIN)
    cells = viewer.layers["cells"]
    cells.brush_size = 6
    cells.paint((1, 20, 20), 77)
    expected = np.array(cells.data)
    assert 0 < np.count_nonzero(expected != CELLS) < 100
    dock = RegionDock(viewer)
    qtbot.addWidget(dock)
    dock.form.layer.value = cells
    dock.form.level.value = 0
    dock.load()
    until(qtbot, lambda: not (dock.busy or pending))
    viewer.layers.selection = {viewer.layers["cells region"]}
    notifications.clear()
    write_back(viewer, qtbot, notifications)
    (stored,) = [d for d, o, _ in read_layers(place) if o["name"] == "cells"]
    np.testing.assert_array_equal(np.asarray(stored), expected)


def test_the_dock_says_what_will_be_written_and_takes_it_back(viewer, image, qtbot):
    viewer.open(str(image), plugin=PLUGIN)
    dock = RegionDock(viewer)
    qtbot.addWidget(dock)
    panel = dock.edits
    assert panel.isHidden()
    dock.form.layer.value = viewer.layers["cells"]
    dock.form.level.value = 0
    dock.load()
    until(qtbot, lambda: not dock.busy)
    layer = viewer.layers["cells region"]
    viewer.layers.selection.active = layer
    assert not panel.isHidden()

    def press(name, said):
        until(qtbot, lambda: name in [button.text() for button in panel.buttons])
        next(b for b in panel.buttons if b.text() == name).click()
        until(qtbot, lambda: not pending and panel.text.text()[-1] != "…")
        assert said in panel.text.text()

    press("&Write back…", "Nothing was edited")
    layer.data[:, 2:12, 4:14] = 777
    press("&Look again", "400 edited pixels in 4 chunks, and 2 chunks of 1 coarser")
    press("&Show them", "are to be written")
    (edits,) = [each for each in viewer.layers if each.name == "cells region edits"]
    assert np.count_nonzero(edits.data) == 400
    np.testing.assert_array_equal(edits.scale, layer.scale)
    np.testing.assert_array_equal(level(image, "cells"), CELLS)
    press("&Not now", "can be edited")
    press("&Write back…", "400 edited pixels")
    press("&Write them", "written back")
    assert (level(image, "cells") == 777).sum() == 400
    # Somebody else changes one of them: it is not taken back, and the button stays.
    patch(image / "labels" / "cells", (0, 2, 4), np.full((1, 1, 1), 5, np.uint16))
    press("&Undo", "written back")
    assert (level(image, "cells") == 777).sum() == 399
    assert "changed by somebody else, at z 0, y 2, x 4" in panel.text.text()
    # All of that fits into a narrow dock, which scrolls where it is low.
    dock.setStyleSheet(get_current_stylesheet())
    dock.setFixedSize(290, 300)
    with qtbot.waitExposed(dock):
        dock.show()
    assert len(panel.buttons) == 3
    until(qtbot, lambda: not cut_off(dock))
    press("&Load what is there now", "cells region now can be edited")
    assert viewer.layers["cells region now"].data[0, 2, 4] == 5
    viewer.layers.selection.active = layer
    patch(image / "labels" / "cells", (0, 2, 4), np.full((1, 1, 1), 777, np.uint16))
    press("&Undo", "can be edited")
    assert "somebody else" not in panel.text.text()
    np.testing.assert_array_equal(level(image, "cells"), CELLS)
    viewer.layers.selection.active = viewer.layers["cells"]
    assert panel.isHidden()


def test_painted_labels_go_back_and_into_the_coarser_level(
    opened, region, image, qtbot, notifications
):
    layer = region["cells region"]
    layer.data[:, 2:12, 4:14] = 777
    opened.layers.selection = {layer}
    _hooks.write_back(opened)
    said = "200 edited pixels in 2 chunks, and 2 chunks of 1 coarser level of "
    asked = done(qtbot, notifications)
    assert said in asked.message
    # napari shows the first line until it is unfolded, in half of its 400 pixels.
    assert asked.message.splitlines()[0] == "Write 200 edited pixels back?"
    assert asked.source == "OME-Zarr"
    np.testing.assert_array_equal(level(image, "cells"), CELLS)
    notifications.clear()
    told = write_back(opened, qtbot, notifications).message
    assert told.splitlines()[0] == "200 edited pixels written back."
    wanted = CELLS.copy()
    wanted[1:3, 10:20, 14:24] = 777
    np.testing.assert_array_equal(level(image, "cells"), wanted)
    assert (level(image, "cells", 1) == 777).any()
    ((text, undo),) = notifications[-1].actions
    assert text == "Undo"
    notifications.clear()
    assert "Nothing was edited" in write_back(opened, qtbot, notifications).message
    for take_back in (lambda: undo(None), _hooks.undo_write_back):
        notifications.clear()
        take_back()
        assert "taken back" in done(qtbot, notifications).message
        np.testing.assert_array_equal(level(image, "cells"), CELLS)
        notifications.clear()
        write_back(opened, qtbot, notifications)
        np.testing.assert_array_equal(level(image, "cells"), wanted)


def test_without_a_write_back_nothing_is_undone(notifications, monkeypatch):
    monkeypatch.setattr(edit_back, "_last", [])
    _hooks.undo_write_back()
    assert "could be undone" in notifications[-1].message


def test_what_somebody_else_has_changed_meanwhile_is_shown_and_left(
    opened, region, image, qtbot, notifications
):
    layer = region["cells region"]
    layer.data[0, 2:12, 4:14] = 777
    theirs = np.full((1, 3, 2), 555, np.uint16)
    patch(image / "labels" / "cells", (1, 11, 15), theirs)
    opened.layers.selection = {layer}
    record = write_back(opened, qtbot, notifications)
    assert record.severity == NotificationSeverity.ERROR
    assert "6 edited pixels" in record.message
    assert "somebody else, at z 1, y 11-13, x 15-16." in record.message
    assert not (level(image, "cells") == 777).any()
    assert (level(image, "cells")[1, 11:14, 15:17] == 555).all()
    ((text, load),) = record.actions
    assert text == "Load what is there now"
    notifications.clear()
    load(None)
    until(qtbot, lambda: not pending)
    present = opened.layers["cells region now"]
    wanted = np.array(original_of(layer))
    wanted[0, 3:6, 5:7] = 555
    np.testing.assert_array_equal(present.data, wanted)
    np.testing.assert_array_equal(present.translate, layer.translate)
    present.data[0, 2:12, 4:14] = 777
    opened.layers.selection = {present}
    notifications.clear()
    assert "100 edited pixels" in write_back(opened, qtbot, notifications).message
    assert (level(image, "cells")[1, 10:20, 14:24] == 777).all()


def test_a_processed_crop_goes_back_into_its_channel(
    opened, region, image, qtbot, notifications
):
    crop = region["GFP region"]
    processed = opened.add_image(255 - np.asarray(crop.data), name="inverted")
    opened.layers.selection = {crop, processed}
    assert "edited pixels" in write_back(opened, qtbot, notifications).message
    wanted = DATA[1].copy()
    wanted[1:3, 8:31, 10:40] = 255 - wanted[1:3, 8:31, 10:40]
    np.testing.assert_array_equal(level(image, "GFP"), wanted)
    np.testing.assert_array_equal(level(image, "DAPI"), DATA[0])


def test_what_is_no_edited_region_is_said(opened, region, notifications):
    crop, cells = region["GFP region"], region["cells region"]
    other = opened.add_image(np.zeros((3, 3)), name="other")
    for layers, said in (
        ([], "Select a region"),
        ([opened.layers["DAPI"]], "Select a region"),
        ([opened.layers["cells"]], "cannot be written back as they are. Load a region"),
        ([crop, cells], "Select a region"),
        ([crop], "is not known"),
        ([crop, other], "another shape"),
    ):
        with pytest.raises(OptionError, match=said):
            edited_region(layers)
    record = json.loads(json.dumps(crop.metadata["omezarr"]["region"]))
    crop.metadata["omezarr"]["region"] = {**record, "level": 1}
    with pytest.raises(OptionError, match="coarser level"):
        edited_region([crop])
    opened.layers.selection = {other}
    _hooks.write_back(opened)
    assert "Select a region" in notifications[-1].message
