"""Write an edited region into an image that is there, if nobody changed the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.errors import ConflictError, OptionError
from napari_omezarr.pyramid import (
    coarser_box,
    hull,
    shape_of,
    slices,
    slices_within,
    split_box,
    whole_box,
)

from .downsample import downsample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_omezarr.pyramid import Bounds

    from .engine import StoredArray
    from .existing import ExistingImage
    from .options import Method

_SHOWN = 3
"""Of so many chunks a conflict says where they are."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A region of the finest level as somebody left it, from ``start`` on.

    ``original`` is what was there when editing began; None overwrites what is there.
    """

    start: tuple[int, ...]
    values: np.ndarray
    original: np.ndarray | None = None

    @property
    def bounds(self) -> Bounds:
        """The region."""
        return tuple(
            (first, first + size)
            for first, size in zip(self.start, self.values.shape, strict=True)
        )


class PatchConflictError(ConflictError):
    """Edited pixels have been changed by somebody else; nothing was written.

    ``clash`` says which pixels of the edit, ``boxes`` lie around those of each chunk
    (or shard) in pixels of the finest level, and ``pixels`` is how many they are.
    """

    def __init__(self, edit: Edit, clash: np.ndarray, image: ExistingImage) -> None:
        self.pixels = int(np.count_nonzero(clash))
        self.boxes = tuple(_clashing_boxes(edit, clash, image.levels[0].chunks))
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


def _clashing_boxes(
    edit: Edit, clash: np.ndarray, chunks: Sequence[int]
) -> Iterator[Bounds]:
    """Give a box around the pixels in each chunk that others have changed."""
    for unit in split_box(edit.bounds, chunks):
        where = np.argwhere(clash[slices_within(unit, edit.bounds)])
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


@dataclass(frozen=True, slots=True)
class Patched:
    """What a patch changed: objects of the finest level, and boxes of all levels."""

    objects: int
    boxes: tuple[Bounds, ...]


def patch_image(image: ExistingImage, edit: Edit, method: Method) -> Patched:
    """Write a region, and what follows from it at the coarser levels.

    Only chunks, or shards, in which something was edited are written. All is
    compared before the first of them.
    """
    finest = image.levels[0]
    values = _fitting(edit, finest)
    now = finest.read(edit.bounds)
    mine = np.ones(values.shape, bool)
    if edit.original is not None:
        mine = _differs(values, edit.original)
        _without_conflict(edit, values, mine, now, image)
    wanted = np.where(mine, values, now)
    written = []
    for box in split_box(edit.bounds, finest.chunks):
        inner = slices_within(box, edit.bounds)
        if _differs(wanted[inner], now[inner]).any():
            finest.write(box, wanted[inner])
            written.append(box)
    boxes = [hull(written)] if written else []
    steps = image.structure.steps
    for level in range(1, len(image.levels) if written else 0):
        finer, coarser = image.levels[level - 1], image.levels[level]
        boxes.append(_coarsen(finer, coarser, steps[level], boxes[-1], method))
    return Patched(len(written), tuple(boxes))


def _fitting(edit: Edit, array: StoredArray) -> np.ndarray:
    pairs = zip(edit.bounds, array.shape, strict=True)
    if len(edit.start) != len(array.shape) or any(
        start < 0 or stop > size for (start, stop), size in pairs
    ):
        raise OptionError("The edited region lies outside of the image.")
    if not np.can_cast(edit.values.dtype, array.dtype, "same_kind"):
        raise OptionError(
            f"{edit.values.dtype} does not go into an image of {array.dtype}.",
            action="Convert it first.",
        )
    values = edit.values.astype(array.dtype)
    if _differs(values, edit.values).any():
        raise OptionError(f"Some values do not fit into {array.dtype}.")
    return values


def _without_conflict(
    edit: Edit,
    values: np.ndarray,
    mine: np.ndarray,
    now: np.ndarray,
    image: ExistingImage,
) -> None:
    """Check that nobody changed the same pixels in another way (3-way)."""
    theirs = _differs(now, np.asarray(edit.original))
    clash = mine & theirs & _differs(values, now)
    if clash.any():
        raise PatchConflictError(edit, clash, image)


def _differs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Compare values; NaN is equal to NaN."""
    differs: np.ndarray = one != other
    if one.dtype.kind == "f" and other.dtype.kind == "f":
        differs &= ~(np.isnan(one) & np.isnan(other))
    return differs


def _coarsen(
    finer: StoredArray,
    coarser: StoredArray,
    step: Sequence[int],
    changed: Bounds,
    method: Method,
) -> Bounds:
    """Make the part of a level anew that a changed box of the finer one reaches."""
    cells = tuple(
        (start // by * by, min(-(-stop // by) * by, size))
        for (start, stop), by, size in zip(changed, step, finer.shape, strict=True)
    )
    target = coarser_box(cells, step, coarser.shape)
    values = downsample(finer.read(cells), step, method)
    values = values[slices(whole_box(shape_of(target)))]
    if values.size:
        coarser.write(target, values)
    return target
