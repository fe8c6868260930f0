"""One layer before it is a layer, and its contrast from a sample of its pixels."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, product
from math import ceil, prod
from operator import sub
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import DamagedDataError, OMEZarrError
from napari_omezarr.metadata import limits_of
from napari_omezarr.plain_text import plain
from napari_omezarr.pyramid import (
    chunk_box,
    chunk_counts,
    findings,
    fits,
    sample_of,
    slices,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import dask.array as da

    from napari_omezarr.pyramid import Pixels
    from napari_omezarr.tables import FeatureSource

LayerData = tuple[Any, dict[str, Any], str]
"""What napari calls layer data: data, options of the constructor, layer type."""

_MOST_CHUNKS = 8
_MOST_BYTES = 16 * 2**20
_FEWEST_SHADES = 2

_MOST_TRIES = 24
"""So many chunks of a level are tried, at most, if the first ones are damaged."""
_REACH, _MOST_NEAR = 3, 2000


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """All that makes a napari layer, without napari."""

    kind: str
    """``image`` or ``labels``."""
    data: tuple[da.Array, ...]
    """The levels, finest first; lazy. RGB channels are the last axis."""
    levels: tuple[Pixels, ...]
    """The same levels, for a display that reads without blocking."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments for the layer's constructor, ``multiscale`` among them."""
    contrast_range: tuple[float, float] | None = None
    """The ends of the contrast slider; no constructor takes them."""
    needs_contrast: bool = False
    """The metadata give no window: ``options`` hold a makeshift, to be replaced by
    ``estimate_contrast``."""
    checks_window: bool = False
    """The metadata give a window that may not fit the pixels: see
    ``fitting_contrast``."""
    features: FeatureSource | None = None
    """Where the features of labels may lie; nothing was asked yet."""

    def __post_init__(self) -> None:
        # napari shows these as its widgets take them; a save takes what was written.
        options = dict(self.options)
        changed: dict[str, str] = {}
        if isinstance(options.get("name"), str):
            options["name"] = _shown(options["name"], changed)
        if "features" in options:
            options["features"] = plain_columns(options["features"], changed)
        if "omezarr" in options.get("metadata", {}):
            record = dict(options["metadata"]["omezarr"])
            record["layer_name"] = options.get("name")
            if changed:
                record["verbatim"] = {**record.get("verbatim", {}), **changed}
            options["metadata"] = {**options["metadata"], "omezarr": record}
        object.__setattr__(self, "options", options)

    @property
    def record(self) -> dict[str, Any]:
        """What the layer's metadata know of the image that it shows."""
        known: dict[str, Any] = self.options.get("metadata", {}).get("omezarr", {})
        return known

    @property
    def warnings(self) -> tuple[str, ...]:
        """What had to be tolerated, as the layer's metadata have it."""
        return tuple(self.record.get("warnings", ()))

    def warned(self, *sentences: str, **options: Any) -> LayerSpec:
        """Give the same layer with other options, and with more to say of it."""
        metadata = {**self.record}
        metadata["warnings"] = list(dict.fromkeys((*self.warnings, *sentences)))
        options["metadata"] = {**self.options["metadata"], "omezarr": metadata}
        return dataclasses.replace(self, options={**self.options, **options})

    @property
    def layer_data(self) -> LayerData:
        """The tuple that napari calls layer data."""
        data = list(self.data) if self.options.get("multiscale") else self.data[0]
        return data, dict(self.options), self.kind


def plain_columns(
    columns: Mapping[str, Any], changed: dict[str, str] | None = None
) -> dict[str, Any]:
    """Give the columns of a table, their names and texts as plain text.

    What had to be changed is noted in `changed`: plain text to what was written.
    """
    noted = {} if changed is None else changed
    return {
        _shown(str(name), noted): _plain(column, noted)
        for name, column in columns.items()
    }


def _plain(column: Any, changed: dict[str, str]) -> Any:
    if getattr(column, "dtype", np.dtype(object)).kind in "biufcmM":
        return column
    return [_shown(v, changed) if isinstance(v, str) else v for v in column]


def _shown(text: str, changed: dict[str, str]) -> str:
    shown = plain(text)
    if shown != text:
        changed[shown] = text
    return shown


def with_contrast(layers: Sequence[LayerSpec]) -> list[LayerSpec]:
    """Estimate the contrast of the layers that need it, all at once; blocks.

    Raises
    ------
    StoreError
        The chunks could not be read.
    """
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(_with_contrast, layers))


def with_checked_window(layer: LayerSpec) -> LayerSpec:
    """Replace a window that shows nothing of the pixels, and say so; blocks.

    Nothing is said if the chunks cannot be read: whoever looks at them will know.
    """
    if not layer.checks_window:
        return layer
    layer = dataclasses.replace(layer, checks_window=False)
    window = layer.options["contrast_limits"]
    with suppress(OMEZarrError):
        limits = fitting_contrast(layer.levels, window)
        if limits is not None:
            said = unfit_window(layer.options["name"], window)
            layer = layer.warned(said, contrast_limits=limits)
            return dataclasses.replace(layer, contrast_range=None)
    return layer


def unfit_window(name: str, window: tuple[float, float]) -> str:
    """Say that a window was replaced."""
    low, high = window
    return (
        f"The window of {name}, {low:g} to {high:g}, shows nothing of its pixels; "
        "the contrast is estimated from them."
    )


def _with_contrast(layer: LayerSpec) -> LayerSpec:
    if layer.checks_window:
        return with_checked_window(layer)
    if not layer.needs_contrast:
        return layer
    limits = estimate_contrast(layer.levels)
    found = findings(layer.levels[-1])
    layer = layer.warned(*found, contrast_limits=limits)
    return dataclasses.replace(layer, needs_contrast=False)


def makeshift_limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Give limits that napari accepts, until an estimate takes their place."""
    if dtype.kind in "iu":
        information = np.iinfo(dtype)
        return float(information.min), float(information.max)
    return 0.0, 1.0


def estimate_contrast(levels: Sequence[Pixels]) -> tuple[float, float]:
    """Estimate contrast limits, low < high, from the coarsest level; blocks.

    They are the 0.1 and the 99.9 percentile of the finite values, or the extremes
    where those are equal. `levels` are given finest first. Of damaged chunks nothing
    is known, and others are taken.

    Raises
    ------
    StoreError
        The chunks could not be read.
    """
    if levels[-1].dtype.kind == "b":
        return 0.0, 1.0
    values = _sample(levels)
    if values is None:
        return makeshift_limits(levels[-1].dtype)
    return limits_of(values)


def fitting_contrast(
    levels: Sequence[Pixels], window: tuple[float, float]
) -> tuple[float, float] | None:
    """Estimate contrast limits where a window shows all as one shade; blocks.

    None where it shows something, or where too little is known to say that it does
    not: a part of the image may be dark, unless the window is the range of a type,
    which says nothing of the image.

    Raises
    ------
    StoreError
        The chunks could not be read.
    """
    coarsest = levels[-1]
    if coarsest.dtype.kind == "b" or _size(coarsest) > _MOST_BYTES:
        return None
    box = _middle(coarsest)
    is_whole = all(
        part.stop - part.start == size
        for part, size in zip(box, coarsest.shape, strict=True)
    )
    if not is_whole and not is_range_of_a_type(window):
        return None
    values = _sample(levels)
    values = np.zeros(0) if values is None else values[np.isfinite(values)]
    if values.size == 0 or values.min() == values.max():
        return None
    ends = np.array([values.min(), values.max()], np.float64)
    low, high = window
    shades = np.clip((ends - low) / (high - low), 0, 1) * 255
    return limits_of(values) if shades[1] - shades[0] < _FEWEST_SHADES else None


def is_range_of_a_type(window: tuple[float, float]) -> bool:
    """Tell windows that are the range of an integer type, of 8 bits or more."""
    low, high = window
    if high < 255 or not (float(low).is_integer() and float(high).is_integer()):
        return False
    end, start = int(high), int(low)
    power = end if end & (end - 1) == 0 else end + 1
    return power & (power - 1) == 0 and start in (0, -power)


_EXACT = 2**24
"""Up to here single floats hold all whole numbers, and few ids go so far."""


def label_type(levels: Sequence[Pixels]) -> np.dtype[Any] | None:
    """Find an integer type for label values stored as floats, by a sample; blocks.

    None where they are no whole numbers, or larger than any integer type of napari's.

    Raises
    ------
    StoreError
        The chunks could not be read.
    """
    found = _sample(levels)
    values = np.zeros(0) if found is None else found[np.isfinite(found)]
    values = values.astype(np.float64)
    small = levels[0].dtype.itemsize <= 4 and not np.any(np.abs(values) >= _EXACT)
    dtype = np.dtype(np.int32 if small else np.int64)
    return dtype if fits(values, dtype) else None


def _sample(levels: Sequence[Pixels]) -> np.ndarray | None:
    """Read some pixels of the coarsest level; None if all that was tried is damaged."""
    coarsest = sample_of(levels[-1])
    if 0 in coarsest.shape:
        return np.empty(0, coarsest.dtype)
    with suppress(DamagedDataError):
        return coarsest[_middle(coarsest)].ravel()
    for pixels in reversed(levels):
        found: list[np.ndarray] = []
        for box in islice(_from_the_middle(pixels), _MOST_TRIES):
            with suppress(DamagedDataError):
                found.append(pixels[box].ravel())
            if len(found) * _size(pixels) >= _MOST_BYTES or len(found) == _MOST_CHUNKS:
                break
        if found:
            return np.concatenate(found)
    return None


def _size(pixels: Pixels) -> int:
    """Give the bytes of a chunk."""
    return prod(pixels.chunks) * pixels.dtype.itemsize


def _from_the_middle(pixels: Pixels) -> Iterator[tuple[slice, ...]]:
    """Give the boxes of single chunks, the middle one first, in all directions."""
    counts = chunk_counts(pixels.shape, pixels.chunks)
    reach = [min(count // 2, _REACH) for count in counts]
    along = [
        range(max(0, count // 2 - by), min(count, count // 2 + by + 1))
        for count, by in zip(counts, reach, strict=True)
    ]
    middle = [count // 2 for count in counts]
    near = islice(product(*along), _MOST_NEAR)
    for block in sorted(near, key=lambda b: sum(map(abs, map(sub, b, middle)))):
        yield slices(chunk_box(block, pixels.chunks, pixels.shape))


def _middle(pixels: Pixels) -> tuple[slice, ...]:
    """Give the box of whole chunks in the middle that is worth sampling.

    It begins as the middle chunk and grows along the last axes first, as long as
    it holds at most eight chunks and 16 MB.
    """
    counts = [ceil(s / c) for s, c in zip(pixels.shape, pixels.chunks, strict=True)]
    taken = [1] * len(counts)
    size = _size(pixels)
    for axis in reversed(range(len(counts))):
        others = prod(taken) // taken[axis]
        affordable = min(_MOST_CHUNKS, max(1, _MOST_BYTES // max(1, size))) // others
        taken[axis] = max(1, min(counts[axis], affordable))
    firsts = [(count - take) // 2 for count, take in zip(counts, taken, strict=True)]
    return tuple(
        slice(first * chunk, min((first + take) * chunk, total))
        for first, take, chunk, total in zip(
            firsts, taken, pixels.chunks, pixels.shape, strict=True
        )
    )
