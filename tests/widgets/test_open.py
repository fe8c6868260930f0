"""Opening by napari's own ways: a drop, ``viewer.open``, a sample."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.settings import get_settings
from napari.utils.notifications import NotificationSeverity, notification_manager
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QProgressDialog, QPushButton

from gui_steps import NAMES, PLUGIN, drop, every_turn, names, until
from napari_omezarr.errors import OMEZarrError, OptionError
from napari_omezarr.location import Location
from napari_omezarr.reading import Reading
from napari_omezarr.samples import write_cells
from napari_omezarr.user_files import Recents
from napari_omezarr.widgets import qt_async
from napari_omezarr.widgets.open import MOST, add_layers, open_place, tell
from napari_omezarr.widgets.open_dialog import show_open_dialog
from napari_omezarr.widgets.preferences import preferred
from napari_omezarr.widgets.qt_async import pending, put_window_first
from napari_omezarr.widgets.viewer_layers import image_address
from servers.faults import Stalled, Status
from small_images import put_image

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from servers.http import FileServer


@pytest.fixture
def cells(tmp_path: Path, http_server: FileServer) -> str:
    """The address of an image with two channels and labels."""
    write_cells(tmp_path / "cells.ome.zarr", shape=(2, 64, 64))
    return f"{http_server.url}/cells.ome.zarr"


def test_an_address_opens_as_layers(viewer: Any, cells: str) -> None:
    layers = viewer.open(cells, plugin=PLUGIN)
    assert names(layers) == names(viewer.layers) == NAMES
    assert [type(layer) for layer in layers] == [Image, Image, Labels]
    assert layers[0].source.reader_plugin == PLUGIN
    assert layers[0].metadata["omezarr"]["address"] == cells
    assert [layer.visible for layer in layers[:2]] == [True, True]


def test_other_threads_give_way_to_the_window_for_a_while(
    monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    before = 0.005
    sys.setswitchinterval(before)
    monkeypatch.setattr(qt_async, "_FIRST", 1)
    put_window_first()
    put_window_first()
    assert sys.getswitchinterval() < before
    until(qtbot, lambda: sys.getswitchinterval() == pytest.approx(before))


class Collector:
    """Python's collector of garbage, for one test alone."""

    def __init__(self) -> None:
        self.is_on = True

    def isenabled(self) -> bool:
        return self.is_on

    def disable(self) -> None:
        self.is_on = False

    def enable(self) -> None:
        self.is_on = True


@pytest.mark.parametrize("late", ["_PAINTED", "_AT_LATEST"])
def test_garbage_waits_for_the_paint_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, qtbot: QtBot, late: str
) -> None:
    collector = Collector()
    monkeypatch.setattr(qt_async, "gc", collector)
    monkeypatch.setattr(qt_async, late, 3600)
    put_window_first()
    put_window_first()
    until(qtbot, lambda: collector.is_on)


def test_the_slider_has_the_range_of_the_metadata(viewer: Any, cells: str) -> None:
    nuclei = viewer.open(cells, plugin=PLUGIN)[0]
    assert tuple(nuclei.contrast_limits) == (120, 2600)
    assert tuple(nuclei.contrast_limits_range) == (0, 4095)


def test_several_addresses_open_together(
    viewer: Any, cells: str, tmp_path: Path, http_server: FileServer
) -> None:
    write_cells(tmp_path / "more.ome.zarr", shape=(2, 64, 64), version="0.4")
    more = f"{http_server.url}/more.ome.zarr"
    layers = viewer.open([cells, more], stack=True, plugin=PLUGIN)
    assert len(layers) == 2 * len(NAMES)
    addresses = {layer.metadata["omezarr"]["address"] for layer in layers}
    assert cells in addresses
    assert more in addresses


def test_a_dropped_link_opens(
    viewer: Any, tmp_path: Path, http_server: FileServer
) -> None:
    (tmp_path / "a b").mkdir()
    write_cells(tmp_path / "a b" / "cells.ome.zarr", shape=(2, 64, 64))
    # Only ours claims a link with a query, so napari does not ask; Qt decodes its
    # path and leaves the query.
    drop(viewer, f"{http_server.url}/a%20b/cells.ome.zarr?signature=x%2Fy")
    assert names(viewer.layers) == NAMES
    assert {request.query for request in http_server.requests} == {"signature=x%2Fy"}


def test_the_place_is_remembered_without_its_signature(viewer: Any, cells: str) -> None:
    viewer.open(f"{cells}?signature=hush", plugin=PLUGIN)
    assert [entry.address for entry in Recents().entries()] == [cells]
    # napari shows a layer's source when one points at it in the layer list.
    found = [layer.source.path for layer in viewer.layers]
    assert found == [cells, cells, f"{cells}/labels/nuclei"]
    assert "hush" not in repr([layer.source for layer in viewer.layers])
    assert {layer.source.reader_plugin for layer in viewer.layers} == {PLUGIN}


def test_without_a_window_there_are_plain_layers(
    cells: str, qapp: QApplication
) -> None:
    layers = ViewerModel().open(cells, plugin=PLUGIN)
    assert names(layers) == NAMES


def test_no_pixel_is_waited_for(
    viewer: Any, cells: str, http_server: FileServer
) -> None:
    http_server.fault("*/c/*", Stalled(), forever=True)
    assert names(viewer.open(cells, plugin=PLUGIN)) == NAMES
    http_server.clear()


def test_the_window_lives_while_a_server_stalls(
    viewer: Any, cells: str, http_server: FileServer
) -> None:
    http_server.fault("*", Stalled())
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if http_server.requests and turns >= 50:
            http_server.release()

    timer = every_turn(turn)
    layers = viewer.open(cells, plugin=PLUGIN)
    timer.stop()
    assert turns >= 50
    assert names(layers) == NAMES


def test_a_stalled_opening_can_be_cancelled(
    viewer: Any, cells: str, http_server: FileServer, told: list[Any], qtbot: QtBot
) -> None:
    http_server.fault("*", Stalled(), forever=True)

    def cancel() -> None:
        for widget in QApplication.topLevelWidgets():
            if isinstance(widget, QProgressDialog) and widget.isVisible():
                assert "cells.ome.zarr" in widget.labelText()
                widget.findChild(QPushButton).click()

    timer = every_turn(cancel)
    layers = viewer.open(cells, plugin=PLUGIN)
    timer.stop()
    assert layers == []
    assert not viewer.layers
    # Layers of tests before may still say that their server has gone.
    host = http_server.url.removeprefix("http://")
    assert [each for each in told if host in each.message] == []
    until(qtbot, lambda: not pending)  # though the server does not answer


def test_a_failure_is_raised_and_told_once(
    viewer: Any, cells: str, http_server: FileServer, told: list[Any], qtbot: QtBot
) -> None:
    http_server.fault("*", Status(403), forever=True)
    with pytest.raises(OMEZarrError) as raised:
        viewer.open(cells, plugin=PLUGIN)
    until(qtbot, lambda: told)
    assert [record.message for record in told] == [str(raised.value)]
    assert told[0].severity == NotificationSeverity.ERROR
    assert Recents().entries() == ()


def test_a_failure_that_napari_has_shown_is_not_shown_again(
    viewer: Any, http_server: FileServer, told: list[Any], qtbot: QtBot
) -> None:
    address = f"{http_server.url}/cells.ozx"  # claimed by no other reader
    with pytest.raises(ValueError, match=r"cells\.ozx") as raised:
        drop(viewer, address)
    # What napari's hook does with an error that leaves an event handler.
    notification_manager.receive_error(raised.type, raised.value, raised.tb)
    cause = raised.value.original_error
    assert isinstance(cause, OMEZarrError)
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1

    timer = every_turn(turn)
    until(qtbot, lambda: turns > 5)
    timer.stop()
    assert [cause.sentence in record.message for record in told] == [True]


def test_what_is_no_address_is_explained_too(
    viewer: Any, told: list[Any], qtbot: QtBot
) -> None:
    with pytest.raises(OMEZarrError) as raised:
        viewer.open("https://:bad/a.zarr", plugin=PLUGIN)
    until(qtbot, lambda: told)
    assert [record.message for record in told] == [str(raised.value)]


def test_warnings_come_in_one_notification(
    viewer: Any, tmp_path: Path, told: list[Any]
) -> None:
    folder = tmp_path / "labelled.ome.zarr"
    write_cells(folder, shape=(2, 64, 64))
    listed = folder / "labels" / "zarr.json"
    listed.write_text(listed.read_text().replace('"nuclei"', '"nuclei", "lost"'))
    assert names(viewer.open(folder, plugin=PLUGIN)) == NAMES
    assert [record.severity for record in told] == [NotificationSeverity.WARNING]
    assert "lost" in told[0].message


def reading(*, notes: tuple[str, ...] = (), warnings: tuple[str, ...] = ()) -> Reading:
    return Reading(Location.parse("s3://bucket/a.zarr"), (), warnings, notes)


def test_a_note_is_told_once_and_a_warning_each_time(told: list[Any]) -> None:
    same = reading(notes=("Read without signing in there.",))
    tell([same, same])
    tell([same])
    assert [record.severity for record in told] == [NotificationSeverity.INFO]
    for _ in range(2):
        tell([reading(warnings=("A level is missing.",))])
    assert [record.message for record in told[1:]] == ["A level is missing."] * 2


def test_many_warnings_are_counted(told: list[Any]) -> None:
    tell([reading(warnings=tuple(f"Level {n} is odd." for n in range(MOST + 3)))])
    lines = told[0].message.splitlines()
    assert lines[0] == "Level 0 is odd."
    assert len(lines) == MOST + 1
    assert "3 more" in lines[-1]


def test_under_a_running_event_loop_the_layers_are_returned_too(
    viewer: Any, cells: str, qtbot: QtBot
) -> None:
    returned: list[Any] = []
    QTimer.singleShot(0, lambda: returned.extend(viewer.open(cells, plugin=PLUGIN)))
    until(qtbot, lambda: returned)
    assert names(returned) == NAMES


def test_the_computed_sample_opens(viewer: Any) -> None:
    layers = viewer.open_sample(PLUGIN, "epithelium")
    assert names(layers) == NAMES


def test_a_folder_opens_from_a_script_without_an_event_loop(
    viewer: Any, tmp_path: Path
) -> None:
    write_cells(tmp_path / "cells.ome.zarr", shape=(2, 64, 64))
    assert names(viewer.open(tmp_path / "cells.ome.zarr", plugin=PLUGIN)) == NAMES
    assert sys.modules["napari"].current_viewer() is viewer


def put_images(folder: Path) -> None:
    """A store that is no image, with two images of two channels each."""
    for name in ("left", "right"):
        write_cells(folder / "images" / name, shape=(2, 64, 64))
    for group in (folder, folder / "images"):
        (group / ".zgroup").write_text('{"zarr_format": 2}')


def test_the_images_of_a_store_are_offered(
    viewer: Any, tmp_path: Path, qtbot: QtBot
) -> None:
    put_images(tmp_path / "sd.zarr")
    assert viewer.open(str(tmp_path / "sd.zarr"), plugin=PLUGIN) == []
    dialog = show_open_dialog(viewer)
    assert [dialog.images.item(row).text() for row in range(2)] == [
        "images/left",
        "images/right",
    ]
    assert "holds 2 images" in dialog.message.text()
    dialog.images.selectAll()
    dialog.open_button.click()
    until(qtbot, lambda: len(viewer.layers) == 2 * len(NAMES))


def test_what_was_offered_is_forgotten_when_another_address_is_typed(
    viewer: Any, tmp_path: Path, cells: str, qtbot: QtBot
) -> None:
    put_images(tmp_path / "sd.zarr")
    dialog = show_open_dialog(viewer)
    dialog.line.set_address(str(tmp_path / "sd.zarr"))
    dialog.open_button.click()
    until(qtbot, lambda: dialog.images.count())
    assert not dialog.images.isHidden()
    dialog.line.set_address(cells)
    assert dialog.images.isHidden()
    dialog.open_button.click()
    until(qtbot, lambda: names(viewer.layers) == NAMES)


# What is asked of ``viewer.open`` beside the address.


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"name": "mine"}, lambda layer: layer.name.startswith("mine")),
        ({"scale": (5, 3, 3)}, lambda layer: tuple(layer.scale) == (5, 3, 3)),
        ({"translate": (1, 2, 3)}, lambda layer: tuple(layer.translate) == (1, 2, 3)),
        ({"visible": False}, lambda layer: not layer.visible),
        ({"opacity": 0.25}, lambda layer: layer.opacity == 0.25),
        ({"blending": "opaque"}, lambda layer: layer.blending == "opaque"),
        ({"affine": np.diag([2, 2, 2, 1])}, lambda layer: layer.affine.scale[0] == 2),
        ({"metadata": {"a": 1}}, lambda layer: layer.metadata["a"] == 1),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_of_layers_are_honoured(
    viewer: Any, cells: str, asked: Any, found: Any
) -> None:
    layers = viewer.open(cells, plugin=PLUGIN, **asked)
    assert [type(layer) for layer in layers] == [Image, Image, Labels]
    assert all(found(layer) for layer in layers)
    assert {image_address(layer) for layer in layers} == {cells}


def test_looks_of_images_are_not_those_of_labels(viewer: Any, cells: str) -> None:
    looks = {"colormap": "red", "contrast_limits": (3, 5000), "gamma": 0.5}
    first, second, labels = viewer.open(cells, plugin=PLUGIN, **looks)
    for image in (first, second):
        assert image.colormap.name == "red"
        assert tuple(image.contrast_limits) == (3, 5000)
        assert image.gamma == 0.5
    assert isinstance(labels, Labels)


def test_images_open_as_labels_and_labels_as_images(viewer: Any, cells: str) -> None:
    layers = viewer.open(cells, plugin=PLUGIN, layer_type="labels", opacity=0.5)
    assert [type(layer) for layer in layers] == [Labels] * 3
    assert [layer.opacity for layer in layers] == [0.5] * 3
    assert names(layers) == NAMES
    viewer.layers.clear()
    layers = viewer.open(cells, plugin=PLUGIN, layer_type="image", colormap="red")
    assert [type(layer) for layer in layers] == [Image] * 3
    assert {layer.colormap.name for layer in layers} == {"red"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"layer_type": "points"}, "holds images and labels and no points"),
        ({"channel_axis": 0}, "Each channel is a layer of its own"),
        ({"rgb": True}, "rgb=True does not go"),
        ({"multiscale": True}, "multiscale=True does not go"),
        ({"colormap": "no such"}, "napari does not make the layer"),
        ({"nonsense": 3, "layer_type": "image"}, "napari does not make the layer"),
        ({"affine": np.zeros((3, 3))}, "cannot lie where|napari does not make"),
        ({"scale": (1, float("nan"))}, "cannot lie where"),
        ({"translate": (0, float("inf"))}, "cannot lie where"),
        ({"contrast_limits": (0, float("inf"))}, "no number that can be shown"),
        ({"opacity": "x"}, "no number that can be shown"),
        ({"gamma": None}, "no number that can be shown"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_go_is_refused_in_words(
    viewer: Any, tmp_path: Path, asked: Any, words: str
) -> None:
    put_image(tmp_path / "a.ome.zarr", names="yx", shape=(16, 24), count=1)
    with pytest.raises(Exception, match=words):
        viewer.open(str(tmp_path / "a.ome.zarr"), plugin=PLUGIN, **asked)
    assert not viewer.layers


def test_fractions_are_no_labels(viewer: Any, tmp_path: Path) -> None:
    options = {"names": "yx", "shape": (16, 24), "count": 1, "dtype": np.float32}
    put_image(tmp_path / "a.ome.zarr", **options)
    with pytest.raises(OptionError, match="which are no labels"):
        viewer.open(str(tmp_path / "a.ome.zarr"), plugin=PLUGIN, layer_type="labels")


def test_layers_know_their_source_at_every_door(
    viewer: Any,
    cells: str,
    tmp_path: Path,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    viewer.open(cells, plugin=PLUGIN)
    dialog = show_open_dialog(viewer)
    dialog.line.set_address(cells)
    dialog.open_button.click()
    until(qtbot, lambda: len(viewer.layers) == 2 * len(NAMES))
    add_layers(viewer, open_place(Location.parse(cells)))
    sources = {
        (layer.source.path, layer.source.reader_plugin) for layer in viewer.layers
    }
    assert sources == {(cells, PLUGIN)}
    viewer.layers.clear()
    put_image(tmp_path / "a.ome.zarr", names="yx", shape=(16, 24), count=1)
    add_layers(viewer, open_place(Location.parse(tmp_path / "a.ome.zarr")))
    assert viewer.layers[0].source.path == str(tmp_path / "a.ome.zarr")
    # Else napari asks which reader is meant, and waits for the answer.
    choices = get_settings().plugins
    monkeypatch.setattr(choices, "extension2reader", preferred({}))
    drop(viewer, f"file://{tmp_path}/a.ome.zarr")
    assert viewer.layers[1].source.path == str(tmp_path / "a.ome.zarr")
