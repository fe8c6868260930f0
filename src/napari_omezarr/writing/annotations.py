"""Features of labels, and layers of points, shapes and tracks, as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_omezarr.errors import OptionError, UnsupportedDataError
from napari_omezarr.metadata import Affine, layer_affine
from napari_omezarr.tables import (
    COMMON_LOOKS,
    GROUP,
    LOOKS,
    LOOKS_OF_ALL,
    LOOKS_OF_EACH,
    FeatureSource,
    Geometry,
    Table,
    column_of,
    feature_objects,
    feature_table,
    geometry_objects,
    is_table_name,
    joined,
    table_of,
)

from .encode import ZarrDocument, group_documents, zarr_format
from .hierarchy import is_document, root_keys
from .image_spec import named_axes
from .rendering import INDEX, NAPARI, folder_name, label_columns, label_properties

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.metadata import Axis
    from napari_omezarr.tables import GeometryKind

    from .carrying import CarryPlan
    from .hierarchy import Hierarchy
    from .image_spec import ImageSpec
    from .options import Version

# Features of labels; in the metadata are only few.

MOST_ROWS = 256
"""More are a table: the metadata are read by everybody who opens the image."""
MOST_VALUES = 4096
TABLE = "table"
"""Our key in the metadata of labels: the name of their table."""


def known_of_labels(*tables: Any) -> tuple[dict[int, dict[str, Any]], Table | None]:
    """Give what is known of label values: in JSON, or as a table if that is much.

    So it is where JSON would lose some: of several rows about a label (a film has one
    for each time point) properties hold one, and no infinite number, nor a column
    without any value. The first of the tables that has a column counts.
    """
    columns = label_columns(*tables)
    count = max(map(len, columns.values()), default=0)
    index = columns.get(INDEX)
    values = range(count) if index is None else [int(value) for value in index]
    is_little = count <= MOST_ROWS and count * len(columns) <= MOST_VALUES
    if is_little and len(set(values)) == count and not _any_infinite(columns):
        properties = label_properties(columns)
        if {*columns} <= {INDEX, *chain.from_iterable(properties.values())}:
            return properties, None
    columns.pop(INDEX, None)
    return {}, feature_table(columns, values)


def _any_infinite(columns: Mapping[str, Any]) -> bool:
    return any(
        isinstance(value, float | np.floating) and np.isinf(value)
        for column in columns.values()
        for value in column
    )


def named_by_labels(attributes: Mapping[str, Any]) -> str:
    """Give the table that labels name in their attributes; ``""`` if none."""
    state = attributes.get(NAPARI)
    held = state.get("labels") if isinstance(state, Mapping) else None
    name = held.get(TABLE) if isinstance(held, Mapping) else None
    return str(name) if is_table_name(name) else ""


@dataclass(frozen=True)  # no slots: what is computed is kept
class TablePlan:
    """A table that is written beside an image, or its labels."""

    image: str
    """The path of the group that holds ``tables``."""
    name: str
    """What it will be called there."""
    label: str
    """What the labels are called; ``""`` if they lie in no image."""
    version: Version
    """Of OME-Zarr."""
    table: Table | FeatureSource | Geometry
    """The features, or where they are to be read, once that is needed; or places."""

    @property
    def is_known(self) -> bool:
        """Whether it is here, and need not be read."""
        return not isinstance(self.table, FeatureSource)

    @property
    def folder(self) -> str:
        """The path of its group."""
        return f"{self.image}/{GROUP}/{self.name}".lstrip("/")

    @cached_property
    def objects(self) -> dict[str, bytes]:
        """What is stored, by keys in the hierarchy; nothing where there is no table.

        Raises
        ------
        MetadataError, StoreError
            It had to be read, and that failed.
        """
        table, number = self.table, zarr_format(self.version)
        if isinstance(table, Geometry):
            made = geometry_objects(table, number)
            return {f"{self.folder}/{key}": body for key, body in made.items()}
        if isinstance(table, FeatureSource):
            stored = table.find(others=False)
            if stored is None:
                return {}
            found = stored.read()
            features = found.features()
            table = feature_table(features, features.pop(INDEX))
        made = feature_objects(table, number, self.label)
        return {f"{self.folder}/{key}": body for key, body in made.items()}

    @property
    def documents(self) -> list[ZarrDocument]:
        """The documents among them."""
        return [
            ZarrDocument(key, json.loads(body))
            for key, body in self.objects.items()
            if is_document(key)
        ]

    def put(self, hierarchy: Hierarchy) -> None:
        """Write it, the document of its group last."""
        last = [key for key in root_keys(self.folder) if key in self.objects]
        inner = [key for key in self.objects if key not in last]
        documents = [key for key in inner if is_document(key)]
        chunks = [key for key in inner if not is_document(key)]
        steps = [chunks, documents, *([key] for key in last)]
        if hierarchy.needs_arrays_first:
            steps = [*([key] for key in (*last, *documents)), chunks]
        for keys in steps:
            for done in [hierarchy.begin_put(key, self.objects[key]) for key in keys]:
                done.result()


def plan_features(spec: ImageSpec, path: str, version: Version) -> TablePlan | None:
    """Decide which table is written beside labels; None where none is."""
    table = spec.label.table if spec.label else None
    if table is None:
        return None
    *above, last = path.split("/")
    inside = bool(above) and above[-1] == "labels"
    label = last if inside else ""
    image = "/".join(above[:-1]) if inside else path
    name = f"{label or folder_name(spec.name, ())}_features"
    return TablePlan(image, name, label, version, table)


def lists_of_tables(
    plans: Sequence[TablePlan], version: Version, carried: Sequence[CarryPlan] = ()
) -> list[ZarrDocument]:
    """Give the documents of the groups that list these tables, and carried ones."""
    names: dict[str, list[str]] = {}
    said: dict[str, Mapping[str, Any]] = {}
    for there in carried:
        if GROUP in there.extras:
            said[there.image] = there.extras[GROUP]
        if there.tables:
            names.setdefault(there.image, []).extend(there.tables)
    for each in plans:
        if each.objects:
            names.setdefault(each.image, []).append(each.name)
    return [
        document
        for image in {**said, **names}
        for document in group_documents(
            f"{image}/{GROUP}".lstrip("/"),
            {**said.get(image, {}), **_listing(names.get(image))},
            version,
        )
    ]


def _listing(names: Sequence[str] | None) -> dict[str, list[str]]:
    return {GROUP: [*dict.fromkeys(names)]} if names else {}


ANNOTATIONS = ("points", "shapes", "tracks")
"""The layer types that become a table."""


def geometry(
    data: Any, options: Mapping[str, Any], kind: str, known: Mapping[str, Axis]
) -> Geometry:
    """Describe a layer; ``known`` are the axes of the image that it lies upon.

    Raises
    ------
    UnsupportedDataError
        What it holds cannot be told from its data.
    """
    try:
        places, owner, types = _PARTS[kind](data, options)
    except (TypeError, ValueError, IndexError) as error:
        raise UnsupportedDataError(
            f"The {kind} {options.get('name') or ''} hold no places.",
            action="Look at them, or leave the layer out.",
        ) from error
    ndim = places.shape[1]
    affine = layer_affine(options, ndim)
    if not affine.has_sizes:
        name = options.get("name") or f"The {kind}"
        raise OptionError(f"{name} has a pixel of no size along some axis.")
    axes = _axes(options, ndim, kind, known)
    count = len(types) if kind == "shapes" else len(places)
    features = table_of(label_columns(options.get("features"))).columns
    if any(len(column) != count for column in features.values()):
        features = {}
    looks, own = _looks(options, kind, count)
    return Geometry(
        cast("GeometryKind", kind),
        tuple(axis.name for axis in axes),
        places,
        owner,
        types,
        {**features, **own},
        None if affine == Affine.identity(ndim) else affine,
        tuple(axis.unit or _unit(known.get(axis.name)) for axis in axes),
        looks,
    )


def _axes(
    options: Mapping[str, Any], ndim: int, kind: str, known: Mapping[str, Axis]
) -> tuple[Axis, ...]:
    labels = [str(name) for name in options.get("axis_labels") or ()]
    placeholders = [str(index - ndim) for index in range(ndim)]
    if len(labels) != ndim:
        labels = placeholders
    names = [axis.name for axis in known.values() if axis.type != "channel"]
    if labels == placeholders and kind == "tracks":  # their first axis is time
        space = [name for name in names if known[name].type != "time"]
        space = space if len(space) >= ndim - 1 else list("zyx"[1 - ndim :])
        labels = ["t", *space[len(space) - ndim + 1 :]]
    elif labels == placeholders and ndim <= len(names):
        labels = names[len(names) - ndim :]
    units = [str(unit) for unit in options.get("units") or ()]
    return named_axes(labels, units if len(units) == ndim else ["pixel"] * ndim, known)


def _unit(axis: Axis | None) -> str:
    """Give the unit of the image that a layer without one lies upon."""
    return (axis.unit if axis else None) or "pixel"


# The places of each kind of layer, and what they are parts of.

_Parts = tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]


def _points(data: Any, options: Mapping[str, Any]) -> _Parts:
    places = np.asarray(data, np.float64)
    if places.ndim != 2 or not places.shape[1]:
        places = places.reshape(0, _ndim(options))
    return places, None, ()


def _shapes(data: Any, options: Mapping[str, Any]) -> _Parts:
    given, types = data, options.get("shape_type", "rectangle")
    if isinstance(data, tuple) and len(data) == 2 and not np.isscalar(data[1]):
        given, types = data
    vertices = [np.asarray(each, np.float64) for each in given]
    ndim = vertices[0].shape[1] if vertices else _ndim(options)
    of_each = [types] * len(vertices) if isinstance(types, str) else list(types)
    if len(of_each) != len(vertices):
        raise ValueError("as many types as shapes")
    full = [_corners(v, str(t)) for v, t in zip(vertices, of_each, strict=True)]
    return *joined(full, ndim), tuple(str(type_) for type_ in of_each)


def _corners(vertices: np.ndarray, type_: str) -> np.ndarray:
    """Give a rectangle or an ellipse by four corners, also if two are given."""
    if type_ not in ("rectangle", "ellipse") or len(vertices) != 2:
        return vertices
    first, last = vertices
    corners = np.repeat(first[None], 4, axis=0)
    corners[1:3, -1], corners[2:4, -2] = last[-1], last[-2]
    return corners


def _tracks(data: Any, options: Mapping[str, Any]) -> _Parts:
    rows = np.asarray(data, np.float64)
    if rows.ndim != 2:
        rows = rows.reshape(0, 1 + _ndim(options))
    return rows[:, 1:], rows[:, 0].astype(np.int64), ()


_PARTS = {"points": _points, "shapes": _shapes, "tracks": _tracks}


def _ndim(options: Mapping[str, Any]) -> int:
    said = options.get("ndim")
    if isinstance(said, int):
        return said
    scale = options.get("scale")
    return 2 if scale is None else len(scale)


# How they look: what all share in the attributes, what differs in columns.


def _looks(
    options: Mapping[str, Any], kind: str, count: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    found: dict[str, Any] = {"name": str(options.get("name") or kind)}
    for key in (*COMMON_LOOKS, *LOOKS_OF_ALL[kind]):
        value = getattr(options.get(key), "value", options.get(key))
        if isinstance(value, str | bool | int | float):
            found[key] = value
    if kind == "tracks":
        found["graph"] = _graph(options.get("graph"))
    own: dict[str, np.ndarray] = {}
    for key in LOOKS_OF_EACH[kind]:
        values = _of_each(options.get(key), count)
        if values and all(value == values[0] for value in values):
            found[key] = values[0]
        elif values:
            own[f"{LOOKS}{key}"] = column_of(values)
    return found, own


def _of_each(given: Any, count: int) -> list[Any]:
    """Give a value for each point or shape, in JSON; none where nobody said."""
    if given is None or isinstance(given, str | bool | int | float):
        return [] if given is None else [given] * count
    values = [getattr(value, "value", value) for value in given]
    values = [getattr(value, "tolist", lambda v=value: v)() for value in values]
    if len(values) == count:
        return values
    return [values] * count if len(values) in (3, 4) else []


def _graph(graph: Any) -> dict[str, list[int]]:
    if not isinstance(graph, Mapping):
        return {}
    return {
        str(int(child)): [int(parent) for parent in np.atleast_1d(parents)]
        for child, parents in graph.items()
    }
