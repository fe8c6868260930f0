"""What the tests of the browser dock do again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtTest import QAbstractItemModelTester

from gui_steps import until
from napari_omezarr.widgets.browser.browser import Browser
from napari_omezarr.widgets.qt_async import pending

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot
    from qtpy.QtCore import QAbstractItemModel, QModelIndex


def shown_browser(qtbot: QtBot, viewer: Any = None) -> Browser:
    """A browser on the screen, as narrow as a dock may be."""
    browser = Browser(viewer)
    qtbot.addWidget(browser)
    browser.resize(300, 700)
    with qtbot.waitExposed(browser, timeout=60_000):
        browser.show()
    return browser


def settled(qtbot: QtBot, browser: Browser) -> None:
    """Wait until rows are there and everything visible was looked at."""
    until(qtbot, lambda: not pending and not browser.tree.settling)


def quiet(qtbot: QtBot) -> None:
    """Wait until nothing is under way, also of browsers that are gone."""
    until(qtbot, lambda: not pending)


def said(qtbot: QtBot, browser: Browser) -> tuple[str, str]:
    """The sentence of the error bar, when there is one, and the text of its button."""
    until(qtbot, browser.errors.isVisible)
    return browser.errors.sentence.text(), browser.errors.button.text()


def rows(browser: Browser, parent: QModelIndex | None = None) -> list[str]:
    """The names of rows."""
    model = browser.tree.rows
    above = [parent] if parent is not None else []
    count = model.rowCount(*above)
    return [model.index(row, 0, *above).data() for row in range(count)]


def row(browser: Browser, name: str) -> QModelIndex:
    """A row of the place that is shown."""
    index = browser.tree.rows.index(rows(browser).index(name))
    assert index.isValid()
    return index


def go(qtbot: QtBot, browser: Browser, address: str) -> None:
    """Go to an address, as by a paste, and wait for its rows."""
    browser.navigation.go_to_pasted(address)
    settled(qtbot, browser)


def check_always(model: QAbstractItemModel) -> None:
    """Let Qt check a model whenever it changes; pytest-qt fails what it warns of."""
    # The mode that it has of itself tells only a test that Qt runs.
    warning = QAbstractItemModelTester.FailureReportingMode.Warning
    # It goes with the model: one that nobody keeps is deleted at once.
    tester = QAbstractItemModelTester(model, warning, model)
    # It would ask for rows in the middle of what it is told.
    tester.setUseFetchMore(False)
