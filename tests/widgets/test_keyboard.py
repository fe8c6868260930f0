"""Every form by keyboard alone: names for screen readers, Tab, focus seen, Escape."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from napari.qt import get_current_stylesheet
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QGridLayout,
    QLabel,
    QLayout,
    QLayoutItem,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from browser_steps import go, quiet, row, settled, shown_browser
from closing_forms import NAMES, every_form
from gui_steps import cut_off, until
from napari_omezarr.samples import write_cells
from napari_omezarr.widgets.browser.controls import MINIMUM_WIDTH
from napari_omezarr.widgets.fields import (
    FlowingRow,
    FocusRing,
    Folded,
    tab_as_laid_out,
)
from napari_omezarr.widgets.qt_async import pending

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

ROW = 12
"""Pixels that the middles of what stands in one row may lie above each other."""
NO_WORDS = " …▾▸✕↵←↑⟳⚙"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "cells.ome.zarr"
    write_cells(path, shape=(4, 64, 64))
    return path


@pytest.fixture(params=[*NAMES, "rows"])
def form(
    request: pytest.FixtureRequest, qtbot: QtBot, image: Path
) -> Iterator[QWidget]:
    owner = QWidget()
    qtbot.addWidget(owner)
    if request.param == "rows":
        browser = shown_browser(qtbot)
        go(qtbot, browser, str(image.parent))
        browser.tree.choose(row(browser, image.name))
        until(qtbot, lambda: not browser.details.busy)
        settled(qtbot, browser)
        yield browser
        quiet(qtbot)
        return
    form = every_form(image)[request.param](owner)
    owner.show()
    with qtbot.waitExposed(form.window()):
        form.show()
    until(qtbot, lambda: not pending)
    yield form
    if isalive(form) and isinstance(form, QDialog):
        form.reject()
    until(qtbot, lambda: not pending)


def stops(form: QWidget) -> list[QWidget]:
    """What Tab goes to."""
    return [
        widget
        for widget in form.findChildren(QWidget)
        if widget.focusPolicy() & Qt.FocusPolicy.TabFocus
        and widget.isVisible()
        and widget.isEnabled()
        and widget.window() is form.window()
        and widget.focusProxy() is None
        and not isinstance(widget.parentWidget(), QAbstractSpinBox | QComboBox)
    ]


def is_seen(widget: QWidget) -> bool:
    """Say whether a widget has a size; a form may have to be scrolled to it."""
    return min(widget.width(), widget.height()) > 2


def name_of(widget: QWidget) -> str:
    """What a screen reader says: the name, the text, or the label beside."""
    if widget.accessibleName():
        return widget.accessibleName()
    if isinstance(widget, QAbstractButton):
        return widget.text()
    for label in widget.window().findChildren(QLabel):
        buddy = label.buddy()
        while buddy is not None:
            if buddy is widget:
                return label.text()
            buddy = buddy.focusProxy()
    return ""


# One test for each form, which takes longer to make than to walk through.


def test_a_form_works_by_keyboard_alone(form: QWidget, qtbot: QtBot) -> None:
    tab_reaches_all(form, qtbot)
    folded = [part for part in form.findChildren(Folded) if not part.isExpanded()]
    for part in folded:
        part.expand(animate=False)
    if folded:
        until(qtbot, lambda: all(is_seen(each) for each in stops(form)))
        tab_reaches_all(form, qtbot)
    all_have_names(form)
    form.window().setStyleSheet(get_current_stylesheet())
    form.resize(MINIMUM_WIDTH, form.height())
    until(qtbot, lambda: not cut_off(form))
    if isinstance(form, QDialog):
        form.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        qtbot.keyClick(form, Qt.Key.Key_Escape)
        assert not form.isVisible()
        form.deleteLater()
    assert form.minimumSizeHint().width() <= MINIMUM_WIDTH


def all_have_names(form: QWidget) -> None:
    nameless = [w for w in stops(form) if not name_of(w).strip(NO_WORDS)]
    assert not [(type(w).__name__, w.toolTip()) for w in nameless]


def tab_reaches_all(form: QWidget, qtbot: QtBot) -> None:
    form.window().activateWindow()
    until(qtbot, form.isActiveWindow)
    wanted = stops(form)
    wanted[0].setFocus()
    reached: list[QWidget] = []
    for _ in range(len(wanted) + 3):
        now = QApplication.focusWidget()
        assert now is not None
        if now in reached:
            break
        reached.append(now)
        (ring,) = (r for r in now.children() if isinstance(r, FocusRing))
        assert ring.isVisible()
        assert ring.geometry() == now.rect()
        assert is_seen(now), name_of(now)
        qtbot.keyClick(now, Qt.Key.Key_Tab)
    # As one reads, with one way back to the top; what scrolls comes before its content.
    places = [w.mapTo(form, w.rect().center()).y() for w in reached]
    pairs = zip(reached, [*reached[1:], reached[0]], strict=True)
    at = dict(zip(reached, places, strict=True))
    back = [
        name_of(here)
        for here, after in pairs
        if at[after] < at[here] - ROW and not here.isAncestorOf(after)
    ]
    assert len(back) <= 1, back
    missed = [w for w in wanted if w not in reached and w.isVisible()]
    assert not [(type(w).__name__, name_of(w)) for w in missed]
    rings = [r for r in form.findChildren(FocusRing) if r.isVisible()]
    assert len(rings) == 1


def test_what_unfolds_shows_which_way(qtbot: QtBot) -> None:
    part = Folded("More")
    qtbot.addWidget(part)
    assert part.text() == "▸ More"
    part.expand(animate=False)
    assert part.text() == "▾ More"


def test_the_order_of_tab_is_found_without_keeping_an_item_of_a_layout(
    qtbot: QtBot,
) -> None:
    """Such an item would outlive its widget in PySide, and be taken for what is new."""
    owner, grid, row = QWidget(), QGridLayout(), FlowingRow()
    qtbot.addWidget(owner)
    column = QVBoxLayout(owner)
    fields = [QLineEdit(str(number), owner) for number in range(6)]
    column.addWidget(fields[0])
    column.addLayout(grid)
    column.addStretch()
    # What is made first may lie below what is made later.
    for number, cell in ((3, (1, 0)), (1, (0, 0)), (2, (0, 1))):
        grid.addWidget(fields[number], *cell)
    column.addLayout(row)
    row.addWidget(fields[4])
    column.addWidget(fields[5])
    known = layout_items()
    tab_as_laid_out(owner)
    assert layout_items() == known
    stops, now = [], fields[0]
    while now not in stops:
        stops.append(now)
        now = now.nextInFocusChain()
    assert [stop for stop in stops if stop in fields] == fields


def layout_items() -> list[int]:
    """The items of layouts that Python holds, but layouts themselves."""
    gc.collect()
    found = [each for each in gc.get_objects() if isinstance(each, QLayoutItem)]
    return sorted(id(each) for each in found if not isinstance(each, QLayout))


def test_what_comes_into_a_row_that_is_shown_has_its_place(qtbot: QtBot) -> None:
    owner, row = QWidget(), FlowingRow()
    qtbot.addWidget(owner)
    owner.setLayout(row)
    owner.resize(200, 200)
    with qtbot.waitExposed(owner):
        owner.show()
    buttons = [QPushButton(text, owner) for text in ("Replace…", "Add labels to it")]
    for button in buttons:
        button.show()
        row.addWidget(button)
        QApplication.processEvents()
    first, last = (each.geometry() for each in buttons)
    assert not first.intersects(last)
