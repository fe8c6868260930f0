"""An image that is known wherever it is shown: a judge of its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from browsers.window import Shot
    from napari_omezarr.browsing import ViewState

SIDE = 256
COLORS = ("FF00FF", "00FF00")
"""Magenta and green, of the two channels."""

FULL, HALF = 1000, 500
UNITS = dict.fromkeys("zyx", "micrometer")
CHANNELS = {
    "channels": ("membrane", "nuclei"),
    "colors": COLORS,
    "contrast_limits": [(0, FULL)] * 2,
}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in the plane of an image, or of a picture of it, in its pixels."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def center(self) -> np.ndarray:
        """Row and column."""
        return np.array([self.top + self.bottom, self.left + self.right]) / 2

    @property
    def size(self) -> np.ndarray:
        """Height and width."""
        return np.array([self.bottom - self.top, self.right - self.left])


FIRST = Box(40, 30, 90, 120)
SECOND = Box(160, 150, 220, 230)
DIM = Box(160, 30, 220, 80)
"""In the first channel, half as bright."""


def fill(plane: np.ndarray, box: Box, value: int) -> None:
    """Give one value to all of a box."""
    plane[..., box.top : box.bottom, box.left : box.right] = value


def painted(axes: str = "cyx") -> np.ndarray:
    """Make the image; all planes along z and t are alike.

    Returns
    -------
    numpy.ndarray
        Of these axes, 2 channels if ``c`` is among them, 8 planes, 3 times; uint16.
    """
    planes = np.zeros((2, SIDE, SIDE), np.uint16)
    fill(planes[0], FIRST, FULL)
    fill(planes[0], DIM, HALF)
    fill(planes[1], SECOND, FULL)
    sizes = {"t": 3, "z": 8, "c": 2, "y": SIDE, "x": SIDE}
    if "c" not in axes:
        planes = planes.max(axis=0, keepdims=True)
    image = planes.reshape(
        [planes.shape[0] if a == "c" else 1 for a in axes[:-2]] + [SIDE, SIDE]
    )
    return np.broadcast_to(image, [sizes[axis] for axis in axes]).copy()


def masks() -> np.ndarray:
    """Make labels of the two bright boxes, 1 and 2."""
    labels = np.zeros((SIDE, SIDE), np.uint16)
    fill(labels, FIRST, 1)
    fill(labels, SECOND, 2)
    return labels


def box_of(shot: Shot, color: str, strength: float = 1.0) -> Box:
    """Find where a picture has a colour."""
    wanted = np.array([int(color[i : i + 2], 16) for i in (0, 2, 4)]) * strength
    found = np.abs(shot.pixels - wanted).max(axis=-1) < 40
    rows, columns = (np.flatnonzero(found.mean(axis=axis) > 0.02) for axis in (1, 0))
    assert rows.size, f"there is no #{color} at {strength:.0%}"
    assert columns.size, f"there is no #{color} at {strength:.0%}"
    return Box(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)


def shows_it(shot: Shot, colors: tuple[str, str] = COLORS, least: float = 0.98) -> None:
    """Find both channels, at any zoom: in their colours, sizes and places.

    ``least`` is how bright the brightest must be: less than all of it where the viewer
    chooses the contrast.
    """
    full = _brightness(shot, least)
    one, two = colors
    found = [box_of(shot, one, full), box_of(shot, two, full)]
    are_alike([FIRST, SECOND, DIM], [*found, box_of(shot, one, full / 2)])


def shows_it_in_white(shot: Shot, least: float = 0.98) -> None:
    """Find the same of an image without channels."""
    full = _brightness(shot, least)
    whole = Box(FIRST.top, FIRST.left, SECOND.bottom, SECOND.right)
    found = [box_of(shot, "FFFFFF", full), box_of(shot, "FFFFFF", full / 2)]
    are_alike([whole, DIM], found)


def _brightness(shot: Shot, least: float) -> float:
    full = float(shot.pixels.max()) / 255
    assert full >= least, f"there is no more than {full:.0%} of any colour"
    return full


def are_alike(expected: list[Box], found: list[Box], rough: float = 4) -> None:
    """Compare boxes but for one zoom and one place of all."""
    zoom = float(np.mean(found[0].size / expected[0].size))
    assert zoom > 0.4, f"too small to be judged: {zoom}"
    shift = found[0].center - zoom * expected[0].center
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other.center, zoom * one.center + shift, atol=rough)
        np.testing.assert_allclose(other.size, zoom * one.size, atol=rough)


def is_at(
    found: Box, box: Box, view: ViewState, shot: Shot, exact: float = 1.5
) -> None:
    """Compare where a picture has a box with where the view puts it, in its pixels."""
    down, right = view.displayed
    ends = []
    for row, column in ((box.top, box.left), (box.bottom, box.right)):
        # Edges lie half a pixel before and after the centres.
        for axis, index, middle in zip(
            (down, right), (row, column), shot.middle, strict=True
        ):
            size, start = view.grid[axis]
            world = start + (index - 0.5) * size
            ends.append(middle + (world - view.center[axis]) * view.zoom)
    there = [found.top, found.left, found.bottom, found.right]
    np.testing.assert_allclose(there, ends, atol=exact)
