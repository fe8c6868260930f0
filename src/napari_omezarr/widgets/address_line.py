"""One line that takes whatever a person pastes or drops, several addresses too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QMimeData
from qtpy.QtGui import QGuiApplication, QKeySequence
from qtpy.QtWidgets import QLineEdit

if TYPE_CHECKING:
    from qtpy.QtGui import QDragEnterEvent, QDropEvent, QKeyEvent
    from qtpy.QtWidgets import QWidget

SEPARATOR = "  ·  "
"""Between the lines of a paste; shown only, for the lines are kept as they came."""


class AddressLine(QLineEdit):
    """A line edit that keeps the lines of a paste apart.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: tuple[str, ...] = ()
        self.setPlaceholderText("Paste an address, a path, or a link to a viewer")
        self.setClearButtonEnabled(True)

    def address_text(self) -> str:
        """Give what is to be parsed: the lines as pasted, or what was typed."""
        if self._lines and self.text() == SEPARATOR.join(self._lines):
            return "\n".join(self._lines)
        return self.text().strip()

    def set_address(self, text: str) -> None:
        """Replace what is there; each line that is not empty is an address."""
        stripped = (line.strip() for line in text.splitlines())
        self._lines = tuple(line for line in stripped if line)
        self.setText(SEPARATOR.join(self._lines))

    def paste_address(self) -> None:
        """Replace what is there by what the clipboard holds."""
        self.set_address(copied_text())

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Paste several lines as several addresses, all else as any line edit."""
        if event is not None and event.matches(QKeySequence.StandardKey.Paste):
            text = copied_text()
            if "\n" in text or not self.text():
                self.set_address(text)
                return
        super().keyPressEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Accept text, which napari's own canvas refuses, and links."""
        if event is not None and mime_text(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Take what is dropped in place of what was there."""
        if event is not None:
            self.set_address(mime_text(event.mimeData()))
            event.acceptProposedAction()


def copied_text() -> str:
    """Give what the clipboard holds as text; of files their paths."""
    clipboard = QGuiApplication.clipboard()
    return mime_text(clipboard.mimeData()) if clipboard is not None else ""


def mime_text(mime: QMimeData | None) -> str:
    """Give what was copied or dragged as text; of files their paths."""
    mime = mime or QMimeData()
    if not mime.hasUrls():
        return mime.text().strip()
    urls = mime.urls()
    return "\n".join(u.toLocalFile() if u.isLocalFile() else u.toString() for u in urls)
