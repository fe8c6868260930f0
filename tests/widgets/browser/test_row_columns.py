"""The columns of the rows: shown, hidden, sorted, and as they were left."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtCore import QModelIndex, QObject, QRect, Qt, qInstallMessageHandler

from browser_steps import (
    check_always,
    go,
    row,
    rows,
    settled,
    shown_browser,
)
from gui_steps import until
from long_bucket import LongBucket
from napari_omezarr.browsing import Entry, EntryKind
from napari_omezarr.location import Location
from napari_omezarr.user_files import read_json, write_json
from napari_omezarr.widgets.browser.text import (
    ROW_COLUMNS,
    natural,
    permutation,
)
from napari_omezarr.widgets.browser.tree_model import EntryModel
from small_images import put_image, put_series

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot
    from qtpy.QtGui import QImage
    from qtpy.QtWidgets import QAbstractItemView

    from napari_omezarr.widgets.browser.browser import Browser

HERE = Location.parse("s3://bucket")
NAME, KIND, SIZE, MODIFIED = (
    [column.key for column in ROW_COLUMNS].index(key)
    for key in ("name", "kind", "size", "modified")
)
ENTRIES = st.builds(
    Entry,
    st.just(HERE),
    st.text(min_size=1, max_size=4),
    st.sampled_from(EntryKind),
    st.booleans(),
    size=st.none() | st.integers(0, 9),
    modified=st.sampled_from(["", "2026-01-02T03:04:05Z", "2025"]),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, and files of three sizes."""
    for name in ("t1.zarr", "t2.zarr", "t10.zarr"):
        put_image(tmp_path / name)
    for size, name in enumerate(("c.txt", "a.txt", "b.txt"), 1):
        (tmp_path / name).write_text("x" * size)
        os.utime(tmp_path / name, (10**9 - size, 10**9 - size))
    return tmp_path


def click(qtbot: QtBot, browser: Browser, column: int) -> None:
    """Click on the title of a column."""
    header = browser.tree.columns
    x = header.sectionViewportPosition(column) + 12
    point = header.rect().center()
    point.setX(x)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=point)


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["t10", "T2", "t1", "t02", "s", "9" * 5000, "10", ""]
    known = sorted((name for name in names if natural(name)), key=natural)
    assert known == ["10", "9" * 5000, "s", "t1", "T2", "t02", "t10"]
    assert natural("") is None


@given(st.lists(ENTRIES, max_size=12), st.integers(0, len(ROW_COLUMNS) - 1))
def test_an_order_has_each_row_once_and_what_is_not_known_last(
    entries: list[Entry], column: int
) -> None:
    rank = ROW_COLUMNS[column].rank
    unknown = [n for n, entry in enumerate(entries) if rank(entry) is None]
    known = len(entries) - len(unknown)
    for down in (False, True):
        order = permutation(entries, column, down=down)
        assert sorted(order) == list(range(len(entries)))
        assert order[known:] == unknown
        ranks = [rank(entries[number]) for number in order[:known]]
        assert ranks == sorted(ranks, reverse=down)


def test_qt_tells_of_rows_that_are_not_there(qtbot: QtBot) -> None:
    owner = QObject()
    model = EntryModel(owner)
    model.show_entries([Entry(HERE, "a")])
    check_always(model)
    said: list[str] = []
    # Else pytest-qt would fail this test, as it does the others.
    before = qInstallMessageHandler(lambda _kind, _context, text: said.append(text))
    try:
        model.beginInsertRows(QModelIndex(), 0, 0)
        model.endInsertRows()
    finally:
        qInstallMessageHandler(before)
    assert any("FAIL!" in text for text in said)


@pytest.mark.usefixtures("checked_rows")
def test_titles_sort_what_is_there_and_what_is_open_stays_so(
    browser: Browser, qtbot: QtBot, folder: Path
) -> None:
    model, tree = browser.tree.rows, browser.tree
    go(qtbot, browser, str(folder))
    assert rows(browser) == ["t1.zarr", "t10.zarr", "t2.zarr"]  # as any list of keys
    tree.choose(row(browser, "t10.zarr"))
    tree.expand(row(browser, "t10.zarr"))
    settled(qtbot, browser)
    before = model.spent
    click(qtbot, browser, NAME)
    assert rows(browser) == ["t1.zarr", "t2.zarr", "t10.zarr"]
    assert tree.currentIndex() == row(browser, "t10.zarr")
    assert tree.isExpanded(row(browser, "t10.zarr"))
    assert rows(browser, row(browser, "t10.zarr")) == ["levels"]
    click(qtbot, browser, NAME)
    assert rows(browser) == ["t10.zarr", "t2.zarr", "t1.zarr"]
    click(qtbot, browser, NAME)
    assert rows(browser) == ["t1.zarr", "t10.zarr", "t2.zarr"]
    assert tree.columns.sortIndicatorSection() == -1
    assert model.spent == before
    settled(qtbot, browser)


def test_columns_are_chosen_in_the_menu_and_remembered(
    browser: Browser, qtbot: QtBot, folder: Path, configuration: Path
) -> None:
    browser.buttons.show_files.setChecked(True)
    go(qtbot, browser, str(folder))
    columns = browser.tree.columns
    shown = [n for n in range(len(ROW_COLUMNS)) if not columns.isSectionHidden(n)]
    assert shown == [NAME]
    # In a narrow dock columns are scrolled to, and names stay to be read.
    for switch in columns.columns.values():
        switch.trigger()
    assert columns.sectionSize(NAME) > columns.width() / 2
    assert columns.length() > columns.width()
    for key in columns.shown - {"size", "modified"}:
        columns.columns[key].trigger()
    browser.resize(500, 700)
    assert not columns.isSectionHidden(SIZE)
    index = row(browser, "b.txt")
    assert index.siblingAtColumn(SIZE).data() == "3 bytes"
    assert index.siblingAtColumn(MODIFIED).data() == "2001-09-09 01:46"
    click(qtbot, browser, SIZE)
    assert rows(browser)[:3] == ["c.txt", "a.txt", "b.txt"]
    # Folders have no size, and come last in either direction.
    columns.descending.trigger()
    assert rows(browser)[:3] == ["b.txt", "a.txt", "c.txt"]
    columns.resizeSection(SIZE, 111)
    columns._keep()
    other = shown_browser(qtbot)
    other.buttons.show_files.setChecked(True)
    go(qtbot, other, str(folder))
    assert rows(other) == rows(browser)
    assert other.tree.columns.shown == {"size", "modified"}
    assert other.tree.columns.sectionSize(SIZE) == 111
    # A file of another version, or that somebody edited, is no reason to fail.
    file = configuration / "browser.json"
    kept = read_json(file)
    write_json(file, {**kept, "columns": 3, "widths": [1], "sort": "?"})
    third = shown_browser(qtbot)
    assert third.tree.columns.shown == frozenset()
    assert third.tree.columns.sortIndicatorSection() == -1


def test_names_stay_when_columns_are_scrolled_to(
    browser: Browser, qtbot: QtBot, folder: Path
) -> None:
    go(qtbot, browser, str(folder))
    tree, columns = browser.tree, browser.tree.columns
    for switch in columns.columns.values():
        switch.trigger()
    bar = tree.horizontalScrollBar()
    until(qtbot, bar.maximum)
    assert columns.held_width == 0
    bar.setValue(bar.maximum() // 2)
    held = columns.held_width
    assert 0 < held < tree.viewport().width()

    def left_of(view: QAbstractItemView) -> QImage:
        room = QRect(0, 0, held, view.viewport().height())
        return view.viewport().grab(room).toImage()

    names, title = left_of(tree), left_of(columns)
    assert len({names.pixel(x, 8) for x in range(held)}) > 1
    bar.setValue(bar.maximum())
    assert (left_of(tree), left_of(columns)) == (names, title)
    # A press on their title goes back to all of them, and sorts.
    center = columns.rect().center()
    center.setX(12)
    qtbot.mouseClick(columns.viewport(), Qt.MouseButton.LeftButton, pos=center)
    assert (bar.value(), columns.sortIndicatorSection()) == (0, NAME)
    assert rows(browser) == ["t1.zarr", "t2.zarr", "t10.zarr"]


def test_sorting_a_long_place_asks_for_nothing_and_says_what_is_sorted(
    browser: Browser, qtbot: QtBot
) -> None:
    with LongBucket(2500, ending="") as long:
        browser.buttons.show_files.setChecked(True)
        go(qtbot, browser, f"s3+{long.url}/bucket/many|anonymous:true")
        asked = len(long.requests)
        tree = browser.tree
        tree.columns.setSortIndicator(NAME, Qt.SortOrder.DescendingOrder)
        tree.scrollToBottom()
        settled(qtbot, browser)
        assert len(long.requests) == asked
        tail = "… load more (1,000 of many; only these are sorted)"
        assert rows(browser)[::999] == ["item-000999", "item-000000"]
        assert rows(browser)[-1] == tail
        tree.choose(tree.rows.index(1000))
        qtbot.keyClick(tree, Qt.Key.Key_Return)
        settled(qtbot, browser)
        assert len(long.requests) == asked + 1
        assert rows(browser)[0] == "item-001999"
        # As listed, scrolling asks again.
        tree.columns.orders[0].trigger()
        assert rows(browser)[0] == "item-000000"
        tree.scrollToBottom()
        settled(qtbot, browser)
        assert len(rows(browser)) == 2500


@pytest.mark.usefixtures("checked_rows")
def test_what_metadata_name_keeps_its_order(
    browser: Browser, qtbot: QtBot, tmp_path: Path
) -> None:
    put_series(tmp_path / "series.zarr", "0.4", count=2)
    browser.tree.columns.setSortIndicator(NAME, Qt.SortOrder.DescendingOrder)
    go(qtbot, browser, str(tmp_path))
    series = row(browser, "series.zarr")
    browser.tree.expand(series)
    settled(qtbot, browser)
    assert rows(browser, series) == ["0 · scan 0", "1 · scan 1"]
