"""Pictures of plain arrays, from what a script says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_omezarr.errors import OptionError
from napari_omezarr.metadata import Affine

from .colormaps import channel_color
from .described import describe
from .geometry import named_axes
from .picture import Look, Picture
from .source import as_source

ByAxis = Mapping[str, float] | Sequence[float] | None

_ONE = ("FFFFFF",)
_TWO = ("FF00FF", "00FF00")
_MORE = ("00FFFF", "FFFF00", "FF00FF", "FF0000", "00FF00", "0000FF")


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


def image_picture(array: Any, grid: Grid, name: str, channels: Channels) -> Picture:
    """Describe an array as an image.

    Raises
    ------
    OptionError
        Something is given for more, or fewer, axes or channels than there are.
    UnsupportedDataError
        Its type cannot be saved.
    """
    source = as_source(array)
    names = axis_names(array, grid.axes)
    sizes = _along(grid.scale, names, 1.0)
    offsets = _along(grid.translation, names, 0.0)
    units = [(grid.units or {}).get(axis) for axis in names]
    picture = Picture(
        name=name,
        source=source,
        axes=named_axes(names, units, {}),
        affine=Affine.from_translation(offsets) @ Affine.from_scale(sizes),
    )
    axis = picture.channel_axis
    count = 1 if axis is None else source.shape[axis]
    looks = _looks(channels, count, name)
    return Picture(name, source, picture.axes, picture.affine, looks)


def label_picture(array: Any, image: Picture, name: str) -> Picture:
    """Describe an array as the labels of an image, on its grid without channels.

    Raises
    ------
    OptionError
        It has another number of axes.
    """
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
        return list("tczyx"[-ndim:]) if ndim in (2, 3, 5) else _four(array, ndim)
    if len(names) != ndim or len(set(names)) < ndim:
        raise OptionError(f"{', '.join(names)} does not name {ndim} axes.")
    return names


def _four(array: Any, ndim: int) -> list[str]:
    raise OptionError(
        f"An array of shape {tuple(array.shape)} can be many things.",
        action=f'Name its {ndim} axes, like axes="czyx".',
    )


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


def _looks(channels: Channels, count: int, name: str) -> tuple[Look, ...]:
    """Give a look for each channel; colours are napari's where none are given."""
    usual = _ONE if count == 1 else _TWO if count == 2 else _MORE
    names = _each(channels.names, count, "names") or [
        name if count == 1 else f"channel {index}" for index in range(count)
    ]
    colors = _each(channels.colors, count, "colors") or [
        usual[index % len(usual)] for index in range(count)
    ]
    limits = _each(channels.limits, count, "contrast limits") or [None] * count
    return tuple(
        Look(str(label), channel_color(color)[0], _pair(pair), _pair(pair))
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
