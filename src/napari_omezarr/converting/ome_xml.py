"""OME-XML, as OME-TIFF carries it, to values: sizes, units, names, colours; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from napari_omezarr.metadata import known_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    return [_image(found) for found in _children(root, "Image")]


def size_in(value: Any, unit: Any, usual: str) -> tuple[float, str] | None:
    """Give a size and its unit; None of what is no size, or in no unit of ours."""
    try:
        size = float(value)
    except (TypeError, ValueError):
        return None
    named = known_unit(str(unit)) if unit else usual
    return (size, named) if named and math.isfinite(size) and size > 0 else None


def _image(image: ET.Element) -> DescribedImage:
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
