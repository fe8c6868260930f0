"""The rows and the details of tables: which there are, and what each is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.reading import GroupNode, group_keys, parse_node
from napari_omezarr.tables import GROUP, is_table_name, named_table, table_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

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
