"""The wells of a plate laid out: where each lies, its room, and its levels."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.metadata import (
    Affine,
    Axis,
    Channel,
    Rendering,
    resolve_channels,
    usual_colors,
)
from napari_omezarr.plain_text import by_times
from napari_omezarr.pyramid import (
    Level,
    Mosaic,
    MosaicLevel,
    Pyramid,
    Resized,
    WellGrid,
    coarser_levels,
)

from .nodes import join_path
from .plate_fields import (
    ExpectedField,
    FieldChoice,
    MisfitError,
    PlateDocuments,
    PlateFields,
    channel_names,
    position_of,
    reaches,
    scaled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_omezarr.metadata import Multiscale, Well
    from napari_omezarr.pyramid import Pixels, Place

    from .nodes import GroupNode, Opening

_CHOICES = ("rows", "columns", "wells", "fields", "acquisition")
"""The options that choose what of a plate is shown."""

# What is known of fields before they are looked at.


@dataclass(frozen=True, slots=True)
class SeenField:
    """A field that was looked at in advance: its finest level, and what says of it."""

    path: str
    pixels: Pixels
    image: Multiscale | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """One field, which others are expected to be like, and what is known of others."""

    group: GroupNode
    image: Pyramid
    multiscale: Multiscale
    labels: Mapping[str, Pyramid]  # by their paths in the labels group
    others: Sequence[SeenField]
    siblings: Mapping[int, Multiscale]  # fields of the same well, by number
    wells: Mapping[str, Well]  # that were read, by their paths


@dataclass(slots=True)
class FieldRoom:
    """What a field has room for: the most of all that was ever seen of a plate."""

    shape: tuple[int, ...]
    dtype: np.dtype
    channels: tuple[str | None, ...] = ()
    rendering: list[Channel] = field(default_factory=list)
    firsts: dict[str, SeenField] = field(default_factory=dict)
    """Of channels that the first field lacks, the first ones that have them."""


@dataclass(frozen=True, slots=True)
class PlateToLay:
    """Which wells are laid out where."""

    choice: FieldChoice
    groups: Mapping[Place, str]
    names: Mapping[Place, str]
    size: tuple[int, int]
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


# The mosaics.


def mosaics(opening: Opening, template: Template, plate: PlateToLay) -> list[Pyramid]:
    """Lay fields and their labels out; places have room for the largest."""
    image = template.image
    expected = ExpectedField(
        template.group.zarr_format,
        tuple(axis.name.lower() for axis in image.axes),
        tuple(level.path for level in image.levels),
        tuple(level.pixels.shape for level in image.levels),
        image.channel_axis,
    )
    room = _room(template, expected)
    expected = dataclasses.replace(expected, channels=room.channels)
    address = opening.location.display
    choice, cell = _laid_out(address, template, plate.choice, room.shape[-2:])
    gap = 0 if plate.size == (1, 1) else min(cell) // 32
    grid = WellGrid(
        plate.size,
        cell,
        (cell[0] + gap, cell[1] + gap),
        plate.names,
        plate.rows,
        plate.columns,
    )
    documents = PlateDocuments(opening.part(), template.group.zarr_format)
    documents.know(template.group.path, template.multiscale)
    for path, well in template.wells.items():
        documents.know(path, well)
    for seen in template.others:
        if seen.image is not None:
            documents.know(seen.path, seen.image)
    last = image.levels[-1].pixels
    sample = image.levels[0].pixels if isinstance(last, Resized) else last
    samples = {
        room.channels.index(name): expected.arranged(seen.pixels, seen.image)
        for name, seen in room.firsts.items()
    }
    fields = PlateFields(
        documents, grid, plate.groups, choice, expected, sample, samples
    )
    levels = _levels(opening, template.image, fields, room)
    shown = dataclasses.replace(
        _with_room(image, room),
        location=opening.location,
        levels=levels,
        warnings=(*image.warnings, *_differences(template, room)),
    )
    labels = [
        _label_mosaic(opening, template, path, (fields, room))
        for path in template.labels
    ]
    chosen = {name: getattr(opening.options, name) for name in _CHOICES}
    chosen = {name: part for name, part in chosen.items() if part is not None}
    return [
        dataclasses.replace(
            _stepping(pyramid, choice.steps), options={**pyramid.options, **chosen}
        )
        for pyramid in (shown, *labels)
    ]


def _room(template: Template, expected: ExpectedField) -> FieldRoom:
    """Find what all fields that were looked at have room in."""
    image, axis = template.image, expected.channel_axis
    finest = image.levels[0].pixels
    rendering = template.multiscale.rendering
    channels = list(rendering.channels) if rendering else []
    names: list[str | None] = list(channel_names(template.multiscale))
    shape, dtype = list(finest.shape), finest.dtype
    named = bool(names) and axis is not None and len(names) == finest.shape[axis]
    firsts: dict[str, SeenField] = {}
    for seen in template.others:
        own = channel_names(seen.image)
        if named and own:
            for name, channel in zip(own, _rendered(seen), strict=True):
                if name not in names:
                    names.append(name)
                    channels.append(channel)
                    firsts[name] = seen
        try:
            pixels = dataclasses.replace(
                expected, channels=tuple(names) if named else ()
            ).arranged(seen.pixels, seen.image)
        except MisfitError:  # said when it is looked at
            firsts = {name: each for name, each in firsts.items() if each is not seen}
            continue
        shape = list(map(max, shape, pixels.shape))
        dtype = np.result_type(dtype, pixels.dtype)
    if axis is not None:
        names += [None] * (shape[axis] - len(names))
    known = tuple(names) if named else ()
    return FieldRoom(tuple(shape), dtype, known, channels, firsts)


def _rendered(seen: SeenField) -> tuple[Channel, ...]:
    assert seen.image is not None
    assert seen.image.rendering is not None
    return seen.image.rendering.channels


def _laid_out(
    address: str, template: Template, choice: FieldChoice, size: Sequence[int]
) -> tuple[FieldChoice, tuple[int, int]]:
    """Say where fields lie in a well, and how large wells are, in pixels."""
    height, width = size
    count = len(choice.fields)
    if count == 1 or "field" in choice.steps:
        offsets: tuple[tuple[float, float] | None, ...] = ((0.0, 0.0),) * count
        return dataclasses.replace(choice, offsets=offsets), (height, width)
    columns = math.ceil(math.sqrt(count))
    gap = min(height, width) // 64
    cell = (
        math.ceil(count / columns) * (height + gap) - gap,
        columns * (width + gap) - gap,
    )
    images = {0: template.multiscale, **template.siblings}
    known = {n: p for n, i in images.items() if (p := position_of(i)) is not None}
    if (
        choice.by_position
        and len({(round(y), round(x)) for y, x in known.values()}) > 1
    ):
        top, left = (min(p[axis] for p in known.values()) for axis in (0, 1))
        offsets = tuple(
            (known[n][0] - top, known[n][1] - left) if n in known else None
            for n in range(count)
        )
        far = [
            max(round(o[axis]) for o in offsets if o is not None) + size[axis]
            for axis in (0, 1)
        ]
        if None in offsets:  # the others lie somewhere between, as far as one knows
            more = reaches.get(address, (0, 0))
            far = [max(far[0], cell[0], more[0]), max(far[1], cell[1], more[1])]
        return dataclasses.replace(choice, offsets=offsets), (far[0], far[1])
    offsets = tuple(
        ((n // columns) * (height + gap), (n % columns) * (width + gap))
        for n in range(count)
    )
    return dataclasses.replace(choice, offsets=offsets, by_position=False), cell


def _with_room(image: Pyramid, room: FieldRoom) -> Pyramid:
    """Give an image as many channels as the wells have altogether."""
    axis = image.channel_axis
    finest = image.levels[0].pixels
    count = len(image.channels) if axis is None else room.shape[axis]
    if count == len(image.channels):
        return dataclasses.replace(image, rgb=image.rgb and room.dtype == finest.dtype)
    rendering = Rendering(tuple(room.rendering[:count]))
    more, _ = resolve_channels(rendering if room.rendering else None, count, room.dtype)
    channels = list(image.channels)
    for channel in more[len(channels) :]:
        # Wells that have other channels may have coloured them as these are.
        taken = {each.color.upper() for each in channels}
        free = [each for each in usual_colors(count) if each not in taken]
        is_taken = channel.color.upper() in taken
        color = free[0] if free and is_taken else channel.color
        channels.append(dataclasses.replace(channel, color=color))
    return dataclasses.replace(image, channels=tuple(channels), rgb=False)


def _differences(template: Template, room: FieldRoom) -> list[str]:
    """Say how the fields that were looked at differ, in a sentence each."""
    finest = template.image.levels[0].pixels
    every = [finest, *(seen.pixels for seen in template.others)]
    said = []
    shapes = dict.fromkeys(by_times(p.shape) for p in every)
    axis = template.image.channel_axis if room.channels else None
    planes = {tuple(n for at, n in enumerate(p.shape) if at != axis) for p in every}
    if len(planes) > 1:
        sides = by_times(room.shape)
        some = ", ".join(list(shapes)[:4])
        said.append(
            f"The fields are not of one size ({some}): each has room for {sides}, "
            "and what it does not fill is 0."
        )
    types = dict.fromkeys(str(p.dtype) for p in every)
    if len(types) > 1:
        said.append(
            f"The fields hold {', '.join(types)}; all are shown as {room.dtype}."
        )
    orders = {channel_names(seen.image) for seen in template.others}
    if len((orders | {channel_names(template.multiscale)}) - {()}) > 1:
        names = ", ".join(name for name in room.channels[:8] if name)
        said.append(
            f"The fields differ in channels ({names}): these go by their names."
        )
    return said


def _levels(
    opening: Opening, image: Pyramid, fields: PlateFields, room: FieldRoom
) -> tuple[Level, ...]:
    finest = image.levels[0]
    shape = finest.pixels.shape
    shown: list[MosaicLevel] = []
    for number, level in enumerate(image.levels):
        own = level.pixels.shape
        factors = shape[-2] / own[-2], shape[-1] / own[-1]
        place = scaled(room.shape, shape, own)
        chunks = level.pixels.chunks
        if isinstance(level.pixels, Resized):  # its own are not known
            chunks = tuple(map(min, finest.pixels.chunks, own))
        shown.append(MosaicLevel(number, factors, place, chunks, room.dtype))
    return _mosaic_levels(opening, image, fields, shown)


def _mosaic_levels(
    opening: Opening, image: Pyramid, fields: PlateFields, shown: list[MosaicLevel]
) -> tuple[Level, ...]:
    """Make the levels, and coarser ones of which the whole plate is small."""
    labels = image.label is not None
    paths = list(fields.expected.paths)
    if opening.options.level is None:
        more = list(coarser_levels(fields.grid, shown[-1]))
        paths += [f"overview-{n + 1}" for n in range(len(more))]
        shown = [*shown, *more]
    first = Mosaic(fields, shown[0], labels=labels)
    rest = (Mosaic(fields, each, labels=labels).keep_with(first) for each in shown[1:])
    base = np.asarray(image.levels[0].affine.scale)
    offset = np.asarray(image.levels[0].affine.translation) if labels else 0 * base
    levels = []
    for path, mosaic in zip(paths, (first, *rest), strict=True):
        scale = base.copy()
        number = mosaic.level.number
        scale[:-2] = image.levels[min(number, len(image.levels) - 1)].affine.scale[:-2]
        scale[-2:] *= np.asarray(mosaic.level.factors) / np.asarray(shown[0].factors)
        matrix = np.hstack([np.diag(scale), offset[:, None]])
        levels.append(Level(path, mosaic, Affine.from_matrix(matrix)))
    return tuple(levels)


def _label_mosaic(
    opening: Opening,
    template: Template,
    path: str,
    images: tuple[PlateFields, FieldRoom],
) -> Pyramid:
    """Lay the label images of fields out over their mosaic, with its levels.

    Theirs are as deep and as many as the images'; of small types they are 32-bit
    numbers, as nobody has looked at others.
    """
    label, (fields, held) = template.labels[path], images
    image, finest = template.image.levels[0], label.levels[0]
    pixels, size = finest.pixels, image.pixels.shape[-2:]
    # A label image may be coarser than its image: a place is as large in the world.
    ratio = size[0] / pixels.shape[-2], size[1] / pixels.shape[-1]
    sizes = dict(zip(fields.expected.axes, held.shape, strict=True))
    names = [axis.name.lower() for axis in label.axes[:-2]]
    pairs = zip(names, pixels.shape, strict=False)
    front = [max(size, sizes.get(name, 1)) for name, size in pairs]
    dtype = np.dtype(np.int32) if pixels.dtype.itemsize < 4 else pixels.dtype
    shapes, shown, paths = [], [], []
    for number, level in enumerate(template.image.levels):
        plane = scaled(pixels.shape[-2:], size, level.pixels.shape[-2:])
        shapes.append((*pixels.shape[:-2], *plane))
        factors = (
            size[0] / level.pixels.shape[-2] * ratio[0],
            size[1] / level.pixels.shape[-1] * ratio[1],
        )
        room = (
            *front,
            *(
                max(1, math.ceil(size / by - 1e-6))
                for size, by in zip(_field_room(fields), factors, strict=True)
            ),
        )
        chunks = tuple(map(min, pixels.chunks, shapes[-1]))
        shown.append(MosaicLevel(number, factors, room, chunks, dtype))
        paths.append(finest.path if number == 0 else level.path)
    expected = ExpectedField(
        template.group.zarr_format,
        tuple(axis.name.lower() for axis in label.axes),
        tuple(paths),
        tuple(shapes),
        inside=join_path("labels", path),
    )
    own = PlateFields(
        fields.documents, fields.grid, fields.groups, fields.choice, expected, pixels
    )
    offset = np.zeros(len(finest.affine.scale))
    scale = np.asarray(finest.affine.scale, float)
    scale[-2:] = np.asarray(image.affine.scale[-2:]) * ratio
    offset[-2:] = (scale[-2:] - image.affine.scale[-2:]) / 2
    matrix = np.hstack([np.diag(scale), offset[:, None]])
    placed = dataclasses.replace(finest, affine=Affine.from_matrix(matrix))
    # All have the plate's address.
    label = dataclasses.replace(
        label, levels=(placed,), options={**label.options, "labels": (path,)}
    )
    levels = _mosaic_levels(opening, label, own, shown)
    return dataclasses.replace(label, location=opening.location, levels=levels)


def _field_room(fields: PlateFields) -> tuple[int, int]:
    """Give the height and width that each field has room for."""
    offsets = [o or (0.0, 0.0) for o in fields.choice.offsets]
    cell = fields.grid.cell
    if "field" in fields.choice.steps or len(offsets) == 1:
        return cell
    return cell[0] - round(max(y for y, _ in offsets)), cell[1] - round(
        max(x for _, x in offsets)
    )


def _stepping(pyramid: Pyramid, steps: Sequence[str]) -> Pyramid:
    """Say of a pyramid that its first axes step through acquisitions and fields."""
    count = len(steps)
    if not count:
        return pyramid
    axes = tuple(Axis(name) for name in steps)
    channel = pyramid.channel_axis
    return dataclasses.replace(
        pyramid,
        axes=axes + pyramid.axes,
        world_axes=axes + pyramid.world_axes,
        levels=tuple(
            dataclasses.replace(level, affine=level.affine.below(count))
            for level in pyramid.levels
        ),
        channel_axis=None if channel is None else channel + count,
        default_point={
            n + count: at for n, at in (pyramid.default_point or {}).items()
        },
    )
