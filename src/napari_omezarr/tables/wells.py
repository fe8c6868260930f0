"""Tables about the wells of a plate: which value belongs to which well."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .table import Table

_WELL = re.compile(r"([A-Za-z]{1,2})[/ _-]?0*(\d{1,3})(?:/.*)?")
_ROWS, _COLUMNS = ("row", "well_row"), ("column", "col", "well_column")
_WELLS = ("well", "well_id", "well_name", "path_in_plate", "path")


def by_well(table: Table, column: str, wells: Iterable[str]) -> dict[str, Any]:
    """Give the value of a column for each well of a plate that the table knows.

    A row says its well in ``row`` and ``column`` (as ngio has it), or in ``well``, as
    ``B03``, ``B/3`` or a path. Of several rows about a well (of its fields, of its
    cells) numbers are averaged, and of texts the most frequent one is taken.

    Parameters
    ----------
    table : Table
        Of conditions, or any other.
    column : str
        Whose values.
    wells : iterable of str
        The paths of the wells as the plate has them, like ``B/03``.

    Returns
    -------
    dict
        Values by those paths: float or str; wells without a value are left out.

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
    gathered: dict[tuple[str, int], list[Any]] = {}
    for well, value in zip(_named(table), table.columns[column].tolist(), strict=True):
        if well is not None and value is not None and value == value:
            gathered.setdefault(well, []).append(value)
    said = {path: gathered.get(_parsed(path) or ("", -1)) for path in wells}
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


def _named(table: Table) -> Iterator[tuple[str, int] | None]:
    """Say for each row which well it is about."""
    names = {name.lower(): name for name in table.columns}
    rows = next((names[name] for name in _ROWS if name in names), None)
    columns = next((names[name] for name in _COLUMNS if name in names), None)
    if rows is not None and columns is not None:
        pairs = zip(table.columns[rows], table.columns[columns], strict=True)
        yield from (_parsed(f"{row}/{_whole(column)}") for row, column in pairs)
        return
    well = next((names[name] for name in _WELLS if name in names), None)
    if well is None:
        sentence = "This table says nothing of wells."
        action = "It needs the columns row and column, or a column well (like B03)."
        raise OptionError(sentence, action=action)
    yield from (_parsed(str(value)) for value in table.columns[well])


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float | np.floating) else value


def _parsed(text: str) -> tuple[str, int] | None:
    found = _WELL.fullmatch(text.strip().strip("/"))
    return (found[1].upper(), int(found[2])) if found else None


def _one_of(values: list[Any]) -> Any:
    if all(isinstance(value, int | float) for value in values):
        return float(np.mean(values))
    texts = [str(value) for value in values]
    return max(dict.fromkeys(texts), key=texts.count)
