"""What a caller may choose, and what all parts of one opening share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .consolidated import Consolidated

if TYPE_CHECKING:
    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Pyramid
    from napari_omezarr.store import PlaceStore


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Which part of what lies at an address is opened.

    Parameters
    ----------
    labels : bool or tuple of str, optional
        Open the label images of an image: all, none, or those of these paths.
    level : int or None, optional
        Only this resolution level, 0 being the finest.
    multiscale : int, str or None, optional
        Which of several multiscales, by number or name; None is the first.
    series : int, str or None, optional
        Only this image of a bioformats2raw series or a scene, by number or path.
    coordinate_system : str or None, optional
        The 0.6 coordinate system to show an image in; None follows the
        multiscale's own transforms as far as they lead.
    """

    labels: bool | tuple[str, ...] = True
    level: int | None = None
    multiscale: int | str | None = None
    series: int | str | None = None
    coordinate_system: str | None = None


@dataclass(slots=True)
class Opening:
    """One opening: its place, its options, and what there is to tell about it."""

    location: Location
    store: PlaceStore
    options: ReadOptions
    warnings: list[str] = field(default_factory=list)
    consolidated: Consolidated = field(default_factory=Consolidated)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was opened.

    Parameters
    ----------
    location : Location
        What was read; for a level's address its image.
    pyramids : tuple of Pyramid
        Images, each followed by its label images; at least one.
    warnings : tuple of str
        What had to be tolerated, over all pyramids, once each.
    notes : tuple of str
        How the place was reached (signed in as whom, moved, followed), once each.
    """

    location: Location
    pyramids: tuple[Pyramid, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
