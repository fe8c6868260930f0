"""Tables about labels, by their address: TSV, CSV and Parquet."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import (
    MetadataError,
    NodeNotFoundError,
    OptionError,
    StoreError,
    UnsupportedDataError,
)
from napari_omezarr.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_omezarr.location import Location

_LABEL_COLUMNS = (
    "label_id",  # MoBIE
    "label_image_id",  # ilastik, older MoBIE
    "label",  # scikit-image
    "label_value",
    "label-value",
    "object_id",
    "objectnumber",  # CellProfiler
    "instance_id",
    "instance_key",
    "cell_id",
    "nucleus_id",
    "index",
    "id",
)
"""Names of the column of label values, the surest first; case does not count."""


@dataclass(frozen=True, slots=True)
class LabelTable:
    """A table, row by row about label values.

    Attributes
    ----------
    columns : Mapping
        By their names, in order: arrays of whole numbers, numbers, or text.
    label_column : str
        The one that says which label a row is about; ``""`` if none was found.
    candidates : tuple of str
        The columns that could be it: those of whole numbers.
    """

    columns: Mapping[str, np.ndarray]
    label_column: str
    candidates: tuple[str, ...]

    def features(self, label_column: str = "") -> dict[str, np.ndarray]:
        """Give the columns as napari takes them: ``index`` is the label value.

        The label column may be another than the one that was found.

        Raises
        ------
        OptionError
            There is no such column, or it holds no whole numbers.
        """
        name = label_column or self.label_column
        if name not in self.candidates:
            listed = ", ".join(self.candidates) or "none"
            sentence = f"{name or 'No column'} does not say which label a row is about."
            action = f"Choose the column of the labels; possible: {listed}."
            raise OptionError(sentence, action=action)
        others = {key: column for key, column in self.columns.items() if key != name}
        others.pop("index", None)
        return {"index": self.columns[name], **others}


def read_table(location: Location) -> LabelTable:
    """Read a table that is called ``*.tsv``, ``*.csv`` or ``*.parquet``; blocks.

    Raises
    ------
    UnsupportedDataError
        It is of no such kind, or Parquet without pyarrow.
    MetadataError
        It cannot be read as what its name says.
    NodeNotFoundError
        It is not there.
    StoreError
        It could not be read.
    """
    ending = location.name.lower().rpartition(".")[2]
    if ending not in ("tsv", "csv", "txt", "parquet", "pq"):
        sentence = f"{location.display} is no table that is known here."
        action = "Use a .tsv, .csv or .parquet file."
        raise UnsupportedDataError(sentence, action=action, url=location.display)
    body = open_store(location).fetch([""])[""]
    if isinstance(body, StoreError):
        raise body
    if body is None:
        sentence = f"There is no {location.display}."
        raise NodeNotFoundError(sentence, url=location.display)
    parse = _parquet if ending in ("parquet", "pq") else _text
    return _table(parse(body, location.display))


def _text(body: bytes, url: str) -> dict[str, np.ndarray]:
    try:
        text = body.decode("utf-8-sig")
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
    return {
        name: _column([row[number] for row in data])
        for number, name in enumerate(names)
    }


def _column(texts: Sequence[str]) -> np.ndarray:
    """Read a column as whole numbers, as numbers, or else as text."""
    stripped = [text.strip() for text in texts]
    try:
        return np.array([int(text) for text in stripped], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([float(text or "nan") for text in stripped])
    except ValueError:
        return np.array(stripped, dtype=object)


def _parquet(body: bytes, url: str) -> dict[str, np.ndarray]:
    if find_spec("pyarrow") is None:
        sentence = "Parquet tables need pyarrow, which is not installed."
        raise UnsupportedDataError(sentence, action="Run: pip install pyarrow", url=url)
    parquet: Any = import_module("pyarrow.parquet")
    try:
        table = parquet.read_table(io.BytesIO(body))
    except (ValueError, OSError):  # pyarrow's errors are both
        raise MetadataError("This is no Parquet table", url=url) from None
    names = list(dict.fromkeys(table.column_names))
    return {name: _plain(table.column(name).to_numpy()) for name in names}


def _plain(column: np.ndarray) -> np.ndarray:
    return column if column.dtype.kind in "biuf" else np.array(column, dtype=object)


def _table(columns: dict[str, np.ndarray]) -> LabelTable:
    candidates = tuple(name for name, column in columns.items() if _is_whole(column))
    by_name = {name.strip().lower(): name for name in reversed(candidates)}
    found = (by_name[name] for name in _LABEL_COLUMNS if name in by_name)
    whole = {
        name: column.astype(np.int64) if name in candidates else column
        for name, column in columns.items()
    }
    return LabelTable(whole, next(found, ""), candidates)


def _is_whole(column: np.ndarray) -> bool:
    if column.dtype.kind in "iu":
        return True
    numbers = column.dtype.kind == "f" and bool(np.isfinite(column).all())
    return numbers and bool((np.mod(column, 1) == 0).all())
