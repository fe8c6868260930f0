"""Tables: which lie beside an image, what each is about, and one by its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.doors import guarded
from napari_omezarr.errors import OMEZarrError, OptionError
from napari_omezarr.reading import GroupNode, group_keys, parse_node
from napari_omezarr.tables import (
    GROUP,
    is_table_name,
    named_table,
    open_table,
    table_in_words,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_omezarr.location import Location
    from napari_omezarr.reading import Answers
    from napari_omezarr.tables import StoredTable

TABLE_KEYS = group_keys(GROUP)
"""What lists the tables of an image, to be asked for together with it."""
_MOST = 256


def listed_tables(group: GroupNode | None) -> tuple[str, ...]:
    """Give the tables that a group lists, as ngio does; none where it is no such."""
    names = group.attributes.get(GROUP) if group is not None else None
    if not isinstance(names, list):
        return ()
    return tuple(name for name in names[:_MOST] if is_table_name(name))


def tables_beside(answers: Answers, zarr_format: int) -> tuple[str, ...]:
    """Give the tables of an image, from the answers to `TABLE_KEYS`."""
    if not all(key in answers for key in group_keys(GROUP, zarr_format)):
        return ()
    try:
        found = parse_node(GROUP, answers, zarr_format)
    except OMEZarrError:  # they cost themselves, and not the image
        return ()
    return listed_tables(found if isinstance(found, GroupNode) else None)


def in_words(table: StoredTable) -> str:
    """Say what a table is, with its size; blocks.

    Raises
    ------
    OMEZarrError
        It cannot be understood, or could not be read.
    """
    rows, columns = table.shape()
    kind = table_in_words(table.attributes)
    return f"{kind}, {rows:,} rows, {columns:,} columns, {table.backend}"


def tables_in_words(location: Location, names: tuple[str, ...]) -> Iterator[str]:
    """Say what each of the tables beside an image is; blocks."""
    for name in names:
        try:
            table = named_table(location, name)
            said = in_words(table) if table else "it is listed, but it is not there"
        except OMEZarrError as error:
            said = str(error)
        yield f"{name}: {said}"


# One about labels, by its address.

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
    """A table, row by row about label values."""

    columns: Mapping[str, np.ndarray]
    """By their names, in order: arrays of whole numbers, numbers, or text."""
    label_column: str
    """The one that says which label a row is about; ``""`` if none was found."""
    candidates: tuple[str, ...]
    """The columns that could be it: those of whole numbers."""

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


@guarded
def read_table(location: Location) -> LabelTable:
    """Read a table: ``*.tsv``, ``*.csv``, ``*.parquet``, or a group of zarr; blocks.

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
    found = open_table(location).read()
    return _table(dict(found.columns), found.key)


def _table(columns: dict[str, np.ndarray], key: str) -> LabelTable:
    numbers = {name: whole(column) for name, column in columns.items()}
    candidates = tuple(name for name, column in numbers.items() if column is not None)
    by_name = {name.strip().lower(): name for name in reversed(candidates)}
    found = (by_name[name] for name in _LABEL_COLUMNS if name in by_name)
    known = dict(columns)
    for name, column in numbers.items():
        if column is not None:
            known[name] = column.astype(np.int64)
    first = key if key in candidates else next(found, "")
    return LabelTable(known, first, candidates)
