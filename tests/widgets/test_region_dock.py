"""The dock "OME-Zarr region", as people use it: a box, a cost, new layers."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from gated_pixels import Gate, GatedPixels
from gui_steps import PLUGIN, until
from napari_omezarr.display import wait_until_sharp
from napari_omezarr.errors import ServerError
from napari_omezarr.plain_text import BY, bytes_text, lengths_text
from napari_omezarr.pyramid import to_dask
from napari_omezarr.widgets.region_box import BOX_NAME, companions, unit_factors
from napari_omezarr.widgets.region_dock import RegionDock
from small_images import put_image, put_labels

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from servers.http import FileServer

SHAPE = (4, 40, 60)
LARGE = 10**6
BUTTON = Qt.MouseButton


@pytest.fixture
def far(viewer: Any, tmp_path: Path, http_server: FileServer) -> list[np.ndarray]:
    """A remote image of two channels and labels, open in the viewer; its levels."""
    path = tmp_path / "cells.zarr"
    levels = put_image(path, shape=(2, 6, 32, 48), chunks=(1, 2, 8, 8))
    put_labels(path, cells=np.arange(6 * 32 * 48, dtype="u2").reshape(6, 32, 48) % 7)
    viewer.open(f"{http_server.url}/cells.zarr", plugin=PLUGIN)
    for layer in viewer.layers:
        layer.visible = True
        assert wait_until_sharp(layer)
    viewer.layers.selection.active = viewer.layers["marker 0"]
    http_server.clear()
    return levels


@pytest.fixture
def dock(viewer: Any) -> RegionDock:
    dock = RegionDock(viewer)
    viewer.window.add_dock_widget(dock, name="OME-Zarr region")
    return dock


@pytest.fixture
def gate() -> Gate:
    return Gate()


def numbers(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.arange(np.prod(shape), dtype="u2").reshape(shape)


def gated(gate: Gate, shape: tuple[int, ...] = SHAPE) -> Image:
    """A layer whose pixels arrive when the gate lets them; napari shows none."""
    pixels = GatedPixels(numbers(shape), (1, 20, 20), gate)
    return Image(to_dask(pixels), contrast_limits=(0, 9000), visible=False)


def settled(qtbot: QtBot, dock: RegionDock) -> str:
    """What the dock says when a load has ended."""
    until(qtbot, lambda: not dock.busy)
    return str(dock.form.message.text())


def test_a_region_of_all_layers_of_an_image(
    far: list[np.ndarray],
    viewer: Any,
    dock: RegionDock,
    qtbot: QtBot,
    http_server: FileServer,
) -> None:
    form = dock.form
    assert form.layer.value is viewer.layers["marker 0"]
    assert [choice.name for choice in form.layer.choices] == [
        layer.name for layer in reversed(viewer.layers)
    ]
    assert form.together.text() == "with 2 more visible layers of it"
    assert form.level.choices == (0, 1, 2)
    form.level.value = 1
    form.set_edges([(0, (1, 5)), (1, (3, 17)), (2, (16, 48))])
    # Chunks of 2 x 8 x 8; labels of 6 x 8 x 8.
    assert form.cost.text() == f"3 layers of 4{BY}8{BY}16 · 3.07 kB · 28 requests"
    before = list(viewer.layers)
    form.load.click()
    assert dock.busy
    dock.load()
    assert settled(qtbot, dock) == "Loaded."
    assert len({request.path for request in http_server.requests}) == 28
    assert len(http_server.requests) == 28

    found = [layer for layer in viewer.layers if layer not in before]
    assert len(found) == len(before) == 3
    for old, new in zip(before, found, strict=True):
        check_region(old, new)
    # A region belongs to no image; what it was cut from stays together, though we
    # have hidden it.
    assert companions(found[0], viewer.layers) == []
    assert form.layer.value is before[0]
    assert form.together.text() == "with 2 more visible layers of it"
    form.together.value = False
    assert form.cost.text() == f"4{BY}8{BY}16 · 1.02 kB · 12 requests"


def check_region(old: Image | Labels, new: Image | Labels) -> None:
    """Compare with 1:5, 1:9, 8:24 of level 1 of the layer that it was cut from."""
    assert type(new) is type(old)
    assert new.name == f"{old.name} region"
    assert new.visible
    assert not old.visible
    assert isinstance(new.data, np.ndarray)
    assert not new.multiscale
    np.testing.assert_array_equal(new.data, np.asarray(old.data[1])[1:5, 1:9, 8:24])
    np.testing.assert_allclose(new.scale, np.asarray(old.scale) * (1, 2, 2))
    np.testing.assert_allclose(
        new.data_to_world((0, -0.5, -0.5)), old.data_to_world((1, 1.5, 15.5))
    )
    assert new.units == old.units
    place = {"level": 1, "start": [1, 1, 8], "shape": [4, 8, 16]}
    assert new.metadata["omezarr"]["region"] == place
    if isinstance(new, Image):
        assert new.colormap.name == old.colormap.name
        assert new.contrast_limits == old.contrast_limits
        assert new.contrast_limits_range == old.contrast_limits_range


def test_only_the_one_layer_and_originals_that_stay(
    far: list[np.ndarray], viewer: Any, dock: RegionDock, qtbot: QtBot
) -> None:
    dock.form.layer.value = viewer.layers["marker 1"]
    dock.form.together.value = False
    dock.form.hide.value = False
    dock.use_whole()
    assert dock.form.edges() == ((0, 6), (0, 32), (0, 48))
    # The finest level that is no larger than a volume may be in 3-D.
    assert dock.form.level.value == 0
    dock.load()
    settled(qtbot, dock)
    (new,) = (layer for layer in viewer.layers if layer.name == "marker 1 region")
    np.testing.assert_array_equal(new.data, far[0][1])
    assert viewer.layers["marker 1"].visible


def test_progress_then_cancel_by_key(
    viewer: Any, dock: RegionDock, qtbot: QtBot, gate: Gate
) -> None:
    viewer.add_layer(gated(gate))
    dock.load()
    form = dock.form
    assert not form.cancel.isHidden()
    assert form.load.isHidden()
    gate.wait_for(lambda: len(gate.waiting) == 24)
    gate.release(*list(gate.waiting)[:6])
    until(qtbot, lambda: form.progress.value() == 25)
    qtbot.keyClick(dock, Qt.Key.Key_Escape)
    assert settled(qtbot, dock) == "Cancelled."
    gate.wait_for(lambda: sum(gate.cancelled.values()) == 18)
    assert len(viewer.layers) == 1
    assert form.cancel.isHidden()
    # Nothing is under way: the key is anybody's.
    qtbot.keyClick(dock, Qt.Key.Key_Escape)
    gate.open()
    form.load.click()
    assert settled(qtbot, dock) == "Loaded."
    np.testing.assert_array_equal(viewer.layers[-1].data, numbers())


class Failing:
    """An array of another library, whose reads fail."""

    shape = SHAPE
    dtype = np.dtype("u2")
    ndim = 3

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getitem__(self, key: object) -> np.ndarray:
        raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ServerError("The server failed.", action="Try again."),
            "✖ The server failed. Try again.",
        ),
        (OSError("https://far.example/?token=abc"), "could not be read (OSError)"),
        (MemoryError(), "✖ There is not enough memory for this region."),
    ],
)
def test_what_fails_is_said_in_the_dock(
    viewer: Any, dock: RegionDock, qtbot: QtBot, error: BaseException, said: str
) -> None:
    viewer.add_layer(
        Image(Failing(error), contrast_limits=(0, 1), visible=False, rgb=False)
    )
    dock.load()
    message = settled(qtbot, dock)
    assert said in message
    assert "abc" not in message
    assert len(viewer.layers) == 1


def test_a_region_that_memory_cannot_hold(viewer: Any, dock: RegionDock) -> None:
    huge = da.zeros((LARGE, LARGE, LARGE), chunks=LARGE // 10, dtype="u1")
    small = da.zeros((1, 2, 2), dtype="u1")
    options = {"contrast_limits": (0, 1), "visible": False, "multiscale": True}
    viewer.add_layer(Image([huge, small], **options))
    form = dock.form
    # As it is too large for 3-D, the coarsest level is proposed.
    assert form.level.value == 1
    assert form.load.text() == "&Load as new layer"
    form.level.value = 0
    dock.use_whole()
    assert form.cost.text().endswith("· 1e+06 TB · 1,000 requests")
    assert form.warning.text().startswith("⚠ This takes 1e+06 TB of memory.")
    assert form.load.text() == "&Load it anyway"
    dock.load()
    assert not dock.busy
    assert form.message.text().startswith("There is not enough memory")


def test_with_no_image_there_is_nothing_to_set(viewer: Any, dock: RegionDock) -> None:
    form = dock.form
    for act in (dock.load, dock.use_view, dock.use_whole, dock.cancel):
        act()
    form.draw.click()
    assert not viewer.layers
    assert form.cost.text() == "Open an image to cut a region from."
    assert not form.load.isEnabled()
    viewer.add_points([(0, 0)])
    assert not form.load.isEnabled()
    layer = viewer.add_image(numbers((30, 40)))
    assert form.load.isEnabled()
    assert form.layer.value is layer
    layer.name = "renamed"
    assert form.layer.currentText() == "renamed"
    assert form.together.isHidden()
    viewer.layers.remove(layer)
    assert not form.load.isEnabled()
    assert len(form.axes) == 0


def test_it_begins_with_the_active_layer(far: list[np.ndarray], viewer: Any) -> None:
    for layer in viewer.layers:
        viewer.layers.selection.active = layer
        assert RegionDock(viewer).form.layer.value is layer
    own = viewer.add_labels(np.ones((5, 5), "u1"))
    viewer.layers.selection.active = own
    assert RegionDock(viewer).form.layer.value is own
    assert companions(own, viewer.layers) == []


def test_a_range_is_typed(viewer: Any, dock: RegionDock, qtbot: QtBot) -> None:
    viewer.add_image(numbers())
    for field, text in zip(dock.form.axes[1].pixels, ("12", "31"), strict=True):
        assert field.focusPolicy() & Qt.FocusPolicy.TabFocus
        field.selectAll()
        qtbot.keyClicks(field, text)
        qtbot.keyClick(field, Qt.Key.Key_Return)
    assert dock.form.edges() == ((0, 4), (12, 31), (0, 60))
    assert dock.form.cost.text().startswith(f"4{BY}19{BY}60 · ")


def test_layers_of_another_reader(viewer: Any, dock: RegionDock, qtbot: QtBot) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (12, 16, 3), "u1")
    viewer.add_image(colours, rgb=True, scale=(2, 3), metadata={"mine": 1})
    dock.form.set_edges([(0, (2.4, 7)), (1, (-3, 1))])
    assert dock.form.edges() == ((2, 7), (0, 1))
    dock.load()
    settled(qtbot, dock)
    new = viewer.layers[-1]
    assert new.rgb
    np.testing.assert_array_equal(new.data, colours[2:7, 0:1])
    np.testing.assert_array_equal(new.translate, (4, 0))
    assert new.metadata["mine"] == 1
    assert new.metadata["region"]["start"] == [2, 0, 0]
    assert companions(new, viewer.layers) == []


def test_labels_that_the_box_does_not_meet_are_left_out(
    far: list[np.ndarray], viewer: Any, dock: RegionDock
) -> None:
    (labels,) = (layer for layer in viewer.layers if isinstance(layer, Labels))
    labels.translate = (0, 1000, 0)
    dock.use_whole()
    assert dock.form.together.text() == "with 2 more visible layers of it"
    assert dock.form.cost.text().startswith("2 layers of ")


# The box in the viewer


def drag(viewer: Any, qtbot: QtBot, *path: tuple[float, float]) -> None:
    """Press at the first of some points of the world, and let go at the last."""
    native = viewer.window._qt_viewer.canvas.native
    camera, middle = viewer.scene.camera, native.rect().center()

    def send(kind: Any, point: tuple[float, float], button: Any, held: Any) -> None:
        row, column = (np.asarray(point) - camera.center[-2:]) * camera.zoom
        at = QPointF(middle) + QPointF(column, row)
        there = native.mapToGlobal(at)
        keys = Qt.KeyboardModifier.NoModifier
        QApplication.sendEvent(native, QMouseEvent(kind, at, there, button, held, keys))

    def arrives(point: tuple[float, float], held: Any) -> bool:
        # The canvas lets a move fall that comes less than 10 ms after another.
        send(QEvent.Type.MouseMove, point, BUTTON.NoButton, held)
        return np.allclose(viewer.cursor.position[-2:], point, atol=1 / camera.zoom)

    until(qtbot, lambda: arrives(path[0], BUTTON.NoButton))
    send(QEvent.Type.MouseButtonPress, path[0], BUTTON.LeftButton, BUTTON.LeftButton)
    for point in path[1:]:
        until(qtbot, partial(arrives, point, BUTTON.LeftButton))
    send(QEvent.Type.MouseButtonRelease, path[-1], BUTTON.LeftButton, BUTTON.NoButton)


def test_a_box_is_drawn_then_moved_with_the_mouse(
    viewer: Any, dock: RegionDock, qtbot: QtBot
) -> None:
    layer = viewer.add_image(numbers(), scale=(1, 0.5, 0.5), translate=(0, 7, -3))
    viewer.window._qt_window.resize(900, 700)
    viewer.show()
    with qtbot.waitExposed(viewer.window._qt_window, timeout=60_000):
        pass
    viewer.fit_to_view()
    form = dock.form
    form.draw.click()
    frame = viewer.layers[BOX_NAME]
    assert frame.mode == "add_rectangle"
    # The world of pixels' edges: 7 + 0.5 * (pixel - 0.5).
    drag(viewer, qtbot, (11.75, 1.75), (17, 9), (21.75, 16.75))
    until(qtbot, lambda: frame.mode == "select")
    assert form.edges() == ((0, 4), (10, 30), (10, 40))
    assert frame.nshapes == 1
    # Drawn again by the sliders, with one more pixel.
    form.axes[2].value = (10, 41)
    np.testing.assert_array_equal(frame.data[0][:, 2], [9.5, 9.5, 40.5, 40.5])
    frame.selected_data = {0}
    drag(viewer, qtbot, (16.75, 9.25), (15, 8), (14.25, 7.25))
    until(qtbot, lambda: form.edges() == ((0, 4), (5, 25), (6, 37)))
    layer.visible = False
    dock.load()
    settled(qtbot, dock)
    assert BOX_NAME not in viewer.layers
    assert not form.draw.isChecked()
    np.testing.assert_array_equal(viewer.layers[-1].data, numbers()[:, 5:25, 6:37])


def test_the_box_follows_the_slice_and_the_view(viewer: Any, dock: RegionDock) -> None:
    layer = viewer.add_image(numbers(), rotate=30, scale=(1, 2, 2))
    dock.form.set_edges([(0, (1, 3)), (1, (4, 20)), (2, (8, 30))])
    dock.form.draw.setChecked(True)
    frame = viewer.layers[BOX_NAME]
    found = {}
    for plane in range(4):
        viewer.dims.set_point(0, plane)
        found[plane] = len(frame.data)
    assert found == {0: 0, 1: 1, 2: 1, 3: 0}
    np.testing.assert_allclose(
        frame.data_to_world((1, 3.5, 7.5)), layer.data_to_world((1, 3.5, 7.5))
    )
    viewer.dims.ndisplay = 3
    assert frame.mode == "pan_zoom"
    corners = np.concatenate(frame.data)
    assert len(frame.data) == 6
    np.testing.assert_array_equal(corners.min(axis=0), (0.5, 3.5, 7.5))
    np.testing.assert_array_equal(corners.max(axis=0), (2.5, 19.5, 29.5))
    # What somebody does to it in 3-D is no box.
    frame.events.data(value=frame.data, action="changed", data_indices=(0,))
    dock.box._take()
    assert dock.form.edges() == ((1, 3), (4, 20), (8, 30))
    viewer.dims.ndisplay = 2
    assert frame.mode == "add_rectangle"
    viewer.dims.set_point(0, 1)
    viewer.layers.remove(viewer.add_points([(0, 0, 0)]))
    assert dock.box.is_shown
    viewer.layers.remove(frame)
    assert not dock.form.draw.isChecked()
    assert not dock.box.is_shown
    dock.box._take()
    viewer.dims.set_point(0, 2)


def test_the_box_is_seen_however_far_it_is(viewer: Any, dock: RegionDock) -> None:
    viewer.add_image(numbers(), scale=(1, 2, 2))
    viewer.scene.camera.zoom = 0.01
    dock.form.draw.setChecked(True)
    # Three pixels of the canvas.
    assert viewer.layers[BOX_NAME].edge_width == pytest.approx([150])


def test_the_box_goes_with_the_dock_and_with_its_image(
    viewer: Any, dock: RegionDock, qtbot: QtBot
) -> None:
    viewer.show()
    first = viewer.add_image(numbers())
    second = viewer.add_image(numbers())
    dock.form.layer.value = first
    dock.form.draw.setChecked(True)
    assert BOX_NAME in viewer.layers
    dock.form.layer.value = second
    assert BOX_NAME not in viewer.layers
    dock.form.draw.setChecked(True)
    edges = dock.form.edges()
    viewer.window._qt_window.removeDockWidget(dock.parent())
    dock.hide()
    assert BOX_NAME not in viewer.layers
    assert dock.form.edges() == edges


def test_a_dock_that_is_closed_while_it_loads(
    viewer: Any, dock: RegionDock, qtbot: QtBot, gate: Gate
) -> None:
    viewer.add_layer(gated(gate))
    dock.load()
    gate.wait_for(lambda: len(gate.waiting) == 24)
    notification_manager.records.clear()
    with qtbot.waitSignal(dock.destroyed, timeout=60_000):
        viewer.window.remove_dock_widget(dock)
        dock.deleteLater()
    # The bridge to the GUI thread finds out, so that this must run.
    until(qtbot, lambda: sum(gate.cancelled.values()) == 24)
    del dock
    gc.collect()
    viewer.add_image(numbers())
    assert notification_manager.records == []


def test_the_box_of_the_view(viewer: Any, dock: RegionDock) -> None:
    viewer.add_layer(Image(numbers((3, 4, 40, 60)), axis_labels="tzyx"))
    viewer.dims.set_point(0, 1)
    viewer.show()
    viewer.window._qt_window.resize(900, 700)
    viewer.scene.camera.center = (20, 30)
    size = np.asarray(viewer.canvas.size)
    viewer.scene.camera.zoom = size.max() / 20
    dock.use_view()
    reach = 10 * size / size.max()
    rows, columns = (
        (int(np.floor(middle - half)), int(np.ceil(middle + half)))
        for middle, half in zip((20.5, 30.5), reach, strict=True)
    )
    # Of time what is shown, of z all.
    assert dock.form.edges() == ((1, 2), (0, 4), rows, columns)
    viewer.dims.ndisplay = 3
    dock.use_view()
    assert dock.form.edges() == ((1, 2), (0, 4), (0, 40), (0, 60))
    viewer.dims.ndisplay = 2
    viewer.scene.camera.center = (2000, 3000)
    dock.use_view()
    assert dock.form.edges() == ((1, 2), (0, 4), (0, 40), (0, 60))


# In words


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (5_412_345, "5.41 MB"),
        (999_600_000, "1 GB"),
        (2.5e15, "2.5e+03 TB"),
    ],
)
def test_sizes_in_words(count: float, said: str) -> None:
    assert bytes_text(count) == said


def test_lengths_in_words() -> None:
    layer = Image(np.zeros((2, 2, 2, 2)), units=("s", "mm", "mm", "nm"))
    said = lengths_text((2, -0.5, 0.36, 1.25), layer.units)
    assert said == f"2 s, 0.5{BY}0.36 mm, 1.25 nm"


def test_units_are_converted_where_they_can_be() -> None:
    micro = Image(np.zeros((2, 2, 2)), units=("um", "um", "um")).units
    nano = Image(np.zeros((2, 2)), units=("nm", "pixel")).units
    np.testing.assert_allclose(unit_factors(micro, nano), (1000, 1))
