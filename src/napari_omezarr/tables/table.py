"""A table as values: its columns, as files have them, and what each row is about."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.storage import StorePath

from napari_omezarr._io_loop import run
from napari_omezarr.errors import (
    FOREIGN_ERRORS,
    DamagedDataError,
    MetadataError,
    MissingPackageError,
    OMEZarrError,
    OptionError,
    StoreError,
    UnsupportedDataError,
)
from napari_omezarr.location import ARRAY_DOCUMENT, GROUP_DOCUMENT
from napari_omezarr.metadata import DocumentError, load_json
from napari_omezarr.pyramid import ArrayPixels, tolerated, understood

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari_omezarr.store import RemoteStore

    Columns = dict[str, np.ndarray]

_TEXT = 32
"""Bytes that a value of text is taken to need."""
_AT_ONCE = 16
_MOST_TEXTS = 2**27
"""So many values of text, at most, are read of an array."""


@dataclass(frozen=True, slots=True)
class TableNode:
    """A group, or an array if there is a document of one, and its attributes."""

    path: str
    zarr_format: int
    attributes: Mapping[str, Any]
    array: Mapping[str, Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array; empty of a group."""
        shape = (self.array or {}).get("shape")
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            return ()
        return tuple(shape)

    @property
    def size(self) -> int:
        """About how many bytes its values take in memory."""
        said = (self.array or {}).get("data_type", (self.array or {}).get("dtype"))
        try:
            width = np.dtype(said).itemsize if isinstance(said, str) else _TEXT
        except TypeError:
            width = _TEXT
        is_text = width == 0 or said in ("|O", "string")
        return math.prod(self.shape) * (_TEXT if is_text else width)


def below(path: str, *names: str) -> str:
    """Join a path and names below it."""
    return "/".join(part for part in (path.strip("/"), *names) if part)


class TableDocuments:
    """The documents below a store, each asked for once."""

    def __init__(self, store: RemoteStore) -> None:
        self.store = store
        self._known: dict[str, TableNode | None] = {}

    def look(
        self, paths: Iterable[str], zarr_format: int | None = None
    ) -> list[TableNode | None]:
        """Find the nodes at some paths in one round; None where there is none.

        Raises
        ------
        MetadataError, StoreError
            A document cannot be understood, or could not be read.
        """
        wanted = list(paths)
        formats = tuple(GROUP_DOCUMENT) if zarr_format is None else (zarr_format,)
        fresh = [path for path in dict.fromkeys(wanted) if path not in self._known]
        keys = [
            below(path, name)
            for path in fresh
            for number in formats
            for name in {GROUP_DOCUMENT[number], ARRAY_DOCUMENT[number]}
        ]
        answers = self.store.fetch(keys) if keys else {}
        for path in fresh:
            self._known[path] = self._node(path, formats, answers)
        return [self._known[path] for path in wanted]

    def _node(
        self, path: str, formats: Sequence[int], answers: Mapping[str, Any]
    ) -> TableNode | None:
        for number in sorted(formats, reverse=True):
            group = self._document(below(path, GROUP_DOCUMENT[number]), answers)
            array = self._document(below(path, ARRAY_DOCUMENT[number]), answers)
            if group is None and array is None:
                continue
            if number == 2:
                return TableNode(path, 2, group or {}, array)
            document = group or {}
            attributes = document.get("attributes")
            is_array = document.get("node_type") == "array"
            return TableNode(
                path,
                3,
                attributes if isinstance(attributes, Mapping) else {},
                document if is_array else None,
            )
        return None

    def _document(
        self, key: str, answers: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        body = answers.get(key)
        if isinstance(body, StoreError):
            raise body
        if body is None:
            return None
        try:
            content = load_json(body)
        except DocumentError as error:
            raise MetadataError(str(error), where=key) from error
        return content if isinstance(content, Mapping) else None

    def values(self, nodes: Iterable[TableNode]) -> dict[str, np.ndarray]:
        """Read arrays whole, all at once, by their paths; blocks.

        Raises
        ------
        MetadataError, StoreError, DamagedDataError
            An array cannot be understood, or could not be read.
        """
        wanted = list(nodes)
        with ThreadPoolExecutor(_AT_ONCE, "omezarr-table") as pool:
            found = list(pool.map(self._values, wanted))
        return {node.path: value for node, value in zip(wanted, found, strict=True)}

    def _values(self, node: TableNode) -> np.ndarray:
        address = f"{self.store.location.display}/{node.path}"
        try:
            document, _ = tolerated(understood(node.array or {})[0])
            array = zarr.AsyncArray.from_dict(
                StorePath(self.store, node.path), document
            )
            if np.dtype(array.dtype).kind in "biuf":
                pixels = ArrayPixels(array, address, self.store.concurrency)
                pixels.may_be_empty = True
                return np.asarray(pixels[(slice(None),) * len(node.shape)])
            if math.prod(node.shape) > _MOST_TEXTS:
                raise MetadataError("This column is too long", url=address)
            return np.asarray(run(array.getitem(...)))
        except OMEZarrError:
            raise
        except FOREIGN_ERRORS as error:
            sentence = f"A column of a table could not be read: {address}."
            action = "Ask who wrote it to write it again."
            raise DamagedDataError(sentence, action=action, url=address) from error


# A table as values: its columns, as files have them, and what each row is about.

FEATURES = "feature_table"
"""The type of a table whose rows are about labels."""
LABEL = "label"
"""What the column of label values is called, where nothing says otherwise."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length, in order."""

    columns: Mapping[str, np.ndarray]
    """By their names: arrays of numbers, booleans or objects (text; what is missing is
    None)."""
    key: str = ""
    """The column that says what each row is about; ``""`` if none does."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What is stored with the table: its kind, its region."""

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(next(iter(self.columns.values()), ()))

    def features(self) -> dict[str, np.ndarray]:
        """Give the columns as napari takes those of labels: ``index`` is the label.

        Raises
        ------
        OptionError
            Nothing says which label a row is about.
        """
        if self.key not in self.columns:
            sentence = "No column says which label a row is about."
            raise OptionError(sentence, action="Choose a table of features.")
        labels = whole(self.columns[self.key])
        if labels is None:
            sentence = f"{self.key} holds no whole numbers, and labels are."
            raise OptionError(sentence, action="Choose a table of features.")
        others = {n: column for n, column in self.columns.items() if n != self.key}
        others.pop("index", None)
        return {"index": labels, **others}


def table_of(columns: Any, key: str = "") -> Table:
    """Make a table of columns as they come: of a mapping, or of a data frame.

    Raises
    ------
    OptionError
        They differ in length.
    """
    names = list(columns) if isinstance(columns, Mapping) else list(columns.columns)
    made = {str(name): column_of(columns[name]) for name in names}
    if len({len(column) for column in made.values()}) > 1:
        raise OptionError("The columns of this table differ in length.")
    return Table(made, key)


def column_of(values: Any) -> np.ndarray:
    """Make a column: numbers and booleans as they are, all else as text or None."""
    if hasattr(values, "to_numpy"):  # of pandas, whose own types numpy lacks
        values = values.to_numpy()
    plain = values if isinstance(values, np.ndarray) else list(values)
    try:
        found = np.asarray(plain)
    except ValueError:  # rows of different lengths
        found = np.empty(len(plain), object)
        found[:] = plain
    if found.ndim == 1 and found.dtype.kind in "biuf":
        half = found.dtype.kind == "f" and found.dtype.itemsize not in (2, 4, 8)
        return found.astype(np.float64) if half else found
    if found.ndim == 1 and found.dtype.kind == "T":  # text of numpy's own
        return found.astype(object)
    if found.ndim == 1 and found.dtype == object and _is_text(found):
        return found
    if found.ndim == 1 and found.dtype.kind == "M":
        return _objects([_plain(value) for value in found])
    return _objects([_plain(value) for value in plain])


def _is_text(column: np.ndarray) -> bool:
    return all(type(value) is str for value in column)


def _objects(values: list[Any]) -> np.ndarray:
    """Make numbers of Python's numbers with gaps, else keep text."""
    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if kinds and kinds <= {int, float}:
        with_gaps = [np.nan if value is None else value for value in values]
        if kinds == {int} and len(present) == len(values):
            return _numbers(values)
        return np.array(with_gaps, np.float64)
    if kinds == {bool} and len(present) == len(values):
        return np.array(values, bool)
    made = np.empty(len(values), object)
    for row, value in enumerate(values):
        text = value is None or isinstance(value, str) or kinds == {bool}
        made[row] = value if text else _text(value)
    return made


def _numbers(values: list[int]) -> np.ndarray:
    found = np.array(values)
    return found if found.dtype.kind in "iu" else np.array(values, np.float64)


def _plain(value: Any) -> Any:
    """Give one of Python's values for one of numpy's; NaN, NaT and NA are None."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return None if isinstance(value, float) and np.isnan(value) else value


def _text(value: Any) -> str:
    if isinstance(value, list | tuple | dict | np.ndarray):
        return json.dumps(value, default=_listed)
    return str(value)


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def whole(column: np.ndarray) -> np.ndarray | None:
    """Give a column as whole numbers; None where it holds others."""
    if column.dtype.kind == "O":
        try:
            return np.array([int(value) for value in column], np.int64)
        except (TypeError, ValueError, OverflowError):
            return None
    if column.dtype.kind in "iu":
        return column
    if column.dtype.kind != "f" or not (np.abs(column) <= _LARGEST_WHOLE).all():
        return None
    return column.astype(np.int64) if (np.mod(column, 1) == 0).all() else None


_LARGEST_WHOLE = 2.0**53
"""Above it floats skip whole numbers: no label can be told by them."""


def free_name(wanted: str, taken: Any) -> str:
    """Give a name that is not taken yet: itself, or with a number."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


# Tables as the bytes of a file: CSV and TSV, Parquet, JSON.

TEXT = frozenset({"tsv", "csv", "txt"})
PARQUET = frozenset({"parquet", "pq"})


def parse_file(ending: str, body: bytes, url: str) -> Columns:
    """Read the columns of a file, by the ending of its name.

    Raises
    ------
    UnsupportedDataError
        It is of no kind that is known, or Parquet without pyarrow.
    MetadataError
        It cannot be read as what its name says.
    """
    check_ending(ending, url)
    return _from_text(body, url) if ending in TEXT else _from_parquet(body, url)


def check_ending(ending: str, url: str) -> None:
    """Check that files whose names end so are known.

    Raises
    ------
    UnsupportedDataError
        They are not.
    """
    if ending not in TEXT | PARQUET:
        sentence = f"{url} is no table that is known here."
        action = "Use a .tsv, .csv or .parquet file."
        raise UnsupportedDataError(sentence, action=action, url=url)


def csv_bytes(columns: Mapping[str, np.ndarray]) -> bytes:
    """Write columns as CSV; what is missing is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    listed = [
        [_field(value) for value in column.tolist()] for column in columns.values()
    ]
    writer.writerows(zip(*listed, strict=True))
    return out.getvalue().encode()


def _field(value: Any) -> Any:
    return "" if value is None or value != value else value


def _from_text(body: bytes, url: str) -> Columns:
    try:
        text = _decoded(body)
        first = text.partition("\n")[0]
        # Tables called .csv with semicolons or tabs are common.
        delimiter = max("\t;,", key=first.count)
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise MetadataError("This is no table in plain text", url=url) from None
    rows = [row for row in rows if row]
    if len(rows) < 2:
        raise MetadataError("This table has no rows", url=url)
    names, *data = rows
    if any(len(row) != len(names) for row in data):
        raise MetadataError("The rows of this table differ in length", url=url)
    if names[0] == "LABEL" and data[0][0] == "Label":
        # TrackMate says below the names what they are in words, and their units.
        data = data[3:]
    columns: Columns = {}
    for number, name in enumerate(names):
        texts = [row[number].strip() for row in data]
        if delimiter == ";" and all(map(_WITH_COMMA, texts)):
            texts = [text.replace(",", ".") for text in texts]
        columns[free_name(name, columns)] = _column(texts)
    return columns


_WITH_COMMA = re.compile(r"([-+]?\d*,?\d*(e[-+]?\d+)?)", re.IGNORECASE).fullmatch
"""A number as German or French programs write it, or nothing."""


def _decoded(body: bytes) -> str:
    """Decode a text; Excel writes UTF-16 or, with a µ in it, Windows-1252."""
    is_wide = body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if is_wide and body[2:]:
        return body.decode("utf-16")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        if is_wide or _CONTROL.search(body):  # no text
            raise
        return body.decode("cp1252")


_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def _column(stripped: Sequence[str]) -> np.ndarray:
    """Read a column as whole numbers, as numbers, or else as text."""
    if {text.lower() for text in stripped} <= {"true", "false"}:
        return np.array([text.lower() == "true" for text in stripped])
    if any("_" in text for text in stripped):  # Python would read 1_0 as 10
        return np.array(stripped, dtype=object)
    try:
        return np.array([int(text) for text in stripped], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([float(text or "nan") for text in stripped])
    except ValueError:
        return np.array(stripped, dtype=object)


def parquet_table(bodies: Sequence[bytes], url: str) -> Any:
    """Read the files of a Parquet table as one of pyarrow's, one below the other.

    Raises
    ------
    UnsupportedDataError
        There is no pyarrow.
    MetadataError
        One cannot be read.
    """
    arrow = pyarrow_module("pyarrow", url)
    parquet = pyarrow_module("pyarrow.parquet", url)
    try:
        parts = [parquet.read_table(io.BytesIO(body)) for body in bodies]
        if len(parts) == 1:
            return parts[0]
        return arrow.concat_tables(parts, promote_options="permissive")
    except (ValueError, OSError):  # pyarrow's errors are both
        raise MetadataError("This is no Parquet table", url=url) from None


def pyarrow_module(name: str, url: str) -> Any:
    """Import a module of pyarrow, which is optional.

    Raises
    ------
    MissingPackageError
        It is not installed.
    """
    if find_spec("pyarrow") is None:
        sentence = "Parquet tables need pyarrow, which is not installed."
        raise MissingPackageError(sentence, action="Run: pip install pyarrow", url=url)
    return import_module(name)


def _from_parquet(body: bytes, url: str) -> Columns:
    table = parquet_table([body], url)
    names = list(dict.fromkeys(table.column_names))
    return {name: column_of(table.column(name).to_numpy()) for name in names}


# Tables about the wells of a plate: which value belongs to which well.

_WELL = re.compile(
    r"([A-Za-z]+)[/ _-]?0*(\d+)(?:/.*)?|([A-Za-z0-9]+)/0*([A-Za-z0-9]+)(?:/.*)?"
)
_ROWS, _COLUMNS = ("row", "well_row"), ("column", "col", "well_column")
_WELLS = ("well", "well_id", "well_name", "path_in_plate", "path")


def by_well(table: Table, column: str, wells: Iterable[str]) -> dict[str, Any]:
    """Give the value of a column for each well of a plate that the table knows.

    A row says its well in ``row`` and ``column`` (as ngio has it), or in ``well``, as
    ``B03``, ``B/3`` or a path. Of several rows about a well (of its fields, of its
    cells) numbers are averaged, and of texts the most frequent one is taken. Wells go
    by their paths as the plate has them, like ``B/03``; those without a value are left
    out.

    Raises
    ------
    OptionError
        The table has no such column, or says nothing of wells.
    """
    if column not in table.columns:
        listed = ", ".join(table.columns)
        raise OptionError(
            f"There is no column {column}.", action=f"There are {listed}."
        )
    gathered: dict[tuple[str, str], list[Any]] = {}
    for well, value in zip(_named(table), table.columns[column].tolist(), strict=True):
        if well is not None and value is not None and value == value:
            gathered.setdefault(well, []).append(value)
    said = {path: gathered.get(_well(path) or ("", "")) for path in wells}
    return {path: _one_of(values) for path, values in said.items() if values}


_IN_BRACKETS = re.compile(r".*[(\[]\s*([^()\[\]]{1,16}?)\s*[)\]]\s*")
_AT_THE_END = re.compile(
    r".*?[_ ]([pnuµμm]?M|[pnuµμm]?g[_/]m?[lL]|[nuµμm][lLgms]|percent|%|min|hours|days)"
)


def unit_of(table: Table, column: str) -> str:
    """Give the unit of a column as the table spells it; empty where it says none.

    It stands in a column of its own (``dose_unit``, or ``unit``), in brackets behind
    the name (``dose (nM)``), or at its end (``dose_nM``).
    """
    for name in (f"{column}_unit", f"{column}_units", "unit", "units"):
        said = {*map(str, table.columns.get(name, ()))} - {"", "None", "nan"}
        if len(said) == 1:
            return said.pop()
    found = _IN_BRACKETS.fullmatch(column) or _AT_THE_END.fullmatch(column)
    return found[1].replace("_", "/") if found else ""


def _named(table: Table) -> Iterator[tuple[str, str] | None]:
    """Say for each row which well it is about."""
    names = {name.strip().lower(): name for name in table.columns}
    rows = next((names[name] for name in _ROWS if name in names), None)
    columns = next((names[name] for name in _COLUMNS if name in names), None)
    if rows is not None and columns is not None:
        pairs = zip(table.columns[rows], table.columns[columns], strict=True)
        yield from (_well(f"{_whole(row)}/{_whole(column)}") for row, column in pairs)
        return
    well = next((names[name] for name in _WELLS if name in names), None)
    if well is None:
        sentence = "This table says nothing of wells."
        action = "It needs the columns row and column, or a column well (like B03)."
        raise OptionError(sentence, action=action)
    yield from (_well(str(value)) for value in table.columns[well])


def _whole(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return int(value) if np.isfinite(value) else ""
    return str(value).strip()


def _well(text: str) -> tuple[str, str] | None:
    found = _WELL.fullmatch(text.strip().strip("/"))
    if found is None:
        return None
    row, column = found[1] or found[3], found[2] or found[4]
    return row.upper(), column.upper()


def _one_of(values: list[Any]) -> Any:
    if all(isinstance(value, int | float) for value in values):
        return float(np.mean(values))
    texts = [str(value) for value in values]
    return max(dict.fromkeys(texts), key=texts.count)
