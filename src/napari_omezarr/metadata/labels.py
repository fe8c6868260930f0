"""The ``labels`` group, and the ``image-label`` block of a label image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import MetadataError

from .model import ImageLabel, Labels
from .path import relative_path

if TYPE_CHECKING:
    from .node import Node

RGBA = tuple[int, int, int, int]

_KEY = "label-value"


def parse_labels(node: Node) -> Labels:
    """Parse the list of paths of a ``labels`` group.

    Parameters
    ----------
    node : Node
        The list. Entries that are no path, or lead out of the group, are left out
        with a note.

    Raises
    ------
    MetadataError
        When it is no list.
    """
    if not isinstance(node.value, list | tuple):
        raise node.error("The labels are no list of paths")
    return Labels(parse_paths(node))


def parse_paths(node: Node) -> tuple[str, ...]:
    """Return the usable paths of a list, each once; the others leave a note."""
    paths: dict[str, None] = {}
    for element in node.elements():
        path = path_or_note(element)
        if path is not None:
            paths[path] = None
    return tuple(paths)


def path_or_note(node: Node) -> str | None:
    """Return a path inside the group; None and a note where it is none."""
    try:
        path = relative_path(node)
    except MetadataError as error:
        node.note(error.problem)
        return None
    if path is None:
        node.note("is left out: it has no usable path")
    return path


def parse_image_label(node: Node) -> ImageLabel | None:
    """Parse the ``image-label`` block; None where there is none.

    Nothing in it makes an image unreadable. A label value that is listed twice
    counts with its last entry, as 0.4 says of colours.
    """
    if not node.exists:
        return None
    if not isinstance(node.value, Mapping):
        node.note("is no object; it is ignored")
        return ImageLabel()
    return ImageLabel(
        colors=_parse_colors(node.child("colors")),
        properties=_parse_properties(node.child("properties")),
        source=_parse_source(node.child("source")),
    )


def _parse_colors(node: Node) -> dict[int, RGBA]:
    colors: dict[int, RGBA] = {}
    for element in node.elements():
        value = _label_value(element, colors)
        rgba = _parse_rgba(element.child("rgba"))
        if value is not None and rgba is not None:
            colors[value] = rgba
    return colors


def _parse_properties(node: Node) -> dict[int, Mapping[str, Any]]:
    properties: dict[int, Mapping[str, Any]] = {}
    for element in node.elements():
        value = _label_value(element, properties)
        if value is not None:
            properties[value] = {
                str(key): item for key, item in element.value.items() if key != _KEY
            }
    return properties


def _label_value(node: Node, seen: Mapping[int, object]) -> int | None:
    if not isinstance(node.value, Mapping):
        node.note("is no object; it is ignored")
        return None
    value = node.child(_KEY).integer()
    # Pixels are at most 64 bits wide; napari cannot colour what numpy cannot hold.
    if value is None or not -(2**63) <= value < 2**64:
        node.note("has no label value; it is ignored")
        return None
    if value in seen:
        node.note(f"repeats label value {value}; the last entry counts")
    return value


def _parse_rgba(node: Node) -> RGBA | None:
    if not node.exists:
        return None
    numbers = [element.number() for element in node.elements()]
    known = [number for number in numbers if number is not None]
    if len(known) != len(numbers) or len(known) not in (3, 4):
        node.note("is no colour of four numbers; it is ignored")
        return None
    if len(known) == 3:
        node.note("has no alpha; read as opaque")
    if any(not number.is_integer() for number in known) and max(known) <= 1:
        node.note("is from 0 to 1 and not to 255")
        known = [number * 255 for number in known]
    red, green, blue, alpha = (*known, 255.0)[:4]
    channels = (_channel(value) for value in (red, green, blue, alpha))
    color = (next(channels), next(channels), next(channels), next(channels))
    if any(not 0 <= number <= 255 for number in known):
        node.note("is not from 0 to 255; it is cut")
    return color


def _channel(value: float) -> int:
    return round(min(max(value, 0.0), 255.0))


def _parse_source(node: Node) -> str:
    default = ImageLabel().source
    if isinstance(node.value, str):
        node.note("is a string and no object; read as the image's path")
        return node.value or default
    return node.child("image").text() or default
