"""From what was read, or from an address, to the layers of napari that show it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    MetadataError,
    NodeNotFoundError,
    OptionError,
    UnsupportedDataError,
)
from napari_omezarr.location import Location, without_secrets
from napari_omezarr.metadata import Axis, layer_options, normalized_unit
from napari_omezarr.pyramid import (
    Cast,
    ChannelsLast,
    FixedAxes,
    LeadingAxes,
    Mosaic,
    fits,
    to_dask,
)
from napari_omezarr.reading import ReadOptions, read_current
from napari_omezarr.store import given_place
from napari_omezarr.tables import UNREAD

from .spec import (
    LayerSpec,
    is_range_of_a_type,
    label_type,
    makeshift_limits,
    with_contrast,
)
from .tables import (
    layers_beside,
    source_of_features,
    table_at,
    table_layers,
    with_features,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from napari_omezarr.metadata import ImageLabel, ResolvedChannel
    from napari_omezarr.pyramid import Pixels, Pyramid

    from .spec import LayerData


COLORMAPS = {
    "FFFFFF": "gray",
    "FF0000": "red",
    "00FF00": "green",
    "0000FF": "blue",
    "FF00FF": "magenta",
    "00FFFF": "cyan",
    "FFFF00": "yellow",
}
"""napari's own colormaps that run from black to exactly this colour."""

UNLISTED = (0.6, 0.6, 0.6, 1.0)
"""The colour of label values that a list of colours leaves out: seen, and grey."""


# What napari takes of an image: levels of one type, and planes at least.


def viewable(pyramid: Pyramid) -> Pyramid:
    """Give an image as napari can show it."""
    finest = pyramid.levels[0].pixels
    dtype = finest.dtype
    if any(level.pixels.dtype != dtype for level in pyramid.levels):
        alike = (
            p if p.dtype == dtype else Cast(p, dtype, exact=False)
            for p in (level.pixels for level in pyramid.levels)
        )
        pairs = zip(pyramid.levels, alike, strict=True)
        levels = tuple(replace(level, pixels=pixels) for level, pixels in pairs)
        pyramid = replace(pyramid, levels=levels)
    missing = 2 - finest.ndim + (pyramid.channel_axis is not None)
    return pyramid if missing < 1 else _in_a_plane(pyramid, missing)


def _in_a_plane(pyramid: Pyramid, count: int) -> Pyramid:
    """Put axes of length 1 before those of a line, or of a single pixel."""
    taken = {axis.name for axis in (*pyramid.axes, *pyramid.world_axes)}
    free = [name for name in ("y", "x", "dim_0", "dim_1") if name not in taken]
    new = tuple(Axis(name, "space") for name in free[:count])
    axis, points = pyramid.channel_axis, pyramid.default_point or {}
    said = f"{pyramid.name} is no plane: shown as a picture that is one pixel high."
    return replace(
        pyramid,
        axes=new + pyramid.axes,
        world_axes=new + pyramid.world_axes,
        levels=tuple(
            replace(
                level,
                pixels=LeadingAxes(level.pixels, count),
                affine=level.affine.below(count),
            )
            for level in pyramid.levels
        ),
        channel_axis=None if axis is None else axis + count,
        default_point={number + count: point for number, point in points.items()},
        warnings=(*pyramid.warnings, said),
    )


# Layers of an image: one for each channel, or one RGB picture.


def image_layers(
    pyramid: Pyramid,
    metadata: dict[str, Any],
    channels: Sequence[int] | None = None,
    *,
    several: bool = False,
) -> list[LayerSpec]:
    """Give the layers of an image, in the order of its channels, or of `channels`.

    Where `several` images are opened, each name begins with the image's.

    Raises
    ------
    OptionError
        There is no such channel.
    """
    if pyramid.rgb and channels is None:
        return [_rgb_layer(pyramid, metadata)]
    count = len(pyramid.channels)
    numbers = range(count) if channels is None else _listed(channels)
    for number in numbers:
        if not isinstance(number, int | np.integer) or not 0 <= number < count:
            msg = f"There is no channel {number!s:.40}; {pyramid.name} has {count}."
            action = "Give the numbers of channels, the first being 0."
            raise OptionError(msg, action=action, url=pyramid.location.display)
    return [_channel_layer(pyramid, n, metadata, several=several) for n in numbers]


def _listed(channels: Any) -> list[Any]:
    """Give the channels that are asked for as a list, be it one number."""
    return list(channels) if isinstance(channels, Iterable) else [channels]


def _channel_layer(
    pyramid: Pyramid, number: int, metadata: dict[str, Any], *, several: bool
) -> LayerSpec:
    channel = pyramid.channels[number]
    levels = pyramid.channel(number)
    limits = channel.contrast_limits
    options = {
        "name": _channel_name(pyramid, number, several=several),
        "colormap": _colormap(channel),
        "contrast_limits": limits or makeshift_limits(levels[0].dtype),
        "visible": channel.visible,
        "metadata": {"omezarr": {**metadata, "channel": number}},
        **_placement(pyramid, pyramid.channel_axis),
        "multiscale": len(levels) > 1,
    }
    if len(pyramid.channels) > 1:
        options["blending"] = "additive"
    saved = _saved_channel(pyramid, number)
    options |= saved
    return LayerSpec(
        "image",
        _lazy(levels),
        levels,
        options,
        contrast_range=channel.contrast_range,
        # Of bool there is nothing to estimate.
        needs_contrast=limits is None and levels[0].dtype.kind != "b",
        # What was saved from a layer looks as somebody wanted it.
        checks_window=not saved and _is_doubtful(pyramid, limits),
    )


def _is_doubtful(pyramid: Pyramid, limits: tuple[float, float] | None) -> bool:
    """Tell whether a window is worth reading a few pixels to know that it fits.

    On this computer they all are; elsewhere those that say nothing of the image.
    """
    if limits is None or isinstance(pyramid.levels[0].pixels, Mosaic):
        return False
    return not pyramid.location.is_remote or is_range_of_a_type(limits)


def _rgb_layer(pyramid: Pyramid, metadata: dict[str, Any]) -> LayerSpec:
    axis = pyramid.channel_axis or 0
    levels = tuple(ChannelsLast(level.pixels, axis) for level in pyramid.levels)
    saved = _saved_channel(pyramid, 0)
    options = {
        "name": pyramid.name,
        "rgb": True,
        "visible": True,
        "metadata": {"omezarr": dict(metadata)},
        **_placement(pyramid, pyramid.channel_axis),
        **{key: saved[key] for key in saved if key not in ("name", "colormap")},
        "multiscale": len(levels) > 1,
    }
    return LayerSpec("image", _lazy(levels), levels, options)


def _channel_name(pyramid: Pyramid, number: int, *, several: bool) -> str:
    """Name a channel's layer: as the channel is called, as the image, or as both."""
    name = pyramid.channels[number].name
    if not name:
        return pyramid.name
    nameless = name == f"channel {number}"
    return f"{pyramid.name} {name}" if several or nameless else name


def _colormap(channel: ResolvedChannel) -> str | tuple[str, str]:
    """Give napari's own colormap of a channel's colour, else one made from it."""
    made = f"#{channel.color.lower()}"
    if channel.inverted:
        return made, "#000000"
    return COLORMAPS.get(channel.color.upper(), made)


# The layer of a label image: colours, properties as features, integer values.


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
        **_placement(pyramid, dropped),
    }
    said: list[str] = []
    dtype = levels[0].dtype
    if dtype.kind == "f":
        integer = label_type(levels)
        if integer is None:
            limits = makeshift_limits(dtype)
            options |= {"contrast_limits": limits, "colormap": "gray"}
            image = LayerSpec(
                "image", _lazy(levels), levels, options, needs_contrast=True
            )
            return image.warned(
                f"The labels {pyramid.name} are {dtype} values that are no whole "
                "numbers that labels can be; shown as an image."
            )
        said.append(f"The labels {pyramid.name} are stored as {dtype}, not integers.")
        levels = tuple(Cast(pixels, integer) for pixels in levels)
    elif dtype.kind == "b":
        levels = tuple(Cast(pixels, np.dtype(np.uint8)) for pixels in levels)
    label = pyramid.label
    if label is not None:
        colors, left_out = _label_colors(
            label, _saved_default_color(pyramid), levels[0].dtype
        )
        said += left_out
        options |= colors
        if label.properties:
            options["features"] = feature_columns(label)
    options |= _saved_labels(pyramid)
    source = source_of_features(pyramid)
    if source is not None and source.named:
        options["metadata"]["omezarr"][UNREAD] = source.named
    spec = LayerSpec("labels", _lazy(levels), levels, options, features=source)
    return spec.warned(*said)


def _without_channel(pyramid: Pyramid) -> tuple[int | None, tuple[Pixels, ...]]:
    levels = tuple(level.pixels for level in pyramid.levels)
    axis = pyramid.channel_axis
    if axis is None or any(pixels.shape[axis] != 1 for pixels in levels):
        return None, levels
    return axis, tuple(FixedAxes(pixels, {axis: 0}) for pixels in levels)


def _lazy(levels: tuple[Pixels, ...]) -> tuple[Any, ...]:
    return tuple(to_dask(pixels) for pixels in levels)


_TABLE = 2**16
"""How far napari's own table of label colours goes."""
_LARGE_IDS = ("numba", "PartSegCore_compiled_backend")
"""What makes napari show colours of larger label values, each as it is imported."""


def _label_colors(
    label: ImageLabel, others: tuple[float, ...] | None, dtype: np.dtype[Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Give the colours that napari can show, and what is said of those that it cannot.

    Without one of the packages for larger label values it raises where the table of
    colours has any, whatever the pixels are.
    """
    # Values that the pixels cannot have need no colour.
    listed = {v: rgba for v, rgba in label.colors.items() if fits(np.array(v), dtype)}
    shown = listed
    if not any(map(find_spec, _LARGE_IDS)):
        most = _TABLE // 2 if any(value < 0 for value in listed) else _TABLE
        shown = {v: rgba for v, rgba in listed.items() if abs(v) <= most}
    said = f"napari shows no colours of label values above {_TABLE} without numba"
    left_out = len(listed) - len(shown)
    notes = (f"{said}: {left_out} are left out.",) if left_out else ()
    if others is None and not shown.keys() - {0}:
        return {}, notes
    colors: dict[int | None, tuple[float, ...]] = {
        None: others or UNLISTED,
        0: (0.0, 0.0, 0.0, 0.0),
    }
    for value, rgba in shown.items():
        colors[value] = tuple(part / 255 for part in rgba)
    return {"colormap": colors}, notes


def feature_columns(label: ImageLabel) -> dict[str, Any]:
    """Give what the metadata know of each label, by column; ``index`` is the label."""
    if not label.properties:
        return {}
    rows = label.properties
    names = dict.fromkeys(name for row in rows.values() for name in row)
    names.pop("index", None)
    columns = {name: _known([r.get(name) for r in rows.values()]) for name in names}
    return {"index": list(rows), **columns}


def _known(values: list[Any]) -> list[Any]:
    """Give NaN for a number that is missing: else nothing computes with the column."""
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float}:
        return [math.nan if value is None else value for value in values]
    return values


# Where a layer lies: scale, translate, affine, units and axis labels.


def _placement(pyramid: Pyramid, dropped: int | None) -> dict[str, Any]:
    """Give the options that place a layer, which may lack its channel axis."""
    # napari derives the affines of the other levels from their shapes.
    affine, axes = pyramid.levels[0].affine, pyramid.world_axes
    if dropped is not None:
        output = affine.output_of(dropped)
        if output is None:
            # The world cannot be had without the channel axis: index coordinates.
            kept = [axis for i, axis in enumerate(pyramid.axes) if i != dropped]
            return {"axis_labels": tuple(axis.name for axis in kept)}
        affine = affine.without(dropped)
        axes = axes[:output] + axes[output + 1 :]
    return {**layer_options(affine), **_axes(axes)}


def _axes(axes: Sequence[Axis]) -> dict[str, Any]:
    labels = tuple(axis.name for axis in axes)
    units = tuple(normalized_unit(axis) or "pixel" for axis in axes)
    unique = len(set(labels)) == len(labels)
    return {"units": units, **({"axis_labels": labels} if unique else {})}


# What was saved of a layer beyond OME-Zarr, under the ``napari`` key.
#
# It is taken only where it still goes with the metadata beside it, and only as far as
# napari would take it: another program may have changed either.

_BLENDING = {
    "opaque", "translucent", "translucent_no_depth", "additive", "minimum",
    "multiplicative",
}  # fmt: skip


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int | float) and low <= v <= high


def _word(value: Any) -> bool:
    return isinstance(value, str) and value.replace("_", "").isalnum()


_VALID: dict[str, Callable[[Any], bool]] = {
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


def _saved_channel(pyramid: Pyramid, number: int) -> dict[str, Any]:
    entries = _saved(pyramid).get("channels")
    if not isinstance(entries, list) or len(entries) != len(pyramid.channels):
        return {}
    entry, channel = entries[number], pyramid.channels[number]
    if not isinstance(entry, Mapping):
        return {}
    named = "label" in entry
    if named and entry["label"] != channel.name:
        return {}
    options = {"name": channel.name} if named else {}
    options |= _valid(entry)
    same_color = entry.get("color") == channel.color.upper()
    if same_color and _is_colormap(entry.get("colormap")):
        options["colormap"] = entry["colormap"]
    return options


def _saved_labels(pyramid: Pyramid) -> dict[str, Any]:
    entry = _saved(pyramid).get("labels")
    if not isinstance(entry, Mapping):
        return {}
    options = _valid(entry)
    if isinstance(entry.get("name"), str):
        options["name"] = entry["name"]
    if entry.get("visible") is False:
        options["visible"] = False
    return options


def _saved_default_color(pyramid: Pyramid) -> tuple[float, ...] | None:
    """Give the colour of label values that have none of their own, if it was saved."""
    entry = _saved(pyramid).get("labels")
    rgba = entry.get("default_color") if isinstance(entry, Mapping) else None
    if not isinstance(rgba, list) or len(rgba) != 4:
        return None
    if not all(_number(0, 255)(part) for part in rgba):
        return None
    return tuple(part / 255 for part in rgba)


def _saved(pyramid: Pyramid) -> Mapping[str, Any]:
    saved = pyramid.extras.get("napari")
    return saved if isinstance(saved, Mapping) else {}


def _valid(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: entry[key]
        for key, fits in _VALID.items()
        if isinstance(entry.get(key), str | int | float) and fits(entry[key])
    }


def _is_colormap(value: Any) -> bool:
    colors = value.get("colors") if isinstance(value, Mapping) else None
    if not isinstance(colors, list) or not colors:
        return _word(value)
    return all(isinstance(c, list) and len(c) in (3, 4) for c in colors)


# All layers of what was read, and of an address.


def layer_data(
    pyramids: Sequence[Pyramid], *, channels: Sequence[int] | None = None
) -> list[LayerSpec]:
    """Give the layers of what was read: images below, their labels above.

    Reads pixels only for labels that are stored as floats (see ``label_layer``).
    `pyramids` are images, each followed by its label images; of each image only the
    `channels` of these numbers are given.
    """
    several = sum(pyramid.label is None for pyramid in pyramids) > 1
    images: list[LayerSpec] = []
    labels: list[LayerSpec] = []
    shown = _with_pixels(pyramids)
    image: Pyramid | None = None
    for pyramid, units in zip(shown, _units(shown), strict=True):
        metadata = _metadata(pyramid)
        if pyramid.label is None:
            image = pyramid
            images += image_layers(pyramid, metadata, channels, several=several)
        else:
            place = _image_of(pyramid, image)
            metadata["image"] = place.display
            metadata["image_place"] = without_secrets(place)
            layer = label_layer(pyramid, metadata)
            labels.append(_with_units(layer, units))
    return images + labels


def _with_pixels(pyramids: Sequence[Pyramid]) -> list[Pyramid]:
    """Give what can be shown; an image without a pixel can not."""
    empty = [
        f"{pyramid.name} has no pixels: its shape is {pyramid.shape}."
        for pyramid in pyramids
        if 0 in pyramid.shape
    ]
    shown = [viewable(pyramid) for pyramid in pyramids if 0 not in pyramid.shape]
    if not shown and pyramids:
        url = pyramids[0].location.display
        action = "Open it once something was written into it."
        raise UnsupportedDataError(empty[0], action=action, url=url)
    warned = [dataclasses.replace(p, warnings=(*p.warnings, *empty)) for p in shown]
    return warned if empty else shown


def _image_of(label: Pyramid, image: Pyramid | None) -> Location:
    """Say where the image of labels is: the one before, else the one that they lie in.

    They are their own where nothing says that they lie in one.
    """
    if image is not None:
        return image.location
    above = label.location.parent
    return above.parent if above.name == "labels" else label.location


def _metadata(pyramid: Pyramid) -> dict[str, Any]:
    """Give what a layer carries to be saved back from: no secrets among it."""
    return {
        "address": pyramid.location.display,
        # The same with the name of a connection, for who writes back.
        "place": without_secrets(pyramid.location),
        "version": pyramid.version,
        "paths": [level.path for level in pyramid.levels],
        "options": dict(pyramid.options),
        "coordinate_system": pyramid.coordinate_system,
        "coordinate_systems": list(pyramid.coordinate_systems),
        "axes": [axis.name for axis in pyramid.axes],
        "attributes": dict(pyramid.attributes or {}),
        "extras": dict(pyramid.extras),
        "warnings": list(pyramid.warnings),
        "lost_levels": list(pyramid.lost_levels),
    }


def _units(pyramids: Sequence[Pyramid]) -> list[dict[str, str]]:
    """Give, for each pyramid, the units of the image that it lies on, by axis.

    One layer without units among others makes napari drop the scale bar's unit,
    and labels are often written without.
    """
    found: dict[str, str] = {}
    result: list[dict[str, str]] = []
    for pyramid in pyramids:
        if pyramid.label is None:
            axes = pyramid.world_axes
            found = {a.name: unit for a in axes if (unit := normalized_unit(a))}
        result.append(found)
    return result


def _with_units(layer: LayerSpec, units: dict[str, str]) -> LayerSpec:
    options = dict(layer.options)
    if "axis_labels" not in options or "units" not in options:
        return layer
    pairs = zip(options["axis_labels"], options["units"], strict=True)
    options["units"] = tuple(
        units.get(name, "pixel") if unit == "pixel" else unit for name, unit in pairs
    )
    return dataclasses.replace(layer, options=options)


@guarded
def read_layers(  # noqa: PLR0913 - one verb, all its choices by name
    address: str | os.PathLike[str] | Location | Any,
    *,
    channels: Sequence[int] | None = None,
    labels: bool | Sequence[str] = True,
    level: int | None = None,
    multiscale: int | str | None = None,
    series: int | str | None = None,
    coordinate_system: str | None = None,
    features: bool = True,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    wells: Sequence[str] | None = None,
    fields: int | str | None = None,
    acquisition: int | str | None = None,
    endpoint: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    anonymous: bool | None = None,
) -> list[LayerData]:
    """Open an OME-Zarr as napari layer data.

    Parameters
    ----------
    address : str, path, Location, or zarr store, group or array
        Anything that names an OME-Zarr: a path, an http(s), s3, gs, az or sftp
        address, a zip file, references, a link of a web viewer; or a store of zarr
        (a session's of icechunk, too), a group or an array of one. What `open` or
        `read` gave is shown as it is; the other choices are then made already.
    channels : sequence of int or None, optional
        Only these channels of each image.
    labels : bool or sequence of str, optional
        The label images of an image: all, none, or those of these paths.
    level : int or None, optional
        Only this resolution level, 0 being the finest.
    multiscale : int, str or None, optional
        Which of several multiscales, by number or name; None is the first.
    series : int, str or None, optional
        Only this image of a series or a scene, by number or path.
    coordinate_system : str or None, optional
        Which of its named coordinate systems (0.6, SpatialData) to show the image
        in; None takes the intrinsic one (0.6), or where its own transforms lead.
    features : bool, optional
        Whether to look for the features of labels in the tables beside them, and to
        read those that take up to 512 MB of memory; and the points, shapes and tracks
        that were saved with the image.
    rows, columns, wells : sequence of str or None, optional
        Of a plate only these rows, columns (by name) and wells (like ``B3``).
    fields : int, str or None, optional
        Which fields of a plate's wells: ``"all"`` where their translations say, else
        on a grid; ``"grid"`` always on a grid; ``"each"`` one at a time, with an axis
        to step through; a number or a path for that one alone. None is all, or each
        where there are thousands.
    acquisition : int, str or None, optional
        Which acquisition of a plate, by id or name; None steps through several.
    endpoint, region, profile : str or None, optional
        Where and how to sign in to an ``s3://`` address; None leaves it to the
        address and the environment.
    anonymous : bool or None, optional
        True never signs in, False never tries without; None finds out.

    Returns
    -------
    list of (data, options, kind)
        One for each channel and label image, then one for each layer of points,
        shapes or tracks that was saved with it. Of the address of a table it is the
        one layer of its places. ``data`` of pixels is a dask array, or a list
        of them, finest first; lazy. Only where the metadata give no contrast, a
        few chunks of the coarsest level are read.

    Raises
    ------
    OMEZarrError
        See ``reading.read``.

    Examples
    --------
    >>> from napari_omezarr import read_layers
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> for data, options, kind in read_layers("cells.ome.zarr"):
    ...     print(kind, options["name"], data[0].shape)
    image Nuclei (8, 64, 64)
    image Membranes (8, 64, 64)
    labels nuclei (8, 64, 64)
    """
    if hasattr(address, "pyramids"):
        layers = layer_data(address.pyramids, channels=channels)
        layers = with_contrast(with_features(layers) if features else layers)
        return [layer.layer_data for layer in layers]
    location = given_place(
        address,
        endpoint=endpoint,
        region=region,
        profile=profile,
        anonymous=anonymous,
    )
    options = ReadOptions(
        labels=labels if isinstance(labels, bool) else _names(labels) or (),
        level=level,
        multiscale=multiscale,
        series=series,
        coordinate_system=coordinate_system,
        rows=_names(rows),
        columns=_names(columns),
        wells=_names(wells),
        fields=fields,
        acquisition=acquisition,
    )
    return _layers(location, options, channels, features=features)


@guarded
def _layers(
    location: Location,
    options: ReadOptions,
    channels: Sequence[int] | None,
    *,
    features: bool,
) -> list[LayerData]:
    try:
        pyramids = read_current(location, options).pyramids
    except (NodeNotFoundError, UnsupportedDataError, MetadataError) as error:
        return table_layers(table_at(location, error))
    layers = layer_data(pyramids, channels=channels)
    layers = with_contrast(with_features(layers) if features else layers)
    found = [layer.layer_data for layer in layers]
    if not features:
        return found
    beside, said = layers_beside(pyramids)
    if said:
        found[0][1]["metadata"]["omezarr"]["warnings"] += said
    return found + beside


def _names(names: Any) -> tuple[str, ...] | None:
    if names is None or isinstance(names, str):
        return (names,) if names else None
    if not isinstance(names, Iterable):
        msg = f"{type(names).__name__} is no list of names."
        raise OptionError(msg, action="Give names of labels, rows, columns or wells.")
    return tuple(map(str, names))
