"""Where two people have changed the same pixels, said by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.errors import ConflictError
from napari_omezarr.pyramid.boxes import inside, units

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_omezarr.pyramid.boxes import Bounds

    from .edit import Edit
    from .existing import ExistingImage

_SHOWN = 3


class PatchConflictError(ConflictError):
    """Edited pixels have been changed by somebody else; nothing was written.

    Parameters
    ----------
    edit : Edit
        What was to be written.
    clash : numpy.ndarray of bool
        Of the edit's shape: which of its pixels somebody else has changed.
    image : ExistingImage
        What it was to be written into.

    Attributes
    ----------
    boxes : tuple of Bounds
        Around the pixels of each chunk (or shard), in pixels of the finest level.
    pixels : int
        How many they are.
    """

    def __init__(self, edit: Edit, clash: np.ndarray, image: ExistingImage) -> None:
        self.pixels = int(np.count_nonzero(clash))
        self.boxes = tuple(_boxes(edit, clash, image.levels[0].chunks))
        address = image.hierarchy.address
        names = [axis.name for axis in image.multiscale.axes]
        shown = "; ".join(box_text(names, box) for box in self.boxes[:_SHOWN])
        more = len(self.boxes) - _SHOWN
        several = "s" if more > 1 else ""
        rest = f"; and in {more:,} more chunk{several}" if more > 0 else ""
        super().__init__(
            f"{self.pixels:,} edited pixels of {address} have been changed by somebody "
            f"else, at {shown}{rest}{_world_text(image, self.boxes[0])}.",
            action="Load the region again and repeat the edit, or save it as labels or "
            "an image of another name.",
            url=address,
        )


def box_text(names: Sequence[str], box: Bounds) -> str:
    """Say a box by axis, its ends included: ``z 1, y 11-13``."""
    return ", ".join(
        f"{name} {start}" if stop == start + 1 else f"{name} {start}-{stop - 1}"
        for name, (start, stop) in zip(names, box, strict=True)
    )


def _boxes(edit: Edit, clash: np.ndarray, chunks: Sequence[int]) -> Iterator[Bounds]:
    for unit in units(edit.bounds, chunks):
        where = np.argwhere(clash[inside(unit, edit.bounds)])
        if len(where):
            first, last = where.min(axis=0), where.max(axis=0)
            yield tuple(
                (start + int(low), start + int(high) + 1)
                for (start, _), low, high in zip(unit, first, last, strict=True)
            )


def _world_text(image: ExistingImage, box: Bounds) -> str:
    """Say where the first box begins in the world, along the axes of space."""
    affine = image.multiscale.datasets[0].affine
    point = affine.matrix[:, :-1] @ [start for start, _ in box] + affine.translation
    said = [
        f"{axis.name} {value:.4g} {axis.unit}"
        for axis, value in zip(image.multiscale.axes, point, strict=True)
        if axis.type == "space" and axis.unit
    ]
    return f" (the first begins at {', '.join(said)})" if said else ""
