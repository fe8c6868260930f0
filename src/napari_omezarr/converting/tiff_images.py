"""What TIFF files say of their images: OME-XML, ImageJ, and what vendors write."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from napari_omezarr.errors import OptionError, UnsupportedDataError
from napari_omezarr.metadata import known_unit
from napari_omezarr.plain_text import counted
from napari_omezarr.writing import Channels, Grid, Resolution, describe_array

from .tiff import array_of, metadata_file, open_tiff

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tifffile import TiffFile, TiffPage

    from napari_omezarr.location import Location
    from napari_omezarr.writing import ImageSpec

# OME-XML, as OME-TIFF carries it, to values: sizes, units, names, colours; pure.

_SIZES = {
    "x": ("PhysicalSizeX", "micrometer"),
    "y": ("PhysicalSizeY", "micrometer"),
    "z": ("PhysicalSizeZ", "micrometer"),
    "t": ("TimeIncrement", "second"),
}
"""Attributes of Pixels, and the units that hold where none is said."""


@dataclass(frozen=True, slots=True)
class DescribedImage:
    """What a file says of one of its images; nothing of what it does not say.

    ``scale`` and ``units`` are by axis name; ``names``, ``colors`` (six hex digits, or
    None) and ``limits`` are one for each channel, or empty.
    """

    name: str = ""
    scale: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    colors: tuple[str | None, ...] = ()
    limits: tuple[tuple[float, float] | None, ...] = ()
    notes: tuple[str, ...] = ()


def images_of_xml(text: str) -> list[DescribedImage]:
    """Give the images that an OME-XML document describes, in its order.

    There are none where the text is no such document.
    """
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError):
        return []
    return [_described_image(found) for found in _children(root, "Image")]


def size_in(value: Any, unit: Any, usual: str) -> tuple[float, str] | None:
    """Give a size and its unit; None of what is no size, or in no unit of ours."""
    try:
        size = float(value)
    except (TypeError, ValueError):
        return None
    named = known_unit(str(unit)) if unit else usual
    return (size, named) if named and math.isfinite(size) and size > 0 else None


def _described_image(image: ET.Element) -> DescribedImage:
    name = image.get("Name") or ""
    pixels = next(_children(image, "Pixels"), None)
    if pixels is None:
        return DescribedImage(name)
    found = {
        axis: size_in(pixels.get(key), pixels.get(f"{key}Unit"), usual)
        for axis, (key, usual) in _SIZES.items()
    }
    channels = list(_children(pixels, "Channel"))
    names = tuple(each.get("Name") or each.get("Fluor") or "" for each in channels)
    return DescribedImage(
        name,
        {axis: size[0] for axis, size in found.items() if size},
        {axis: size[1] for axis, size in found.items() if size},
        names if any(names) else (),
        tuple(_color(each.get("Color")) for each in channels),
    )


def _children(parent: ET.Element, name: str) -> Iterator[ET.Element]:
    """Give children by their name, in whichever version of the schema."""
    return (each for each in parent if each.tag.rpartition("}")[2] == name)


def _color(text: str | None) -> str | None:
    """Give the six digits of a colour: OME says RGBA as one signed number."""
    try:
        number = int(text or "") & 0xFFFFFFFF
    except ValueError:
        return None
    return f"{number >> 8:06X}"


# Arrays seen in another way: one index of an axis, palettes as colours.


class SelectedIndex:
    """One index of an axis of an array, without that axis."""

    def __init__(self, array: Any, axis: int, index: int) -> None:
        self.array = array
        self.axis = axis
        self.index = index
        self.shape = array.shape[:axis] + array.shape[axis + 1 :]
        self.chunks = array.chunks[:axis] + array.chunks[axis + 1 :]
        self.dtype = array.dtype
        self.address = array.address

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        here = slice(self.index, self.index + 1)
        inner = (*box[: self.axis], here, *box[self.axis :])
        values: np.ndarray = self.array[inner]
        return values.squeeze(self.axis)


class PaletteArray:
    """Indices of a palette (entries x 3) as its colours, along a new last axis."""

    def __init__(self, array: Any, palette: np.ndarray) -> None:
        self.array = array
        self.palette = palette
        self.shape = (*array.shape, palette.shape[1])
        self.chunks = (*array.chunks, palette.shape[1])
        self.dtype = palette.dtype
        self.address = array.address

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        # Pages of one bit are read as truth values, which do not count.
        indices = np.asarray(self.array[box[:-1]]).astype(np.intp)
        colors: np.ndarray = self.palette[indices]
        return colors[..., box[-1]]


class JoinedChannels:
    """Channels of several samples as so many channels more."""

    def __init__(self, array: Any, channel: int, sample: int) -> None:
        self.array = array
        # Without the samples, channels lie here.
        self.channel = channel - (sample < channel)
        self.sample = sample
        self.samples = array.shape[sample]
        self.shape = self._without(array.shape)
        self.chunks = self._without(array.chunks)
        self.dtype = array.dtype
        self.address = array.address

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        first, last, _ = box[self.channel].indices(self.shape[self.channel])
        whole = slice(first // self.samples, -(-last // self.samples))
        inner = [*box[: self.channel], whole, *box[self.channel + 1 :]]
        inner.insert(self.sample, slice(None))
        values = np.moveaxis(self.array[tuple(inner)], self.sample, self.channel + 1)
        shape = list(values.shape)
        shape[self.channel : self.channel + 2] = [-1]
        start = first - whole.start * self.samples
        part = slice(start, start + last - first)
        joined: np.ndarray = values.reshape(shape)
        return joined[(slice(None),) * self.channel + (part,)]

    def _without(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        kept = [*sizes[: self.sample], *sizes[self.sample + 1 :]]
        kept[self.channel] *= self.samples
        return tuple(kept)


# From a file to the images that it holds.

_PALETTE, _INVERTED, _COLOURED = 3, 0, (2, 6)
"""Photometric interpretations (TIFF 6.0): palette, white is zero, RGB and YCbCr."""
_CENTIMETRE = 3
_NAMES = {"T": "t", "C": "c", "Z": "z", "Y": "y", "X": "x", "S": "c"}
_UNKNOWN = "IQ"
"""How tifffile calls an axis of pages of which nothing is said."""
_POSITIONS = "PRM"
"""Axes of which each index is an image of its own: positions, regions, tiles."""
_RGB = ("red", "green", "blue", "alpha")
_RGB_COLORS = ("FF0000", "00FF00", "0000FF", "FFFFFF")


def images_of_tiff(
    location: Location,
    *,
    axes: str | None = None,
    series: int | None = None,
    resolutions: bool = False,
) -> list[ImageSpec]:
    """Describe the images of a TIFF file; no pixel is read.

    ``axes`` has a letter for each axis longer than 1, like ``"tyx"``, where the file
    does not say it or is wrong. Without ``series`` all images of an OME-TIFF are
    described and the first of any other; with ``resolutions`` the coarser ones that the
    file has, too.

    Raises
    ------
    OptionError
        There is no such image, or the letters do not fit.
    UnsupportedDataError, DamagedDataError, StoreError
        It could not be read.
    """
    with open_tiff(location) as file:
        count = len(file.series)
        if series is not None and not 0 <= series < count:
            raise no_such_image(location, series, count)
        numbers = range(count) if file.is_ome else range(1)
        numbers = numbers if series is None else range(series, series + 1)
        found = [
            image
            for number in numbers
            for image in _images(location, file, number, axes, coarser=resolutions)
        ]
        if series is None and len(numbers) < count:
            note = f"{location.name} has {count} images, of which the first is taken."
            found[0] = replace(found[0], notes=(*found[0].notes, note))
    return found


def no_such_image(location: Location, series: int, count: int) -> OptionError:
    """Say that a file has fewer images than one was asked for."""
    sentence = f"{location.display} has {counted(count, 'image')}, and no {series}."
    action = "Count them from 0." if count > 1 else "Leave out --series."
    return OptionError(sentence, action=action, url=location.display)


def _images(
    location: Location,
    file: TiffFile,
    number: int,
    axes: str | None,
    *,
    coarser: bool = False,
) -> list[ImageSpec]:
    made = _images_of_level(location, file, number, 0, axes)
    count = len(file.series[number].levels) if coarser else 1
    levels = [
        _images_of_level(location, file, number, level, axes)
        for level in range(1, count)
    ]
    return [
        replace(image, coarser=tuple(Resolution(each[index].source) for each in levels))
        for index, image in enumerate(made)
    ]


def _images_of_level(
    location: Location,
    file: TiffFile,
    number: int,
    level: int,
    axes: str | None,
) -> list[ImageSpec]:
    import tifffile

    array: Any = array_of(location, number, level)
    page = file.series[number].keyframe
    if page.compression not in list(tifffile.COMPRESSION):
        raise UnsupportedDataError(
            f"{location.display} is compressed by {int(page.compression)}, which "
            "tifffile does not know.",
            action="Save it again without compression, in the program that made it.",
            url=location.display,
        )
    letters = array.axes
    name = PurePosixPath(location.name).stem.removesuffix(".ome")
    said = _described(location, file, number, page, letters)
    has_palette = page.photometric == _PALETTE and page.colormap is not None
    if has_palette and "S" not in letters:
        array, letters, said = _with_palette(array, letters, said, page, file)
    parts = [(array, letters, said)]
    if axes is None and letters[:1] in _POSITIONS and len(letters) > 2:
        parts = [
            (
                SelectedIndex(array, 0, index),
                letters[1:],
                replace(said, name=f"{said.name or name} {index}"),
            )
            for index in range(array.shape[0])
        ]
    is_rgb = page.photometric in _COLOURED or isinstance(array, PaletteArray)
    made = [_image(*part, name, axes, coloured=is_rgb) for part in parts]
    if page.photometric == _INVERTED:
        made = [
            replace(
                image,
                displays=tuple(replace(d, inverted=True) for d in image.displays),
            )
            for image in made
        ]
    return made


def _image(
    array: Any,
    letters: str,
    said: DescribedImage,
    name: str,
    axes: str | None,
    *,
    coloured: bool,
) -> ImageSpec:
    notes = list(said.notes)
    if "S" in letters and "C" in letters:
        array, letters = _samples_joined(array, letters)
    if axes is None:
        names, assumed = _axis_names(letters)
        if assumed:
            notes.append(
                f"Nothing says what the pages of {name} are; they are taken for "
                f"{assumed}."
            )
    elif len(axes) != len(letters):
        raise OptionError(
            f"{axes} names {_axes(len(axes))}, and {name} has {_axes(len(letters))} "
            f"({letters.lower()}).",
            action="Leave out axes of length 1.",
        )
    else:
        names = list(axes)
    samples = letters.find("S") if axes is None else -1
    rgb = coloured and samples >= 0 and array.shape[samples] in (3, 4)
    if rgb:
        said = _as_rgb(said, array.shape[samples], array.dtype)
    return _spec(array, names, said, name, notes, rgb=rgb)


def _axes(count: int) -> str:
    return "one axis" if count == 1 else f"{count} axes"


def _spec(
    array: Any,
    names: Sequence[str],
    said: DescribedImage,
    name: str,
    notes: Sequence[str],
    *,
    rgb: bool,
) -> ImageSpec:
    """Make a spec of an array and what is said of it, as far as that fits."""
    count = array.shape[names.index("c")] if "c" in names else 1
    grid = Grid(
        names,
        {axis: size for axis, size in said.scale.items() if axis in names},
        units={axis: unit for axis, unit in said.units.items() if axis in names},
    )
    known = Channels(said.names if len(said.names) == count else None)
    spec = describe_array(array, grid, said.name or name, known)
    displays = list(spec.displays)
    for index in range(count):
        color = said.colors[index] if len(said.colors) == count else None
        displays[index] = replace(displays[index], color=color or displays[index].color)
        if len(said.limits) == count:
            displays[index] = replace(displays[index], limits=said.limits[index])
    notes = (*spec.notes, *notes)
    return replace(spec, displays=tuple(displays), rgb=rgb, notes=notes)


def _axis_names(letters: str) -> tuple[list[str], str]:
    """Give our name for each axis, and the one that was only assumed, or ''."""
    names = [_NAMES.get(letter, letter.lower()) for letter in letters]
    assumed = ""
    for index, letter in enumerate(letters):
        free = next((n for n in ("z", "t") if n not in names), None)
        if letter in _UNKNOWN and free:
            names[index] = assumed = free
    return names, assumed


def _samples_joined(array: Any, letters: str) -> tuple[Any, str]:
    """Make channels of the samples of channels: ``CYXS`` becomes ``CYX``."""
    channel, sample = letters.index("C"), letters.index("S")
    joined = JoinedChannels(array, channel, sample)
    return joined, letters.replace("S", "")


def _with_palette(
    array: Any, letters: str, said: DescribedImage, page: TiffPage, file: TiffFile
) -> tuple[Any, str, DescribedImage]:
    """Take a palette for colours, or, where it is a ramp of one, for a channel's."""
    table = np.asarray(page.colormap).T
    color = _ramp_color(table)
    if color or file.is_imagej or file.is_ome:
        colors = said.colors or ((color,) if color else ())
        return array, letters, replace(said, colors=colors)
    if table.max() > 255:
        table = table >> 8
    return PaletteArray(array, table.astype(np.uint8)), f"{letters}S", said


def _ramp_color(table: np.ndarray) -> str | None:
    """Give the colour of a ramp from black, as six digits; None of another palette."""
    top = table[-1].astype(float)
    if not top.any():
        return None
    ramp = np.linspace(0, 1, len(table))[:, None] * top
    if np.abs(table - ramp).max() > 0.02 * top.max():
        return None
    return "".join(f"{round(part / top.max() * 255):02X}" for part in top)


def rgb_channels(count: int, dtype: np.dtype[Any]) -> Channels:
    """Say what the samples of a colour are, and that all of their range is seen."""
    return Channels(_RGB[:count], _RGB_COLORS[:count], _whole_range(count, dtype))


def _as_rgb(said: DescribedImage, count: int, dtype: np.dtype[Any]) -> DescribedImage:
    limits = _whole_range(count, dtype)
    return replace(said, names=_RGB[:count], colors=_RGB_COLORS[:count], limits=limits)


def _whole_range(count: int, dtype: np.dtype[Any]) -> tuple[tuple[float, float], ...]:
    top = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    return ((0.0, top),) * count


# What each kind of file says.


def _described(
    location: Location, file: TiffFile, number: int, page: TiffPage, letters: str
) -> DescribedImage:
    if file.is_ome:
        images = images_of_xml(file.ome_metadata or "")
        if len(images) == len(file.series):
            image = images[number]
            # Many programs number the only image of a file, and name none.
            unnamed = len(images) == 1 and _NUMBERED.fullmatch(image.name)
            return replace(image, name="") if unnamed else image
        named = [image for image in images if image.name == file.series[number].name]
        if len(named) == 1:
            return named[0]
        home = metadata_file(location, file.ome_metadata or "")
        note = "Which of the images of its metadata this is could not be told."
        if home is not None:
            note = f"Its metadata lie in {home.name}, which could not be read."
        return DescribedImage(notes=(note,))
    if file.is_imagej:
        return _by_imagej(file.imagej_metadata or {}, page, letters)
    if file.is_lsm:
        return _by_lsm(file.lsm_metadata or {})
    return _by_page(page)


def _by_imagej(said: Mapping[str, Any], page: TiffPage, letters: str) -> DescribedImage:
    unit = known_unit(str(said.get("unit", "")).replace("\\u00B5", "µ"))
    sizes: dict[str, float] = {}
    units: dict[str, str] = {}
    if unit:
        sizes |= _page_sizes(page)
        if spacing := size_in(said.get("spacing"), None, unit):
            sizes["z"] = spacing[0]
        units = dict.fromkeys(sizes, unit)
    seconds = size_in(said.get("finterval"), said.get("tunit"), "second")
    if seconds:
        sizes["t"], units["t"] = seconds
    ranges = said.get("Ranges") or (said.get("min"), said.get("max"))
    pairs = list(zip(ranges[::2], ranges[1::2], strict=False))
    limits = tuple(
        (float(low), float(high)) if None not in (low, high) and low < high else None
        for low, high in pairs
    )
    tables = said.get("LUTs") or ()
    colors = tuple(_ramp_color(np.asarray(table).T) for table in tables)
    labels = said.get("Labels") or ()
    names = tuple(labels) if letters[:1] == "C" and "Z" not in letters else ()
    return DescribedImage("", sizes, units, names, colors, limits)


def _by_lsm(said: Mapping[str, Any]) -> DescribedImage:
    sizes = {axis: said.get(f"VoxelSize{axis.upper()}", 0) * 1e6 for axis in "xyz"}
    sizes = {axis: size for axis, size in sizes.items() if size > 0}
    units = dict.fromkeys(sizes, "micrometer")
    if (interval := said.get("TimeIntervall", 0)) > 0:
        sizes["t"], units["t"] = interval, "second"
    colors = said.get("ChannelColors") or {}
    names = tuple(map(str, colors.get("ColorNames") or ()))
    digits = tuple(
        "".join(f"{int(part) & 255:02X}" for part in color[:3])
        for color in colors.get("Colors") or ()
    )
    return DescribedImage("", sizes, units, names, digits)


def _by_micromanager(said: Mapping[str, Any]) -> DescribedImage:
    """Take what Micro-Manager says of a plane; of OME-TIFF it says more elsewhere."""
    size = size_in(said.get("PixelSizeUm"), None, "micrometer")
    sizes = dict.fromkeys("yx", size[0]) if size else {}
    channel = said.get("Channel")
    names = (channel,) if isinstance(channel, str) and channel else ()
    return DescribedImage("", sizes, dict.fromkeys(sizes, "micrometer"), names)


_NUMBERED = re.compile(r"Image:? ?\d*")
_MICRONS_PER_PIXEL = re.compile(r"\|\s*MPP\s*=\s*([\d.]+)")


def _by_page(page: TiffPage) -> DescribedImage:
    """Take resolution per centimetre; what is per inch is of screens and printers."""
    tag = page.tags.get("MicroManagerMetadata")
    if tag is not None and isinstance(tag.value, Mapping):
        return _by_micromanager(tag.value)
    slide = _MICRONS_PER_PIXEL.search(page.description or "")
    if slide and (size := size_in(slide[1], None, "micrometer")):
        sizes = {"x": size[0], "y": size[0]}
    elif page.resolutionunit == _CENTIMETRE:
        sizes = {axis: 1e4 * size for axis, size in _page_sizes(page).items()}
    else:
        return DescribedImage()
    return DescribedImage("", sizes, dict.fromkeys(sizes, "micrometer"))


def _page_sizes(page: TiffPage) -> dict[str, float]:
    """Give how long a pixel is, in whatever the resolution is per."""
    tags = {"x": "XResolution", "y": "YResolution"}
    found = {}
    for axis, name in tags.items():
        tag = page.tags.get(name)
        above, below = tag.value if tag is not None else (0, 1)
        if above and below:
            found[axis] = below / above
    return found
