"""Region: which pixels of a level; and from a box in the world to one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_omezarr.metadata import Affine
    from napari_omezarr.pyramid.boxes import Bounds

TOUCHES = 1e-3
"""How far into a pixel, in pixels, a box must reach to take it: less is rounding."""


@dataclass(frozen=True, slots=True)
class Region:
    """A box of the pixels of one level.

    Parameters
    ----------
    level : int
        0 is the finest.
    bounds : tuple of (int, int)
        Start and stop along each axis of the level's array, start < stop.
    """

    level: int
    bounds: Bounds

    @property
    def shape(self) -> tuple[int, ...]:
        """How many pixels it has along each axis."""
        return tuple(stop - start for start, stop in self.bounds)

    @property
    def starts(self) -> tuple[int, ...]:
        """The index of its first pixel."""
        return tuple(start for start, _ in self.bounds)


def covering(affine: Affine, shape: Sequence[int], points: ArrayLike) -> Bounds:
    """Give the smallest box of pixels that covers points of the world.

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

    Returns
    -------
    tuple of (int, int)
        Start and stop along each axis; at least one pixel.

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
    return affine(list(product(*((-0.5, size - 0.5) for size in shape))))


def corners(
    affine: Affine, edges: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Give the corners of a box of an array in the world, 2**N x N.

    Parameters
    ----------
    affine : Affine
        From an index of the array to the world.
    edges : sequence of (float, float)
        Along each axis, in pixels from the edge of the first one: a whole axis is
        ``(0, size)``.
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
