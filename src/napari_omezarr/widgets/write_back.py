"""Writing an edited region back; blocks, so it is done in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.errors import OptionError
from napari_omezarr.writing import (
    open_existing,
    open_hierarchy,
    parsed,
    patch,
    read_origin,
)

if TYPE_CHECKING:
    from .edit_back import Edited


# Writing an edited region back; blocks, so it is done in a thread.


@dataclass(frozen=True, slots=True)
class Changed:
    """How many pixels were edited, of the image at which address."""

    pixels: int
    address: str


def write_edit(edited: Edited) -> Changed:
    """Write what was edited, and nothing that somebody else has changed meanwhile.

    Raises
    ------
    ConflictError
        Somebody has changed the same pixels in another way; nothing was written.
    OptionError
        The region does not tell where in the image it lies.
    StoreError
        Reading or writing failed.
    """
    address, start, axis = _place(edited)
    values, original = edited.values, edited.original
    if axis is not None:
        values = np.expand_dims(values, axis)
        original = np.expand_dims(original, axis)
    count = int(np.count_nonzero(values != original))
    if count:
        patch(address, start, values, original=original)
    return Changed(count, address)


def read_present(edited: Edited) -> np.ndarray:
    """Read what the image holds by now where a region lies, of the region's shape.

    Raises
    ------
    OptionError
        The region does not tell where in the image it lies.
    StoreError
        Reading failed.
    """
    address, start, axis = _place(edited)
    shape = list(edited.original.shape)
    if axis is not None:
        shape.insert(axis, 1)
    image = open_existing(open_hierarchy(parsed(address)))
    bounds = tuple((s, s + size) for s, size in zip(start, shape, strict=True))
    return image.levels[0].read(bounds).reshape(edited.original.shape)


def _place(edited: Edited) -> tuple[str, list[int], int | None]:
    """Give the image, where in it the region begins, and the axis that it lacks."""
    origin = read_origin(edited.record)
    start = [int(first) for first in edited.record["region"]["start"]]
    types = [axis.type for axis in origin.axes.values()]
    axis = None
    if len(types) == len(start) + 1 and origin.channel is not None:
        axis = types.index("channel")
        start.insert(axis, origin.channel)
    if len(types) != len(start) or not origin.address:
        raise OptionError(
            "The region does not tell where in its image it lies.",
            action="Load it again.",
        )
    return origin.address, start, axis
