"""Planes through the colours of their channels; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_omezarr.metadata import ResolvedChannel

_PERCENTILES = (0.1, 99.9)
_GOLDEN = 0.618033988749895
"""Steps of the golden ratio round the colour circle give neighbours far colours."""


def composite(
    planes: Sequence[np.ndarray], channels: Sequence[ResolvedChannel]
) -> np.ndarray:
    """Add planes in their colours, each within its contrast limits.

    Where a channel has no limits, they are the 0.1 and the 99.9 percentile of what
    is seen; so they are where nothing that is seen lies within the limits.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Rows x columns, one for each channel.
    channels : sequence of ResolvedChannel
        Their colours and limits.

    Returns
    -------
    numpy.ndarray
        Rows x columns x RGB, uint8.
    """
    total = np.zeros((*planes[0].shape, 3))
    for plane, channel in zip(planes, channels, strict=True):
        values = np.nan_to_num(plane.astype(np.float64), posinf=0, neginf=0)
        low, high = _limits(values, channel.contrast_limits)
        shade = np.clip((values - low) / (high - low), 0, 1)
        shade = 1 - shade if channel.inverted else shade
        total += shade[..., np.newaxis] * _rgb(channel.color)
    return np.asarray(np.clip(total * 255, 0, 255).round(), dtype=np.uint8)


def label_colours(
    plane: np.ndarray, colors: Mapping[int, tuple[int, int, int, int]]
) -> np.ndarray:
    """Give every label a colour: its own, or one that depends on its number only.

    Returns
    -------
    numpy.ndarray
        Rows x columns x RGB, uint8; label 0 is black.
    """
    labels, where = np.unique(plane, return_inverse=True)
    table = np.zeros((len(labels), 3), np.uint8)
    for row, label in enumerate(labels.tolist()):
        if label in colors:
            table[row] = colors[label][:3]
        elif label:
            table[row] = _hue(int(label) * _GOLDEN % 1)
    return table[where].reshape(*plane.shape, 3)


def _limits(
    values: np.ndarray, stated: tuple[float, float] | None
) -> tuple[float, float]:
    if stated is not None and values.max() > stated[0] and values.min() < stated[1]:
        return stated
    low, high = (float(v) for v in np.percentile(values, _PERCENTILES))
    return (low, high) if low < high else (low, low + 1)


def _rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def _hue(hue: float) -> np.ndarray:
    angles = (hue + np.array([0, 1 / 3, 2 / 3])) * 2 * np.pi
    return np.asarray(127 + 110 * np.cos(angles), dtype=np.uint8)
