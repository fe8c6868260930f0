"""Objects of a mask that is too large for memory: numbered, and measured, in blocks."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.base import compute, persist

from .errors import MissingPackageError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator


def label_objects(mask: da.Array) -> tuple[da.Array, int]:
    """Give each object of a mask a number, the same in all blocks that it lies in.

    Pixels are of one object if they share a face. Each block of the mask is computed
    once, in threads or on the active `distributed.Client`; the numbers of its objects
    are kept in memory there, four bytes a pixel. Blocks until all are counted.

    Parameters
    ----------
    mask : dask.array.Array
        Of booleans, or of numbers that are not 0 in objects.

    Returns
    -------
    tuple of (dask.array.Array, int)
        The labels, of int32 and in the blocks of the mask: 0 outside of objects. And
        how many there are; they are numbered from 1.

    Raises
    ------
    MissingPackageError
        scipy is not installed.

    Examples
    --------
    >>> import dask.array as da
    >>> mask = da.from_array([[1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 1, 1]], chunks=2)
    >>> labels, count = label_objects(mask)
    >>> count, labels.compute().tolist()
    (3, [[1, 1, 1, 0], [0, 0, 0, 0], [2, 0, 3, 3]])
    """
    if find_spec("scipy") is None:
        raise MissingPackageError(
            "scipy is not installed.",
            action="Run: pip install 'napari-omezarr[analysis]'",
        )
    numbered: da.Array = da.map_blocks(
        _numbered, mask, dtype=np.int32, meta=np.empty(0, np.int32)
    )
    own: da.Array = persist(numbered)[0]
    one = _one_each(own)
    counts = da.map_blocks(_count, own, chunks=one, dtype=np.int32).compute()
    before = np.cumsum(counts, dtype=np.int64).reshape(counts.shape) - counts
    first = da.from_array(before, chunks=1)
    labels = da.map_blocks(_from, own, first, dtype=np.int64, chunks=own.chunks)
    meeting = compute(*_faces(labels))
    pairs = np.concatenate(
        [np.empty((2, 0), np.int64), *(cell for face in meeting for cell in face.flat)],
        axis=1,
    )
    parts, same = _joined(pairs, int(counts.sum()) + 1)
    labels = da.map_blocks(_renumbered, labels, same.astype(np.int32), dtype=np.int32)
    return labels, parts - 1


def measure_objects(labels: da.Array, pixels: da.Array) -> dict[str, np.ndarray]:
    """Measure each object, block by block.

    Parameters
    ----------
    labels, pixels : dask.array.Array
        What `label_objects` gave, and intensities of the same shape, in any blocks.

    Returns
    -------
    dict of str to numpy.ndarray
        A row for each label that is there, in order: ``index`` (the label), ``count``
        (of pixels), ``mean``, ``min``, ``max``, and ``centroid-0`` ... along each axis,
        in pixels. `add_labels` takes it as ``features``.

    Raises
    ------
    OptionError
        Their shapes differ.

    Examples
    --------
    >>> import dask.array as da
    >>> labels = da.from_array([[1, 1, 1, 0], [0, 0, 2, 2]], chunks=2)
    >>> table = measure_objects(labels, labels * 10)
    >>> table["index"].tolist(), table["count"].tolist(), table["centroid-1"].tolist()
    ([1, 2], [3, 2], [1.0, 2.5])
    """
    if labels.shape != pixels.shape:
        raise OptionError(f"{labels.shape} labels do not fit {pixels.shape} pixels.")
    pixels = pixels.rechunk(labels.chunks)
    corners = [np.cumsum((0, *sizes[:-1])) for sizes in labels.chunks]
    starts = np.empty(labels.numblocks, object)
    for place in np.ndindex(starts.shape):
        starts[place] = [int(at[n]) for at, n in zip(corners, place, strict=True)]
    parts = da.map_blocks(
        _sums,
        labels,
        pixels,
        da.from_array(starts, chunks=1),
        dtype=object,
        chunks=_one_each(labels),
        meta=np.empty(0, object),
    ).compute()
    found = np.unique(np.concatenate([part[0] for part in parts.flat]))
    totals = np.zeros((2 + labels.ndim, found.size))
    lowest, highest = np.full(found.size, np.inf), np.full(found.size, -np.inf)
    for index, sums, low, high in parts.flat:
        rows = np.searchsorted(found, index)
        totals[:, rows] += sums
        lowest[rows] = np.minimum(lowest[rows], low)
        highest[rows] = np.maximum(highest[rows], high)
    counts = totals[0]
    return {
        "index": found,
        "count": counts.astype(np.int64),
        "mean": totals[1] / counts,
        "min": lowest,
        "max": highest,
    } | {f"centroid-{axis}": total / counts for axis, total in enumerate(totals[2:])}


def _joined(pairs: np.ndarray, total: int) -> tuple[int, np.ndarray]:
    """Give numbers that meet one number; the background, the first of all, stays 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(pairs.shape[1], bool), pairs), shape=(total, total))
    parts, same = connected_components(graph, directed=False)
    return int(parts), same


# What is done with one block; module-level, as workers of a cluster get it by name.


def _numbered(block: np.ndarray) -> np.ndarray:
    from scipy.ndimage import label

    numbers: np.ndarray = label(block)[0].astype(np.int32, copy=False)
    return numbers


def _count(numbers: np.ndarray) -> np.ndarray:
    most: np.ndarray = numbers.max(keepdims=True, initial=0)
    return most


def _from(block: np.ndarray, first: np.ndarray) -> np.ndarray:
    return np.where(block > 0, block + first, 0)


def _renumbered(block: np.ndarray, same: np.ndarray) -> np.ndarray:
    renumbered: np.ndarray = same[block]
    return renumbered


def _faces(labels: da.Array) -> Iterator[da.Array]:
    """Give, for each face between blocks, which numbers meet there."""
    for axis, sizes in enumerate(labels.chunks):
        for edge in np.cumsum(sizes)[:-1]:
            planes = [da.take(labels, [at], axis) for at in (edge - 1, edge)]
            one = _one_each(planes[0])
            empty = np.empty(0, object)
            yield da.map_blocks(_meeting, *planes, dtype=object, chunks=one, meta=empty)


def _meeting(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    pairs = np.stack([one.ravel(), other.ravel()])
    return _cell(np.unique(pairs[:, pairs.all(axis=0)], axis=1), one.ndim)


def _sums(labels: np.ndarray, pixels: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Count and add up what one block holds of each label."""
    places = np.nonzero(labels)
    found, rows = np.unique(labels[places], return_inverse=True)
    values = pixels[places].astype(np.float64)
    offsets = start.item()
    weights = [None, values, *(p + o for p, o in zip(places, offsets, strict=True))]
    sums = np.array([np.bincount(rows, weight, found.size) for weight in weights])
    low, high = np.full(found.size, np.inf), np.full(found.size, -np.inf)
    np.minimum.at(low, rows, values)
    np.maximum.at(high, rows, values)
    return _cell((found, sums, low, high), labels.ndim)


def _cell(value: Any, ndim: int) -> np.ndarray:
    """Make a block of one element, which is any value."""
    cell = np.empty((1,) * ndim, object)
    cell[(0,) * ndim] = value
    return cell


def _one_each(array: da.Array) -> tuple[tuple[int, ...], ...]:
    return tuple((1,) * count for count in array.numblocks)
