"""The top of the dock: connection, where one is, how one gets elsewhere, filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize, Signal
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from .address_bar import AddressBar
from .chooser import ConnectionChooser
from .filter_box import FilterBox
from .icons import SIDE, sign

if TYPE_CHECKING:
    from collections.abc import Iterable

_BUTTONS = {
    "back": "Back (Alt+Left)",
    "up": "Up (Backspace)",
    "reload": "Reload (F5)",
    "edit": "Edit connections",
    "go": "Go to the address (Enter)",
}


class Header(QWidget):
    """Two lines, which fit into 300 pixels.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    back_wanted = Signal()
    up_wanted = Signal()
    reload_wanted = Signal()
    edit_wanted = Signal()
    go_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chooser = ConnectionChooser(self)
        self.filter = FilterBox(self)
        self.address = AddressBar(self)
        self.buttons = {name: self._button(name) for name in _BUTTONS}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        names = ("edit", "back", "up", "reload")
        walking = [self.buttons[name] for name in names]
        layout.addLayout(_line([self.chooser, *walking, self.filter]))
        layout.addLayout(_line([self.address, self.buttons["go"]]))
        self.address.wanted.connect(self.go_wanted)

    def set_walkable(self, *, back: bool, up: bool) -> None:
        """Say whether there is a place before, and one above."""
        self.buttons["back"].setEnabled(back)
        self.buttons["up"].setEnabled(up)

    def changeEvent(self, event: QEvent | None) -> None:
        """Draw the signs anew in another theme."""
        super().changeEvent(event)
        if event is not None and event.type() in (
            QEvent.Type.StyleChange,
            QEvent.Type.PaletteChange,
        ):
            for name, button in getattr(self, "buttons", {}).items():
                button.setIcon(sign(name, _color(button)))

    def _button(self, name: str) -> QToolButton:
        button = QToolButton(self)
        button.setIcon(sign(name, _color(button)))
        button.setIconSize(QSize(SIDE, SIDE))
        button.setAutoRaise(True)
        button.setToolTip(_BUTTONS[name])
        button.setAccessibleName(_BUTTONS[name].partition(" (")[0])
        wanted = getattr(self, f"{name}_wanted")
        button.clicked.connect(lambda: wanted.emit())
        return button


def _line(widgets: Iterable[QWidget]) -> QHBoxLayout:
    line = QHBoxLayout()
    line.setSpacing(2)
    for widget in widgets:
        line.addWidget(widget)
    return line


def _color(widget: QWidget) -> str:
    return widget.palette().color(QPalette.ColorRole.ButtonText).name()
