"""Points, shapes and tracks as tables: where things are, in columns by axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from napari_omezarr.errors import OptionError
from napari_omezarr.metadata import Affine

from .table import Table, column_of, free_name, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

GeometryKind = Literal["points", "shapes", "tracks"]
GEOMETRY = "napari_layer"
"""Our attribute of a table: which kind of layer it is, and how that looks."""
LOOKS = "napari_"
"""How a column is called that says how each point or shape is shown."""
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
)
_TIMES = ("t", "frame", "time", "timepoint")
_TRACKS = (TRACK, "track", "trackid", "particle")


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a layer of points, shapes or tracks holds.

    Attributes
    ----------
    kind : {"points", "shapes", "tracks"}
        What the rows are.
    axes : tuple of str
        The axes of the coordinates, as an image's: the last one is x.
    coordinates : numpy.ndarray
        M x D: of points, of the vertices of shapes one after the other, of tracks.
    owner : numpy.ndarray or None
        For each row, which shape (0, 1, ...) or track it is part of; None of points.
    types : tuple of str
        Of each shape: rectangle, ellipse, polygon, path or line.
    features : Mapping
        Columns by name: a value for each point, shape, or row of a track.
    affine : Affine or None
        From the coordinates to the world; None: they are in it.
    units : tuple of str
        Of the world's axes; empty where nobody said.
    looks : Mapping
        How it is shown, in JSON: names of napari's options.
    """

    kind: GeometryKind
    axes: tuple[str, ...]
    coordinates: np.ndarray
    owner: np.ndarray | None = None
    types: tuple[str, ...] = ()
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    affine: Affine | None = None
    units: tuple[str, ...] = ()
    looks: Mapping[str, Any] = field(default_factory=dict)


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
        return _ours(table, said)
    if f"len_x{_MICROMETER}" in table.columns:
        return _regions(table)
    return _by_columns(table)


def _ours(table: Table, said: Mapping[str, Any]) -> Geometry:
    axes = tuple(str(axis) for axis in said.get("axes") or ())
    rows = said.get("affine")
    names = [f"{axis}{_PIXEL}" if rows else axis for axis in axes]
    kind = said.get("kind")
    missing = [name for name in names if name not in table.columns]
    if kind not in ("points", "shapes", "tracks") or missing or not axes:
        raise OptionError("This table does not say where its rows are.")
    coordinates = np.column_stack([table.columns[name] for name in names])
    owner: np.ndarray | None = None
    first: np.ndarray | slice = slice(None)
    types: tuple[str, ...] = ()
    if kind != "points":
        owner = table.columns[SHAPE if kind == "shapes" else TRACK]
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
        tuple(said.get("units") or ()),
        said.get("looks") or {},
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
    names = {name.lower(): name for name in table.columns}
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
        name.lower().endswith((_MICROMETER, "_um")) for name in axes.values()
    ]
    return Geometry(
        "tracks" if is_track else "points",
        tuple(axes),
        coordinates,
        owner if is_track else None,
        features=features,
        units=tuple("micrometer" if m else "pixel" for m in micrometers),
    )


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
