"""From an address to pyramids, in few rounds of requests and without a pixel."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import (
    AccessDeniedError,
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    WebPageError,
)
from napari_omezarr.location import Location
from napari_omezarr.metadata import (
    Affine,
    Axis,
    Image,
    Labels,
    Plate,
    Scene,
    Series,
    Well,
    channel_axis,
    parse_document,
    resolve_channels,
)
from napari_omezarr.pyramid import Level, Pyramid
from napari_omezarr.store import is_zarr, is_zip_file, location_of, open_store

from .collections import open_plate, open_scene, open_series, open_well
from .image import find_parameters, image_keys, open_array, open_image, open_labels
from .nodes import (
    ArrayNode,
    GroupNode,
    Opening,
    Reading,
    ReadOptions,
    array_key,
    find_node,
    group_keys,
    join_path,
    kind_of,
    parse_node,
)
from .rounds import ask, run_questions

if TYPE_CHECKING:
    import os

    from napari_omezarr.metadata import Kind

    from .nodes import Node
    from .rounds import Answers, Questions

# What is not OME-Zarr: an array opens, a group says what it holds.

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_MOST_NAMED = 8
_USUAL = ("0", "s0", "1", "data", "image", "images", "raw", "labels", "volumes")


def open_plain_array(opening: Opening, node: ArrayNode) -> list[Pyramid]:
    """Open a zarr array that belongs to no image, in index coordinates.

    The axes are named after ``dimension_names`` (zarr 3) or ``_ARRAY_DIMENSIONS``
    (xarray, OME-Zarr 0.3), else ``dim_0``, ``dim_1`` …
    """
    pixels = open_array(opening, node)
    names = node.document.get("dimension_names")
    names = names or node.attributes.get("_ARRAY_DIMENSIONS")
    axes = _axes(names, pixels.ndim)
    axis = channel_axis(axes)
    count = 1 if axis is None else pixels.shape[axis]
    channels, _ = resolve_channels(None, count, pixels.dtype)
    affine = Affine.identity(pixels.ndim)
    place = opening.place(node.path)
    return [
        Pyramid(
            location=place,
            name=place.stem,
            axes=axes,
            world_axes=axes,
            levels=(Level(node.path, pixels, affine),),
            channel_axis=axis,
            channels=channels,
            attributes=node.attributes,
            warnings=("This is a plain zarr array: no scale, no unit, no colours.",),
        )
    ]


def describe_group(opening: Opening, group: GroupNode) -> Questions[list[Pyramid]]:
    """Raise an error that says what a group without OME-Zarr metadata holds.

    Nothing is listed: a few usual names are asked for, in one round.
    """
    keys = {
        name: (
            *group_keys(join_path(group.path, name), group.zarr_format),
            array_key(join_path(group.path, name), group.zarr_format),
        )
        for name in _USUAL
    }
    answers = yield from ask({key for several in keys.values() for key in several})
    held = [
        name
        for name, several in keys.items()
        if any(isinstance(answers[key], bytes) for key in several)
    ]
    place = opening.location.display
    sentence = f"{place} is a zarr group without OME-Zarr metadata."
    if held:
        sentence += f" It holds {', '.join(held)}."
        action = f"Open one of them, like {place}/{held[0]}."
    else:
        action = "Type the full address of an image in it."
    raise NodeNotFoundError(sentence, action=action, url=place)


def _axes(names: Any, ndim: int) -> tuple[Axis, ...]:
    if not isinstance(names, list) or len(names) != ndim:
        names = [None] * ndim
    texts = [
        name if isinstance(name, str) and name else f"dim_{number}"
        for number, name in enumerate(names)
    ]
    return tuple(Axis(text, _TYPES.get(text.lower())) for text in texts)


# From an address to pyramids.


def read(
    source: str | os.PathLike[str] | Location | Any, options: ReadOptions | None = None
) -> Reading:
    """Open what lies at an address; metadata only, no pixel is read.

    Blocks for the rounds of requests: 2 for an image, 3 with labels, 4 for a series or
    a plate of any size; 1 where consolidated metadata are there.

    Parameters
    ----------
    source : str, path, Location, or zarr store, group or array
        An image, a label image, a labels group, a well, a plate, a bioformats2raw
        series, a scene, a zarr array, or a level of an image (which opens its
        image). A store of zarr (a session's of icechunk, too), a group or an array
        (also asynchronous ones) stands for the place in it; it is used on zarr's
        event loop, and never closed.
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

    Examples
    --------
    >>> from napari_omezarr import read
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> [pyramid.name for pyramid in read("cells.ome.zarr").pyramids]
    ['Epithelium', 'nuclei']
    """
    options = options or ReadOptions()
    location = location_of(source) if is_zarr(source) else Location.parse(source)
    opening = Opening(location, open_store(location), options)
    try:
        root = _root(opening)
        first, answers = run_questions(root, opening.store, opening.consolidated)
    except (AccessDeniedError, MetadataError, NodeNotFoundError, WebPageError):
        if not is_zip_file(opening.store):
            raise
        reading = read(replace(location, member=""), options)
        note = f"{location.name} is a zip file, and was opened as one."
        return replace(reading, notes=(note, *reading.notes))
    if isinstance(first, ArrayNode):
        owner = _owner(location, options)
        if owner is not None:
            return owner
    questions = _open(opening, first, answers)
    pyramids = run_questions(questions, opening.store, opening.consolidated)
    return _reading(opening, pyramids)


def _reading(opening: Opening, pyramids: list[Pyramid]) -> Reading:
    said = opening.warnings
    # What is said of no image in particular goes with each: layers carry all of it.
    pyramids = [
        replace(pyramid, warnings=tuple(dict.fromkeys((*pyramid.warnings, *said))))
        for pyramid in pyramids
    ]
    warnings = [*said, *(w for p in pyramids for w in p.warnings)]
    systems = (note for p in pyramids for note in _systems(p))
    notes = (*opening.location.notes, *opening.store.notes, *systems)
    return Reading(
        opening.location,
        tuple(pyramids),
        tuple(dict.fromkeys(warnings)),
        tuple(dict.fromkeys(notes)),
    )


def _systems(pyramid: Pyramid) -> list[str]:
    """Name the coordinate systems that an image could be shown in instead."""
    shown = pyramid.coordinate_system
    others = [name for name in pyramid.coordinate_systems if name != shown]
    if not others:
        return []
    return [f"Shown in coordinate system {shown}; others are {', '.join(others)}."]


def _root(opening: Opening) -> Questions[tuple[Node, Answers]]:
    """Ask for the address itself; both formats and the labels are guessed at."""
    answers = yield from ask((*image_keys(""), ".zmetadata"))
    found = parse_node("", answers)
    if found is None or (isinstance(found, GroupNode) and not _says_enough(found)):
        found = (yield from find_node("")) or found
    if found is None:
        raise _nothing_there(opening)
    return found, answers


def _nothing_there(opening: Opening) -> NodeNotFoundError:
    place, choices = opening.location.display, opening.store.choices
    if choices:
        some = ", ".join(choices[:_MOST_NAMED])
        more = len(choices) - _MOST_NAMED
        some += f" and {more} more" if more > 0 else ""
        msg = f"{place} holds {len(choices)} images: {some}."
        action = f"Open one of them, like {(opening.location / choices[0]).display}."
    else:
        msg = f"There is no OME-Zarr at {place}."
        action = "Check the address; the image's own folder is what is needed."
    return NodeNotFoundError(msg, action=action, url=place)


def _says_enough(group: GroupNode) -> bool:
    # A zarr 2 array keeps its attributes in .zattrs too, so only a group that is
    # clearly OME-Zarr (or zarr 3, where one document says all) ends the search.
    return group.zarr_format == 3 or kind_of(group) is not None


def _open(opening: Opening, found: Node, answers: Answers) -> Questions[list[Pyramid]]:
    if isinstance(found, ArrayNode):
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
    opening: Opening, group: GroupNode, kind: Kind | None, answers: Answers
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

    All the groups that may own it are asked in one round.
    """
    owners = location.owners
    if not owners:
        return None
    top = owners[-1]
    paths = {owner: _below(top, owner) for owner in owners}
    store = open_store(top)
    answers = run_questions(
        ask(key for path in paths.values() for key in group_keys(path)), store
    )
    for owner, path in paths.items():
        try:
            group = parse_node(path, answers)
            if group is None or not _owns(group, owner, location):
                continue
        except OMEZarrError:
            continue
        reading = read(owner, options)
        note = f"This is a level of {owner.name}; the whole image was opened."
        return replace(reading, notes=(note, *reading.notes))
    return None


def _owns(group: Node, owner: Location, location: Location) -> bool:
    kind = kind_of(group)
    if not isinstance(kind, Image):
        return False
    path = _below(owner, location)
    datasets = [d.path for m in kind.multiscales for d in m.datasets]
    return path in [dataset.strip("/") for dataset in datasets]


def _below(ancestor: Location, location: Location) -> str:
    """Give the path of a location below one of its ancestors."""
    names: list[str] = []
    while location != ancestor:
        names.append(location.name)
        location = location.parent
    return "/".join(reversed(names))
