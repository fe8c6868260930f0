"""Coordinate transformations of every version as affine maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import MetadataError
from napari_omezarr.plain_text import counted

from .affine import LARGEST, Affine, is_size
from .axes import MOST_AXES
from .node import DocumentNotes, JsonNode, relative_path, short_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

DEEPEST = 32
"""Transforms nested deeper than this are not followed."""

_STORABLE = ("affine", "rotation", "scale", "translation")
_KEEPING_AXES = ("identity", "scale", "translation")

# The map of one transform, by its type.


@dataclass(frozen=True, slots=True)
class TransformContext:
    """What is known about the two sides of a transform before it is read."""

    ndim: int | None = None  # the number of input coordinates
    inputs: tuple[str, ...] = ()  # axis names on both sides; empty where unknown
    outputs: tuple[str, ...] = ()
    # The arrays of stored parameters, by path.
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    depth: int = 0  # how deep in other transforms this one is nested


def parse_transform(node: JsonNode, context: TransformContext) -> Affine | None:
    """Return the affine map of one transform, of any type of 0.4 to 0.9.dev1.

    It leads from the axes of the context's inputs to those of its outputs, each in
    the context's order, wherever the transform itself has them in another. None
    where there is no matrix: displacements, coordinates, unknown types and broken
    parameters (all with a note), an identity of unknown size.
    """
    affine, names = _parse_named(node, context)
    return affine and in_order(affine, names, context.outputs)


def parse_chain(nodes: Sequence[JsonNode], context: TransformContext) -> Affine | None:
    """Return the map that applies transforms one after another, first one first.

    What has no matrix is left out. None where nothing is left.
    """
    affine, names = _parse_named_chain(nodes, context)
    return affine and in_order(affine, names, context.outputs)


def in_order(affine: Affine, names: Sequence[str], wanted: Sequence[str]) -> Affine:
    """Put a map's outputs, which have ``names``, in another order of the same names."""
    if tuple(names) == tuple(wanted) or not _same_axes(names, wanted):
        return affine
    return Affine.from_matrix(affine.matrix[[list(names).index(n) for n in wanted]])


def _same_axes(names: Sequence[str], others: Sequence[str]) -> bool:
    return len(names) == len(others) == len(set(names)) and set(names) == set(others)


def _parse_named(
    node: JsonNode, context: TransformContext
) -> tuple[Affine | None, tuple[str, ...]]:
    """Return a transform's map, and the axes it leads to where names tell them."""
    kind = _kind(node)
    if context.depth > DEEPEST:
        node.note("is nested too deeply; it is ignored")
        return None, ()
    if kind is None:
        return None, ()
    if kind not in _READERS and kind != "sequence":
        node.note(f"{short_text(kind)} transforms cannot be shown; it is left out")
        return None, ()
    listed = _listed_axes(node, "output")
    own = _own_context(node, context, listed)
    if kind == "sequence":
        steps = node.child("transformations").elements()
        affine, names = _parse_named_chain(steps, own)
    else:
        affine = _READERS[kind](node, own)
        names = _names_after(kind, node, own)
    if affine is None:
        return None, ()
    if own.ndim not in (None, affine.ndim_in):
        node.note(f"{kind} is for {affine.ndim_in} axes and not {own.ndim}; left out")
        return None, ()
    if _same_axes(names, own.outputs):
        affine, names = in_order(affine, names, own.outputs), own.outputs
    return _among_all(node, affine, own.inputs, listed or names, context)


def _own_context(
    node: JsonNode, context: TransformContext, outputs: tuple[str, ...]
) -> TransformContext:
    """Return what is known inside a transform, which may list its axes itself.

    SpatialData lists those of both sides in each transform; ``outputs`` are such.
    """
    inputs = _listed_axes(node, "input")
    own = replace(
        context,
        ndim=len(inputs) or context.ndim,
        inputs=inputs or context.inputs,
        outputs=outputs or (() if inputs else context.outputs),
        depth=context.depth + 1,
    )
    two_orders = own.inputs != own.outputs and _same_axes(own.inputs, own.outputs)
    if two_orders and _keeps_axes(node):
        node.note("has its axes in two orders; they are matched by name")
        # The numbers are those of the outputs, as they are for a level.
        return replace(own, inputs=own.outputs)
    return own


def _keeps_axes(node: JsonNode, depth: int = 0) -> bool:
    """Whether a transform by its kind takes each axis to the one of the same name."""
    kind = node.child("type").value
    if kind != "sequence" or depth > DEEPEST:
        return kind in _KEEPING_AXES
    steps = node.child("transformations").elements()
    return bool(steps) and all(_keeps_axes(step, depth + 1) for step in steps)


def _names_after(kind: str, node: JsonNode, own: TransformContext) -> tuple[str, ...]:
    """Return the axes that a transform leads to, where it says so by its kind."""
    if kind in _KEEPING_AXES:
        return own.inputs
    entries = node.child("mapAxis").value if kind == "mapAxis" else None
    return _mapped_names(entries, own) if isinstance(entries, Mapping) else ()


def _among_all(
    node: JsonNode,
    affine: Affine,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    context: TransformContext,
) -> tuple[Affine | None, tuple[str, ...]]:
    """Apply a map of some axes, in any order, to all axes of the context.

    Axes that it does not take and does not give pass through.
    """
    every = context.inputs
    if inputs == every and not (outputs and set(outputs) < set(every)):
        return affine, outputs
    if not set(inputs) <= set(every) or affine.ndim_out != len(outputs):
        if context.ndim in (None, affine.ndim_in):
            return affine, ()  # axes of other names: by position
        node.note("names axes that are not those of the image; it is left out")
        return None, ()
    unused = {name for n, name in enumerate(inputs) if not affine.linear[:, n].any()}
    taken = {*inputs, *outputs} - (unused - set(outputs))
    passing = [name for name in every if name not in taken]
    rows = np.zeros((len(outputs), len(every) + 1))
    rows[:, [*map(every.index, inputs), -1]] = affine.matrix
    unit = np.eye(len(every), len(every) + 1)[[every.index(name) for name in passing]]
    return Affine.from_matrix(np.vstack([rows, unit])), (*outputs, *passing)


def _listed_axes(node: JsonNode, side: str) -> tuple[str, ...]:
    """Return the names of the axes that a transform lists for one of its sides."""
    axes = node.child(side).child("axes").elements()
    names = [axis.child("name").text() for axis in axes]
    known = tuple(name for name in names if name)
    return known if len(set(known)) == len(names) <= MOST_AXES else ()


def _parse_named_chain(
    nodes: Sequence[JsonNode], context: TransformContext
) -> tuple[Affine | None, tuple[str, ...]]:
    total: Affine | None = None
    here, certain = context, True
    for position, node in enumerate(nodes):
        last = position == len(nodes) - 1
        affine, names = _parse_named(
            node, replace(here, outputs=context.outputs if last else ())
        )
        if affine is None:
            continue
        total = affine if total is None else affine @ total
        certain = certain and bool(names)
        # Names follow coordinates only where none is moved.
        following = names or (here.inputs if affine.is_diagonal else ())
        here = replace(here, ndim=affine.ndim_out, inputs=following)
    return total, here.inputs if certain else ()


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


def _identity(node: JsonNode, context: TransformContext) -> Affine | None:
    ndim = context.ndim or len(context.outputs)
    return Affine.identity(ndim) if ndim else None


def _scale(node: JsonNode, context: TransformContext) -> Affine | None:
    factors = scale_factors(parameter(node, "scale", context.arrays), context.ndim)
    return Affine.from_scale(factors) if factors else None


def _translation(node: JsonNode, context: TransformContext) -> Affine | None:
    values = offsets(parameter(node, "translation", context.arrays), context.ndim)
    return Affine.from_translation(values) if values else None


def _affine(node: JsonNode, context: TransformContext) -> Affine | None:
    numbers = parameter(node, "affine", context.arrays)
    rows = matrix(numbers) if numbers.exists else None
    if rows is None:
        return None
    if _is_homogeneous(rows) and len(context.outputs) != len(rows):
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


def _rotation(node: JsonNode, context: TransformContext) -> Affine | None:
    numbers = parameter(node, "rotation", context.arrays)
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


def _bijection(node: JsonNode, context: TransformContext) -> Affine | None:
    return parse_transform(node.child("forward"), context)


def _inverse(node: JsonNode, context: TransformContext) -> Affine | None:
    back = replace(context, inputs=context.outputs, outputs=context.inputs)
    affine = parse_transform(node.child("transformation"), back)
    if affine is None:
        return None
    if not affine.is_invertible:
        node.note("has no inverse; it is left out")
        return None
    return affine.inverse()


def _by_dimension(node: JsonNode, context: TransformContext) -> Affine | None:
    parts = node.child("transformations").elements()
    if context.ndim is None or not parts:
        node.note("byDimension of unknown axes is left out")
        return None
    rows: dict[int, NDArray[np.float64]] = {}
    for part in parts:
        block = _rows_of_part(part, context, context.ndim)
        if block is None:
            return None
        if rows.keys() & block.keys():
            part.note("writes an output axis a second time; the last one counts")
        rows.update(block)
    return _join_rows(node, rows, context)


def _rows_of_part(
    node: JsonNode, context: TransformContext, ndim: int
) -> dict[int, NDArray[np.float64]] | None:
    """Return the rows of the whole matrix that one part of a byDimension fills."""
    inputs = _axis_indices(_axes_of_side(node, "input"), context.inputs, ndim)
    outputs = _axis_indices(_axes_of_side(node, "output"), context.outputs, MOST_AXES)
    if not inputs or not outputs:
        node.note("names no axes; byDimension is left out")
        return None
    inner = node.child("transformation")
    own = replace(
        context,
        ndim=len(inputs),
        inputs=_names_at(context.inputs, inputs),
        outputs=_names_at(context.outputs, outputs),
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


def _axes_of_side(node: JsonNode, side: str) -> JsonNode:
    """Return a side's axes: inputAxes (0.6), input_axes (dev3, 4), input (dev1)."""
    keys = (f"{side}Axes", f"{side}_axes", side)
    return next((n for n in map(node.child, keys) if n.exists), node.child(keys[0]))


def _names_at(names: Sequence[str], indices: Sequence[int]) -> tuple[str, ...]:
    known = all(index < len(names) for index in indices)
    return tuple(names[index] for index in indices) if known else ()


def _join_rows(
    node: JsonNode, rows: Mapping[int, NDArray[np.float64]], context: TransformContext
) -> Affine | None:
    count = max(len(context.outputs), max(rows) + 1)
    unit = np.eye(context.ndim or 0, (context.ndim or 0) + 1)
    missing = [index for index in range(count) if index not in rows]
    if missing and max(missing) >= len(unit):
        node.note("fills not every output axis; it is left out")
        return None
    if missing:
        node.note("fills not every output axis; the others are passed on")
    return Affine.from_matrix(
        [rows[index] if index in rows else unit[index] for index in range(count)]
    )


# Transforms that permute, drop and create axes: mapAxis and projectAxis (0.6).


def _axis_index(node: JsonNode, names: Sequence[str], ndim: int) -> int | None:
    """Return the index of an axis given by index, or by name as up to 0.6.dev2."""
    if isinstance(node.value, str) and node.value in names:
        return list(names).index(node.value)
    index = node.integer()
    if index is None or not 0 <= index < ndim:
        node.note(f"{short_text(node.value)} is no axis; the transform is ignored")
        return None
    return index


def _axis_indices(node: JsonNode, names: Sequence[str], ndim: int) -> list[int] | None:
    """Return the indices of a list of axes, or None with a note."""
    indices = [_axis_index(element, names, ndim) for element in node.elements()]
    known = [index for index in indices if index is not None]
    return known if len(known) == len(indices) else None


def _map_axis(node: JsonNode, context: TransformContext) -> Affine | None:
    """Return the map of a mapAxis: entry i is the input that feeds output i."""
    entries, ndim = node.child("mapAxis"), context.ndim
    # A list of indices; up to 0.6.dev2 an object of output name to input name.
    if isinstance(entries.value, Mapping):
        names = _mapped_names(entries.value, context)
        sources = tuple(entries.child(name) for name in names)
    else:
        sources = entries.elements()
    columns = MOST_AXES if ndim is None else ndim
    feeding = []
    for source in sources[:MOST_AXES]:
        index = _axis_index(source, context.inputs, columns)
        if index is None:
            return None
        feeding.append(index)
    if not feeding:
        entries.note("maps no axes; the transform is ignored")
        return None
    return _selection(feeding, max(feeding) + 1 if ndim is None else ndim)


def _mapped_names(
    entries: Mapping[str, Any], context: TransformContext
) -> tuple[str, ...]:
    """Return the outputs of a mapAxis by name, in the order that is known of them."""
    names = tuple(str(name) for name in entries)
    return context.outputs if _same_axes(names, context.outputs) else names


def _project_axis(node: JsonNode, context: TransformContext) -> Affine | None:
    """Return the map of a projectAxis: drop inputs, then create outputs of zero."""
    ndim = context.ndim
    if ndim is None:
        node.note("projects an unknown number of axes; the transform is ignored")
        return None
    dropped = _axis_indices(node.child("droppedInputs"), (), ndim)
    created = _axis_indices(node.child("createdOutputs"), (), MOST_AXES)
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


def parameter(
    node: JsonNode, kind: str, arrays: Mapping[str, NDArray[Any]]
) -> JsonNode:
    """Return the numbers of transform ``node``: those inline, or its array's."""
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
    """Return the factors of a scale; 0 and what is no usable number become 1."""
    factors = []
    for element in node.elements():
        factor = element.number()
        if factor is not None and not is_size(factor):
            element.note(f"a scale of {factor:g} is impossible; read as 1")
            factor = None
        # Negative ones are kept: they flip an axis.
        factors.append(1.0 if factor is None else factor)
    return _match_last_axes(node, factors, ndim, 1.0)


def offsets(node: JsonNode, ndim: int | None) -> list[float]:
    """Return the offsets of a translation; what is no usable number becomes 0."""
    values = []
    for element in node.elements():
        value = element.number()
        if value is not None and abs(value) > LARGEST:
            element.note(f"a translation of {value:g} is impossible; read as 0")
            value = None
        values.append(value or 0.0)
    return _match_last_axes(node, values, ndim, 0.0)


def _match_last_axes(
    node: JsonNode, numbers: Sequence[float], ndim: int | None, neutral: float
) -> list[float]:
    if ndim is None or len(numbers) == ndim:
        return list(numbers[-MOST_AXES:])
    node.note(
        f"has {counted(len(numbers), 'number')} for {ndim} axes; the last are matched"
    )
    return [neutral] * (ndim - len(numbers)) + list(numbers[-ndim:] if numbers else [])


def matrix(node: JsonNode) -> NDArray[np.float64] | None:
    """Return a matrix of finite numbers, or None with a note."""
    rows = [[element.number() for element in row.elements()] for row in node.elements()]
    widths = {len(row) for row in rows}
    if len(widths) != 1 or not 1 <= len(rows) <= MOST_AXES:
        node.note("is no matrix; the transform is ignored")
        return None
    if any(value is None or abs(value) > LARGEST for row in rows for value in row):
        node.note("holds impossible numbers; the transform is ignored")
        return None
    return np.array(rows, dtype=float)


# The arrays that hold the numbers of transforms.


_LISTED = "coordinateTransformations"


def stored_parameters(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of the zarr arrays that a document's transforms need.

    They are relative to the group, in document order. Arrays of fields
    (displacements, coordinates) are not among them: they have no matrix.
    """
    paths: dict[str, None] = {}
    root = JsonNode(attributes, "", DocumentNotes())
    for block in (root, root.child("ome")):
        images = block.child("multiscales").elements(100)
        for image in (*images, block.child("scene")):
            levels = image.child("datasets").elements(100)
            for holder in (image, *levels):
                for transform in holder.child(_LISTED).elements(1000):
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


_READERS: dict[str, Callable[[JsonNode, TransformContext], Affine | None]] = {
    "identity": _identity,
    "scale": _scale,
    "translation": _translation,
    "affine": _affine,
    "rotation": _rotation,
    "mapAxis": _map_axis,
    "projectAxis": _project_axis,
    "byDimension": _by_dimension,
    "bijection": _bijection,
    "inverse": _inverse,
    "inverseOf": _inverse,
}
