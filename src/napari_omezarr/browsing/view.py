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
        The values that are shown as black and as the full colour; the first is the
        larger one where dark is much.
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
    labels : tuple of str
        The names of the label images that are shown with it.
    displayed : tuple of str
        The axes of the screen: down and to the right, or three for a volume.
    channel_axis : str
        The name of the axis of the channels; empty if there is none.
    grid : Mapping
        Along each axis the size of a pixel and the place of the first one's centre, at
        the finest level, in world units.
    """

    center: Mapping[str, float]
    zoom: float
    units: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[ChannelView, ...] = ()
    labels: tuple[str, ...] = ()
    displayed: tuple[str, ...] = ("y", "x")
    channel_axis: str = ""
    grid: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def is_3d(self) -> bool:
        """Whether a volume is shown."""
        return len(self.displayed) == 3
