"""From what a person has (layers, layer data, arrays, pyramids) to image specs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_omezarr.errors import OMEZarrError, OptionError, UnsupportedDataError
from napari_omezarr.location import Location, without_secrets
from napari_omezarr.metadata import Affine, Axis, Image, layer_affine, parse_document
from napari_omezarr.pyramid import Pyramid
from napari_omezarr.store import location_of
from napari_omezarr.tables import UNREAD, feature_source

from .annotations import known_of_labels, named_by_labels
from .given import is_closed, opened
from .image_spec import (
    ChannelDisplay,
    ImageSpec,
    LabelDisplay,
    Origin,
    Resolution,
    are_placeholders,
    extended,
    finite_pair,
    named_axes,
    original_span,
)
from .options import understood
from .rendering import channel_color, label_colors
from .source import Converted, as_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_omezarr.tables import FeatureSource

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
    "projection_mode": None,
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
_NUMBER = re.compile(r"( \[\d+\])?")
SAVED = ("image", "labels")
"""The layer types that OME-Zarr has a place for."""

# What a layer remembers of the OME-Zarr image that it was read from.


def layer_origin(options: Mapping[str, Any]) -> Origin | None:
    """Give the image that a layer was read from, as its metadata say; else None."""
    metadata = options.get("metadata")
    record = metadata.get("omezarr") if isinstance(metadata, Mapping) else None
    if not isinstance(record, Mapping):
        return None
    name, usual = str(options.get("name")), str(record.get("layer_name"))
    # napari puts a number behind the name of a second layer that is called the same.
    same = name.startswith(usual) and _NUMBER.fullmatch(name.removeprefix(usual))
    return replace(read_origin(record), keeps_name=bool(same))


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
        place=str(record.get("place") or record.get("address") or ""),
        # Of a region it was said which level it is cut out of.
        lost_levels=() if "region" in record else tuple(record.get("lost_levels", ())),
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


# What of a layer is not how it looks, or has no word there.

_ONLY_HERE: dict[str, Any] = {
    "depiction": "volume",
    "experimental_clipping_planes": [],
    "contour": 0,
    "iso_gradient_mode": "fast",
    "custom_interpolation_kernel_2d": [[1]],
}
"""What is neither in OME-Zarr nor kept beside it, with napari's defaults."""


def left_as_they_are(layer: Any) -> Iterator[str]:
    """Say what of a layer its image will not say after its looks were written there."""
    found = layer_data(layer)
    if not isinstance(found, tuple):
        return
    data, options, kind = found
    name = options.get("name") or "The layer"
    if options.get("rgb"):
        yield f"{name} is an RGB image, which has no colours or contrast to write."
    odd = [
        key.removeprefix("experimental_").replace("_", " ")
        for key, usual in _ONLY_HERE.items()
        if key in options and not _is_usual(options[key], usual)
    ]
    if odd:
        yield f"OME-Zarr has no word for this of {name}: {', '.join(odd)}."
    if kind == "labels" and isinstance(data, np.ndarray):
        yield f"The pixels of {name} are not written: patch (Write back) does that."
    moved = list(_moved(options))
    if moved:
        yield (
            f"The image of {name} has its {' and its '.join(moved)} as before: "
            "calibrate changes scale, translation and units."
        )


def _is_usual(value: Any, usual: Any) -> bool:
    value = getattr(value, "value", value)
    try:
        return value is None or bool(np.array_equal(value, usual))
    except (TypeError, ValueError):
        return False


def _moved(options: Mapping[str, Any]) -> Iterator[str]:
    """Name what of a layer's place differs from what its image said when opened."""
    origin = layer_origin(options)
    record = (options.get("metadata") or {}).get("omezarr") or {}
    names = [str(name) for name in options.get("axis_labels") or ()]
    if origin is None or not origin.axes or record.get("region") or not names:
        return
    if not set(names) <= set(origin.axes):
        yield "names of the axes"
        return
    axes, affine = _placed(options, origin, len(names))
    if any(axis.unit != origin.axes[axis.name].unit for axis in axes):
        yield "units"
    system = record.get("coordinate_system")
    kind = parse_document(origin.attributes, coordinate_system=system).kind
    here = [list(origin.axes).index(name) for name in names]
    places = [
        dataset.affine.matrix[np.ix_(here, [*here, -1])]
        for multiscale in (kind.multiscales if isinstance(kind, Image) else ())
        for dataset in multiscale.datasets
        if dataset.affine.shape == (len(origin.axes), len(origin.axes) + 1)
    ]
    if places and not any(np.allclose(affine.matrix, each, 1e-4) for each in places):
        yield "place (scale, translation, rotation)"


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
    if not is_layer_data(layer):
        raise OptionError(
            f"{type(layer).__name__} is no layer.",
            action="Give layers of napari, layer data tuples, pyramids or arrays.",
        )
    kind = str(layer[2]) if len(layer) > 2 else "image"
    return layer[0], dict(layer[1]), kind


def listed(layers: Any) -> list[Any]:
    """Give layers as a list, also where somebody hands over one, or all of a reading.

    Raises
    ------
    OptionError
        These are no layers.
    """
    alone = isinstance(layers, Pyramid | ImageSpec) or is_array(layers)
    alone |= hasattr(layers, "pyramids") or is_closed(layers)
    if alone or is_layer_data(layers) or hasattr(layers, "as_layer_data_tuple"):
        return _parts(layers)
    if isinstance(layers, str | PurePath | Location):
        raise OptionError(
            f"{layers!s} is a place, and an image is saved.",
            action="Open it first: napari_omezarr.open(…).",
        )
    layers = getattr(layers, "layers", layers)  # of a viewer
    if isinstance(layers, str | bytes | Mapping) or not isinstance(layers, Iterable):
        raise OptionError(
            f"{type(layers).__name__} is no list of layers.",
            action="Give layers of napari, or what read_layers gives.",
        )
    return [part for each in layers for part in _parts(each)]


def _parts(given: Any) -> list[Any]:
    """Give the layers of one thing; an image that brings its labels is several."""
    found = opened(given)
    if found is not given and isinstance(found, list):  # levels that nothing describes
        place = location_of(given)
        options = {"name": place.stem if place.path else "", "multiscale": True}
        return [(found, {**options, "axis_labels": array_names(found[0])}, "image")]
    return list(getattr(found, "pyramids", (found,)))


def array_names(array: Any) -> tuple[str, ...]:
    """Give the names that an array has for all its axes: xarray's, or zarr's own."""
    if not isinstance(array, zarr.Array | zarr.AsyncArray):
        return getattr(array, "dims", None) or ()
    said: Any = getattr(array.metadata, "dimension_names", None)
    said = said or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    names = tuple(said) if isinstance(said, list | tuple) else ()
    return names if len(set(names)) == array.ndim and all(names) else ()


def is_array(data: Any) -> bool:
    """Whether something has pixels of its own, of whatever library it is."""
    if isinstance(data, Pyramid):
        return False
    with understood():  # a closed data set raises for its shape
        return hasattr(data, "shape") and hasattr(data, "dtype")


def is_layer_data(layer: Any) -> bool:
    """Whether it is (data, options) or (data, options, kind)."""
    return (
        isinstance(layer, tuple | list)
        and len(layer) in (2, 3)
        and isinstance(layer[1], Mapping)
        and all(isinstance(kind, str) for kind in layer[2:])
    )


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
    options = _verbatim(options)
    origin = layer_origin(options)
    places = frozenset({origin.address} if origin and origin.address else ())
    finest, *coarser = _levels(data, options)
    source = as_source(finest, places)
    made = labels_of if kind == "labels" else _image
    spec = made(source, options, origin)
    return replace(spec, coarser=_resolutions(spec, coarser, places))


def _verbatim(options: dict[str, Any]) -> dict[str, Any]:
    """Give options with the texts that were made plain for napari as they were."""
    metadata = options.get("metadata")
    record = metadata.get("omezarr") if isinstance(metadata, Mapping) else None
    written = record.get("verbatim") if isinstance(record, Mapping) else None
    if not isinstance(written, Mapping):
        return options
    found = {**options, "name": written.get(options.get("name"), options.get("name"))}
    table = options.get("features")
    if table is not None:
        names = list(table) if isinstance(table, Mapping) else list(table.columns)
        found["features"] = {
            written.get(name, name): [
                written.get(value, value) if isinstance(value, str) else value
                for value in table[name]
            ]
            for name in names
        }
    return found


def _levels(data: Any, options: Mapping[str, Any]) -> Sequence[Any]:
    levels = options.get("multiscale")
    if levels is None:
        levels = isinstance(data, Sequence) and not isinstance(data, memoryview)
        levels = levels and not hasattr(data, "dtype")
        levels = levels and len(data) > 0 and hasattr(data[0], "shape")
    return data if levels else (data,)


def _resolutions(
    spec: ImageSpec,
    levels: Iterable[Any],
    places: frozenset[str],
    back: Affine | None = None,
) -> tuple[Resolution, ...]:
    """Describe the coarser levels of a layer; of a pyramid, which knows their place."""
    found = []
    for level in levels:
        source = as_source(getattr(level, "pixels", level), places)
        if spec.label is not None:
            source = _without_booleans(source)
        found.append(Resolution(source, back and back @ level.affine))
    return tuple(found)


def _image(
    source: PixelSource, options: dict[str, Any], origin: Origin | None
) -> ImageSpec:
    rgb = bool(options.get("rgb"))
    ndim = len(source.shape) - rgb
    axes, affine = _placed(options, origin, ndim)
    name = str(options.get("name") or (origin and origin.name) or "image")
    displays: tuple[ChannelDisplay, ...] = (_display(name, options, origin),)
    if rgb:
        axes = (*axes, Axis("c", "channel"))
        affine = extended(affine, ndim)
        displays = _rgb_displays(displays[0], source)
    elif origin is None or origin.channel is None:
        displays = _per_channel(displays[0], source, axes)
    shown_at = tuple(options.get("shown_at") or ())
    if len(shown_at) == ndim:
        shown_at += (None,) * rgb
    return ImageSpec(
        name,
        source,
        axes,
        affine,
        displays,
        rgb=rgb,
        origin=origin,
        shown_at=shown_at if len(shown_at) == len(axes) else (),
    )


def labels_of(
    source: PixelSource, options: dict[str, Any], origin: Origin | None = None
) -> ImageSpec:
    """Describe pixels as a labels layer of these options."""
    axes, affine = _placed(options, origin, len(source.shape))
    name = str(options.get("name") or (origin and origin.name) or "labels")
    source = _without_booleans(source)
    if source.dtype.kind == "f":
        raise UnsupportedDataError(
            f"The labels {name} hold {source.dtype}, and labels are whole numbers.",
            action="Convert them to integers first.",
        )
    colors, state = label_colors(options.get("colormap"))
    rows, known = known_of_labels(options.get("features"), options.get("properties"))
    display = LabelDisplay(
        colors,
        rows,
        bool(options.get("visible", True)),
        _state(options, _LABEL_STATE) | state,
        known or (None if rows else _unread(options)),
    )
    assumed = are_placeholders(_names(options, len(source.shape)))
    return ImageSpec(
        name, source, axes, affine, label=display, origin=origin, axes_assumed=assumed
    )


def _unread(options: Mapping[str, Any]) -> FeatureSource | None:
    """Give where the features are that a layer was opened with and has not read yet."""
    metadata = options.get("metadata")
    record = metadata.get("omezarr") if isinstance(metadata, Mapping) else None
    name = record.get(UNREAD) if isinstance(record, Mapping) else None
    if not isinstance(record, Mapping) or not isinstance(name, str):
        return None
    return feature_source(Location.parse(str(record.get("address"))), name)


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
            "place": without_secrets(pyramid.location),
            "attributes": pyramid.attributes or {},
            "extras": pyramid.extras,
            "lost_levels": pyramid.lost_levels,
        }
    )
    said = (
        (e.pixels.shape, getattr(e.pixels, "attributes", {})) for e in pyramid.levels
    )
    origin = replace(origin, arrays={shape: each for shape, each in said if each})
    notes = _several(pyramid)
    places = frozenset({pyramid.location.display})
    source = as_source(finest.pixels, places)
    parts = (pyramid.name, source, pyramid.axes, finest.affine)
    if pyramid.label is not None:
        source = _without_booleans(source)
        named = named_by_labels(pyramid.extras)
        known = feature_source(pyramid.location, named) if named else None
        display = LabelDisplay(
            pyramid.label.colors, pyramid.label.properties, table=known
        )
        spec = ImageSpec(pyramid.name, source, *parts[2:], label=display, origin=origin)
        spec = replace(spec, notes=notes)
        return _with_levels(spec, pyramid, places)
    displays = tuple(
        ChannelDisplay(
            channel.name or pyramid.name,
            channel.color.upper(),
            channel.contrast_limits,
            channel.contrast_range,
            channel.visible,
            channel.inverted,
            original=original_channel(replace(origin, channel=number)),
        )
        for number, channel in enumerate(pyramid.channels)
    )
    spec = ImageSpec(*parts, displays, rgb=pyramid.rgb, origin=origin, notes=notes)
    return _with_levels(spec, pyramid, places)


def _several(pyramid: Pyramid) -> tuple[str, ...]:
    """Say that a group holds more than the one multiscale that is written."""
    several = (pyramid.attributes or {}).get("multiscales")
    count = len(several) if isinstance(several, list) else 1
    said = f"{pyramid.name} holds {count} multiscales, of which one is written."
    return (said,) if count > 1 else ()


def _with_levels(
    spec: ImageSpec, pyramid: Pyramid, places: frozenset[str]
) -> ImageSpec:
    if not spec.affine.is_invertible:
        return spec
    back = spec.affine.inverse()
    return replace(spec, coarser=_resolutions(spec, pyramid.levels[1:], places, back))


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
    name: str, options: Mapping[str, Any], origin: Origin | None
) -> ChannelDisplay:
    color, inverted, state = channel_color(options.get("colormap"))
    limits = finite_pair(options.get("contrast_limits"))
    original = original_channel(origin)
    span = finite_pair(options.get("contrast_limits_range")) or original_span(original)
    if span is not None and limits is not None:
        span = min(span[0], limits[0]), max(span[1], limits[1])
    return ChannelDisplay(
        name=name,
        color=color,
        limits=limits,
        span=span,
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
