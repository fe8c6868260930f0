"""Layers of a label image: colours, properties as features, integer values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import OptionError
from napari_omezarr.pyramid import Cast, ChannelsLast, FixedAxes, to_dask

from .spec import LayerSpec, integral, placement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.metadata import ImageLabel, ResolvedChannel
    from napari_omezarr.pyramid import Pixels, Pyramid

# What was saved of a layer beyond OME-Zarr, under the ``napari`` key.
#
# It is taken only where it still goes with the metadata beside it, and only as far as
# napari would take it: another program may have changed either.

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


# Layers of an image: one for each channel, or one RGB picture.

_COLORMAPS = {
    "FFFFFF": "gray",
    "FF0000": "red",
    "00FF00": "green",
    "0000FF": "blue",
    "FF00FF": "magenta",
    "00FFFF": "cyan",
    "FFFF00": "yellow",
}
"""napari's own colormaps that run from black to exactly this colour."""


def image_layers(
    pyramid: Pyramid,
    metadata: dict[str, Any],
    channels: Sequence[int] | None = None,
    *,
    several: bool = False,
) -> list[LayerSpec]:
    """Give the layers of an image, in the order of its channels.

    Parameters
    ----------
    pyramid : Pyramid
        An image.
    metadata : dict
        What each layer carries as ``metadata``.
    channels : sequence of int or None, optional
        Only these channels; None gives all.
    several : bool, optional
        Other images are opened with it, so each name begins with the image's.

    Raises
    ------
    OptionError
        There is no such channel.
    """
    if pyramid.rgb and channels is None:
        return [_rgb_layer(pyramid, metadata)]
    count = len(pyramid.channels)
    numbers = range(count) if channels is None else channels
    if wrong := [number for number in numbers if not 0 <= number < count]:
        msg = f"There is no channel {wrong[0]}; {pyramid.name} has {count}."
        raise OptionError(msg, url=pyramid.location.display)
    return [_channel_layer(pyramid, n, metadata, several=several) for n in numbers]


def colormap(channel: ResolvedChannel) -> str | tuple[str, str]:
    """Give napari's own colormap of a channel's colour, else one made from it."""
    if channel.inverted:
        return f"#{channel.color.lower()}", "#000000"
    return _COLORMAPS.get(channel.color.upper(), f"#{channel.color.lower()}")


def layer_name(pyramid: Pyramid, number: int, *, several: bool = False) -> str:
    """Name a channel's layer: as the channel is called, as the image, or as both."""
    name = pyramid.channels[number].name
    if not name:
        return pyramid.name
    nameless = name == f"channel {number}"
    return f"{pyramid.name} {name}" if several or nameless else name


def _channel_layer(
    pyramid: Pyramid, number: int, metadata: dict[str, Any], *, several: bool
) -> LayerSpec:
    channel = pyramid.channels[number]
    levels = pyramid.channel(number)
    limits = channel.contrast_limits
    options = {
        "name": layer_name(pyramid, number, several=several),
        "colormap": colormap(channel),
        "contrast_limits": limits or makeshift_limits(levels[0].dtype),
        "visible": channel.visible,
        "metadata": {"omezarr": {**metadata, "channel": number}},
        **placement(pyramid, pyramid.channel_axis),
    }
    if len(pyramid.channels) > 1:
        options["blending"] = "additive"
    options |= kept_channel(pyramid, number)
    return _layer(
        levels, options, contrast_range=channel.contrast_range, needs=limits is None
    )


def _rgb_layer(pyramid: Pyramid, metadata: dict[str, Any]) -> LayerSpec:
    axis = pyramid.channel_axis or 0
    levels = tuple(ChannelsLast(level.pixels, axis) for level in pyramid.levels)
    options = {
        "name": pyramid.name,
        "rgb": True,
        "visible": True,
        "metadata": {"omezarr": dict(metadata)},
        **placement(pyramid, pyramid.channel_axis),
    }
    kept = kept_channel(pyramid, 0)
    options |= {key: kept[key] for key in kept if key not in ("name", "colormap")}
    return _layer(levels, options)


def _layer(
    levels: tuple[Pixels, ...],
    options: dict[str, Any],
    *,
    contrast_range: tuple[float, float] | None = None,
    needs: bool = False,
) -> LayerSpec:
    return LayerSpec(
        kind="image",
        data=tuple(to_dask(pixels) for pixels in levels),
        levels=levels,
        options={**options, "multiscale": len(levels) > 1},
        contrast_range=contrast_range,
        needs_contrast=needs,
    )


def makeshift_limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Give limits that napari accepts, until an estimate takes their place."""
    if dtype.kind == "b":
        return 0.0, 1.0
    if dtype.kind in "iu":
        information = np.iinfo(dtype)
        return float(information.min), float(information.max)
    return 0.0, 1.0


# Layers of a label image: colours, properties as features, integer values.

UNLISTED = (0.6, 0.6, 0.6, 1.0)
"""The colour of label values that a list of colours leaves out: seen, and grey."""


def label_layer(pyramid: Pyramid, metadata: dict[str, Any]) -> LayerSpec:
    """Give the layer of a label image.

    Float values, which public data hold although the specification (0.5) says
    integer, become integers where they are whole, else the layer is an image;
    to find out, a few chunks of the coarsest level are read.

    Raises
    ------
    StoreError
        Those chunks could not be read.
    """
    dropped, levels = _without_channel(pyramid)
    options = {
        "name": pyramid.name,
        "metadata": {"omezarr": dict(metadata)},
        "multiscale": len(levels) > 1,
        **placement(pyramid, dropped),
    }
    dtype = levels[0].dtype
    if dtype.kind == "f" and not integral(levels):
        limits = makeshift_limits(dtype)
        options |= {"contrast_limits": limits, "colormap": "gray"}
        return LayerSpec("image", _lazy(levels), levels, options, needs_contrast=True)
    if dtype.kind == "f":
        levels = tuple(Cast(pixels, np.dtype(np.int32)) for pixels in levels)
    elif dtype.kind == "b":
        levels = tuple(Cast(pixels, np.dtype(np.uint8)) for pixels in levels)
    label = pyramid.label
    if label is not None:
        options |= _colors(label, kept_default_color(pyramid)) | _features(label)
    options |= kept_labels(pyramid)
    return LayerSpec("labels", _lazy(levels), levels, options)


def _without_channel(pyramid: Pyramid) -> tuple[int | None, tuple[Pixels, ...]]:
    levels = tuple(level.pixels for level in pyramid.levels)
    axis = pyramid.channel_axis
    if axis is None or any(pixels.shape[axis] != 1 for pixels in levels):
        return None, levels
    return axis, tuple(FixedAxes(pixels, {axis: 0}) for pixels in levels)


def _lazy(levels: tuple[Pixels, ...]) -> tuple[Any, ...]:
    return tuple(to_dask(pixels) for pixels in levels)


def _colors(
    label: ImageLabel, others: tuple[float, ...] | None = None
) -> dict[str, Any]:
    if not label.colors and others is None:
        return {}
    colors: dict[int | None, tuple[float, ...]] = {
        None: others or UNLISTED,
        0: (0.0, 0.0, 0.0, 0.0),
    }
    for value, rgba in label.colors.items():
        colors[value] = tuple(part / 255 for part in rgba)
    return {"colormap": colors}


def _features(label: ImageLabel) -> dict[str, Any]:
    if not label.properties:
        return {}
    rows = label.properties
    names = dict.fromkeys(name for row in rows.values() for name in row)
    names.pop("index", None)
    columns = {name: [row.get(name) for row in rows.values()] for name in names}
    return {"features": {"index": list(rows), **columns}}
