"""Transforms that permute, drop and create axes: mapAxis and projectAxis (0.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .affine import Affine
from .axes import MOST_AXES
from .node import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .node import Node


def axis_index(node: Node, names: Sequence[str], ndim: int) -> int | None:
    """Return the index of an axis given by index, or by name as up to 0.6.dev2."""
    if isinstance(node.value, str) and node.value in names:
        return list(names).index(node.value)
    index = node.integer()
    if index is None or not 0 <= index < ndim:
        node.note(f"{shown(node.value)} is no axis; the transform is ignored")
        return None
    return index


def axis_indices(node: Node, names: Sequence[str], ndim: int) -> list[int] | None:
    """Return the indices of a list of axes, or None with a note."""
    indices = [axis_index(element, names, ndim) for element in node.elements()]
    known = [index for index in indices if index is not None]
    return known if len(known) == len(indices) else None


def map_axis(
    node: Node, ndim: int | None, inputs: Sequence[str], outputs: Sequence[str]
) -> Affine | None:
    """Return the map of a mapAxis: entry i is the input that feeds output i.

    Parameters
    ----------
    node : Node
        A list of indices; up to 0.6.dev2 an object of output name to input name.
    ndim : int or None
        The number of inputs, where it is known.
    inputs, outputs : sequence of str
        Axis names on both sides, empty where unknown.
    """
    if isinstance(node.value, Mapping):
        names = outputs if set(outputs) == set(node.value) else tuple(node.value)
        sources = tuple(node.child(str(name)) for name in names)
    else:
        sources = node.elements()
    columns = MOST_AXES if ndim is None else ndim
    feeding = []
    for source in sources[:MOST_AXES]:
        index = axis_index(source, inputs, columns)
        if index is None:
            return None
        feeding.append(index)
    if not feeding:
        node.note("maps no axes; the transform is ignored")
        return None
    return _selection(feeding, max(feeding) + 1 if ndim is None else ndim)


def project_axis(node: Node, ndim: int | None) -> Affine | None:
    """Return the map of a projectAxis: drop inputs, then create outputs of zero."""
    if ndim is None:
        node.note("projects an unknown number of axes; the transform is ignored")
        return None
    dropped = axis_indices(node.child("droppedInputs"), (), ndim)
    created = axis_indices(node.child("createdOutputs"), (), MOST_AXES)
    if dropped is None or created is None:
        return None
    kept = [axis for axis in range(ndim) if axis not in dropped]
    count = len(kept) + len(set(created))
    if not dropped + created or not kept or any(axis >= count for axis in created):
        node.note("projects axes that do not exist; the transform is ignored")
        return None
    rows = np.zeros((count, ndim))
    outputs = [axis for axis in range(count) if axis not in created]
    rows[outputs, kept] = 1
    return Affine.from_linear(rows)


def _selection(feeding: Sequence[int], ndim: int) -> Affine:
    rows = np.zeros((len(feeding), ndim))
    rows[range(len(feeding)), list(feeding)] = 1
    return Affine.from_linear(rows)
