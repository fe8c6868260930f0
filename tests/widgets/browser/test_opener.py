"""Opening from the browser dock: rows, parts of rows, choices; without a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QItemSelectionModel, Qt

from browser_steps import go, quiet, row, rows, settled, shown_browser
from gui_steps import until
from napari_omezarr.location import Location
from napari_omezarr.user_files import Recents
from napari_omezarr.widgets.browser.forms import OpenForm, find_choices
from napari_omezarr.widgets.browser.opener import MANY
from napari_omezarr.widgets.qt_async import pending
from napari_omezarr.widgets.sessions import copy_view
from servers.faults import Stalled, Status
from servers.http import FileServer
from small_images import pixels, put_image, put_labels, put_series

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_omezarr.widgets.browser.browser import Browser

KEYS = Qt.Key
LEFT = Qt.MouseButton.LeftButton
CHANNELS = MANY + 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    put_image(folder / "embryo.zarr", "0.5")
    put_labels(folder / "embryo.zarr", "0.5", cells=pixels((4, 16, 24)))
    put_image(folder / "many.zarr", shape=(CHANNELS, 2, 8, 8), count=1)
    put_series(folder / "series.zarr", "0.4", count=2)
    return folder


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def browser(qtbot: QtBot, folder: Path, viewer: ViewerModel) -> Iterator[Browser]:
    browser = shown_browser(qtbot, viewer)
    go(qtbot, browser, str(folder))
    yield browser
    quiet(qtbot)


def open_form(qtbot: QtBot, browser: Browser) -> OpenForm:
    """The form, when it is there."""
    until(qtbot, lambda: browser.findChildren(OpenForm))
    (form,) = browser.findChildren(OpenForm)
    assert isinstance(form, OpenForm)
    return form


def press_open(form: OpenForm) -> None:
    form.open_button.click()


def test_enter_opens_an_image_with_its_labels(
    browser: Browser, qtbot: QtBot, viewer: ViewerModel, folder: Path
) -> None:
    browser.tree.choose(row(browser, "embryo.zarr"))
    qtbot.keyClick(browser.tree, KEYS.Key_Return)
    assert browser.status.label.text() == "Opening embryo.zarr …"
    until(qtbot, lambda: len(viewer.layers) == 3)
    assert isinstance(viewer.layers[-1], Labels)
    address = str(folder / "embryo.zarr")
    assert [entry.address for entry in Recents().entries()] == [address]
    assert address in browser.navigation.known_places.addresses()
    settled(qtbot, browser)
    assert not browser.status.cancel.isVisible()


def test_a_pasted_view_is_shown_and_the_line_says_again_where_one_is(
    browser: Browser, qtbot: QtBot, viewer: ViewerModel, folder: Path
) -> None:
    browser.tree.choose(row(browser, "embryo.zarr"))
    qtbot.keyClick(browser.tree, KEYS.Key_Return)
    until(qtbot, lambda: len(viewer.layers) == 3)
    address = copy_view(viewer)
    viewer.layers.clear()
    bar = browser.header.address
    damaged = "napari-omezarr://view/nothing"
    bar.setText(damaged)
    qtbot.keyClick(bar, KEYS.Key_Return)
    # It stays, to be mended.
    assert bar.text() == damaged
    assert browser.errors.isVisible()
    bar.setText(address)
    qtbot.keyClick(bar, KEYS.Key_Return)
    assert bar.text() == str(folder)
    until(qtbot, lambda: len(viewer.layers) == 3 and not pending)


def test_enter_opens_all_rows_that_are_chosen(
    browser: Browser, qtbot: QtBot, viewer: ViewerModel
) -> None:
    browser.tree.choose(row(browser, "embryo.zarr"))
    qtbot.keyClick(browser.tree, KEYS.Key_A, Qt.KeyboardModifier.ControlModifier)
    browser.tree.selectionModel().select(
        row(browser, "many.zarr"), QItemSelectionModel.SelectionFlag.Deselect
    )
    qtbot.keyClick(browser.tree, KEYS.Key_Return)
    assert set(browser.opener.names) == {"embryo.zarr", "series.zarr"}
    until(qtbot, lambda: not browser.opener.names)
    assert len(viewer.layers) > 3


def test_a_double_click_opens_and_a_click_does_not(
    browser: Browser, qtbot: QtBot, viewer: ViewerModel
) -> None:
    row_key = browser.tree.visualRect(row(browser, "series.zarr")).center()
    viewport = browser.tree.viewport()
    qtbot.mouseClick(viewport, LEFT, pos=row_key)
    assert not browser.opener.names
    qtbot.mouseDClick(viewport, LEFT, pos=row_key)
    until(qtbot, lambda: len(viewer.layers) >= 2)


def test_labels_only_and_one_level(
    browser: Browser, qtbot: QtBot, viewer: ViewerModel
) -> None:
    image = row(browser, "embryo.zarr")
    browser.tree.choose(image)
    browser.row_actions.labels.trigger()
    until(qtbot, lambda: len(viewer.layers) == 1)
    assert isinstance(viewer.layers[0], Labels)
    viewer.layers.clear()
    browser.tree.expand(image)
    settled(qtbot, browser)
    levels = browser.tree.rows.index(0, 0, image)
    browser.tree.expand(levels)
    settled(qtbot, browser)
    browser.tree.choose(browser.tree.rows.index(1, 0, levels))
    qtbot.keyClick(browser.tree, KEYS.Key_Return)
    until(qtbot, lambda: len(viewer.layers) == 2)
    assert {layer.data.shape for layer in viewer.layers} == {(4, 8, 12)}
    # What has no labels says so, and opens nothing.
    browser.tree.choose(row(browser, "many.zarr"))
    browser.row_actions.labels.trigger()
    until(qtbot, lambda: browser.errors.isVisible())
    assert "has no labels" in browser.errors.sentence.text()
    assert not browser.errors.button.isVisible()


def test_open_lets_one_choose_channels_labels_and_level(
    browser: Browser, qtbot: QtBot, viewer: ViewerModel
) -> None:
    browser.tree.choose(row(browser, "embryo.zarr"))
    browser.row_actions.choose.trigger()
    form = open_form(qtbot, browser)
    assert not form.isModal()
    texts = [form.level.itemText(number) for number in range(form.level.count())]
    assert texts[0] == "all, as they are needed"
    assert texts[2].startswith("1 · 2")
    names = [form.channels.item(number).text() for number in range(2)]
    assert names == ["marker 0", "marker 1"]
    form.channels.item(0).setCheckState(Qt.CheckState.Unchecked)
    form.labels.item(0).setCheckState(Qt.CheckState.Unchecked)
    form.level.setCurrentIndex(2)
    press_open(form)
    until(qtbot, lambda: len(viewer.layers) == 1)
    assert viewer.layers[0].name.startswith("marker 1")
    assert viewer.layers[0].data.shape == (4, 8, 12)


def test_many_channels_are_asked_about(
    browser: Browser, qtbot: QtBot, viewer: ViewerModel
) -> None:
    browser.tree.choose(row(browser, "many.zarr"))
    browser.buttons.open_button.click()
    form = open_form(qtbot, browser)
    assert not viewer.layers
    assert form.message.text() == f"⚠ This makes {CHANNELS} layers."
    form.none_button.click()
    assert not form.open_button.isEnabled()
    form.channels.item(1).setCheckState(Qt.CheckState.Checked)
    assert not form.message.isVisible()
    form.none_button.click()
    form.none_button.click()
    press_open(form)
    until(qtbot, lambda: len(viewer.layers) == CHANNELS)


def test_one_image_of_a_series(folder: Path, qtbot: QtBot) -> None:
    form = OpenForm(find_choices(Location.parse(folder / "series.zarr")))
    qtbot.addWidget(form)
    names = [form.series.itemText(number) for number in range(form.series.count())]
    assert names == ["all", "0 · scan 0", "1 · scan 1"]
    form.series.setCurrentIndex(2)
    assert form.request().options.series == "1"
    assert form.request().channels is None
    label = OpenForm(find_choices(Location.parse(folder / "embryo.zarr/labels/cells")))
    qtbot.addWidget(label)
    assert not label.request().labels_only


def test_what_fails_is_said_and_what_lasts_is_cancelled(
    qtbot: QtBot, folder: Path, viewer: ViewerModel
) -> None:
    browser = shown_browser(qtbot, viewer)
    with FileServer(folder) as server:
        go(qtbot, browser, f"{server.url}/embryo.zarr")
        assert rows(browser) == ["embryo.zarr"]
        server.fault("*", Status(403), forever=True)
        qtbot.keyClick(browser.tree, KEYS.Key_Return)
        until(qtbot, lambda: browser.errors.isVisible())
        browser.row_actions.choose.trigger()
        settled(qtbot, browser)
        assert not browser.findChildren(OpenForm)
        server.clear()
        server.fault("*", Stalled(), forever=True)
        browser.row_actions.region.trigger()
        browser.row_actions.choose.trigger()
        until(qtbot, lambda: len(server.requests) >= 2)
        assert browser.status.cancel.isVisible()
        qtbot.mouseClick(browser.status.cancel, LEFT)
        assert not browser.opener.names
        assert not browser.status.cancel.isVisible()
        server.clear()
        settled(qtbot, browser)
    assert not viewer.layers


def test_without_a_viewer_nothing_opens(qtbot: QtBot, folder: Path) -> None:
    browser = shown_browser(qtbot)
    go(qtbot, browser, str(folder / "embryo.zarr"))
    qtbot.keyClick(browser.tree, KEYS.Key_Return)
    assert not browser.opener.names
    quiet(qtbot)
