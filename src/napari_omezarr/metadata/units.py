"""The unit names that OME-Zarr knows, and the ways that they are misspelled."""

from __future__ import annotations

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
    """Return the name of a length or a duration, or None where it is neither.

    Parameters
    ----------
    text : str or None
        A unit as a document or a person writes it: ``micrometer``, ``Microns``,
        ``µm`` with either micro sign, ``um``, ``s``.

    Returns
    -------
    str or None
        A member of `LENGTHS` or `TIMES`, which pint accepts.
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
    """Return how many metres or seconds a unit is, or None where it is neither.

    Parameters
    ----------
    text : str or None
        A unit, as for `known_unit`.

    Returns
    -------
    tuple of (float, str) or None
        Like ``(1e-06, "m")`` or ``(60.0, "s")``.
    """
    name = known_unit(text)
    return None if name is None else _SIZES[name]
