"""What is on the screen, as plain values: for links that show others the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ChannelView:
    """How one channel is shown.

    Attributes
    ----------
    index : int
        Along the channel axis; 0 for an image without one.
    name : str
        What it is called.
    color : str
        Six hex digits.
    contrast : tuple of float
        The values that are shown as black and as the full colour.
    visible : bool
        Whether it is shown.
    """

    index: int
    name: str
    color: str
    contrast: tuple[float, float]
    visible: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """Where one looks and how.

    Attributes
    ----------
    center : Mapping
        The middle of the screen by the names of the axes, in world units.
    zoom : float
        Pixels of the screen for one world unit.
    units : Mapping
        The unit of each axis as OME-Zarr spells it; what is missing has none.
    channels : tuple of ChannelView
        In the order in which they are drawn.
    is_3d : bool
        Whether a volume is shown.
    has_channel_axis : bool
        Whether the image has one.
    """

    center: Mapping[str, float]
    zoom: float
    units: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[ChannelView, ...] = ()
    is_3d: bool = False
    has_channel_axis: bool = False
