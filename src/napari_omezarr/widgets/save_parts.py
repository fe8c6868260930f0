"""Small parts of the save dock: sentences, progress, and what can be done after."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from .save_text import progress_text

if TYPE_CHECKING:
    from napari_omezarr.writing import Progress


def said(parent: QWidget) -> QLabel:
    """Make a label for sentences: wrapped, plain, and to be copied."""
    label = QLabel(parent)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    flag = Qt.TextInteractionFlag
    label.setTextInteractionFlags(
        flag.TextSelectableByMouse | flag.TextSelectableByKeyboard
    )
    label.setVisible(False)
    return label


class SaveProgress(QWidget):
    """A bar with the share, the rate and the time left, and a button to cancel."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = QProgressBar(self)
        self.text = QLabel(self)
        self.cancel = QPushButton("&Cancel", self)
        self.bar.setAccessibleName("Saved so far")
        self.bar.setTextVisible(False)
        row, layout = QHBoxLayout(), QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.text)
        row.addStretch()
        row.addWidget(self.cancel)
        layout.addWidget(self.bar)
        layout.addLayout(row)
        self._first: tuple[Progress, float] | None = None

    def begin(self) -> None:
        """Show that something is under way, of unknown length."""
        self._first = None
        self.bar.setRange(0, 0)
        self.text.setText("Starting …")
        self.cancel.setEnabled(True)

    def show_progress(self, progress: Progress) -> None:
        """Show how far it is."""
        now = perf_counter()
        first, since = self._first = self._first or (progress, now)
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)
        self.text.setText(progress_text(progress, first, now - since))

    def stopping(self) -> None:
        """Show that it will stop after the blocks in work."""
        self.cancel.setEnabled(False)
        self.text.setText("Stopping …")
