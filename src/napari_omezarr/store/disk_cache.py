"""The disk cache of this process: off until somebody says how large it may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from .shelf import Shelf, Uses
from .shelfroom import ShelfRoom
from .shelved import ShelvedTransport, Source

if TYPE_CHECKING:
    import os

    from napari_omezarr.location import Location
    from napari_omezarr.profiles import Profile

    from .transport import Transport

GIGABYTE = 2**30
HOUR = 3600


@dataclass(frozen=True, slots=True)
class DiskCacheFacts:
    """What can be said about the disk cache.

    Attributes
    ----------
    folder : Path
        Where its files are, whether it is on or off.
    bytes : int
        What they take on disk, estimated.
    entries : int
        How many there are.
    hits, confirmed, misses : int
        How many answers this process took from it without asking anybody, took
        after the place said that they are current, and had to fetch.
    """

    folder: Path
    bytes: int
    entries: int
    hits: int
    confirmed: int
    misses: int


class _DiskCache:
    def __init__(self) -> None:
        self.shelf: Shelf | None = None
        self.max_age = 0.0


_in_use = _DiskCache()


def default_disk_cache_folder() -> Path:
    """Give the folder where such files belong on this system; it need not exist."""
    return Path(platformdirs.user_cache_dir("napari-omezarr", appauthor=False))


def set_disk_cache(
    folder: str | os.PathLike[str] | None = None,
    *,
    size: int = 10 * GIGABYTE,
    max_age: float = HOUR,
) -> None:
    """Keep what remote places send in a folder, for all stores opened from now on.

    Nothing is read or written yet.

    Parameters
    ----------
    folder : path-like, optional
        Our files go into a folder of their own in there, which several processes
        may share. By default it is `default_disk_cache_folder`.
    size : int
        How many bytes they may take; 0 turns the cache off and leaves them alone.
    max_age : float
        For how many seconds something is shown without asking whether it has
        changed; 0 asks each time.
    """
    where = _chosen(folder)
    before = _in_use.shelf
    if size <= 0:
        _in_use.shelf = None
    elif before is None or (before.room.base, before.room.size) != (where, size):
        _in_use.shelf = Shelf(where, size)
    _in_use.max_age = max_age


def clear_disk_cache(folder: str | os.PathLike[str] | None = None) -> None:
    """Delete all that is kept, also while the cache is off.

    Parameters
    ----------
    folder : path-like, optional
        Where; by default what is in use, or else the default.
    """
    _room(folder).clear()


def disk_cache_facts(folder: str | os.PathLike[str] | None = None) -> DiskCacheFacts:
    """Count what is kept, by looking at every file: not for the GUI thread.

    Parameters
    ----------
    folder : path-like, optional
        Where; by default what is in use, or else the default.
    """
    room = _room(folder)
    uses = _in_use.shelf.uses if _in_use.shelf else Uses()
    size, entries = room.contents()
    return DiskCacheFacts(
        room.folder, size, entries, uses.hits, uses.confirmed, uses.misses
    )


def with_disk_cache(
    transport: Transport, location: Location, profile: Profile | None
) -> Transport:
    """Put the disk cache before a way to a remote place, if there is one.

    Local files and memory are as near as the cache is. Places that fsspec reads are
    left alone too: it does not say of which version an object is.
    """
    if _in_use.shelf is None or not isinstance(transport, Source):
        return transport
    named = profile.name if profile else ""
    anonymous = location.anonymous or bool(profile and profile.anonymous)
    sign_in = "anonymous" if anonymous else f"as {location.profile or named}"
    return ShelvedTransport(transport, _in_use.shelf, _in_use.max_age, sign_in)


def _chosen(folder: str | os.PathLike[str] | None) -> Path:
    return Path(folder).expanduser() if folder else default_disk_cache_folder()


def _room(folder: str | os.PathLike[str] | None) -> ShelfRoom:
    if folder is None and _in_use.shelf:
        return _in_use.shelf.room
    return ShelfRoom(_chosen(folder), 0)
