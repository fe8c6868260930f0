"""The line in which a person types the beginning of a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QLineEdit

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent
    from qtpy.QtWidgets import QWidget

PAUSE = 250
"""Milliseconds without a key after which the server is asked."""


class FilterBox(QLineEdit):
    """Tells of a filter when the typing pauses; Enter and Down go to the rows.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    filtered = Signal(str)
    left = Signal()
    """The person wants to be among the rows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._told = ""
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.timeout.connect(self._tell)
        self.setPlaceholderText("begins with …")
        self.setAccessibleName("Filter: what names begin with")
        self.setToolTip("Show only names that begin so; the server selects")
        self.setClearButtonEnabled(True)
        self.textChanged.connect(lambda: self._pause.start(PAUSE))

    def reset(self) -> None:
        """Empty it, without telling: another place is shown."""
        self._told = ""
        self.clear()
        self._pause.stop()

    def add(self, letters: str) -> None:
        """Go on typing here what was begun among the rows."""
        self.setFocus()
        self.setText(self.text() + letters)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Go to the rows on Enter and Down; empty it on Esc."""
        if event is None:
            return
        keys = Qt.Key
        if event.key() in (keys.Key_Return, keys.Key_Enter, keys.Key_Down):
            self._tell()
            self.left.emit()
        elif event.key() == keys.Key_Escape and self.text():
            self.clear()
        else:
            super().keyPressEvent(event)

    def _tell(self) -> None:
        self._pause.stop()
        if self.text() != self._told:
            self._told = self.text()
            self.filtered.emit(self._told)
