"""The dialog "Open OME-Zarr…", driven by keyboard, clipboard and drops."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest
from napari._app_model import get_app_model
from qtpy.QtCore import QMimeData, Qt, QUrl
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QApplication, QMainWindow

from gui_steps import NAMES, drag_onto, every_turn, names, until
from napari_omezarr import _hooks
from napari_omezarr.connections import Connection, ConnectionFile, Profile
from napari_omezarr.demo.server import OWNER
from napari_omezarr.location import Location
from napari_omezarr.samples import write_cells
from napari_omezarr.user_files import Recents
from napari_omezarr.widgets.browser.connection_editor import ConnectionEditor
from napari_omezarr.widgets.browser.errors import bare_address, fitting_connection
from napari_omezarr.widgets.open_dialog import OpenDialog, show_open_dialog, wells_named
from napari_omezarr.widgets.qt_async import pending
from servers.faults import Stalled, Status
from servers.http import GuardedServer
from small_images import put_plate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_omezarr.demo.server import S3Server
    from servers.http import FileServer


@pytest.fixture
def cells(tmp_path: Path, http_server: FileServer) -> str:
    """The address of an image with two channels and labels; no suffix helps."""
    write_cells(tmp_path / "cells", shape=(2, 64, 64))
    return f"{http_server.url}/cells"


@pytest.fixture
def dialog(viewer: Any, qtbot: QtBot) -> Iterator[OpenDialog]:
    dialog = show_open_dialog(viewer)
    closed = []
    dialog.destroyed.connect(lambda: closed.append(True))
    yield dialog
    if not closed:
        dialog.close()
    until(qtbot, lambda: closed)


@contextmanager
def closing(dialog: OpenDialog, qtbot: QtBot) -> Iterator[None]:
    """Expect that the dialog closes and is deleted."""
    gone: list[bool] = []
    dialog.destroyed.connect(lambda: gone.append(True))
    yield
    until(qtbot, lambda: gone)


def own_connections() -> tuple[Connection, ...]:
    return ConnectionFile().connections()


def copy(text: str) -> None:
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    clipboard.setText(text)


def test_enter_opens_what_is_typed_and_closes(
    dialog: OpenDialog, viewer: Any, cells: str, qtbot: QtBot
) -> None:
    qtbot.keyClicks(dialog.line, cells)
    with closing(dialog, qtbot):
        qtbot.keyClick(dialog.line, Qt.Key.Key_Return)
    assert names(viewer.layers) == NAMES
    assert [entry.address for entry in Recents().entries()] == [cells]


def test_the_paste_button_takes_text_around_the_address(
    dialog: OpenDialog, viewer: Any, cells: str, qtbot: QtBot
) -> None:
    copy(f"  'The data are at <{cells}>.'  ")
    dialog.paste_button.click()
    with closing(dialog, qtbot):
        dialog.open_button.click()
    assert names(viewer.layers) == NAMES


def test_several_pasted_lines_are_several_addresses(
    dialog: OpenDialog,
    viewer: Any,
    cells: str,
    tmp_path: Path,
    qtbot: QtBot,
) -> None:
    write_cells(tmp_path / "a b.ome.zarr", shape=(2, 64, 64), version="0.4")
    copy(f"{tmp_path / 'a b.ome.zarr'}\n\n{cells}\n")
    qtbot.keyClick(dialog.line, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    with closing(dialog, qtbot):
        qtbot.keyClick(dialog.line, Qt.Key.Key_Return)
    assert sorted(names(viewer.layers)) == sorted(2 * NAMES)


def test_pasting_into_what_is_there_inserts(dialog: OpenDialog, qtbot: QtBot) -> None:
    qtbot.keyClicks(dialog.line, "s3://bucket/")
    copy("cells.zarr")
    qtbot.keyClick(dialog.line, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert dialog.line.address_text() == "s3://bucket/cells.zarr"


def test_editing_a_paste_of_several_lines_is_taken_as_typed(
    dialog: OpenDialog, qtbot: QtBot
) -> None:
    dialog.line.set_address("s3://b/a.zarr\ns3://b/b.zarr")
    assert dialog.line.address_text() == "s3://b/a.zarr\ns3://b/b.zarr"
    dialog.line.clear()
    qtbot.keyClicks(dialog.line, "s3://b/c.zarr")
    assert dialog.line.address_text() == "s3://b/c.zarr"


@pytest.mark.parametrize("kind", ["text", "link", "file"])
def test_text_and_links_can_be_dropped_on_the_line(
    dialog: OpenDialog, tmp_path: Path, kind: str
) -> None:
    address = str(tmp_path) if kind == "file" else "s3://bucket/cells.zarr"
    mime = QMimeData()
    if kind == "text":
        mime.setText(address)
    else:
        local = kind == "file"
        mime.setUrls([QUrl.fromLocalFile(address) if local else QUrl(address)])
    drag_onto(dialog.line, mime)
    assert dialog.line.address_text() == address


@pytest.mark.parametrize(
    "text", ["", "   ", "no address at all, really?!", "ftp://h/x"]
)
def test_what_is_no_address_is_said_inside(
    dialog: OpenDialog, viewer: Any, text: str, qtbot: QtBot
) -> None:
    dialog.line.setText(text)
    qtbot.keyClick(dialog.line, Qt.Key.Key_Return)
    until(qtbot, lambda: not dialog.busy)
    assert dialog.message.isVisible()
    assert dialog.message.text()
    assert not viewer.layers


def test_a_failure_is_said_inside_and_the_dialog_stays(
    dialog: OpenDialog, cells: str, http_server: FileServer, qtbot: QtBot
) -> None:
    http_server.fault("*", Status(403), forever=True)
    dialog.line.set_address(f"{cells}?signature=hush")
    dialog.open_address()
    until(qtbot, lambda: not dialog.busy)
    said = dialog.message.text()
    assert said.count(".") >= 1
    assert "hush" not in said
    assert dialog.isVisible()
    assert dialog.open_button.isEnabled()


def test_one_of_two_that_fails_does_not_stop_the_other(
    dialog: OpenDialog, viewer: Any, cells: str, qtbot: QtBot
) -> None:
    dialog.line.set_address(f"{cells}-not-there\n{cells}")
    dialog.open_address()
    until(qtbot, lambda: not dialog.busy)
    assert names(viewer.layers) == NAMES
    assert "cells-not-there" in dialog.message.text()
    assert dialog.isVisible()


def test_escape_cancels_then_closes_while_the_window_lives(
    dialog: OpenDialog, viewer: Any, cells: str, http_server: FileServer, qtbot: QtBot
) -> None:
    http_server.fault("*", Stalled())
    turns: list[None] = []
    timer = every_turn(lambda: turns.append(None))
    dialog.line.set_address(cells)
    qtbot.keyClick(dialog.line, Qt.Key.Key_Return)
    until(qtbot, lambda: bool(http_server.requests) and len(turns) > 20)
    timer.stop()
    assert dialog.busy
    assert dialog.progress.isVisible()
    assert not dialog.open_button.isEnabled()
    qtbot.keyClick(dialog.line, Qt.Key.Key_Escape)
    assert not dialog.busy
    assert dialog.isVisible()
    until(qtbot, lambda: not pending)  # though the server does not answer
    assert not viewer.layers
    with closing(dialog, qtbot):
        qtbot.keyClick(dialog.line, Qt.Key.Key_Escape)


def test_closing_gives_up(
    dialog: OpenDialog, viewer: Any, cells: str, http_server: FileServer, qtbot: QtBot
) -> None:
    http_server.fault("*", Stalled())
    dialog.line.set_address(cells)
    dialog.open_address()
    until(qtbot, lambda: http_server.requests)
    with closing(dialog, qtbot):
        dialog.close()
    until(qtbot, lambda: not pending)
    until(qtbot, lambda: not pending)
    assert not viewer.layers


@pytest.fixture
def places() -> list[str]:
    """Addresses in the recent places, newest first."""
    addresses = ["s3://lab/embryo.zarr", "https://h/Brain.zarr", "s3://lab/brain.ozx"]
    for address in reversed(addresses):
        Recents().add(Location.parse(address))
    return addresses


def shown(dialog: OpenDialog) -> list[str]:
    items = (dialog.recent.item(row) for row in range(dialog.recent.count()))
    return [item.text() for item in items if item is not None and not item.isHidden()]


def test_recent_places_narrow_as_one_types(
    places: list[str], dialog: OpenDialog, qtbot: QtBot
) -> None:
    assert shown(dialog) == places
    qtbot.keyClicks(dialog.line, "brain lab")
    assert shown(dialog) == ["s3://lab/brain.ozx"]
    dialog.line.clear()
    assert shown(dialog) == places


def test_down_and_enter_open_a_recent_place(
    cells: str, viewer: Any, qtbot: QtBot
) -> None:
    Recents().add(Location.parse(cells))
    dialog = show_open_dialog(viewer)
    dialog.line.setFocus()
    until(qtbot, dialog.line.hasFocus)
    qtbot.keyClick(dialog.line, Qt.Key.Key_Down)
    assert dialog.recent.hasFocus()
    with closing(dialog, qtbot):
        qtbot.keyClick(dialog.recent, Qt.Key.Key_Return)
    assert names(viewer.layers) == NAMES


def test_delete_forgets_a_recent_place(
    places: list[str], dialog: OpenDialog, qtbot: QtBot
) -> None:
    dialog.recent.setCurrentRow(1)
    qtbot.keyClick(dialog.recent, Qt.Key.Key_Delete)
    left = [places[0], places[2]]
    assert shown(dialog) == left
    assert [entry.address for entry in Recents().entries()] == left


def test_the_command_shows_one_dialog_for_a_window(viewer: Any, qtbot: QtBot) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    window.show()
    window.activateWindow()
    until(qtbot, lambda: QApplication.activeWindow() is window)
    _hooks.open_dialog(viewer)
    _hooks.open_dialog(viewer)
    (dialog,) = window.findChildren(OpenDialog)
    with closing(dialog, qtbot):
        dialog.close()
    _hooks.open_dialog(viewer)
    (another,) = window.findChildren(OpenDialog)
    assert another.isVisible()


def test_napari_gives_the_command_its_viewer(viewer: Any, qtbot: QtBot) -> None:
    application = get_app_model()
    application.commands.execute_command("napari-omezarr.open_dialog").result(60)
    dialogs = [w for w in QApplication.topLevelWidgets() if isinstance(w, OpenDialog)]
    assert [dialog.isVisible() for dialog in dialogs] == [True]
    with closing(dialogs[0], qtbot):
        dialogs[0].close()


def test_a_part_of_a_plate_is_chosen(
    dialog: OpenDialog, viewer: Any, tmp_path: Path, qtbot: QtBot
) -> None:
    put_plate(tmp_path / "plate.zarr", fields=2)
    dialog.line.setText(str(tmp_path / "plate.zarr"))
    dialog.plate.wells.setText("B1, b3")
    dialog.plate.fields.setCurrentText("The first")
    with closing(dialog, qtbot):
        dialog.open_address()
    assert viewer.layers[0].data[0].shape == (16, 48)
    assert wells_named(["B", "3", "C4"]) == {
        "rows": ("B",),
        "columns": ("3",),
        "wells": ("C4",),
    }


def test_a_refusal_offers_to_sign_in_and_goes_on(
    viewer: Any,
    s3_server: S3Server,
    s3_prefix: str,
    tmp_path: Path,
    qtbot: QtBot,
    notifications: list[Any],
) -> None:
    lab = tmp_path / "lab"
    for place in (lab / "a.zarr", tmp_path / "b.zarr"):
        write_cells(place, shape=(2, 64, 64))
    # An archive that has no name of one.
    with ZipFile(lab / "packed", "w") as archive:
        for file in (f for f in (tmp_path / "b.zarr").rglob("*") if f.is_file()):
            archive.write(file, file.relative_to(tmp_path))
    s3_server.upload(lab, f"private/{s3_prefix}")
    above = f"s3+{s3_server.endpoint}/private/{s3_prefix}"
    dialog = show_open_dialog(viewer)
    dialog.line.set_address(f"{above}/a.zarr\n{above}/packed|zip:b.zarr")
    assert not dialog.sign_in_button.isVisible()
    dialog.open_address()
    until(qtbot, lambda: not dialog.busy)
    assert dialog.sign_in_button.isVisible()
    dialog.sign_in_button.click()
    editor = dialog.findChild(ConnectionEditor)
    form = editor.form
    # What is known is filled in, and the cursor is where the rest goes.
    assert (form.endpoint.value, form.start.value) == (
        s3_server.endpoint,
        f"s3://private/{s3_prefix}/a.zarr",
    )
    assert form.sign_in.value == "keys"
    until(qtbot, lambda: not editor.busy)
    assert "until napari closes" in form.key_store.text()
    assert "keychain" in form.key_store.text()
    form.access_key.value, form.secret.value = OWNER.key, "wrong"
    editor.test()
    until(qtbot, lambda: not editor.busy)
    assert "✖" in editor.message.text()
    form.secret.value = OWNER.secret
    with closing(dialog, qtbot):
        editor.save()
    assert sorted(names(viewer.layers)) == sorted(2 * NAMES)
    assert "profile:private" in str(viewer.layers[0].source.path)
    assert any("until napari closes" in str(each.message) for each in notifications)
    # The next one there finds that connection, with its keys.
    again = fitting_connection(Location.parse(f"{above}/c.zarr"), own_connections())
    assert again.name == "private"
    assert again in own_connections()


def test_a_web_server_that_wants_a_token_is_signed_in_to(
    viewer: Any, tmp_path: Path, qtbot: QtBot
) -> None:
    write_cells(tmp_path / "cells.zarr", shape=(2, 64, 64))
    with GuardedServer(tmp_path, ("authorization", "Bearer hush")) as server:
        dialog = show_open_dialog(viewer)
        dialog.line.set_address(f"{server.url}/cells.zarr")
        dialog.open_address()
        until(qtbot, lambda: not dialog.busy)
        dialog.sign_in_button.click()
        editor = dialog.findChild(ConnectionEditor)
        form = editor.form
        assert form.endpoint.value == server.url
        assert form.sign_in.value == "header"
        form.header.value = "hush"
        until(qtbot, lambda: not editor.busy)
        with closing(dialog, qtbot):
            editor.save()
        assert names(viewer.layers) == NAMES


@pytest.mark.parametrize("start", ["s3+http://host:9/lab/", "https://host/lab/"])
@pytest.mark.parametrize(
    "path", ["a.zarr", "packed|zip:in/b c.zarr", "a.zip/b.zarr", "a.ozx", "x|zip:"]
)
def test_after_a_sign_in_the_place_is_the_same(start: str, path: str) -> None:
    place = Location.parse(start + path)
    again = fitting_connection(place, ()).locate(bare_address(place))
    assert again.profile
    assert replace(again, profile=None) == place


def test_a_proposed_connection_takes_no_name_that_is_taken() -> None:
    place = Location.parse("s3://lab/cells.zarr")
    ConnectionFile().save(Connection(Profile("lab", sign_in="anonymous")))
    proposed = fitting_connection(place, own_connections())
    assert proposed.name == "lab 2"
    ConnectionFile().save(proposed)
    assert fitting_connection(place, own_connections()).name == "lab 3"
    assert fitting_connection(None, own_connections()).name == ""
