"""What is to be saved, as values: where it lies, and which layers make one image."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.metadata import TIMES, Affine, Axis, known_unit
from napari_omezarr.plain_text import by_times

from .source import Transposed, stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_omezarr.tables import FeatureSource, Table

    from .carrying import Beside
    from .source import PixelSource

_TYPES = {
    "t": "time",
    "time": "time",
    "frame": "time",
    "c": "channel",
    "ch": "channel",
    "channel": "channel",
    "z": "space",
    "y": "space",
    "x": "space",
}
_MOST_SPACE = 3
_ORDER = {"time": 0, "space": 2}


@dataclass(frozen=True, slots=True)
class ChannelDisplay:
    """How one channel is shown.

    ``name`` is the layer's, and becomes the channel's label; ``color`` is six
    upper-case hex digits, for the highest intensity (the lowest if ``inverted``);
    ``limits`` are those of contrast, ``span`` the range that they are offered in (None:
    pixels decide once they are written). ``state`` is what only napari knows
    (gamma, blending, custom colormap) as JSON values, ``original`` the channel's entry
    in the image that it came from.
    """

    name: str
    color: str = "FFFFFF"
    limits: tuple[float, float] | None = None
    span: tuple[float, float] | None = None
    visible: bool = True
    inverted: bool = False
    state: Mapping[str, Any] = field(default_factory=dict)
    original: Mapping[str, Any] = field(default_factory=dict)


def original_span(channel: Mapping[str, Any]) -> tuple[float, float] | None:
    """Give the range of the contrast slider that a channel's entry says."""
    try:
        return finite_pair((channel["window"]["min"], channel["window"]["max"]))
    except (KeyError, TypeError, ValueError):
        return None


def whole_range(
    dtype: np.dtype[Any], limits: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Give the range of a small type of whole numbers, for any other the limits."""
    if dtype.kind not in "iu" or dtype.itemsize > 2:
        return limits
    information = np.iinfo(dtype)
    return float(information.min), float(information.max)


def finite_pair(value: Any) -> tuple[float, float] | None:
    """Give two finite numbers in rising order; None where there are none."""
    if value is None or len(value) != 2:
        return None
    low, high = float(value[0]), float(value[1])
    return (low, high) if math.isfinite(high - low) and low < high else None


@dataclass(frozen=True, slots=True)
class LabelDisplay:
    """How label values are shown, and what is known of each.

    ``colors`` gives RGBA (0-255) and ``properties`` JSON values, by label value;
    ``state`` is as in `ChannelDisplay`. More than a few properties are a ``table``,
    which may still have to be read.
    """

    colors: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)
    properties: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    visible: bool = True
    state: Mapping[str, Any] = field(default_factory=dict)
    table: Table | FeatureSource | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """The OME-Zarr image that a layer was read from.

    ``address`` is its group, without secrets, ``channel`` which one the layer is;
    ``place`` is the address with the name of a connection, if it has one;
    ``attributes`` are the group's metadata, ``extras`` those that are none of
    OME-Zarr's, ``axes`` are by name, and ``name`` (may be empty) is the multiscale's.
    ``keeps_name``: nobody has called the layer otherwise since. ``lost_levels`` are its
    finer levels that could not be had, ``arrays`` are the attributes of its arrays, by
    their shapes.
    """

    address: str
    channel: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Axis] = field(default_factory=dict)
    name: str = ""
    place: str = ""
    keeps_name: bool = False
    lost_levels: tuple[str, ...] = ()
    arrays: Mapping[tuple[int, ...], Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolution:
    """A coarser resolution that a source has itself, with all of its axes.

    ``place`` leads from an index of it to one of the finest; None: its pixels lie in
    the middle of the finer ones that each stands for.
    """

    source: PixelSource
    place: Affine | None = None


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """An image, or a label image if ``label`` is not None, to be saved.

    ``axes`` are all those of ``source``, in order, with unique names, and ``affine``
    leads from an index of it to the world, N x (N+1). There is a display for each index
    of the channel axis, one where there is none, and none for labels. Where nobody
    named the axes (``axes_assumed``), labels take the names of their image's.
    ``shown_at`` says which index is shown, for each axis of which that is known.
    ``coarser`` are the resolutions that are there already, the finest of them first.
    ``losses`` is what cannot be kept, ``notes`` what is worth knowing, a sentence each.
    What lies ``beside`` it goes with it as it is stored.
    """

    name: str
    source: PixelSource
    axes: tuple[Axis, ...]
    affine: Affine
    displays: tuple[ChannelDisplay, ...] = ()
    label: LabelDisplay | None = None
    rgb: bool = False
    origin: Origin | None = None
    axes_assumed: bool = False
    shown_at: tuple[int | None, ...] = ()
    coarser: tuple[Resolution, ...] = ()
    losses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    beside: tuple[Beside, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return self.source.shape

    @property
    def channel_axis(self) -> int | None:
        """The position of the channel axis."""
        types = [axis.type for axis in self.axes]
        return types.index("channel") if "channel" in types else None

    @property
    def lost(self) -> str:
        """Says that its finest level is lost, of which it came; empty if none is."""
        if self.origin is None or not self.origin.lost_levels:
            return ""
        finer = ", ".join(self.origin.lost_levels)
        return f"{self.name} is coarser than it was: level {finer} is lost."

    @property
    def planes(self) -> dict[str, int]:
        """How many planes there are along time (``t``) and depth (``z``)."""
        types = [axis.type for axis in self.axes]
        found = {}
        if "time" in types:
            found["t"] = self.shape[types.index("time")]
        if types.count("space") > 2:
            found["z"] = self.shape[types.index("space")]
        return found

    @property
    def position(self) -> dict[str, int]:
        """Which plane is shown along ``t`` and ``z``, as far as that is known."""
        types = [axis.type for axis in self.axes]
        firsts = {"t": "time", "z": "space"}
        known = {
            name: self.shown_at[types.index(firsts[name])]
            for name in self.planes
            if self.shown_at
        }
        return {name: index for name, index in known.items() if index is not None}


def named_axes(
    names: Sequence[str], units: Sequence[str | None], known: Mapping[str, Axis]
) -> tuple[Axis, ...]:
    """Make axes of the labels and units of a layer.

    napari's placeholders (``-1``, ``-2``) become the last of t, c, z, y, x; ``pixel``
    is no unit; the axes of the image that the layer came from (``known``) know types.
    Where fewer than two are of space, the last two or three without a type are.
    """
    proper = _proper_names([str(name) for name in names])
    types = [_type(name, unit, known) for name, unit in zip(proper, units, strict=True)]
    taken = zip(proper, _with_space(types), units, strict=True)
    return tuple(Axis(name, type_, unit_name(unit)) for name, type_, unit in taken)


def _with_space(types: list[str | None]) -> list[str | None]:
    """Take the last axes of no type for space, up to three, where space is missing."""
    found = list(types)
    for axis in reversed(range(len(found)) if found.count("space") < 2 else ()):
        if found[axis] is None and found.count("space") < _MOST_SPACE:
            found[axis] = "space"
    return found


def spec_order(axes: Sequence[Axis]) -> tuple[int, ...]:
    """Give the order that OME-Zarr wants: time, channel or custom, space (0.4)."""
    return tuple(
        sorted(range(len(axes)), key=lambda i: _ORDER.get(axes[i].type or "", 1))
    )


def permuted(affine: Affine, order: Sequence[int]) -> Affine:
    """Give the map of an image whose axes, and whose world's, are in a new order."""
    matrix = affine.matrix
    columns = [*order, matrix.shape[1] - 1]
    return Affine.from_matrix(matrix[list(order)][:, columns])


def extended(affine: Affine, position: int) -> Affine:
    """Give the map of an image with one more axis, which lies on its own."""
    matrix = np.insert(affine.matrix, position, 0.0, axis=1)
    matrix = np.insert(matrix, position, 0.0, axis=0)
    matrix[position, position] = 1.0
    return Affine.from_matrix(matrix)


def are_placeholders(names: Sequence[str]) -> bool:
    """Whether axis labels are what napari puts where nobody named the axes."""
    return list(names) == [str(index - len(names)) for index in range(len(names))]


def _proper_names(names: list[str]) -> list[str]:
    ndim = len(names)
    if are_placeholders(names):
        known = "tzyx" if ndim <= 4 else "tczyx"
        spare = [f"dim_{index}" for index in range(ndim - 5)]
        return [*spare, *known[-ndim:]]
    taken: list[str] = []
    for index, name in enumerate(names):
        free = name and name not in taken
        taken.append(name if free else f"dim_{index}")
    return taken


def _type(name: str, unit: str | None, known: Mapping[str, Axis]) -> str | None:
    if name in known and known[name].type:
        return known[name].type
    if name.lower() in _TYPES:
        return _TYPES[name.lower()]
    found = known_unit(unit)
    if found is None:
        return None
    return "time" if found in TIMES else "space"


def unit_name(unit: str | None) -> str | None:
    """Spell a unit as OME-Zarr does; None where it is none (napari's ``pixel``)."""
    text = None if unit is None else str(unit)
    if text in (None, "", "pixel", "dimensionless"):
        return None
    return known_unit(text) or text


# Which layers make one image, and which image labels belong to.


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """One image with its labels; or labels alone, which are then ``image``.

    ``reason`` says why it does not share an image, or belong to one.
    """

    image: ImageSpec
    labels: tuple[ImageSpec, ...] = ()
    reason: str = ""


def group(specs: Sequence[ImageSpec], *, merge: bool = True) -> tuple[ImageGroup, ...]:
    """Put layers together as OME-Zarr wants them.

    Images on one grid become the channels of one image, in their order. Labels
    join the image that they were read with, else the first whose grid they have. Where
    nothing is merged, they stay with their image even if they do not fit it.
    """
    images: list[list[ImageSpec]] = []
    reasons: list[str] = []
    for spec in (p for p in specs if p.label is None):
        home, reason = _home(spec, images, merge=merge)
        if home is None:
            images.append([spec])
            reasons.append(reason)
        else:
            home.append(spec)
    groups = [
        ImageGroup(ordered(merged(members)), reason=reason)
        for members, reason in zip(images, reasons, strict=True)
    ]
    for spec in (p for p in specs if p.label is not None):
        _attach(ordered(spec), groups, stays=not merge)
    return tuple(groups)


def merged(specs: Sequence[ImageSpec]) -> ImageSpec:
    """Make one image of several on the same grid, along a new channel axis."""
    first = specs[0]
    if len(specs) == 1:
        return first
    position = sum(axis.type == "time" for axis in first.axes)
    axes = list(first.axes)
    axes.insert(position, Axis("c", "channel"))
    origin, shown_at = _common_origin(specs), first.shown_at
    return dataclasses.replace(
        first,
        name=origin.name if origin else "",
        source=stack([spec.source for spec in specs], position),
        axes=tuple(axes),
        affine=extended(first.affine, position),
        shown_at=shown_at and (*shown_at[:position], None, *shown_at[position:]),
        coarser=_stacked(specs, position),
        displays=tuple(display for spec in specs for display in spec.displays),
        origin=origin,
        losses=_once(loss for spec in specs for loss in spec.losses),
        notes=_once(note for spec in specs for note in spec.notes),
        beside=tuple(each for spec in specs for each in spec.beside),
    )


def _stacked(specs: Sequence[ImageSpec], position: int) -> tuple[Resolution, ...]:
    """Join the resolutions that images have in common."""
    found = []
    for each in zip(*(spec.coarser for spec in specs), strict=False):
        if len({level.source.shape for level in each}) > 1:
            break
        place = each[0].place
        joined = stack([level.source for level in each], position)
        found.append(Resolution(joined, place and extended(place, position)))
    return tuple(found)


def ordered(spec: ImageSpec) -> ImageSpec:
    """Put the axes in the order of OME-Zarr: time, channel, space; say so."""
    order = spec_order(spec.axes)
    if list(order) == list(range(len(order))):
        return spec
    axes = tuple(spec.axes[index] for index in order)
    names = ", ".join(axis.name for axis in axes)
    note = f"The axes of {spec.name} are saved in the order {names}."
    return dataclasses.replace(
        spec,
        source=Transposed(spec.source, order),
        axes=axes,
        affine=permuted(spec.affine, order),
        shown_at=tuple(spec.shown_at[i] for i in order) if spec.shown_at else (),
        coarser=tuple(
            Resolution(
                Transposed(level.source, order),
                level.place and permuted(level.place, order),
            )
            for level in spec.coarser
        ),
        notes=spec.notes if spec.rgb else (*spec.notes, note),
    )


def adopted(label: ImageSpec, image: ImageSpec) -> ImageSpec:
    """Give labels whose axes nobody named those of an image, from the last one on."""
    named = [axis for axis in image.axes if axis.type != "channel"]
    count = len(label.axes)
    if not label.axes_assumed or count > len(named):
        return label
    return dataclasses.replace(label, axes=tuple(named[len(named) - count :]))


def same_grid(label: ImageSpec, image: ImageSpec) -> str:
    """Say why labels do not lie on the grid of an image; empty where they do.

    Their axes must be among the image's, each of its size or 1 (0.5, "labels"); or they
    cover it in pixels that are some times as long, as those made of a coarser level.
    """
    names = [axis.name for axis in image.axes]
    positions = [names.index(a.name) for a in label.axes if a.name in names]
    if len(positions) != len(label.axes):
        return f"{label.name} has axes that {image.name} has not"
    wanted = [image.shape[position] for position in positions]
    columns = [*positions, len(names)]
    there = image.affine.matrix[positions][:, columns]
    if _covers(label, wanted, Affine.from_matrix(there)):
        return ""
    pairs = zip(label.shape, wanted, strict=True)
    if any(size not in (1, full) for size, full in pairs):
        return f"{label.name} is {by_times(label.shape)} and not {by_times(wanted)}"
    if not np.allclose(there, label.affine.matrix, rtol=1e-6, atol=1e-9):
        return f"{label.name} lies elsewhere, or has other pixel sizes"
    return ""


def times_coarser(shape: Sequence[int], full: Sequence[int]) -> tuple[int, ...] | None:
    """Give by how much a level is coarser, along each axis; None if it is no level."""
    factors = []
    for size, whole in zip(shape, full, strict=True):
        by = max(1, round(whole / size))
        if size not in (1, whole // by, -(-whole // by)):
            return None
        factors.append(1 if size == 1 else by)
    return tuple(factors)


def _covers(label: ImageSpec, wanted: Sequence[int], there: Affine) -> bool:
    """Whether labels lie over all of an image in pixels some times as long.

    Programs differ in whether the first pixel of a coarser level is said to lie at the
    middle or at the beginning of the finer ones that it stands for: both will do.
    """
    factors = times_coarser(label.shape, wanted)
    if factors is None or max(factors) == 1:
        return False
    ndim = len(factors)
    coarse = there.coarser(factors).matrix
    off = np.abs(label.affine.matrix - coarse)
    pixel = np.abs(coarse[:, :ndim]).sum(axis=1)
    linear = off[:, :ndim] <= 0.01 * pixel[:, None]
    return bool(linear.all() and (off[:, ndim] <= 0.51 * pixel).all())


def _home(
    spec: ImageSpec, images: Iterable[list[ImageSpec]], *, merge: bool
) -> tuple[list[ImageSpec] | None, str]:
    reason = ""
    for members in images if merge else ():
        difference = _difference(spec, members[0])
        if not difference:
            return members, ""
        reason = reason or difference
    return None, reason


def _difference(one: ImageSpec, other: ImageSpec) -> str:
    """Say why two images cannot be channels of one; empty where they can."""
    if "channel" in [axis.type for axis in (*one.axes, *other.axes)]:
        return "it has channels of its own"
    if one.shape != other.shape:
        return f"it is {by_times(one.shape)} and not {by_times(other.shape)}"
    if one.source.dtype != other.source.dtype:
        return f"it holds {one.source.dtype} and not {other.source.dtype}"
    if one.axes != other.axes:
        return "its axes have other names or units"
    if not np.allclose(one.affine.matrix, other.affine.matrix, rtol=1e-9, atol=1e-12):
        return "it lies elsewhere, or has other pixel sizes"
    return ""


def _attach(label: ImageSpec, groups: list[ImageGroup], *, stays: bool) -> None:
    candidates = [
        (index, owner) for index, owner in enumerate(groups) if owner.image.displays
    ]
    # The image that the labels were read with goes before others on its grid.
    candidates.sort(key=lambda pair: not _read_with(label, pair[1].image))
    reason = ""
    for index, owner in candidates:
        fitted = adopted(label, owner.image)
        difference = same_grid(fitted, owner.image)
        if not difference or (stays and _read_with(label, owner.image)):
            labels = (*owner.labels, fitted)
            groups[index] = dataclasses.replace(owner, labels=labels)
            return
        reason = reason or difference
    groups.append(ImageGroup(label, reason=reason))


def _read_with(label: ImageSpec, image: ImageSpec) -> bool:
    if label.origin is None or image.origin is None or not image.origin.address:
        return False
    return label.origin.address.startswith(f"{image.origin.address.rstrip('/')}/")


def _common_origin(specs: Sequence[ImageSpec]) -> Origin | None:
    """Give the image that all come from, if there is one."""
    addresses = {p.origin.address if p.origin else "" for p in specs}
    return specs[0].origin if len(addresses) == 1 else None


def _once(sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentences))
