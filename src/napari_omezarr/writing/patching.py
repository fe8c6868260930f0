"""Write an edited region into an array that is there, and into its coarser levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.errors import OptionError
from napari_omezarr.pyramid.boxes import inside, units

from .conflict import PatchConflictError
from .downsample import downsample
from .work import coarser_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.pyramid.boxes import Bounds

    from .edit import Edit
    from .existing import ExistingImage
    from .options import Method
    from .stored import StoredArray


@dataclass(frozen=True, slots=True)
class Patched:
    """What a patch changed: objects of the finest level, and boxes of all levels."""

    objects: int
    boxes: tuple[Bounds, ...]


def patch_image(image: ExistingImage, edit: Edit, method: Method) -> Patched:
    """Write a region, and what follows from it at the coarser levels.

    Only chunks, or shards, in which something was edited are written. All is
    compared before the first of them.

    Parameters
    ----------
    image : ExistingImage
        What is changed.
    edit : Edit
        The region; it has to fit into memory.
    method : {"mean", "nearest", "max", "mode"}
        How coarser pixels are made; the one that the image was made with.

    Raises
    ------
    OptionError
        The region lies outside, or is of another type.
    PatchConflictError
        Pixels that were edited have been changed by somebody else. Nothing was
        written.
    StoreError
        Reading or writing failed; finer levels may be written already, and doing
        it again mends that.
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
    for box in units(edit.bounds, finest.chunks):
        inner = inside(box, edit.bounds)
        if _differs(wanted[inner], now[inner]).any():
            finest.write(box, wanted[inner])
            written.append(box)
    boxes = [_around(written)] if written else []
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
    target = coarser_bounds(cells, tuple(step), coarser.shape)
    values = downsample(finer.read(cells), step, method)
    values = values[tuple(slice(0, stop - start) for start, stop in target)]
    if values.size:
        coarser.write(target, values)
    return target


def _around(boxes: Sequence[Bounds]) -> Bounds:
    """Give the smallest box around others."""
    return tuple(
        (min(start for start, _ in along), max(stop for _, stop in along))
        for along in zip(*boxes, strict=True)
    )
