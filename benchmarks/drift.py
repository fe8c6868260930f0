"""Measure how far discs drift at coarser levels of labels, beside ngff-zarr.

Against the analytic position, in pixels of the level; "drawn anew" is the same disc
drawn at that level, which shows how well so few pixels can say where a disc lies at
all. Needs no server::

    .venv/bin/python benchmarks/drift.py --discs 40 --radius 200 320
    .venv/bin/python benchmarks/drift.py --discs 40 --pixels 40 48

With ``--pixels`` the radius is so many pixels of the level, at each level.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.writing.downsample import downsample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LEVELS = 5


def ours(disc: np.ndarray, method: str) -> Iterator[np.ndarray]:
    """Make level by level, as a save does."""
    for _ in range(LEVELS):
        disc = downsample(disc, (2, 2), method)  # type: ignore[arg-type]
        yield disc


def by_ngff_zarr(disc: np.ndarray) -> Iterator[np.ndarray]:
    """Make levels of a label image, with its own method for them."""
    import ngff_zarr

    image = ngff_zarr.to_ngff_image(disc, dims=["y", "x"])
    levels = ngff_zarr.to_multiscales(
        image,
        scale_factors=[2**n for n in range(1, LEVELS + 1)],
        method=ngff_zarr.Methods.ITKWASM_LABEL_IMAGE,
    )
    for level in levels.images[1:]:
        yield np.asarray(level.data)


def drawn(
    shape: tuple[int, int], middle: np.ndarray, radius: float, by: int = 1
) -> np.ndarray:
    """Draw a disc of the finest level at the centres of a level's pixels."""
    rows, columns = np.ogrid[: -(-shape[0] // by), : -(-shape[1] // by)]
    row, column = (middle - (by - 1) / 2) / by
    apart = (rows - row) ** 2 + (columns - column) ** 2
    disc: np.ndarray = (apart < (radius / by) ** 2).astype(np.uint8)
    return disc


def measure(
    rng: np.random.Generator,
    radii: Sequence[float],
    levels: Sequence[int],
    found: dict[tuple[str, int], list[np.ndarray]],
) -> None:
    """Draw a disc of random size at a random place, in an image of odd size."""
    radius = rng.uniform(*radii)
    side = 2 * int(radius) + 141
    middle = side / 2 + rng.uniform(-33, 33, 2)
    shape = (side, side + 2)
    disc = drawn(shape, middle, radius)
    ways = {way: ours(disc, way) for way in ("nearest", "mode")}
    ways["drawn anew"] = (
        drawn(shape, middle, radius, 2**n) for n in range(1, LEVELS + 1)
    )
    if find_spec("ngff_zarr"):
        ways["ngff-zarr"] = by_ngff_zarr(disc)
    for way, made in ways.items():
        for level, pixels in enumerate(made, 1):
            if level in levels:
                at = (middle - (2**level - 1) / 2) / 2**level
                found[way, level].append(np.argwhere(pixels).mean(axis=0) - at)


def main() -> None:
    """Measure many discs, and say how far they lie off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--discs", type=int, default=40)
    parser.add_argument("--radius", type=float, nargs=2, default=(200.0, 320.0))
    parser.add_argument("--pixels", type=float, nargs=2)
    said = parser.parse_args()
    rng = np.random.default_rng(5)
    found: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    for _ in range(said.discs):
        if said.pixels:
            for level in range(1, LEVELS + 1):
                measure(rng, [by * 2**level for by in said.pixels], [level], found)
        else:
            measure(rng, said.radius, range(1, LEVELS + 1), found)
    for (way, level), drifts in found.items():
        off = np.array(drifts)
        sys.stdout.write(
            f"{way}, level {level}: to one side {np.abs(off.mean(axis=0)).max():.3f}, "
            f"root mean square {np.sqrt((off**2).mean()):.3f}, "
            f"largest {np.abs(off).max():.3f}\n"
        )


if __name__ == "__main__":
    main()
