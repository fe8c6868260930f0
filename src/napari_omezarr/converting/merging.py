"""Many files as one image: which belong together, and where each has its place."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr._io_loop import HeedingPool
from napari_omezarr.errors import OptionError, UnsupportedDataError
from napari_omezarr.metadata import Axis
from napari_omezarr.plain_text import natural_key
from napari_omezarr.writing import (
    Channels,
    ImageSpec,
    Resolution,
    as_source,
    channel_displays,
    describe,
    extended,
    stack,
)

from .inputs import ConvertInput, is_zarr_name, read_images
from .tiff import TiffArray, files_of_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Bounds
    from napari_omezarr.writing import PixelSource

    from .inputs import ReadChoices

_AXES = {"t": "time", "c": "channel", "z": "space"}
"""What files are merged along, in the order of OME-Zarr, with the axis's type."""
_FIELD = "field"
_WORDS = dict.fromkeys(("t", "z", _FIELD, "column"), "[0-9]+")
_WORDS |= {"row": "[A-Za-z]{1,2}", "well": "[A-Za-z]{1,2}[0-9]+"}
"""What some words of a pattern stand for; others are anything but a slash."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}|(\*)")

_OPENED_TOGETHER = 8
"""Files that are opened at a time, for what they hold."""

Index = Mapping[str, str]
"""Where a file belongs: the value of each of t, c, z and field that it has."""
_Place = tuple[str, ...]
"""The value of each axis along which files are merged."""


@dataclass(frozen=True, slots=True)
class MergedInput:
    """Files that make one OME-Zarr, and what it is called (empty: by its target).

    ``words`` are those of the pattern that tell it apart from others.
    """

    name: str
    files: tuple[tuple[ConvertInput, Index], ...]
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Group:
    files: list[tuple[ConvertInput, Index]] = field(default_factory=list)
    words: Mapping[str, str] = field(default_factory=dict)


def by_pattern(
    inputs: Iterable[ConvertInput], pattern: str, *, of_plate: bool = False
) -> list[MergedInput]:
    """Put files together by their names; those that do not fit are left out.

    In ``{plate}_t{t}_{c}.tif``, ``{t}``, ``{c}`` and ``{z}`` say where in an image a
    file belongs, ``{field}`` in which image of a collection (of a plate it tells images
    apart, as ``{well}`` does, or ``{row}`` and ``{column}``); what else is in braces
    tells images apart and names them. ``*`` is anything. With a slash it is about the
    path below the folder that was named.

    Raises
    ------
    OptionError
        It names nothing to merge along, or no file fits.
    """
    fits, names = _compiled(pattern)
    along = (*_AXES,) if of_plate else (*_AXES, _FIELD)
    if not of_plate and not any(name in along for name in names):
        sentence = f"{pattern} says no axis to merge along."
        action = "Write {t}, {c}, {z} or {field} where a name counts, like s_t{t}.tif."
        raise OptionError(sentence, action=action)
    groups: dict[str, _Group] = {}
    for each in inputs:
        whole = "/" in pattern
        path = PurePosixPath(each.name)
        found = fits.fullmatch(each.name if whole else path.name)
        if found is None:
            continue
        said = found.groupdict()
        index = {name: said[name] for name in names if name in along}
        free = "_".join(said[name] for name in names if name not in index)
        folder = "" if whole or path.parent.name == "" else f"{path.parent}/"
        words = {name: said[name] for name in names if name not in index}
        group = groups.setdefault(f"{folder}{free}", _Group(words=words))
        group.files.append((each, index))
    if not groups:
        sentence = f"No file is called like {pattern}."
        raise OptionError(sentence, action="Compare it with the names of the files.")
    return [
        MergedInput(name, tuple(found.files), found.words)
        for name, found in groups.items()
    ]


def _compiled(pattern: str) -> tuple[re.Pattern[str], list[str]]:
    names: list[str] = []
    text, last = "", 0
    for found in _PLACEHOLDER.finditer(pattern):
        text += re.escape(pattern[last : found.start()])
        last = found.end()
        name = found[1]
        if name is None:
            text += "[^/]*"
        elif name in names:
            text += f"(?P={name})"
        else:
            names.append(name)
            text += f"(?P<{name}>{_WORDS.get(name, '[^/]+?')})"
    return re.compile(text + re.escape(pattern[last:])), names


def table_rows(table: Path) -> list[dict[str, str]]:
    """Read a file of rows below a header; names of columns are in small letters.

    Columns are parted by commas, semicolons or tabs.

    Raises
    ------
    OptionError
        It cannot be read as that, or there are no rows.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = max(",;\t", key=head.count)
        found = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [
            {
                (name or "").strip().lower(): value.strip()
                for name, value in row.items()
                if isinstance(value, str)
            }
            for row in found
        ]
    except (OSError, UnicodeDecodeError, csv.Error):
        sentence = f"{table.name} cannot be read as a table."
        raise OptionError(sentence, action="Save it as CSV.") from None
    if not rows:
        sentence = f"{table.name} has no rows."
        raise OptionError(sentence, action="Give it a header, and a row for each file.")
    return rows


def by_table(
    table: Path, home: Location, parse: Callable[[str], Location]
) -> list[MergedInput]:
    """Put files together as a table says, with a header.

    ``file`` is named from the folder ``home``, unless it is an address or an absolute
    path; any of ``image`` (what it is called), ``t``, ``c``, ``z`` and ``field`` may
    stand beside it.

    Raises
    ------
    OptionError
        It is no table, or there is no such column, or no row.
    """
    groups: dict[str, _Group] = {}
    for said in table_rows(table):
        if not said.get("file"):
            sentence = f"A row of {table.name} names no file."
            action = "Give it a header with the column file, and fill it in each row."
            raise OptionError(sentence, action=action)
        file = said["file"]
        is_whole = "://" in file or file.startswith(("/", "~")) or file[1:2] == ":"
        location = parse(file) if is_whole else home / file.replace("\\", "/")
        index = {key: said[key] for key in (*_AXES, _FIELD) if said.get(key)}
        single = "" if index else ConvertInput(location, location.name).target_name
        name = said.get("image") or single
        groups.setdefault(name, _Group()).files.append(
            (ConvertInput(location, location.name), index)
        )
    return [MergedInput(name, tuple(found.files)) for name, found in groups.items()]


# From the files of one image to its spec.


def read_merged(merged: MergedInput, choices: ReadChoices) -> list[Any]:
    """Describe what files make together: an image, or one for each field.

    The first file of each channel is opened; the others must be built like it, which
    is found out when they are read. Where resolutions are to be kept all are opened.

    Raises
    ------
    OptionError
        A file is missing between others, or there are two for one place.
    OMEZarrError
        A file could not be read.
    """
    if len(merged.files) == 1 and not merged.files[0][1]:
        return read_images(merged.files[0][0].location, choices)
    fields: dict[str, dict[tuple[str, ...], ConvertInput]] = {}
    axes = [axis for axis in _AXES if any(axis in index for _, index in merged.files)]
    for file, index in merged.files:
        place = tuple(index.get(axis, "") for axis in axes)
        taken = fields.setdefault(index.get(_FIELD, ""), {})
        if place in taken:
            sentence = f"{taken[place].name} and {file.name} have the same place."
            raise OptionError(sentence, action="Say in the pattern how they differ.")
        taken[place] = file
    return [
        _one_field(fields[key], axes, choices, key or merged.name)
        for key in sorted(fields, key=natural_key)
    ]


def _one_field(
    files: Mapping[_Place, ConvertInput],
    axes: Sequence[str],
    choices: ReadChoices,
    name: str,
) -> ImageSpec:
    values = [
        sorted({place[i] for place in files}, key=natural_key) for i in range(len(axes))
    ]
    channel = axes.index("c") if "c" in axes else None
    first: dict[str, _Place] = {}
    for place in sorted(files, key=lambda place: [natural_key(part) for part in place]):
        first.setdefault(place[channel] if channel is not None else "", place)
    wanted = files if choices.resolutions else first.values()
    with HeedingPool(_OPENED_TOGETHER, "omezarr-merge") as pool:
        opened = pool.map(partial(_only_image, choices=choices), map(files.get, wanted))
        images = dict(zip(wanted, opened, strict=True))
    _refuse_parts([files[place] for place in wanted], files.values())
    model = images[next(iter(first.values()))]
    merge = _Merge(axes, values, [each.name for each in model.axes])

    def pixels(place: _Place) -> PixelSource:
        if place not in files:
            raise _missing(axes, place)
        return _of_file(files[place], images.get(place), model, choices)

    name = name or model.name
    displays = tuple(
        replace(each, name=name) if each.name == model.name else each
        for each in model.displays
    )
    spec = replace(model, source=merge.join(pixels), name=name, displays=displays)
    spec = replace(spec, coarser=(), origin=None, beside=())
    lost = dict.fromkeys(u for i in images.values() for b in i.beside for u in b.told)
    if lost:
        note = f"What lies beside merged images is not taken over: {', '.join(lost)}."
        spec = replace(spec, notes=(*spec.notes, note))
    for axis in reversed(merge.new):
        affine = extended(spec.affine, 0)
        spec = replace(spec, axes=(Axis(axis, _AXES[axis]), *spec.axes), affine=affine)
    if choices.resolutions:
        spec = _with_resolutions(spec, images, model, merge)
    if channel is not None:
        firsts = [images[place] for place in first.values()]
        spec = _with_channels(spec, values[channel], firsts)
    return spec


def _refuse_parts(some: Iterable[ConvertInput], files: Iterable[ConvertInput]) -> None:
    """Refuse files each of which is read as all of them, as its metadata say."""
    places = {file.location for file in files}
    for file in some:
        if places.intersection(files_of_image(file.location)) - {file.location}:
            sentence = f"{file.name} and files beside it are parts of one image already"
            action = "Convert them without merging them."
            raise UnsupportedDataError(f"{sentence}, as they say.", action=action)


def _only_image(file: ConvertInput, choices: ReadChoices) -> ImageSpec:
    # A pyramid is one image, and layers are a channel each.
    whole = choices.resolutions or is_zarr_name(file.name)
    found = read_images(
        file.location, replace(choices, labels=False, resolutions=whole)
    )
    if len(found) != 1:
        sentence = f"{file.name} holds {len(found)} images, and one can be merged."
        raise UnsupportedDataError(sentence, action="Choose one, by its series.")
    return describe(found[0])


def _of_file(
    file: ConvertInput, image: ImageSpec | None, model: ImageSpec, choices: ReadChoices
) -> PixelSource:
    array = getattr(model.source, "array", None)
    if image is None and isinstance(array, TiffArray):
        return as_source(array.of(file.location))
    image = image or _only_image(file, choices)
    if [each.name for each in image.axes] != [each.name for each in model.axes]:
        here, there = ("".join(a.name for a in each.axes) for each in (image, model))
        sentence = f"{file.name} has the axes {here}, and the files beside it {there}."
        raise UnsupportedDataError(sentence, action="Convert it by itself.")
    return image.source


def _missing(axes: Sequence[str], place: _Place) -> OptionError:
    said = ", ".join(f"{a} {v}" for a, v in zip(axes, place, strict=True))
    return OptionError(
        f"There is no file for {said}.",
        action="Add it, or leave out the others that it belongs to.",
    )


@dataclass(frozen=True, slots=True)
class _Merge:
    """How files are joined: along which axes, by which values, to images of `names`."""

    axes: Sequence[str]
    values: Sequence[Sequence[str]]
    names: Sequence[str]

    @property
    def new(self) -> list[str]:
        """The axes that the files do not have."""
        return [axis for axis in self.axes if axis not in self.names]

    def join(
        self, pixels: Callable[[_Place], PixelSource], place: _Place = ()
    ) -> PixelSource:
        """Join the pixels of all files whose places begin so, axis by axis."""
        if len(place) == len(self.axes):
            return pixels(place)
        axis = self.axes[len(place)]
        parts = [self.join(pixels, (*place, v)) for v in self.values[len(place)]]
        if axis not in self.names:
            self._check(parts, None)
            return stack(parts, 0)
        later = sum(other not in self.names for other in self.axes[len(place) :])
        along = self.names.index(axis) + later
        self._check(parts, along)
        return InARow(parts, along)

    def _check(self, parts: Sequence[PixelSource], along: int | None) -> None:
        """Refuse parts that differ, but in what they are joined along."""
        kinds = {
            (tuple(n for i, n in enumerate(each.shape) if i != along), each.dtype.str)
            for each in parts
        }
        if len(kinds) > 1:
            told = " and ".join(
                f"{' x '.join(map(str, shape))} of {np.dtype(kind)}"
                for shape, kind in sorted(kinds)
            )
            raise UnsupportedDataError(
                f"Files that are to be one image differ: {told}.",
                action="Leave out those that do not belong to it.",
            )


def _with_resolutions(
    spec: ImageSpec,
    images: Mapping[_Place, ImageSpec],
    model: ImageSpec,
    merge: _Merge,
) -> ImageSpec:
    """Keep the coarser resolutions, if those of all files are alike."""
    along = [merge.names.index(axis) for axis in merge.axes if axis in merge.names]
    pyramids = [_pyramid(image, along) for image in images.values()]
    if pyramids[0] is None or any(each != pyramids[0] for each in pyramids):
        note = f"The resolutions of the files of {spec.name} differ; new ones are made."
        return replace(spec, notes=(*spec.notes, note))
    found = []
    for number, level in enumerate(model.coarser):
        place = level.place
        for _ in merge.new:
            place = place and extended(place, 0)
        pixels = {at: image.coarser[number].source for at, image in images.items()}
        found.append(Resolution(merge.join(pixels.__getitem__), place))
    return replace(spec, coarser=tuple(found))


def _pyramid(image: ImageSpec, along: Sequence[int]) -> list[Any] | None:
    """Say what the resolutions of a file are: their sizes, and where they lie.

    Along axes on which files lie one behind the other it is by how much each is
    coarser; None where a file ends within a coarse pixel, which the next would share.
    """
    levels = []
    for level in image.coarser:
        sizes = list(level.source.shape)
        for axis in along:
            if image.shape[axis] % sizes[axis]:
                return None
            sizes[axis] = image.shape[axis] // sizes[axis]
        place = level.place and level.place.matrix.round(9).tolist()
        levels.append((sizes, place))
    return levels


def _with_channels(
    spec: ImageSpec, values: Sequence[str], specs: Sequence[ImageSpec]
) -> ImageSpec:
    """Name channels by what tells their files apart, unless those are numbers."""
    displays = [display for each in specs for display in each.displays]
    named = len(displays) == len(values)
    plain = all(display.color == "FFFFFF" for display in displays)
    labels = [f"channel {index}" for index in range(len(displays))]
    for index, value in enumerate(values if named else ()):
        labels[index] = labels[index] if value.isdecimal() else value
    usual = channel_displays(Channels(labels), len(displays), spec.name)
    shown = tuple(
        replace(
            display,
            name=label.name,
            color=label.color if plain else display.color,
        )
        for display, label in zip(displays, usual, strict=True)
    )
    return replace(spec, displays=shown)


class InARow:
    """Sources of equal shape as one, one behind the other along an axis of theirs."""

    def __init__(self, sources: Sequence[PixelSource], axis: int) -> None:
        self.sources = tuple(sources)
        self.axis = axis
        first = self.sources[0]
        sizes = [source.shape[axis] for source in self.sources]
        self.edges = tuple(accumulate(sizes, initial=0))
        self.shape = (*first.shape[:axis], self.edges[-1], *first.shape[axis + 1 :])
        self.chunks = first.chunks
        self.dtype = first.dtype
        self.places: frozenset[str] = frozenset().union(
            *(source.places for source in self.sources)
        )

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box of each of the sources that it touches."""
        start, stop = bounds[self.axis]
        parts = []
        for number, source in enumerate(self.sources):
            first, last = self.edges[number : number + 2]
            low, high = max(start, first), min(stop, last)
            if low < high:
                box = list(bounds)
                box[self.axis] = (low - first, high - first)
                parts.append(source.read(tuple(box)))
        return np.concatenate(parts, self.axis)
