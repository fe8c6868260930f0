"""What napari asks to see of a layer, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Look:
    """What napari asks to see of a layer.

    Attributes
    ----------
    level, thumbnail : int
        The levels of the picture and of the thumbnail.
    displayed : tuple of int
        The axes on screen, two or three.
    point : tuple of float or None
        Where the other axes are cut, in pixels of the finest level.
    centre : tuple of float
        The middle of the canvas, in pixels of `level`.
    mark : scalar
        What is drawn over chunks that could not be had.
    climbs : bool
        The volume is to be shown at finer levels as they come.
    """

    level: int
    thumbnail: int
    displayed: tuple[int, ...]
    point: tuple[float | None, ...]
    centre: tuple[float, ...]
    mark: Any = 0
    climbs: bool = False
