"""Pyramid: one image with its metadata and lazy levels; nothing is read yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .dask_arrays import to_dask
from .views import FixedAxes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dask.array as da
    import numpy as np

    from napari_omezarr.location import Location
    from napari_omezarr.metadata import Affine, Axis, ImageLabel, ResolvedChannel

    from .pixels import Pixels


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of an image.

    ``affine`` maps an index of ``pixels`` to world coordinates, N x (N+1), the
    centre of the first pixel being index 0.
    """

    path: str
    pixels: Pixels
    affine: Affine

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis, in pixels."""
        return self.pixels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type, in native byte order."""
        return self.pixels.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """The shape of the smallest part that is worth reading."""
        return self.pixels.chunks


@dataclass(frozen=True, slots=True)
class Pyramid:
    """One image or label image, finest level first; all levels have ``axes``.

    Parameters
    ----------
    location : Location
        The group, or the array, that it was read from.
    name : str
        The image's name, never empty.
    axes, world_axes : tuple of Axis
        Those of the arrays, in order, and those of the world that the affines lead
        to; the same but where another system of a document has other axes.
    levels : tuple of Level
        At least one, each smaller than the one before.
    channel_axis : int or None
        Which axis is the channel axis.
    channels : tuple of ResolvedChannel
        One for each index of the channel axis; one when there is none.
    rgb : bool
        The channels are red, green, blue (and alpha) of one picture.
    label : ImageLabel or None
        Colours and properties; not None makes this a label image.
    version : str or None
        The OME-Zarr version; None for a plain zarr array.
    attributes : Mapping
        The group's original attributes.
    warnings : tuple of str
        What had to be tolerated to open it, a sentence each.
    default_point : dict of int to int
        The index to show first, by axis (``omero``'s defaultT and defaultZ).
    extras : Mapping
        The group's attributes that are none of OME-Zarr's: other programs' keys,
        and ``napari``, under which we save what OME-Zarr has no word for.
    coordinate_system, coordinate_systems : str or None, tuple of str
        The named system that the affines lead to, and all that can be chosen in its
        place (0.6, SpatialData); None and empty where systems have no names.
    options : Mapping
        What of `ReadOptions` made it another than the address alone gives: ``level``
        and ``multiscale``; of a plate also ``rows``, ``columns``, ``wells``,
        ``fields`` and ``acquisition``, and of its labels which ones they are.
    lost_levels : tuple of str
        The paths of finer levels that are listed, and could not be had.
    feature_tables : tuple of str or None
        Of a label image, the tables beside its image, which may hold its features;
        None where that is not known.

    Examples
    --------
    >>> from napari_omezarr import Location, read
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> image, nuclei = read(Location.parse("cells.ome.zarr")).pyramids
    >>> image.shape, [channel.name for channel in image.channels]
    ((2, 8, 64, 64), ['Nuclei', 'Membranes'])
    >>> [level.shape for level in image.data(0)]
    [(8, 64, 64), (8, 32, 32), (4, 16, 16)]
    >>> nuclei.label is not None
    True
    """

    location: Location
    name: str
    axes: tuple[Axis, ...]
    world_axes: tuple[Axis, ...]
    levels: tuple[Level, ...]
    channel_axis: int | None
    channels: tuple[ResolvedChannel, ...]
    rgb: bool = False
    label: ImageLabel | None = None
    version: str | None = None
    attributes: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    default_point: Mapping[int, int] | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    coordinate_system: str | None = None
    coordinate_systems: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    lost_levels: tuple[str, ...] = ()
    feature_tables: tuple[str, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the finest level."""
        return self.levels[0].pixels.shape

    def channel(self, index: int) -> tuple[Pixels, ...]:
        """Give the levels of one channel, without the channel axis.

        Raises
        ------
        IndexError
            There is no such channel.
        """
        if not 0 <= index < len(self.channels):
            msg = f"channel {index} of {len(self.channels)}"
            raise IndexError(msg)
        if self.channel_axis is None:
            return tuple(level.pixels for level in self.levels)
        fixed = {self.channel_axis: index}
        return tuple(FixedAxes(level.pixels, fixed) for level in self.levels)

    def data(self, index: int | None = None) -> tuple[da.Array, ...]:
        """Give lazy dask arrays of the levels, finest first.

        Parameters
        ----------
        index : int or None, optional
            One channel, without its axis; None gives all axes.
        """
        if index is None:
            return tuple(to_dask(level.pixels) for level in self.levels)
        return tuple(to_dask(pixels) for pixels in self.channel(index))
