"""Layers of an image: one for each channel, or one RGB picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import OptionError
from napari_omezarr.pyramid import ChannelsLast, to_dask

from .geometry import placement
from .kept import kept_channel
from .spec import LayerSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.metadata import ResolvedChannel
    from napari_omezarr.pyramid import Pixels, Pyramid

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
