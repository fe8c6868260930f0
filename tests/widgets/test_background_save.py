"""File > Save and ``viewer.layers.save`` in a real viewer."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import NotificationSeverity
from napari.utils.progress import progress
from npe2 import PluginManager
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog, QLineEdit, QProgressBar

from gui_steps import PLUGIN, every_turn, until
from napari_omezarr import read_layers, write_image
from napari_omezarr.errors import NotSavedError, OMEZarrError, UnfinishedWriteError
from napari_omezarr.widgets.background_save import under_way
from slow_image import SlowImage

DATA = np.random.default_rng(8).integers(1, 250, (3, 40, 50)).astype(np.uint8)
PLACED = {"scale": (2, 0.5, 0.5), "units": ("um",) * 3, "axis_labels": ("z", "y", "x")}


@pytest.fixture
def filled(viewer):
    """A viewer with two channels and labels, and all plugins found."""
    PluginManager.instance().discover()
    viewer.add_image(DATA, name="DAPI", contrast_limits=(3, 99), **PLACED)
    viewer.add_image(DATA[::-1], name="GFP", colormap="green", **PLACED)
    viewer.add_labels(DATA // 90, name="cells", **PLACED)
    return viewer


def in_the_event_loop(qtbot, action):
    """Do something as a menu or a button would: while Qt's events are run."""
    outcome = []

    def act():
        try:
            outcome.append(action())
        except (OMEZarrError, Warning) as error:
            outcome.append(error)

    QTimer.singleShot(0, act)
    until(qtbot, lambda: outcome)
    return outcome[0]


def ended(qtbot):
    until(qtbot, lambda: not under_way)


def finest(data):
    return np.asarray(data[0] if isinstance(data, list) else data)


def test_points_alone_are_saved_beside_an_image(filled, tmp_path, qtbot):
    target = tmp_path / "a.zarr"
    write_image(DATA, target, "zyx", scale=(2, 0.5, 0.5))
    spots = filled.add_points([[0, 1, 2], [1, 20, 30]], name="spots", **PLACED)
    saving = in_the_event_loop(qtbot, lambda: spots.save(str(target)))
    assert saving == [str(target)]
    ended(qtbot)
    found = {o["name"]: d for d, o, _ in read_layers(target)}
    np.testing.assert_array_equal(found["spots"], spots.data)


def test_other_viewers_begin_where_the_sliders_are(filled, tmp_path, qtbot):
    """So do layers that lie elsewhere, each by its own planes."""
    other = {**PLACED, "scale": (4, 0.5, 0.5), "translate": (-4, 0, 0)}
    filled.add_image(DATA, name="offset", **other)
    filled.dims.set_point(0, 4)
    in_the_event_loop(qtbot, lambda: filled.layers.save(str(tmp_path / "a.zarr")))
    ended(qtbot)
    for path, plane in (("0", 2), ("1", 2)):
        (first, *_) = read_layers(tmp_path / "a.zarr" / path)
        rdefs = first[1]["metadata"]["omezarr"]["attributes"]["omero"]["rdefs"]
        assert (rdefs["defaultZ"], rdefs["defaultT"]) == (plane, 0)
    filled.dims.set_point(0, 0)
    in_the_event_loop(
        qtbot, lambda: filled.layers["DAPI"].save(str(tmp_path / "b.zarr"))
    )
    ended(qtbot)
    (first,) = read_layers(tmp_path / "b.zarr")
    rdefs = first[1]["metadata"]["omezarr"]["attributes"]["omero"]["rdefs"]
    assert rdefs["defaultZ"] == 0


def type_into_save_dialog(text, seen):
    """Wait for napari's file dialog, and type a name and Enter."""

    def act():
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, QFileDialog) and not seen:
            seen.append(dialog.nameFilters())
            dialog.selectNameFilter(next(f for f in seen[0] if "*.ome.zarr" in f))
            line = dialog.findChild(QLineEdit)
            line.setText(text)
            QTest.keyClick(line, Qt.Key.Key_Return)

    return every_turn(act)


@pytest.mark.parametrize("selected", [True, False])
def test_file_save_writes_and_opens_equal(
    filled, tmp_path, qtbot, notifications, selected
):
    target = tmp_path / "a.ome.zarr"
    filled.layers.selection = {filled.layers["DAPI"], filled.layers["GFP"]}
    seen = []
    timer = type_into_save_dialog(str(target), seen)
    window = filled.window._qt_viewer
    in_the_event_loop(qtbot, lambda: window._save_layers_dialog(selected=selected))
    timer.stop()
    assert any("OME-Zarr (*.ome.zarr" in name for name in seen[0])
    ended(qtbot)
    until(qtbot, lambda: notifications)
    assert [record.message for record in notifications] == [f"Saved to {target}."]
    names = ["DAPI", "GFP"] if selected else ["DAPI", "GFP", "cells"]
    again = filled.open(str(target), plugin=PLUGIN)
    assert [layer.name.removesuffix(" [1]") for layer in again] == names
    for one in again:
        other = filled.layers[one.name.removesuffix(" [1]")]
        assert one.colormap == other.colormap or one.name.startswith("cells")
        np.testing.assert_array_equal(np.asarray(one.data), other.data)
        assert one.units == other.units
        np.testing.assert_array_equal(one.scale, other.scale)


def test_what_the_dialog_makes_of_a_remote_address_is_understood(
    filled, qtbot, http_server, notifications
):
    host = http_server.url.partition("//")[2]
    mangled = f"{Path.cwd()}/https:/{host}/b/a.ome.zarr"
    error = in_the_event_loop(qtbot, lambda: filled.layers.save(mangled))
    assert isinstance(error, OMEZarrError)
    assert str(error).startswith(f"Nothing can be saved to https://{host}/b/a.ome.zarr")


def test_our_writer_is_asked_first_by_suffix_whatever_the_layers(filled):
    for types in (["image"], ["labels"], ["image", "labels"], ["image", "points"]):
        writer, _ = PluginManager.instance().get_writer("/x/a.ome.zarr", types)
        assert writer.plugin_name == PLUGIN
        # and those of napari without it
        other, _ = PluginManager.instance().get_writer("/x/a", types)
        assert other is None or other.plugin_name != PLUGIN


def test_the_window_lives_while_it_is_saved(filled, tmp_path, qtbot, notifications):
    slow = SlowImage(DATA)
    layer = filled.add_image(slow, name="slow", contrast_limits=(0, 9), **PLACED)
    slow.gate.clear()
    slow.read.clear()
    target = tmp_path / "a.ome.zarr"
    paths = in_the_event_loop(qtbot, lambda: filled.layers.save(str(target)))
    assert paths == [str(target)]
    assert slow.read.wait(60)
    turns = []
    timer = every_turn(lambda: turns.append(threading.current_thread()))
    until(qtbot, lambda: len(turns) > 50)
    timer.stop()
    assert not target.exists()
    assert not filled.layers["cells"].editable
    bars = [bar for bar in progress._all_instances if "a.ome.zarr" in bar.desc]
    assert len(bars) == 1
    slow.gate.set()
    ended(qtbot)
    assert filled.layers["cells"].editable
    assert bars[0] not in progress._all_instances
    found = {options["name"]: data for data, options, _ in read_layers(target)}
    np.testing.assert_array_equal(finest(found["slow"]), layer.data.array)


def test_the_button_of_the_activity_dock_cancels(
    filled, tmp_path, qtbot, notifications
):
    slow = SlowImage(DATA)
    filled.add_image(slow, name="slow", contrast_limits=(0, 9), **PLACED)
    slow.gate.clear()
    slow.read.clear()
    target = tmp_path / "a.ome.zarr"
    in_the_event_loop(qtbot, lambda: filled.layers.save(str(target)))
    assert slow.read.wait(60)
    dialog = filled.window._qt_window._activity_dialog
    (row,) = [
        bar.parent()
        for bar in dialog.findChildren(QProgressBar)
        if hasattr(bar.parent(), "cancel_button")
    ]
    qtbot.mouseClick(row.cancel_button, Qt.MouseButton.LeftButton)
    (saving,) = under_way.values()
    until(qtbot, lambda: saving.cancelled)
    slow.gate.set()
    ended(qtbot)
    until(qtbot, lambda: notifications)
    assert "cancelled" in notifications[-1].message
    assert not target.exists()
    with pytest.raises(UnfinishedWriteError):
        filled.layers.save(str(target))


def test_a_window_that_closes_ends_the_save_which_can_be_resumed(
    make_napari_viewer, tmp_path, qtbot
):
    PluginManager.instance().discover()
    viewer, slow = make_napari_viewer(show=True), SlowImage(DATA)
    viewer.add_image(slow, name="slow", contrast_limits=(0, 9), **PLACED)
    viewer.add_image(DATA[:2], name="other")
    slow.gate.clear()
    slow.read.clear()
    target = tmp_path / "a.ome.zarr"
    in_the_event_loop(qtbot, lambda: viewer.layers.save(str(target)))
    assert slow.read.wait(60)
    (saving,) = under_way.values()
    window = viewer.window._qt_window
    gone = []
    window.destroyed.connect(lambda: gone.append(True))
    viewer.close()
    until(qtbot, lambda: gone)
    until(qtbot, lambda: saving.cancelled)
    slow.gate.set()
    ended(qtbot)
    assert not target.exists()
    assert (tmp_path / "a.ome.zarr.partial" / "journal").is_file()


def test_a_second_save_to_the_same_place_is_refused_meanwhile(
    filled, tmp_path, qtbot, notifications
):
    slow = SlowImage(DATA)
    filled.add_image(slow, name="slow", contrast_limits=(0, 9), **PLACED)
    slow.gate.clear()
    target = str(tmp_path / "a.ome.zarr")
    in_the_event_loop(qtbot, lambda: filled.layers.save(target))
    error = in_the_event_loop(qtbot, lambda: filled.layers.save(target))
    assert isinstance(error, NotSavedError)
    assert "already" in str(error)
    slow.gate.set()
    ended(qtbot)
    assert read_layers(target)


def test_an_open_layer_is_never_written_over(filled, tmp_path, qtbot, notifications):
    target = tmp_path / "a.ome.zarr"
    filled.layers.save(str(target))
    filled.open(str(target), plugin=PLUGIN)
    for inside in (target, target / "labels" / "x.ome.zarr"):
        with pytest.raises(NotSavedError, match="being read"):
            filled.layers.save(str(inside))
    path = str(target)
    filled.layers.selection = {filled.layers["DAPI"]}  # it does not come from there
    in_the_event_loop(qtbot, lambda: filled.layers.save(path, selected=True))
    ended(qtbot)
    until(qtbot, lambda: notifications)
    assert notifications[-1].severity == NotificationSeverity.ERROR
    assert "is being read" in notifications[-1].message


@pytest.mark.parametrize("name", ["a.ozx", "a.ome.zarr"])
def test_what_exists_is_replaced_or_kept_as_the_person_answers(
    name, filled, tmp_path, qtbot, notifications
):
    target = tmp_path / name
    write_image(DATA, target, "zyx", name="old")

    def press(text, said):
        action = dict(notifications[-1].actions)[text]
        notifications.clear()
        in_the_event_loop(qtbot, lambda: action(None))
        until(qtbot, lambda: notifications and not under_way)
        assert said in notifications[-1].message

    in_the_event_loop(qtbot, lambda: filled.layers.save(str(target)))
    until(qtbot, lambda: notifications and not under_way)
    assert "exists already (" in notifications[-1].message
    assert [o["name"] for _, o, _ in read_layers(target)] == ["old"]
    refused = notifications[-1]
    press("Save beside it", "/a-2.")
    assert len(list(tmp_path.iterdir())) == 2
    notifications.append(refused)
    press("Replace it", "Saved to")
    assert [o["name"] for _, o, _ in read_layers(target)] == ["DAPI", "GFP", "cells"]
    assert len(list(tmp_path.iterdir())) == 2


def test_without_an_event_loop_it_blocks_and_raises(filled, tmp_path):
    (path,) = filled.layers.save(str(tmp_path / "a.ome.zarr"))
    assert [name for _, name, _ in _summary(path)] == ["DAPI", "GFP", "cells"]
    (path,) = filled.layers["cells"].save(str(tmp_path / "cells.ozx"))
    assert [kind for kind, _, _ in _summary(path)] == ["labels"]
    with pytest.raises(OMEZarrError):
        filled.layers.save(path.replace("cells.ozx", "a.ome.zarr"))


def test_without_a_window_it_blocks_and_raises(tmp_path):
    model = ViewerModel()
    model.add_image(DATA, name="DAPI", **PLACED)
    model.add_vectors(np.zeros((2, 2, 3)), name="arrows")
    with pytest.raises(OMEZarrError, match="arrows is left out"):
        model.layers.save(str(tmp_path / "a.ome.zarr"))
    model.layers.selection = {model.layers["DAPI"]}
    (path,) = model.layers.save(str(tmp_path / "a.ome.zarr"), selected=True)
    assert _summary(path) == [("image", "DAPI", (2, 0.5, 0.5))]


def test_a_failure_meanwhile_is_told_without_the_text_of_others(
    filled, tmp_path, qtbot, notifications
):
    slow = SlowImage(DATA)
    filled.add_image(slow, name="slow", contrast_limits=(0, 9), **PLACED)

    def fail(_):
        raise RuntimeError("https://h/x?X-Amz-Signature=sEcReT")

    slow.array = type("Broken", (), {"__getitem__": lambda _, key: fail(key)})()
    target = tmp_path / "a.ome.zarr"
    in_the_event_loop(qtbot, lambda: filled.layers.save(str(target)))
    ended(qtbot)
    until(qtbot, lambda: notifications)
    assert "could not be read from" in notifications[-1].message
    assert "sEcReT" not in notifications[-1].message
    assert not target.exists()


def _summary(path):
    return [
        (kind, options["name"], tuple(options["scale"]))
        for _, options, kind in read_layers(path)
    ]
