"""One row of a browser: what lies at a place, as far as it is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_omezarr.location import Location

TIMES = "\N{MULTIPLICATION SIGN}"
_STORES = (".zarr", ".ozx", ".zarr.zip")


class Kind(StrEnum):
    """What an entry is; a folder may turn out to be any of the others."""

    BUCKET = "bucket"
    FOLDER = "folder"
    ARCHIVE = "archive"
    FILE = "file"
    GROUP = "group"
    IMAGE = "image"
    LEVELS = "levels"
    LABELS = "labels"
    LABEL = "label image"
    PLATE = "plate"
    WELL = "well"
    SERIES = "series"
    SCENE = "scene"
    ARRAY = "array"


_LEAVES = frozenset({Kind.FILE, Kind.ARRAY})
_LISTED = frozenset({Kind.BUCKET, Kind.FOLDER, Kind.ARCHIVE, Kind.GROUP})
_OPENABLE = frozenset(Kind) - {Kind.BUCKET, Kind.FOLDER, Kind.FILE, Kind.GROUP}


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies at a place; small, as there may be a hundred thousand of them.

    Attributes
    ----------
    parent : Location
        The place it was found in.
    path : str
        Its path from there; ``""`` if it is that place.
    kind : Kind
        What it is, or what its name makes one expect until it is recognised.
    recognised : bool
        Whether somebody looked: `kind` is then sure.
    summary : str
        A few words for the row, like ``z236 275 x 271`` or ``8 x 12, 3 fields``.
    version : str
        The OME-Zarr version, ``""`` if it has none.
    label : str
        What to call it instead of the last part of its path.
    size : int or None
        Bytes of an object.
    modified : str
        When the object was written (ISO 8601, UTC).
    problem : str
        Why it could not be looked at: a sentence.
    """

    parent: Location
    path: str
    kind: Kind = Kind.FOLDER
    recognised: bool = False
    summary: str = ""
    version: str = ""
    label: str = ""
    size: int | None = None
    modified: str = ""
    problem: str = ""

    @property
    def location(self) -> Location:
        """Where it is."""
        return self.parent / self.path if self.path else self.parent

    @property
    def name(self) -> str:
        """What to call it in its row."""
        return self.label or self.path.rpartition("/")[2] or self.parent.name

    @property
    def is_leaf(self) -> bool:
        """Whether it never has children."""
        return self.kind in _LEAVES

    @property
    def is_listed(self) -> bool:
        """Whether its children are found by listing, and not in its metadata."""
        return self.kind in _LISTED

    @property
    def is_openable(self) -> bool:
        """Whether it is something that can be shown as layers."""
        return self.kind in _OPENABLE and (self.recognised or self.kind != Kind.ARCHIVE)

    @property
    def looks_like_store(self) -> bool:
        """Whether its name says that it is a Zarr; for an icon before it is known."""
        return (self.path or self.parent.name).lower().endswith(_STORES)


def size_text(names: Iterable[str], shape: tuple[int, ...]) -> str:
    """Say axes with their sizes: ``c2 z236 275 x 271``.

    Parameters
    ----------
    names : Iterable of str
        The axes, in the order of `shape`.
    shape : tuple of int
        In pixels; ``()`` where it is not known: only names are given then.
    """
    every = tuple(names)
    if len(every) != len(shape):
        return " ".join(every) or TIMES.join(map(str, shape))
    words = [f"{n}{size}" for n, size in zip(every, shape, strict=True)]
    if every[-2:] == ("y", "x"):
        words[-2:] = [f"{shape[-2]}{TIMES}{shape[-1]}"]
    return " ".join(words)
