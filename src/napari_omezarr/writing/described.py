"""From what a person has (layers, layer data, arrays, pyramids) to pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import UnsupportedDataError
from napari_omezarr.metadata import Affine, Axis
from napari_omezarr.pyramid import Pyramid

from .colormaps import channel_color, label_colors
from .features import label_properties
from .geometry import are_placeholders, extended, layer_affine, named_axes
from .origin import (
    finite_pair,
    layer_origin,
    original_channel,
    original_span,
    read_origin,
)
from .picture import LabelLook, Look, Origin, Picture
from .source import Converted, as_source

if TYPE_CHECKING:
    from .source import Source

_IMAGE_STATE: dict[str, Any] = {
    "blending": None,
    "gamma": 1.0,
    "opacity": 1.0,
    "interpolation2d": "nearest",
    "interpolation3d": "linear",
    "rendering": "mip",
    "iso_threshold": None,
    "attenuation": 0.05,
    "projection_mode": "none",
}
"""What OME-Zarr has no word for, with what napari assumes if nobody says."""
_LABEL_STATE: dict[str, Any] = {
    "blending": "translucent",
    "opacity": 0.7,
    "rendering": "iso_categorical",
    "projection_mode": "none",
}
_RGB = ("FF0000", "00FF00", "0000FF", "FFFFFF")
_RGB_NAMES = ("red", "green", "blue", "alpha")


LayerData = tuple[Any, dict[str, Any], str]
"""Data, options of the constructor, and layer type, as napari has them."""

SAVED = ("image", "labels")
"""The layer types that OME-Zarr has a place for."""


def layer_data(layer: Any) -> Pyramid | Picture | LayerData:
    """Bring a napari layer, or an incomplete tuple, into the form of layer data.

    Pyramids and pictures pass through. A layer's contrast range joins its options,
    because layer data does not carry it.
    """
    if isinstance(layer, Pyramid | Picture):
        return layer
    if hasattr(layer, "as_layer_data_tuple"):
        data, options, kind = layer.as_layer_data_tuple()
        span = getattr(layer, "contrast_limits_range", None)
        return data, {"contrast_limits_range": span, **options}, kind
    parts = (*layer, {}, "image") if len(layer) < 3 else tuple(layer)
    data, options = parts[0], parts[1]
    return data, dict(options), str(layer[2] if len(layer) > 2 else "image")


def describe(layer: Any) -> Picture:
    """Describe a layer; no pixel is read.

    Parameters
    ----------
    layer : napari layer, layer data tuple, Pyramid or Picture
        A tuple is (data, options, type), as ``as_layer_data_tuple`` or a reader
        of any plugin gives it.

    Raises
    ------
    UnsupportedDataError
        It is no image and no labels, or of a type that cannot be saved.
    """
    found = layer_data(layer)
    if isinstance(found, Picture):
        return found
    if isinstance(found, Pyramid):
        return _pyramid(found)
    data, options, kind = found
    if kind not in SAVED:
        raise UnsupportedDataError(
            f"OME-Zarr has no place for {kind} layers.",
            action="Save it in another format.",
        )
    origin = layer_origin(options)
    places = frozenset({origin.address} if origin and origin.address else ())
    source = as_source(_finest(data, options), places)
    if kind == "labels":
        return _labels(source, options, origin)
    return _image(source, options, origin)


def _finest(data: Any, options: Mapping[str, Any]) -> Any:
    levels = options.get("multiscale")
    if levels is None:
        levels = not hasattr(data, "dtype") and isinstance(data, Sequence)
        levels = levels and len(data) > 0 and hasattr(data[0], "shape")
    return data[0] if levels else data


def _image(source: Source, options: dict[str, Any], origin: Origin | None) -> Picture:
    rgb = bool(options.get("rgb"))
    ndim = len(source.shape) - rgb
    axes, affine = _placed(options, origin, ndim)
    name = str(options.get("name") or (origin and origin.name) or "image")
    looks: tuple[Look, ...] = (_look(name, source.dtype, options, origin),)
    if rgb:
        axes = (*axes, Axis("c", "channel"))
        affine = extended(affine, ndim)
        looks = _rgb_looks(looks[0], source)
    elif origin is None or origin.channel is None:
        looks = _per_channel(looks[0], source, axes)
    return Picture(name, source, axes, affine, looks, rgb=rgb, origin=origin)


def _labels(source: Source, options: dict[str, Any], origin: Origin | None) -> Picture:
    axes, affine = _placed(options, origin, len(source.shape))
    name = str(options.get("name") or (origin and origin.name) or "labels")
    if source.dtype.kind == "b":
        source = Converted(source, np.dtype(np.uint8))
    if source.dtype.kind == "f":
        raise UnsupportedDataError(
            f"The labels {name} hold {source.dtype}, and labels are whole numbers.",
            action="Convert them to integers first.",
        )
    colors, state = label_colors(options.get("colormap"))
    rows = label_properties(options.get("features"), options.get("properties"))
    visible = bool(options.get("visible", True))
    look = LabelLook(colors, rows, visible, _state(options, _LABEL_STATE) | state)
    assumed = are_placeholders(_names(options, len(source.shape)))
    return Picture(
        name, source, axes, affine, label=look, origin=origin, axes_assumed=assumed
    )


def _pyramid(pyramid: Pyramid) -> Picture:
    finest = pyramid.levels[0]
    origin = read_origin(
        {
            "address": pyramid.location.display,
            "attributes": pyramid.attributes or {},
            "extras": pyramid.extras,
        }
    )
    places = frozenset({pyramid.location.display})
    source = as_source(finest.pixels, places)
    parts = (pyramid.name, source, pyramid.axes, finest.affine)
    if pyramid.label is not None:
        if source.dtype.kind == "b":
            source = Converted(source, np.dtype(np.uint8))
        look = LabelLook(pyramid.label.colors, pyramid.label.properties)
        return Picture(pyramid.name, source, *parts[2:], label=look, origin=origin)
    looks = tuple(
        Look(
            channel.name or pyramid.name,
            channel.color.upper(),
            channel.contrast_limits,
            channel.contrast_range,
            channel.visible,
            channel.inverted,
        )
        for channel in pyramid.channels
    )
    return Picture(*parts, looks, rgb=pyramid.rgb, origin=origin)


def _placed(
    options: Mapping[str, Any], origin: Origin | None, ndim: int
) -> tuple[tuple[Axis, ...], Affine]:
    names = _names(options, ndim)
    units = [str(unit) for unit in options.get("units") or ()]
    if len(units) != ndim:
        units = ["pixel"] * ndim
    known = dict(origin.axes) if origin else {}
    return named_axes(names, units, known), layer_affine(options, ndim)


def _names(options: Mapping[str, Any], ndim: int) -> list[str]:
    names = [str(name) for name in options.get("axis_labels") or ()]
    if len(names) == ndim:
        return names
    return [str(index - ndim) for index in range(ndim)]


def _look(
    name: str, dtype: np.dtype[Any], options: Mapping[str, Any], origin: Origin | None
) -> Look:
    color, inverted, state = channel_color(options.get("colormap"))
    limits = finite_pair(options.get("contrast_limits"))
    original = original_channel(origin)
    given = finite_pair(options.get("contrast_limits_range")) or original_span(original)
    return Look(
        name=name,
        color=color,
        limits=limits,
        span=_span(given, limits, dtype),
        visible=bool(options.get("visible", True)),
        inverted=inverted,
        state=_state(options, _IMAGE_STATE) | state,
        original=original,
    )


def _rgb_looks(look: Look, source: Source) -> tuple[Look, ...]:
    top = 255.0 if source.dtype.kind in "iu" else 1.0
    return tuple(
        Look(name, color, (0.0, top), (0.0, top), look.visible, state=look.state)
        for name, color in zip(
            _RGB_NAMES[: source.shape[-1]], _RGB[: source.shape[-1]], strict=True
        )
    )


def _per_channel(look: Look, source: Source, axes: Sequence[Axis]) -> tuple[Look, ...]:
    """Give each channel of a layer that has a channel axis the look of the layer."""
    types = [axis.type for axis in axes]
    if "channel" not in types:
        return (look,)
    count = source.shape[types.index("channel")]
    return tuple(
        replace(look, name=f"{look.name} {index}" if count > 1 else look.name)
        for index in range(count)
    )


def _span(
    given: tuple[float, float] | None,
    limits: tuple[float, float] | None,
    dtype: np.dtype[Any],
) -> tuple[float, float] | None:
    """Give the range of the contrast slider: what is given, else a small dtype's."""
    span = given
    if span is None and dtype.kind in "iu" and dtype.itemsize <= 2:
        information = np.iinfo(dtype)
        span = (float(information.min), float(information.max))
    if span is None or limits is None:
        return span or limits
    return min(span[0], limits[0]), max(span[1], limits[1])


def _state(options: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for key, default in usual.items():
        value = options.get(key)
        value = getattr(value, "value", value)
        if value is not None and value != default:
            state[key] = float(value) if isinstance(value, int | float) else str(value)
    # napari starts from the middle of the contrast when nobody says.
    if state.get("rendering") not in ("iso", "iso_categorical"):
        state.pop("iso_threshold", None)
    return state
