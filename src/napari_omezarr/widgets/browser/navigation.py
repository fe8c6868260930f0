"""Going from place to place: by address, by rows, back and up."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_omezarr.browsing import Entry, EntryKind, start
from napari_omezarr.claims import is_view_address
from napari_omezarr.connections import Bookmark, ConnectionFile
from napari_omezarr.errors import LocationError
from napari_omezarr.location import Location, parse_many, without_secrets
from napari_omezarr.store import open_buckets
from napari_omezarr.user_files import Recents
from napari_omezarr.widgets.qt_async import FutureWatcher, failure

from .start_page import read_known_places, start_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari_omezarr.browsing import EntryPage
    from napari_omezarr.connections import Connection
    from napari_omezarr.store import ObjectMeta

    from .header import BrowserHeader
    from .tree_view import EntryTree

    Places = tuple[Location, ...]

_MOST = 100
"""Steps that are remembered."""


class History:
    """What was shown: each a place, several places, or ``()`` for the start page."""

    def __init__(self) -> None:
        self._shown: list[Places] = [()]

    @property
    def here(self) -> Places:
        """What is shown now."""
        return self._shown[-1]

    @property
    def can_go_back(self) -> bool:
        """Whether anything was shown before."""
        return len(self._shown) > 1

    def go(self, places: Places) -> None:
        """Remember what is shown now; the same again counts once."""
        if places != self.here:
            self._shown.append(places)
            del self._shown[:-_MOST]

    def back(self) -> Places:
        """Forget what is shown, and give what was before."""
        if self.can_go_back:
            self._shown.pop()
        return self.here


def above(places: Places) -> Places:
    """Give the place above; the start page above a bucket, a host or a disk."""
    if len(places) != 1:
        return ()
    (place,) = places
    return (place.parent,) if place.path or place.member else ()


def row_between(below: Places, places: Places) -> str:
    """Give the name of the row that leads from a place to the one below it."""
    if len(below) == 1 and above(below) == places:
        return below[0].name
    return ""


class Navigation(QObject):
    """Keeps header and rows at the same place."""

    moved = Signal()
    """Another place is shown, or the same one anew."""
    failed = Signal(object)
    """An `OMEZarrError`."""
    status_changed = Signal(str)
    view_wanted = Signal(str)
    """The address of a view, which is to be shown and is no place."""

    def __init__(self, header: BrowserHeader, tree: EntryTree, parent: QObject) -> None:
        super().__init__(parent)
        self._header = header
        self._tree = tree
        self._history = History()
        self._row_to_choose = ""
        self._files = False
        self._buckets: FutureWatcher | None = None
        self._connect()
        self.refill()

    @property
    def here(self) -> Places:
        """What is shown: a place, several, or ``()`` for the start page."""
        return self._history.here

    @property
    def can_bookmark(self) -> bool:
        """Whether a place is shown that is one of the person's own connections."""
        connection = self._header.chooser.connection
        return len(self.here) == 1 and connection in self.known_places.own

    def refill(self) -> None:
        """Read connections, bookmarks and recent places again."""
        self.known_places = read_known_places()
        self._header.chooser.fill(self.known_places)
        self._header.address.complete_from(self.known_places.addresses())

    def locate(self, text: str) -> Location:
        """Parse an address as one of the connection that is chosen.

        Raises LocationError.
        """
        connection = self._header.chooser.connection
        return connection.locate(text) if connection else Location.parse(text)

    def go(self, *places: Location, select: str = "") -> None:
        """Show a place, several, or the start page; choose a row by its path."""
        self._history.go(places)
        self._row_to_choose = select
        self._header.filter.reset()
        self._show()

    def go_to_text(self) -> None:
        """Go where the address bar says."""
        text = self._header.address.address_text()
        if is_view_address(text):
            self.view_wanted.emit(text)
            return
        try:
            places = self._header.address.places(self.locate)
        except LocationError as error:
            self.failed.emit(error)
            return
        self.go(*places)
        self._tree.setFocus()

    def go_to_pasted(self, text: str) -> None:
        """Go to the addresses in a text that was pasted or dropped."""
        if is_view_address(text):
            self.view_wanted.emit(text)
            return
        try:
            lines = [line for line in text.splitlines() if line.strip()]
            one = len(lines) == 1 and self.locate(lines[0])
            places = (one,) if one else parse_many(text)
        except LocationError as error:
            self._header.address.set_address(text)
            self.failed.emit(error)
            return
        if places:
            self.go(*places)

    def go_to_connection(self, connection: Connection | None) -> None:
        """Go where a connection begins, or to its buckets if it does not say."""
        if connection is None:
            return
        place = start_of(connection)
        if place is not None:
            self.go(place)
            return
        self.go()
        self._header.chooser.select(connection)
        self.status_changed.emit(f"Asking {connection.name} for its buckets …")
        future = start(open_buckets(connection.profile).buckets())
        receive = partial(self._show_buckets, connection)
        self._buckets = FutureWatcher(future, receive, self)

    def back(self) -> None:
        """Show what was shown before."""
        below = self.here
        self._row_to_choose = row_between(below, self._history.back())
        self._header.filter.reset()
        self._show()

    def up(self) -> None:
        """Show the place above."""
        below, places = self.here, above(self.here)
        if below:
            self.go(*places, select=row_between(below, places))

    def _go_above(self, place: Location) -> None:
        """Show a place above, with the row chosen that leads back down."""
        below = self.here[0] if len(self.here) == 1 else place
        while below.parent not in (place, below):
            below = below.parent
        self.go(place, select=below.name if below != place else "")

    def reload(self) -> None:
        """Ask again for what is shown."""
        entry = self._tree.entry
        self._row_to_choose = entry.path if entry else ""
        self.refill()
        self._show()

    def show_written(self, address: str) -> None:
        """Show what was written, where that is among the rows."""
        node = self._tree.rows.node_around(address) if len(self.here) == 1 else None
        if node is None:
            return
        if node.parent is None:
            self.reload()
        else:
            self._tree.rows.refresh(node)

    def show_files(self, on: bool) -> None:
        """Show every object as it is stored, or images."""
        self._files = on
        self._show()

    def forget(self, place: Location) -> None:
        """Take a place from the recent ones; the start page is shown anew."""
        Recents().remove(without_secrets(place))
        self.refill()
        self.moved.emit()

    def bookmark(self) -> None:
        """Keep the place with its connection; a small file is written."""
        connection = self._header.chooser.connection
        if connection is None or not self.can_bookmark:
            return
        (place,) = self.here
        mark = Bookmark(place.name, without_secrets(place))
        try:
            ConnectionFile().bookmark(connection.name, mark)
        except OSError:
            sentence = "The bookmark could not be written to your settings."
        else:
            self.refill()
            sentence = f"{place.name} is among the bookmarks of {connection.name}."
        self.status_changed.emit(sentence)

    def stop(self) -> None:
        """End what is asked for."""
        if self._buckets is not None:
            self._buckets.abandon()
        self._tree.rows.stop()

    def _connect(self) -> None:
        header, tree = self._header, self._tree
        header.go_wanted.connect(self.go_to_text)
        header.back_wanted.connect(self.back)
        header.path.chosen.connect(self._go_above)
        header.up_wanted.connect(self.up)
        header.reload_wanted.connect(self.reload)
        header.chooser.chosen.connect(self.go_to_connection)
        header.filter.filtered.connect(lambda _: self._show())
        header.filter.left.connect(tree.setFocus)
        tree.up_wanted.connect(self.up)
        tree.entered.connect(lambda entry: self.go(entry.location))
        tree.typed.connect(header.filter.add)
        tree.rows.arrived.connect(self._choose_row)

    def _show(self) -> None:
        if self._buckets is not None:
            self._buckets.abandon()
            self._buckets = None
        places, header, rows = self.here, self._header, self._tree.rows
        header.enable_buttons(back=self._history.can_go_back, up=bool(places))
        header.filter.setEnabled(len(places) == 1)
        one = places[0] if len(places) == 1 else None
        header.address.show_place(one)
        header.path.show_place(one)
        header.chooser.select(self.known_places.owner(one) if one else None)
        self.moved.emit()
        if one is None:
            rows.show_entries(list(map(_entry, places)))
        else:
            rows.show_place(one, prefix=header.filter.text(), files=self._files)

    def _choose_row(self, page: EntryPage) -> None:
        """Choose the row that one came from, or the image that was named."""
        tree, path = self._tree, self._row_to_choose
        self._row_to_choose = ""
        if path:
            index = tree.rows.find(path)
        elif page.here.is_openable and not self._files:
            index = tree.rows.index(0)
            tree.expand(index)
        else:
            return
        if index.isValid():
            tree.choose(index)

    def _show_buckets(
        self, connection: Connection, future: Future[tuple[ObjectMeta, ...]]
    ) -> None:
        self._buckets = None
        self.status_changed.emit("")
        error = failure(future)
        if error is not None:
            self.failed.emit(error)
            return
        names = (bucket.name for bucket in future.result())
        self.go(*(connection.locate(f"s3://{name}") for name in names))
        self._header.chooser.select(connection)


def _entry(place: Location) -> Entry:
    if place.protocol == "s3" and not place.path:
        return Entry(place, "", EntryKind.BUCKET)
    return Entry(place, "", label=place.display)
