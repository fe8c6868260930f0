"""A part of an image, said by the names of axes: which pixels of which level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_omezarr.errors import OptionError
from napari_omezarr.region import as_placed, corners, covering
from napari_omezarr.writing import finite_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_omezarr.metadata import Affine
    from napari_omezarr.pyramid import Bounds, Pyramid

Unit = Literal["world", "pixel"]
Box = Mapping[str, Any] | Sequence[tuple[float, float] | None]
"""Ranges by the name of an axis, or for the last axes in order."""


@dataclass(frozen=True, slots=True)
class Part:
    """A box in the world, and what becomes of the axes.

    Attributes
    ----------
    points : numpy.ndarray
        Its corners, K x M.
    axes : tuple of str
        The names of those M axes of the world.
    named : frozenset of str
        The axes that somebody spoke of; along the others all is taken.
    dropped : frozenset of str
        The axes along which one place was named, and that vanish.
    channel : str or None
        The name of the axis of channels; it has no place in the world.
    channels : tuple of (int, int) or None
        Which of them; None is all.
    """

    points: NDArray[np.float64]
    axes: tuple[str, ...]
    named: frozenset[str]
    dropped: frozenset[str]
    channel: str | None = None
    channels: tuple[int, int] | None = None

    def bounds(self, image: Pyramid) -> tuple[Bounds, ...]:
        """Give the box of each level of an image that has these axes, or some.

        Raises
        ------
        OptionError
            They lie outside of it.
        """
        names = [axis.name for axis in image.world_axes]
        if not set(names) <= set(self.axes):
            raise OptionError(f"{image.name} has other axes.")
        points = self.points[:, [self.axes.index(name) for name in names]]
        boxes = []
        for level in image.levels:
            shape = level.pixels.shape
            box = list(covering(level.affine, shape, points))
            for axis, size in enumerate(shape):
                if not self.named & _fed(level.affine, axis, names):
                    box[axis] = (0, size)
                if self.channels and image.axes[axis].name == self.channel:
                    box[axis] = self.channels
            boxes.append(tuple(box))
        return tuple(boxes)

    def dropped_axes(self, image: Pyramid) -> tuple[int, ...]:
        """Give the axes of the arrays of an image that vanish, the last one first.

        Raises
        ------
        OptionError
            One is turned against the world.
        """
        affine = image.levels[0].affine
        names = [axis.name for axis in image.world_axes]
        found = [
            axis
            for axis in reversed(range(affine.ndim_in))
            if self.dropped & _fed(affine, axis, names)
        ]
        if any(affine.output_of(axis) is None for axis in found):
            raise OptionError(
                f"{image.name} is turned against its axes, and no plane of it is one "
                "of pixels.",
                action="Crop it with ranges.",
            )
        return tuple(found)


def _fed(affine: Affine, axis: int, names: Sequence[str]) -> set[str]:
    """Name the axes of the world along which an axis of the array leads."""
    column = affine.linear[:, axis].tolist()
    return {name for name, factor in zip(names, column, strict=True) if factor}


def part_of(image: Pyramid, box: Box | None, unit: Unit, *, drops: bool) -> Part:
    """Find the part of the world that a person means.

    Parameters
    ----------
    image : Pyramid
        Of this.
    box : Mapping or sequence
        What `OMEImage.crop` takes.
    unit : {"world", "pixel"}
        World units, or pixels of the finest level.
    drops : bool
        Whether a number makes its axis vanish; else it is a range of one pixel.

    Raises
    ------
    OptionError
        There is no such axis or channel, or a range is none.
    """
    if unit not in ("world", "pixel"):
        raise OptionError(f"{unit!r} is no unit.", action='Say "world" or "pixel".')
    world = tuple(axis.name for axis in image.world_axes)
    arrays = tuple(axis.name for axis in image.axes)
    wanted = _by_name(box, world if unit == "world" else arrays)
    affine = image.levels[0].affine
    channel = None if image.channel_axis is None else arrays[image.channel_axis]
    picked = wanted.pop(channel, None) if channel is not None else None
    channels = None if picked is None else _channels(image, picked)
    if unit == "pixel":
        points = corners(affine, _edges(image, wanted))
        fed = {n: _fed(affine, arrays.index(n), world) for n in (*wanted, channel) if n}
    else:
        whole = as_placed(image).box([None] * len(world))
        ends = zip(whole.min(axis=0).tolist(), whole.max(axis=0).tolist(), strict=True)
        ranges = [
            _range(name, wanted.get(name), all_of_it)
            for name, all_of_it in zip(world, ends, strict=True)
        ]
        points = as_placed(image).box(ranges)
        fed = {name: {name} for name in wanted}
        if image.channel_axis is not None and channel is not None:
            fed[channel] = _fed(affine, image.channel_axis, world)
    single = [name for name, value in wanted.items() if _is_number(value)]
    if picked is not None and not isinstance(picked, slice | tuple | list):
        single.append(channel or "")
    return Part(
        points,
        world,
        frozenset(other for name in wanted for other in fed[name]),
        frozenset(other for name in single for other in fed[name] if drops),
        channel,
        channels,
    )


def _by_name(box: Box | None, names: Sequence[str]) -> dict[str, Any]:
    if box is None:
        return {}
    if isinstance(box, Mapping):
        wanted = {str(name): part for name, part in box.items() if part is not None}
    elif not isinstance(box, Sequence):
        raise OptionError(
            f"{box!r} is no box.",
            action="Give ranges by the names of axes, or for the last axes in order.",
        )
    elif len(box) > len(names):
        raise OptionError(f"{len(box)} ranges do not fit the axes {', '.join(names)}.")
    else:
        pairs = zip(names[len(names) - len(box) :], box, strict=True)
        wanted = {name: part for name, part in pairs if part is not None}
    if unknown := sorted(set(wanted) - set(names)):
        raise OptionError(
            f"There is no axis {unknown[0]}.", action=f"There are {', '.join(names)}."
        )
    return wanted


def _is_number(value: Any) -> bool:
    return np.ndim(value) == 0 and not isinstance(value, slice | str)


def _ends(name: str, value: Any) -> tuple[Any, Any]:
    """Give low and high of a range or a number; None where an end is open."""
    if _is_number(value):
        return value, value
    if isinstance(value, slice) and value.step in (None, 1):
        return value.start, value.stop
    if isinstance(value, Sequence) and len(value) == 2 and not isinstance(value, str):
        return value[0], value[1]
    raise OptionError(
        f"{value!r} is no range along {name}.",
        action=f"Say {name}=(low, high), a slice without step, or one number.",
    )


def _range(
    name: str, value: Any, whole: tuple[float, float]
) -> tuple[float, float] | None:
    if value is None:
        return None
    low, high = _ends(name, value)
    return (
        whole[0] if low is None else finite_number(low, f"place along {name}"),
        whole[1] if high is None else finite_number(high, f"place along {name}"),
    )


def _side_by_side(
    what: str, said: list[Any], numbers: Sequence[Any]
) -> tuple[int, int]:
    """Give the range of a list of numbers: these and no others, as in xarray."""
    whole = numbers and all(isinstance(each, Integral) for each in numbers)
    first = int(numbers[0]) if whole else 0
    if not whole or list(numbers) != list(range(first, first + len(numbers))):
        raise OptionError(
            f"The {what} {said!r} do not lie side by side.",
            action="Take them one by one.",
        )
    return first, first + len(numbers)


def _edges(image: Pyramid, wanted: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Give the ends of a box of pixels, from the edge of the first one."""
    edges: list[tuple[float, float]] = []
    for axis, size in zip(image.axes, image.shape, strict=True):
        value = wanted.get(axis.name)
        if _is_number(value) and value is not None:
            index = _index(axis.name, value, size)
            edges.append((index + 0.5, index + 0.5))
            continue
        if isinstance(value, list):
            value = _side_by_side(f"pixels along {axis.name}", value, value)
        ends = (None, None) if value is None else _ends(axis.name, value)
        edges.append(_between(axis.name, ends, size))
    return edges


def _between(name: str, ends: tuple[Any, Any], size: int) -> tuple[int, int]:
    """Give the first number of a range and the one after the last, as slices do."""
    try:
        start, stop, _ = slice(*ends).indices(size)
    except TypeError:
        raise OptionError(
            f"Pixels along {name} are counted, and {ends} are no whole numbers."
        ) from None
    if start >= stop:
        raise OptionError(
            f"Nothing lies in {ends} along {name}.", action=f"It has {size}, from 0."
        )
    return start, stop


def _index(name: str, value: Any, size: int) -> int:
    number = finite_number(value, f"pixel along {name}")
    if int(number) != number or not -size <= number < size:
        raise OptionError(
            f"There is no pixel {value} along {name}.",
            action=f"There are {size}, from 0.",
        )
    return int(number) % size


def _channels(image: Pyramid, value: Any) -> tuple[int, int]:
    """Give the first channel and the one after the last, by names or numbers."""
    names = [channel.name for channel in image.channels]
    count = len(names)

    def number(wanted: Any) -> Any:
        if not isinstance(wanted, str):
            return wanted
        if wanted not in names:
            raise OptionError(
                f"There is no channel {wanted}.",
                action=f"There are {', '.join(filter(None, names))}.",
            )
        return names.index(wanted)

    if isinstance(value, str) or _is_number(value):
        first = _index("the channels", number(value), count)
        return first, first + 1
    if isinstance(value, list):
        value = _side_by_side("channels", value, [number(each) for each in value])
    low, high = _ends("the channels", value)
    # Of names the last one is taken too, as xarray does.
    end = number(high) + 1 if isinstance(high, str) else high
    return _between("the channels", (number(low), end), count)
