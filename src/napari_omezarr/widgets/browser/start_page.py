"""What is shown before any place is: a paste, recent places, bookmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from .header import start_of

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent

    from napari_omezarr.connections import Connection
    from napari_omezarr.location import Location

    from .header import KnownPlaces

RECENT = 5
"""Recent places that are shown; all of them complete the address."""

_PLACE = Qt.ItemDataRole.UserRole
_CONNECTION = Qt.ItemDataRole.UserRole + 1
_IS_RECENT = Qt.ItemDataRole.UserRole + 2
_DELETE = QKeySequence.StandardKey.Delete


class StartPage(QWidget):
    """Offers where to start.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    chosen = Signal(object)
    """A `Location`."""
    connection_chosen = Signal(object)
    """A `Connection` that names no place to begin at."""
    forget_wanted = Signal(object)
    """A recent `Location`, by Delete."""
    paste_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.words = QLabel("Paste an address, drop a link here, or start from:", self)
        self.words.setWordWrap(True)
        self.paste_button = QPushButton("&Paste", self)
        self.places = _Places(self)
        line, layout = QHBoxLayout(), QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.words, stretch=1)
        line.addWidget(self.paste_button)
        layout.addLayout(line)
        layout.addWidget(self.places)
        self.paste_button.clicked.connect(lambda: self.paste_wanted.emit())
        self.places.itemActivated.connect(self._choose)
        self.places.itemClicked.connect(self._choose)
        self.places.delete_wanted.connect(self._forget)

    def fill(self, known: KnownPlaces) -> None:
        """Offer the places that are known."""
        self.places.clear()
        recent = known.recent[:RECENT]
        if recent:
            group = self._group("Recent")
            group.setToolTip(0, "Delete forgets the one that is chosen")
            for place in recent:
                _item(group, place.name, place).setData(0, _IS_RECENT, True)
        for connection in known.connections:
            self._connection(connection)
        self.places.expandAll()

    def _connection(self, connection: Connection) -> None:
        start = start_of(connection)
        group = self._group(connection.name, start)
        group.setData(0, _CONNECTION, connection)
        for mark in connection.bookmarks:
            place = connection.locate(mark.address)
            item = _item(group, mark.name, place)
            if mark.note:
                item.setToolTip(0, f"{mark.note}\n{place.display}")

    def _group(self, name: str, place: Location | None = None) -> QTreeWidgetItem:
        item = _item(self.places, name, place)
        font = item.font(0)
        font.setBold(True)
        item.setFont(0, font)
        return item

    def _choose(self, item: QTreeWidgetItem) -> None:
        place, connection = item.data(0, _PLACE), item.data(0, _CONNECTION)
        if place is not None:
            self.chosen.emit(place)
        elif connection is not None:
            self.connection_chosen.emit(connection)

    def _forget(self, item: QTreeWidgetItem) -> None:
        if item.data(0, _IS_RECENT):
            self.forget_wanted.emit(item.data(0, _PLACE))


class _Places(QTreeWidget):
    """The list; Enter chooses on every system."""

    delete_wanted = Signal(object)
    """The item, by its key."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setHeaderHidden(True)
        self.setAccessibleName("Bookmarks and recent places")
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setIndentation(12)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Choose on Enter."""
        item = self.currentItem()
        enter = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if event is not None and item is not None and event.key() in enter:
            self.itemActivated.emit(item, 0)
            return
        if event is not None and item is not None and event.matches(_DELETE):
            self.delete_wanted.emit(item)
            return
        super().keyPressEvent(event)


def _item(
    parent: QTreeWidget | QTreeWidgetItem, text: str, place: Location | None
) -> QTreeWidgetItem:
    item = QTreeWidgetItem(parent, [text])
    item.setData(0, _PLACE, place)
    if place is not None:
        item.setToolTip(0, place.display)
    return item
