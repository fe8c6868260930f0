"""The first hour of somebody who is new here, in the real viewer, in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from browser_steps import rows, settled
from gui_steps import PLUGIN, until
from napari_omezarr.demo.server import OWNER
from napari_omezarr.display import wait_until_sharp
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.widgets.browser.browser import Browser
from napari_omezarr.widgets.browser.connection_editor import ConnectionEditor
from napari_omezarr.widgets.qt_async import pending
from napari_omezarr.widgets.region_dock import RegionDock
from napari_omezarr.widgets.save_dock import SaveDock
from napari_omezarr.widgets.sessions import read_session, session_of, write_session
from small_images import put_image, put_labels

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QLineEdit

    from napari_omezarr.demo.server import S3Server

KEYS = Qt.Key
SHAPE = (4, 32, 48)
"""z, y, x of an image of two channels, with labels."""


def docked(viewer: Any, kind: type[Any], name: str) -> Any:
    dock = kind(viewer)
    viewer.window.add_dock_widget(dock, name=name)
    return dock


# All of it is one walk: what comes later needs what was done before.
@pytest.mark.timeout(600, method="thread")
def test_the_first_hour(
    viewer: Any,
    qtbot: QtBot,
    s3_server: S3Server,
    s3_prefix: str,
    tmp_path: Path,
) -> None:
    put_image(tmp_path / "lab" / "film.zarr", shape=(2, *SHAPE))
    put_labels(tmp_path / "lab" / "film.zarr", cells=np.ones(SHAPE, "u2"))
    s3_server.upload(tmp_path / "lab", f"private/{s3_prefix}")
    viewer.show()
    browser = docked(viewer, Browser, "browser")
    address = f"s3+{s3_server.endpoint}/private/{s3_prefix}"
    paste_a_wrong_address(qtbot, browser)
    sign_in_where_it_is_needed(qtbot, browser, address, s3_server.endpoint)
    open_and_play(qtbot, browser, viewer)
    (first, *_) = session_of(viewer)[0].layers
    assert "profile:Lab" in first.address  # named, not contained
    paint_write_back_and_undo(qtbot, viewer)
    save_and_open_again(qtbot, viewer, tmp_path / "mine.ome.zarr")
    keep_the_session(qtbot, viewer, tmp_path / "hour.omezarr.json")
    browser.stop()
    until(qtbot, lambda: not pending)


def paste_a_wrong_address(qtbot: QtBot, browser: Browser) -> None:
    bar = browser.header.address
    paste(qtbot, bar, "ftp://nowhere.invalid/a.zarr")
    qtbot.keyClick(bar, KEYS.Key_Return)
    until(qtbot, lambda: browser.errors.isVisible() and not pending)
    assert browser.errors.button.text() == "Type an address"


def paste(qtbot: QtBot, line: QLineEdit, text: str) -> None:
    """Put a text in the place of what a line holds, as people do."""
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    clipboard.setText(text)
    qtbot.keyClick(line, KEYS.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(line, KEYS.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert line.text() == text


def sign_in_where_it_is_needed(
    qtbot: QtBot, browser: Browser, address: str, endpoint: str
) -> None:
    paste(qtbot, browser.header.address, address)
    qtbot.keyClick(browser.header.address, KEYS.Key_Return)
    until(qtbot, lambda: browser.errors.button.text() == "Sign in…" and not pending)
    browser.errors.button.click()
    editor = browser.findChildren(ConnectionEditor)[-1]
    form = editor.form
    assert form.endpoint.value == endpoint
    form.name.value, form.sign_in.value = "Lab", "keys"
    form.access_key.value, form.secret.value = OWNER.key, OWNER.secret
    until(qtbot, lambda: not editor.busy)
    editor.test()
    until(qtbot, lambda: not editor.busy)
    marks = [line[0] for line in editor.message.text().splitlines()]
    assert marks[:4] == ["✔"] * 4  # reaches, lists, reads, writes
    editor.save()
    until(qtbot, lambda: rows(browser) == ["film.zarr"])
    settled(qtbot, browser)


def open_and_play(qtbot: QtBot, browser: Browser, viewer: Any) -> None:
    qtbot.keyClick(browser.tree, KEYS.Key_Down)
    assert browser.tree.entry.name == "film.zarr"
    qtbot.keyClick(browser.tree, KEYS.Key_Return)
    until(qtbot, lambda: len(viewer.layers) == 3 and not pending)
    viewer.dims.set_current_step(0, 0)
    player = viewer.window._qt_viewer.dims
    player.play(0, fps=10, loop_mode="once")
    until(qtbot, lambda: viewer.dims.current_step[0] != 0)
    player.stop()
    until(qtbot, lambda: not player.is_playing)
    # napari leaves frames out where it is too slow.
    for step in range(SHAPE[0]):
        viewer.dims.set_current_step(0, step)
        assert all(wait_until_sharp(layer) for layer in viewer.layers)


def paint_write_back_and_undo(qtbot: QtBot, viewer: Any) -> None:
    (labels,) = (layer for layer in viewer.layers if isinstance(layer, Labels))
    region = docked(viewer, RegionDock, "region")
    region.form.layer.value = labels
    region.form.together.value = False
    region.form.level.value = 0
    region.use_whole()
    region.load()
    until(qtbot, lambda: not region.busy)
    painted = viewer.layers[-1]
    painted.brush_size, painted.n_edit_dimensions = 1, 2
    for y, x in np.ndindex(4, 4):
        painted.paint((0, y, x), 7)
    viewer.layers.selection.active = painted
    place = Location.parse(str(labels.metadata["omezarr"]["place"]))

    def press(name: str) -> None:
        panel = region.edits
        until(qtbot, lambda: name in [button.text() for button in panel.buttons])
        next(each for each in panel.buttons if each.text() == name).click()
        until(qtbot, lambda: not pending and panel.text.text()[-1] != "…")

    def stored() -> int:
        (layer,) = read_layers(place)
        return int((np.asarray(layer[0][0]) == 7).sum())

    press("&Write back…")
    assert stored() == 0
    press("&Write them")
    assert stored() == 16
    press("&Undo")
    assert stored() == 0
    viewer.layers.remove(painted)
    for layer in viewer.layers:
        layer.visible = True


def save_and_open_again(qtbot: QtBot, viewer: Any, target: Path) -> None:
    save = docked(viewer, SaveDock, "save")
    save.view.target.line.set_address(str(target))
    until(qtbot, lambda: save.view.save.isEnabled())
    save.view.save.click()
    until(qtbot, lambda: not save.busy)
    assert save.view.message.text().startswith("Saved to")
    viewer.layers.clear()
    save.view.open.click()
    until(qtbot, lambda: len(viewer.layers) == 3 and not pending)


def keep_the_session(qtbot: QtBot, viewer: Any, session: Path) -> None:
    viewer.layers[0].gamma = 0.6
    write_session(viewer, str(session))
    before = session_of(viewer)[0]
    viewer.layers.clear()
    read_session(viewer, str(session))
    until(qtbot, lambda: len(viewer.layers) == 3 and not pending)
    assert session_of(viewer)[0] == before
    assert viewer.layers[0].source.reader_plugin == PLUGIN
    assert OWNER.secret not in session.read_text()
