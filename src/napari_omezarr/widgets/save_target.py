"""Where to save: any address, a chosen folder, and what is in the way there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_omezarr.user_files import without_secrets

from .address_line import AddressLine
from .save_parts import said

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_omezarr.location import Location

LABELS = {
    "replace": "&Replace…",
    "confirm": "&Remove them and save",
    "keep": "&Keep them",
    "beside": "Save &beside",
    "resume": "&Resume",
    "remove": "Re&move",
    "finish": "&Finish",
    "add": "&Add labels to it",
    "replace labels": "Replace these &labels…",
    "rename labels": "Add under another &name",
    "confirm labels": "&Remove them and add",
    "resume labels": "&Resume adding",
    "remove labels": "Re&move what was begun",
}
"""What can be done about what is at the target, with the text of its button."""


class SaveTarget(QWidget):
    """A line for the address, a button for folders, and the state of the place.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    changed = Signal()
    """Another address stands there."""
    asked = Signal(str)
    """A key of `LABELS`: what the person wants done."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = AddressLine(self)
        self.line.setPlaceholderText("A folder, s3://…, or a .ozx file")
        self.line.setAccessibleName("Target")
        self.browse = QPushButton("…", self)
        self.browse.setAccessibleName("Choose a folder")
        self.browse.setToolTip("Choose a folder of this computer")
        self.state = said(self)
        self.buttons = {key: QPushButton(text, self) for key, text in LABELS.items()}
        self._name = "image.ome.zarr"
        self._arrange()
        self.line.textChanged.connect(self.changed)
        self.browse.clicked.connect(self.choose_folder)
        for key, button in self.buttons.items():
            button.clicked.connect(partial(self.asked.emit, key))
        self.show_state("", ())

    def suggest(self, name: str) -> None:
        """Remember what the image would be called in a folder."""
        self._name = name

    def choose_folder(self) -> None:
        """Let the person choose a folder; the image will lie in it."""
        dialog = QFileDialog(self, "Save into the folder")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly, True)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.take_folder)
        dialog.open()

    def take_folder(self, folder: str) -> None:
        """Put the image into a folder; one that is an OME-Zarr is the target."""
        is_one = folder.rstrip("/").endswith(".zarr")
        self.line.set_address(folder if is_one else f"{folder}/{self._name}")

    def take_place(self, place: Location) -> None:
        """Put the image into a place that the browser shows."""
        self.line.set_address(without_secrets(place / self._name))

    def show_state(self, text: str, actions: Iterable[str]) -> None:
        """Say what is at the place, and offer what can be done about it."""
        offered = set(actions)
        self.state.setText(text)
        self.state.setVisible(bool(text))
        for key, button in self.buttons.items():
            button.setVisible(key in offered)

    def _arrange(self) -> None:
        line, row, layout = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.line)
        line.addWidget(self.browse)
        self.browse.setFixedWidth(28)
        for button in self.buttons.values():
            button.setMinimumWidth(0)
            row.addWidget(button)
        row.addStretch()
        layout.addLayout(line)
        layout.addWidget(self.state)
        layout.addLayout(row)
