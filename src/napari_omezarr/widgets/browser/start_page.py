"""The places that are known by name, and the page that offers them to start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
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
from napari_omezarr.location import Location
from napari_omezarr.plain_text import plain
from napari_omezarr.user_files import Recents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtGui import QKeyEvent

_MOST_RECENT = 5
"""Recent places that are shown; all of them complete the address."""

_PLACE = Qt.ItemDataRole.UserRole
_CONNECTION = Qt.ItemDataRole.UserRole + 1
_IS_RECENT = Qt.ItemDataRole.UserRole + 2


@dataclass(frozen=True, slots=True)
class KnownPlaces:
    """Connections and places, read from small files of this computer."""

    own: tuple[Connection, ...]
    # Those that come with the plugin.
    public: tuple[Connection, ...]
    # What was opened last, newest first, and what was saved; with the day.
    recent: tuple[Location, ...]
    saved: tuple[Location, ...] = ()
    days: Mapping[Location, str] = field(default_factory=dict)

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
        places = (*self.recent, *self.saved, *marks)
        return {place.display: place for place in places}


def read_known_places() -> KnownPlaces:
    """Read the places that are known now."""
    own = ConnectionFile().connections()
    names = {connection.name for connection in own}
    public = (*offered(), *shipped().connections)
    public = tuple(c for c in public if c.name not in names)
    entries = [(Location.parse(entry.address), entry) for entry in Recents().entries()]
    return KnownPlaces(
        own,
        public,
        tuple(place for place, entry in entries if not entry.saved),
        tuple(place for place, entry in entries if entry.saved),
        {place: entry.opened[:10] for place, entry in entries},
    )


def start_of(connection: Connection) -> Location | None:
    """Say where a connection begins; None if it names no place."""
    profile = connection.profile
    text = profile.start
    if profile.sign_in == "header":  # a web server has no buckets to begin with
        text = text or profile.endpoint or ""
    try:
        return connection.locate(text) if text else None
    except LocationError:
        return None


class StartPage(QWidget):
    """Offers recent places, connections and their bookmarks to start from."""

    chosen = Signal(object)
    """A `Location`."""
    connection_chosen = Signal(object)
    """A `Connection` that names no place to begin at."""
    forget_wanted = Signal(object)
    """A recent `Location`, by Delete."""
    paste_wanted = Signal()
    folder_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        hint = QLabel("Paste an address, drop a link here, or start from:", self)
        hint.setWordWrap(True)
        self.paste_button = QPushButton("&Paste", self)
        self.folder_button = QPushButton("&Folder…", self)
        self.folder_button.setToolTip("Choose a folder of this computer")
        self.places = _PlaceList(self)
        line, layout = QHBoxLayout(), QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        line.addWidget(hint, stretch=1)
        line.addWidget(self.paste_button)
        line.addWidget(self.folder_button)
        layout.addLayout(line)
        layout.addWidget(self.places)
        self.paste_button.clicked.connect(lambda: self.paste_wanted.emit())
        self.folder_button.clicked.connect(lambda: self.folder_wanted.emit())
        self.places.itemActivated.connect(self._choose)
        self.places.itemClicked.connect(self._choose)
        self.places.delete_wanted.connect(self._forget)

    def fill(self, known: KnownPlaces) -> None:
        """Offer the places that are known."""
        self.places.clear()
        for title, places in (("Opened", known.recent), ("Saved", known.saved)):
            if places:
                group = self._group(title)
                group.setToolTip(0, "Delete forgets the one that is chosen")
                for place in places[:_MOST_RECENT]:
                    text = recent_text(place, known.days.get(place, ""))
                    _item(group, text, place).setData(0, _IS_RECENT, True)
        for connection in known.connections:
            self._connection(connection)
        self.places.expandAll()

    def _connection(self, connection: Connection) -> None:
        start = start_of(connection)
        group = self._group(connection.name, start)
        group.setData(0, _CONNECTION, connection)
        for mark in connection.bookmarks:
            place = connection.locate(mark.address)
            item = _item(group, mark.name, place)
            if mark.note:
                item.setToolTip(0, plain(f"{mark.note}\n{place.display}"))

    def _group(self, name: str, place: Location | None = None) -> QTreeWidgetItem:
        item = _item(self.places, name, place)
        font = item.font(0)
        font.setBold(True)
        item.setFont(0, font)
        return item

    def _choose(self, item: QTreeWidgetItem) -> None:
        place, connection = item.data(0, _PLACE), item.data(0, _CONNECTION)
        if place is not None:
            self.chosen.emit(place)
        elif connection is not None:
            self.connection_chosen.emit(connection)

    def _forget(self, item: QTreeWidgetItem) -> None:
        if item.data(0, _IS_RECENT):
            self.forget_wanted.emit(item.data(0, _PLACE))


class _PlaceList(QTreeWidget):
    """Places in groups; Enter chooses one on every system."""

    delete_wanted = Signal(object)
    """The item, by its key."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setHeaderHidden(True)
        self.setAccessibleName("Bookmarks and recent places")
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setIndentation(12)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Choose on Enter, and ask to forget on Delete."""
        item = self.currentItem()
        if event is None or item is None:
            super().keyPressEvent(event)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.itemActivated.emit(item, 0)
        elif event.matches(QKeySequence.StandardKey.Delete):
            self.delete_wanted.emit(item)
        else:
            super().keyPressEvent(event)


def recent_text(place: Location, day: str) -> str:
    """Say which place it is, where, and when it was used: names come twice."""
    where = place.parent.display if place.protocol == "file" else place.root
    return " · ".join(part for part in (place.name, where, day) if part)


def _item(
    parent: QTreeWidget | QTreeWidgetItem, text: str, place: Location | None
) -> QTreeWidgetItem:
    item = QTreeWidgetItem(parent, [text])
    item.setData(0, _PLACE, place)
    if place is not None:
        item.setToolTip(0, plain(place.display))
    return item
