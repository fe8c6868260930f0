"""Points, shapes and tracks: where things are, in tables and in spatialdata."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from napari_omezarr.errors import (
    MetadataError,
    NodeNotFoundError,
    OptionError,
    StoreError,
)
from napari_omezarr.metadata import Affine

from .table import (
    Table,
    TableDocuments,
    TableNode,
    below,
    column_of,
    free_name,
    parquet_table,
    pyarrow_module,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

GeometryKind = Literal["points", "shapes", "tracks"]
GEOMETRY = "napari_layer"
"""Our attribute of a table: which kind of layer it is, and how that looks."""
LOOKS = "napari_"
"""How a column is called that says how each point or shape is shown."""
LOOKS_OF_EACH: dict[str, tuple[str, ...]] = {
    "points": ("size", "symbol", "face_color", "border_color", "border_width", "shown"),
    "shapes": ("edge_width", "edge_color", "face_color", "z_index"),
    "tracks": (),
}
"""What each point or shape may have of its own."""
LOOKS_OF_ALL: dict[str, tuple[str, ...]] = {
    "points": (
        *("border_width_is_relative", "out_of_slice_display", "shading"),
        *("projection_mode", "antialiasing"),
    ),
    "shapes": (),
    "tracks": (
        *("tail_width", "tail_length", "head_length", "color_by", "colormap"),
        "hide_completed_tracks",
    ),
}
COMMON_LOOKS = ("opacity", "blending", "visible")
SHAPE, SHAPE_TYPE, TRACK = "shape", "shape_type", "track_id"
_PIXEL = "_pixel"
"""What follows the name of an axis, for the place in pixels beside that in units."""
_MICROMETER = "_micrometer"
_AXES = "tczyx"
_SYNONYMS = (
    "{}",
    "{}_micrometer",
    "{}_um",
    "{}_centroid",
    "centroid_{}",
    "center_{}",
    "position_{}",
    "pos_{}",
    "{}_location",
    "location_center_{}",
    "centroid_{}_um",
    "centroid_{}_px",
)
_TIMES = ("t", "frame", "time", "timepoint")
_TRACKS = (TRACK, "track", "trackid", "particle")


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a layer of points, shapes or tracks holds."""

    kind: GeometryKind
    """What the rows are."""
    axes: tuple[str, ...]
    """The axes of the coordinates, as an image's: the last one is x."""
    coordinates: np.ndarray
    """M x D: of points, of the vertices of shapes one after the other, of tracks."""
    owner: np.ndarray | None = None
    """For each row, which shape (0, 1, ...) or track it is part of; None of points."""
    types: tuple[str, ...] = ()
    """Of each shape: rectangle, ellipse, polygon, path or line."""
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Columns by name: a value for each point, shape, or row of a track."""
    affine: Affine | None = None
    """From the coordinates to the world; None: they are in it."""
    units: tuple[str, ...] = ()
    """Of the world's axes; empty where nobody said."""
    looks: Mapping[str, Any] = field(default_factory=dict)
    """How it is shown, in JSON: names of napari's options."""
    left_out: int = 0
    """How many points or shapes the table has beside them that lie at no numbers."""


# To a table: a row for each point, vertex, or place of a track.


def table_of_geometry(geometry: Geometry) -> Table:
    """Make a table: places in the world by axis, then what else is known."""
    columns: dict[str, np.ndarray] = {}
    if geometry.owner is not None:
        columns[SHAPE if geometry.kind == "shapes" else TRACK] = geometry.owner
    rows = len(geometry.coordinates)
    each = geometry.owner if geometry.kind == "shapes" else np.arange(rows)
    if geometry.kind == "shapes" and each is not None:
        types = np.array([*geometry.types, None], object)[:-1]
        columns[SHAPE_TYPE] = types[each]
    world = geometry.coordinates
    if geometry.affine is not None:
        world = geometry.affine(world) if rows else world
    columns |= {name: world[:, n] for n, name in enumerate(geometry.axes)}
    if geometry.affine is not None:
        pixels = geometry.coordinates
        columns |= {f"{a}{_PIXEL}": pixels[:, n] for n, a in enumerate(geometry.axes)}
    renamed = {}
    for name, values in geometry.features.items():
        stored = free_name(name, columns)
        columns[stored] = values if each is None else values[each]
        renamed[stored] = name
    said: dict[str, Any] = {
        "kind": geometry.kind,
        "axes": list(geometry.axes),
        "units": list(geometry.units),
        "features": renamed,
        "looks": dict(geometry.looks),
    }
    if geometry.affine is not None:
        said["affine"] = [list(row) for row in geometry.affine.rows]
    return Table(columns, attributes={GEOMETRY: said})


# From a table: of ours, of ngio's regions, or of any that has columns of places.


def geometry_of(table: Table) -> Geometry:
    """Find out where the rows of a table are.

    Raises
    ------
    OptionError
        Its columns do not say.
    """
    said = table.attributes.get(GEOMETRY)
    if isinstance(said, Mapping):
        try:
            found = _ours(table, said)
        except (TypeError, ValueError, LookupError, AttributeError):
            raise OptionError(_NO_PLACES) from None
    elif f"len_x{_MICROMETER}" in table.columns:
        found = _regions(table)
    else:
        found = _by_columns(table)
    return _with_places_only(found)


_NO_PLACES = "This table does not say where its rows are."


def _with_places_only(geometry: Geometry) -> Geometry:
    """Leave out what lies nowhere: napari cannot show it, nor anything beside it."""
    lost = ~np.isfinite(geometry.coordinates).all(axis=1)
    if not lost.any():
        return geometry
    owner, types, of_each = geometry.owner, geometry.types, ~lost
    if geometry.kind == "shapes" and owner is not None:
        _, shape = np.unique(owner, return_inverse=True)
        of_each = np.ones(len(types), bool)
        of_each[shape[lost]] = False
        lost = ~of_each[shape]
        types = tuple(t for t, kept in zip(types, of_each, strict=True) if kept)
    return dataclasses.replace(
        geometry,
        coordinates=geometry.coordinates[~lost],
        owner=None if owner is None else owner[~lost],
        types=types,
        features={n: column[of_each] for n, column in geometry.features.items()},
        left_out=int((~of_each).sum()),
    )


def _ours(table: Table, said: Mapping[str, Any]) -> Geometry:
    axes = tuple(str(axis) for axis in said["axes"])
    rows = said.get("affine")
    names = [f"{axis}{_PIXEL}" if rows else axis for axis in axes]
    kind = said["kind"]
    if kind not in ("points", "shapes", "tracks") or not axes:
        raise OptionError(_NO_PLACES)
    coordinates = np.column_stack([_floats(table.columns[name]) for name in names])
    owner: np.ndarray | None = None
    first: np.ndarray | slice = slice(None)
    types: tuple[str, ...] = ()
    if kind != "points":
        owner = whole(table.columns[SHAPE if kind == "shapes" else TRACK])
        if owner is None or (kind == "shapes" and (np.diff(owner) < 0).any()):
            raise OptionError(_NO_PLACES)
    if kind == "shapes" and owner is not None:
        _, first = np.unique(owner, return_index=True)
        types = tuple(str(value) for value in table.columns[SHAPE_TYPE][first])
    stored = said.get("features") or {}
    return Geometry(
        cast("GeometryKind", kind),
        axes,
        coordinates,
        owner,
        types,
        {
            str(name): table.columns[key][first]
            for key, name in stored.items()
            if key in table.columns
        },
        Affine.from_matrix(rows) if rows else None,
        tuple(str(unit) for unit in said.get("units") or ()),
        dict(said.get("looks") or {}),
    )


def _regions(table: Table) -> Geometry:
    """Make rectangles of regions of interest, in y and x: they go through all planes.

    ngio says where a region begins, and not where the centre of its first pixel is.
    """
    starts, lengths = [], []
    for axis in "yx":
        start, length = f"{axis}{_MICROMETER}", f"len_{axis}{_MICROMETER}"
        if start not in table.columns or length not in table.columns:
            raise OptionError("These regions do not say where they are.")
        starts.append(_floats(table.columns[start]))
        lengths.append(_floats(table.columns[length]))
    (top, left), (height, width) = starts, lengths
    count = len(top)
    corners = np.empty((count, 4, 2))
    corners[:, :, 0] = top[:, None] + np.outer(height, [0, 0, 1, 1])
    corners[:, :, 1] = left[:, None] + np.outer(width, [0, 1, 1, 0])
    columns = dict(table.columns)
    if table.key in columns:
        columns = {"name": column_of(columns.pop(table.key).astype(str)), **columns}
    return Geometry(
        "shapes",
        ("y", "x"),
        corners.reshape(-1, 2),
        np.repeat(np.arange(count), 4),
        ("rectangle",) * count,
        columns,
        units=("micrometer", "micrometer"),
    )


def _by_columns(table: Table) -> Geometry:
    """Take the columns that are called like axes, as many programs write them."""
    names = {_plain_name(name): name for name in table.columns}
    axes = {axis: found for axis in _AXES if (found := _column(names, axis))}
    numbered = [name for n in range(5) if (name := names.get(f"axis-{n}"))]
    if numbered:  # as napari writes CSV
        axes = dict(zip(_AXES[-len(numbered) :], numbered, strict=True))
    if not {"y", "x"} <= axes.keys():
        sentence = "This table has no columns x and y: it does not say where rows are."
        raise OptionError(sentence, action="Choose another table, or rename columns.")
    track = next((names[name] for name in _TRACKS if name in names), None)
    owner = None if track is None else whole(table.columns[track])
    is_track = owner is not None and "t" in axes
    coordinates = np.column_stack([_floats(table.columns[n]) for n in axes.values()])
    taken = {*axes.values(), *([track] if is_track else ())}
    features = {n: column for n, column in table.columns.items() if n not in taken}
    if is_track and owner is not None:
        order = np.lexsort((coordinates[:, list(axes).index("t")], owner))
        coordinates, owner = coordinates[order], owner[order]
        features = {name: column[order] for name, column in features.items()}
    micrometers = [
        _plain_name(name).endswith((_MICROMETER, "_um")) for name in axes.values()
    ]
    return Geometry(
        "tracks" if is_track else "points",
        tuple(axes),
        coordinates,
        owner if is_track else None,
        features=features,
        units=tuple("micrometer" if m else "pixel" for m in micrometers),
    )


def _plain_name(name: str) -> str:
    """Spell a column's name as most do: ``Centroid X µm`` of QuPath."""
    return re.sub(r"[µμ]m\b", "um", name.strip().lower()).replace(" ", "_")


def _column(names: Mapping[str, str], axis: str) -> str:
    known = [pattern.format(axis) for pattern in _SYNONYMS]
    if axis == "t":
        known = [*_TIMES]
    if axis in "yx":  # scikit-image counts axes
        known.append(f"centroid-{'yx'.index(axis)}")
    return next((names[name] for name in known if name in names), "")


def _floats(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind not in "biuf":
        sentence = "A column that says where rows are holds no numbers."
        raise OptionError(sentence, action="Choose another table.")
    return column.astype(np.float64)


def shapes_of(geometry: Geometry) -> list[np.ndarray]:
    """Give the vertices of each shape."""
    if geometry.owner is None or not len(geometry.owner):
        return []
    cuts = np.flatnonzero(np.diff(geometry.owner)) + 1
    return np.split(geometry.coordinates, cuts)


def joined(vertices: Sequence[np.ndarray], ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the vertices of shapes one after the other, and whose each is."""
    if not vertices:
        return np.empty((0, ndim)), np.empty(0, np.int64)
    counts = [len(each) for each in vertices]
    return np.concatenate(vertices), np.repeat(np.arange(len(vertices)), counts)


# Points and shapes of a spatialdata: Parquet, with geometry as WKB.

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
    table = parquet_table([body for body in bodies if body], url)
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
