"""The places of a connection: where it begins, its bookmarks, what was opened last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_omezarr.location import Location
from napari_omezarr.recents import Recents

from .book import belongs

if TYPE_CHECKING:
    from napari_omezarr.profiles import Profile
    from napari_omezarr.recents import Recent


def recent_places(
    profile: Profile, recents: Recents | None = None
) -> tuple[Recent, ...]:
    """Give the places that were opened last with a connection, newest first.

    Parameters
    ----------
    profile : Profile
        The connection.
    recents : Recents, optional
        The list; by default the person's.
    """
    every = (recents or Recents()).entries()
    return tuple(e for e in every if belongs(Location.parse(e.address), profile))
