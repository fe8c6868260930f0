"""The places that are known by name: connections, bookmarks, recent places."""

from __future__ import annotations

from dataclasses import dataclass

from napari_omezarr.connections import Book, Connection, belongs, offered, shipped
from napari_omezarr.errors import LocationError
from napari_omezarr.location import Location
from napari_omezarr.user_files import Recents


@dataclass(frozen=True, slots=True)
class Known:
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


def known() -> Known:
    """Read what is known now."""
    own = Book().connections()
    names = {connection.name for connection in own}
    public = (*offered(), *shipped().connections)
    public = tuple(c for c in public if c.name not in names)
    recent = tuple(Location.parse(entry.address) for entry in Recents().entries())
    return Known(own, public, recent)


def start_of(connection: Connection) -> Location | None:
    """Say where a connection begins; None if it names no place."""
    text = connection.profile.start
    try:
        return connection.locate(text) if text else None
    except LocationError:
        return None
