"""What a person may choose from before a place is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_omezarr.browsing import Kind, Listing, describe

if TYPE_CHECKING:
    from napari_omezarr.browsing import Details, Entry
    from napari_omezarr.location import Location

_SEVERAL = (Kind.SERIES, Kind.SCENE)


@dataclass(frozen=True, slots=True)
class Choices:
    """A place with its channels, labels, levels and images.

    Attributes
    ----------
    location : Location
        What is to be opened.
    details : Details
        Of the image; of a series or a scene of its first one.
    images : tuple of Entry
        The images of a series or a scene; else none.
    """

    location: Location
    details: Details
    images: tuple[Entry, ...] = ()


def find_choices(location: Location) -> Choices:
    """Find out what there is to choose; blocks.

    Raises
    ------
    OMEZarrError
        The place could not be read.
    """
    details = describe(location, sample=False)
    if details.entry.kind not in _SEVERAL:
        return Choices(location, details)
    page = Listing(details.entry).more().result()
    return Choices(location, details, page.entries)
