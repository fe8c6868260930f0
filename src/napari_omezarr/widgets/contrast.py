"""Contrast limits that no metadata give: estimated in a thread, set by signal."""

from __future__ import annotations

import logging
import weakref
from functools import partial
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.layers import estimate_contrast

from .job import Job

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari.layers import Image

    from napari_omezarr.pyramid import Pixels

Limits = tuple[float, float]

_log = logging.getLogger(__name__)
_turn = BoundedSemaphore(4)  # images with dozens of channels come in turns


def estimate_later(layer: Image, levels: tuple[Pixels, ...]) -> Job:
    """Estimate a layer's contrast, and set it unless the person was faster.

    Parameters
    ----------
    layer : Image
        With makeshift limits; it may be gone by the time the estimate is there.
    levels : tuple of Pixels
        Its levels, finest first; a few chunks of the last are read.
    """
    before = _limits(layer)
    return Job(partial(_estimate, levels)).start(
        partial(_settle, weakref.ref(layer), before)
    )


def slider_range(limits: Limits, dtype: np.dtype[Any]) -> Limits:
    """Give a range for the slider that is wider than the limits, and not endless.

    Eight bits get all their values; else it goes from zero, or as far below the low
    limit as the limits are apart, to as far above the high one.
    """
    low, high = limits
    if dtype.kind in "iu" and dtype.itemsize == 1:
        information = np.iinfo(dtype)
        return float(information.min), float(information.max)
    span = high - low
    bottom, top = min(0.0, low) if low >= 0 else low - span, high + span
    if dtype.kind in "iu":
        information = np.iinfo(dtype)
        return max(bottom, float(information.min)), min(top, float(information.max))
    return bottom, top


def _estimate(levels: tuple[Pixels, ...]) -> Limits:
    with _turn:
        return estimate_contrast(levels)


def _settle(
    reference: weakref.ref[Image], before: Limits, outcome: Future[Limits]
) -> None:
    layer = reference()
    if layer is None or _limits(layer) != before:
        return
    error = outcome.exception()
    if isinstance(error, OMEZarrError):
        # The display reads the same chunks, and tells the person.
        _log.info("The contrast of %s was not estimated: %s", layer.name, error)
        return
    limits = outcome.result()
    layer.contrast_limits = limits
    layer.contrast_limits_range = slider_range(limits, np.dtype(layer.dtype))


def _limits(layer: Image) -> Limits:
    low, high = layer.contrast_limits
    return float(low), float(high)
