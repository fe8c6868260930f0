"""The parts of a node, from its metadata: what a browser shows below an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.metadata import (
    Image,
    Labels,
    Plate,
    Scene,
    Series,
    Well,
    parse_document,
)
from napari_omezarr.reading import ReadOptions
from napari_omezarr.reading.batches import ask
from napari_omezarr.reading.collections import listed_images
from napari_omezarr.reading.nodes import Group, Opening, group_keys, joined, node

from .entry import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_omezarr.location import Location
    from napari_omezarr.metadata import Kind as Meaning
    from napari_omezarr.reading.batches import Answers, Questions
    from napari_omezarr.store import PlaceStore

_NUMBERED = 8
"""How many numbered images are asked for at once where nothing lists them."""


def part_keys() -> tuple[str, ...]:
    """Give the keys that tell of the parts of an image, to go with its own wave."""
    return group_keys("labels")


def parts(
    here: Entry, group: Group, store: PlaceStore, answers: Answers
) -> Questions[list[Entry]]:
    """Find the parts of a group that is OME-Zarr.

    Nothing is asked but for a series, whose list lies in another document.

    Parameters
    ----------
    here : Entry
        The group's own entry; with `Kind.LEVELS` the levels of an image.
    group : Group
        Its document.
    store : PlaceStore
        The store whose root it is.
    answers : Answers
        The answers to ``part_keys``.
    """
    kind = parse_document(group.attributes, zarr_format=group.zarr_format).kind
    if isinstance(kind, Series):
        return (yield from _series(here.location, group, store))
    if isinstance(kind, Image) and here.kind is not Kind.LEVELS:
        return _of_image(here.location, kind, group, answers)
    return _named(here.location, kind)


def _named(place: Location, kind: Meaning | None) -> list[Entry]:
    match kind:
        case Image(multiscales=multiscales):
            paths = [d.path for m in multiscales for d in m.datasets]
            return _entries(place, paths, Kind.ARRAY)
        case Labels(paths=labels):
            return _entries(place, labels, Kind.LABEL)
        case Plate(wells=wells):
            return _entries(place, [well.path for well in wells], Kind.WELL)
        case Well(images=images):
            return _entries(place, [image.path for image in images], Kind.IMAGE)
        case Scene(images=placed):
            return _entries(place, [image.path for image in placed], Kind.IMAGE)
    return []


def _of_image(
    place: Location, image: Image, group: Group, answers: Answers
) -> list[Entry]:
    count = sum(len(multiscale.datasets) for multiscale in image.multiscales)
    found = [Entry(place, "", Kind.LEVELS, True, str(count), label="levels")]
    try:
        labels = node("labels", answers, group.zarr_format)
        if not isinstance(labels, Group):
            return found
        kind = parse_document(labels.attributes, zarr_format=labels.zarr_format).kind
    except OMEZarrError as error:
        return [*found, Entry(place, "labels", Kind.LABELS, problem=str(error))]
    if isinstance(kind, Labels):
        count = len(kind.paths)
        found.append(Entry(place, "labels", Kind.LABELS, True, str(count)))
    return found


def _series(place: Location, group: Group, store: PlaceStore) -> Questions[list[Entry]]:
    opening = Opening(place, store, ReadOptions())
    paths, names = yield from listed_images(opening, group)
    if not paths:
        paths = yield from _numbered(group.zarr_format)
    named = dict(zip(paths, names, strict=False))
    return [
        Entry(place, path, Kind.IMAGE, label=_label(path, named.get(path, "")))
        for path in paths
    ]


def _numbered(zarr_format: int) -> Questions[tuple[str, ...]]:
    found: list[str] = []
    while True:
        paths = [str(len(found) + number) for number in range(_NUMBERED)]
        keys = {path: group_keys(path, zarr_format) for path in paths}
        answers = yield from ask(key for several in keys.values() for key in several)
        there = [
            path
            for path, several in keys.items()
            if any(isinstance(answers[key], bytes) for key in several)
        ]
        found += there
        if len(there) < _NUMBERED:
            return tuple(found)


def _label(path: str, name: str) -> str:
    return f"{path} · {name}" if name else ""


def _entries(place: Location, paths: Iterable[str], kind: Kind) -> list[Entry]:
    return [Entry(place, joined(path), kind, label=path) for path in paths]
