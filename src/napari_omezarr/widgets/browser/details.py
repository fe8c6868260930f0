"""What is known of the row that is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from .row_text import aside, kind_text

if TYPE_CHECKING:
    from napari_omezarr.browsing import Entry
    from napari_omezarr.location import Location


class DetailsPanel(QWidget):
    """Says what lies at a place; `display` and `clear` are called by the dock.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    failed = Signal(object)
    """An `OMEZarrError`, for the bar of the dock."""
    said = Signal(str)
    """A sentence for the status line of the dock."""
    open_wanted = Signal(object)
    """A `Wish`: what of the place is to be opened as layers."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = _label(self)
        self.facts = _label(self)
        self.address = _label(self)
        font = self.name.font()
        font.setBold(True)
        self.name.setFont(font)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        for label in (self.name, self.facts, self.address):
            layout.addWidget(label)
        layout.addStretch()
        self.clear()

    def display(self, location: Location, entry: Entry) -> None:
        """Say what is known of a place; called again when more is.

        Parameters
        ----------
        location : Location
            Where it is.
        entry : Entry
            Its row.
        """
        self.name.setText(entry.name)
        facts = (kind_text(entry), aside(entry), entry.problem)
        self.facts.setText(" · ".join(fact for fact in facts if fact))
        self.address.setText(location.display)
        self.show()

    def clear(self) -> None:
        """Say nothing: no row is chosen."""
        self.hide()


def _label(parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setMinimumWidth(1)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
