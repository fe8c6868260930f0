"""Several images under one roof: bioformats2raw series and 0.6 scenes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from napari_omezarr.errors import NodeNotFoundError, OMEZarrError, OptionError
from napari_omezarr.metadata import Image, Scene, Series, parse_document

from .image import find_image, image_keys, moved, open_image
from .nodes import Group, group_keys, joined, node
from .waves import ask, together

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_omezarr.metadata import Affine, Document, SceneImage
    from napari_omezarr.pyramid import Pyramid

    from .opening import Opening
    from .waves import Answers, Questions

_PROBED_IMAGES = 8
"""How many numbered images are asked for at once where nothing lists them."""


def open_series(opening: Opening, group: Group) -> Questions[list[Pyramid]]:
    """Open the images of a bioformats2raw layout, with the names of its OME-XML.

    "bioformats2raw.layout: 3": the paths are what ``OME`` lists as ``series``,
    else one for each image of the OME-XML, else 0, 1, 2 … as long as they exist.

    Raises
    ------
    NodeNotFoundError
        No image is there.
    """
    paths, names = yield from listed_images(opening, group)
    if not paths:
        return (yield from _numbered(opening, group))
    wanted = _wanted(opening, paths)
    opened = yield from together(
        find_image(
            opening,
            joined(group.path, paths[number]),
            group.zarr_format,
            names[number] if number < len(names) else "",
        )
        for number in wanted
    )
    return _some(opening, [pyramid for part in opened for pyramid in part])


def listed_images(
    opening: Opening, group: Group
) -> Questions[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Find the images that a bioformats2raw layout lists, in one wave.

    Returns
    -------
    paths : tuple of str
        Below the group; empty if nothing lists them.
    names : tuple of str
        Of the first images, from the OME-XML.
    """
    folder = joined(group.path, "OME")
    xml_key = joined(folder, "METADATA.ome.xml")
    answers = yield from ask((*group_keys(folder, group.zarr_format), xml_key))
    names = _names(opening, answers[xml_key])
    listed = _listed(opening, folder, answers, group.zarr_format)
    return listed or tuple(str(number) for number in range(len(names))), names


def open_scene(
    opening: Opening, group: Group, kind: Scene, parse: Callable[..., Document]
) -> Questions[list[Pyramid]]:
    """Open the images of a scene, each where the scene's transforms put it (0.6).

    Parameters
    ----------
    opening : Opening
        What is shared.
    group : Group
        The scene's.
    kind : Scene
        What its document says as long as no image is read.
    parse : callable
        Parses the document again: once the images are read their axes are known,
        without which some transforms have no matrix.

    Raises
    ------
    NodeNotFoundError
        No image is there.
    OptionError
        It has not the coordinate system asked for.
    """
    wanted = _wanted(opening, tuple(image.path for image in kind.images))
    images = [kind.images[number] for number in wanted]
    parts = yield from together(_own(opening, group, image) for image in images)
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
    return _some(opening, [_placed(opening, p, path, document) for path, p in opened])


def _own(opening: Opening, group: Group, image: SceneImage) -> Questions[list[Pyramid]]:
    """Open an image in that of its own systems which the scene speaks of."""
    options = dataclasses.replace(opening.options, coordinate_system=image.system)
    inside = dataclasses.replace(opening, options=options)
    path = joined(group.path, image.path)
    return (yield from find_image(inside, path, group.zarr_format))


def _placed(
    opening: Opening, pyramid: Pyramid, path: str, document: Document
) -> Pyramid:
    scene = document.kind
    assert isinstance(scene, Scene)
    affine = {image.path: image.affine for image in scene.images}[path]
    if affine is None:
        opening.warnings.append(
            f"{path} is shown in its own coordinates: the scene's transform "
            "has no matrix."
        )
        return pyramid
    return _moved(opening, pyramid, affine, scene)


def _moved(opening: Opening, pyramid: Pyramid, affine: Affine, scene: Scene) -> Pyramid:
    count = len(pyramid.axes)
    if affine.shape != (count, count + 1) or not affine.is_invertible:
        opening.warnings.append(
            f"{pyramid.name} is shown in its own coordinates: the scene's transform "
            f"is not one of {count} axes."
        )
        return pyramid
    return moved(pyramid, affine, scene.axes)


def _numbered(opening: Opening, group: Group) -> Questions[list[Pyramid]]:
    pyramids: list[Pyramid] = []
    first = 0
    while True:
        numbers = range(first, first + _PROBED_IMAGES)
        paths = [joined(group.path, str(number)) for number in numbers]
        keys = [key for p in paths for key in image_keys(p, group.zarr_format)]
        answers = yield from ask(keys)
        groups = [node(path, answers, group.zarr_format) for path in paths]
        there = [found for found in groups if isinstance(found, Group)]
        opened = yield from together(
            open_image(opening, found, answers) for found in there if _is_image(found)
        )
        pyramids += [pyramid for part in opened for pyramid in part]
        if len(there) < len(paths):
            return _some(opening, pyramids)
        first += _PROBED_IMAGES


def _is_image(group: Group) -> bool:
    document = parse_document(group.attributes, zarr_format=group.zarr_format)
    return isinstance(document.kind, Image)


def _listed(
    opening: Opening, folder: str, answers: Answers, zarr_format: int
) -> tuple[str, ...]:
    try:
        group = node(folder, answers, zarr_format)
    except OMEZarrError as error:
        opening.warnings.append(f"The list of series could not be read. {error}")
        return ()
    if group is None:
        return ()
    document = parse_document(group.attributes, zarr_format=zarr_format, url=folder)
    kind = document.kind
    return (kind.paths or ()) if isinstance(kind, Series) else ()


def _names(opening: Opening, body: object) -> tuple[str, ...]:
    """Give the images' names of an OME-XML document, in order."""
    if not isinstance(body, bytes):
        return ()
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        opening.warnings.append(f"The OME-XML could not be read: {error}.")
        return ()
    images = [element for element in root if element.tag.rpartition("}")[2] == "Image"]
    return tuple(element.get("Name", "") for element in images)


def _wanted(opening: Opening, paths: tuple[str, ...]) -> list[int]:
    series = opening.options.series
    if series is None:
        return list(range(len(paths)))
    number = paths.index(series) if series in paths else series
    if not isinstance(number, int) or not 0 <= number < len(paths):
        msg = f"There is no image {series}; there are: {', '.join(paths)}."
        raise OptionError(msg, url=opening.location.display)
    return [number]


def _some(opening: Opening, pyramids: list[Pyramid]) -> list[Pyramid]:
    if not pyramids:
        place = opening.location.display
        why = opening.warnings[-1] if opening.warnings else "None is there."
        raise NodeNotFoundError(f"{place} lists images. {why}", url=place)
    return pyramids
