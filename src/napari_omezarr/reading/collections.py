"""Groups of many images: bioformats2raw series and scenes (0.6)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from xml.parsers import expat

from napari_omezarr.errors import (
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    StoreError,
)
from napari_omezarr.metadata import Image, Scene, Series, in_order

from .image import MOST_IMAGES, find_image, image_keys, open_image
from .nodes import GroupNode, group_keys, join_path, kind_of, parse_node
from .rounds import ask, together

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_omezarr.metadata import Document, SceneImage
    from napari_omezarr.pyramid import Pyramid

    from .nodes import Opening
    from .rounds import Answers, Questions

# Series: images that are numbered, or listed with their OME-XML.

_PROBED_IMAGES = 8
_PIECE = 1 << 16
_MOST_NAMES = 20_000
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
            if len(names) > _MOST_NAMES:
                break
    except expat.ExpatError as error:
        opening.warnings.append(f"The OME-XML could not be read: {error}.")
        return ()
    return tuple(names[: _MOST_NAMES + 1])


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
