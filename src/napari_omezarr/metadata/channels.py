"""How each channel is shown, whatever the document leaves out or has wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .model import Channel, Rendering, Window

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

# As napari colours the channels of one image.
_ONE = ("FFFFFF",)
_TWO = ("FF00FF", "00FF00")
_MORE = ("00FFFF", "FFFF00", "FF00FF", "FF0000", "00FF00", "0000FF")

_RGB = ("FF0000", "00FF00", "0000FF")


@dataclass(frozen=True, slots=True)
class ResolvedChannel:
    """One channel as it is to be shown.

    Parameters
    ----------
    name : str
        The document's label, else ``channel 0``, ...; empty for the only channel of
        an image, which goes by the image's name.
    color : str
        Six hex digits: the colour of the highest intensity, on black.
    contrast_limits : tuple of float or None
        Lower and upper, the lower one smaller; None where pixels must decide.
    contrast_range : tuple of float or None
        The range that limits are offered in; contains the limits. None: no opinion.
    visible : bool
        Whether it is shown at first.
    inverted : bool
        Whether the colour is that of the lowest intensity instead.
    """

    name: str
    color: str
    contrast_limits: tuple[float, float] | None
    contrast_range: tuple[float, float] | None
    visible: bool = True
    inverted: bool = False


def resolve_channels(
    rendering: Rendering | None, count: int, dtype: DTypeLike
) -> tuple[tuple[ResolvedChannel, ...], tuple[str, ...]]:
    """Decide how ``count`` channels are shown.

    Parameters
    ----------
    rendering : Rendering or None
        The ``omero`` block. Channels that it lacks get defaults, those that it has
        too many are ignored, both with a warning.
    count : int
        How many channels the arrays have; 1 where they have no channel axis.
    dtype : dtype-like
        Of the arrays.

    Returns
    -------
    tuple of ResolvedChannel
        ``count`` of them. Default colours are napari's: white for one channel;
        magenta and green for two; cyan, yellow, magenta, red, green, blue in turn
        for more. All are white in the ``greyscale`` model.
    tuple of str
        A sentence for everything that was repaired.
    """
    listed = rendering.channels if rendering else ()
    warnings = []
    if rendering is not None and len(listed) != count:
        warnings.append(
            f"The document describes {len(listed)} channels and the image has {count}."
        )
    channels = (*listed[:count], *[Channel()] * (count - len(listed)))
    grey = rendering is not None and rendering.model == "greyscale"
    resolved = []
    for index, channel in enumerate(channels):
        limits, span, repairs = _contrast(channel.window, np.dtype(dtype))
        warnings += [f"Channel {index}: {repair}." for repair in repairs]
        resolved.append(
            ResolvedChannel(
                name=(channel.label or "").strip() or _default_name(index, count),
                color=_ONE[0] if grey else channel.color or _default(index, count),
                contrast_limits=limits,
                contrast_range=span,
                visible=channel.active,
                inverted=channel.inverted,
            )
        )
    return tuple(resolved), tuple(warnings)


def is_rgb(rendering: Rendering | None, count: int, dtype: DTypeLike) -> bool:
    """Whether channels are the red, green and blue (and alpha) of one picture.

    Parameters
    ----------
    rendering : Rendering or None
        The ``omero`` block; without it nothing is a picture.
    count : int
        How many channels the arrays have.
    dtype : dtype-like
        Of the arrays.

    Returns
    -------
    bool
        True for three ``uint8`` channels with exactly these colours in this order,
        or four of which the last is white or called alpha, all visible, none
        inverted, and each window the whole of 0 to 255 or absent.
    """
    if rendering is None or rendering.model == "greyscale":
        return False
    channels = rendering.channels
    if np.dtype(dtype) != np.uint8 or len(channels) != count or count not in (3, 4):
        return False
    if tuple(channel.color for channel in channels[:3]) != _RGB:
        return False
    if not all(_is_plain(channel) for channel in channels):
        return False
    last = channels[-1]
    named_alpha = (last.label or "").strip().lower() in ("a", "alpha")
    return count == 3 or named_alpha or last.color in (None, "FFFFFF")


def _is_plain(channel: Channel) -> bool:
    window = channel.window or Window()
    full = window.start in (None, 0) and window.end in (None, 255)
    return full and channel.active and not channel.inverted


def _default_name(index: int, count: int) -> str:
    return f"channel {index}" if count > 1 else ""


def _default(index: int, count: int) -> str:
    cycle = _ONE if count == 1 else _TWO if count == 2 else _MORE
    return cycle[index % len(cycle)]


def _contrast(
    window: Window | None, dtype: np.dtype[np.generic]
) -> tuple[tuple[float, float] | None, tuple[float, float] | None, list[str]]:
    """Return limits, range and what was repaired.

    A window without ``start`` and ``end`` says nothing of the limits. One that is
    turned round is turned back, one that is wider than an integer dtype is cut to
    it, and one that is then empty is not used: pixels decide.
    """
    if window is None:
        return None, None, []
    limits, repairs = _limits(window, _bounds(dtype))
    return limits, _range(window, limits, dtype), repairs


def _limits(
    window: Window, bounds: tuple[float, float] | None
) -> tuple[tuple[float, float] | None, list[str]]:
    start, end = window.start, window.end
    if start is None and end is None:
        return None, []
    start = window.min if start is None else start
    end = window.max if end is None else end
    if start is None or end is None:
        return None, ["its window has only one end and is not used"]
    repairs = []
    if start > end:
        start, end = end, start
        repairs.append("its window was turned round")
    if bounds and (start < bounds[0] or end > bounds[1]):
        start, end = max(start, bounds[0]), min(end, bounds[1])
        repairs.append("its window is wider than the pixel type")
    if not start < end:
        return None, [*repairs, "its window is empty and is not used"]
    return (start, end), repairs


def _range(
    window: Window, limits: tuple[float, float] | None, dtype: np.dtype[np.generic]
) -> tuple[float, float] | None:
    """Return min to max within the pixel type, or the whole of a small pixel type."""
    bounds = _bounds(dtype)
    span = None
    if window.min is not None and window.max is not None:
        span = (window.min, window.max)
        if bounds:
            span = (max(span[0], bounds[0]), min(span[1], bounds[1]))
    elif limits and dtype.itemsize <= 2:
        span = bounds
    if span and limits:
        span = (min(span[0], limits[0]), max(span[1], limits[1]))
    return span if span and span[0] < span[1] else None


def _bounds(dtype: np.dtype[np.generic]) -> tuple[float, float] | None:
    if dtype.kind == "b":
        return 0.0, 1.0
    if dtype.kind not in "iu":
        return None
    info = np.iinfo(dtype.str)
    return float(info.min), float(info.max)
