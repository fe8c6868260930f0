"""Several rows at once, the path in parts, folders, names, deleting, transfers."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import QItemSelectionModel, Qt
from qtpy.QtWidgets import QApplication

from browser_steps import go, row, rows, settled, shown_browser
from gui_steps import until
from napari_omezarr.location import Location
from napari_omezarr.widgets.browser.forms import DeleteForm, NameForm
from napari_omezarr.widgets.browser.header import PathBar, parts_of
from napari_omezarr.widgets.qt_async import pending
from napari_omezarr.widgets.transfers import TransferState, transfers
from servers.faults import Stalled
from servers.http import FileServer
from small_images import put_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_omezarr.widgets.browser.browser import Browser

KEYS = Qt.Key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.zarr", "b.zarr"):
        put_image(tmp_path / "lab" / name, "0.5")
    (tmp_path / "lab" / "old").mkdir()
    return tmp_path / "lab"


@pytest.fixture
def browser(qtbot: QtBot, folder: Path) -> Iterator[Browser]:
    browser = shown_browser(qtbot)
    go(qtbot, browser, str(folder))
    yield browser
    browser.stop()
    until(qtbot, lambda: not pending)


def choose(browser: Browser, *names: str) -> None:
    flag = QItemSelectionModel.SelectionFlag
    browser.tree.choose(row(browser, names[0]))
    for name in names[1:]:
        browser.tree.selectionModel().select(row(browser, name), flag.Select)


def form(browser: Browser, kind: type[Any]) -> Any:
    return browser.findChildren(kind)[-1]


def test_several_rows_are_copied_opened_and_downloaded(
    browser: Browser, qtbot: QtBot, folder: Path, tmp_path: Path
) -> None:
    choose(browser, "a.zarr", "b.zarr")
    asked = []
    browser.row_actions.open_wanted.connect(asked.append)
    browser.row_actions.open.trigger()
    assert [request.location.name for request in asked] == ["a.zarr", "b.zarr"]
    browser.row_actions.copies[0].trigger()
    lines = QApplication.clipboard().text().splitlines()
    assert [line.rpartition("/")[2] for line in lines] == ["a.zarr", "b.zarr"]
    browser.row_actions._download_into(str(tmp_path / "down"))
    until(qtbot, lambda: not transfers().busy)
    found = sorted(path.name for path in (tmp_path / "down").iterdir())
    assert found == ["a.zarr", "b.zarr"]
    assert browser.transfers.isVisible()
    assert [each.bar.value() for each in browser.transfers.rows] == [1000, 1000]


def test_a_folder_is_made_renamed_and_deleted_after_a_count(
    browser: Browser, qtbot: QtBot, folder: Path
) -> None:
    browser.tree.clearSelection()
    browser.tree.setCurrentIndex(row(browser, "old"))
    browser.row_actions.new_folder.trigger()
    made: NameForm = form(browser, NameForm)
    made.name.value = "new"
    qtbot.keyClick(made.name, KEYS.Key_Return)
    until(qtbot, lambda: (folder / "old" / "new").is_dir())
    settled(qtbot, browser)
    browser.tree.choose(row(browser, "old"))
    qtbot.keyClick(browser.tree, KEYS.Key_F2)
    renamed: NameForm = form(browser, NameForm)
    renamed.name.value = "b.zarr"
    renamed.ok_button.click()
    until(qtbot, lambda: not renamed.busy)
    assert "already" in renamed.message.text()
    renamed.name.value = "kept"
    renamed.ok_button.click()
    until(qtbot, lambda: (folder / "kept").is_dir() and not pending)
    settled(qtbot, browser)
    assert "kept" in rows(browser)
    choose(browser, "a.zarr", "b.zarr")
    qtbot.keyClick(browser.tree, KEYS.Key_Delete)
    asked: DeleteForm = form(browser, DeleteForm)
    until(qtbot, lambda: not asked.busy)
    assert asked.message.text().startswith("Delete a.zarr, b.zarr: ")
    assert asked.message.text().endswith("? This cannot be undone.")
    # Enter and Escape delete nothing.
    assert asked.cancel_button.isDefault()
    asked.delete_button.click()
    until(qtbot, lambda: not pending)
    settled(qtbot, browser)
    assert rows(browser) == ["kept"]


def test_what_is_open_is_not_deleted(viewer: Any, qtbot: QtBot, folder: Path) -> None:
    viewer.open(str(folder / "a.zarr"), plugin="napari-omezarr")
    browser = shown_browser(qtbot, viewer)
    go(qtbot, browser, str(folder))
    browser.tree.choose(row(browser, "a.zarr"))
    browser.row_actions.delete.trigger()
    asked: DeleteForm = form(browser, DeleteForm)
    until(qtbot, lambda: not asked.busy)
    # It is not asked about first, and then refused.
    assert "is open in napari" in asked.message.text()
    assert not asked.delete_button.isEnabled()
    assert (folder / "a.zarr").is_dir()
    browser.stop()


def test_the_path_is_clicked_part_by_part(
    browser: Browser, qtbot: QtBot, folder: Path
) -> None:
    path = browser.header.path
    assert path.buttons[-1].isVisible()
    # Tab goes through the parts from left to right, though they were made last.
    around = [path.more, *path.buttons]
    for here, after in pairwise(around):
        assert here.nextInFocusChain() is after
    assert path.more.isVisible()
    path.buttons[-2].click()
    settled(qtbot, browser)
    assert rows(browser) == ["lab"]
    # The row that leads back down is chosen.
    until(qtbot, lambda: browser.tree.entry is not None)
    assert browser.tree.entry.name == "lab"
    names = [action.text() for action in path.more.menu().actions()]
    assert names[0] == "/"


def test_parts_of_a_bucket_and_of_a_long_name(qtbot: QtBot) -> None:
    place = Location.parse(f"s3://bucket/{'long' * 30}/a&b/c.zarr")
    assert [part.name for part in parts_of(place)][2:] == ["a&b", "c.zarr"]
    assert parts_of(place)[0].root == "bucket"
    bar = PathBar()
    qtbot.addWidget(bar)
    bar.resize(300, 24)
    bar.show_place(place)
    bar.show()
    shown = [button for button in bar.buttons if button.isVisible()]
    assert shown[-1].text() == "c.zarr /"
    assert shown[-2].text() == "a&&b /"
    assert sum(button.width() for button in shown) <= 300
    bar.show_place(Location.parse("/data"))
    assert [button.text() for button in bar.buttons] == ["/", "data /"]


def test_a_transfer_is_paused_and_outlives_the_dock(
    qtbot: QtBot, folder: Path, tmp_path: Path
) -> None:
    with FileServer(folder) as server:
        source = Location.parse(f"{server.url}/a.zarr")
        server.fault("*/c/*", Stalled(), forever=True)
        transfer = transfers().add(source, Location.parse(tmp_path / "a.zarr"))
        browser = shown_browser(qtbot)
        (shown,) = browser.transfers.rows
        assert "a.zarr" in shown.name.text()
        qtbot.mouseClick(shown.go, Qt.MouseButton.LeftButton)
        assert transfer.state is TransferState.PAUSED
        assert shown.go.toolTip() == "Resume"
        server.clear()
        server.release()
        transfers().resume(transfer)
        browser.close()
        until(qtbot, lambda: transfer.state is TransferState.DONE)
    assert (tmp_path / "a.zarr" / "zarr.json").is_file()
    other = shown_browser(qtbot)
    (shown,) = other.transfers.rows
    assert shown.text.text().startswith("Copied ")
    qtbot.mouseClick(shown.remove, Qt.MouseButton.LeftButton)
    assert other.transfers.isHidden()


def test_one_that_fails_says_why_and_is_tried_again(
    qtbot: QtBot, tmp_path: Path
) -> None:
    browser = shown_browser(qtbot)
    source = Location.parse(tmp_path / "none.zarr")
    transfer = transfers().add(source, Location.parse(tmp_path / "copy.zarr"))
    until(qtbot, lambda: transfer.state is TransferState.FAILED)
    assert transfer.text.startswith("✖ ")
    (shown,) = browser.transfers.rows
    until(qtbot, lambda: shown.reason.text() == transfer.text)
    # All of it is read without a tooltip.
    needed = shown.reason.heightForWidth
    until(qtbot, lambda: shown.reason.height() >= needed(shown.reason.width()))
    assert not shown.text.isVisible()
    put_image(tmp_path / "none.zarr", "0.5")
    qtbot.mouseClick(shown.go, Qt.MouseButton.LeftButton)
    until(qtbot, lambda: transfer.state is TransferState.DONE)
    until(qtbot, lambda: shown.text.isVisible() and not shown.reason.isVisible())


def test_two_run_at_a_time(qtbot: QtBot, folder: Path, tmp_path: Path) -> None:
    with FileServer(folder) as server:
        server.fault("*", Stalled(), forever=True)
        source = Location.parse(f"{server.url}/a.zarr")
        found = [
            transfers().add(source, Location.parse(tmp_path / f"{number}.zarr"))
            for number in range(3)
        ]
        states = [transfer.state.value for transfer in found]
        assert states == ["running", "running", "waiting"]
        found[0].pause()
        assert found[2].state is TransferState.RUNNING
        for transfer in found:
            transfers().remove(transfer)
        server.clear()
        server.release()
    until(qtbot, lambda: not pending)
