"""Plates and wells: one lazy mosaic of fields, each found out when it is looked at."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from zarr.buffer.cpu import buffer_prototype

from napari_omezarr.errors import (
    AccessDeniedError,
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    StoreError,
    UnsupportedDataError,
)
from napari_omezarr.metadata import (
    Affine,
    Image,
    ImageLabel,
    Labels,
    Plate,
    Well,
    parse_document,
    resolve_channels,
)
from napari_omezarr.pyramid import (
    ChosenChannels,
    Level,
    Mosaic,
    Pyramid,
    Resized,
    Tile,
)

from .image import (
    find_levels,
    image_keys,
    make_pyramid,
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
from .rounds import ask, primed, together

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from napari_omezarr.metadata import Rendering
    from napari_omezarr.pyramid import Pixels

    from .nodes import Opening
    from .rounds import Answers, Questions

_WELLS_TRIED = (1, 8, 64)
"""How many wells are asked at once while none before had an image."""
_REQUESTS = 12
"""How many requests opening a plate over a network may take, whatever its size."""
_MOST_WELLS = 400
"""How many wells are looked at in advance where that takes no requests."""
_MOST_LABELS = 8
"""How many label images of a plate are shown."""
_MOST_LEVELS = 16
_UNREADABLE = (
    AccessDeniedError,
    MetadataError,
    NodeNotFoundError,
    UnsupportedDataError,
)

_MISFITS: dict[tuple[str, str], None] = {}
"""Fields that had no room in their mosaic: of which opening, and their groups.

They are looked at when their plate is opened again, which then has room for them.
"""
_MOST_MISFITS = 64  # of a plate

# One field of view, found out when somebody looks at it.


@dataclass(slots=True)
class PlateChannels:
    """The channels of a mosaic, into which those of fields are put by their names.

    A field that does not name each of its channels has them in the plate's order.
    """

    names: tuple[str, ...]
    axis: int  # counted from the end
    known: dict[str, tuple[str, ...]]  # the names that fields tell, by their paths

    def place(self, pixels: Pixels, named: tuple[str, ...], tile: FieldTile) -> Pixels:
        """Give a field's pixels with the plate's channels, in the plate's order."""
        axis = pixels.ndim - self.axis
        if axis < 0 or not named or len(named) != pixels.shape[axis]:
            return pixels
        more = [name for name in named if name not in self.names]
        if more:
            raise tile.misfit(f"has a channel {more[0]}, which the others lack")
        if named == self.names:
            return pixels
        chosen = (named.index(n) if n in named else None for n in self.names)
        return ChosenChannels(pixels, axis, tuple(chosen))


def _names(rendering: Rendering | None) -> tuple[str, ...]:
    """Give the names of channels if each has one of its own."""
    channels = () if rendering is None else rendering.channels
    names = tuple((channel.label or "").strip() for channel in channels)
    return names if all(names) and len(set(names)) == len(names) else ()


@dataclass(frozen=True, slots=True)
class FieldTile:
    """One level of one field of view, in a well or where the well is the root.

    Fields need not be alike: one with other levels than the plate is shown by the
    nearest pixels of that of its levels which is just fine enough.
    """

    opening: Opening
    group: str  # the path of the well, or of the field where the well is the root
    field: str  # the field that other wells have; asked for first
    inside: str  # the path of the image below the field: empty, or of a label image
    zarr_format: int
    levels: tuple[str, str]  # the paths of the finest level and of this one
    shapes: tuple[tuple[int, ...], tuple[int, ...]]  # and what they are in the plate
    channels: PlateChannels | None = None

    def __str__(self) -> str:
        kind = "Well" if self.field else "Field"
        return (
            f"{kind} {self.group} ({self.inside})"
            if self.inside
            else f"{kind} {self.group}"
        )

    def misfit(self, said: str) -> UnsupportedDataError:
        """Say what has no room, and look at it when the plate is opened again."""
        plate = self.opening.location.display
        held = [of for of, _ in _MISFITS].count(plate)
        if held < _MOST_MISFITS:
            _MISFITS[plate, self.group] = None
        action = "Open the plate again: there is room for it then."
        url = self.opening.place(self.group).display
        return UnsupportedDataError(f"{self} {said}.", action=action, url=url)

    async def open(self) -> Pixels | None:
        """Ask for the level at once, and for more only if it is not as expected."""
        pixels, field = await self._expected()
        if pixels is None or not await self._fits(pixels, field):
            pixels = await self._from_own_levels(field)
        if pixels is None or self.channels is None:
            return pixels
        return self.channels.place(pixels, await self._channel_names(field), self)

    async def _channel_names(self, field: str) -> tuple[str, ...]:
        path = join_path(self.group, field)
        channels = self.channels
        assert channels is not None
        if path not in channels.known:
            (key,) = group_keys(path, self.zarr_format)
            body = await self._document(key)
            image = None if body is None else self._image(path, key, body)
            rendering = None if image is None else image.multiscales[0].rendering
            channels.known[path] = _names(rendering)
        return channels.known[path]

    async def _expected(self) -> tuple[Pixels | None, str]:
        """Find the level where other fields have it."""
        field: str | None = self.field
        pixels = await self._pixels(self.field, self.levels[1])
        if pixels is None:
            field = await self._first_field()
            if field is not None and field != self.field:
                pixels = await self._pixels(field, self.levels[1])
        return pixels, field or ""

    async def _fits(self, pixels: Pixels, field: str) -> bool:
        """Whether a level is as coarse as it is elsewhere on the plate."""
        finest, level = self.shapes
        if self.levels[0] == self.levels[1] and finest == level:
            return True
        if pixels.shape == level or len(pixels.shape) != len(level):
            return True
        whole = await self._pixels(field, self.levels[0])
        return whole is None or self._is_scaled(pixels.shape, whole.shape)

    def _is_scaled(self, shape: Sequence[int], whole: Sequence[int]) -> bool:
        expected = [
            size * coarse / fine
            for size, fine, coarse in zip(whole, *self.shapes, strict=True)
        ]
        return all(abs(s - e) < 1 for s, e in zip(shape, expected, strict=True))

    async def _from_own_levels(self, field: str) -> Pixels | None:
        """Show the level by those that the field lists itself."""
        levels = await self._own_levels(field)
        if not levels or len(levels[0].shape) != len(self.shapes[0]):
            return levels[0] if levels else None
        wanted = scaled(levels[0].shape, *self.shapes)
        fine = [
            level
            for level in levels
            if all(s >= w for s, w in zip(level.shape, wanted, strict=True))
        ]
        chosen = (fine or levels)[-1] if fine else levels[0]
        return chosen if chosen.shape == wanted else Resized(chosen, wanted)

    async def _own_levels(self, field: str) -> list[Pixels]:
        path = join_path(self.group, field, self.inside)
        (key,) = group_keys(path, self.zarr_format)
        body = await self._document(key)
        if body is None:
            return []
        image = self._image(path, key, body)
        if image is None:
            return []
        paths = [dataset.path for dataset in image.multiscales[0].datasets]
        found = await asyncio.gather(
            *(self._pixels(field, level) for level in paths[:_MOST_LEVELS])
        )
        return [pixels for pixels in found if pixels is not None]

    def _image(self, path: str, key: str, body: bytes) -> Image | None:
        node = parse_node(path, {key: body}, self.zarr_format)
        kind = None if node is None else kind_of(node, path)
        return kind if isinstance(kind, Image) else None

    async def _pixels(self, field: str, level: str) -> Pixels | None:
        path = join_path(self.group, field, self.inside, level)
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
        if not self.field:  # the group is the field itself
            return self.field
        return _first_field(self.group, {key: body}, self.zarr_format)

    async def _document(self, key: str) -> bytes | None:
        buffer = await self.opening.store.get(key, buffer_prototype)
        return None if buffer is None else buffer.to_bytes()


def scaled(
    shape: Sequence[int], finest: Sequence[int], level: Sequence[int]
) -> tuple[int, ...]:
    """Give the shape of a level of something, made as one of the plate's finest is."""
    return tuple(
        max(1, -(-size * coarse // fine))
        for size, fine, coarse in zip(shape, finest, level, strict=True)
    )


def _first_field(path: str, answers: Answers, zarr_format: int) -> str | None:
    well = parse_node(path, answers, zarr_format)
    kind = None if well is None else kind_of(well)
    return kind.images[0].path if isinstance(kind, Well) and kind.images else None


# A plate: the first field of each well.


@dataclass(frozen=True, slots=True)
class PlateGrid:
    """Where fields lie: rows and columns, and the group at each taken place."""

    size: tuple[int, int]
    groups: Mapping[tuple[int, int], str]
    field: str  # below each group
    channels: PlateChannels | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What is known of another field: its finest level, and how it is rendered."""

    path: str
    pixels: Pixels
    rendering: Rendering | None
    is_told: bool  # whether its rendering was asked for


@dataclass(frozen=True, slots=True)
class Template:
    """One field, which others are expected to be like, and what is known of others."""

    group: GroupNode
    image: Pyramid
    rendering: Rendering | None
    labels: Mapping[str, Pyramid]  # by their paths in the labels group
    others: Mapping[str, Neighbour]  # those that were looked at, by group


def open_plate(
    opening: Opening, group: GroupNode, kind: Plate
) -> Questions[list[Pyramid]]:
    """Open a plate as one mosaic of the first field of each well, and of its labels.

    Asks for one well, one field and that field's levels, whatever the plate's
    size: every other well is found out when it is looked at, and where it holds
    nothing its place stays 0. Where it takes no request, other wells are looked at
    in advance, and make room for themselves.
    """
    well, field, template = yield from _find_template(opening, group, kind)
    groups = {(w.row, w.column): join_path(group.path, w.path) for w in kind.wells}
    grid = PlateGrid((len(kind.rows), len(kind.columns)), groups, field)
    place = join_path(group.path, well)
    image, *labels = _mosaics(opening, template, grid)
    image = dataclasses.replace(
        image, name=kind.name or opening.location.stem, attributes=group.attributes
    )
    return [
        dataclasses.replace(
            pyramid,
            warnings=tuple(w.replace(place, "the wells") for w in pyramid.warnings),
        )
        for pyramid in (image, *labels)
    ]


def _find_template(
    opening: Opening, group: GroupNode, kind: Plate
) -> Questions[tuple[str, str, Template]]:
    """Find one well with an image; the first one nearly always has it."""
    failure: OMEZarrError | None = None
    begin = 0
    for count in _WELLS_TRIED:
        wells, begin = kind.wells[begin : begin + count], begin + count
        paths = {well.path: join_path(group.path, well.path) for well in wells}
        answers = yield from ask(
            key
            for path in paths.values()
            for key in group_keys(path, group.zarr_format)
        )
        for well, path in paths.items():
            try:
                field = _first_field(path, answers, group.zarr_format)
                if field is None:
                    continue
                others = [join_path(group.path, each.path) for each in kind.wells]
                template = yield from _field(opening, group, path, field, others)
            except _UNREADABLE as error:
                failure = failure or error
                opening.warnings.append(f"Well {well} cannot be shown. {error}")
                continue
            if template is not None:
                return well, field, template
    if failure is not None:
        raise failure
    msg = "This plate lists wells, but none of the first ones is there."
    raise NodeNotFoundError(msg, url=opening.location.display)


def _field(
    opening: Opening, plate: GroupNode, well: str, field: str, wells: Sequence[str]
) -> Questions[Template | None]:
    path = join_path(well, field)
    answers = yield from ask(image_keys(path, plate.zarr_format))
    group = parse_node(path, answers, plate.zarr_format)
    if not isinstance(group, GroupNode):
        return None
    others = [path for path in wells if path != well]
    return (yield from _template(opening, group, answers, others, field))


def _template(
    opening: Opening,
    group: GroupNode,
    answers: Answers,
    others: Sequence[str],
    field: str,
    name: str = "",
) -> Questions[Template]:
    """Open a field, what its labels are, and a look at others: in one round."""
    kind = kind_of(group, group.path)
    multiscale = kind.multiscales[0] if isinstance(kind, Image) else None
    paths = [dataset.path for dataset in multiscale.datasets] if multiscale else []
    finest = paths[0] if paths else ""
    names = _label_names(opening, group, answers)
    spare = _REQUESTS - opening.store.requests - len(paths) - 2 * len(names)
    looked_at = (
        _within(opening, others, spare) if field else dict.fromkeys(others, True)
    )
    said = opening.part()
    known: dict[str, Neighbour] = {}

    def look() -> Questions[None]:
        questions = _look_around(opening, group, looked_at, field, finest)
        known.update((yield from primed(questions, answers)))

    parts: list[Questions[Pyramid | None]] = [
        open_multiscale(opening, group, name),
        look(),
        *(_label(said, group, label, finest) for label in names),
    ]
    image, _, *labels = yield from together(parts)
    assert image is not None
    warnings = (*image.warnings, *said.warnings)
    return Template(
        group,
        dataclasses.replace(image, warnings=warnings),
        multiscale.rendering if multiscale else None,
        {n: label for n, label in zip(names, labels, strict=True) if label is not None},
        known,
    )


def _label_names(opening: Opening, group: GroupNode, answers: Answers) -> list[str]:
    """Give the label images of a field; labels that cannot be read cost themselves."""
    wanted = opening.options.labels
    if wanted is False:
        return []
    path = join_path(group.path, "labels")
    try:
        node = parse_node(path, answers, group.zarr_format)
        kind = None if node is None else kind_of(node, path)
    except AccessDeniedError:  # they were only guessed at, and most fields have none
        return []
    except OMEZarrError as error:
        opening.warnings.append(f"The labels could not be opened. {error}")
        return []
    names = kind.paths if isinstance(kind, Labels) else ()
    names = tuple(n for n in names if isinstance(wanted, bool) or n in wanted)
    if len(names) > _MOST_LABELS:
        left_out = len(names) - _MOST_LABELS
        opening.warnings.append(f"{left_out} label images are not shown; open a well.")
    return list(names[:_MOST_LABELS])


def _label(
    opening: Opening, image: GroupNode, name: str, finest: str
) -> Questions[Pyramid | None]:
    """Open the finest level of a label image, whose path is guessed: one round."""
    path = join_path(image.path, "labels", name)
    number = image.zarr_format
    part = opening.part()
    answers = yield from ask(
        (*group_keys(path, number), array_key(join_path(path, finest), number))
    )
    try:
        group = parse_node(path, answers, number)
        if not isinstance(group, GroupNode):
            opening.warnings.append(f"{path} is listed, but it is not there.")
            return None
        document = parse_document(
            group.attributes, zarr_format=number, url=opening.place(path).display
        )
        if not isinstance(document.kind, Image):
            opening.warnings.append(f"{path} lists no image.")
            return None
        multiscale = document.kind.multiscales[0]
        if part.options.level is None:
            finest_only = multiscale.datasets[:1]
            multiscale = dataclasses.replace(multiscale, datasets=finest_only)
        questions = find_levels(part, path, multiscale, number)
        multiscale, levels = yield from primed(questions, answers)
    except _UNREADABLE as error:
        opening.warnings.append(f"{path} could not be opened. {error}")
        return None
    multiscale = dataclasses.replace(multiscale, label=multiscale.label or ImageLabel())
    return make_pyramid(part, group, document, multiscale, levels)


# A look at other wells, as far as it is free.


def _is_near(opening: Opening) -> bool:
    """Whether documents of wells take no request over a network."""
    local = opening.location.protocol == "file"
    return local or bool(opening.consolidated.children(""))


def _within(opening: Opening, groups: Sequence[str], spare: int) -> dict[str, bool]:
    """Choose the wells to look at in advance: all that are near, else a few.

    Of each is said whether its channels are asked for as well as its size.
    """
    count = _MOST_WELLS if _is_near(opening) else max(0, spare)
    if count >= len(groups):
        is_told = _is_near(opening) or count >= 2 * len(groups)
        return dict.fromkeys(groups, is_told)
    plate = opening.location.display
    # From the last one on, as a screen changes on its way if it changes.
    some = (groups[round(n * (len(groups) - 1) / count)] for n in range(count, 0, -1))
    chosen = dict.fromkeys(some, _is_near(opening))
    return chosen | {group: True for group in groups if (plate, group) in _MISFITS}


def _look_around(
    opening: Opening,
    template: GroupNode,
    groups: Mapping[str, bool],
    field: str,
    level: str,
) -> Questions[dict[str, Neighbour]]:
    """Find the finest levels of other fields, where they have the template's names.

    Where it costs nothing the wells are asked for what they call their fields.
    """
    number = template.zarr_format
    usual = {group: join_path(group, field) for group in groups}
    told = {group for group, is_told in groups.items() if is_told}
    found = yield from _look_at(opening, usual, level, number, told)
    missing = [group for group in groups if group not in found]
    if not (field and missing and _is_near(opening)):
        return found
    answers = yield from _ask_held(
        opening, (key for group in missing for key in group_keys(group, number))
    )
    named = {}
    for group in missing:
        try:
            name = _first_field(group, answers, number)
        except OMEZarrError:  # said when it is looked at
            continue
        if name is not None:
            named[group] = join_path(group, name)
    more = yield from _look_at(opening, named, level, number, told)
    return {**found, **more}


def _look_at(
    opening: Opening,
    fields: Mapping[str, str],
    level: str,
    zarr_format: int,
    told: Collection[str],
) -> Questions[dict[str, Neighbour]]:
    arrays = {
        group: array_key(join_path(path, level), zarr_format)
        for group, path in fields.items()
    }
    documents = {
        group: group_keys(path, zarr_format)[0]
        for group, path in fields.items()
        if group in told
    }
    answers = yield from _ask_held(opening, (*arrays.values(), *documents.values()))
    part, known = opening.part(), dict[bytes, "Pixels | None"]()
    found: dict[str, Neighbour] = {}
    for group, key in arrays.items():
        body = answers[key]
        if not isinstance(body, bytes):
            continue
        if body not in known:  # most wells are alike
            known[body] = _array(part, key, body, zarr_format)
        pixels, path = known[body], fields[group]
        if pixels is not None:
            said = answers[documents[group]] if group in told else None
            rendering = _rendering(path, said, zarr_format)
            found[group] = Neighbour(path, pixels, rendering, said is not None)
    return found


def _ask_held(opening: Opening, keys: Iterable[str]) -> Questions[Answers]:
    """Ask for documents; with consolidated metadata only for what they hold."""
    every = list(keys)
    asked = every
    if opening.consolidated.children(""):
        asked = [key for key in every if opening.consolidated.holds(key)]
    answers = yield from ask(asked)
    return {**dict.fromkeys(every), **answers}


def _rendering(
    path: str, body: bytes | StoreError | None, zarr_format: int
) -> Rendering | None:
    try:
        (key,) = group_keys(path, zarr_format)
        node = parse_node(path, {key: body}, zarr_format)
        kind = None if node is None else kind_of(node, path)
    except OMEZarrError:  # said when it is looked at
        return None
    return kind.multiscales[0].rendering if isinstance(kind, Image) else None


def _array(opening: Opening, key: str, body: bytes, zarr_format: int) -> Pixels | None:
    path = key.rpartition("/")[0]
    try:
        node = ArrayNode(path, zarr_format, parse_json(body, key), {})
        return open_array(opening, node)
    except OMEZarrError:
        return None  # said when it is looked at


# The mosaics of a plate, or of a well's fields.


def _mosaics(opening: Opening, template: Template, grid: PlateGrid) -> list[Pyramid]:
    """Lay fields and their labels out in a grid; places have room for the largest."""
    image = template.image
    finest = image.levels[0].pixels
    every = [finest, *(other.pixels for other in template.others.values())]
    alike = [pixels for pixels in every if pixels.ndim == finest.ndim]
    room = np.max([pixels.shape for pixels in alike], axis=0).tolist()
    channels = _plate_channels(template)
    if channels is not None:
        room[-channels.axis] = _channel_count(template, channels)
        grid = dataclasses.replace(grid, channels=channels)
    cell = tuple(room)
    dtype = np.result_type(*(pixels.dtype for pixels in alike))
    image = dataclasses.replace(
        _with_room(template, cell, dtype, channels),
        location=opening.location,
        levels=tuple(_levels(opening, template, grid, cell, dtype)),
        warnings=(*image.warnings, *_differences(template, cell, dtype, channels)),
    )
    labels = [
        _label_mosaic(opening, template, path, grid, cell) for path in template.labels
    ]
    return [image, *labels]


def _plate_channels(template: Template) -> PlateChannels | None:
    """Give the channels that fields name, if the template names each of its own."""
    image = template.image
    names = _names(template.rendering)
    if image.channel_axis is None or len(names) != image.shape[image.channel_axis]:
        return None
    axis = len(image.shape) - image.channel_axis
    known = {template.group.path: names}
    for other in (other for other in template.others.values() if other.is_told):
        named, shape = _names(other.rendering), other.pixels.shape
        fits = len(shape) >= axis and len(named) == shape[-axis]
        known[other.path] = named if fits else ()
    return PlateChannels(tuple(dict.fromkeys(chain(*known.values()))), axis, known)


def _channel_count(template: Template, channels: PlateChannels) -> int:
    """Say how many channels there are; fields without names have theirs in order."""
    unnamed = (
        other.pixels.shape[-channels.axis]
        for other in template.others.values()
        if not channels.known.get(other.path) and other.pixels.ndim >= channels.axis
    )
    return max(len(channels.names), *unnamed, 0)


def _with_room(
    template: Template,
    cell: tuple[int, ...],
    dtype: np.dtype,
    named: PlateChannels | None,
) -> Pyramid:
    """Give an image the channels of all wells."""
    image = template.image
    axis, finest = image.channel_axis, image.levels[0].pixels
    count = len(image.channels) if axis is None else cell[axis]
    if count == len(image.channels):
        return dataclasses.replace(image, rgb=image.rgb and dtype == finest.dtype)
    more, _ = resolve_channels(None, count, dtype)
    told = {
        channel.name: channel
        for other in template.others.values()
        for channel in resolve_channels(other.rendering, count, dtype)[0]
    }
    names = named.names if named else ()
    channels = [
        told.get(names[number], channel) if number < len(names) else channel
        for number, channel in enumerate(more)
    ]
    channels[: len(image.channels)] = image.channels
    return dataclasses.replace(image, channels=tuple(channels), rgb=False)


def _differences(
    template: Template,
    cell: tuple[int, ...],
    dtype: np.dtype,
    channels: PlateChannels | None,
) -> list[str]:
    """Say how the fields that were looked at differ, in a sentence each."""
    finest = template.image.levels[0].pixels
    every = [finest, *(other.pixels for other in template.others.values())]
    said = []
    shapes = dict.fromkeys(" x ".join(map(str, p.shape)) for p in every)
    if len(shapes) > 1:
        room = " x ".join(map(str, cell))
        some = ", ".join(list(shapes)[:4])
        said.append(
            f"The fields are not of one size ({some}): each has room for {room}, "
            "and what it does not fill is 0."
        )
    types = dict.fromkeys(str(p.dtype) for p in every)
    if len(types) > 1:
        said.append(f"The fields hold {', '.join(types)}; all are shown as {dtype}.")
    if channels is not None and len(set(channels.known.values()) - {()}) > 1:
        names = ", ".join(channels.names[:8])
        said.append(
            f"The fields differ in channels ({names}): these go by their names."
        )
    return said


def _levels(
    opening: Opening,
    template: Template,
    grid: PlateGrid,
    cell: tuple[int, ...],
    dtype: np.dtype,
) -> Iterable[Level]:
    finest = template.image.levels[0]
    for level in template.image.levels:
        shapes = finest.pixels.shape, level.pixels.shape
        paths = finest.path, level.path
        shape = scaled(cell, *shapes)
        tiles = _tiles(opening, template, grid, "", paths, shapes)
        pixels = Mosaic(level.pixels, grid.size, tiles, tile_shape=shape, dtype=dtype)
        # Tiles touch, so each level's scale follows from its size. Where sizes are
        # odd, its own scale times its size is not the tile's extent; over sixteen
        # rows the difference would be as many pixels.
        scale = np.asarray(level.affine.scale)
        scale[-2:] = np.asarray(finest.affine.scale[-2:]) * cell[-2:] / shape[-2:]
        yield Level(level.path, pixels, Affine.from_scale(scale.tolist()))


def _label_mosaic(
    opening: Opening,
    template: Template,
    path: str,
    grid: PlateGrid,
    cell: tuple[int, ...],
) -> Pyramid:
    """Lay the label images of fields out over their mosaic, with its levels."""
    label = template.labels[path]
    image, finest = template.image.levels[0], label.levels[0]
    pixels = finest.pixels
    # A label image may be coarser than its image: a place is as large in the world.
    place = (
        *pixels.shape[:-2],
        *scaled(cell[-2:], image.pixels.shape[-2:], pixels.shape[-2:]),
    )
    inside = join_path("labels", path)
    base = np.asarray(finest.affine.scale)
    base[-2:] = np.asarray(image.affine.scale[-2:]) * cell[-2:] / place[-2:]
    offset = np.zeros(len(base))
    offset[-2:] = (base[-2:] - image.affine.scale[-2:]) / 2
    levels = []
    for level in template.image.levels:
        coarse = scaled(
            pixels.shape[-2:], image.pixels.shape[-2:], level.pixels.shape[-2:]
        )
        shapes = pixels.shape, (*pixels.shape[:-2], *coarse)
        paths = finest.path, finest.path if level is image else level.path
        tiles = _tiles(opening, template, grid, inside, paths, shapes)
        shape = scaled(place, *shapes)
        mosaic = Mosaic(pixels, grid.size, tiles, tile_shape=shape)
        scale = base * place / shape
        matrix = np.hstack([np.diag(scale), offset[:, None]])
        levels.append(Level(paths[1], mosaic, Affine.from_matrix(matrix)))
    return dataclasses.replace(label, location=opening.location, levels=tuple(levels))


def _tiles(
    opening: Opening,
    template: Template,
    grid: PlateGrid,
    inside: str,
    levels: tuple[str, str],
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> dict[tuple[int, int], Tile]:
    number = template.group.zarr_format
    channels = None if inside else grid.channels
    return {
        place: FieldTile(
            opening, path, grid.field, inside, number, levels, shapes, channels
        )
        for place, path in grid.groups.items()
    }


# A well: all of its fields.


def open_well(
    opening: Opening, group: GroupNode, kind: Well
) -> Questions[list[Pyramid]]:
    """Open a well: its fields where they say they lie, else side by side.

    Fields with different translations are images of their own, each in its
    place; fields without are laid out in a grid, in order, near to a square.
    """
    paths = [join_path(group.path, image.path) for image in kind.images]
    answers = yield from ask(
        key for path in paths for key in image_keys(path, group.zarr_format)
    )
    fields = _readable_fields(opening, paths, answers, group.zarr_format)
    if not fields:
        msg = "This well lists fields of view, but none of them is there."
        raise NodeNotFoundError(msg, url=opening.location.display)
    name = opening.location.stem
    if len(fields) > 1 and _have_own_positions(fields):
        opened = yield from together(
            open_image(opening, field, answers, f"{name} {field.path}")
            for field in fields
        )
        return [pyramid for part in opened for pyramid in part]
    if len(paths) == 1:
        return (yield from open_image(opening, fields[0], answers, name))
    others = [field.path for field in fields[1:]]
    template = yield from _template(opening, fields[0], answers, others, "", name)
    columns = math.ceil(math.sqrt(len(paths)))
    groups = {divmod(number, columns): path for number, path in enumerate(paths)}
    grid = PlateGrid((math.ceil(len(paths) / columns), columns), groups, "")
    return _mosaics(opening, template, grid)


def _readable_fields(
    opening: Opening, paths: Sequence[str], answers: Answers, zarr_format: int
) -> list[GroupNode]:
    """Give the fields that are images; a broken one costs itself and a warning."""
    fields = []
    for path in paths:
        try:
            node = parse_node(path, answers, zarr_format)
            if isinstance(node, GroupNode) and isinstance(kind_of(node, path), Image):
                fields.append(node)
            elif node is not None:
                opening.warnings.append(f"Field {path} is no image.")
        except _UNREADABLE as error:
            opening.warnings.append(f"Field {path} cannot be shown. {error}")
    return fields


def _have_own_positions(fields: list[GroupNode]) -> bool:
    """Tell whether the fields of a well give positions of their own."""
    positions = set()
    for field in fields:
        kind = kind_of(field)
        assert isinstance(kind, Image)
        positions.add(kind.multiscales[0].datasets[0].affine.translation)
    return len(positions) == len(fields)
