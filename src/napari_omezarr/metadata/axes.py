"""The axes of an image: names, types, units, anatomical orientation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .model import Axis
from .node import short_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .node import JsonNode

# Units: the names that OME-Zarr knows, and the ways that they are misspelled.

# UDUNITS-2 names, as 0.4 "axes" lists them; pint knows each under the same name.
_PREFIXES = {
    "yotta": ("Y", 24), "zetta": ("Z", 21), "exa": ("E", 18), "peta": ("P", 15),
    "tera": ("T", 12), "giga": ("G", 9), "mega": ("M", 6), "kilo": ("k", 3),
    "hecto": ("h", 2), "deca": ("da", 1), "": ("", 0), "deci": ("d", -1),
    "centi": ("c", -2), "milli": ("m", -3), "micro": ("u", -6), "nano": ("n", -9),
    "pico": ("p", -12), "femto": ("f", -15), "atto": ("a", -18), "zepto": ("z", -21),
    "yocto": ("y", -24),
}  # fmt: skip

LENGTHS = frozenset(
    {f"{prefix}meter" for prefix in _PREFIXES}
    | {"angstrom", "foot", "inch", "mile", "parsec", "yard"}
)
"""Lengths by the name under which pint knows them."""

TIMES = frozenset(
    {f"{prefix}second" for prefix in _PREFIXES} | {"minute", "hour", "day"}
)
"""Durations by the name under which pint knows them."""

_OTHERS = {
    "angstrom": (1e-10, "m"), "foot": (0.3048, "m"), "inch": (0.0254, "m"),
    "mile": (1609.344, "m"), "parsec": (3.0856775814913673e16, "m"),
    "yard": (0.9144, "m"), "minute": (60.0, "s"), "hour": (3600.0, "s"),
    "day": (86400.0, "s"),
}  # fmt: skip
_SIZES = {
    f"{prefix}{unit}": (float(f"1e{power}"), unit[0])
    for prefix, (_, power) in _PREFIXES.items()
    for unit in ("meter", "second")
} | _OTHERS

# Symbols are case-sensitive (Mm is no mm).
_SYMBOLS = {
    **{f"{symbol}m": f"{prefix}meter" for prefix, (symbol, _) in _PREFIXES.items()},
    **{f"{symbol}s": f"{prefix}second" for prefix, (symbol, _) in _PREFIXES.items()},
    "Å": "angstrom", "A": "angstrom", "in": "inch", "ft": "foot", "yd": "yard",
    "mi": "mile", "pc": "parsec", "min": "minute", "h": "hour", "hr": "hour",
    "hrs": "hour", "d": "day", "sec": "second", "secs": "second",
    "msec": "millisecond", "usec": "microsecond", "mins": "minute",
}  # fmt: skip

_WORDS = {"micron": "micrometer", "ångström": "angstrom", "ångstrom": "angstrom",
          "feet": "foot", "inches": "inch"}  # fmt: skip

# U+00B5 micro sign, U+03BC Greek mu; U+212B angstrom sign.
_SPELLINGS = str.maketrans({"\u00b5": "u", "\u03bc": "u", "\u212b": "Å"})


def known_unit(text: str | None) -> str | None:
    """Return a length's or a duration's name as pint knows it, else None.

    Takes what a document or a person writes: ``micrometer``, ``Microns``, ``µm`` with
    either micro sign, ``um``, ``s``.
    """
    spelling = (text or "").strip().translate(_SPELLINGS)
    if spelling in _SYMBOLS:
        return _SYMBOLS[spelling]
    word = spelling.lower().replace("metre", "meter")
    for candidate in (word, word.removesuffix("s")):
        name = _WORDS.get(candidate, candidate)
        if name in LENGTHS or name in TIMES:
            return name
    return None


def unit_size(text: str | None) -> tuple[float, str] | None:
    """Return a unit in metres or seconds, like ``(1e-06, "m")`` or ``(60.0, "s")``.

    None where it is neither a length nor a duration.
    """
    name = known_unit(text)
    return None if name is None else _SIZES[name]


# Axes: names, types and anatomical orientations.

MOST_AXES = 32
"""More axes than numpy of any supported version can index are refused."""

TYPE_BY_NAME = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}

ORIENTATIONS = frozenset(
    word
    for one, other in (
        ("left", "right"),
        ("anterior", "posterior"),
        ("inferior", "superior"),
        ("dorsal", "ventral"),
        ("dorsal", "palmar"),
        ("dorsal", "plantar"),
        ("rostral", "caudal"),
        ("cranial", "caudal"),
        ("proximal", "distal"),
        ("superficial", "deep"),
        ("apical", "basal"),
        ("apex", "base"),
    )
    for word in (f"{one}-to-{other}", f"{other}-to-{one}")
)
"""The vocabulary of RFC-4: the direction of increasing coordinates."""

_NO_UNIT = frozenset({"", "pixel", "pixels", "px", "voxel", "voxels", "null", "none"})


def default_axes(ndim: int = 5) -> tuple[Axis, ...]:
    """Return the last ``ndim`` of TCZYX, the fixed axes of 0.1 and 0.2.

    Axes beyond five are put in front, without type.
    """
    generic = tuple(Axis(f"dim_{index}") for index in range(ndim - 5))
    named = tuple(Axis(name, type_) for name, type_ in TYPE_BY_NAME.items())
    return (*generic, *named[max(0, 5 - ndim) :])


def channel_axis(axes: Sequence[Axis]) -> int | None:
    """Return the index of the first axis of type ``channel``, or None."""
    return next((i for i, axis in enumerate(axes) if axis.type == "channel"), None)


def normalized_unit(axis: Axis) -> str | None:
    """Return the axis' unit as a name that pint knows, or None for ``pixel``.

    None, too, where the unit is unknown or of another kind than the axis.
    """
    unit = known_unit(axis.unit)
    allowed = {"space": LENGTHS, "time": TIMES, "channel": frozenset[str]()}
    return unit if unit in allowed.get(axis.type or "", LENGTHS | TIMES) else None


def parse_axes(node: JsonNode) -> tuple[Axis, ...]:
    """Parse a list of axes, which are names (0.3) or objects (0.4 and later)."""
    elements = node.elements()
    if len(elements) > MOST_AXES:
        raise node.error(f"{len(elements)} axes are more than any array can have")
    axes: list[Axis] = []
    for index, element in enumerate(elements):
        axis = _parse_axis(element, index)
        axes.append(_with_unique_name(axis, element, {other.name for other in axes}))
    _note_conflicts(node, axes)
    return tuple(axes)


def _parse_axis(node: JsonNode, index: int) -> Axis:
    if not isinstance(node.value, Mapping):
        name = node.text() or f"dim_{index}"
        if name not in TYPE_BY_NAME:
            node.note(
                f"{short_text(name)} is none of t, c, z, y, x; its type is unknown"
            )
        return Axis(name, TYPE_BY_NAME.get(name))
    name = node.child("name").text() or ""
    if not name:
        node.note(f"has no name; called dim_{index}")
        name = f"dim_{index}"
    type_ = _parse_type(node, name)
    return Axis(name, type_, _parse_unit(node, name, type_), _orientation(node, type_))


def _parse_type(node: JsonNode, name: str) -> str | None:
    text = node.child("type").text()
    if text and text.strip():
        return text.strip().lower()
    inferred = TYPE_BY_NAME.get(name.lower())
    taken = f"; taken as {inferred}" if inferred else ""
    node.note(f"axis {short_text(name)} has no type{taken}")
    return inferred


def _parse_unit(node: JsonNode, name: str, type_: str | None) -> str | None:
    unit = node.child("unit")
    if not unit.exists and node.child("units").exists:
        unit = node.child("units")
        unit.note("is no key of OME-Zarr; read as unit")
    text = unit.text()
    if text is None or text.strip().lower() in _NO_UNIT:
        return text
    if normalized_unit(Axis(name, type_, text)) is None:
        unit.note(
            f"{short_text(text)} is no unit for axis {short_text(name)}; "
            "shown in pixels"
        )
    return text


def _orientation(node: JsonNode, type_: str | None) -> str | None:
    orientation = node.child("orientation")
    if not orientation.exists:
        return None
    if isinstance(orientation.value, str):
        orientation.note("is a string and no object; its text is read as the value")
        value, kind = orientation.text(), "anatomical"
    else:
        value = orientation.child("value").text()
        kind = orientation.child("type").text() or ""
    if kind != "anatomical" or value not in ORIENTATIONS:
        orientation.note("is no known anatomical orientation; it is ignored")
        return None
    if type_ != "space":
        orientation.note("belongs to an axis that is not spatial; it is ignored")
        return None
    return value


def _with_unique_name(axis: Axis, node: JsonNode, taken: set[str]) -> Axis:
    if axis.name not in taken:
        return axis
    # As many candidates as there are names, and one more: one of them is free.
    name = next(
        candidate
        for candidate in (f"{axis.name}_{n}" for n in range(2, len(taken) + 3))
        if candidate not in taken
    )
    node.note(
        f"axis name {short_text(axis.name)} is used twice; called {short_text(name)}"
    )
    return Axis(name, axis.type, axis.unit, axis.orientation)


def _note_conflicts(node: JsonNode, axes: Sequence[Axis]) -> None:
    """Note two orientations along one anatomical direction (RFC-4: MUST NOT)."""
    directions = [
        frozenset(axis.orientation.split("-to-")) for axis in axes if axis.orientation
    ]
    if len(set(directions)) < len(directions):
        node.note("has two axes along the same anatomical direction")


def note_unusual_axes(node: JsonNode, axes: Sequence[Axis]) -> None:
    """Note axes that 0.3 to 0.6 do not allow; they are kept as they are."""
    # 0.4 "multiscales": axes are 2 to 5 long, 2 or 3 of them of type space, at most
    # one time, at most one channel or custom, in the order time, channel or custom,
    # space. RFC-3 (0.9.dev1) lifts all of this.
    types = [axis.type for axis in axes]
    ranks = [{"time": 0, "space": 2}.get(type_ or "", 1) for type_ in types]
    if not 2 <= len(axes) <= 5:
        node.note(f"{len(axes)} axes are outside the 2 to 5 of OME-Zarr")
    if "array" not in types and not 2 <= types.count("space") <= 3:
        node.note(f"{types.count('space')} spatial axes are outside the 2 to 3")
    if ranks.count(0) > 1 or ranks.count(1) > 1:
        node.note("has several axes of time, or several of channel or custom type")
    if ranks != sorted(ranks):
        node.note("is not in the order time, channel, space")
