"""From arrays, and what a script or xarray says of them, to image specs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.delayed import Delayed

from napari_omezarr.errors import LossError, OptionError
from napari_omezarr.location import Location
from napari_omezarr.metadata import (
    TIMES,
    Affine,
    Axis,
    is_size,
    known_unit,
    usual_colors,
)
from napari_omezarr.pyramid import Pyramid
from napari_omezarr.store import is_zarr

from .from_layers import (
    array_names,
    describe,
    is_array,
    is_layer_data,
    labels_of,
)
from .given import is_coarser, opened, the_image, the_labels
from .image_spec import ChannelDisplay, ImageSpec, named_axes, times_coarser
from .options import make_plain
from .rendering import NAMED, hex_digits
from .source import as_source, no_array, read_from

if TYPE_CHECKING:
    from .source import PixelSource

UNNAMED = "image"

# The coordinates that xarray's arrays carry.

_CLOSE = 1e-3
"""By how much of a pixel a coordinate may lie beside its place."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """What an array says of its axes itself, by axis name; nothing of most arrays."""

    scale: Mapping[str, float] = field(default_factory=dict)
    translation: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def known_coordinates(array: Any, names: Sequence[str]) -> Coordinates:
    """Give the pixel sizes, places and units that an xarray says by its coordinates.

    ``names`` are the axes as they will be called.

    Raises
    ------
    OptionError
        The coordinates of an axis are not even, and OME-Zarr can say no others.
    """
    coords, dims = getattr(array, "coords", None), getattr(array, "dims", ())
    if coords is None or len(dims) != len(names):
        return Coordinates()
    found = Coordinates()
    typed = named_axes(names, [None] * len(names), {})
    for dim, axis in zip(dims, typed, strict=True):
        if dim in coords:
            found = _with_axis(found, axis, coords[dim])
    left = [key for key in coords if key not in dims]
    if not any(axis.type == "channel" for axis in typed):
        # Of one channel alone, as ``array.sel(c="DAPI")`` leaves it.
        for key in [key for key in left if _is_channel(str(key), coords[key])]:
            left.remove(key)
            found = replace(found, channels=(str(coords[key].item()),))
    beside = ", ".join(map(str, left))
    notes = (f"The coordinates {beside} are not kept.",) if beside else ()
    return replace(found, notes=(*found.notes, *notes))


def _is_channel(name: str, coordinate: Any) -> bool:
    (axis,) = named_axes([name], [None], {})
    return axis.type == "channel" and coordinate.ndim == 0


def _with_axis(found: Coordinates, axis: Axis, coordinate: Any) -> Coordinates:
    values, name = np.asarray(coordinate.values), axis.name
    if axis.type == "channel":
        return replace(found, channels=tuple(str(value) for value in values))
    if values.dtype.kind not in "iufmM":
        note = f"The names along {name} are not kept."
        return replace(found, notes=(*found.notes, note))
    unit = coordinate.attrs.get("units") or coordinate.attrs.get("unit")
    notes = found.notes
    if values.dtype.kind in "mM":
        if values.dtype.kind == "M":
            notes = (*notes, f"{name} begins at {values[0]}, which is not kept.")
            values = values - values[0]
        values, unit = values / np.timedelta64(1, "s"), "second"
    first, step = _even(values.astype(float), name)
    if step is None and isinstance(known := coordinate.attrs.get("step"), int | float):
        step = float(known)  # as `OMEImage.to_xarray` says it
    return replace(
        found,
        scale=found.scale if step is None else {**found.scale, name: step},
        translation={**found.translation, name: first},
        units={**found.units, name: str(unit)} if unit else found.units,
        notes=notes,
    )


def _even(values: np.ndarray, name: str) -> tuple[float, float | None]:
    """Give the first of evenly spaced numbers, and the step where there are several."""
    first = float(values[0])
    if len(values) == 1:
        return first, None
    step = float(values[-1] - first) / (len(values) - 1)
    off = np.abs(values - (first + step * np.arange(len(values))))
    # Numbers that were stored in 32 bits are even as far as those go.
    rounding = 4 * float(np.finfo(np.float32).eps * np.abs(values).max())
    close = max(_CLOSE * abs(step), min(rounding, abs(step) / 4))
    if not np.isfinite(off).all() or step == 0 or (off > close).any():
        raise OptionError(
            f"The coordinates of {name} are not evenly spaced.",
            action=f"Resample the image, or drop them: array.drop_vars({name!r}).",
        )
    return first, step


def _name_of(array: Any) -> str:
    """Give the name that an xarray has."""
    name = getattr(array, "name", None) if hasattr(array, "dims") else None
    return str(name) if name else ""


# Plain arrays, and what a script says of them.

ByAxis = Mapping[str, float] | Sequence[float] | float | None
"""By name, for all axes in order, or one number for all axes of space."""
UnitsByAxis = Mapping[str, str] | Sequence[str | None] | str | None


@dataclass(frozen=True, slots=True)
class Grid:
    """Where an array lies; what is None is taken from the array, if it says it.

    ``axes`` names each axis; ``scale`` and ``translation`` are in ``units``.
    """

    axes: Sequence[str] | None = None
    scale: ByAxis = None
    translation: ByAxis = None
    units: UnitsByAxis = None

    def __post_init__(self) -> None:
        make_plain(self)


@dataclass(frozen=True, slots=True)
class Channels:
    """What is known of the channels; each is one per channel, or None."""

    names: Sequence[str] | str | None = None
    colors: Sequence[str] | str | None = None
    limits: Sequence[tuple[float, float]] | tuple[float, float] | None = None


def describe_array(
    array: Any,
    grid: Grid,
    name: str | None,
    channels: Channels,
    unnamed: str = UNNAMED,
) -> ImageSpec:
    """Describe an array as an image, or a layer, a pyramid or a reading of one.

    It is called `name`, or as it calls itself, or else `unnamed`.
    """
    with read_from(array):
        array = one_of(array)
        known = _known(array)
        source = known.source if known else as_source(_finest_of(array))
        names = _axis_names(array, known, source, grid.axes)
        said = known_coordinates(array, names) if known is None else Coordinates()
    axes = _axes(names, known, grid, said)
    affine = _affine(axes, known, grid, said)
    name = str(name or (known.name if known else _name_of(array)) or unnamed)
    spec = replace(
        known or ImageSpec(name, source, axes, affine), axes=axes, affine=affine
    )
    notes = (*spec.notes, *said.notes)
    spec = replace(spec, name=name, notes=notes)
    axis = spec.channel_axis
    count = 1 if axis is None else source.shape[axis]
    if spec.displays and channels == Channels():
        return spec
    if channels.names is None and len(said.channels) == count:
        channels = replace(channels, names=said.channels)
    return replace(spec, displays=channel_displays(channels, count, name))


def one_of(given: Any, *, labels: bool = False) -> Any:
    """Give the one layer, pyramid or array, or the levels, that something stands for.

    Of an image with its labels that is the image, or (``labels``) the labels.
    """
    if isinstance(given, str | bytes | PurePath | Location):
        raise OptionError(
            f"{given!r} is no array.",
            action="Open it, with read_layers(…), and save that with write_layers.",
        )
    if isinstance(given, Delayed):  # which seems to have whatever one asks for
        raise no_array(given)
    found = opened(given)
    if hasattr(found, "pyramids"):
        return (the_labels if labels else the_image)(found.pyramids)
    if isinstance(found, list) and found and all(map(_is_image, found)):
        if len(found) > 1:
            raise OptionError(
                f"These are {len(found)} layers, and one is needed.",
                action="Use write_layers, or give one of them.",
            )
        return one_of(found[0], labels=labels)
    return found


def source_of(given: Any) -> PixelSource:
    """Give the pixels of an array, or of whatever has them: a layer, a group.

    Of several levels they are those of the finest; a LossError if that is lost.
    """
    found = one_of(given)
    if _is_layer(found):
        spec = describe(found)
        if spec.lost:
            raise LossError(
                spec.lost, action="Mend it first, or give the pixels of a level."
            )
        return spec.source
    with read_from(found):
        return as_source(_finest_of(found))


def displays_of(given: Any) -> tuple[ChannelDisplay, ...]:
    """Say how the channels of an image are shown; of pixels alone nobody knows."""
    found = one_of(given)
    return describe(found).displays if _is_layer(found) else ()


def _known(array: Any) -> ImageSpec | None:
    """Describe what is more than an array: one image with its metadata."""
    if not _is_layer(array):
        return None
    spec = describe(array)
    if spec.label is not None:
        raise OptionError(
            f"{spec.name} are labels, and this saves an image.",
            action="Use write_layers, or add_labels.",
        )
    return spec


def _is_image(given: Any) -> bool:
    """Whether something stands for an image, and not for pixels alone."""
    in_store = is_zarr(given) and not is_array(given)
    return in_store or hasattr(given, "pyramids") or _is_layer(given)


def _is_layer(array: Any) -> bool:
    of_napari = is_layer_data(array) or hasattr(array, "as_layer_data_tuple")
    return of_napari or isinstance(array, Pyramid | ImageSpec)


def _finest_of(array: Any) -> Any:
    """Give the finest of several levels, which are arrays of falling size."""
    return array[0] if is_levels(array) else array


def is_levels(array: Any) -> bool:
    """Whether something is a list of arrays that are levels of one image."""
    if isinstance(array, list | tuple) and len(array) > 1 and all(map(is_array, array)):
        return all(is_coarser(*pair) for pair in itertools.pairwise(array))
    return False


def describe_labels(
    given: Any, image: ImageSpec, name: str, features: Any = None
) -> ImageSpec:
    """Describe pixels as the labels of an image, on its grid without channels.

    What more is known of them (colours, features) is kept.
    """
    array = one_of(given, labels=True)
    known = describe(array) if _is_layer(array) else None
    source = known.source if known else as_source(_finest_of(array))
    kept = [i for i in range(len(image.axes)) if i != image.channel_axis]
    while len(kept) > len(source.shape) and image.shape[kept[0]] == 1:
        del kept[0]
    affine = image.affine
    for axis in reversed(range(len(image.axes))):
        affine = affine if axis in kept else affine.without(axis)
    if len(kept) != len(source.shape):
        raise OptionError(
            f"The labels {name} have {len(source.shape)} axes, and {len(kept)} are "
            "needed: those of the image without its channels."
        )
    factors = times_coarser(source.shape, [image.shape[i] for i in kept])
    affine = affine.coarser(factors) if factors else affine
    options = {
        "name": name,
        "axis_labels": [image.axes[i].name for i in kept],
        "units": [image.axes[i].unit or "pixel" for i in kept],
        "scale": affine.scale,
        "translate": affine.translation,
        "features": features,
    }
    spec = labels_of(source, options)
    if known is not None and known.label is not None and features is None:
        spec = replace(spec, label=known.label, coarser=known.coarser)
    return replace(spec, axes=tuple(image.axes[i] for i in kept))


def named_labels(given: Any) -> Mapping[str, Any]:
    """Give labels by name, as they were given or as they call themselves."""
    if isinstance(given, Mapping):
        return given
    found = opened(given)
    labels = [each for each in getattr(found, "pyramids", ()) if each.label is not None]
    return {each.name: each for each in labels} or {"labels": found}


def labels_with(given: Any, image: ImageSpec, *, moved: bool) -> list[ImageSpec]:
    """Describe the labels that an image brings; where it was ``moved``, they follow."""
    labels = [each for each in getattr(given, "pyramids", ()) if each.label is not None]
    if moved:
        return [describe_labels(each, image, each.name) for each in labels]
    return [describe(each) for each in labels]


def _axis_names(
    array: Any,
    known: ImageSpec | None,
    source: PixelSource,
    axes: Sequence[str] | None,
) -> list[str]:
    """Name each axis: as given, as xarray does, or as the last of ``tczyx``."""
    ndim = len(source.shape)
    given: Any = axes
    if axes is None:
        given = array_names(_finest_of(array)) or None
    if known is not None and axes is None:
        given = [axis.name for axis in known.axes]
    if given is not None and (
        not isinstance(given, Iterable) or isinstance(given, Set)
    ):
        raise OptionError(f"{given!r} does not name {ndim} axes.")
    names = [str(name) for name in given or ()]
    if not names:
        if ndim < 2:
            raise OptionError(
                f"An array of shape {source.shape} is no image.",
                action="Give it two axes or more.",
            )
        if ndim not in (2, 3, 5):
            like = ', like axes="czyx"' if ndim == 4 else ""
            raise OptionError(
                f"An array of shape {source.shape} can be many things.",
                action=f"Name its {ndim} axes{like}.",
            )
        return list("tczyx"[-ndim:])
    if len(names) != ndim or len(set(names)) < ndim:
        raise OptionError(f"{', '.join(names)} does not name {ndim} axes.")
    return names


def _axes(
    names: Sequence[str], known: ImageSpec | None, grid: Grid, said: Coordinates
) -> tuple[Axis, ...]:
    before = {axis.name: axis for axis in known.axes} if known else {}
    usual = {name: axis.unit for name, axis in before.items()} | dict(said.units)
    typed = named_axes(names, [usual.get(name) for name in names], before)
    if grid.units is None:
        return typed
    return named_axes(names, units_by_axis(grid.units, typed, usual), before)


def _affine(
    axes: Sequence[Axis], known: ImageSpec | None, grid: Grid, said: Coordinates
) -> Affine:
    if known is not None and grid.scale is None and grid.translation is None:
        return known.affine
    scale, translation = dict(said.scale), dict(said.translation)
    if known is not None:
        names = [axis.name for axis in axes]
        scale = dict(zip(names, known.affine.scale, strict=True))
        translation = dict(zip(names, known.affine.translation, strict=True))
    sizes = along("scale", grid.scale, axes, scale, 1.0)
    offsets = along("translation", grid.translation, axes, translation, 0.0)
    return Affine.from_diagonal(sizes, offsets)


def units_by_axis(
    units: Any,
    axes: Sequence[Axis],
    usual: Mapping[str, str | None],
) -> list[str | None]:
    """Give the unit of each axis: by name, for all in order, or one for space."""
    names = [axis.name for axis in axes]
    if isinstance(units, str):
        if known_unit(units) in TIMES:
            raise OptionError(
                f"{units} is no unit of length.",
                action="Say it of the axis of time, like t=second.",
            )
        space = [axis.type == "space" for axis in axes]
        pairs = zip(space, names, strict=True)
        return [units if is_space else usual.get(name) for is_space, name in pairs]
    if isinstance(units, Mapping):
        _only_axes(units, names)
        return [units.get(name, usual.get(name)) for name in names]
    several = list(units) if isinstance(units, Iterable) else [units]
    if len(several) != len(names):
        raise OptionError(f"{len(several)} units do not fit {len(names)} axes.")
    return several


def along(
    what: str,
    values: Any,
    axes: Sequence[Axis],
    usual: Mapping[str, float],
    default: float,
) -> list[float]:
    """Give a number for each axis: by name, for all in order, or one for space.

    Those of a scale are sizes of pixels; what is mirrored already may stay so.
    """
    names = [axis.name for axis in axes]
    given: dict[str, Any]
    if isinstance(values, Mapping):
        _only_axes(values, names)
        given = dict(values)
    elif values is None:
        given = {}
    elif isinstance(values, str) or np.ndim(values) == 0:
        given = {a.name: values for a in axes if a.type == "space"}
    elif len(values) != len(names):
        raise OptionError(f"{len(values)} numbers do not fit {len(names)} axes.")
    else:
        given = dict(zip(names, values, strict=True))
    numbers = {n: finite_number(v, f"number for a {what}") for n, v in given.items()}
    for name, number in numbers.items() if what == "scale" else ():
        if number < 0 or not is_size(number):
            sentence = f"{number:g} is no size of a pixel along {name}."
            raise OptionError(sentence, action="Give a size above 0.")
    return [numbers.get(name, usual.get(name, default)) for name in names]


def _only_axes(values: Mapping[str, Any], names: Sequence[str]) -> None:
    if unknown := sorted(map(str, set(values) - set(names))):
        raise OptionError(f"There is no axis {unknown[0]}.")


def finite_number(value: Any, what: str) -> float:
    """Give a number; raises `OptionError`, which says what it was to be."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise OptionError(f"{value!r} is no {what}.")
    return number


def channel_displays(
    channels: Channels, count: int, name: str
) -> tuple[ChannelDisplay, ...]:
    """Say how each channel is shown; colours are napari's where none are given."""
    usual = usual_colors(count)
    ranges: Any = channels.limits
    if ranges is not None and np.shape(np.asarray(ranges, object)) == (2,):
        ranges = [_pair(ranges)] * count  # one pair for all
    names = _each(channels.names, count, "names") or [
        name if count == 1 else f"channel {index}" for index in range(count)
    ]
    colors = _each(channels.colors, count, "colors") or [
        usual[index % len(usual)] for index in range(count)
    ]
    limits = _each(ranges, count, "contrast limits") or [None] * count
    return tuple(
        ChannelDisplay(str(label), _color(color), _pair(pair))
        for label, color, pair in zip(names, colors, limits, strict=True)
    )


def _pair(limits: Any) -> tuple[float, float] | None:
    if limits is None:
        return None
    pair = tuple(np.ravel(np.asarray(limits, object)))
    if len(pair) != 2:
        raise OptionError(
            f"{limits!r} are no contrast limits.",
            action="Give two numbers for each channel, like [(0, 4095)].",
        )
    what = "number for a contrast limit"
    return finite_number(pair[0], what), finite_number(pair[1], what)


def _color(color: Any) -> str:
    digits: str | None = None
    if isinstance(color, str):
        digits = NAMED.get(color) or hex_digits(color)
    elif isinstance(color, Iterable) and len(parts := list(color)) in (3, 4):
        parts = [finite_number(part, "number for a colour") for part in parts]
        whole = 255 if max(parts) <= 1 else 1
        digits = "".join(f"{round(part * whole) & 255:02X}" for part in parts[:3])
    if digits is None:
        raise OptionError(
            f"{color!r} is no colour.", action='Give six hex digits, like "00FF00".'
        )
    return digits


def _each(values: Any, count: int, what: str) -> list[Any] | None:
    if values is None:
        return None
    several = [values] if isinstance(values, str) or np.ndim(values) == 0 else values
    if len(several) != count:
        raise OptionError(f"{len(several)} {what} do not fit {count} channels.")
    return list(several)
