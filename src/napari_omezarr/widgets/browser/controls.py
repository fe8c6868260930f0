"""Small widgets and dialogs of which several parts of the browser are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QAction, QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.widgets.fields import (
    plain_label,
    show_focus,
    show_text,
    tab_as_laid_out,
)
from napari_omezarr.widgets.open_dialog import AddressLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_omezarr.errors import OMEZarrError
    from napari_omezarr.location import Location

MINIMUM_WIDTH = 300
"""Of the dock and its dialogs, in pixels."""


def combo_box(name: str, parent: QWidget) -> QComboBox:
    """Make a list to choose from that long entries do not make wide."""
    box = QComboBox(parent)
    box.setAccessibleName(name)
    box.setMinimumContentsLength(8)
    return box


def scroll_area(content: QWidget) -> QScrollArea:
    """Make a frameless area in which a widget scrolls up and down."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(content)
    return area


def menu_button(menu: QMenu, parent: QWidget) -> QPushButton:
    """Make a button that shows a menu, named as the menu."""
    button = QPushButton(f"{menu.title()} ▾", parent)
    button.setMenu(menu)
    # napari's style draws a second arrow, over the text.
    button.setStyleSheet("QPushButton::menu-indicator { image: none; width: 0; }")
    button.setAccessibleName(menu.title().replace("&", ""))
    return button


def make_action(text: str, function: Callable[[], object], owner: QObject) -> QAction:
    """Make an action that calls a function without arguments."""
    action = QAction(text, owner)
    action.triggered.connect(lambda: function())
    return action


def choose_folder(
    parent: QWidget, title: str, then: Callable[[str], object]
) -> QFileDialog:
    """Let the person choose a folder of this computer; nothing waits for it."""
    dialog = QFileDialog(parent, title)
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    dialog.setOption(QFileDialog.Option.ShowDirsOnly, True)
    dialog.fileSelected.connect(then)
    dialog.finished.connect(dialog.deleteLater)
    dialog.open()
    return dialog


def copy_to_clipboard(text: str) -> None:
    """Put a text on the clipboard, if there is one."""
    clipboard = QGuiApplication.clipboard()
    if clipboard is not None:
        clipboard.setText(text)


class Form(QDialog):
    """A dialog that is not modal: fields in rows, a message below them, buttons."""

    def __init__(self, title: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        show_focus()
        self.setWindowTitle(title)
        self.setMinimumWidth(MINIMUM_WIDTH)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.rows = QFormLayout()
        self.message = plain_label(self)
        self.message.hide()

    def show_message(self, text: str) -> None:
        """Say what is going on, or was done."""
        show_text(self.message, text)

    def show_error(self, error: OMEZarrError) -> None:
        """Say what is wrong."""
        self.show_message(f"✖ {error}")

    def arrange(self, *buttons: QPushButton, below: QWidget | None = None) -> None:
        """Put rows, message, a further widget and the buttons below each other.

        Enter in a field presses the first button.
        """
        layout, line = QVBoxLayout(self), QHBoxLayout()
        layout.addLayout(self.rows)
        layout.addWidget(self.message)
        if below is not None:
            layout.addWidget(below)
        layout.addStretch()
        line.addStretch()
        for button in buttons:
            line.addWidget(button)
        layout.addLayout(line)
        tab_as_laid_out(self)
        self.set_default(buttons[0])

    def set_default(self, default: QPushButton) -> None:
        """Let Enter in a field press this button, and no other."""
        for button in self.findChildren(QPushButton):
            button.setAutoDefault(button is default)
        default.setDefault(True)


class PlaceLine(QWidget):
    """Takes an address, or one chosen on this computer.

    An address that is set keeps its sign-in, which is not shown.
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
        """Give what stands there; raises LocationError if it is no address."""
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
        """Take the path that was chosen."""
        self.line.set_address(path)
        self.chosen.emit(path)
