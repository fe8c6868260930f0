"""The levels of one multiscale: arrays from their documents, without pixels."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.storage import StorePath

from napari_omezarr.errors import (
    FOREIGN_ERRORS,
    DamagedDataError,
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    UnsupportedDataError,
)
from napari_omezarr.metadata import channel_axis, fit_axes
from napari_omezarr.pyramid import (
    ArrayPixels,
    Level,
    check_grid,
    tolerated,
    understood,
)

from .nodes import ArrayNode, array_key, find_array, group_keys, join_path
from .rounds import together

if TYPE_CHECKING:
    from napari_omezarr.metadata import Dataset, Multiscale

    from .nodes import Node, Opening
    from .rounds import Questions


def find_levels(
    opening: Opening, group: str, multiscale: Multiscale, zarr_format: int
) -> Questions[tuple[Multiscale, tuple[Level, ...]]]:
    """Find the levels that a viewer can use, in one round; finest first, at least one.

    Levels that are missing, that cannot be decoded, or that are not smaller than
    the one before are left out, each with a warning. The multiscale that is returned
    has axes that fit the arrays.
    """
    parts = yield from together(
        _find_level(opening, join_path(group, dataset.path), zarr_format)
        for dataset in multiscale.datasets
    )
    found: list[tuple[Dataset, ArrayPixels]] = []
    problems: list[OMEZarrError] = []
    for dataset, part in zip(multiscale.datasets, parts, strict=True):
        if isinstance(part, ArrayPixels):
            found.append((dataset, part))
        else:
            problems.append(part)
    if not found:
        raise problems[0]
    opening.warnings.extend(str(problem) for problem in problems)
    ndim = len(found[0][1].shape)
    multiscale, warnings = fit_axes(multiscale, ndim)
    opening.warnings.extend(warnings)
    affines = {dataset.path: dataset.affine for dataset in multiscale.datasets}
    levels = []
    for dataset, pixels in found:
        if pixels.ndim == ndim:
            levels.append(Level(dataset.path, pixels, affines[dataset.path]))
        else:
            opening.warnings.append(
                f"Level {dataset.path} has {pixels.ndim} dimensions, not {ndim}; "
                "left out."
            )
    levels = _with_all_channels(opening, levels, channel_axis(multiscale.axes))
    kept = order_levels(opening, levels)
    _note_types(opening, kept)
    return multiscale, pick_level(opening, kept)


def open_array(
    opening: Opening, node: ArrayNode, alike: ArrayPixels | None = None
) -> ArrayPixels:
    """Make the pixels of an array from its document; asks nothing.

    `alike` are those of an array of the same store whose document is the same.
    """
    address = opening.place(node.path).display
    if alike is not None:
        return _confirmed(opening, node, alike.at(node.path, address))
    name = node.path or address
    try:
        known, odd = understood(node.document)
        document, notes = tolerated(known)
        check_grid(document)
        opened = zarr.AsyncArray.from_dict(
            StorePath(opening.store, node.path), document
        )
        _check_size(opened)
        pixels = ArrayPixels(opened, address, opening.store.concurrency)
    # zarr says "I do not know this codec, this type, this grid" in all these ways.
    except FOREIGN_ERRORS as error:
        # Its own words, of a document that others wrote: not more than can be read.
        reason = str(error).strip().rstrip(".")[:_REASON] or type(error).__name__
        msg = f"The array {name} cannot be decoded here: {reason}."
        raise UnsupportedDataError(msg, url=address) from error
    opening.warnings.extend(f"{name}: {said}" for said in odd)
    opening.warnings.extend(notes)
    return _confirmed(opening, node, pixels)


def _confirmed(opening: Opening, node: ArrayNode, pixels: ArrayPixels) -> ArrayPixels:
    """Have what consolidated metadata said of an array asked along with its pixels."""
    group = node.path.rpartition("/")[0]
    keys = array_key(node.path, node.zarr_format), *group_keys(group, node.zarr_format)
    confirmation = opening.consolidated.confirmation(opening.store, keys)
    if confirmation is not None:
        pixels.confirm = confirmation.settle
    return pixels


_REASON = 200  # characters


def _check_size(array: zarr.AsyncArray[Any]) -> None:
    """Raise UnsupportedDataError for arrays that are no images, or beyond numpy."""
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biuf":
        raise UnsupportedDataError(f"It holds {dtype}, not an image")
    if math.prod(array.shape) * dtype.itemsize >= 2**63:
        raise UnsupportedDataError("It is larger than can be")


def order_levels(opening: Opening, levels: list[Level]) -> tuple[Level, ...]:
    """Put levels in order, finest first, without those that do not get smaller.

    A viewer picks a level by its size, so two of the same size are of no use.
    """
    sizes = [math.prod(level.pixels.shape) for level in levels]
    if len(levels) > 1 and all(a < b for a, b in pairwise(sizes)):
        opening.warnings.append("The levels are listed coarsest first; turned round.")
        levels = levels[::-1]
    kept = levels[:1]
    for level in levels[1:]:
        pairs = zip(level.pixels.shape, kept[-1].pixels.shape, strict=True)
        smaller = level.pixels.shape != kept[-1].pixels.shape
        if smaller and all(size <= before for size, before in pairs):
            kept.append(level)
        else:
            opening.warnings.append(
                f"Level {level.path} is not smaller than level {kept[-1].path}; "
                "left out."
            )
    return tuple(kept)


def _with_all_channels(
    opening: Opening, levels: list[Level], axis: int | None
) -> list[Level]:
    """Leave out levels that have not the channels of the finest one."""
    if axis is None or not levels:
        return levels
    finest = max(levels, key=lambda level: math.prod(level.pixels.shape))
    count = finest.pixels.shape[axis]
    for level in levels:
        held = level.pixels.shape[axis]
        if held != count:
            opening.warnings.append(
                f"Level {level.path} has {held} channels, not {count}; left out."
            )
    return [level for level in levels if level.pixels.shape[axis] == count]


def _note_types(opening: Opening, levels: tuple[Level, ...]) -> None:
    finest = levels[0]
    for level in levels:
        dtype = level.pixels.dtype
        if dtype != finest.pixels.dtype:
            opening.warnings.append(
                f"Level {level.path} holds {dtype}, not {finest.pixels.dtype} as "
                f"level {finest.path}; where it is shown, values are the nearest ones."
            )


def pick_level(opening: Opening, levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Keep the one level that the options ask for, or all."""
    number = opening.options.level
    if number is None:
        return levels
    if not -len(levels) <= number < len(levels):
        msg = f"There is no level {number}; this image has {len(levels)}."
        raise OptionError(msg, url=opening.location.display)
    return (levels[number],)


def _find_level(
    opening: Opening, path: str, zarr_format: int
) -> Questions[ArrayPixels | OMEZarrError]:
    """Find one level, or say what is wrong with it; a failed request raises."""
    try:
        node = yield from find_array(path, zarr_format)
        if node is not None:
            note_format(opening, node, zarr_format)
            return open_array(opening, node)
    except (DamagedDataError, MetadataError, UnsupportedDataError) as error:
        return error
    msg = f"Level {path} is listed, but it is not there."
    return NodeNotFoundError(msg, url=opening.place(path).display)


def note_format(opening: Opening, found: Node, zarr_format: int) -> None:
    """Say that a part was found in another zarr format than that of its group."""
    if found.zarr_format != zarr_format:
        opening.warnings.append(
            f"{found.path} is stored in Zarr version {found.zarr_format}, and what "
            f"lists it in version {zarr_format}."
        )
