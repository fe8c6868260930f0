"""One image as it is opened: what it is, its pixels when asked for, parts of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from html import escape
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_omezarr import region
from napari_omezarr.doors import guarded
from napari_omezarr.errors import MissingPackageError, OptionError, UnknownNameError
from napari_omezarr.layers import feature_columns, source_of_features
from napari_omezarr.location import without_secrets
from napari_omezarr.plain_text import by_times
from napari_omezarr.pyramid import Cropped, FixedAxes, Level, Pyramid, to_dask
from napari_omezarr.region import RegionPart, crop_affine
from napari_omezarr.tables import stored_tables

from .part import Part, part_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da
    import xarray

    from napari_omezarr.location import Location
    from napari_omezarr.metadata import Affine
    from napari_omezarr.pyramid import Bounds, Pixels
    from napari_omezarr.tables import StoredTable

    from .part import Box, Unit

    Facts = Sequence[tuple[str, str]]

T = TypeVar("T")


class Named(dict[str, T]):
    """What belongs to an image, by name; another name is an `UnknownNameError`."""

    def __missing__(self, name: object) -> T:
        raise unknown_name(name, list(self))


def unknown_name(name: object, known: Sequence[str]) -> UnknownNameError:
    """Say that there is nothing of a name, and what there is."""
    return UnknownNameError(
        f"There is nothing called {printable(str(name))}.",
        action=f"There is {named(known)}." if known else "",
    )


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class OMEImage(Pyramid):
    """An image or a label image, as `open` gives it, or a part of one.

    It is a `Pyramid`: ``axes``, ``levels`` (finest first; each with ``shape``,
    ``dtype``, ``chunks``, ``affine``), ``channels``, ``location``, ``warnings`` and
    the rest. Nothing of the pixels is read before they are asked for. It may be used
    from several threads, and sent to other processes.

    Attributes
    ----------
    labels : Mapping of str to OMEImage
        The label images that lie on it, by name.
    is_part : bool
        Whether it was cut out of a larger one, which `location` then names.

    Examples
    --------
    >>> import napari_omezarr
    >>> from napari_omezarr import samples
    >>> cells = samples.write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> image = napari_omezarr.open("cells.ome.zarr")
    >>> image.dims, image.shape, image.scale["z"], image.units["z"]
    (('c', 'z', 'y', 'x'), (2, 8, 64, 64), 0.5, 'micrometer')
    >>> part = image.sel(c="Nuclei", z=(1, 3), x=(0, 6.4))  # micrometers
    >>> part.shape, part.labels["nuclei"].shape
    ((5, 64, 33), (5, 64, 33))
    >>> part.read(level=1).shape
    (5, 32, 17)
    """

    labels: Mapping[str, OMEImage] = field(default_factory=Named)
    is_part: bool = False

    def __repr__(self) -> str:
        known = facts(self, list(self.labels), is_part=self.is_part)
        return as_text(self, known)

    def __hash__(self) -> int:
        # What its documents say are dictionaries, which have no hash.
        return hash((self.location, self.name, self.shape))

    def _repr_html_(self) -> str:
        known = facts(self, list(self.labels), is_part=self.is_part)
        return as_html(self, known)

    def __reduce__(self) -> tuple[Any, ...]:
        refuse_secrets(self.location)
        return OMEImage, tuple(getattr(self, field.name) for field in fields(self))

    # What it is.

    @property
    def kind(self) -> str:
        """``"image"`` or ``"labels"``."""
        return "image" if self.label is None else "labels"

    @property
    def pyramids(self) -> tuple[Pyramid, ...]:
        """The image and its label images, as a `Reading` has them."""
        return (self, *self.labels.values())

    @property
    def dims(self) -> tuple[str, ...]:
        """The names of the axes, in the order of the arrays."""
        return tuple(axis.name for axis in self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type of the finest level."""
        return self.levels[0].dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.axes)

    @property
    def units(self) -> dict[str, str | None]:
        """The unit of each axis of the world by its name, as the document spells it."""
        return {axis.name: axis.unit for axis in self.world_axes}

    @property
    def scale(self) -> dict[str, float]:
        """The size of a pixel of the finest level along each axis, in its unit."""
        return dict(zip(self.dims, self.levels[0].affine.scale, strict=True))

    @property
    def transforms(self) -> tuple[Affine, ...]:
        """For each level the map from an index to the world."""
        return tuple(level.affine for level in self.levels)

    @property
    @guarded
    def tables(self) -> Named[StoredTable]:
        """The tables beside the image, by name; asks for their list, not their values.

        Raises
        ------
        MetadataError, StoreError
            The list cannot be understood, or could not be read.
        """
        return Named({table.name: table for table in stored_tables(self.location)})

    @guarded
    def features(self) -> dict[str, Any]:
        """Read what is known of each label, by column; ``index`` is the label; blocks.

        From the metadata of a label image, or the table that is about it; empty if
        there is none.

        Raises
        ------
        OMEZarrError
            The table cannot be understood, or could not be read.
        """
        source = source_of_features(self, anew=True)
        if source is None:
            return {} if self.label is None else feature_columns(self.label)
        table = source.find()
        return {} if table is None else table.read().features()

    # Its pixels.

    @guarded
    def to_dask(self, level: int = 0) -> da.Array:
        """Give a level as a dask array with all axes; nothing is read.

        Its blocks are the chunks. Of more than 256 chunks they are some that lie
        together, of about 8 MiB, or whole shards; a slice still reads only its chunks.

        Raises
        ------
        OptionError
            There is no such level.
        """
        return to_dask(self._level(level).pixels)

    @guarded
    def to_xarray(self, level: int = 0) -> xarray.DataArray:
        """Give a level as an xarray with a lazy dask array; nothing is read.

        The coordinates are the centres of the pixels in the world, with ``units`` and
        ``step`` among their attributes; along the channels they are the names. An axis
        that is turned against the world has none.

        Raises
        ------
        OptionError
            There is no such level.
        MissingPackageError
            xarray is not installed.
        """
        try:
            import xarray
        except ImportError:
            raise MissingPackageError(
                "xarray is not installed.",
                action="Run: pip install 'napari-omezarr[xarray]'",
            ) from None
        chosen = self._level(level)
        attributes = {"address": self.location.display, "path": chosen.path}
        return xarray.DataArray(
            to_dask(chosen.pixels),
            coords=self._coordinates(chosen),
            dims=self.dims,
            name=self.name,
            attrs=attributes,
        )

    @guarded
    def read(
        self, box: Box | None = None, level: int = 0, *, unit: Unit = "world"
    ) -> np.ndarray:
        """Read a box of a level into memory; blocks.

        Parameters
        ----------
        box : Mapping or sequence, optional
            As for `crop`, but that a number makes its axis vanish; None is all.
        level : int, optional
            0 is the finest, -1 the coarsest.
        unit : {"world", "pixel"}, optional
            As for `crop`.

        Returns
        -------
        numpy.ndarray
            With the axes of the image, but those for which one place was named.

        Raises
        ------
        OptionError
            There is no such level or axis, or the box lies outside of the image.
        StoreError
            A chunk could not be had.
        MemoryError
            There is no room for it.
        """
        part, shape = self._asked(box, level, unit)
        (data,) = region.load([part])
        return data.reshape(shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        # Else numpy would make one object of it, and say nothing.
        if copy is False:
            raise ValueError("an image has to be read, and that makes a copy")
        return np.asarray(self.read(), dtype=dtype)

    @guarded
    async def read_async(
        self, box: Box | None = None, level: int = 0, *, unit: Unit = "world"
    ) -> np.ndarray:
        """Read a box of a level, on whatever loop the caller runs; see `read`.

        Cancelling it ends the requests.
        """
        part, shape = self._asked(box, level, unit)
        (data,) = await asyncio.wrap_future(region.start([part]))
        return data.reshape(shape)

    # Parts of it.

    @guarded
    def crop(self, box: Box, *, unit: Unit = "world") -> OMEImage:
        """Give a part of it that keeps all axes; lazy.

        Parameters
        ----------
        box : Mapping or sequence
            Low and high by the name of an axis, ``{"y": (120, 380.5), "x": (9, 60)}``,
            or for the last axes in order; a slice or one number does, too. An axis that
            is left out, or None, is taken whole. Channels are taken by name or number,
            several side by side as a range or a list.
        unit : {"world", "pixel"}, optional
            Whether numbers are places in the world, in the unit of each axis, or count
            pixels of the finest level as slices of numpy do.

        Returns
        -------
        OMEImage
            All pixels that the box touches, where they lie; its labels too. Levels
            that are then no smaller than a finer one are left out.

        Raises
        ------
        OptionError
            There is no such axis or channel, or the box lies outside of the image.
        """
        return self._cut(part_of(self, box, unit, drops=False))

    @guarded
    def sel(self, **where: Any) -> OMEImage:
        """Give a part of it by places in the world; lazy.

        As `crop`, but that a number (or the name of a channel) makes its axis vanish:
        ``image.sel(c="DAPI", z=12.5, y=slice(100, 200))``.
        """
        return self._cut(part_of(self, where, "world", drops=True))

    @guarded
    def isel(self, **where: Any) -> OMEImage:
        """Give a part of it by pixels of the finest level; lazy. See `sel`."""
        return self._cut(part_of(self, where, "pixel", drops=True))

    def _level(self, level: int) -> Level:
        try:
            return self.levels[level]
        except (IndexError, TypeError):
            count = len(self.levels)
            msg = f"There is no level {level!r}; the image has {count}."
            raise OptionError(msg) from None

    def _asked(
        self, box: Box | None, level: int, unit: Unit
    ) -> tuple[RegionPart, tuple[int, ...]]:
        """Give what is to be read, and the shape without the axes that vanish."""
        pixels = self._level(level).pixels
        part = part_of(self, box, unit, drops=True)
        bounds = part.bounds(self)[level]
        lost = part.dropped_axes(self)
        sizes = (stop - start for start, stop in bounds)
        shape = tuple(size for axis, size in enumerate(sizes) if axis not in lost)
        return RegionPart(pixels, bounds), shape

    def _coordinates(self, level: Level) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for index, axis in enumerate(self.axes):
            output = level.affine.output_of(index)
            if index == self.channel_axis:
                names = [channel.name or self.name for channel in self.channels]
                found[axis.name] = (axis.name, np.asarray(names, dtype=object))
            elif output is not None:
                row = level.affine.rows[output]
                places = row[index] * np.arange(level.shape[index]) + row[-1]
                unit = self.world_axes[output].unit
                # What one place alone does not tell.
                attributes = {"step": row[index]} | ({"units": unit} if unit else {})
                found[axis.name] = (axis.name, places, attributes)
        return found

    def _cut(self, part: Part) -> OMEImage:
        image = _cut(self, part)
        labels: Named[OMEImage] = Named()
        notes = []
        for name, label in self.labels.items():
            try:
                labels[name] = _cut(label, part)
            except OptionError:
                notes.append(f"The labels {name} do not reach into this part.")
        return replace(image, labels=labels, warnings=(*image.warnings, *notes))


def _cut(image: OMEImage, part: Part) -> OMEImage:
    """Cut an image, or the labels of one; what is known of it is cut as well."""
    boxes, lost = part.bounds(image), part.dropped_axes(image)
    if len(lost) == len(image.axes):
        raise OptionError("No axis would be left.", action="Use read(), or ranges.")
    levels: list[Level] = []
    for level, bounds in zip(image.levels, boxes, strict=True):
        affine = crop_affine(level.affine, bounds)
        for axis in lost:
            affine = affine.without(axis)
        pixels = _pixels(level.pixels, bounds, lost)
        if not levels or prod(pixels.shape) < prod(levels[-1].shape):
            levels.append(Level(level.path, pixels, affine))
    first = image.levels[0].affine
    gone = {first.output_of(axis) for axis in lost}
    kept = [axis for axis in range(len(image.axes)) if axis not in lost]
    return replace(
        image,
        axes=tuple(image.axes[axis] for axis in kept),
        world_axes=tuple(
            a for number, a in enumerate(image.world_axes) if number not in gone
        ),
        levels=tuple(levels),
        default_point={
            kept.index(axis): min(max(0, index - boxes[0][axis][0]), size - 1)
            for axis, index in (image.default_point or {}).items()
            if axis in kept
            for size in (boxes[0][axis][1] - boxes[0][axis][0],)
        },
        is_part=True,
        **_channels(image, boxes[0], kept),
    )


def _pixels(pixels: Pixels, bounds: Bounds, lost: tuple[int, ...]) -> Pixels:
    """Give a box of a level; one that is all of it stays as it is."""
    if lost:
        pixels = FixedAxes(pixels, {axis: bounds[axis][0] for axis in lost})
    box = tuple(pair for axis, pair in enumerate(bounds) if axis not in lost)
    if box == tuple((0, size) for size in pixels.shape):
        return pixels
    return Cropped(pixels, box)


def _channels(image: OMEImage, bounds: Bounds, kept: list[int]) -> dict[str, Any]:
    """Say which channels are left, and where their axis is then."""
    axis = image.channel_axis
    if axis is None:
        return {}
    start, stop = bounds[axis]
    said = {"channel_axis": kept.index(axis) if axis in kept else None}
    if axis in kept and stop - start == len(image.channels):
        return said
    attributes = dict(image.attributes or {})
    attributes["omero"] = _listed(attributes.get("omero"), start, stop)
    saved = _listed(image.extras.get("napari"), start, stop)
    return said | {
        "channels": image.channels[start:stop],
        "rgb": False,
        "attributes": attributes,
        "extras": {**image.extras, "napari": saved},
    }


def _listed(block: Any, start: int, stop: int) -> Any:
    """Cut the list of channels in a block of a document."""
    channels = block.get("channels") if isinstance(block, Mapping) else None
    if not isinstance(channels, list):
        return block
    return {**block, "channels": channels[start:stop]}


def refuse_secrets(location: Location) -> None:
    """Refuse to send an address to another process that holds a signature or password.

    Raises
    ------
    OptionError
        It does.
    """
    if str(replace(location, notes=())) != without_secrets(location):
        raise OptionError(
            f"The address of {location.display} holds a sign-in, which is not sent to "
            "other processes.",
            action="Sign in by a connection or a profile, whose name is enough.",
        )


# What was opened, in a few lines: for a terminal, and for a notebook.

_MOST = 12
"""How many channels, labels or images are named."""


def named(names: Sequence[str]) -> str:
    """Name some things, and say how many more there are."""
    more = len(names) - _MOST
    return ", ".join(map(printable, names[:_MOST])) + (
        f" and {more} more" if more > 0 else ""
    )


def printable(text: str) -> str:
    """Give a text without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def facts(image: Pyramid, labels: Sequence[str], *, is_part: bool) -> Facts:
    """Say what there is to say of an image: pairs of what, and what of it."""
    place = printable(image.location.display)
    units = {axis.name: axis.unit for axis in image.world_axes}
    steps = zip(image.axes, image.shape, image.levels[0].affine.scale, strict=True)
    axes = (
        f"{printable(axis.name)} {size}" + _step(step, units.get(axis.name))
        for axis, size, step in steps
    )
    sizes = [by_times(level.shape) for level in image.levels]
    said = [
        ("version", f"OME-Zarr {printable(image.version)}" if image.version else ""),
        ("address", f"a part of {place}" if is_part else place),
        ("axes", ", ".join(axes)),
        ("levels", f"{len(sizes)} of {image.levels[0].dtype}: {'; '.join(sizes)}"),
        ("channels", "" if image.label is not None else named(_channel_names(image))),
        ("labels", named(labels)),
        ("warnings", f"{len(image.warnings)}; see .warnings" if image.warnings else ""),
    ]
    return [(what, text) for what, text in said if text]


def as_text(image: Pyramid, known: Facts) -> str:
    """Describe an image in lines."""
    kind = "image" if image.label is None else "labels"
    first = f"<OMEImage {printable(image.name)} ({kind})"
    return "\n  ".join([first, *(f"{what}: {text}" for what, text in known)]) + ">"


def as_html(image: Pyramid, known: Facts) -> str:
    """Describe an image as a table; all text of others is escaped."""
    rows = {what: escape(text) for what, text in known}
    if "channels" in rows:
        names = _channel_names(image)[:_MOST]
        rows["channels"] = " ".join(
            f'<span style="background:#{channel.color}">&emsp;</span> '
            + escape(printable(name))
            for channel, name in zip(image.channels, names, strict=False)
        )
    left = 'style="text-align:left"'
    body = "".join(
        f"<tr><th {left}>{what}</th><td {left}>{text}</td></tr>"
        for what, text in rows.items()
    )
    return f"<table><caption>{escape(printable(image.name))}</caption>{body}</table>"


def _channel_names(image: Pyramid) -> list[str]:
    return [channel.name or image.name for channel in image.channels]


def _step(size: float, unit: str | None) -> str:
    return f" ({size:g} {printable(unit)})" if unit else ""
