"""A region in one call, for scripts."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dask.array as da
import numpy as np

from napari_omezarr.errors import OptionError
from napari_omezarr.metadata import Affine
from napari_omezarr.pyramid import Pixels, Pyramid, pixels_of
from napari_omezarr.pyramid.pixels import Readable

from .loading import Region, RegionPart, covering, extent, load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from napari_omezarr.pyramid.boxes import Bounds

# Arrays of other readers, read through the same door as ours.

_THREADS = 4


class ForeignPixels(Readable):
    """A numpy, dask or zarr array, or any other that is sliced like them.

    Parameters
    ----------
    array : array-like
        With ``shape``, ``dtype`` and slicing. Slices are read in threads, for such
        an array blocks; what goes wrong then is raised as its library says it.
    """

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape: tuple[int, ...] = tuple(int(size) for size in array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype).newbyteorder("=")
        self.chunks = _chunks(array, self.shape)
        self.concurrency = _THREADS
        self.token = uuid4().hex
        self._threads = ThreadPoolExecutor(_THREADS, "napari-omezarr region")

    def __repr__(self) -> str:
        return f"<ForeignPixels {type(self.array).__name__} {self.shape} {self.dtype}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, without holding up the I/O loop that it is called on."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._slice, bounds)

    def _slice(self, bounds: Bounds) -> np.ndarray:
        box = self.array[tuple(slice(start, stop) for start, stop in bounds)]
        return np.asarray(box, dtype=self.dtype)


def as_pixels(array: Any) -> Pixels:
    """Give the pixels that an array of ours reads, else a door to the array."""
    ours = pixels_of(array) if isinstance(array, da.Array) else None
    return ForeignPixels(array) if ours is None else ours


def _chunks(array: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape of a chunk: the largest one of dask, the whole of numpy."""
    chunks = getattr(array, "chunksize", None) or getattr(array, "chunks", None)
    if chunks is None or len(chunks) != len(shape):
        return tuple(max(1, size) for size in shape)
    return tuple(
        max(1, min(int(chunk), size)) for chunk, size in zip(chunks, shape, strict=True)
    )


# The levels of an image with their places in the world.


@dataclass(frozen=True, slots=True)
class Placed:
    """The levels of an image, finest first, each with its place in the world.

    Parameters
    ----------
    levels : tuple of Pixels
        At least one. They may have one axis more than `affines`: the last, of the
        colours of an RGB picture.
    affines : tuple of Affine
        For each level, from an index (0 is the centre of the first pixel) to the
        world, N x (N+1).
    """

    levels: tuple[Pixels, ...]
    affines: tuple[Affine, ...]

    def region(self, level: int, points: ArrayLike) -> Region:
        """Give the pixels of a level that cover points of the world.

        Parameters
        ----------
        level : int
            0 is the finest.
        points : array-like
            K x M; see ``covering``.

        Raises
        ------
        OptionError
            The points lie outside of the image.
        """
        affine, pixels = self.affines[level], self.levels[level]
        count = affine.ndim_in
        bounds = covering(affine, pixels.shape[:count], points)
        colours = tuple((0, size) for size in pixels.shape[count:])
        return Region(level, bounds + colours)

    def box(self, ranges: Sequence[tuple[float, float] | None]) -> np.ndarray:
        """Give the corners of a box along the axes of the world, K x N.

        Parameters
        ----------
        ranges : sequence of (float, float) or None
            Low and high along each axis of the world, in its unit; None is all of
            it. Axes are matched from the last one back; missing ones are whole.
        """
        whole = extent(self.affines[0], self.levels[0].shape[: self.ndim])
        ends = list(zip(whole.min(axis=0), whole.max(axis=0), strict=True))
        wanted = list(ranges)[-len(ends) :]
        first = len(ends) - len(wanted)
        for axis, given in enumerate(wanted, start=first):
            ends[axis] = ends[axis] if given is None else given
        return np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(
            -1, len(ends)
        )

    def matching(self, pixel_size: Sequence[float]) -> int:
        """Give the level whose pixels have about this size: for labels of an image.

        Parameters
        ----------
        pixel_size : sequence of float
            In world units; matched from the last axis back.
        """
        count = min(len(pixel_size), self.ndim)
        wanted = np.log(np.abs(pixel_size[-count:]))
        sizes = np.log(np.abs([affine.scale[-count:] for affine in self.affines]))
        return int(np.abs(sizes - wanted).max(axis=1).argmin())

    @property
    def ndim(self) -> int:
        """The number of axes in the world that the levels have."""
        return self.affines[0].ndim_in


def crop_affine(affine: Affine, bounds: Bounds) -> Affine:
    """Give the place of a crop: from its index to the world.

    Parameters
    ----------
    affine : Affine
        Of the level that it is cropped from.
    bounds : Bounds
        What was cropped; colours at the end are left out.
    """
    starts = [float(start) for start, _ in bounds[: affine.ndim_in]]
    return affine @ Affine.from_translation(starts)


def layer_options(affine: Affine) -> dict[str, Any]:
    """Give the options that place a napari layer; those left out are napari's own.

    ``scale`` is always the pixel size; what a scale and a translation cannot say is
    in ``affine``, which napari applies after them.
    """
    if affine.is_diagonal:
        return {"scale": affine.scale, "translate": affine.translation}
    matrix = np.eye(affine.ndim_in + 1)
    matrix[:-1] = affine.matrix
    matrix[:-1, :-1] /= affine.scale
    return {"scale": affine.scale, "affine": matrix}


def napari_levels(
    finest: Affine, shapes: Sequence[Sequence[int]]
) -> tuple[Affine, ...]:
    """Give the places at which napari shows the levels of a multiscale layer.

    It knows no affine but that of the finest level, and lets every level cover the
    same part of the world, from edge to edge: a pixel is as many of the finest as
    the ratio of the shapes says, and its centre is half of that from the edge.

    Parameters
    ----------
    finest : Affine
        From an index of level 0 to the world.
    shapes : sequence of sequence of int
        Of all levels, finest first.
    """
    count = finest.ndim_in
    sizes = np.asarray([shape[:count] for shape in shapes], dtype=float)
    factors = sizes[0] / sizes
    return tuple(
        finest
        @ Affine.from_translation(((factor - 1) / 2).tolist())
        @ Affine.from_scale(factor.tolist())
        for factor in factors
    )


def layer_affine(layer: Any) -> Affine:
    """Give the map from an index of a layer's finest level to the world.

    Parameters
    ----------
    layer : napari.layers.Layer
        Only its public transforms are used.
    """
    ndim = layer.ndim
    shear = np.asarray(layer.shear, dtype=float)
    if shear.ndim == 1:
        matrix = np.eye(ndim)
        matrix[np.triu_indices(ndim, 1)] = shear
        shear = matrix
    scale = Affine.from_scale(np.asarray(layer.scale, dtype=float).tolist())
    turn = Affine.from_linear(np.asarray(layer.rotate) @ shear)
    shift = Affine.from_translation(np.asarray(layer.translate, dtype=float).tolist())
    last = Affine.from_matrix(np.asarray(layer.affine.affine_matrix)[:-1])
    return last @ shift @ turn @ scale


def as_placed(image: Any) -> Placed:
    """Give the levels of an image, or of a napari layer, where they lie.

    Parameters
    ----------
    image : Pyramid or napari.layers.Layer
        The levels of a pyramid lie where its metadata say. Those of a layer, an
        Image or Labels of whatever reader, lie where napari shows them, which is
        the same but for sizes that do not divide.
    """
    if isinstance(image, Pyramid):
        return Placed(
            tuple(level.pixels for level in image.levels),
            tuple(level.affine for level in image.levels),
        )
    arrays = list(image.data) if image.multiscale else [image.data]
    levels = tuple(as_pixels(array) for array in arrays)
    shapes = [pixels.shape for pixels in levels]
    return Placed(levels, napari_levels(layer_affine(image), shapes))


# A region in one call, for scripts.


@dataclass(frozen=True, slots=True)
class Crop:
    """A region that was read.

    Attributes
    ----------
    data : numpy.ndarray
        In memory, with all axes of the image it was read from.
    region : Region
        Which pixels of which level.
    affine : Affine
        From an index of `data` to the world.
    """

    data: np.ndarray
    region: Region
    affine: Affine

    @property
    def placement(self) -> dict[str, Any]:
        """Options of a napari layer that lies on the image: scale and translate.

        Where those cannot say it (rotation, shear), there is an affine too.
        """
        return layer_options(self.affine)


def load_region(
    image: Pyramid | Any,
    box: Sequence[tuple[float, float] | None],
    level: int = 0,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Crop:
    """Read a box of an image at one level into memory; blocks.

    Parameters
    ----------
    image : Pyramid or napari.layers.Layer
        An image of ``read``, or an Image or Labels layer of any reader.
    box : sequence of (float, float) or None
        Low and high along each axis of the world, in its unit; None is the whole
        axis. Axes are matched from the last one back, so three ranges are z, y and
        x, and the axes before them are read whole.
    level : int, optional
        0 is the finest.
    progress : callable, optional
        Called with the bytes read and all bytes, in another thread.

    Returns
    -------
    Crop
        All pixels that the box touches, and where they lie: exactly on the image.

    Raises
    ------
    OptionError
        There is no such level, or the box lies outside of the image.
    StoreError
        A chunk could not be had.
    MemoryError
        There is no room for it.

    Examples
    --------
    >>> crop = load_region(
    ...     pyramid, [(10, 42), (120, 380.5), (90, 260)], level=1
    ... )  # doctest: +SKIP
    >>> viewer.add_image(crop.data, **crop.placement)  # doctest: +SKIP
    """
    placed = as_placed(image)
    if not 0 <= level < len(placed.levels):
        msg = f"There is no level {level}; the image has {len(placed.levels)}."
        raise OptionError(msg)
    region = placed.region(level, placed.box(box))
    (data,) = load([RegionPart(placed.levels[level], region.bounds)], progress)
    return Crop(data, region, crop_affine(placed.affines[level], region.bounds))
