"""Tables as the bytes of a file: CSV and TSV, Parquet, JSON."""

from __future__ import annotations

import csv
import io
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import MetadataError, UnsupportedDataError

from .table import column_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Columns = dict[str, np.ndarray]

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
        name: _parsed([row[number] for row in data])
        for number, name in enumerate(names)
    }


def _parsed(texts: Sequence[str]) -> np.ndarray:
    """Read a column as whole numbers, as numbers, or else as text."""
    stripped = [text.strip() for text in texts]
    if {text.lower() for text in stripped} <= {"true", "false"}:
        return np.array([text.lower() == "true" for text in stripped])
    try:
        return np.array([int(text) for text in stripped], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([float(text or "nan") for text in stripped])
    except ValueError:
        return np.array(stripped, dtype=object)


def pyarrow_module(name: str, url: str) -> Any:
    """Import a module of pyarrow, which is optional.

    Raises
    ------
    UnsupportedDataError
        It is not installed.
    """
    if find_spec("pyarrow") is None:
        sentence = "Parquet tables need pyarrow, which is not installed."
        raise UnsupportedDataError(sentence, action="Run: pip install pyarrow", url=url)
    return import_module(name)


def _from_parquet(body: bytes, url: str) -> Columns:
    parquet = pyarrow_module("pyarrow.parquet", url)
    try:
        table = parquet.read_table(io.BytesIO(body))
    except (ValueError, OSError):  # pyarrow's errors are both
        raise MetadataError("This is no Parquet table", url=url) from None
    names = list(dict.fromkeys(table.column_names))
    return {name: column_of(table.column(name).to_numpy()) for name in names}
