"""What was saved of a layer beyond OME-Zarr, under the ``napari`` key.

It is taken only where it still goes with the metadata beside it, and only as far
as napari would take it: another program may have changed either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_omezarr.pyramid import Pyramid

KEY = "napari"

_BLENDING = {
    "opaque", "translucent", "translucent_no_depth", "additive", "minimum",
    "multiplicative",
}  # fmt: skip


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int | float) and low <= v <= high


def _word(value: Any) -> bool:
    return isinstance(value, str) and value.replace("_", "").isalnum()


def _colormap(value: Any) -> bool:
    colors = value.get("colors") if isinstance(value, Mapping) else None
    if not isinstance(colors, list) or not colors:
        return _word(value)
    return all(isinstance(c, list) and len(c) in (3, 4) for c in colors)


_KNOWN: dict[str, Callable[[Any], bool]] = {
    "blending": _BLENDING.__contains__,
    "gamma": _number(0.01, 100),
    "opacity": _number(0, 1),
    "interpolation2d": _word,
    "interpolation3d": _word,
    "rendering": _word,
    "iso_threshold": _number(-1e300, 1e300),
    "attenuation": _number(0, 1e300),
    "projection_mode": _word,
}


def kept_channel(pyramid: Pyramid, number: int) -> dict[str, Any]:
    """Give the options that were saved for a channel's layer; often none."""
    entries = _saved(pyramid).get("channels")
    if not isinstance(entries, list) or len(entries) != len(pyramid.channels):
        return {}
    entry, channel = entries[number], pyramid.channels[number]
    if not isinstance(entry, Mapping) or entry.get("label") != channel.name:
        return {}
    options = {"name": channel.name, **_checked(entry)}
    same_color = entry.get("color") == channel.color.upper()
    if same_color and _colormap(entry.get("colormap")):
        options["colormap"] = entry["colormap"]
    return options


def kept_labels(pyramid: Pyramid) -> dict[str, Any]:
    """Give the options that were saved for a labels layer; often none."""
    entry = _saved(pyramid).get("labels")
    if not isinstance(entry, Mapping):
        return {}
    options = _checked(entry)
    if isinstance(entry.get("name"), str):
        options["name"] = entry["name"]
    if entry.get("visible") is False:
        options["visible"] = False
    return options


def kept_default_color(pyramid: Pyramid) -> tuple[float, ...] | None:
    """Give the colour of label values that have none of their own, if it was saved."""
    entry = _saved(pyramid).get("labels")
    rgba = entry.get("default_color") if isinstance(entry, Mapping) else None
    if not isinstance(rgba, list) or len(rgba) != 4:
        return None
    if not all(_number(0, 255)(part) for part in rgba):
        return None
    return tuple(part / 255 for part in rgba)


def _saved(pyramid: Pyramid) -> Mapping[str, Any]:
    saved = pyramid.extras.get(KEY)
    return saved if isinstance(saved, Mapping) else {}


def _checked(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: entry[key]
        for key, fits in _KNOWN.items()
        if isinstance(entry.get(key), str | int | float) and fits(entry[key])
    }
