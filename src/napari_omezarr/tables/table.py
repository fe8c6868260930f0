"""A table as values: columns by name, and which of them says what a row is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_omezarr.errors import OptionError

FEATURES = "feature_table"
"""The type of a table whose rows are about labels."""
LABEL = "label"
"""What the column of label values is called, where nothing says otherwise."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length, in order.

    Attributes
    ----------
    columns : Mapping
        By their names: arrays of numbers, booleans or objects (text; what is missing is
        None).
    key : str
        The column that says what each row is about; ``""`` if none does.
    attributes : Mapping
        What is stored with the table: its kind, its region.
    """

    columns: Mapping[str, np.ndarray]
    key: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)

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
    if column.dtype.kind != "f" or not np.isfinite(column).all():
        return None
    return column.astype(np.int64) if (np.mod(column, 1) == 0).all() else None


def free_name(wanted: str, taken: Any) -> str:
    """Give a name that is not taken yet: itself, or with a number."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name
