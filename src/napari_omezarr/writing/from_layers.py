"""From what a person has (layers, layer data, arrays, pyramids) to image specs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import OMEZarrError, OptionError, UnsupportedDataError
from napari_omezarr.metadata import Affine, Axis, Image, parse_document
from napari_omezarr.pyramid import Pyramid

from .image_spec import (
    ChannelDisplay,
    ImageSpec,
    LabelDisplay,
    Origin,
    are_placeholders,
    extended,
    layer_affine,
    named_axes,
)
from .rendering import channel_color, label_colors, label_properties
from .source import Converted, as_source

if TYPE_CHECKING:
    from .source import PixelSource

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
SAVED = ("image", "labels")
"""The layer types that OME-Zarr has a place for."""
_ONE = ("FFFFFF",)
_TWO = ("FF00FF", "00FF00")
_MORE = ("00FFFF", "FFFF00", "FF00FF", "FF0000", "00FF00", "0000FF")

# What a layer remembers of the OME-Zarr image that it was read from.


def layer_origin(options: Mapping[str, Any]) -> Origin | None:
    """Give the image that a layer was read from, as its metadata say; else None."""
    metadata = options.get("metadata")
    record = metadata.get("omezarr") if isinstance(metadata, Mapping) else None
    return read_origin(record) if isinstance(record, Mapping) else None


def read_origin(record: Mapping[str, Any]) -> Origin:
    """Make an origin of what the reader left in a layer; absent parts are empty."""
    attributes = record.get("attributes") or {}
    channel = record.get("channel")
    try:
        kind = parse_document(attributes).kind
    except OMEZarrError:
        kind = None
    first = kind.multiscales[0] if isinstance(kind, Image) else None
    return Origin(
        address=str(record.get("address") or ""),
        channel=channel if isinstance(channel, int) else None,
        attributes=attributes,
        extras=record.get("extras") or {},
        axes={axis.name: axis for axis in first.axes} if first else {},
        name=first.name if first else "",
    )


def original_channel(origin: Origin | None) -> Mapping[str, Any]:
    """Give what the image that a layer came from says of its channel."""
    if origin is None or origin.channel is None:
        return {}
    try:
        channel = origin.attributes["omero"]["channels"][origin.channel]
    except (KeyError, IndexError, TypeError):
        return {}
    return channel if isinstance(channel, Mapping) else {}


def original_span(channel: Mapping[str, Any]) -> tuple[float, float] | None:
    """Give the range of the contrast slider that a channel's entry says."""
    try:
        return finite_pair((channel["window"]["min"], channel["window"]["max"]))
    except (KeyError, TypeError, ValueError):
        return None


def finite_pair(value: Any) -> tuple[float, float] | None:
    """Give two finite numbers in rising order; None where there are none."""
    if value is None or len(value) != 2:
        return None
    low, high = float(value[0]), float(value[1])
    return (low, high) if math.isfinite(high - low) and low < high else None


# Layers and pyramids.


LayerData = tuple[Any, dict[str, Any], str]
"""Data, options of the constructor, and layer type, as napari has them."""


def layer_data(layer: Any) -> Pyramid | ImageSpec | LayerData:
    """Bring a napari layer, or an incomplete tuple, into the form of layer data.

    Pyramids and specs pass through. A layer's contrast range joins its options,
    because layer data does not carry it.
    """
    if isinstance(layer, Pyramid | ImageSpec):
        return layer
    if hasattr(layer, "as_layer_data_tuple"):
        data, options, kind = layer.as_layer_data_tuple()
        span = getattr(layer, "contrast_limits_range", None)
        return data, {"contrast_limits_range": span, **options}, kind
    parts = (*layer, {}, "image") if len(layer) < 3 else tuple(layer)
    data, options = parts[0], parts[1]
    return data, dict(options), str(layer[2] if len(layer) > 2 else "image")


def describe(layer: Any) -> ImageSpec:
    """Describe a layer; no pixel is read."""
    found = layer_data(layer)
    if isinstance(found, ImageSpec):
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


def _image(
    source: PixelSource, options: dict[str, Any], origin: Origin | None
) -> ImageSpec:
    rgb = bool(options.get("rgb"))
    ndim = len(source.shape) - rgb
    axes, affine = _placed(options, origin, ndim)
    name = str(options.get("name") or (origin and origin.name) or "image")
    displays: tuple[ChannelDisplay, ...] = (
        _display(name, source.dtype, options, origin),
    )
    if rgb:
        axes = (*axes, Axis("c", "channel"))
        affine = extended(affine, ndim)
        displays = _rgb_displays(displays[0], source)
    elif origin is None or origin.channel is None:
        displays = _per_channel(displays[0], source, axes)
    return ImageSpec(name, source, axes, affine, displays, rgb=rgb, origin=origin)


def _labels(
    source: PixelSource, options: dict[str, Any], origin: Origin | None
) -> ImageSpec:
    axes, affine = _placed(options, origin, len(source.shape))
    name = str(options.get("name") or (origin and origin.name) or "labels")
    source = _without_booleans(source)
    if source.dtype.kind == "f":
        raise UnsupportedDataError(
            f"The labels {name} hold {source.dtype}, and labels are whole numbers.",
            action="Convert them to integers first.",
        )
    colors, state = label_colors(options.get("colormap"))
    rows = label_properties(options.get("features"), options.get("properties"))
    visible = bool(options.get("visible", True))
    display = LabelDisplay(colors, rows, visible, _state(options, _LABEL_STATE) | state)
    assumed = are_placeholders(_names(options, len(source.shape)))
    return ImageSpec(
        name, source, axes, affine, label=display, origin=origin, axes_assumed=assumed
    )


def _without_booleans(source: PixelSource) -> PixelSource:
    """Give labels as integers (0.4: "labels ... MUST be integers")."""
    if source.dtype.kind != "b":
        return source
    return Converted(source, np.dtype(np.uint8))


def _pyramid(pyramid: Pyramid) -> ImageSpec:
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
        source = _without_booleans(source)
        display = LabelDisplay(pyramid.label.colors, pyramid.label.properties)
        return ImageSpec(pyramid.name, source, *parts[2:], label=display, origin=origin)
    displays = tuple(
        ChannelDisplay(
            channel.name or pyramid.name,
            channel.color.upper(),
            channel.contrast_limits,
            channel.contrast_range,
            channel.visible,
            channel.inverted,
        )
        for channel in pyramid.channels
    )
    return ImageSpec(*parts, displays, rgb=pyramid.rgb, origin=origin)


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


def _display(
    name: str, dtype: np.dtype[Any], options: Mapping[str, Any], origin: Origin | None
) -> ChannelDisplay:
    color, inverted, state = channel_color(options.get("colormap"))
    limits = finite_pair(options.get("contrast_limits"))
    original = original_channel(origin)
    given = finite_pair(options.get("contrast_limits_range")) or original_span(original)
    return ChannelDisplay(
        name=name,
        color=color,
        limits=limits,
        span=_span(given, limits, dtype),
        visible=bool(options.get("visible", True)),
        inverted=inverted,
        state=_state(options, _IMAGE_STATE) | state,
        original=original,
    )


def _rgb_displays(
    display: ChannelDisplay, source: PixelSource
) -> tuple[ChannelDisplay, ...]:
    top = 255.0 if source.dtype.kind in "iu" else 1.0
    return tuple(
        ChannelDisplay(
            name, color, (0.0, top), (0.0, top), display.visible, state=display.state
        )
        for name, color in zip(
            _RGB_NAMES[: source.shape[-1]], _RGB[: source.shape[-1]], strict=True
        )
    )


def _per_channel(
    display: ChannelDisplay, source: PixelSource, axes: Sequence[Axis]
) -> tuple[ChannelDisplay, ...]:
    """Show each index of a channel axis as the layer is shown."""
    types = [axis.type for axis in axes]
    if "channel" not in types:
        return (display,)
    count = source.shape[types.index("channel")]
    return tuple(
        replace(display, name=f"{display.name} {index}" if count > 1 else display.name)
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


# Plain arrays, and what a script says of them.

ByAxis = Mapping[str, float] | Sequence[float] | None


@dataclass(frozen=True, slots=True)
class Grid:
    """Where an array lies.

    ``axes`` names each axis; ``scale`` and ``translation`` are by name or for all
    axes, in the units that ``units`` gives by name.
    """

    axes: Sequence[str] | None = None
    scale: ByAxis = None
    translation: ByAxis = None
    units: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Channels:
    """What is known of the channels; each is one per channel, or None."""

    names: Sequence[str] | None = None
    colors: Sequence[str] | None = None
    limits: Sequence[tuple[float, float]] | None = None


def describe_array(array: Any, grid: Grid, name: str, channels: Channels) -> ImageSpec:
    """Describe an array as an image."""
    source = as_source(array)
    names = axis_names(array, grid.axes)
    sizes = _along(grid.scale, names, 1.0)
    offsets = _along(grid.translation, names, 0.0)
    units = [(grid.units or {}).get(axis) for axis in names]
    spec = ImageSpec(
        name=name,
        source=source,
        axes=named_axes(names, units, {}),
        affine=Affine.from_translation(offsets) @ Affine.from_scale(sizes),
    )
    axis = spec.channel_axis
    count = 1 if axis is None else source.shape[axis]
    displays = _displays(channels, count, name)
    return ImageSpec(name, source, spec.axes, spec.affine, displays)


def describe_labels(array: Any, image: ImageSpec, name: str) -> ImageSpec:
    """Describe an array as the labels of an image, on its grid without channels."""
    axis = image.channel_axis
    kept = [i for i in range(len(image.axes)) if i != axis]
    affine = image.affine if axis is None else image.affine.without(axis)
    if len(kept) != len(array.shape):
        raise OptionError(
            f"The labels {name} have {len(array.shape)} axes, and {len(kept)} are "
            "needed: those of the image without its channels."
        )
    options = {
        "name": name,
        "axis_labels": [image.axes[i].name for i in kept],
        "units": [image.axes[i].unit or "pixel" for i in kept],
        "scale": affine.scale,
        "translate": affine.translation,
    }
    return describe((array, options, "labels"))


def axis_names(array: Any, axes: Sequence[str] | None) -> list[str]:
    """Name each axis: as given, as xarray does, or as the last of ``tczyx``."""
    ndim = len(array.shape)
    given = axes if axes is not None else getattr(array, "dims", None)
    names = [str(name) for name in given or ()]
    if not names:
        if ndim not in (2, 3, 5):
            raise OptionError(
                f"An array of shape {tuple(array.shape)} can be many things.",
                action=f'Name its {ndim} axes, like axes="czyx".',
            )
        return list("tczyx"[-ndim:])
    if len(names) != ndim or len(set(names)) < ndim:
        raise OptionError(f"{', '.join(names)} does not name {ndim} axes.")
    return names


def _along(values: ByAxis, names: Sequence[str], default: float) -> list[float]:
    if isinstance(values, Mapping):
        if unknown := sorted(set(values) - set(names)):
            raise OptionError(f"There is no axis {unknown[0]}.")
        return [float(values.get(name, default)) for name in names]
    if values is None:
        return [default] * len(names)
    if len(values) != len(names):
        raise OptionError(f"{len(values)} numbers do not fit {len(names)} axes.")
    return [float(value) for value in values]


def _displays(channels: Channels, count: int, name: str) -> tuple[ChannelDisplay, ...]:
    """Say how each channel is shown; colours are napari's where none are given."""
    usual = _ONE if count == 1 else _TWO if count == 2 else _MORE
    names = _each(channels.names, count, "names") or [
        name if count == 1 else f"channel {index}" for index in range(count)
    ]
    colors = _each(channels.colors, count, "colors") or [
        usual[index % len(usual)] for index in range(count)
    ]
    limits = _each(channels.limits, count, "contrast limits") or [None] * count
    return tuple(
        ChannelDisplay(str(label), channel_color(color)[0], _pair(pair), _pair(pair))
        for label, color, pair in zip(names, colors, limits, strict=True)
    )


def _pair(limits: Sequence[float] | None) -> tuple[float, float] | None:
    return None if limits is None else (float(limits[0]), float(limits[1]))


def _each(values: Sequence[Any] | None, count: int, what: str) -> list[Any] | None:
    if values is None:
        return None
    if len(values) != count:
        raise OptionError(f"{len(values)} {what} do not fit {count} channels.")
    return list(values)
