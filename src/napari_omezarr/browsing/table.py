"""Tables about labels, by their address: TSV, CSV and Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.doors import guarded
from napari_omezarr.errors import OptionError
from napari_omezarr.tables import open_table, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

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
