"""Coordinate transformations of every version as affine maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import MetadataError

from .affine import Affine
from .axes import MOST_AXES
from .node import JsonNode, Notes, relative_path, short_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# Transforms that permute, drop and create axes: mapAxis and projectAxis (0.6).


def axis_index(node: JsonNode, names: Sequence[str], ndim: int) -> int | None:
    """Return the index of an axis given by index, or by name as up to 0.6.dev2."""
    if isinstance(node.value, str) and node.value in names:
        return list(names).index(node.value)
    index = node.integer()
    if index is None or not 0 <= index < ndim:
        node.note(f"{short_text(node.value)} is no axis; the transform is ignored")
        return None
    return index


def axis_indices(node: JsonNode, names: Sequence[str], ndim: int) -> list[int] | None:
    """Return the indices of a list of axes, or None with a note."""
    indices = [axis_index(element, names, ndim) for element in node.elements()]
    known = [index for index in indices if index is not None]
    return known if len(known) == len(indices) else None


def map_axis(
    node: JsonNode, ndim: int | None, inputs: Sequence[str], outputs: Sequence[str]
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


def project_axis(node: JsonNode, ndim: int | None) -> Affine | None:
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


# The numbers of a transform: vectors and matrices, inline or stored as arrays.

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
    root = JsonNode(attributes, "", Notes())
    for block in (root, root.child("ome")):
        images = block.child("multiscales").elements()
        for image in (*images, block.child("scene")):
            levels = image.child("datasets").elements()
            for holder in (image, *levels):
                for transform in holder.child("coordinateTransformations").elements():
                    paths.update(dict.fromkeys(_stored_in(transform, 0)))
    return tuple(paths)


def _stored_in(node: JsonNode, depth: int) -> Iterator[str]:
    if depth > DEEPEST or not isinstance(node.value, Mapping):
        return
    path = _stored_path(node)
    if path is not None:
        yield path
    for key in ("forward", "transformation"):
        yield from _stored_in(node.child(key), depth + 1)
    for part in node.child("transformations").elements():
        yield from _stored_in(part, depth + 1)


def _stored_path(node: JsonNode) -> str | None:
    kind = node.child("type").value
    if kind not in _STORABLE or node.child(kind).exists:
        return None
    try:
        return relative_path(node.child("path"))
    except MetadataError:
        return None


def parameter(
    node: JsonNode, kind: str, arrays: Mapping[str, NDArray[Any]]
) -> JsonNode:
    """Return the numbers of transform ``node``: those inline, or its array's.

    Absent, with a note, where they are stored as an array that ``arrays`` lacks or
    that holds no few numbers.
    """
    inline = node.child(kind)
    if inline.exists:
        return inline
    source = node.child("path")
    absent = JsonNode(None, source.where, node.notes)
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
    return JsonNode(array.tolist(), source.where, node.notes)


def scale_factors(node: JsonNode, ndim: int | None) -> list[float]:
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


def offsets(node: JsonNode, ndim: int | None) -> list[float]:
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
    node: JsonNode, numbers: Sequence[float], ndim: int | None, neutral: float
) -> list[float]:
    if ndim is None or len(numbers) == ndim:
        return list(numbers[-MOST_AXES:])
    node.note(f"has {len(numbers)} numbers for {ndim} axes; the last axes are matched")
    return [neutral] * (ndim - len(numbers)) + list(numbers[-ndim:] if numbers else [])


def matrix(node: JsonNode) -> NDArray[np.float64] | None:
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


# Coordinate transformations of every version as affine maps.


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


def parse_transform(node: JsonNode, ends: Ends) -> Affine | None:
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
            node.note(f"{short_text(kind)} transforms cannot be shown; it is left out")
        return None
    affine = reader(node, replace(ends, depth=ends.depth + 1))
    if affine is not None and ends.ndim not in (None, affine.ndim_in):
        node.note(f"{kind} is for {affine.ndim_in} axes and not {ends.ndim}; left out")
        return None
    return affine


def parse_chain(nodes: Sequence[JsonNode], ends: Ends) -> Affine | None:
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


def _kind(node: JsonNode) -> str | None:
    kind = node.child("type").text()
    if kind is not None:
        return kind
    named = [name for name in _READERS if node.child(name).exists]
    if len(named) == 1:
        node.note(f"has no type; read as {named[0]}")
        return named[0]
    node.note("is no transform; it is ignored")
    return None


def _identity(node: JsonNode, ends: Ends) -> Affine | None:
    ndim = ends.ndim or len(ends.outputs)
    return Affine.identity(ndim) if ndim else None


def _scale(node: JsonNode, ends: Ends) -> Affine | None:
    factors = scale_factors(parameter(node, "scale", ends.arrays), ends.ndim)
    return Affine.from_scale(factors) if factors else None


def _translation(node: JsonNode, ends: Ends) -> Affine | None:
    values = offsets(parameter(node, "translation", ends.arrays), ends.ndim)
    return Affine.from_translation(values) if values else None


def _affine(node: JsonNode, ends: Ends) -> Affine | None:
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


def _rotation(node: JsonNode, ends: Ends) -> Affine | None:
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


def _map_axis(node: JsonNode, ends: Ends) -> Affine | None:
    return map_axis(node.child("mapAxis"), ends.ndim, ends.inputs, ends.outputs)


def _project_axis(node: JsonNode, ends: Ends) -> Affine | None:
    return project_axis(node, ends.ndim)


def _sequence(node: JsonNode, ends: Ends) -> Affine | None:
    return parse_chain(node.child("transformations").elements(), ends)


def _bijection(node: JsonNode, ends: Ends) -> Affine | None:
    return parse_transform(node.child("forward"), ends)


def _inverse(node: JsonNode, ends: Ends) -> Affine | None:
    back = replace(ends, inputs=ends.outputs, outputs=ends.inputs)
    affine = parse_transform(node.child("transformation"), back)
    if affine is None:
        return None
    if not affine.is_invertible:
        node.note("has no inverse; it is left out")
        return None
    return affine.inverse()


def _by_dimension(node: JsonNode, ends: Ends) -> Affine | None:
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


def _block(
    node: JsonNode, ends: Ends, ndim: int
) -> dict[int, NDArray[np.float64]] | None:
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


def _either(node: JsonNode, side: str) -> JsonNode:
    """Return a side's axes: inputAxes (0.6), input_axes (dev3, 4), input (dev1)."""
    keys = (f"{side}Axes", f"{side}_axes", side)
    return next((n for n in map(node.child, keys) if n.exists), node.child(keys[0]))


def _names(names: Sequence[str], indices: Sequence[int]) -> tuple[str, ...]:
    known = all(index < len(names) for index in indices)
    return tuple(names[index] for index in indices) if known else ()


def _assembled(
    node: JsonNode, rows: Mapping[int, NDArray[np.float64]], ends: Ends
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


_READERS: dict[str, Callable[[JsonNode, Ends], Affine | None]] = {
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
