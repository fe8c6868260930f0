"""The columns of the rows: what each says, by what it sorts, and which are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRect, Qt, QTimer, Signal
from qtpy.QtGui import QAction, QActionGroup, QPainter
from qtpy.QtWidgets import QHeaderView, QMenu

from napari_omezarr.browsing import EntryKind
from napari_omezarr.plain_text import bytes_text, natural_key, plain
from napari_omezarr.widgets.preferences import (
    browser_preferences,
    keep_browser_preferences,
)

from .text import kind_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtCore import QPoint
    from qtpy.QtGui import QMouseEvent, QPaintEvent
    from qtpy.QtWidgets import QTreeView

    from napari_omezarr.browsing import Entry

_NAME_SHARE = 0.7
"""Of the room, for the names at least: what other columns lack is scrolled to."""
_HELD_SHARE = 0.6
"""Of the width, for names that others are scrolled over."""
_NARROW = 300
"""Pixels of a dock that is as narrow as it may be: wider, more columns are seen."""
_PAUSE = 300
"""Milliseconds after which a width that is dragged is remembered."""
_DOWN, _UP = Qt.SortOrder.DescendingOrder, Qt.SortOrder.AscendingOrder


@dataclass(frozen=True, slots=True)
class RowColumn:
    """What a column says of an entry, and what it sorts by: None is not known."""

    key: str
    title: str
    tip: str
    text: Callable[[Entry], str]
    rank: Callable[[Entry], Any]
    width: int


def natural(text: str) -> tuple[tuple[int, int, str], ...] | None:
    """Sort as people do, small letters as large ones; None of no text."""
    return natural_key(text.casefold()) or None


def _kind(entry: Entry) -> str:
    """Say what an entry is; nothing of a folder that nobody has looked into."""
    is_known = entry.recognised or entry.looks_like_store
    return kind_text(entry) if is_known or entry.kind is not EntryKind.FOLDER else ""


def _minute(entry: Entry) -> str:
    return entry.modified[:16].replace("T", " ")


ROW_COLUMNS = (
    RowColumn(
        "name", "Name", "", lambda entry: entry.name, lambda e: natural(e.name), 0
    ),
    RowColumn("kind", "Kind", "", _kind, lambda e: natural(_kind(e)), 70),
    RowColumn(
        "contents",
        "Contents",
        "Axes with their lengths, wells, fields",
        lambda entry: entry.summary,
        lambda entry: natural(entry.summary),
        120,
    ),
    RowColumn(
        "version",
        "Version",
        "Of OME-Zarr",
        lambda entry: entry.version,
        lambda entry: natural(entry.version),
        55,
    ),
    RowColumn(
        "size",
        "Size",
        "Of a file or an archive; that of an image is in the panel",
        lambda entry: "" if entry.size is None else bytes_text(entry.size),
        lambda entry: entry.size,
        70,
    ),
    RowColumn(
        "modified",
        "Modified",
        "When it was written (UTC); buckets say that of files only",
        _minute,
        lambda entry: entry.modified or None,
        120,
    ),
)
_KEYS = [column.key for column in ROW_COLUMNS]


def permutation(entries: Sequence[Entry], column: int, *, down: bool) -> list[int]:
    """Give the numbers of entries in the order of a column.

    What is not known comes last, whichever the direction.
    """
    ranks = [ROW_COLUMNS[column].rank(entry) for entry in entries]
    known = [number for number, rank in enumerate(ranks) if rank is not None]
    unknown = [number for number, rank in enumerate(ranks) if rank is None]
    return sorted(known, key=lambda number: ranks[number], reverse=down) + unknown


class RowHeader(QHeaderView):
    """Shows, hides and sorts by columns; how it was left is remembered."""

    columns_changed = Signal()
    """Others are shown."""

    def __init__(self, tree: QTreeView) -> None:
        super().__init__(Qt.Orientation.Horizontal, tree)
        self._tree = tree
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.timeout.connect(self._keep)
        self.setSectionsClickable(True)
        self.setSectionsMovable(False)
        self.setSortIndicatorClearable(True)
        self.setStretchLastSection(False)
        self.setMinimumSectionSize(40)
        self.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setAccessibleName("Columns")
        self.menu = QMenu("Columns and order", self)
        self.columns = {column.key: self._switch(column) for column in ROW_COLUMNS[1:]}
        self.menu.addSeparator()
        self.orders = self._order_actions()
        self.descending = self._check("Descending")
        self.descending.triggered.connect(lambda _: self._sort(self._sorted))

    @property
    def shown(self) -> frozenset[str]:
        """The keys of the columns that are shown beside the names."""
        return frozenset(key for key, one in self.columns.items() if one.isChecked())

    def restore(self) -> None:
        """Show the columns, in the order, in which they were left; first the model."""
        kept = browser_preferences()
        shown, widths = kept.get("columns"), _kept_widths()
        for number, column in enumerate(ROW_COLUMNS[1:], 1):
            width: Any = widths.get(column.key)
            is_width = isinstance(width, int) and width >= self.minimumSectionSize()
            self.resizeSection(number, width if is_width else column.width)
            is_shown = isinstance(shown, list) and column.key in shown
            self.setSectionHidden(number, not is_shown)
            self.columns[column.key].setChecked(is_shown)
        key = kept.get("sort")
        order = _DOWN if kept.get("descending") is True else _UP
        self.setSortIndicator(_KEYS.index(key) if key in _KEYS else -1, order)
        self._show_order()
        self.sectionResized.connect(self._resize)
        self.sortIndicatorChanged.connect(lambda *_: self._end_sorting())
        self.customContextMenuRequested.connect(self._show_menu)
        self.fit()

    def fit(self) -> None:
        """Give the names the width that the other columns leave."""
        room: Any = self._tree.viewport()
        others = sum(map(self.sectionSize, range(1, len(ROW_COLUMNS))))
        least = int(_NAME_SHARE * min(room.width(), _NARROW))
        self.resizeSection(0, max(least, room.width() - others))

    @property
    def held_width(self) -> int:
        """How wide names are that stay, as others are scrolled over them; else 0."""
        if not self.offset():
            return 0
        room: Any = self._tree.viewport()
        return min(self.sectionSize(0), int(_HELD_SHARE * room.width()))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the titles, the first one also where others are scrolled over it."""
        super().paintEvent(event)
        if width := self.held_width:
            painter = QPainter(self.viewport())
            self.paintSection(painter, QRect(0, 0, width, self.height()), 0)
            painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go back to the names at a press on their title."""
        bar = self._tree.horizontalScrollBar()
        if event is not None and bar and event.position().x() < self.held_width:
            bar.setValue(0)
        super().mousePressEvent(event)

    @property
    def _sorted(self) -> int:
        return self.sortIndicatorSection()

    def _check(self, text: str) -> QAction:
        action = QAction(text, self)
        action.setCheckable(True)
        self.menu.addAction(action)
        return action

    def _switch(self, column: RowColumn) -> QAction:
        switch = self._check(column.title)
        switch.setToolTip(plain(column.tip))
        switch.triggered.connect(lambda _: self._show_columns())
        return switch

    def _order_actions(self) -> list[QAction]:
        """Make the actions that sort: as listed, then by each column."""
        group, actions = QActionGroup(self), []
        titles = [f"by {column.title.lower()}" for column in ROW_COLUMNS]
        for number, title in enumerate(["as listed", *titles], -1):
            action = self._check(f"Sort {title}")
            action.setActionGroup(group)
            action.setData(number)
            actions.append(action)
        group.triggered.connect(lambda action: self._sort(action.data()))
        return actions

    def _sort(self, number: int) -> None:
        self.setSortIndicator(number, _DOWN if self.descending.isChecked() else _UP)

    def _show_order(self) -> None:
        self.orders[self._sorted + 1].setChecked(True)
        self.descending.setChecked(self.sortIndicatorOrder() == _DOWN)
        self.descending.setEnabled(self._sorted >= 0)

    def _end_sorting(self) -> None:
        self._show_order()
        self._keep()

    def _show_columns(self) -> None:
        for number, column in enumerate(ROW_COLUMNS[1:], 1):
            self.setSectionHidden(number, not self.columns[column.key].isChecked())
        self.fit()
        self._keep()
        self.columns_changed.emit()

    def _resize(self, number: int, _before: int, _now: int) -> None:
        # Names have what is left, and may be made wider for a while.
        if number:
            self.fit()
            self._pause.start(_PAUSE)

    def _keep(self) -> None:
        widths = {
            column.key: self.sectionSize(number)
            for number, column in enumerate(ROW_COLUMNS)
            if column.key in self.shown
        }
        keep_browser_preferences(
            columns=[column.key for column in ROW_COLUMNS if column.key in self.shown],
            widths={**_kept_widths(), **widths},
            sort=_KEYS[self._sorted] if self._sorted >= 0 else "",
            descending=self.sortIndicatorOrder() == _DOWN,
        )

    def _show_menu(self, position: QPoint) -> None:
        self.menu.popup(self.mapToGlobal(position))


def _kept_widths() -> dict[str, Any]:
    widths = browser_preferences().get("widths")
    return widths if isinstance(widths, dict) else {}
