"""What of a place is to be opened as layers; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_omezarr.browsing import Kind
from napari_omezarr.reading import ReadOptions

if TYPE_CHECKING:
    from napari_omezarr.browsing import Entry
    from napari_omezarr.location import Location


_ALL = ReadOptions()


@dataclass(frozen=True, slots=True)
class Wish:
    """A place, and which part of it.

    Attributes
    ----------
    location : Location
        The image, plate or whatever else is to be opened.
    options : ReadOptions
        The level, the labels, the series.
    channels : tuple of int or None
        Only these; None is all.
    labels_only : bool
        Its label images, without the image.
    is_chosen : bool
        The person has seen what she chose from; she is not asked again.
    """

    location: Location
    options: ReadOptions = _ALL
    channels: tuple[int, ...] | None = None
    labels_only: bool = False
    is_chosen: bool = False


def wish_for(entry: Entry, above: Entry | None, row: int) -> Wish:
    """Say what opening a row means.

    Parameters
    ----------
    entry : Entry
        The row.
    above : Entry or None
        What it lies below: of a level the levels, and then only that level opens.
    row : int
        Where it lies there.
    """
    if entry.kind is Kind.ARRAY and above is not None and above.kind is Kind.LEVELS:
        options = ReadOptions(labels=False, level=row)
        return Wish(above.location, options, is_chosen=True)
    return Wish(entry.location)
