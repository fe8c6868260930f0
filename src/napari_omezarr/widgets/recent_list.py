"""The recent places in a list that narrows as the person types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_omezarr.location import Location

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent
    from qtpy.QtWidgets import QWidget

    from napari_omezarr.user_files import Recents

_ADDRESS = Qt.ItemDataRole.UserRole


class RecentList(QListWidget):
    """Recent places; Enter or a double click chooses one, Delete forgets it.

    Parameters
    ----------
    recents : Recents
        Where they are kept.
    parent : QWidget, optional
        Its owner.
    """

    chosen = Signal(str)
    """The address of the place that was chosen."""

    def __init__(self, recents: Recents, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._recents = recents
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.itemActivated.connect(lambda item: self.chosen.emit(item.data(_ADDRESS)))
        self.refill()

    def refill(self) -> None:
        """Read the places again."""
        self.clear()
        for entry in self._recents.entries():
            item = QListWidgetItem(Location.parse(entry.address).display, self)
            item.setData(_ADDRESS, entry.address)
            item.setToolTip(f"{item.text()}\nlast opened {entry.opened}")

    def narrow(self, text: str) -> None:
        """Show only the places that hold all words of a text, whatever their case."""
        words = text.lower().split()
        for item in self._items():
            place = item.text().lower()
            item.setHidden(not all(word in place for word in words))

    def first_shown(self) -> QListWidgetItem | None:
        """Give the topmost place that is shown."""
        return next((item for item in self._items() if not item.isHidden()), None)

    def _items(self) -> list[QListWidgetItem]:
        return self.findItems("*", Qt.MatchFlag.MatchWildcard)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Forget the current place on Delete."""
        item = self.currentItem()
        if item is not None and event is not None and event.key() == Qt.Key.Key_Delete:
            self._recents.remove(item.data(_ADDRESS))
            self.takeItem(self.row(item))
            return
        super().keyPressEvent(event)
