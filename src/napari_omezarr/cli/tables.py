"""The command for tables: which there are, and their values as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .output import echo, json_option, print_json, table
from .place import PLACE, location_of, place_options

if TYPE_CHECKING:
    from napari_omezarr.location import Location
    from napari_omezarr.tables import StoredTable


@click.command("table")
@click.argument("address", type=PLACE)
@click.argument("name", required=False)
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the CSV into this file.",
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@json_option
@place_options
def table_(
    address: str,
    name: str | None,
    file: Path | None,
    force: bool,
    as_json: bool,
    **reached: Any,
) -> None:
    """List the tables beside an image, or give one of them as CSV.

    ADDRESS is an image, a plate or a spatialdata; NAME one of its tables. The address
    of a table itself needs no name.
    """
    place = location_of(address, **reached)
    if name is None and file is None and (listed := _listed(place)) is not None:
        _list(listed, as_json=as_json)
        return
    found = _chosen(place, name).read()
    if as_json:
        print_json({key: column.tolist() for key, column in found.columns.items()})
        return
    from napari_omezarr.tables import csv_bytes

    body = csv_bytes(found.columns)
    if file is None:
        click.echo(body, nl=False)
        return
    _write(file, body, force=force)
    echo(f"{file}: {found.rows:,} rows, {len(found.columns):,} columns")


def _listed(place: Location) -> tuple[StoredTable, ...] | None:
    """Give the tables of a place; None where it is a table itself."""
    from napari_omezarr.errors import NodeNotFoundError, UnsupportedDataError
    from napari_omezarr.tables import open_table, stored_tables

    found = stored_tables(place)
    if found:
        return found
    try:
        open_table(place)
    except NodeNotFoundError as error:
        sentence = f"There are no tables at {place.display}."
        raise NodeNotFoundError(
            sentence, action="Check the address.", url=place.display
        ) from error
    except UnsupportedDataError:
        return ()
    return None


def _list(found: tuple[StoredTable, ...], *, as_json: bool) -> None:
    shapes = [each.shape() for each in found]
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "kind": each.kind,
                    "label": each.label,
                    "backend": each.backend,
                    "rows": rows,
                    "columns": columns,
                    "address": each.location.display,
                }
                for each, (rows, columns) in zip(found, shapes, strict=True)
            ]
        )
        return
    lines = [
        (each.name, each.kind, each.label, f"{rows:,} x {columns:,}", each.backend)
        for each, (rows, columns) in zip(found, shapes, strict=True)
    ]
    for line in table(lines) if lines else ("no tables",):
        echo(line)


def _chosen(place: Location, name: str | None) -> StoredTable:
    from napari_omezarr.errors import NodeNotFoundError
    from napari_omezarr.tables import named_table, open_table

    if name is None:
        return open_table(place)
    found = named_table(place, name)
    if found is None:
        raise NodeNotFoundError(
            f"There is no table {name} at {place.display}.",
            action=f"List them: napari-omezarr table {place.display}",
            url=place.display,
        )
    return found


def _write(file: Path, body: bytes, *, force: bool) -> None:
    from napari_omezarr.atomic_file import replacing
    from napari_omezarr.errors import StoreError, TargetExistsError

    if file.exists() and not force:
        sentence = f"{file} is there already."
        raise TargetExistsError(sentence, action="Choose another name, or --force.")
    try:
        with replacing(file) as fresh:
            fresh.write_bytes(body)
    except OSError as error:
        sentence = f"{file} could not be written."
        raise StoreError(sentence, action="Choose another place.") from error
