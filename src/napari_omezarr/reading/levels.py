"""The levels of one multiscale: arrays from their documents, without pixels."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import zarr
from zarr.storage import StorePath

from napari_omezarr.errors import (
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    StoreError,
    UnsupportedDataError,
)
from napari_omezarr.metadata import fit_axes
from napari_omezarr.pyramid import ArrayPixels, Level

from .nodes import array, array_key, joined
from .waves import ask

if TYPE_CHECKING:
    from napari_omezarr.metadata import Dataset, Multiscale

    from .nodes import Array
    from .opening import Opening
    from .waves import Answers, Questions


def level_keys(group: str, multiscale: Multiscale, zarr_format: int) -> tuple[str, ...]:
    """Give the keys of the metadata of all levels."""
    return tuple(
        array_key(joined(group, dataset.path), zarr_format)
        for dataset in multiscale.datasets
    )


def find_levels(
    opening: Opening, group: str, multiscale: Multiscale, zarr_format: int
) -> Questions[tuple[Multiscale, tuple[Level, ...]]]:
    """Find the levels that a viewer can use, in one wave.

    Levels that are missing, that cannot be decoded, or that are not smaller than
    the one before are left out, each with a warning.

    Returns
    -------
    multiscale : Multiscale
        With axes that fit the arrays.
    levels : tuple of Level
        Finest first; at least one.

    Raises
    ------
    NodeNotFoundError
        None of the levels is there.
    UnsupportedDataError
        No level that is there can be decoded here.
    StoreError
        A level's document could not be had.
    """
    answers = yield from ask(level_keys(group, multiscale, zarr_format))
    found, problems = _arrays(opening, group, multiscale, zarr_format, answers)
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
    return multiscale, chosen(opening, ordered(opening, levels))


def open_array(opening: Opening, node: Array) -> ArrayPixels:
    """Make the pixels of an array from its document; asks nothing.

    Raises
    ------
    UnsupportedDataError
        Its codec, data type or chunk grid is not known here.
    """
    address = (opening.location / node.path if node.path else opening.location).display
    try:
        opened = zarr.AsyncArray.from_dict(
            StorePath(opening.store, node.path), dict(node.document)
        )
        pixels = ArrayPixels(opened, address, opening.store.concurrency)
    # zarr says "I do not know this codec, this type, this grid" in all these ways.
    except (ValueError, TypeError, KeyError, NotImplementedError, ImportError) as error:
        msg = f"The array {node.path or address} cannot be decoded here: {error}."
        raise UnsupportedDataError(msg, url=address) from error
    if pixels.dtype.kind not in "biuf" or pixels.ndim == 0:
        msg = f"The array {node.path or address} holds {pixels.dtype}, not an image."
        raise UnsupportedDataError(msg, url=address)
    return pixels


def ordered(opening: Opening, levels: list[Level]) -> tuple[Level, ...]:
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


def chosen(opening: Opening, levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Keep the one level that the options ask for, or all.

    Raises
    ------
    OptionError
        There is no such level.
    """
    number = opening.options.level
    if number is None:
        return levels
    if not -len(levels) <= number < len(levels):
        msg = f"There is no level {number}; this image has {len(levels)}."
        raise OptionError(msg, url=opening.location.display)
    return (levels[number],)


def _arrays(
    opening: Opening,
    group: str,
    multiscale: Multiscale,
    zarr_format: int,
    answers: Answers,
) -> tuple[list[tuple[Dataset, ArrayPixels]], list[OMEZarrError]]:
    found: list[tuple[Dataset, ArrayPixels]] = []
    problems: list[OMEZarrError] = []
    for dataset in multiscale.datasets:
        path = joined(group, dataset.path)
        try:
            node = array(path, answers, zarr_format)
            if node is None:
                place = (opening.location / path).display
                msg = f"Level {dataset.path} is listed, but it is not there."
                problems.append(NodeNotFoundError(msg, url=place))
            else:
                found.append((dataset, open_array(opening, node)))
        except StoreError:
            raise
        except (MetadataError, UnsupportedDataError) as error:
            problems.append(error)
    return found, problems
