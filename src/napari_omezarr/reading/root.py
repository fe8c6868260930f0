"""From an address to pyramids, in few request waves and without a pixel."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

from napari_omezarr.errors import NodeNotFoundError, OMEZarrError
from napari_omezarr.metadata import (
    Image,
    Labels,
    Plate,
    Scene,
    Series,
    Well,
    parse_document,
)
from napari_omezarr.store import open_store

from .image import find_parameters, image_keys, open_image, open_labels
from .nodes import Array, Group, find_node, group_keys, node
from .opening import Opening, Reading, ReadOptions
from .plain import describe_group, open_plain_array
from .plate import open_plate, open_well
from .series import open_scene, open_series
from .waves import answered, ask

if TYPE_CHECKING:
    from napari_omezarr.location import Location
    from napari_omezarr.metadata import Kind
    from napari_omezarr.pyramid import Pyramid

    from .nodes import Node
    from .waves import Answers, Questions


def read(location: Location, options: ReadOptions | None = None) -> Reading:
    """Open what lies at an address; metadata only, no pixel is read.

    Blocks for the request waves: 2 for an image, 3 with labels, 4 for a series or
    a plate of any size; 1 where consolidated metadata are there.

    Parameters
    ----------
    location : Location
        An image, a label image, a labels group, a well, a plate, a bioformats2raw
        series, a scene, a zarr array, or a level of an image (which opens its
        image).
    options : ReadOptions, optional
        What to open of it.

    Raises
    ------
    NodeNotFoundError
        Nothing is there, or nothing that could be shown.
    MetadataError
        A document cannot be understood even with tolerance.
    UnsupportedDataError
        The arrays cannot be decoded here.
    OptionError
        An option asks for something that is not there.
    StoreError
        The place could not be read.
    """
    options = options or ReadOptions()
    opening = Opening(location, open_store(location), options)
    first, answers = answered(_root(opening), opening.store, opening.consolidated)
    if isinstance(first, Array):
        owner = _owner(location, options)
        if owner is not None:
            return owner
    questions = _open(opening, first, answers)
    pyramids = answered(questions, opening.store, opening.consolidated)
    return _reading(opening, pyramids)


def _reading(opening: Opening, pyramids: list[Pyramid]) -> Reading:
    warnings = [*opening.warnings, *(w for p in pyramids for w in p.warnings)]
    notes = (*opening.location.notes, *opening.store.notes)
    return Reading(
        opening.location,
        tuple(pyramids),
        tuple(dict.fromkeys(warnings)),
        tuple(dict.fromkeys(notes)),
    )


def _root(opening: Opening) -> Questions[tuple[Node, Answers]]:
    """Ask for the address itself; both formats and the labels are guessed at."""
    answers = yield from ask((*image_keys(""), ".zmetadata"))
    found = node("", answers)
    if found is None or (isinstance(found, Group) and not _says_much(found)):
        found = (yield from find_node("")) or found
    if found is None:
        place = opening.location.display
        msg = f"There is no OME-Zarr at {place}."
        action = "Check the address; the image's own folder is what is needed."
        raise NodeNotFoundError(msg, action=action, url=place)
    return found, answers


def _says_much(group: Group) -> bool:
    # A zarr 2 array keeps its attributes in .zattrs too, so only a group that is
    # clearly OME-Zarr (or zarr 3, where one document says all) ends the search.
    if group.zarr_format == 3:
        return True
    return parse_document(group.attributes, zarr_format=2).kind is not None


def _open(opening: Opening, found: Node, answers: Answers) -> Questions[list[Pyramid]]:
    if isinstance(found, Array):
        return open_plain_array(opening, found)
    parameters = yield from find_parameters(opening, found)
    parse = partial(
        parse_document,
        found.attributes,
        zarr_format=found.zarr_format,
        url=opening.location.display,
        parameters=parameters,
    )
    document = parse()
    if isinstance(document.kind, Scene):
        return (yield from open_scene(opening, found, document.kind, parse))
    if not isinstance(document.kind, Image):  # an image keeps its own
        opening.warnings.extend(document.warnings)
    return (yield from _open_kind(opening, found, document.kind, answers))


def _open_kind(
    opening: Opening, group: Group, kind: Kind | None, answers: Answers
) -> Questions[list[Pyramid]]:
    match kind:
        case Image():
            questions = open_image(opening, group, answers)
        case Labels() as labels:
            questions = open_labels(opening, group, labels)
        case Plate() as plate:
            questions = open_plate(opening, group, plate)
        case Well() as well:
            questions = open_well(opening, group, well)
        case Series():
            questions = open_series(opening, group)
        case _:
            questions = describe_group(opening, group)
    return (yield from questions)


def _owner(location: Location, options: ReadOptions) -> Reading | None:
    """Open the image that an array is a level of, if there is one.

    All the groups that may own it are asked in one wave.
    """
    owners = location.owners
    if not owners:
        return None
    top = owners[-1]
    paths = {owner: _below(top, owner) for owner in owners}
    store = open_store(top)
    answers = answered(
        ask(key for path in paths.values() for key in group_keys(path)), store
    )
    for owner, path in paths.items():
        try:
            group = node(path, answers)
            if group is None or not _owns(group, owner, location):
                continue
        except OMEZarrError:
            continue
        reading = read(owner, options)
        note = f"This is a level of {owner.name}; the whole image was opened."
        return dataclasses.replace(reading, notes=(note, *reading.notes))
    return None


def _owns(group: Node, owner: Location, location: Location) -> bool:
    document = parse_document(group.attributes, zarr_format=group.zarr_format)
    if not isinstance(document.kind, Image):
        return False
    path = _below(owner, location)
    datasets = [d.path for m in document.kind.multiscales for d in m.datasets]
    return path in [dataset.strip("/") for dataset in datasets]


def _below(ancestor: Location, location: Location) -> str:
    """Give the path of a location below one of its ancestors."""
    names: list[str] = []
    while location != ancestor:
        names.append(location.name)
        location = location.parent
    return "/".join(reversed(names))
