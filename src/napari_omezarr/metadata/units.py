"""The unit names that OME-Zarr knows, and the ways that they are misspelled."""

from __future__ import annotations

# UDUNITS-2 names, as 0.4 "axes" lists them; pint knows each under the same name.
_PREFIXES = {
    "yotta": "Y", "zetta": "Z", "exa": "E", "peta": "P", "tera": "T", "giga": "G",
    "mega": "M", "kilo": "k", "hecto": "h", "deca": "da", "": "", "deci": "d",
    "centi": "c", "milli": "m", "micro": "u", "nano": "n", "pico": "p", "femto": "f",
    "atto": "a", "zepto": "z", "yocto": "y",
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

# Symbols are case-sensitive (Mm is no mm).
_SYMBOLS = {
    **{f"{symbol}m": f"{prefix}meter" for prefix, symbol in _PREFIXES.items()},
    **{f"{symbol}s": f"{prefix}second" for prefix, symbol in _PREFIXES.items()},
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
