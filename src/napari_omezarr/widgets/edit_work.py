"""Writing an edited region back; blocks, so it is done in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.errors import OptionError
from napari_omezarr.writing import patch
from napari_omezarr.writing.origin import read_origin

if TYPE_CHECKING:
    from .edits import Edited


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
    origin = read_origin(edited.record)
    start = [int(first) for first in edited.record["region"]["start"]]
    values, original = edited.values, edited.original
    types = [axis.type for axis in origin.axes.values()]
    if len(types) == len(start) + 1 and origin.channel is not None:
        axis = types.index("channel")
        start.insert(axis, origin.channel)
        values = np.expand_dims(values, axis)
        original = np.expand_dims(original, axis)
    if len(types) != len(start) or not origin.address:
        raise OptionError(
            "The region does not tell where in its image it lies.",
            action="Load it again.",
        )
    count = int(np.count_nonzero(values != original))
    if count:
        patch(origin.address, start, values, original=original)
    return Changed(count, origin.address)
