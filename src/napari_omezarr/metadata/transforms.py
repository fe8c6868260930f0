"""Coordinate transformations of every version as affine maps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .affine import Affine
from .axes import MOST_AXES
from .axis_maps import axis_indices, map_axis, project_axis
from .node import Node, shown
from .parameters import DEEPEST, matrix, offsets, parameter, scale_factors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ends:
    """What is known about the two sides of a transform before it is read.

    Parameters
    ----------
    ndim : int, optional
        The number of input coordinates.
    inputs, outputs : tuple of str
        Axis names on both sides; empty where unknown.
    arrays : Mapping
        The arrays of stored parameters, by path.
    depth : int
        How deep in other transforms this one is nested.
    """

    ndim: int | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    depth: int = 0


def parse_transform(node: Node, ends: Ends) -> Affine | None:
    """Return the affine map of one transform.

    Parameters
    ----------
    node : Node
        The transform's object, of any type that 0.4 to 0.9.dev1 define.
    ends : Ends
        What is known about its two sides.

    Returns
    -------
    Affine or None
        None where there is no matrix: displacements, coordinates, unknown types and
        broken parameters (all with a note), an identity of unknown size. Whoever
        reads a chain applies the rest of it.
    """
    kind = _kind(node)
    if ends.depth > DEEPEST:
        node.note("is nested too deeply; it is ignored")
        return None
    reader = _READERS.get(kind or "")
    if reader is None:
        if kind is not None:
            node.note(f"{shown(kind)} transforms cannot be shown; it is left out")
        return None
    affine = reader(node, replace(ends, depth=ends.depth + 1))
    if affine is not None and ends.ndim not in (None, affine.ndim_in):
        node.note(f"{kind} is for {affine.ndim_in} axes and not {ends.ndim}; left out")
        return None
    return affine


def parse_chain(nodes: Sequence[Node], ends: Ends) -> Affine | None:
    """Return the map that applies transforms one after another, first one first.

    What has no matrix is left out. None where nothing is left.
    """
    total: Affine | None = None
    here = ends
    for position, node in enumerate(nodes):
        last = position == len(nodes) - 1
        affine = parse_transform(
            node, replace(here, outputs=ends.outputs if last else ())
        )
        if affine is None:
            continue
        total = affine if total is None else affine @ total
        # Names follow coordinates only where none is moved.
        names = here.inputs if affine.is_diagonal else ()
        here = replace(here, ndim=affine.ndim_out, inputs=names)
    return total


def _kind(node: Node) -> str | None:
    kind = node.child("type").text()
    if kind is not None:
        return kind
    named = [name for name in _READERS if node.child(name).exists]
    if len(named) == 1:
        node.note(f"has no type; read as {named[0]}")
        return named[0]
    node.note("is no transform; it is ignored")
    return None


def _identity(node: Node, ends: Ends) -> Affine | None:
    ndim = ends.ndim or len(ends.outputs)
    return Affine.identity(ndim) if ndim else None


def _scale(node: Node, ends: Ends) -> Affine | None:
    factors = scale_factors(parameter(node, "scale", ends.arrays), ends.ndim)
    return Affine.from_scale(factors) if factors else None


def _translation(node: Node, ends: Ends) -> Affine | None:
    values = offsets(parameter(node, "translation", ends.arrays), ends.ndim)
    return Affine.from_translation(values) if values else None


def _affine(node: Node, ends: Ends) -> Affine | None:
    numbers = parameter(node, "affine", ends.arrays)
    rows = matrix(numbers) if numbers.exists else None
    if rows is None:
        return None
    if _is_homogeneous(rows) and len(ends.outputs) != len(rows):
        numbers.note("has the row 0 ... 0 1 of homogeneous coordinates; it is dropped")
        rows = rows[:-1]
    if not 2 <= rows.shape[1] <= MOST_AXES + 1 or not len(rows):
        numbers.note("is no M x (N+1) matrix; the transform is ignored")
        return None
    return Affine.from_matrix(rows)


def _is_homogeneous(rows: NDArray[np.float64]) -> bool:
    """Whether it is (N+1) x (N+1), as SpatialData writes it."""
    square = rows.shape[0] == rows.shape[1]
    return square and np.array_equal(rows[-1], np.eye(rows.shape[1])[-1])


def _rotation(node: Node, ends: Ends) -> Affine | None:
    numbers = parameter(node, "rotation", ends.arrays)
    rows = matrix(numbers) if numbers.exists else None
    if rows is None:
        return None
    if rows.shape[0] != rows.shape[1]:
        numbers.note("is no square matrix; the transform is ignored")
        return None
    # 0.6 "rotation": MUST be orthonormal with determinant 1.
    if not np.allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-6):
        numbers.note("is not orthonormal; it is applied as it is")
    elif np.linalg.det(rows) < 0:
        numbers.note("mirrors; it is applied as it is")
    return Affine.from_linear(rows)


def _map_axis(node: Node, ends: Ends) -> Affine | None:
    return map_axis(node.child("mapAxis"), ends.ndim, ends.inputs, ends.outputs)


def _project_axis(node: Node, ends: Ends) -> Affine | None:
    return project_axis(node, ends.ndim)


def _sequence(node: Node, ends: Ends) -> Affine | None:
    return parse_chain(node.child("transformations").elements(), ends)


def _bijection(node: Node, ends: Ends) -> Affine | None:
    return parse_transform(node.child("forward"), ends)


def _inverse(node: Node, ends: Ends) -> Affine | None:
    back = replace(ends, inputs=ends.outputs, outputs=ends.inputs)
    affine = parse_transform(node.child("transformation"), back)
    if affine is None:
        return None
    if not affine.is_invertible:
        node.note("has no inverse; it is left out")
        return None
    return affine.inverse()


def _by_dimension(node: Node, ends: Ends) -> Affine | None:
    parts = node.child("transformations").elements()
    if ends.ndim is None or not parts:
        node.note("byDimension of unknown axes is left out")
        return None
    rows: dict[int, NDArray[np.float64]] = {}
    for part in parts:
        block = _block(part, ends, ends.ndim)
        if block is None:
            return None
        if rows.keys() & block.keys():
            part.note("writes an output axis a second time; the last one counts")
        rows.update(block)
    return _assembled(node, rows, ends)


def _block(node: Node, ends: Ends, ndim: int) -> dict[int, NDArray[np.float64]] | None:
    """Return the rows of the whole matrix that one part of a byDimension fills."""
    inputs = axis_indices(_either(node, "input"), ends.inputs, ndim)
    outputs = axis_indices(_either(node, "output"), ends.outputs, MOST_AXES)
    if not inputs or not outputs:
        node.note("names no axes; byDimension is left out")
        return None
    inner = node.child("transformation")
    own = replace(
        ends,
        ndim=len(inputs),
        inputs=_names(ends.inputs, inputs),
        outputs=_names(ends.outputs, outputs),
    )
    affine = parse_transform(inner if inner.exists else node, own)
    if affine is None and len(inputs) == len(outputs):
        affine = Affine.identity(len(inputs))
    if affine is None or affine.ndim_out != len(outputs):
        node.note("does not fit its axes; byDimension is left out")
        return None
    block = np.zeros((len(outputs), ndim + 1))
    block[:, [*inputs, ndim]] = affine.matrix
    return dict(zip(outputs, block, strict=True))


def _either(node: Node, side: str) -> Node:
    """Return a side's axes: inputAxes (0.6), input_axes (dev3, 4), input (dev1)."""
    keys = (f"{side}Axes", f"{side}_axes", side)
    return next((n for n in map(node.child, keys) if n.exists), node.child(keys[0]))


def _names(names: Sequence[str], indices: Sequence[int]) -> tuple[str, ...]:
    known = all(index < len(names) for index in indices)
    return tuple(names[index] for index in indices) if known else ()


def _assembled(
    node: Node, rows: Mapping[int, NDArray[np.float64]], ends: Ends
) -> Affine | None:
    count = max(len(ends.outputs), max(rows) + 1)
    unit = np.eye(ends.ndim or 0, (ends.ndim or 0) + 1)
    missing = [index for index in range(count) if index not in rows]
    if missing and max(missing) >= len(unit):
        node.note("fills not every output axis; it is left out")
        return None
    if missing:
        node.note("fills not every output axis; the others are passed on")
    return Affine.from_matrix(
        [rows[index] if index in rows else unit[index] for index in range(count)]
    )


_READERS: dict[str, Callable[[Node, Ends], Affine | None]] = {
    "identity": _identity,
    "scale": _scale,
    "translation": _translation,
    "affine": _affine,
    "rotation": _rotation,
    "mapAxis": _map_axis,
    "projectAxis": _project_axis,
    "sequence": _sequence,
    "byDimension": _by_dimension,
    "bijection": _bijection,
    "inverse": _inverse,
    "inverseOf": _inverse,
}
