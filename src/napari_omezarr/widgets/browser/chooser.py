"""The connection that is chosen, and the button that edits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_omezarr.connections import Connection

    from .known import Known

ANY = "Any place"
"""No connection: an address says all, or what the AWS tools use is used."""


class ConnectionChooser(QComboBox):
    """The person's connections, and those that come with the plugin.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    chosen = Signal(object)
    """The `Connection` that the person has chosen, or None."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._known: Known | None = None
        self.setAccessibleName("Connection")
        self.setToolTip("As whom, and at which service")
        # Long names must not make the dock wide.
        shrinking = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        self.setSizeAdjustPolicy(shrinking)
        self.setMinimumContentsLength(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.activated.connect(lambda _: self.chosen.emit(self.connection))

    @property
    def connection(self) -> Connection | None:
        """The connection that is chosen; None is any place."""
        return self._known.find(self.currentText()) if self._known else None

    def fill(self, known: Known) -> None:
        """Offer these connections; the chosen one stays if it is among them."""
        before = self.currentText()
        self._known = known
        self.clear()
        self.addItem(ANY)
        self.addItems([connection.name for connection in known.own])
        self.insertSeparator(self.count())
        self.addItems([connection.name for connection in known.public])
        self.select(known.find(before))

    def select(self, connection: Connection | None) -> None:
        """Show which connection a place is one of, without choosing it."""
        name = connection.name if connection else ANY
        self.setCurrentIndex(max(self.findText(name), 0))
