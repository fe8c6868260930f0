"""The top of the dock: connection, where one is, how one gets elsewhere, filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize, QStringListModel, Qt, QTimer, Signal
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import (
    QComboBox,
    QCompleter,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.connections import (
    Connection,
    ConnectionFile,
    belongs,
    offered,
    shipped,
)
from napari_omezarr.errors import LocationError
from napari_omezarr.location import Location, parse_many
from napari_omezarr.user_files import Recents
from napari_omezarr.widgets.open_dialog import AddressLine

from .text import SIDE, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qtpy.QtGui import QKeyEvent

# The line that says where one is, and takes one elsewhere.


class AddressBar(AddressLine):
    """Takes anything a person pastes; completes from what is known.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    wanted = Signal()
    """Enter, or a completion was taken."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._known: dict[str, Location] = {}
        self._here: Location | None = None
        self._words = QStringListModel(self)
        completer = QCompleter(self._words, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.setCompleter(completer)
        self.setAccessibleName("Address")
        self.setToolTip("Where this is; paste any address and press Enter")
        self.returnPressed.connect(self.wanted)

    def complete_from(self, known: Mapping[str, Location]) -> None:
        """Complete from these places, by what people see of their addresses."""
        self._known = dict(known)
        self._words.setStringList(list(self._known))

    def show_place(self, place: Location | None) -> None:
        """Say where one is; how to sign in there is kept, and not shown."""
        self._here = place
        self.set_address(place.display if place else "")
        self.setCursorPosition(0)

    def places(self, parse: Callable[[str], Location]) -> tuple[Location, ...]:
        """Give the places that the line names.

        Parameters
        ----------
        parse : callable
            Makes a place of one address, as one of the connection that is chosen.

        Raises
        ------
        LocationError
            It names none that could be opened.
        """
        text = self.address_text()
        if self._here is not None and text == self._here.display:
            return (self._here,)
        if text in self._known:
            return (self._known[text],)
        if "\n" in text:
            return parse_many(text)
        return (parse(text),) if text else ()


# The connection that is chosen, and the button that edits it.

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
        self._known: KnownPlaces | None = None
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

    def fill(self, known: KnownPlaces) -> None:
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


# The line in which a person types the beginning of a name.

PAUSE = 250
"""Milliseconds without a key after which the server is asked."""


class FilterBox(QLineEdit):
    """Tells of a filter when the typing pauses; Enter and Down go to the rows.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    filtered = Signal(str)
    left = Signal()
    """The person wants to be among the rows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._told = ""
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.timeout.connect(self._tell)
        self.setPlaceholderText("begins with …")
        self.setAccessibleName("Filter: what names begin with")
        self.setToolTip("Show only names that begin so; the server selects")
        self.setClearButtonEnabled(True)
        self.textChanged.connect(lambda: self._pause.start(PAUSE))

    def reset(self) -> None:
        """Empty it, without telling: another place is shown."""
        self._told = ""
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
            self._tell()
            self.left.emit()
        elif event.key() == keys.Key_Escape and self.text():
            self.clear()
        else:
            super().keyPressEvent(event)

    def _tell(self) -> None:
        self._pause.stop()
        if self.text() != self._told:
            self._told = self.text()
            self.filtered.emit(self._told)


# The top of the dock: connection, where one is, how one gets elsewhere, filter.

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


# A line for an address, with a button that chooses on this computer.


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


# The places that are known by name: connections, bookmarks, recent places.


@dataclass(frozen=True, slots=True)
class KnownPlaces:
    """What there is to choose from, read from small files of this computer.

    Attributes
    ----------
    own, public : tuple of Connection
        The person's, and those that come with the plugin.
    recent : tuple of Location
        What was opened last, newest first.
    """

    own: tuple[Connection, ...]
    public: tuple[Connection, ...]
    recent: tuple[Location, ...]

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Every connection; the person's first."""
        return (*self.own, *self.public)

    def find(self, name: str) -> Connection | None:
        """Find a connection by its name."""
        return next((c for c in self.connections if c.name == name), None)

    def owner(self, place: Location) -> Connection | None:
        """Find the connection that a place is one of."""
        owners = (c for c in self.connections if belongs(place, c.profile))
        return next(owners, None)

    def addresses(self) -> dict[str, Location]:
        """Give every place that is known, by what people see of its address."""
        marks = (c.locate(b.address) for c in self.connections for b in c.bookmarks)
        places = (*self.recent, *marks)
        return {place.display: place for place in places}


def known_places() -> KnownPlaces:
    """Read what is known now."""
    own = ConnectionFile().connections()
    names = {connection.name for connection in own}
    public = (*offered(), *shipped().connections)
    public = tuple(c for c in public if c.name not in names)
    recent = tuple(Location.parse(entry.address) for entry in Recents().entries())
    return KnownPlaces(own, public, recent)


def start_of(connection: Connection) -> Location | None:
    """Say where a connection begins; None if it names no place."""
    text = connection.profile.start
    try:
        return connection.locate(text) if text else None
    except LocationError:
        return None
