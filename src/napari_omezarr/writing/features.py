"""A table of features as the properties of label values, in JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

INDEX = "index"
"""The column that says which label value a row is about."""


def label_properties(*tables: Any) -> dict[int, dict[str, Any]]:
    """Give the properties of label values.

    Parameters
    ----------
    *tables : DataFrame, Mapping of str to sequence, or None
        The first that has a column counts. Without the column ``index`` a row is
        about the label value of its number, as in napari.

    Returns
    -------
    dict
        By label value, JSON values by name; what is missing (NaN, None) is absent.
    """
    for table in tables:
        columns = _columns(table)
        if columns:
            return _rows(columns)
    return {}


def _columns(table: Any) -> dict[str, list[Any]]:
    if table is None:
        return {}
    names = list(table) if isinstance(table, Mapping) else list(table.columns)
    return {str(name): list(table[name]) for name in names}


def _rows(columns: dict[str, list[Any]]) -> dict[int, dict[str, Any]]:
    values = columns.pop(INDEX, None)
    count = len(next(iter(columns.values()), values or []))
    numbers = range(count) if values is None else [int(value) for value in values]
    return {
        number: {
            name: plain
            for name, column in columns.items()
            if (plain := _plain(column[row])) is not None
        }
        for row, number in enumerate(numbers)
    }


def _plain(value: Any) -> Any:
    """Give a JSON value: numpy's scalars become Python's, other things text."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value)
