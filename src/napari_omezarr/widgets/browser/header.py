"""The top of the dock: connection, buttons, filter, address, and the path in parts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari.qt import get_current_stylesheet
from qtpy.QtCore import QEvent, QSize, QStringListModel, Qt, QTimer, Signal
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import (
    QComboBox,
    QCompleter,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.location import Location, parse_many
from napari_omezarr.plain_text import plain
from napari_omezarr.widgets.fields import tab_as_laid_out
from napari_omezarr.widgets.open_dialog import AddressLine

from .text import SIDE, button_icon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qtpy.QtGui import QFocusEvent, QKeyEvent, QResizeEvent

    from napari_omezarr.connections import Connection

    from .start_page import KnownPlaces

# The path of the place that is shown, in parts to click.

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
        tab_as_laid_out(self)
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
        # The root of a disk is a slash itself.
        button.setText(f"{text.removesuffix('/')} /".lstrip().replace("&", "&&"))
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


# Connection, buttons, filter and address.

ANY = "Any place"
"""No connection: an address says all, or what the AWS tools use is used."""

_PAUSE = 250
"""Milliseconds without a key after which the server is asked."""

_BUTTONS = {
    "back": "Back (Alt+Left)",
    "up": "Up (Backspace)",
    "reload": "Reload (F5)",
    "edit": "Edit connections",
    "go": "Go to the address (Enter)",
}


class AddressBar(AddressLine):
    """Takes anything a person pastes; completes from what is known."""

    wanted = Signal()
    """Enter, or a completion was taken."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._places: dict[str, Location] = {}
        self._here: Location | None = None
        self._completions = QStringListModel(self)
        completer = QCompleter(self._completions, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.setCompleter(completer)
        self.setAccessibleName("Address")
        self.setToolTip("Where this is; paste any address and press Enter")
        self.returnPressed.connect(self.wanted)

    def focusInEvent(self, event: QFocusEvent | None) -> None:
        """Give the list of completions, a window of its own, the theme's colours."""
        super().focusInEvent(event)
        completer = self.completer()
        popup = completer.popup() if completer is not None else None
        if popup is not None:
            popup.setStyleSheet(get_current_stylesheet())
            # Addresses differ at their ends.
            popup.setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Say again on Esc where one is; all else as any line of addresses."""
        is_escape = event is not None and event.key() == Qt.Key.Key_Escape
        if is_escape and self._here is not None:
            self.show_again()
        else:
            super().keyPressEvent(event)

    def complete_from(self, places: Mapping[str, Location]) -> None:
        """Complete from these places, by what people see of their addresses."""
        self._places = dict(places)
        self._completions.setStringList(list(places))

    def show_place(self, place: Location | None) -> None:
        """Say where one is; how to sign in there is kept, and not shown."""
        self._here = place
        self.set_address(place.display if place else "")
        self.setCursorPosition(0)

    def show_again(self) -> None:
        """Say again where one is, in place of what was typed."""
        self.show_place(self._here)

    def places(self, parse: Callable[[str], Location]) -> tuple[Location, ...]:
        """Give the places that the line names; `parse` makes one of one address.

        Raises LocationError if it names none that could be opened.
        """
        text = self.address_text()
        if self._here is not None and text == self._here.display:
            return (self._here,)
        if text in self._places:
            return (self._places[text],)
        if "\n" in text:
            return parse_many(text)
        return (parse(text),) if text else ()


class ConnectionChooser(QComboBox):
    """The person's connections, and those that come with the plugin."""

    chosen = Signal(object)
    """The `Connection` that the person has chosen, or None."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._known_places: KnownPlaces | None = None
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
        known = self._known_places
        return known.find(self.currentText()) if known is not None else None

    def fill(self, known: KnownPlaces) -> None:
        """Offer these connections; the chosen one stays if it is among them."""
        before = self.currentText()
        self._known_places = known
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


class FilterBox(QLineEdit):
    """Takes the beginning of a name; Enter and Down go to the rows."""

    filtered = Signal(str)
    """The text, when the typing pauses."""
    left = Signal()
    """The person wants to be among the rows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sent = ""
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.timeout.connect(self._send)
        self.setPlaceholderText("begins with …")
        self.setAccessibleName("Filter: what names begin with")
        self.setToolTip("Show only names that begin so; the server selects")
        self.setClearButtonEnabled(True)
        self.textChanged.connect(lambda: self._pause.start(_PAUSE))

    def reset(self) -> None:
        """Empty it without a signal: another place is shown."""
        self._sent = ""
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
            self._send()
            self.left.emit()
        elif event.key() == keys.Key_Escape and self.text():
            self.clear()
        else:
            super().keyPressEvent(event)

    def _send(self) -> None:
        self._pause.stop()
        if self.text() != self._sent:
            self._sent = self.text()
            self.filtered.emit(self._sent)


class BrowserHeader(QWidget):
    """Three lines of controls, which fit into 300 pixels."""

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
        self.path = PathBar(self)
        self.buttons = {name: self._button(name) for name in _BUTTONS}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        names = ("edit", "back", "up", "reload")
        buttons = [self.buttons[name] for name in names]
        layout.addLayout(_line([self.chooser, *buttons, self.filter]))
        layout.addLayout(_line([self.address, self.buttons["go"]]))
        layout.addWidget(self.path)
        tab_as_laid_out(self)
        self.address.wanted.connect(self.go_wanted)

    def enable_buttons(self, *, back: bool, up: bool) -> None:
        """Enable the buttons for the place before, and the one above."""
        self.buttons["back"].setEnabled(back)
        self.buttons["up"].setEnabled(up)

    def changeEvent(self, event: QEvent | None) -> None:
        """Draw the icons anew in another theme."""
        super().changeEvent(event)
        if event is not None and event.type() in (
            QEvent.Type.StyleChange,
            QEvent.Type.PaletteChange,
        ):
            for name, button in getattr(self, "buttons", {}).items():
                button.setIcon(button_icon(name, _text_color(button)))

    def _button(self, name: str) -> QToolButton:
        button = QToolButton(self)
        button.setIcon(button_icon(name, _text_color(button)))
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


def _text_color(widget: QWidget) -> str:
    return widget.palette().color(QPalette.ColorRole.ButtonText).name()
