"""A synthetic piece of epithelium: nuclei, membranes, and the nuclei's labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Point = NDArray[np.float32]
    Volume = NDArray[np.float32]

SPACING = 56
"""Pixels from one cell to the next."""
NUCLEUS = (5.0, 17.0, 13.0)
"""Half axes of a nucleus: z, the long and the short one in the plane."""
MITOTIC_EVERY = 9
"""One cell in so many divides: its nucleus is small and bright."""
FAR = 1e4


@dataclass(frozen=True, slots=True)
class Cells:
    """Two channels and the labels of one of them.

    Attributes
    ----------
    image : array of uint16, shape (2, z, y, x)
        Nuclei, then membranes, as counts of a 12-bit camera.
    labels : array of uint16, shape (z, y, x)
        The nuclei, numbered from 1; 0 is background.
    mitotic : frozenset of int
        The labels of the nuclei that divide.
    """

    image: NDArray[np.uint16]
    labels: NDArray[np.uint16]
    mitotic: frozenset[int]


def cells(shape: tuple[int, int, int] = (32, 512, 512), *, seed: int = 1) -> Cells:
    """Make a sheet of cells as a confocal microscope might show it.

    Parameters
    ----------
    shape : tuple of int
        z, y, x; the size of a cell does not depend on it.
    seed : int
        Another seed gives other cells.

    Returns
    -------
    Cells
        In memory: the default takes about a second and 50 MB.
    """
    rng = np.random.default_rng(seed)
    centres = _centres(shape, rng)
    labels = np.zeros(shape, np.uint16)
    nuclei = np.zeros(shape, np.float32)
    for label, centre in enumerate(centres, start=1):
        _add_nucleus(nuclei, labels, label, centre, rng)
    membranes = _membranes(shape, centres)
    image = np.stack([_expose(nuclei * 2600, rng), _expose(membranes * 1900, rng)])
    present = np.unique(labels).tolist()
    return Cells(image, labels, frozenset(filter(_is_mitotic, present)))


def _is_mitotic(label: int) -> bool:
    return label % MITOTIC_EVERY == 4


def _centres(shape: tuple[int, int, int], rng: np.random.Generator) -> list[Point]:
    """Points (z, y, x) on a jittered grid, one row beyond every edge."""
    depth, height, width = shape
    places = [
        (0.45 * depth, SPACING * (row + 0.5), SPACING * (column + 0.5 * (row % 2)))
        for row in range(-1, math.ceil(height / SPACING) + 1)
        for column in range(-1, math.ceil(width / SPACING) + 2)
    ]
    spread = (0.06 * depth, 0.2 * SPACING, 0.2 * SPACING)
    jitter = rng.uniform(-1, 1, (len(places), 3)) * spread
    return list((np.array(places) + jitter).astype(np.float32))


def _add_nucleus(
    nuclei: Volume,
    labels: NDArray[np.uint16],
    label: int,
    centre: Point,
    rng: np.random.Generator,
) -> None:
    """Draw one ellipsoid with textured chromatin and two dark nucleoli."""
    angle, brightness = rng.uniform(0, math.pi), rng.uniform(0.55, 0.8)
    phases = rng.uniform(0, 2 * math.pi, 3)
    holes = rng.uniform(-0.45, 0.45, (2, 3))
    size = rng.uniform(0.85, 1.1)
    if _is_mitotic(label):
        brightness, size = 1.0, 0.7 * size
    box = _box(centre, math.ceil(1.1 * max(NUCLEUS) * size), labels.shape)
    z, y, x = _coordinates(box, centre)
    along = (y * math.cos(angle) + x * math.sin(angle)) / (NUCLEUS[1] * size)
    across = (x * math.cos(angle) - y * math.sin(angle)) / (NUCLEUS[2] * size)
    upward = z / (min(NUCLEUS[0], labels.shape[0] / 4) * size)
    radius = np.sqrt(upward**2 + along**2 + across**2)

    oblique = (5 * upward + 3 * along, 8 * along + 5 * across, 7 * across - 6 * along)
    texture = sum(map(np.sin, map(np.add, oblique, phases)))
    intensity = brightness * (1 + 0.09 * texture)
    for up, length, breadth in [] if _is_mitotic(label) else holes:
        distance = (upward - up) ** 2 + (along - length) ** 2 + (across - breadth) ** 2
        intensity = intensity * (1 - 0.55 * np.exp(-distance / 0.03))
    soft = np.clip((1.12 - radius) * 5, 0, 1)
    nuclei[box] = np.maximum(nuclei[box], soft * intensity)
    labels[box] = np.where((radius < 1) & (labels[box] == 0), label, labels[box])


def _membranes(shape: tuple[int, int, int], centres: list[Point]) -> Volume:
    """Walls where two cells meet, with a domed lid and a flat floor."""
    nearest = np.full(shape[1:], FAR, np.float32)
    second = nearest.copy()
    for centre in centres:
        window = _box(centre, 2 * SPACING, shape)[1:]
        y, x = _coordinates(window, centre[1:])
        # A little warped, for walls that are not ruled lines.
        distance = np.hypot(y + 2 * np.sin(x / 9), x + 2 * np.sin(y / 9))
        near, next_near = nearest[window], second[window]
        second[window] = np.minimum(next_near, np.maximum(near, distance))
        nearest[window] = np.minimum(near, distance)
    depth = shape[0]
    z = np.arange(depth, dtype=np.float32)[:, None, None]
    lid = depth * (0.88 - 0.16 * (nearest / (0.6 * SPACING)) ** 2)
    floor = 0.12 * depth
    wall = np.exp(-(((second - nearest) / 4) ** 2))
    inside = np.clip(np.minimum(z - floor, lid - z) + 0.5, 0, 1)
    caps = 0.5 * np.exp(-((z - lid) ** 2) / 2) + 0.35 * np.exp(-((z - floor) ** 2))
    membranes: Volume = np.maximum(wall * inside, caps).astype(np.float32)
    return membranes


def _expose(signal: Volume, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Add the camera's offset, uneven light and shot noise; 12 bit in 16."""
    y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in signal.shape[1:])
    light = 1 - 0.12 * (y[:, None] ** 2 + x**2)
    counts = signal * light + 30
    noise = rng.standard_normal(signal.shape, np.float32)
    read = np.clip(100 + counts + noise * np.sqrt(counts), 0, 4095)
    exposed: NDArray[np.uint16] = read.astype(np.uint16)
    return exposed


def _box(
    centre: Point, reach: int, shape: tuple[int, ...]
) -> tuple[slice, slice, slice]:
    def side(middle: float, size: int) -> slice:
        first, last = int(middle) - reach, int(middle) + reach + 1
        return slice(min(max(first, 0), size), min(max(last, 0), size))

    z, y, x = map(side, centre.tolist(), shape)
    return z, y, x


def _coordinates(box: tuple[slice, ...], centre: Point) -> Iterator[Volume]:
    """Distances from the centre along each axis, shaped to broadcast."""
    axes = np.ogrid[box]
    return (
        (axis - middle).astype(np.float32)
        for axis, middle in zip(axes, centre, strict=True)
    )
