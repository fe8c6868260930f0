"""Groups of many images: plates, wells, bioformats2raw series and scenes (0.6)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
from zarr.buffer.cpu import buffer_prototype

from napari_omezarr.errors import (
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
)
from napari_omezarr.metadata import (
    Affine,
    Image,
    Plate,
    Scene,
    Series,
    Well,
    in_order,
)
from napari_omezarr.pyramid import Level, Mosaic, Pyramid, Tile

from .image import (
    find_image,
    image_keys,
    open_array,
    open_image,
    open_multiscale,
)
from .nodes import (
    ArrayNode,
    GroupNode,
    array_key,
    group_keys,
    join_path,
    kind_of,
    parse_json,
    parse_node,
)
from .rounds import ask, together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_omezarr.metadata import Document, SceneImage
    from napari_omezarr.pyramid import Pixels

    from .nodes import Opening
    from .rounds import Answers, Questions

# Plates and wells: one lazy mosaic, whose tiles are found out when looked at.

_PROBED_WELLS = 8
"""How many more wells are asked at once when the first has nothing to show."""


@dataclass(frozen=True, slots=True)
class FieldTile:
    """One level of one field of view, in a well or where the well is the root."""

    opening: Opening
    group: str  # the path of the well, or of the field where the well is the root
    field: str  # the field that other wells have; asked for first
    level: str  # the path of the level below the field
    zarr_format: int

    async def open(self) -> Pixels | None:
        """Ask for the level at once, and for the well only if it is not there."""
        pixels = await self._pixels(self.field)
        if pixels is not None:
            return pixels
        field = await self._first_field()
        return None if field in (None, self.field) else await self._pixels(field)

    async def _pixels(self, field: str) -> Pixels | None:
        path = join_path(self.group, field, self.level)
        key = array_key(path, self.zarr_format)
        body = await self._document(key)
        if body is None:
            return None
        node = ArrayNode(path, self.zarr_format, parse_json(body, key), {})
        return open_array(self.opening, node)

    async def _first_field(self) -> str | None:
        (key,) = group_keys(self.group, self.zarr_format)
        body = await self._document(key)
        if body is None:
            return None
        return _first_field(self.group, {key: body}, self.zarr_format)

    async def _document(self, key: str) -> bytes | None:
        buffer = await self.opening.store.get(key, buffer_prototype)
        return None if buffer is None else buffer.to_bytes()


def open_plate(
    opening: Opening, group: GroupNode, kind: Plate
) -> Questions[list[Pyramid]]:
    """Open a plate as one mosaic of the first field of each well.

    Asks for one well, one field and that field's levels, whatever the plate's
    size: every other well is found out when it is looked at, and where it holds
    nothing its place stays 0.
    """
    well, field, template = yield from _find_template(opening, group, kind)
    tiles = {(w.row, w.column): join_path(group.path, w.path) for w in kind.wells}
    grid = (len(kind.rows), len(kind.columns))
    place = join_path(group.path, well)
    return [
        dataclasses.replace(
            _plate_mosaic(opening, template, grid, tiles, field),
            name=kind.name or opening.location.stem,
            attributes=group.attributes,
            warnings=tuple(w.replace(place, "the wells") for w in template.warnings),
        )
    ]


def open_well(
    opening: Opening, group: GroupNode, kind: Well
) -> Questions[list[Pyramid]]:
    """Open a well: its fields where they say they lie, else side by side.

    Fields with different translations are images of their own, each in its
    place; fields without are laid out in a grid, in order, near to a square.
    """
    paths = [join_path(group.path, image.path) for image in kind.images]
    answers = yield from ask(
        key for path in paths for key in group_keys(path, group.zarr_format)
    )
    groups = [parse_node(path, answers, group.zarr_format) for path in paths]
    fields = [field for field in groups if isinstance(field, GroupNode)]
    if not fields:
        msg = "This well lists fields of view, but none of them is there."
        raise NodeNotFoundError(msg, url=opening.location.display)
    if len(fields) > 1 and _have_own_positions(opening, fields):
        return (
            yield from together(
                open_multiscale(opening, field, f"{opening.location.stem} {field.path}")
                for field in fields
            )
        )
    template = yield from open_multiscale(opening, fields[0], opening.location.stem)
    if len(paths) == 1:
        return [template]
    columns = math.ceil(math.sqrt(len(paths)))
    grid = (math.ceil(len(paths) / columns), columns)
    tiles = {divmod(number, columns): path for number, path in enumerate(paths)}
    return [_plate_mosaic(opening, template, grid, tiles, "")]


def _find_template(
    opening: Opening, group: GroupNode, kind: Plate
) -> Questions[tuple[str, str, Pyramid]]:
    """Find one well with an image; the first one nearly always has it."""
    for wells in (kind.wells[:1], kind.wells[1 : 1 + _PROBED_WELLS]):
        paths = {well.path: join_path(group.path, well.path) for well in wells}
        answers = yield from ask(
            key
            for path in paths.values()
            for key in group_keys(path, group.zarr_format)
        )
        for well, path in paths.items():
            field = _first_field(path, answers, group.zarr_format)
            if field is not None:
                template = yield from _field(opening, join_path(path, field), group)
                if template is not None:
                    return well, field, template
    msg = "This plate lists wells, but none of the first ones is there."
    raise NodeNotFoundError(msg, url=opening.location.display)


def _field(opening: Opening, path: str, group: GroupNode) -> Questions[Pyramid | None]:
    answers = yield from ask(group_keys(path, group.zarr_format))
    found = parse_node(path, answers, group.zarr_format)
    if not isinstance(found, GroupNode):
        return None
    return (yield from open_multiscale(opening, found))


def _first_field(path: str, answers: Answers, zarr_format: int) -> str | None:
    well = parse_node(path, answers, zarr_format)
    kind = None if well is None else kind_of(well)
    return kind.images[0].path if isinstance(kind, Well) and kind.images else None


def _plate_mosaic(
    opening: Opening,
    template: Pyramid,
    grid: tuple[int, int],
    places: Mapping[tuple[int, int], str],
    field: str,
) -> Pyramid:
    zarr_format = 2 if (template.version or "0.5") < "0.5" else 3

    def level(number: int) -> Level:
        source = template.levels[number]
        tiles: dict[tuple[int, int], Tile] = {
            place: FieldTile(opening, path, field, source.path, zarr_format)
            for place, path in places.items()
        }
        pixels = Mosaic(source.pixels, grid, tiles)
        return Level(source.path, pixels, _mosaic_affine(template, number))

    levels = tuple(level(number) for number in range(len(template.levels)))
    return dataclasses.replace(template, location=opening.location, levels=levels)


def _mosaic_affine(template: Pyramid, number: int) -> Affine:
    """Give a mosaic's scale: tiles touch, so each level's follows from its size.

    Where sizes are odd, a level's own scale times its size is not the tile's
    extent; over sixteen rows the difference would be as many pixels.
    """
    finest, source = template.levels[0], template.levels[number]
    base = np.asarray(finest.affine.scale)
    factor = np.asarray(finest.pixels.shape) / np.asarray(source.pixels.shape)
    ndim = len(base)
    scale = np.where(np.arange(ndim) >= ndim - 2, base * factor, source.affine.scale)
    return Affine.from_scale(tuple(float(s) for s in scale))


def _have_own_positions(opening: Opening, fields: list[GroupNode]) -> bool:
    """Tell whether the fields of a well give positions of their own."""
    positions = set()
    for field in fields:
        kind = kind_of(field)
        if not isinstance(kind, Image):
            msg = "A field of view is no image"
            raise MetadataError(msg, url=opening.location.display)
        positions.add(kind.multiscales[0].datasets[0].affine.translation)
    return len(positions) == len(fields)


# Series and scenes.

_PROBED_IMAGES = 8
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
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        opening.warnings.append(f"The OME-XML could not be read: {error}.")
        return ()
    images = [element for element in root if element.tag.rpartition("}")[2] == "Image"]
    return tuple(element.get("Name", "") for element in images)


def _wanted_numbers(opening: Opening, paths: tuple[str, ...]) -> list[int]:
    series = opening.options.series
    if series is None:
        return list(range(len(paths)))
    number = paths.index(series) if series in paths else series
    if not isinstance(number, int) or not 0 <= number < len(paths):
        msg = f"There is no image {series}; there are: {', '.join(paths)}."
        raise OptionError(msg, url=opening.location.display)
    return [number]


def _at_least_one(opening: Opening, pyramids: list[Pyramid]) -> list[Pyramid]:
    if not pyramids:
        place = opening.location.display
        why = opening.warnings[-1] if opening.warnings else "None is there."
        raise NodeNotFoundError(f"{place} lists images. {why}", url=place)
    return pyramids
