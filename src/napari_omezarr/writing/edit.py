"""A region of an image as somebody left it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from napari_omezarr.pyramid.boxes import Bounds


@dataclass(frozen=True, slots=True)
class Edit:
    """A region of the finest level as somebody left it.

    Parameters
    ----------
    start : tuple of int
        Where it begins, for all axes.
    values : numpy.ndarray
        What is to be there.
    original : numpy.ndarray or None
        What was there when editing began; None overwrites whatever is there now.
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
