"""Contrast limits where nobody gave any, from the coarsest level once it is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .engine import stored_level
from .plan import with_looks

if TYPE_CHECKING:
    from .picture import Look
    from .plan import Plan
    from .target import Hierarchy

_MOST_BYTES = 2**20
_PERCENTILES = (0.1, 99.9)


def with_contrast(plan: Plan, staged: Hierarchy) -> Plan:
    """Give the plan with limits for every channel that had none.

    They are the 0.1 and 99.9 percentiles of the finite values of the middle of
    the coarsest level, or of a part of it that is worth reading.

    Raises
    ------
    StoreError
        The coarsest level could not be read.
    """
    for number, image in enumerate(plan.images):
        looks = image.picture.looks
        if not any(look.limits is None for look in looks):
            continue
        level = image.levels[-1]
        array = stored_level(plan, staged, image, level)
        axis = image.picture.channel_axis
        box = _middle(level.shape, image.dtype.itemsize, axis)
        values = array.read(box)
        parts = [values] if axis is None else list(np.moveaxis(values, axis, 0))
        found = [_limited(look, part) for look, part in zip(looks, parts, strict=True)]
        plan = with_looks(plan, number, found)
    return plan


def _limited(look: Look, values: np.ndarray) -> Look:
    if look.limits is not None:
        return look
    limits = _limits(values)
    low, high = look.span or limits
    return replace(
        look, limits=limits, span=(min(low, limits[0]), max(high, limits[1]))
    )


def _limits(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite.astype(float), _PERCENTILES))
    if low == high:
        low, high = float(finite.min()), float(finite.max())
    return (low, high) if low < high else (low, low + 1)


def _middle(
    shape: tuple[int, ...], itemsize: int, channel: int | None
) -> tuple[tuple[int, int], ...]:
    """Cut the first axes, which are not channels, until the box is small enough."""
    sizes = list(shape)
    for axis in range(len(sizes)):
        if axis == channel:
            continue
        others = int(np.prod(sizes)) // sizes[axis] * itemsize
        sizes[axis] = max(1, min(sizes[axis], _MOST_BYTES // max(1, others)))
    starts = [(full - size) // 2 for full, size in zip(shape, sizes, strict=True)]
    return tuple((a, a + size) for a, size in zip(starts, sizes, strict=True))
