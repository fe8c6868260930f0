"""From an address to pyramids, in few rounds of requests and without a pixel."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from napari_omezarr._io_loop import oldest_garbage_waits, run
from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    AccessDeniedError,
    ImageChoiceError,
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    StoreError,
    WebPageError,
)
from napari_omezarr.location import ZARRAY, ZGROUP, Location
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
    in_order,
    names_a_kind,
    parse_document,
    resolve_channels,
)
from napari_omezarr.pyramid import LeadingAxes, Level, Pyramid
from napari_omezarr.store import (
    given_place,
    is_zip_file,
    nothing_at,
    open_lister,
    open_store,
)

from .image import (
    MOST_IMAGES,
    find_image,
    find_parameters,
    image_keys,
    open_array,
    open_image,
    open_labels,
)
from .nodes import (
    ArrayNode,
    Consolidated,
    GroupNode,
    Opening,
    Reading,
    ReadOptions,
    ask,
    find_node,
    group_keys,
    join_path,
    kind_of,
    parse_array,
    parse_node,
    run_questions,
    together,
)
from .plates import open_plate, open_well, with_chosen_wells

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from napari_omezarr.metadata import Document, Kind, SceneImage

    from .nodes import Answers, Node, Questions


# Series: images that are numbered, or listed with their OME-XML.

_PROBED_IMAGES = 8
_PIECE = 1 << 16
_MOST_LISTED = 20_000
"""How many numbered images are asked for at once where nothing lists them."""


def open_series(opening: Opening, group: GroupNode) -> Questions[list[Pyramid]]:
    """Open the images of a bioformats2raw layout, with the names of its OME-XML."""
    # "bioformats2raw.layout: 3": the paths are what ``OME`` lists as ``series``, else
    # one for each image of the OME-XML, else 0, 1, 2 … as long as they exist.
    paths, names = yield from listed_images(opening, group)
    if not paths:
        return (yield from _open_numbered(opening, group))
    wanted = _wanted_numbers(opening, paths)
    opened = yield from together(
        find_image(
            opening,
            join_path(group.path, paths[number]),
            group.zarr_format,
            names[number] if number < len(names) else "",
        )
        for number in wanted
    )
    return _at_least_one(opening, [pyramid for part in opened for pyramid in part])


def listed_images(
    opening: Opening, group: GroupNode
) -> Questions[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Find the images that a bioformats2raw layout lists, in one round.

    Returns their paths below the group, and the names of the first ones from the
    OME-XML.
    """
    folder = join_path(group.path, "OME")
    xml_key = join_path(folder, "METADATA.ome.xml")
    answers = yield from ask((*group_keys(folder, group.zarr_format), xml_key))
    names = _names_in_xml(opening, answers[xml_key])
    listed = _listed_paths(opening, folder, answers, group.zarr_format)
    return listed or tuple(str(number) for number in range(len(names))), names


def open_scene(
    opening: Opening, group: GroupNode, kind: Scene, parse: Callable[..., Document]
) -> Questions[list[Pyramid]]:
    """Open the images of a scene, each where the scene's transforms put it (0.6).

    ``parse`` parses the scene's document again: once the images are read their axes
    are known, without which some transforms have no matrix.
    """
    wanted = _wanted_numbers(opening, tuple(image.path for image in kind.images))
    images = [kind.images[number] for number in wanted]
    parts = yield from together(
        _open_in_own_system(opening, group, image) for image in images
    )
    opened = [(i.path, p) for i, part in zip(images, parts, strict=True) for p in part]
    document = parse(
        coordinate_system=opening.options.coordinate_system,
        image_axes={
            (image.path, image.system): part[0].world_axes
            for image, part in zip(images, parts, strict=True)
            if part
        },
    )
    opening.warnings.extend(document.warnings)
    scene = document.kind
    assert isinstance(scene, Scene)
    # Viewers know axes by their place alone: all images have the first one's order.
    order = [axis.name for axis in opened[0][1].axes] if opened else []
    return _at_least_one(
        opening, [_in_scene(opening, p, path, scene, order) for path, p in opened]
    )


def _open_in_own_system(
    opening: Opening, group: GroupNode, image: SceneImage
) -> Questions[list[Pyramid]]:
    """Open an image in that of its own systems which the scene speaks of."""
    options = dataclasses.replace(opening.options, coordinate_system=image.system)
    inside = dataclasses.replace(opening, options=options)
    path = join_path(group.path, image.path)
    return (yield from find_image(inside, path, group.zarr_format))


def _in_scene(
    opening: Opening, pyramid: Pyramid, path: str, scene: Scene, order: list[str]
) -> Pyramid:
    """Put an image where its scene has it, or leave it at its own place and say why."""
    affine = {image.path: image.affine for image in scene.images}[path]
    count = len(pyramid.axes)
    if affine is None:
        opening.warnings.append(
            f"{path} is shown in its own coordinates: the scene's transform "
            "has no matrix."
        )
        return pyramid
    if affine.shape != (count, count + 1) or not affine.is_invertible:
        opening.warnings.append(
            f"{pyramid.name} is shown in its own coordinates: the scene's transform "
            f"is not one of {count} axes."
        )
        return pyramid
    world_axes = scene.axes if len(scene.axes) == count else pyramid.world_axes
    names = [axis.name for axis in world_axes]
    affine = in_order(affine, names, order)
    if sorted(names) == sorted(order):
        world_axes = tuple(world_axes[names.index(name)] for name in order)
    return dataclasses.replace(
        pyramid,
        levels=tuple(
            dataclasses.replace(level, affine=affine @ level.affine)
            for level in pyramid.levels
        ),
        world_axes=world_axes,
        coordinate_system=scene.world,
        coordinate_systems=scene.coordinate_systems,
    )


def _open_numbered(opening: Opening, group: GroupNode) -> Questions[list[Pyramid]]:
    pyramids: list[Pyramid] = []
    first = 0
    while True:
        numbers = range(first, first + _PROBED_IMAGES)
        paths = [join_path(group.path, str(number)) for number in numbers]
        keys = [key for p in paths for key in image_keys(p, group.zarr_format)]
        answers = yield from ask(keys)
        groups = [parse_node(path, answers, group.zarr_format) for path in paths]
        there = [found for found in groups if isinstance(found, GroupNode)]
        opened = yield from together(
            open_image(opening, found, answers)
            for found in there
            if isinstance(kind_of(found), Image)
        )
        pyramids += [pyramid for part in opened for pyramid in part]
        if len(pyramids) >= MOST_IMAGES:
            _note_more(opening, "more")
            return pyramids
        if len(there) < len(paths):
            return _at_least_one(opening, pyramids)
        first += _PROBED_IMAGES


def _listed_paths(
    opening: Opening, folder: str, answers: Answers, zarr_format: int
) -> tuple[str, ...]:
    try:
        group = parse_node(folder, answers, zarr_format)
    except OMEZarrError as error:
        opening.warnings.append(f"The list of series could not be read. {error}")
        return ()
    if group is None:
        return ()
    kind = kind_of(group, folder)
    return (kind.paths or ()) if isinstance(kind, Series) else ()


def _names_in_xml(opening: Opening, body: object) -> tuple[str, ...]:
    """Give the images' names of an OME-XML document, in order."""
    if not isinstance(body, bytes):
        return ()
    names: list[str] = []
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        if depth == 1 and tag.rpartition("}")[2] == "Image":
            names.append(attributes.get("Name", ""))
        depth += 1

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    # Not as a tree, which would take many times the document's size.
    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        for at in range(0, len(body), _PIECE):
            parser.Parse(body[at : at + _PIECE], at + _PIECE >= len(body))
            if len(names) > _MOST_LISTED:
                break
    except expat.ExpatError as error:
        opening.warnings.append(f"The OME-XML could not be read: {error}.")
        return ()
    return tuple(names[: _MOST_LISTED + 1])


def _wanted_numbers(opening: Opening, paths: tuple[str, ...]) -> list[int]:
    series = opening.options.series
    if series is None:
        if len(paths) > MOST_IMAGES:
            _note_more(opening, f"{len(paths):,}")
        return list(range(min(len(paths), MOST_IMAGES)))
    number = paths.index(series) if series in paths else series
    if not isinstance(number, int) or not 0 <= number < len(paths):
        named = ", ".join(paths[:MOST_IMAGES])
        msg = f"There is no image {series}; there are: {named}."
        raise OptionError(msg, url=opening.location.display)
    return [number]


def _note_more(opening: Opening, count: str) -> None:
    opening.warnings.append(
        f"There are {count} images, of which the first {MOST_IMAGES} are opened; "
        "choose others by number."
    )


def _at_least_one(opening: Opening, pyramids: list[Pyramid]) -> list[Pyramid]:
    if not pyramids:
        refused = [f for f in opening.failures if isinstance(f, StoreError)]
        if refused:  # it may be that one has to sign in
            raise refused[0]
        place = opening.location.display
        why = opening.warnings[-1] if opening.warnings else "None is there."
        raise NodeNotFoundError(f"{place} lists images. {why}", url=place)
    return pyramids


# From an address to pyramids, in few rounds of requests and without a pixel.

# What is not OME-Zarr: an array opens, a group says what it holds.

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_USUAL = ("0", "s0", "1", "data", "image", "images", "raw", "labels", "volumes")
"""What groups often hold, where nobody lists them."""
_MOST_NAMES = 256
"""How many children of a group are looked at."""
_MOST_GROUPS = 8
"""Into how many groups of a group one looks for images."""
_MOST_NAMED = 8
"""How many images a sentence names."""


def open_plain_array(opening: Opening, node: ArrayNode) -> list[Pyramid]:
    """Open a zarr array that belongs to no image, in index coordinates.

    The axes are named after ``dimension_names`` (zarr 3) or ``_ARRAY_DIMENSIONS``
    (xarray, OME-Zarr 0.3), else ``dim_0``, ``dim_1`` …
    """
    array = open_array(opening, node)
    pixels = array if array.ndim else LeadingAxes(array, 2)  # a single number
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


def plain_group_error(opening: Opening) -> NodeNotFoundError:
    """Say which images a group without OME-Zarr metadata holds; blocks.

    What lies below is found in consolidated metadata, by listing where that is
    possible, else by a few usual names; two levels deep, as in SpatialData's stores.
    """
    place = opening.location.display
    children = _look_below(opening, ("",))
    groups = [path for path, node in children.items() if _is_bare(node)]
    found = {**children, **_look_below(opening, groups[:_MOST_GROUPS])}
    images = [
        path for name, node in sorted(found.items()) for path in _images(name, node)
    ]
    if images:
        is_all = len(children) < _MOST_NAMES
        return _choice_error(opening, images, is_all=is_all)
    sentence = f"{place} is a zarr group without OME-Zarr metadata."
    if not children:
        action = "Type the full address of an image in it."
    else:
        names = sorted(children)
        sentence += f" It holds {', '.join(names[:_MOST_NAMED])}."
        action = f"Open one of them, like {(opening.location / names[0]).display}."
    return NodeNotFoundError(sentence, action=action, url=place)


def _choice_error(
    opening: Opening, images: Sequence[str], *, is_all: bool = True
) -> ImageChoiceError:
    place, least = opening.location.display, "" if is_all else "at least "
    noun = "image" if len(images) == 1 else "images"
    some = ", ".join(images[:_MOST_NAMED])
    more = len(images) - _MOST_NAMED
    some += f" and {more} more" if more > 0 else ""
    sentence = f"{place} holds {least}{len(images)} {noun}: {some}."
    action = f"Open one of them, like {(opening.location / images[0]).display}."
    return ImageChoiceError(sentence, images, action=action, url=place)


def _look_below(opening: Opening, paths: Sequence[str]) -> dict[str, Node]:
    """Find the nodes directly below some groups: one round, besides listing."""
    children = [
        join_path(path, name) for path in paths for name in _names_below(opening, path)
    ]
    questions = together(_look_at(opening, path) for path in children)
    nodes = run_questions(questions, opening.store, opening.consolidated)
    found = zip(children, nodes, strict=True)
    return {path: node for path, node in found if node is not None}


def _look_at(opening: Opening, path: str) -> Questions[Node | None]:
    """Find a node of any kind by all of its documents at once."""
    array, group = join_path(path, ZARRAY), join_path(path, ZGROUP)
    keys = (*group_keys(path), array, group)
    held = [key for key in keys if opening.consolidated.claimed(key)]
    answers = yield from ask(held or keys)
    answers = {**dict.fromkeys(keys), **answers}
    try:
        found = parse_node(path, answers)
        if isinstance(answers.get(array), bytes) and not _says_enough(found):
            return parse_array(path, answers, 2)
    except OMEZarrError:
        return None
    if found is None and isinstance(answers.get(group), bytes):
        return GroupNode(path, 2, {})
    return found


def _is_bare(node: Node) -> bool:
    return isinstance(node, GroupNode) and not _images("", node)


def _images(path: str, node: Node) -> list[str]:
    """Give the paths of what opens as layers: of a node, or of the labels it lists."""
    if isinstance(node, ArrayNode):
        return []
    try:
        kind = kind_of(node)
    except OMEZarrError:
        return []
    if isinstance(kind, Labels):
        return [join_path(path, name) for name in kind.paths[:_MOST_NAMES]]
    return [] if kind is None else [path]


def _names_below(opening: Opening, path: str) -> Sequence[str]:
    """Name what may lie in a group; bounded, whatever the group holds."""
    if opening.consolidated.children(""):
        return opening.consolidated.children(path)[:_MOST_NAMES]
    try:
        lister = open_lister(opening.place(path))
        page = run(lister.page(size=_MOST_NAMES))
    except OMEZarrError:  # not listed for everybody, and there is another way
        return _USUAL
    return [item.name for item in page.items if item.is_folder]


def _axes(names: Any, ndim: int) -> tuple[Axis, ...]:
    if not isinstance(names, list) or len(names) != ndim:
        names = [None] * ndim
    texts = [
        name if isinstance(name, str) and name else f"dim_{number}"
        for number, name in enumerate(names)
    ]
    return tuple(Axis(text, _TYPES.get(text.lower())) for text in texts)


# From an address to pyramids.


@guarded
def read(
    source: str | os.PathLike[str] | Location | Any, options: ReadOptions | None = None
) -> Reading:
    """Open what lies at an address; metadata only, no pixel is read.

    Blocks for the rounds of requests: 2 for an image, 3 with labels, 4 for a series or
    a plate of any size; 1 where consolidated metadata are there. Whether these are
    older than an array is asked along with its first pixels, which raise
    ObjectChangedError if they are; `read_layers` and the viewer ask at once.

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
        Nothing is there, or nothing that could be shown. It is an ImageChoiceError,
        whose ``paths`` are those of the images, where a group holds some.
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
    return _read(given_place(source), options or ReadOptions())[0]


@guarded
def read_current(
    source: str | os.PathLike[str] | Location | Any, options: ReadOptions | None = None
) -> Reading:
    """Open what lies at an address as it is now, whatever consolidated metadata say.

    As `read`; where those answered, one round more asks whether they are older.
    """
    place, options = given_place(source), options or ReadOptions()
    reading, opening = _read(place, options)
    if opening.consolidated.is_current(opening.store):
        return reading
    return _read(place, options, believes=False)[0]


@guarded
@guarded
@oldest_garbage_waits()
def _read(
    location: Location, options: ReadOptions, *, believes: bool = True
) -> tuple[Reading, Opening]:
    # On this computer a document costs nothing to be read itself.
    consolidated = Consolidated(
        believed=believes and location.is_remote, place=location.display
    )
    store = open_store(location)
    opening = Opening(location, store, options, consolidated=consolidated)
    try:
        root = _root()
        first, answers = run_questions(root, opening.store, opening.consolidated)
        if first is None:
            raise _nothing_there(opening)
    except (AccessDeniedError, MetadataError, NodeNotFoundError, WebPageError):
        if not is_zip_file(opening.store):
            raise
        inside = replace(location, member="")
        reading, opening = _read(inside, options, believes=believes)
        note = f"{location.name} is a zip file, and was opened as one."
        return replace(reading, notes=(note, *reading.notes)), opening
    if isinstance(first, ArrayNode):
        owner = _owner(location, options, believes=believes)
        if owner is not None:
            return owner
    questions = _open(opening, first, answers)
    pyramids = run_questions(questions, opening.store, opening.consolidated)
    if pyramids is None:
        raise plain_group_error(opening)
    if consolidated.is_older:
        place = location.display
        opening.warnings.append(
            f"The consolidated metadata of {place} are older than what they tell of; "
            "the documents themselves were read."
        )
    return _reading(opening, pyramids), opening


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
        opening.kind,
    )


def _systems(pyramid: Pyramid) -> list[str]:
    """Name the coordinate systems that an image could be shown in instead."""
    shown = pyramid.coordinate_system
    others = [name for name in pyramid.coordinate_systems if name != shown]
    if not others:
        return []
    return [f"Shown in coordinate system {shown}; others are {', '.join(others)}."]


def _nothing_there(opening: Opening) -> NodeNotFoundError:
    """Say that there is no node, or which images an archive or a local folder holds."""
    if opening.store.choices:
        return _choice_error(opening, opening.store.choices)
    if opening.location.protocol == "file":
        error = plain_group_error(opening)
        if isinstance(error, ImageChoiceError):
            return error
    sentence = f"There is no OME-Zarr at {opening.location.display}."
    action = "Check the address; the image's own folder is what is needed."
    return nothing_at(opening.location, sentence, action)


def _root() -> Questions[tuple[Node | None, Answers]]:
    """Ask for the address itself; both formats and the labels are guessed at."""
    answers = yield from ask((*image_keys(""), ".zmetadata"))
    found = parse_node("", answers)
    if found is None or (isinstance(found, GroupNode) and not _says_enough(found)):
        found = (yield from find_node("")) or found
    return found, answers


def _says_enough(node: Node | None) -> bool:
    # A zarr 2 array keeps its attributes in .zattrs too, so only a group that is
    # clearly OME-Zarr (or zarr 3, where one document says all) ends the search.
    return node is not None and (node.zarr_format == 3 or names_a_kind(node.attributes))


def _open(
    opening: Opening, found: Node, answers: Answers
) -> Questions[list[Pyramid] | None]:
    """Open a node; None where it is a group that nothing says is an image."""
    if isinstance(found, ArrayNode):
        return open_plain_array(opening, found)
    parameters = yield from find_parameters(opening, found)
    parse = partial(
        parse_document,
        zarr_format=found.zarr_format,
        url=opening.location.display,
        parameters=parameters,
    )
    document = parse(found.attributes)
    opening.understood = found.attributes, document
    if isinstance(document.kind, Plate) and document.kind.is_cut:
        chosen = with_chosen_wells(opening, found, answers)
        if chosen is not found:
            found, document = chosen, parse(chosen.attributes)
    opening.kind = document.kind
    if isinstance(document.kind, Scene):
        again = partial(parse, found.attributes)
        return (yield from open_scene(opening, found, document.kind, again))
    if not isinstance(document.kind, Image):  # an image keeps its own
        opening.warnings.extend(document.warnings)
    return (yield from _open_kind(opening, found, document.kind, answers))


def _open_kind(
    opening: Opening, group: GroupNode, kind: Kind | None, answers: Answers
) -> Questions[list[Pyramid] | None]:
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
            return None
    return (yield from questions)


def _owner(
    location: Location, options: ReadOptions, *, believes: bool
) -> tuple[Reading, Opening] | None:
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
        reading, opening = _read(owner, options, believes=believes)
        note = f"This is a level of {owner.name}; the whole image was opened."
        return replace(reading, notes=(note, *reading.notes)), opening
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
