"""Colormaps and label colours of napari, in the words of OME-Zarr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

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

_BLACK = "000000"
UNLISTED = (153, 153, 153, 255)
"""How the reader shows label values that have no colour of their own."""


def channel_color(colormap: Any) -> tuple[str, bool, dict[str, Any]]:
    """Say a colormap as the one colour that OME-Zarr has for a channel.

    Parameters
    ----------
    colormap : str, sequence, Mapping or napari Colormap
        A name, a colour (``#rrggbb``), several colours from low to high, or the
        fields of a colormap.

    Returns
    -------
    color : str
        Six hex digits; for a map of several colours the one of the highest value.
    inverted : bool
        It runs from the colour to black.
    state : dict
        The whole map, as JSON, where one colour does not say it.
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

    Parameters
    ----------
    colormap : Mapping, napari DirectLabelColormap or another
        Colours by value, None being all others; napari's cycling colours say
        nothing about single values, and give none.
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
