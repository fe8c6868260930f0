"""The command write-plate: a table of images becomes a plate, or more wells of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .output import echo, json_option, print_json
from .place import PLACE, location_of, place_options
from .saving import save_options, saving, split_options


@click.command("write-plate")
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("plate", type=PLACE)
@click.option("--name", help="Of the plate.")
@click.option("--axes", help="Of files that do not say them, like cyx.")
@save_options
@json_option
@place_options
def write_plate(
    table: Path,
    plate: str,
    name: str | None,
    axes: str | None,
    as_json: bool,
    **said: Any,
) -> None:
    """Write the images that TABLE names as the wells of PLATE, or add them to it.

    TABLE is CSV with the columns image (a path or an address: OME-Zarr, TIFF and what
    else is converted) and well (or row and column); and field and acquisition, where
    there are several. Several commands may add to one plate at once; what broke off
    goes on with --unfinished resume.
    """
    from napari_omezarr import write_plate as write
    from napari_omezarr.converting import ReadChoices, plate_rows

    choices, reached = split_options(said)
    there = location_of(plate, **reached)
    kept = bool(choices.get("existing_resolutions"))
    rows = plate_rows(table, ReadChoices(axes=axes, resolutions=kept))
    with saving(f"Writing {there.name}") as running:
        saved = write(rows, there, name=name, **running, **choices)
    if as_json:
        print_json({"address": there.display, "fields": [s.address for s in saved]})
        return
    fields = "1 field" if len(saved) == 1 else f"{len(saved):,} fields"
    echo(f"{there.display}: {fields} written.")
