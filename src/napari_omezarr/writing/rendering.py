"""How images and labels are shown, in the words of OME-Zarr."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .image_spec import ChannelDisplay, ImageSpec, LabelDisplay
    from .options import Version

NAPARI = "napari"
"""Our key among a group's attributes, for what OME-Zarr has no word for."""

_SAFE_NAME = re.compile(r"[^\w.\- ]+")

RGBA = tuple[int, int, int, int]
NAMED = {
    "gray": "FFFFFF",
    "grey": "FFFFFF",
    "red": "FF0000",
    "green": "00FF00",
    "blue": "0000FF",
    "magenta": "FF00FF",
    "cyan": "00FFFF",
    "yellow": "FFFF00",
}
"""napari's colormaps that run from black to one colour."""
_BLACK, _WHITE = "000000", "FFFFFF"
UNLISTED = (153, 153, 153, 255)
"""How the reader shows label values that have no colour of their own."""
_LONGEST_NAME = 200
INDEX = "index"
"""The column that says which label value a row is about."""


# The ``omero`` and ``image-label`` blocks, and our ``napari`` key beside them.


def omero_document(
    displays: Sequence[ChannelDisplay],
    previous: Mapping[str, Any] | None = None,
    planes: Mapping[str, int] | None = None,
    position: Mapping[str, int] | None = None,
) -> dict[str, Any] | None:
    """Describe the channels; None where contrast is not known of all of them.

    The block is optional, and if it is there each channel must have a colour and
    a whole window (0.5, "omero"). What the block that was there says beyond is kept.
    ``planes`` says how many there are along t and z, ``position`` which one is shown
    first.
    """
    if not displays or any(display.limits is None for display in displays):
        return None
    old = previous if isinstance(previous, Mapping) else {}
    rdefs = old.get("rdefs")
    kept = dict(rdefs) if isinstance(rdefs, Mapping) else {}
    shown = rdefs_document(kept, planes or {}, position)
    channels = [channel_document(display) for display in displays]
    if _is_grey(kept) and all(display.color == _WHITE for display in displays):
        # As it was, and with the colours that it has where it is shown in colour.
        shown["model"] = kept["model"]
        for display, channel in zip(displays, channels, strict=True):
            channel["color"] = display.original.get("color", _WHITE)
    return {**old, "channels": channels, "rdefs": shown}


def _is_grey(rdefs: Mapping[str, Any]) -> bool:
    return rdefs.get("model") in ("greyscale", "grayscale")


def rdefs_document(
    previous: Mapping[str, Any],
    planes: Mapping[str, int],
    position: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Say how the image is shown, and which plane first.

    That is the one asked for, else the one that was said before, if the image has it,
    else the first of time in the middle of z.
    """
    shown: dict[str, Any] = {**previous, "model": "color"}
    for key, axis, usual in (
        ("defaultT", "t", 0),
        ("defaultZ", "z", planes.get("z", 1) // 2),
    ):
        last = planes.get(axis, 1) - 1
        asked = (position or {}).get(axis, previous.get(key))
        known = isinstance(asked, int) and 0 <= asked <= last
        shown[key] = asked if known else usual
    return shown


def channel_document(display: ChannelDisplay) -> dict[str, Any]:
    """Describe one channel whose contrast is known; what it said beyond is kept."""
    start, end = display.limits or (0.0, 1.0)
    low, high = display.span or (start, end)
    window = {"start": start, "end": end, "min": low, "max": high}
    before = display.original.get("window")
    return {
        "coefficient": 1,
        "family": "linear",
        **display.original,
        "label": display.name,
        "color": display.color,
        "active": display.visible,
        "inverted": display.inverted,
        "window": {
            **(before if isinstance(before, Mapping) else {}),
            **{key: _number(value) for key, value in window.items()},
        },
    }


def image_label_document(
    display: LabelDisplay,
    version: Version,
    previous: Mapping[str, Any] | None = None,
    *,
    of_image: bool = True,
) -> dict[str, Any]:
    """Describe label values: a colour and properties for those that have some.

    What the block that was there says beyond is kept. ``of_image``: the labels lie in
    the ``labels`` group of their image.
    """
    block: dict[str, Any] = dict(previous or {})
    before = _by_label(block.pop("colors", None))
    for key in ("properties", "version"):
        block.pop(key, None)
    if version == "0.4":
        block["version"] = version
    if display.colors:
        block["colors"] = [
            {**before.get(value, {}), "label-value": value, "rgba": list(rgba)}
            for value, rgba in display.colors.items()
        ]
    if display.properties:
        block["properties"] = [
            {**known, "label-value": value}
            for value, known in display.properties.items()
        ]
    if of_image:
        block.setdefault("source", {"image": "../../"})
    return block


def _by_label(entries: Any) -> dict[Any, Mapping[str, Any]]:
    """Give what was said of colours, by the label that each is of."""
    listed = entries if isinstance(entries, list) else []
    known = [each for each in listed if isinstance(each, Mapping)]
    numbers = [(each.get("label-value"), each) for each in known]
    return {number: each for number, each in numbers if isinstance(number, int)}


def napari_document(
    spec: ImageSpec, path: str = "", *, named: bool = False
) -> dict[str, Any]:
    """Describe what only napari knows; empty where that is nothing.

    ``path`` is the group, whose last part a label image is called elsewhere;
    ``named``: the names of channels are those of layers, not to be put behind another.
    Each channel's entry repeats label and colour: a reader takes it only where
    they still hold, so that a change by another program is not undone.
    """
    if spec.label is not None:
        state = dict(spec.label.state)
        if not spec.label.visible:
            state["visible"] = False
        if spec.name != path.rpartition("/")[2]:
            state["name"] = spec.name
        return {"labels": state} if state else {}
    if not named and not any(display.state for display in spec.displays):
        return {}
    return {
        "channels": [
            {"label": display.name, "color": display.color, **display.state}
            for display in spec.displays
        ]
    }


def folder_name(name: str, taken: Sequence[str]) -> str:
    """Make a name that every store and file system takes, and that is free."""
    safe = _SAFE_NAME.sub("_", str(name)).strip(" .") or "labels"
    # Room is left for a number, and for what lies beside it while it is saved.
    if len(safe.encode()) > _LONGEST_NAME:
        kept = safe.encode()[:_LONGEST_NAME].decode(errors="ignore").strip(" .")
        safe = f"{kept}-{hashlib.blake2b(safe.encode(), digest_size=4).hexdigest()}"
    if safe.startswith("__"):  # Zarr v3 reserves such names
        safe = safe.lstrip("_") or "labels"
    free = safe
    number = 2
    while free.lower() in [other.lower() for other in taken]:
        free, number = f"{safe}-{number}", number + 1
    return free


def _number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else float(value)


# Colormaps and label colours of napari, in the words of OME-Zarr.


def channel_color(colormap: Any) -> tuple[str, bool, dict[str, Any]]:
    """Say a colormap as the one colour that OME-Zarr has for a channel.

    The map is a name, a colour (``#rrggbb``), several from low to high, or the fields
    of a colormap. The answer is six hex digits (of the highest value), whether the map
    runs from the colour to black, and the whole map where one colour does not say it.
    """
    if colormap is None:
        return NAMED["gray"], False, {}
    if isinstance(colormap, str):
        return _named(colormap)
    if isinstance(colormap, list | tuple) and all(isinstance(c, str) for c in colormap):
        colors = [hex_digits(color) for color in colormap]
        if len(colors) == 2 and None not in colors:
            return _ramp(str(colors[0]), str(colors[1]))
    return _map(_fields(colormap))


def hex_digits(color: str) -> str | None:
    """Give the six digits of ``#rrggbb`` (alpha is dropped); None for other text."""
    digits = color.removeprefix("#").upper()
    known = len(digits) in (6, 8) and set(digits) <= set("0123456789ABCDEF")
    return digits[:6] if known else None


def label_colors(colormap: Any) -> tuple[dict[int, RGBA], dict[str, Any]]:
    """Give the colours of label values, and what else must be remembered.

    None in the table is all other values; napari's cycling colours say nothing about
    single values, and give none.
    """
    table = getattr(colormap, "color_dict", colormap)
    if not isinstance(table, Mapping):
        return {}, {}
    colors = {
        int(value): _rgba(color) for value, color in table.items() if value is not None
    }
    if colors.get(0) == (0, 0, 0, 0):
        del colors[0]
    other = _rgba(table[None]) if None in table else UNLISTED
    return colors, {} if other == UNLISTED else {"default_color": list(other)}


def _named(name: str) -> tuple[str, bool, dict[str, Any]]:
    digits = NAMED.get(name) or hex_digits(name)
    if digits:
        return digits, False, {}
    # A map of napari's that only napari knows by this name.
    return NAMED["gray"], False, {"colormap": name}


def _ramp(low: str, high: str) -> tuple[str, bool, dict[str, Any]]:
    if high == _BLACK and low != _BLACK:
        return low, True, {}
    if low == _BLACK:
        return high, False, {}
    return high, False, {"colormap": {"colors": [_floats(low), _floats(high)]}}


def _floats(digits: str) -> list[float]:
    return [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)] + [1.0]


def _fields(colormap: Any) -> dict[str, Any]:
    names = ("colors", "controls", "name", "interpolation")
    if not isinstance(colormap, Mapping):
        colormap = {name: getattr(colormap, name, None) for name in names}
    colors = np.atleast_2d(np.asarray(colormap["colors"], dtype=float))
    fields: dict[str, Any] = {"colors": colors.tolist()}
    if colormap.get("controls") is not None:
        fields["controls"] = np.asarray(colormap["controls"], float).tolist()
    for key in ("name", "interpolation"):
        if colormap.get(key) is not None:
            fields[key] = str(getattr(colormap[key], "value", colormap[key]))
    return fields


def _map(fields: dict[str, Any]) -> tuple[str, bool, dict[str, Any]]:
    colors = [_rgba(color) for color in fields["colors"]]
    digits = [f"{r:02X}{g:02X}{b:02X}" for r, g, b, _ in colors]
    plain = (
        len(colors) == 2
        and fields.get("interpolation", "linear") == "linear"
        and _BLACK in digits
        and all(alpha == 255 for *_, alpha in colors)
    )
    if plain:
        return _ramp(*digits)
    return digits[-1], False, {"colormap": fields}


def _rgba(color: Any) -> RGBA:
    if isinstance(color, str):
        digits = NAMED.get(color) or hex_digits(color) or "FFFFFF"
        parts = _floats(digits)
    else:
        parts = [float(part) for part in color]
    red, green, blue, alpha = (
        round(min(max(part, 0.0), 1.0) * 255) for part in (*parts, 1.0)[:4]
    )
    return red, green, blue, alpha


# A table of features as the properties of label values, in JSON.


def label_properties(*tables: Any) -> dict[int, dict[str, Any]]:
    """Give the properties of label values: JSON, without what is missing (NaN, None).

    The first table that has a column counts. Without the column ``index`` a row is
    about the label value of its number, as in napari.
    """
    columns = label_columns(*tables)
    return _rows(columns) if columns else {}


def label_columns(*tables: Any) -> dict[str, Any]:
    """Give the columns of the first table that has some."""
    return next((found for found in map(_columns, tables) if found), {})


def _columns(table: Any) -> dict[str, Any]:
    if table is None:
        return {}
    names = list(table) if isinstance(table, Mapping) else list(table.columns)
    return {str(name): table[name] for name in names}


def _rows(given: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    columns = {name: list(column) for name, column in given.items()}
    values = columns.pop(INDEX, None)
    count = len(next(iter(columns.values()), values or []))
    numbers = range(count) if values is None else [int(value) for value in values]
    return {
        number: {
            name: plain
            for name, column in columns.items()
            if (plain := _plain(column[row])) is not None
        }
        for row, number in enumerate(numbers)
    }


def _plain(value: Any) -> Any:
    """Give a JSON value: numpy's scalars become Python's, other things text."""
    value = value.item() if hasattr(value, "item") else value
    if type(value).__name__ in ("NAType", "NaTType"):  # what pandas has for missing
        return None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value)
