"""The image tab: levels, channels, labels, and what was tolerated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.reading import ReadOptions

from .detail_text import (
    COLUMNS,
    about_text,
    axes_text,
    channels_html,
    labels_text,
    level_row,
    notes_text,
    voxel_text,
)
from .pane import plain_label
from .wish import Wish

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent

    from napari_omezarr.browsing import Details


class ImagePane(QWidget):
    """Shows what is known of an image; a level of the table opens by Enter.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    open_wanted = Signal(object)
    """A `Wish`: one level."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._details: Details | None = None
        self.axes = plain_label(self)
        self.voxel = plain_label(self)
        self.levels = LevelTable(self)
        self.channels = QLabel(self)
        self.channels.setTextFormat(Qt.TextFormat.RichText)
        self.channels.setWordWrap(True)
        self.channels.setMinimumWidth(1)
        self.labels = plain_label(self)
        self.about = plain_label(self)
        self.notes = plain_label(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        for widget in (
            self.axes,
            self.voxel,
            self.levels,
            self.channels,
            self.labels,
            self.about,
            self.notes,
        ):
            layout.addWidget(widget)
        layout.addStretch()
        self.levels.chosen.connect(self._open)
        self.show_details(None)

    def show_details(self, details: Details | None) -> None:
        """Show what is known of a place; None shows nothing."""
        self._details = details
        self.levels.fill(details)
        texts = ("",) * 6
        if details is not None:
            voxel = voxel_text(details.axes)
            axes = axes_text(details.axes)
            texts = (
                f"Axes: {axes}" if axes else "",
                f"Pixel: {voxel}" if voxel else "",
                channels_html(details.channels, details.name),
                labels_text(details.labels),
                about_text(details),
                notes_text(details),
            )
        widgets = (
            self.axes,
            self.voxel,
            self.channels,
            self.labels,
            self.about,
            self.notes,
        )
        for label, text in zip(widgets, texts, strict=True):
            label.setText(text)
            label.setVisible(bool(text))

    def _open(self, level: int) -> None:
        if self._details is not None:
            options = ReadOptions(labels=False, level=level)
            place = self._details.entry.location
            self.open_wanted.emit(Wish(place, options, is_chosen=True))


class LevelTable(QTableWidget):
    """A row for each level, as high as its rows.

    Parameters
    ----------
    parent : QWidget
        Its owner.
    """

    chosen = Signal(int)
    """The level that is to be opened."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setHorizontalHeaderLabels(COLUMNS)
        self.setAccessibleName("Levels")
        self.setToolTip("Enter, or a double click, opens one level")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrap(False)
        side, top = self.verticalHeader(), self.horizontalHeader()
        if side is not None and top is not None:
            side.hide()
            top.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.cellDoubleClicked.connect(lambda row, _: self.chosen.emit(row))

    def fill(self, details: Details | None) -> None:
        """Show the levels of an image."""
        levels = details.levels if details is not None else ()
        self.setRowCount(len(levels))
        for number, level in enumerate(levels):
            for column, text in enumerate(level_row(level)):
                self.setItem(number, column, QTableWidgetItem(text))
        self.resizeRowsToContents()
        # Columns without a word in them take the room of those that have some.
        for column in range(len(COLUMNS)):
            cells = (self.item(row, column) for row in range(self.rowCount()))
            self.setColumnHidden(column, not any(c and c.text() for c in cells))
        self.setVisible(bool(levels))
        self.setFixedHeight(self._height())

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Open a level on Enter."""
        enter = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if event is not None and event.key() in enter and self.currentRow() >= 0:
            self.chosen.emit(self.currentRow())
            return
        super().keyPressEvent(event)

    def _height(self) -> int:
        head, bar = self.horizontalHeader(), self.horizontalScrollBar()
        around = 2 * self.frameWidth()
        around += head.sizeHint().height() if head is not None else 0
        around += bar.sizeHint().height() if bar is not None else 0
        return around + sum(self.rowHeight(row) for row in range(self.rowCount()))
