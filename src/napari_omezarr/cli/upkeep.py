"""Commands for stores that are there: doctor, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .output import json_option, plain, print_json, progress_bar
from .place import PLACE, location_of, place_options
from .saving import interrupted_by
from .upgrading import put_back

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.location import Location
    from napari_omezarr.upkeep import Ailment


@click.command()
@click.argument("address", type=PLACE)
@click.option("--scan", is_flag=True, help="Decode every chunk, too.")
@click.option("--fix", is_flag=True, help="Mend what is safe to mend; see --undo.")
@click.option("--undo", is_flag=True, help="Put the last changed metadata back.")
@json_option
@place_options
def doctor(
    address: str, scan: bool, fix: bool, undo: bool, as_json: bool, **reached: Any
) -> None:
    """Look for what is wrong in a store; exit code 6 if something is left.

    Levels and labels that are missing or not listed, units, consolidated metadata that
    are stale, features that weigh on every reader; with --scan damaged and lost chunks.
    """
    from napari_omezarr.upkeep import examine, mend

    from .command import DAMAGED

    place = location_of(address, **reached)
    if undo:
        put_back(place, as_json=as_json)
        return
    found = examine(place)
    if scan:
        found += _scanned(place)
    mended = mend(place, found) if fix else None
    left = [each for each in found if not (mended and each.can_be_mended)]
    if as_json:
        rows = [_row(each) for each in found]
        print_json({"findings": rows, "mended": len(found) - len(left)})
    else:
        for line in _lines(found, left, fixed=fix):
            click.echo(line)
    if left:
        click.get_current_context().exit(DAMAGED)


def _scanned(place: Location) -> list[Ailment]:
    from threading import Event

    from napari_omezarr.upkeep import scan

    cancel = Event()
    with progress_bar(f"Scanning {place.name}") as show, interrupted_by(cancel.set):

        def tell(done: int, of: int) -> None:
            show(done / max(1, of))

        return scan(place, tell, cancel)


def _row(ailment: Ailment) -> dict[str, Any]:
    row: dict[str, Any] = plain(ailment)
    kept = ("kind", "path", "name", "sentence", "action")
    return {k: row[k] for k in kept} | {"can_be_mended": ailment.can_be_mended}


def _lines(
    found: Sequence[Ailment], left: Sequence[Ailment], *, fixed: bool
) -> list[str]:
    if not found:
        return ["Nothing is wrong."]
    lines = []
    for each in found:
        state = "" if each in left else "mended: "
        could = " --fix mends it." if each.can_be_mended and not fixed else ""
        lines.append(f"{state}{each.sentence} {each.action}".rstrip() + could)
    if len(left) < len(found):
        lines.append("The same command with --undo takes it back.")
    return lines


@click.command()
@click.argument("address", type=PLACE)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--any", "whatever", is_flag=True, help="Even what is no zarr.")
@json_option
@place_options
def remove(
    address: str, yes: bool, whatever: bool, as_json: bool, **reached: Any
) -> None:
    """Remove a store, or labels of an image, after it was counted and asked."""
    from napari_omezarr.errors import OptionError
    from napari_omezarr.upkeep import plan_removal, remove_store

    place = location_of(address, **reached)
    removal = plan_removal(place)
    counted = f"{removal.found.objects:,} objects, {removal.found.size:,} bytes"
    if not removal.is_zarr and not whatever:
        sentence = f"{place.display} is no zarr ({counted})."
        raise OptionError(sentence, action="Say --any to remove it all the same.")
    if not yes:
        click.confirm(f"Remove {place.display} ({counted})?", abort=True, err=True)
    remove_store(removal)
    if as_json:
        print_json({"address": place.display} | plain(removal.found))
        return
    click.echo(f"{place.display}: {counted} are removed.")
