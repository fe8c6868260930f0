"""The numbers of a transform: vectors and matrices, inline or stored as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import MetadataError

from .axes import MOST_AXES
from .node import Node, Notes
from .path import relative_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DEEPEST = 32
"""Transforms nested deeper than this are not followed."""

_STORABLE = ("affine", "rotation", "scale", "translation")

# Beyond these no microscope and no telescope measures, and products overflow.
_SMALLEST, _LARGEST = 1e-30, 1e30


def stored_parameters(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of the zarr arrays that a document's transforms need.

    Parameters
    ----------
    attributes : Mapping
        A group's raw attributes, as for `parse_document`.

    Returns
    -------
    tuple of str
        Relative to the group, each once, in document order. Arrays of fields
        (displacements, coordinates) are not among them: they have no matrix.
    """
    paths: dict[str, None] = {}
    root = Node(attributes, "", Notes())
    for block in (root, root.child("ome")):
        images = block.child("multiscales").elements()
        for image in (*images, block.child("scene")):
            levels = image.child("datasets").elements()
            for holder in (image, *levels):
                for transform in holder.child("coordinateTransformations").elements():
                    paths.update(dict.fromkeys(_stored_in(transform, 0)))
    return tuple(paths)


def _stored_in(node: Node, depth: int) -> Iterator[str]:
    if depth > DEEPEST or not isinstance(node.value, Mapping):
        return
    path = _stored_path(node)
    if path is not None:
        yield path
    for key in ("forward", "transformation"):
        yield from _stored_in(node.child(key), depth + 1)
    for part in node.child("transformations").elements():
        yield from _stored_in(part, depth + 1)


def _stored_path(node: Node) -> str | None:
    kind = node.child("type").value
    if kind not in _STORABLE or node.child(kind).exists:
        return None
    try:
        return relative_path(node.child("path"))
    except MetadataError:
        return None


def parameter(node: Node, kind: str, arrays: Mapping[str, NDArray[Any]]) -> Node:
    """Return the numbers of transform ``node``: those inline, or its array's.

    Absent, with a note, where they are stored as an array that ``arrays`` lacks or
    that holds no few numbers.
    """
    inline = node.child(kind)
    if inline.exists:
        return inline
    source = node.child("path")
    absent = Node(None, source.where, node.notes)
    path = _stored_path(node)
    if path is None:
        node.note(f"{kind} has no numbers; it is ignored")
        return absent
    array = arrays.get(path)
    if array is None:
        source.note("the array with the transform's numbers could not be read")
        return absent
    if array.size > MOST_AXES * (MOST_AXES + 1) or array.dtype.kind not in "iuf":
        source.note("the array holds no transform")
        return absent
    return Node(array.tolist(), source.where, node.notes)


def scale_factors(node: Node, ndim: int | None) -> list[float]:
    """Return the factors of a scale; 0 and what is no usable number become 1.

    Parameters
    ----------
    node : Node
        The list of factors. Negative ones are kept: they flip an axis.
    ndim : int or None
        How many there should be. A shorter list is taken for the last axes, of a
        longer one the last ``ndim`` are taken, both with a note.
    """
    factors = []
    for element in node.elements():
        factor = element.number()
        if factor is not None and not _SMALLEST <= abs(factor) <= _LARGEST:
            element.note(f"a scale of {factor:g} is impossible; read as 1")
            factor = None
        factors.append(1.0 if factor is None else factor)
    return _fitted(node, factors, ndim, 1.0)


def offsets(node: Node, ndim: int | None) -> list[float]:
    """Return the offsets of a translation; what is no usable number becomes 0.

    Parameters
    ----------
    node : Node
        The list of offsets.
    ndim : int or None
        As for `scale_factors`.
    """
    values = []
    for element in node.elements():
        value = element.number()
        if value is not None and abs(value) > _LARGEST:
            element.note(f"a translation of {value:g} is impossible; read as 0")
            value = None
        values.append(value or 0.0)
    return _fitted(node, values, ndim, 0.0)


def _fitted(
    node: Node, numbers: Sequence[float], ndim: int | None, neutral: float
) -> list[float]:
    if ndim is None or len(numbers) == ndim:
        return list(numbers[-MOST_AXES:])
    node.note(f"has {len(numbers)} numbers for {ndim} axes; the last axes are matched")
    return [neutral] * (ndim - len(numbers)) + list(numbers[-ndim:] if numbers else [])


def matrix(node: Node) -> NDArray[np.float64] | None:
    """Return a matrix of finite numbers, or None with a note."""
    rows = [[element.number() for element in row.elements()] for row in node.elements()]
    widths = {len(row) for row in rows}
    if len(widths) != 1 or not 1 <= len(rows) <= MOST_AXES:
        node.note("is no matrix; the transform is ignored")
        return None
    if any(value is None or abs(value) > _LARGEST for row in rows for value in row):
        node.note("holds impossible numbers; the transform is ignored")
        return None
    return np.array(rows, dtype=float)
