"""AnnData-Zarr (0.1.0): a table as a matrix, and data frames around it.

Numbers of one float type are the matrix ``X``, with their names in ``var``; whole
numbers, booleans and text are columns of ``obs``. So does anndata, and whoever writes
by it: ngio, fractal, spatialdata, scanpy.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.dtype import VariableLengthUTF8
from zarr.storage import MemoryStore

from napari_omezarr.errors import MetadataError
from napari_omezarr.location import is_below

from .geometry import Geometry, table_of_geometry
from .table import FEATURES, LABEL, Table, below, column_of, free_name, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .table import TableDocuments, TableNode

NAMES, ORDER = "napari_names", "napari_columns"
"""Our attributes: columns whose names no folder can have, and the order of all."""
_CHUNK = 2**22
"""Bytes of a chunk: a table of usual size is few requests."""
_UNSAFE = re.compile(r"^[^A-Za-z0-9]+|[^\w\-. ]|[ .]+$", re.ASCII)
"""What a name of a folder had better not hold."""
_TEXT = 32
"""Bytes that a value of text is taken to need."""


# Write: into a store in memory, whose objects are then put where they belong.


def encode(
    table: Table, zarr_format: int, attributes: Mapping[str, Any], region: str = ""
) -> dict[str, bytes]:
    """Give the objects of a table, by their keys in its group.

    ``region`` names the labels that the rows are about; spatialdata wants it in a
    column, too.
    """
    objects: dict[str, Any] = {}
    store = MemoryStore(objects)
    columns = {name: column_of(column) for name, column in table.columns.items()}
    matrix = _matrix_names(columns, table.key)
    beside = [name for name in columns if name not in matrix]
    said = {
        **attributes,
        "encoding-type": "anndata",
        "encoding-version": "0.1.0",
        ORDER: list(columns),
    }
    number: Any = zarr_format  # for zarr's types it is 2 or 3
    root = zarr.open_group(store, mode="w", zarr_format=number, attributes=said)
    rows = table.rows
    keys = columns.get(table.key, np.arange(rows)).tolist()
    frame: dict[str, Any] = {name: columns[name] for name in beside}
    if region:
        region_key = free_name("region", columns)
        frame[region_key] = _Same(region, rows)
        _region_attributes(root, region, region_key, table.key)
    _write_frame(root, "obs", [str(key) for key in keys], frame)
    _write_frame(root, "var", matrix, {})
    dtype = columns[matrix[0]].dtype if matrix else np.dtype(np.float32)
    values = np.empty((rows, len(matrix)), dtype)
    for number, name in enumerate(matrix):
        values[:, number] = columns[name]
    _write(root, "X", values, "array")
    return {key: body.to_bytes() for key, body in objects.items()}


@dataclass(frozen=True, slots=True)
class _Same:
    """A column of one value."""

    value: str
    rows: int


def _matrix_names(columns: Mapping[str, np.ndarray], key: str) -> list[str]:
    """Name the columns of the float type that most have; others keep their own."""
    floats = {
        name: column.dtype
        for name, column in columns.items()
        if name != key and column.dtype.kind == "f" and column.dtype.itemsize > 2
    }
    if not floats:
        return []
    (usual, _), *_ = Counter(floats.values()).most_common(1)
    return [name for name, dtype in floats.items() if dtype == usual]


def _region_attributes(root: Any, region: str, region_key: str, key: str) -> None:
    """Say in ``uns`` what spatialdata wants to know."""
    uns = root.create_group("uns", attributes=_encoding("dict", "0.1.0"))
    said = uns.create_group("spatialdata_attrs", attributes=_encoding("dict", "0.1.0"))
    for name, value in (
        ("region", region),
        ("region_key", region_key),
        ("instance_key", key),
    ):
        _write(said, name, np.array(value, object), "string")


def _encoding(kind: str, version: str = "0.2.0") -> dict[str, str]:
    return {"encoding-type": kind, "encoding-version": version}


def _write_frame(
    root: Any, path: str, index: Sequence[str], columns: Mapping[str, Any]
) -> None:
    taken = ["_index"]
    names: dict[str, str] = {}
    for name in columns:
        # Two names that differ in case are one folder on many computers.
        safe = _UNSAFE.sub("_", name).lstrip("_")[:100] or "column"
        lower = free_name(safe.lower(), taken)
        taken.append(lower)
        stored = safe + lower[len(safe) :]
        names[stored] = name
    renamed = {stored: name for stored, name in names.items() if stored != name}
    attributes = {
        **_encoding("dataframe"),
        "_index": "_index",
        "column-order": list(names),
        **({NAMES: renamed} if renamed else {}),
    }
    frame = root.create_group(path, attributes=attributes)
    _write(frame, "_index", _texts(index), "string-array")
    for stored, name in names.items():
        _write_column(frame, stored, columns[name])


def _write_column(frame: Any, name: str, column: Any) -> None:
    if isinstance(column, _Same):
        codes = np.zeros(column.rows, np.int8)
        _write_categories(frame, name, codes, [column.value][: column.rows])
    elif column.dtype.kind != "O":
        _write(frame, name, column, "array")
    elif all(isinstance(value, str) for value in column):
        _write(frame, name, column, "string-array")
    elif any(isinstance(value, bool) for value in column):
        masked = frame.create_group(
            name, attributes=_encoding("nullable-boolean", "0.1.0")
        )
        _write(masked, "values", column == True, "array")  # noqa: E712 - not None
        _write(masked, "mask", np.array([v is None for v in column]), "array")
    else:  # the one encoding of text with gaps that all versions of anndata read
        present = sorted({value for value in column if value is not None})
        places = {None: -1, **{value: n for n, value in enumerate(present)}}
        codes = np.array([places[value] for value in column], np.int32)
        _write_categories(frame, name, codes, present)


def _write_categories(
    frame: Any, name: str, codes: np.ndarray, categories: Sequence[str]
) -> None:
    attributes = {**_encoding("categorical"), "ordered": False}
    group = frame.create_group(name, attributes=attributes)
    _write(group, "codes", codes, "array")
    _write(group, "categories", _texts(categories), "string-array")


def _texts(values: Sequence[str]) -> np.ndarray:
    made = np.empty(len(values), object)
    made[:] = values
    return made


def _write(group: Any, name: str, values: np.ndarray, kind: str) -> None:
    text = values.dtype == object
    width = values.dtype.itemsize if not text else _TEXT
    row = max(1, int(np.prod(values.shape[1:]))) * width
    chunks = tuple(max(1, size) for size in values.shape)
    if values.ndim:
        chunks = (min(chunks[0], max(1, _CHUNK // row)), *chunks[1:])
    with warnings.catch_warnings():
        # anndata writes text in this type, too.
        warnings.simplefilter("ignore")
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=chunks,
            dtype=VariableLengthUTF8() if text else values.dtype,
            attributes=_encoding(kind),
            config={"write_empty_chunks": True},  # nobody need wonder where they are
        )
        if values.size:
            array[...] = values if values.ndim else values.item()


# Read: documents in rounds, then all arrays at once.

_SPARSE = {"csr_matrix": 0, "csc_matrix": 1}
_MOST_COLUMNS = 10_000
_MOST_VALUES = 2**27
"""A matrix of more is left out: it is no table that a person looks at."""


def regions_of_table(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the label images that a table is about, as ngio or spatialdata says it."""
    region = attributes.get("region")
    if isinstance(region, Mapping):
        region = region.get("path")
    listed = region if isinstance(region, list) else [region]
    return tuple(name for each in listed if (name := region_name(each)))


def region_name(region: Any) -> str:
    """Give the name of labels at a path; empty where this is none."""
    return region.rstrip("/").rpartition("/")[2] if isinstance(region, str) else ""


class AnnotatedTable:
    """A table of this kind as its documents describe it; its values are read later.

    Attributes
    ----------
    rows : int
        How many rows it has.
    names : tuple of str
        The columns that are known without reading values: those of ``obs``.
    width : int
        How many columns the matrix has beside them.
    notes : tuple of str
        What of it is not read, a sentence each.
    """

    def __init__(self, documents: TableDocuments, root: TableNode) -> None:
        self._documents, self._root = documents, root
        self.notes: tuple[str, ...] = ()
        parts = ("obs", "var", "X")
        obs, var, matrix = self._look(*(below(root.path, part) for part in parts))
        if obs is None or obs.array is not None:
            place = f"{documents.store.location.display}/{root.path}".rstrip("/")
            raise MetadataError("This is no table of AnnData", url=place)
        self._obs, self._var, self._matrix = obs, var, matrix
        order = obs.attributes.get("column-order")
        stored = [str(n) for n in order] if isinstance(order, list) else []
        self._stored = [name for name in stored if is_below(name)][:_MOST_COLUMNS]
        if len(self._stored) < len(stored):
            self.notes = (f"Of {len(stored):,} columns not all are read.",)
        renamed = obs.attributes.get(NAMES)
        renamed = renamed if isinstance(renamed, Mapping) else {}
        self.names = tuple(str(renamed.get(name, name)) for name in self._stored)
        self._index = below(obs.path, str(obs.attributes.get("_index", "_index")))
        self.index = str(obs.attributes.get("_index", "_index"))
        columns = [below(obs.path, name) for name in self._stored]
        self._look(*columns, self._index, *self._matrix_paths())
        groups = [n for n in self._look(*columns) if n is not None and n.array is None]
        self._look(*(below(n.path, part) for n in groups for part in _parts(n)))
        (index,) = self._look(self._index)
        if index is None or len(index.shape) != 1:
            place = f"{documents.store.location.display}/{self._index}"
            raise MetadataError("The rows of this table have no names", url=place)
        self.rows = index.shape[0]
        self.width = self._matrix_width()

    @property
    def size(self) -> int:
        """About how many bytes its values take in memory."""
        return sum(node.size for node in self._arrays())

    def read(self) -> Table:
        """Read all values; blocks.

        Raises
        ------
        MetadataError, StoreError, DamagedDataError
            They cannot be understood, or could not be read.
        """
        nodes = self._arrays()
        values = self._documents.values(nodes)
        found: dict[str, np.ndarray] = {}
        several = len(regions_of_table(self._root.attributes)) > 1
        dropped = None if several else self._root.attributes.get("region_key")
        for stored, name in zip(self._stored, self.names, strict=True):
            (node,) = self._look(below(self._obs.path, stored))
            column = None if node is None else _column(node, values)
            if column is not None and len(column) == self.rows and name != dropped:
                found[name] = column
            elif name != dropped:
                said = f"The column {name} is of a kind that is not known here."
                self.notes = (*self.notes, said)
        found |= self._matrix_columns(values, found)
        found = self._with_index(found, values.get(self._index))
        order = self._root.attributes.get(ORDER)
        if isinstance(order, list):
            found = {n: found[n] for n in order if n in found} | found
        return Table(found, attributes=self._root.attributes)

    def _with_index(
        self, found: dict[str, np.ndarray], index: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Add the names of the rows, unless they are a column's values once more."""
        if index is None or index.shape != (self.rows,):
            return found
        names = column_of(index)
        said = self._root.attributes.get("index_key")
        if isinstance(said, str):
            return {said: names, **found}
        return {**found, free_name(self.index.strip("_") or "index", found): names}

    def _repeats_index(self) -> bool:
        """Whether the names of the rows are values of a column, or say nothing."""
        known = self._root.attributes.get(ORDER)
        key = self._root.attributes.get("index_key")
        ours = isinstance(known, list) and self.index not in known
        return key in self.names or (ours and not isinstance(key, str))

    def _look(self, *paths: str) -> list[TableNode | None]:
        return self._documents.look(paths, self._root.zarr_format)

    def _arrays(self) -> list[TableNode]:
        paths = [below(self._obs.path, name) for name in self._stored]
        index = [] if self._repeats_index() else [self._index]
        found = self._look(*paths, *index, *self._matrix_paths())
        arrays = []
        for node in found:
            if node is not None and node.array is None:
                parts = self._look(*(below(node.path, p) for p in _parts(node)))
                arrays += [part for part in parts if part is not None and part.array]
            elif node is not None:
                arrays.append(node)
        return arrays

    # The matrix, and the names of its columns.

    def _matrix_paths(self) -> list[str]:
        if self._matrix is None or self._var is None:
            return []
        names = below(self._var.path, str(self._var.attributes.get("_index", "_index")))
        return [] if self._is_too_large() else [names, self._matrix.path]

    def _is_too_large(self) -> bool:
        matrix = self._matrix
        if matrix is None:
            return False
        shape = matrix.shape or matrix.attributes.get("shape") or ()
        known = all(type(size) is int for size in shape)
        if known and math.prod(shape) <= _MOST_VALUES:
            return False
        said = "The matrix of this table is too large to be columns; it is left out."
        self.notes = tuple(dict.fromkeys((*self.notes, said)))
        return True

    def _matrix_width(self) -> int:
        paths = self._matrix_paths()
        names = self._look(*paths[:1])
        return names[0].shape[0] if names and names[0] and names[0].shape else 0

    def _matrix_columns(
        self, values: Mapping[str, np.ndarray], taken: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        paths = self._matrix_paths()
        if not paths or self._matrix is None:
            return {}
        names = [str(name) for name in values.get(paths[0], ())]
        matrix = values.get(self._matrix.path)
        if matrix is None:
            matrix = _dense(self._matrix, values)
        if matrix is None or matrix.shape != (self.rows, len(names)):
            return {}
        return {
            name: np.ascontiguousarray(matrix[:, number])
            for number, name in enumerate(names)
            if name not in taken
        }


def _parts(node: TableNode) -> tuple[str, ...]:
    kind = str(node.attributes.get("encoding-type"))
    if kind == "categorical":
        return "codes", "categories"
    if kind.startswith("nullable-"):
        return "values", "mask"
    return ("data", "indices", "indptr") if kind in _SPARSE else ()


def _column(node: TableNode, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Make a column of what was read; None for what is not known."""
    if node.array is not None:
        found = values[node.path]
        return column_of(found) if found.ndim == 1 else None
    parts = [values.get(below(node.path, part)) for part in _parts(node)]
    if len(parts) != 2 or parts[0] is None or parts[1] is None:
        return None
    first, second = parts[0], parts[1]
    if node.attributes.get("encoding-type") == "categorical":
        return _of_categories(first, column_of(second))
    return _with_gaps(first, second.astype(bool))


def _of_categories(codes: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    if codes.dtype.kind not in "iu" or not (codes < len(known)).all():
        return None
    missing = codes < 0
    if not missing.any() and known.dtype.kind in "biuf":
        return np.asarray(known[codes])
    made = np.empty(len(codes), object)
    made[~missing] = known[codes[~missing]]
    return column_of(made)


def _with_gaps(values: np.ndarray, missing: np.ndarray) -> np.ndarray | None:
    if values.shape != missing.shape:
        return None
    if not missing.any():
        return values
    made = values.astype(object)
    made[missing] = None
    return column_of(made)


def _dense(node: TableNode, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Make a matrix of a sparse one; None where it is none."""
    kind = str(node.attributes.get("encoding-type"))
    shape = node.attributes.get("shape")
    parts = [values.get(below(node.path, part)) for part in _parts(node)]
    if kind not in _SPARSE or not isinstance(shape, list) or len(parts) != 3:
        return None
    data, inner, pointers = parts
    if data is None or inner is None or pointers is None:
        return None
    counts = np.diff(pointers)
    if data.shape != inner.shape or min([*shape, *counts.tolist()], default=0) < 0:
        return None
    outer = np.repeat(np.arange(len(counts)), counts)
    matrix = np.zeros(shape, data.dtype)
    by_row = _SPARSE[kind] == 0
    places = (outer, inner) if by_row else (inner, outer)
    limits = [size - 1 for size in shape]
    if len(outer) != len(inner) or any(
        len(at) and (at.min() < 0 or at.max() > most)
        for at, most in zip(places, limits, strict=True)
    ):
        return None
    matrix[places] = data
    return matrix


# How tables are written: the layout of ngio, which spatialdata reads, too.

_SPATIALDATA = {2: "0.1", 3: "0.2"}
"""Which version of spatialdata's layout has which zarr format."""


def feature_table(columns: Mapping[str, Any], index: Any) -> Table:
    """Make a table of features of labels: ``index`` are the label values."""
    others = {str(name): column for name, column in columns.items()}
    key = free_name(LABEL, others)
    return table_of({key: index, **others}, key)


def is_own_table(attributes: Mapping[str, Any], label: str) -> bool:
    """Whether a group's attributes are those that we give to features of labels."""
    region = attributes.get("region")
    path = region.get("path") if isinstance(region, Mapping) else None
    return ORDER in attributes and path == _region(label)


def _region(label: str) -> str:
    return f"../labels/{label}" if label else ".."


def geometry_objects(geometry: Geometry, zarr_format: int) -> dict[str, bytes]:
    """Give the objects of a table of places, by their keys in its group."""
    table = table_of_geometry(geometry)
    attributes = {
        "type": "generic_table",
        "table_version": "1",
        "backend": "anndata",
        **table.attributes,
    }
    return encode(table, zarr_format, attributes)


def feature_objects(table: Table, zarr_format: int, label: str) -> dict[str, bytes]:
    """Give the objects of a table of features, by their keys in its group.

    ``label`` is the name of the label image in the group beside; ``""``: the table is
    in the label image itself.
    """
    region_key = free_name("region", table.columns)
    attributes = {
        "type": FEATURES,
        "table_version": "1",
        "region": {"path": _region(label)},
        "backend": "anndata",
        "index_key": table.key,
        "index_type": "int",
        "instance_key": table.key,
        "region_key": region_key,
        "spatialdata-encoding-type": "ngff:regions_table",
        "version": _SPATIALDATA[zarr_format],
    }
    return encode(table, zarr_format, attributes, label or LABEL)
