"""The dock "Save as OME-Zarr…", driven by keyboard and mouse."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Layer
from napari.qt import get_current_stylesheet
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QAbstractButton, QFileDialog

import small_images
from gui_steps import PLUGIN, cut_off, every_turn, until
from napari_omezarr import add_labels, read_layers, write_image, write_layers
from napari_omezarr.demo.server import OWNER
from napari_omezarr.errors import DiskFullError
from napari_omezarr.user_files import Recents
from napari_omezarr.widgets.background_save import under_way
from napari_omezarr.widgets.browser.connection_editor import ConnectionEditor
from napari_omezarr.widgets.qt_async import pending
from napari_omezarr.widgets.save_dock import SaveDock
from napari_omezarr.widgets.save_model import SaveAction
from napari_omezarr.widgets.viewer_layers import PaintingLock
from servers.http import Bucket
from slow_image import SlowImage

DATA = np.random.default_rng(8).integers(1, 250, (3, 40, 50)).astype(np.uint8)
PLACED = {"scale": (2, 0.5, 0.5), "units": ("um",) * 3, "axis_labels": ("z", "y", "x")}
LEFT = Qt.MouseButton.LeftButton


def fill(viewer):
    """Two channels, labels, and vectors."""
    viewer.add_vectors(np.zeros((2, 2, 3)), name="arrows")
    viewer.add_image(DATA, name="DAPI", contrast_limits=(3, 99), **PLACED)
    viewer.add_image(DATA[::-1], name="GFP", colormap="green", **PLACED)
    viewer.add_labels(DATA // 90, name="cells", **PLACED)
    return viewer


@pytest.fixture
def filled():
    """A viewer's model: its window, which takes seconds, matters to few tests."""
    return fill(ViewerModel())


@pytest.fixture
def make_dock(filled, qtbot):
    """A dock beside the model, once it has looked."""

    def make():
        dock = SaveDock(filled)
        qtbot.addWidget(dock)
        dock.show()
        looked(dock, qtbot)
        return dock

    yield make
    until(qtbot, lambda: not under_way and not pending)


@pytest.fixture
def dock(make_dock):
    return make_dock()


def looked(dock, qtbot):
    until(qtbot, lambda: not dock.looking and not dock.busy)


def aim(dock, qtbot, target):
    """Type an address."""
    dock.view.target.line.clear()
    qtbot.keyClicks(dock.view.target.line, str(target))
    looked(dock, qtbot)


def press(dock, qtbot, button):
    assert not button.isHidden()
    assert button.isEnabled()
    qtbot.mouseClick(button, LEFT)
    looked(dock, qtbot)


def offered(dock):
    return {a for a, b in dock.view.target.buttons.items() if not b.isHidden()}


def texts(dock):
    layers = dock.view.layers
    return [layers.item(row).text() for row in range(layers.count())]


def toggle(dock, qtbot, row):
    """Click the box of a row."""
    layers = dock.view.layers
    box = layers.visualItemRect(layers.item(row))
    qtbot.mouseClick(
        layers.viewport(), LEFT, pos=QPoint(box.left() + 9, box.center().y())
    )
    looked(dock, qtbot)


def finest(layer):
    data = layer[0]
    return np.asarray(data[0] if isinstance(data, list) else data)


def test_points_go_with_the_image(make_dock, filled, tmp_path, qtbot):
    filled.add_points(np.ones((2, 3)), name="spots")
    dock = make_dock()
    aim(dock, qtbot, tmp_path / "a.ome.zarr")
    assert "spots → table beside the image" in texts(dock)
    qtbot.keyClick(dock.view.target.line, Qt.Key.Key_Return)
    looked(dock, qtbot)
    kinds = [kind for _, _, kind in read_layers(tmp_path / "a.ome.zarr")]
    assert kinds == ["image", "image", "labels", "points"]


def test_enter_saves_what_is_planned_and_it_opens_equal(
    viewer, tmp_path, qtbot, configuration
):
    filled, target = fill(viewer), tmp_path / "a.ome.zarr"
    dock = SaveDock(filled)
    filled.window.add_dock_widget(dock, name="save", area="right")
    aim(dock, qtbot, target)
    assert texts(dock) == [
        "cells → labels of a",
        "GFP → channel 1 of a",
        "DAPI → channel 0 of a",
        "arrows — vectors are not saved",
    ]
    assert "objects · about" in dock.view.plan.text()
    assert dock.view.target.state.text() == "✔ free"
    qtbot.keyClick(dock.view.target.line, Qt.Key.Key_Return)
    assert dock.busy
    looked(dock, qtbot)
    assert dock.view.message.text() == f"Saved to {target}."
    press(dock, qtbot, dock.view.copy)
    assert QGuiApplication.clipboard().text() == str(target)
    before = list(filled.layers)
    press(dock, qtbot, dock.view.open)
    until(qtbot, lambda: len(filled.layers) == len(before) + 3)
    for one, other in zip(list(filled.layers)[-3:], before[1:], strict=True):
        np.testing.assert_array_equal(np.asarray(one.data), other.data)
        np.testing.assert_array_equal(one.scale, other.scale)
        assert one.units == other.units
    assert Recents().entries()[0].address == str(target)
    assert json.loads((configuration / "save.json").read_text())["folder"] == str(
        tmp_path
    )


def test_the_last_choices_are_there_the_next_time(make_dock, tmp_path, qtbot):
    first = make_dock()
    first.view.form["version"].value = "0.4"
    first.view.form["name"].value = "only this one"
    aim(first, qtbot, tmp_path / "a.ome.zarr")
    press(first, qtbot, first.view.save)
    second = make_dock()
    assert second.view.form["version"].value == "0.4"
    assert second.view.form["name"].value == ""
    assert second.view.target.line.text() == f"{tmp_path}/DAPI.ome.zarr"
    assert (tmp_path / "a.ome.zarr" / ".zattrs").is_file()


def test_layers_are_chosen_by_their_boxes(dock, tmp_path, qtbot):
    aim(dock, qtbot, tmp_path / "a.ome.zarr")
    toggle(dock, qtbot, 0)
    toggle(dock, qtbot, 1)
    assert texts(dock)[:3] == ["cells", "GFP", "DAPI → image"]
    press(dock, qtbot, dock.view.save)
    assert [o["name"] for _, o, _ in read_layers(tmp_path / "a.ome.zarr")] == ["DAPI"]
    toggle(dock, qtbot, 2)
    assert "Check an image" in dock.view.plan.text()
    assert not dock.view.save.isEnabled()


def test_several_selected_layers_are_those_that_are_meant(make_dock, filled, qtbot):
    filled.layers.selection = {filled.layers["DAPI"], filled.layers["cells"]}
    dock = make_dock()
    assert [layer.name for layer in dock.view.layers.layers()] == ["DAPI", "cells"]
    filled.add_image(DATA, name="new", **PLACED)
    filled.layers["DAPI"].name = "nuclei"
    looked(dock, qtbot)
    names = [layer.name for layer in dock.view.layers.layers()]
    assert names == ["nuclei", "cells", "new"]


def test_what_exists_is_replaced_only_after_saying_what_goes(dock, tmp_path, qtbot):
    target = tmp_path / "a.ome.zarr"
    write_image(DATA, target, "zyx", name="old")
    aim(dock, qtbot, target)
    assert offered(dock) == {SaveAction.REPLACE, SaveAction.BESIDE}
    assert not dock.view.save.isEnabled()
    buttons = dock.view.target.buttons
    press(dock, qtbot, buttons[SaveAction.REPLACE])
    assert "This removes" in dock.view.target.state.text()
    press(dock, qtbot, buttons[SaveAction.KEEP])
    assert offered(dock) == {SaveAction.REPLACE, SaveAction.BESIDE}
    press(dock, qtbot, buttons[SaveAction.BESIDE])
    assert dock.view.message.text() == f"Saved to {tmp_path / 'a-2.ome.zarr'}."
    assert [o["name"] for _, o, _ in read_layers(target)] == ["old"]
    aim(dock, qtbot, target)
    press(dock, qtbot, buttons[SaveAction.REPLACE])
    press(dock, qtbot, buttons[SaveAction.CONFIRM_REPLACE])
    assert len(read_layers(target)) == 3


def test_labels_are_added_to_the_image_that_is_open(dock, filled, tmp_path, qtbot):
    target = tmp_path / "a.ome.zarr"
    write_layers([filled.layers["DAPI"]], target)
    filled.open(str(target), plugin=PLUGIN)
    looked(dock, qtbot)
    for row, text in enumerate(texts(dock)):
        if not text.startswith(("cells", "arrows")):
            toggle(dock, qtbot, row)
    aim(dock, qtbot, target)
    assert offered(dock) == {SaveAction.ADD_LABELS, SaveAction.BESIDE}
    press(dock, qtbot, dock.view.target.buttons[SaveAction.ADD_LABELS])
    kinds = [(kind, o["name"]) for _, o, kind in read_layers(target)]
    assert kinds == [("image", "DAPI"), ("labels", "cells")]
    labels_of_the_same_name(dock, filled, target, qtbot)


def test_points_go_beside_an_image_that_is_there(dock, filled, tmp_path, qtbot):
    target = tmp_path / "a.ome.zarr"
    spots = np.array([[0, 1, 2], [1, 20, 30]])
    filled.add_points(spots, name="spots", **PLACED)
    looked(dock, qtbot)
    for row, text in enumerate(texts(dock)):
        if not text.startswith(("spots", "arrows")):
            toggle(dock, qtbot, row)
    buttons = dock.view.target.buttons
    aim(dock, qtbot, tmp_path / "none.ome.zarr")
    assert "There is no image at" in dock.view.plan.text()
    assert not offered(dock)
    write_layers([filled.layers["DAPI"]], target)
    aim(dock, qtbot, target)
    assert "spots → table beside the image" in texts(dock)
    assert not dock.view.save.isEnabled()
    press(dock, qtbot, buttons[SaveAction.ADD_TABLES])
    found = {o["name"]: d for d, o, _ in read_layers(target)}
    np.testing.assert_array_equal(found["spots"], spots)

    filled.layers["spots"].data = spots + 1
    aim(dock, qtbot, target)
    assert "already: spots" in dock.view.target.state.text()
    assert offered(dock) == {SaveAction.REPLACE_TABLES, SaveAction.RENAME_TABLES}
    press(dock, qtbot, buttons[SaveAction.REPLACE_TABLES])
    found = {o["name"]: d for d, o, _ in read_layers(target)}
    np.testing.assert_array_equal(found["spots"], spots + 1)

    (row,) = (n for n, text in enumerate(texts(dock)) if text.startswith("cells"))
    toggle(dock, qtbot, row)  # labels and points at once
    aim(dock, qtbot, target)
    press(dock, qtbot, buttons[SaveAction.RENAME_LABELS])
    assert {kind for _, _, kind in read_layers(target)} == {"image", "labels", "points"}
    assert len(read_layers(target)) == 4


def labels_of_the_same_name(dock, filled, target, qtbot):
    """They are refused, added under another name, or replaced after saying so."""
    buttons = dock.view.target.buttons
    filled.layers["cells"].data = DATA // 50
    aim(dock, qtbot, target)
    assert offered(dock) == {
        SaveAction.REPLACE_LABELS,
        SaveAction.RENAME_LABELS,
        SaveAction.BESIDE,
    }
    assert "labels of this name: cells" in dock.view.target.state.text()
    assert not dock.view.save.isEnabled()
    press(dock, qtbot, buttons[SaveAction.RENAME_LABELS])
    found = {o["name"]: np.asarray(d) for d, o, _ in read_layers(target)}
    assert set(found) == {"DAPI", "cells", "cells-2"}
    np.testing.assert_array_equal(found["cells"], DATA // 90)
    np.testing.assert_array_equal(found["cells-2"], DATA // 50)
    aim(dock, qtbot, target)
    press(dock, qtbot, buttons[SaveAction.REPLACE_LABELS])
    assert "This removes the labels cells: " in dock.view.target.state.text()
    press(dock, qtbot, buttons[SaveAction.KEEP])
    press(dock, qtbot, buttons[SaveAction.REPLACE_LABELS])
    press(dock, qtbot, buttons[SaveAction.CONFIRM_LABELS])
    found = {o["name"]: np.asarray(d) for d, o, _ in read_layers(target)}
    np.testing.assert_array_equal(found["cells"], DATA // 50)


def test_adding_labels_that_broke_off_is_offered_again(dock, filled, tmp_path, qtbot):
    target = tmp_path / "a.ome.zarr"
    write_layers([filled.layers["DAPI"]], target)
    for row, text in enumerate(texts(dock)):
        if not text.startswith(("cells", "arrows")):
            toggle(dock, qtbot, row)
    cells, options, kind = filled.layers["cells"].as_layer_data_tuple()

    class Failing:
        """Fails when it is read, which is when something was begun."""

        shape, dtype, ndim = cells.shape, cells.dtype, cells.ndim

        def __getitem__(self, key):
            raise DiskFullError("no more")

    for action in (SaveAction.REMOVE_LABELS, SaveAction.RESUME_LABELS):
        with pytest.raises(DiskFullError):
            add_labels((Failing(), options, kind), target, accept_losses=True)
        aim(dock, qtbot, target)
        assert offered(dock) == {SaveAction.RESUME_LABELS, SaveAction.REMOVE_LABELS}
        press(dock, qtbot, dock.view.target.buttons[action])
        looked(dock, qtbot)
    assert [o["name"] for _, o, _ in read_layers(target)] == ["DAPI", "cells"]


@pytest.fixture
def slow(filled):
    """An image whose pixels come when its gate is opened; the first to be saved."""
    slow = SlowImage(DATA)
    filled.add_image(slow, name="slow", contrast_limits=(0, 9), **PLACED)
    filled.layers.move(len(filled.layers) - 1, 0)
    return slow


@pytest.fixture
def stuck(make_dock, slow, tmp_path, qtbot):
    """A dock that is saving, each image by itself, and waits for the slow one."""
    dock = make_dock()
    dock.view.form["merge"].value = False
    aim(dock, qtbot, tmp_path / "a.ome.zarr")
    begin(dock, qtbot, slow)
    return dock


def begin(dock, qtbot, slow):
    slow.gate.clear()
    slow.read.clear()
    qtbot.mouseClick(dock.view.save, LEFT)
    assert slow.read.wait(60)


def test_saving_leaves_the_window_free(stuck, filled, slow, tmp_path, qtbot):
    turns = []
    timer = every_turn(lambda: turns.append(1))
    until(qtbot, lambda: len(turns) > 50)
    timer.stop()
    assert stuck.busy
    assert not filled.layers["cells"].editable
    assert not (tmp_path / "a.ome.zarr").exists()
    slow.gate.set()
    looked(stuck, qtbot)
    assert filled.layers["cells"].editable
    assert len(read_layers(tmp_path / "a.ome.zarr")) >= 1


def test_a_save_is_cancelled_and_removed_or_resumed(stuck, slow, tmp_path, qtbot):
    qtbot.keyClick(stuck, Qt.Key.Key_Escape)
    assert "Stopping" in stuck.view.progress.text.text()
    slow.gate.set()
    looked(stuck, qtbot)
    assert stuck.view.message.text() == "Cancelled."
    assert offered(stuck) == {SaveAction.RESUME, SaveAction.REMOVE}
    press(stuck, qtbot, stuck.view.target.buttons[SaveAction.REMOVE])
    assert not list(tmp_path.iterdir())
    assert stuck.view.target.state.text() == "✔ free"
    begin(stuck, qtbot, slow)
    qtbot.mouseClick(stuck.view.progress.cancel, LEFT)
    slow.gate.set()
    looked(stuck, qtbot)
    press(stuck, qtbot, stuck.view.target.buttons[SaveAction.RESUME])
    assert "Saved" in stuck.view.message.text()
    first = read_layers(tmp_path / "a.ome.zarr")[0]
    np.testing.assert_array_equal(finest(first), DATA)


def test_what_would_be_lost_is_said_and_agreed_to_before(dock, filled, tmp_path, qtbot):
    filled.layers["DAPI"].rotate = (0, 0, 20)
    aim(dock, qtbot, tmp_path / "a.ome.zarr")
    assert "rotat" in dock.view.loss.text().lower()
    assert not dock.view.save.isEnabled()
    qtbot.mouseClick(dock.view.accept, LEFT, pos=QPoint(8, 8))
    press(dock, qtbot, dock.view.save)
    assert "Saved" in dock.view.message.text()


def opened_dock(source, target, qtbot):
    """A dock over the layers of an image, which are to go to a target."""
    viewer = ViewerModel()
    for layer in read_layers(source):
        viewer.add_layer(Layer.create(*layer))
    dock = SaveDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    looked(dock, qtbot)
    aim(dock, qtbot, target)
    return dock


def test_what_a_bucket_refuses_is_saved_as_empty_only_when_agreed_to(tmp_path, qtbot):
    (tmp_path / "bucket").mkdir()
    small_images.put_image(
        tmp_path / "bucket/a.ome.zarr", names="zyx", shape=(2, 16, 16), count=2
    )
    (tmp_path / "bucket/a.ome.zarr/0/c/0/1/0").unlink()
    with Bucket(tmp_path) as bucket:
        target = tmp_path / "saved.ome.zarr"
        dock = opened_dock(bucket.place("bucket/a.ome.zarr"), target, qtbot)
        assert not dock.view.refused.isVisible()
        press(dock, qtbot, dock.view.save)
        assert "nobody can tell" in dock.view.message.text()
        assert not target.exists()
        assert dock.view.refused.isVisible()
        qtbot.mouseClick(dock.view.refused, LEFT, pos=QPoint(8, 8))
        press(dock, qtbot, dock.view.target.buttons[SaveAction.RESUME])
        assert "Saved" in dock.view.message.text()
    assert not dock.view.refused.isVisible()
    saved = np.asarray(finest(read_layers(target)[0]))
    assert not saved[:, 8:, :8].any()
    assert saved[:, 8:, 8:].any()


def test_a_field_that_cannot_be_read_is_left_out_only_when_agreed_to(tmp_path, qtbot):
    small_images.put_plate(tmp_path / "p.zarr", rows=1, columns=3)
    (tmp_path / "p.zarr/A/2/0/zarr.json").write_text("{")
    target = tmp_path / "saved.ome.zarr"
    dock = opened_dock(tmp_path / "p.zarr", target, qtbot)
    assert not dock.view.accept.isVisible()
    press(dock, qtbot, dock.view.save)
    assert "A/2 cannot be shown" in dock.view.message.text()
    assert not target.exists()
    assert dock.view.accept.isVisible()
    assert not dock.view.accept.isChecked()
    assert not dock.view.refused.isVisible()
    qtbot.mouseClick(dock.view.accept, LEFT, pos=QPoint(8, 8))
    press(dock, qtbot, dock.view.target.buttons[SaveAction.RESUME])
    assert "Saved" in dock.view.message.text()
    assert not dock.view.accept.isVisible()
    saved = np.asarray(finest(read_layers(target)[0]))
    assert not saved[:, 24:48].any()
    assert saved[:, :24].any()


@pytest.mark.parametrize("kind", ["image", "points"])
def test_a_target_that_refuses_is_signed_in_to_and_saved_to(
    s3_server, s3_prefix, tmp_path, qtbot, kind
):
    viewer = ViewerModel()
    if kind == "image":
        viewer.add_image(DATA, name="DAPI")
    else:
        viewer.add_points([[1, 2, 3]], name="spots")
    write_image(DATA, tmp_path / "there.ome.zarr", "zyx")
    s3_server.upload(tmp_path, f"private/{s3_prefix}")
    name = "new.ome.zarr" if kind == "image" else "there.ome.zarr"
    dock = SaveDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    aim(dock, qtbot, f"s3+{s3_server.endpoint}/private/{s3_prefix}/{name}")
    assert not dock.view.save.isEnabled()
    assert offered(dock) == {SaveAction.SIGN_IN}
    said = dock.view.target.state.text()
    assert name in said
    assert "/." not in said.partition(name)[2]
    qtbot.mouseClick(dock.view.target.buttons[SaveAction.SIGN_IN], LEFT)
    editor = dock.findChild(ConnectionEditor)
    until(qtbot, lambda: not editor.busy)
    editor.form.access_key.value = OWNER.key
    editor.form.secret.value = OWNER.secret
    editor.save()
    until(qtbot, lambda: SaveAction.SIGN_IN not in offered(dock))
    looked(dock, qtbot)
    is_free = kind == "image"
    buttons = dock.view.target.buttons
    press(dock, qtbot, dock.view.save if is_free else buttons[SaveAction.ADD_TABLES])
    assert "Saved to " in dock.view.message.text()
    address = dock.view.target.line.address_text()
    assert OWNER.secret not in address
    assert {kind for *_, kind in read_layers(address)} == {"image", kind}


def test_a_target_that_appears_meanwhile_is_left_alone(stuck, slow, tmp_path, qtbot):
    dock, target = stuck, tmp_path / "a.ome.zarr"
    write_image(DATA, tmp_path / "rival.zarr", "zyx", name="rival")
    (tmp_path / "rival.zarr").rename(target)
    slow.gate.set()
    looked(dock, qtbot)
    assert "appeared meanwhile" in dock.view.message.text()
    assert [o["name"] for _, o, _ in read_layers(target)] == ["rival"]
    assert offered(dock) == {SaveAction.RESUME, SaveAction.REMOVE}


def test_what_fails_is_said_inside_and_can_be_mended(dock, tmp_path, qtbot):
    folder = tmp_path / "folder"
    folder.mkdir()
    aim(dock, qtbot, folder / "a.ome.zarr")
    # Somebody else did this after the place was found to be free.
    folder.rmdir()
    folder.touch()
    press(dock, qtbot, dock.view.save)
    assert "could not be written" in dock.view.message.text()
    aim(dock, qtbot, folder / "a.ome.zarr")
    assert "could not be written" in dock.view.target.state.text()
    assert not dock.view.save.isEnabled()
    aim(dock, qtbot, tmp_path / "a.ome.zarr")
    press(dock, qtbot, dock.view.save)
    assert "Saved" in dock.view.message.text()


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [("chunks", "big", "no size"), ("levels", "0", "at least 1")],
)
def test_wrong_options_are_said_and_mended(dock, tmp_path, qtbot, field, text, said):
    aim(dock, qtbot, tmp_path / "a.ome.zarr")
    dock.view.form[field].value = text
    looked(dock, qtbot)
    assert said in dock.view.plan.text()
    assert not dock.view.save.isEnabled()
    dock.view.form[field].value = "auto"
    looked(dock, qtbot)
    assert dock.view.save.isEnabled()


def test_a_folder_can_be_chosen(dock, tmp_path, qtbot):
    qtbot.mouseClick(dock.view.target.browse, LEFT)
    dialog = dock.view.target.findChild(QFileDialog)
    dialog.fileSelected.emit(str(tmp_path))
    dialog.close()
    assert dock.view.target.line.text() == f"{tmp_path}/DAPI.ome.zarr"
    dock.view.target.take_folder(f"{tmp_path}/b.zarr")
    assert dock.view.target.line.text() == f"{tmp_path}/b.zarr"
    looked(dock, qtbot)


def test_a_secret_in_the_target_is_kept_nowhere(
    dock, tmp_path, qtbot, configuration, caplog
):
    caplog.set_level(logging.DEBUG)
    secret = "sQuEaMiSh0sSiFrAgE"
    notification_manager.records.clear()
    aim(dock, qtbot, f"http://127.0.0.1:9/b/a.ome.zarr?X-Amz-Signature={secret}")
    dock.save()
    looked(dock, qtbot)
    shown = [dock.view.plan.text(), dock.view.message.text()]
    shown += [dock.view.target.state.text(), caplog.text, repr(dock._preview)]
    shown += [record.message for record in notification_manager.records]
    shown += [file.read_text() for file in configuration.rglob("*") if file.is_file()]
    assert not any(secret in text for text in shown)


def test_all_can_be_reached_by_name_and_fits_300_pixels(dock, qtbot):
    assert dock.minimumWidth() == 300
    assert dock.view._inner.minimumSizeHint().width() <= 300
    for button in dock.findChildren(QAbstractButton):
        if button.focusPolicy() & Qt.FocusPolicy.TabFocus:
            assert button.text() or button.accessibleName() or button.toolTip()
    assert dock.view.layers.accessibleName()
    assert dock.view.target.line.accessibleName()
    # More than are ever offered at a time.
    dock.setStyleSheet(get_current_stylesheet())
    dock.setFixedWidth(290)
    dock.view.target.show_state("Labels of this name are there.", SaveAction)
    assert all(button.isVisible() for button in dock.view.target.buttons.values())
    until(qtbot, lambda: not cut_off(dock))


def test_labels_that_are_lazy_or_locked_are_left_alone(filled):
    import dask.array as da

    layers = [filled.layers["DAPI"], filled.layers["cells"]]
    layers.append(filled.add_labels(da.zeros((3, 4), dtype=int), name="lazy"))
    lock = PaintingLock(layers)
    assert [layer.editable for layer in layers][1] is False
    assert layers[2].editable
    lock.release()
    assert filled.layers["cells"].editable


def test_extra_attributes_of_an_opened_image_are_kept(dock, filled, tmp_path, qtbot):
    source, target = tmp_path / "s.ome.zarr", tmp_path / "t.ome.zarr"
    write_image(DATA, source, "zyx")
    zarr.open_group(str(source)).attrs["microscope"] = {"objective": "40x"}
    for layer in list(filled.layers):
        filled.layers.remove(layer)
    filled.open(str(source), plugin=PLUGIN)
    aim(dock, qtbot, target)
    press(dock, qtbot, dock.view.save)
    attributes = zarr.open_group(str(target), mode="r").attrs
    assert attributes["microscope"] == {"objective": "40x"}
