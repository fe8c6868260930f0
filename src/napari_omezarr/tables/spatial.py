"""Points and shapes of a spatialdata: Parquet, with geometry as WKB."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import MetadataError, NodeNotFoundError, StoreError
from napari_omezarr.metadata import Affine

from .files import pyarrow_module
from .geometry import Geometry, joined
from .nodes import TableDocuments, TableNode, below
from .table import column_of

if TYPE_CHECKING:
    from collections.abc import Sequence

ENCODINGS = {"ngff:points": "points", "ngff:shapes": "shapes"}
"""What the group of an element says, and what it then holds."""
_MOST_PARTS = 4096
_AT_ONCE = 16
_MOST_CIRCLES = 2000
"""More are points of a size: as shapes they would take minutes to draw."""
_INDEX = "__null_dask_index__"
_AFTER_INDEX = ("__index_level_0__", _INDEX)


def read_spatial(documents: TableDocuments, node: TableNode) -> Geometry:
    """Read the places of an element, in its first coordinate system; blocks.

    Raises
    ------
    UnsupportedDataError
        pyarrow is not installed.
    NodeNotFoundError, MetadataError, StoreError
        Its file is not there, cannot be understood, or could not be read.
    """
    kind = ENCODINGS[str(node.attributes.get("encoding-type"))]
    url = documents.store.location.display
    pyarrow_module("pyarrow", url)
    columns = _columns(documents, below(node.path, f"{kind}.parquet"), url)
    made = _points(columns, url) if kind == "points" else _shapes(columns, url)
    axes, places, owner, types, features, looks = made
    order = [axes.index(axis) for axis in ("z", "y", "x") if axis in axes]
    affine = _to_world(node.attributes, axes)
    if affine is not None and len(places):
        places = affine(places)
    return Geometry(
        "shapes" if owner is not None else "points",
        tuple(axes[number] for number in order),
        places[:, order],
        owner,
        types,
        features,
        looks=looks,
    )


_Made = tuple[
    tuple[str, ...],
    np.ndarray,
    np.ndarray | None,
    tuple[str, ...],
    dict[str, np.ndarray],
    dict[str, Any],
]


def _columns(documents: TableDocuments, path: str, url: str) -> dict[str, Any]:
    """Read a Parquet file, or all parts of a folder as dask writes it."""
    first, alone = f"{path}/part.0.parquet", path
    answers = documents.store.fetch([first, alone])
    bodies = [_bytes(answers[alone])] if isinstance(answers[alone], bytes) else []
    if not bodies and (body := _bytes(answers[first])) is not None:
        bodies.append(body)
        while len(bodies) < _MOST_PARTS:
            numbers = range(len(bodies), len(bodies) + _AT_ONCE)
            keys = [f"{path}/part.{number}.parquet" for number in numbers]
            more = documents.store.fetch(keys)
            found = [part for key in keys if (part := _bytes(more[key])) is not None]
            bodies += found
            if len(found) < _AT_ONCE:
                break
    if not bodies:
        sentence = f"There is no {path.rpartition('/')[2]} in {url}."
        raise NodeNotFoundError(sentence, url=url)
    parquet = pyarrow_module("pyarrow.parquet", url)
    arrow = pyarrow_module("pyarrow", url)
    try:
        parts = [parquet.read_table(io.BytesIO(body)) for body in bodies if body]
        table = arrow.concat_tables(parts, promote_options="permissive")
    except (ValueError, OSError):  # pyarrow's errors are both
        raise MetadataError("This is no Parquet table", url=url) from None
    kept = [n for n in dict.fromkeys(table.column_names) if n not in _AFTER_INDEX]
    return {name: table.column(name).to_numpy() for name in kept}


def _bytes(answer: bytes | StoreError | None) -> bytes | None:
    if isinstance(answer, StoreError):
        raise answer
    return answer


def _points(columns: dict[str, Any], url: str) -> _Made:
    axes = tuple(axis for axis in ("x", "y", "z") if axis in columns)
    if not {"x", "y"} <= set(axes):
        raise MetadataError("These points have no x and y", url=url)
    places = np.column_stack([np.asarray(columns.pop(a), np.float64) for a in axes])
    features = {name: column_of(column) for name, column in columns.items()}
    return axes, places, None, (), features, {}


def _shapes(columns: dict[str, Any], url: str) -> _Made:
    if "geometry" not in columns:
        raise MetadataError("These shapes have no geometry", url=url)
    try:
        parsed = [parse_wkb(bytes(body)) for body in columns.pop("geometry")]
    except (struct.error, ValueError, TypeError, LookupError):
        raise MetadataError("A geometry of these shapes is damaged", url=url) from None
    ndim = max((part.shape[1] for parts in parsed for part in parts), default=2)
    axes = ("x", "y", "z")[:ndim]
    radius = columns.get("radius")
    rows = np.repeat(np.arange(len(parsed)), [len(parts) for parts in parsed])
    parts = [part for several in parsed for part in several]
    features = {n: column_of(column)[rows] for n, column in columns.items()}
    if all(len(part) == 1 for part in parts) and parts:
        centres = np.concatenate(parts)
        if radius is None or len(parts) > _MOST_CIRCLES:
            sizes = None if radius is None else np.asarray(radius, float)[rows] * 2
            more = {} if sizes is None else {"napari_size": sizes}
            return axes, centres, None, (), {**features, **more}, {}
        circles = [
            _circle(centre, float(size))
            for centre, size in zip(centres, np.asarray(radius)[rows], strict=True)
        ]
        types = ("ellipse",) * len(circles)
        return axes, *joined(circles, ndim), types, features, {}
    types = tuple("path" if _is_open(part) else "polygon" for part in parts)
    closed = [part if _is_open(part) else part[:-1] for part in parts]
    return axes, *joined(closed, ndim), types, features, {}


def _circle(centre: np.ndarray, radius: float) -> np.ndarray:
    corners = np.repeat(centre[None], 4, axis=0)
    corners[:, 0] += np.array([-radius, radius, radius, -radius])
    corners[:, 1] += np.array([-radius, -radius, radius, radius])
    return corners


def _is_open(part: np.ndarray) -> bool:
    return len(part) < 4 or not np.array_equal(part[0], part[-1])


# Well-known binary (OGC 06-103r4): the outlines, without what is cut out of them.

_POINT, _LINE, _POLYGON = 1, 2, 3
_COLLECTIONS = (4, 5, 6, 7)
_DEEPEST = 4


def parse_wkb(body: bytes) -> list[np.ndarray]:
    """Give the points, lines and outer rings of a geometry, each N x 2 or 3.

    Raises
    ------
    ValueError, struct.error, LookupError
        It is damaged, or of a kind that is not known.
    """
    found, end = _geometry(body, 0, 0)
    if end != len(body):
        raise ValueError("more than a geometry")
    return found


def _geometry(body: bytes, at: int, depth: int) -> tuple[list[np.ndarray], int]:
    order = {0: ">", 1: "<"}[body[at]]
    (code,) = struct.unpack_from(f"{order}I", body, at + 1)
    at += 5
    has_z = bool(code & 0x80000000) or 1000 <= code % 0x20000000 < 2000
    if code & 0x20000000:  # a reference system, of PostGIS
        at += 4
    kind, ndim = code % 0x20000000 % 1000, 3 if has_z else 2
    if kind == _POINT:
        return _coordinates(body, at, 1, ndim, order)
    (count,) = struct.unpack_from(f"{order}I", body, at)
    at += 4
    if kind == _LINE:
        return _coordinates(body, at, count, ndim, order)
    found: list[np.ndarray] = []
    if kind not in (_POLYGON, *_COLLECTIONS) or depth > _DEEPEST:
        raise ValueError("a geometry of another kind")
    for number in range(min(count, len(body))):
        if kind == _POLYGON:
            (size,) = struct.unpack_from(f"{order}I", body, at)
            part, at = _coordinates(body, at + 4, size, ndim, order)
            found += part if number == 0 else []
        else:
            part, at = _geometry(body, at, depth + 1)
            found += part
    return found, at


def _coordinates(
    body: bytes, at: int, count: int, ndim: int, order: str
) -> tuple[list[np.ndarray], int]:
    values = np.frombuffer(body, f"{order}f8", count * ndim, at)
    end = at + count * ndim * 8
    return [values.reshape(count, ndim).astype(np.float64)], end


# Where an element lies.


def _to_world(attributes: Mapping[str, Any], axes: Sequence[str]) -> Affine | None:
    """Give the map to the first coordinate system; None where nothing is to be done."""
    listed = attributes.get("coordinateTransformations")
    first = listed[0] if isinstance(listed, list) and listed else None
    return _affine(first, len(axes)) if isinstance(first, Mapping) else None


def _affine(said: Mapping[str, Any], ndim: int, depth: int = 0) -> Affine | None:
    kind, identity = said.get("type"), Affine.identity(ndim)
    try:
        if kind == "sequence" and depth < _DEEPEST:
            whole = identity
            for each in said["transformations"]:
                whole = (_affine(each, ndim, depth + 1) or identity) @ whole
            return whole
        if kind == "scale":
            return Affine.from_scale(said["scale"][:ndim])
        if kind == "translation":
            return Affine.from_translation(said["translation"][:ndim])
        if kind == "affine":
            return Affine.from_matrix(np.asarray(said["affine"], float)[:ndim])
    except (KeyError, TypeError, ValueError) as error:
        raise MetadataError("A transformation of this element is damaged") from error
    return None
