"""Where pixels lie in the world: which a box takes, and where a crop of them lies."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import OptionError
from napari_omezarr.metadata import Affine
from napari_omezarr.pyramid import Pyramid, boxes

from .loading import RegionPart, as_pixels, load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_omezarr.pyramid import Bounds, Pixels

TOUCHES = 1e-3
"""How far into a pixel, in pixels, a box must reach to take it: less is rounding."""


# From a box in the world to the pixels of a level.


@dataclass(frozen=True, slots=True)
class Region:
    """A box of the pixels of one level, 0 being the finest; nowhere empty."""

    level: int
    bounds: Bounds

    @property
    def shape(self) -> tuple[int, ...]:
        """How many pixels it has along each axis."""
        return boxes.shape_of(self.bounds)

    @property
    def starts(self) -> tuple[int, ...]:
        """The index of its first pixel."""
        return tuple(start for start, _ in self.bounds)


def covering(affine: Affine, shape: Sequence[int], points: ArrayLike) -> Bounds:
    """Give the smallest box of pixels, at least one, that covers points of the world.

    The box is one of the array: in a rotated or sheared image it holds the points
    and, in its corners, more.

    Parameters
    ----------
    affine : Affine
        From an index of the array to the world, N x (N+1), invertible; index 0 is
        the centre of the first pixel, which reaches from -0.5 to 0.5.
    shape : sequence of int
        The array's shape along those N axes.
    points : array-like
        Corners of what is to be covered, K x M, in world units. World axes are
        matched from the last one back, as napari does: where M < N the first ones
        are covered whole, where M > N the first coordinates are left out.

    Raises
    ------
    OptionError
        The points lie on one side of the array.
    """
    corners = _matched(np.asarray(points, dtype=float), affine, shape)
    edges = affine.inverse()(corners) + 0.5
    starts = np.floor(edges.min(axis=0) + TOUCHES)
    stops = np.ceil(edges.max(axis=0) - TOUCHES)
    # Points within one pixel, or on one edge, still mean that pixel.
    stops = np.maximum(stops, starts + 1)
    if np.any(starts >= shape) or np.any(stops <= 0):
        raise OptionError("The box lies outside of the image.")
    clipped = zip(starts.clip(min=0), np.minimum(stops, shape), strict=True)
    return tuple((int(start), int(stop)) for start, stop in clipped)


def extent(affine: Affine, shape: Sequence[int]) -> NDArray[np.float64]:
    """Give the corners of an array in the world, 2**N x N, at its pixels' edges."""
    return corners(affine, [(0, size) for size in shape])


def corners(
    affine: Affine, edges: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Give the corners of a box of an array in the world, 2**N x N.

    `edges` are in pixels from the edge of the first one: a whole axis is ``(0, size)``.
    """
    return affine(np.asarray(list(product(*edges)), dtype=float) - 0.5)


def _matched(
    points: NDArray[np.float64], affine: Affine, shape: Sequence[int]
) -> NDArray[np.float64]:
    missing = affine.ndim_out - points.shape[1]
    if missing <= 0:
        return points[:, -missing:]
    whole = extent(affine, shape)[:, :missing]
    ends = list(product(*zip(whole.min(axis=0), whole.max(axis=0), strict=True)))
    return np.asarray([(*end, *point) for end in ends for point in points.tolist()])


# Where napari shows a layer.


def layer_options(affine: Affine) -> dict[str, Any]:
    """Give the options that place a napari layer; those left out are napari's own.

    ``scale`` is always the pixel size, so that whoever reads it gets it; what a scale
    and a translation cannot say (rotation, shear, swapped axes) is in ``affine``,
    which napari applies after them.
    """
    if affine.is_diagonal:
        return {"scale": affine.scale, "translate": affine.translation}
    matrix = np.eye(affine.ndim_in + 1)
    matrix[:-1] = affine.matrix
    matrix[:-1, :-1] /= affine.scale
    return {"scale": affine.scale, "affine": matrix}


def layer_affine(layer: Any) -> Affine:
    """Give the map from an index of a layer's finest level to the world.

    Only public transforms of the ``napari.layers.Layer`` are used.
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


def napari_levels(
    finest: Affine, shapes: Sequence[Sequence[int]]
) -> tuple[Affine, ...]:
    """Give the places at which napari shows levels of these shapes, finest first.

    It knows no affine but that of the finest level, and lets every level cover the
    same part of the world, from edge to edge: a pixel is as many of the finest as
    the ratio of the shapes says, and its centre is half of that from the edge.
    """
    count = finest.ndim_in
    sizes = np.asarray([shape[:count] for shape in shapes], dtype=float)
    factors = sizes[0] / sizes
    return tuple(finest.coarser(factor.tolist()) for factor in factors)


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
        """Give the pixels of a level that cover points of the world, K x M.

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
        return np.asarray(list(product(*ends)), dtype=float)

    def matching(self, pixel_size: Sequence[float]) -> int:
        """Give the level whose pixels have about this size: for labels of an image.

        The size is in world units, and is matched from the last axis back.
        """
        count = min(len(pixel_size), self.ndim)
        wanted = np.log(np.abs(pixel_size[-count:]))
        sizes = np.log(np.abs([affine.scale[-count:] for affine in self.affines]))
        return int(np.abs(sizes - wanted).max(axis=1).argmin())

    @property
    def ndim(self) -> int:
        """The number of axes in the world that the levels have."""
        return self.affines[0].ndim_in


def as_placed(image: Any) -> Placed:
    """Give the levels of a Pyramid or a napari layer, where they lie.

    The levels of a pyramid lie where its metadata say. Those of a layer, an Image or
    Labels of whatever reader, lie where napari shows them, which is the same but for
    sizes that do not divide.
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


def crop_affine(affine: Affine, bounds: Bounds) -> Affine:
    """Give the place of a box of a level that lies at `affine`, from index to world."""
    # Colours, the last axis, have no place.
    starts = [float(start) for start, _ in bounds[: affine.ndim_in]]
    return affine @ Affine.from_translation(starts)


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
