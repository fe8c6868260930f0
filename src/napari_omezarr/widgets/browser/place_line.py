"""A line for an address, with a button that chooses on this computer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_omezarr.widgets.address_line import AddressLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_omezarr.location import Location


class PlaceLine(QWidget):
    """Takes an address; one that is set keeps its sign-in, which is not shown.

    Parameters
    ----------
    name : str
        What it is for, for those who do not see it.
    parse : callable
        Makes a `Location` of what is typed; raises LocationError.
    folders : bool
        Whether its button chooses folders, or else files.
    parent : QWidget, optional
        Its owner.
    """

    changed = Signal()
    chosen = Signal(str)
    """The path that was chosen; it stands in the line already."""

    def __init__(
        self,
        name: str,
        parse: Callable[[str], Location],
        *,
        folders: bool,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._parse = parse
        self._folders = folders
        self._place: Location | None = None
        self.line = AddressLine(self)
        self.line.setAccessibleName(name)
        self.browse = QPushButton("…", self)
        self.browse.setFixedWidth(28)
        self.browse.setAccessibleName(f"Choose {name.lower()} on this computer")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line)
        layout.addWidget(self.browse)
        self.line.textChanged.connect(self.changed)
        self.browse.clicked.connect(self.choose)
        self.setFocusProxy(self.line)

    def set_place(self, place: Location | None) -> None:
        """Show an address, without its sign-in."""
        self._place = place
        self.line.set_address(place.display if place is not None else "")

    def place(self) -> Location:
        """Give what stands there.

        Raises
        ------
        LocationError
            It is no address.
        """
        text = self.line.address_text()
        if self._place is not None and text == self._place.display:
            return self._place
        return self._parse(text)

    def choose(self) -> None:
        """Let the person choose; nothing waits for it."""
        dialog = QFileDialog(self, self.line.accessibleName())
        if self._folders:
            dialog.setFileMode(QFileDialog.FileMode.Directory)
            dialog.setOption(QFileDialog.Option.ShowDirsOnly, True)
        else:
            dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.take_chosen)
        dialog.open()

    def take_chosen(self, path: str) -> None:
        """Take what was chosen."""
        self.line.set_address(path)
        self.chosen.emit(path)
