"""The path of the place that is shown, in parts to click."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QToolButton, QWidget

from napari_omezarr.plain_text import plain

if TYPE_CHECKING:
    from qtpy.QtGui import QResizeEvent

    from napari_omezarr.location import Location

_LONGEST = 24
"""Letters of a part; the middle of longer ones is left out."""


def parts_of(place: Location) -> tuple[Location, ...]:
    """Give a place and all those above it, the outermost first."""
    found = [place]
    while found[-1].path or found[-1].member:
        above = found[-1].parent
        if above == found[-1]:
            break
        found.append(above)
    return tuple(reversed(found))


class PathBar(QWidget):
    """Buttons for the parts of a path; those that do not fit are in a menu."""

    chosen = Signal(object)
    """The `Location` of a part."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: list[QToolButton] = []
        self.more = QToolButton(self)
        self.more.setText("…")
        self.more.setAutoRaise(True)
        self.more.setAccessibleName("Places further up")
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._menu = QMenu("Places further up", self)
        self.more.setMenu(self._menu)
        self.setAccessibleName("Path")
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self._row.addWidget(self.more)
        self._row.addStretch()
        self._places: tuple[Location, ...] = ()
        self.show_place(None)

    def show_place(self, place: Location | None) -> None:
        """Show the parts of a place; none hides all."""
        for button in self.buttons:
            button.hide()
            button.deleteLater()
        self._places = parts_of(place) if place is not None else ()
        self.buttons = [self._button(part) for part in self._places]
        for number, button in enumerate(self.buttons):
            self._row.insertWidget(1 + number, button)
        self.setVisible(bool(self.buttons))
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Show as many parts as there is room for, the innermost in any case."""
        super().resizeEvent(event)
        self._fit()

    def _button(self, part: Location) -> QToolButton:
        button = QToolButton(self)
        metrics = button.fontMetrics()
        width = metrics.averageCharWidth() * _LONGEST
        middle = Qt.TextElideMode.ElideMiddle
        text = metrics.elidedText(_text(part), middle, width)
        button.setText(f"{text} /".replace("&", "&&"))
        button.setAutoRaise(True)
        button.setToolTip(plain(part.display))
        button.setAccessibleName(f"Go to {_text(part)}")
        button.clicked.connect(partial(self._choose, part))
        return button

    def _choose(self, part: Location, *_: object) -> None:
        self.chosen.emit(part)

    def _fit(self) -> None:
        room = self.width() - self.more.sizeHint().width()
        shown = 0
        for button in reversed(self.buttons):
            room -= button.sizeHint().width()
            if room < 0 and shown:
                break
            shown += 1
        hidden = len(self.buttons) - shown
        for number, button in enumerate(self.buttons):
            button.setVisible(number >= hidden)
        self._menu.clear()
        for part in self._places[:hidden]:
            action = self._menu.addAction(_text(part).replace("&", "&&"))
            if action is not None:
                action.triggered.connect(partial(self._choose, part))
        self.more.setVisible(hidden > 0)


def _text(part: Location) -> str:
    if part.path or part.member:
        return part.name
    return part.root or "/"
