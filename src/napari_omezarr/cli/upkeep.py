"""Commands for stores that are there: upgrade, rechunk, doctor, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from napari_omezarr.plain_text import counted

from .converting import carry_out_plate, scheduler_option, waiting
from .options import (
    PLACE,
    counting,
    echo,
    json_option,
    location_of,
    of_target,
    place_options,
    plain,
    print_json,
    report,
    save_options,
    saving,
    sizes,
    split_options,
    target_options,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.location import Location
    from napari_omezarr.upkeep import Ailment, PackChoices

# How they are stored: upgrade, rechunk.

_IN_CONTAINERS = {"shards", "verify"}
"""Choices that leave the chunks as they are."""


@click.command()
@click.argument("address", type=PLACE)
@click.argument("target", type=PLACE, required=False)
@click.option(
    "--version",
    type=click.Choice(["0.5", "0.6"]),
    help="Version to write; 0.5 if absent.",
)
@click.option(
    "--shards",
    metavar="AXIS=N,...",
    help="Size of the shards into which chunks are packed; yes chooses one.",
)
@click.option("--verify", is_flag=True, help="Read back all that was written.")
@click.option("--undo", is_flag=True, help="Put the last changed metadata back.")
@json_option
@place_options
@target_options
def upgrade(address: str, target: str | None, as_json: bool, **said: Any) -> None:
    """Upgrade OME-Zarr to a later version; no chunk is decoded.

    Without a TARGET only the metadata at ADDRESS are written anew, and chunks stay
    where they are; --undo takes that back. With one, chunks are copied as they are,
    with --shards into shards.
    """
    from napari_omezarr.errors import OptionError
    from napari_omezarr.upkeep import PackChoices
    from napari_omezarr.upkeep import upgrade as write_anew

    there = of_target(said)
    version, shards, verify = (said.pop(k) for k in ("version", "shards", "verify"))
    undo, here = said.pop("undo"), location_of(address, **said)
    if undo:
        put_back(here, as_json=as_json)
        return
    if target is not None:
        choices = PackChoices(version, sizes("shards", shards or "no"), verify)
        if shards is None:
            choices = PackChoices(version, None, verify)
        _pack(here, location_of(target, **there), choices, as_json=as_json)
        return
    if shards is not None:
        sentence = "Shards are written to another place, and none is named."
        raise OptionError(sentence, action="Name a target behind the address.")
    done = write_anew(here, version or "0.5")
    if as_json:
        print_json({"address": done.address, "documents": done.documents})
        return
    if not done.documents:
        echo(f"{done.address}: all is of {version or '0.5'} or later; it was left.")
        return
    echo(f"{done.address}: {counted(done.documents, 'document')} changed.")
    if done.undo is not None:
        echo("The same command with --undo takes it back.")


def put_back(place: Location, *, as_json: bool) -> None:
    """Take back what was last changed at a place."""
    from napari_omezarr.upkeep import take_back
    from napari_omezarr.writing import open_hierarchy

    kept = take_back(open_hierarchy(place))
    if as_json:
        print_json({"address": place.display, "documents": len(kept.before)})
        return
    echo(f"What was last changed at {place.display} is as it was before.")


@click.command()
@click.argument("source", type=PLACE)
@click.argument("target", type=PLACE)
@scheduler_option
@save_options
@json_option
@place_options
@target_options
def rechunk(
    source: str, target: str, scheduler: str, as_json: bool, **said: Any
) -> None:
    """Write an OME-Zarr with other chunks or shards, and else as it is.

    Where only shards are said, chunks are packed by their stored bytes. Of a plate all
    fields are written; what fails does not end the others, and the same command goes
    on.
    """
    from napari_omezarr import read, write_layers
    from napari_omezarr.converting import ConvertRun, ReadChoices, resuming, scheduled
    from napari_omezarr.opened import StoredPlate, all_of, stored_plate
    from napari_omezarr.upkeep import PackChoices

    there = location_of(target, **of_target(said))
    choices, reached = split_options(said)
    here = location_of(source, **reached)
    opened = stored_plate(here) or read(here)
    first = opened if isinstance(opened, StoredPlate) else opened.pyramids[0]
    version = first.version
    if choices.keys() <= _IN_CONTAINERS and "shards" in choices and version != "0.4":
        packing = PackChoices(None, choices["shards"], choices.get("verify") == "all")
        _pack(here, there, packing, as_json=as_json)
        return
    choices.setdefault("version", version if version in ("0.4", "0.6") else "0.5")
    layers = [] if isinstance(opened, StoredPlate) else all_of(opened)
    choices.setdefault("merge", False)
    with scheduled(scheduler, waiting()) as client:
        if isinstance(opened, StoredPlate):
            run = resuming(ConvertRun(ReadChoices(), choices, client=client))
            carry_out_plate(opened, there, run, as_json=as_json)
            return
        with saving(f"Writing {there.name}") as running:
            saved = write_layers(layers, there, client=client, **running, **choices)
    report(saved, as_json=as_json)


def _pack(
    here: Location, there: Location, choices: PackChoices, *, as_json: bool
) -> None:
    from napari_omezarr.upkeep import repack_store

    with counting(f"Packing {here.name}") as running:
        packed = repack_store(here, there, choices, **running)
    if as_json:
        facts = {"objects": packed.objects, "bytes": packed.bytes}
        print_json({"address": packed.address} | facts)
        return
    objects = counted(packed.objects, "object")
    echo(f"{packed.address}: {objects}, {packed.bytes:,} bytes.")


# Whether they are whole, and their end: doctor, remove.


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

    Levels and labels that are missing or not listed, labels that do not fit their
    image, units, documents that are broken, consolidated metadata that are stale,
    features that weigh on every reader; with --scan damaged and lost chunks.
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
            echo(line)
    if left:
        click.get_current_context().exit(DAMAGED)


def _scanned(place: Location) -> list[Ailment]:
    from napari_omezarr.upkeep import scan

    with counting(f"Scanning {place.name}") as running:
        return scan(place, **running)


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
@click.option(
    "--any", "whatever", is_flag=True, help="Remove it even if it is no Zarr."
)
@json_option
@place_options
def remove(
    address: str, yes: bool, whatever: bool, as_json: bool, **reached: Any
) -> None:
    """Remove a store, or labels of an image, after it was counted and asked."""
    from napari_omezarr.errors import OptionError
    from napari_omezarr.upkeep import plan_removal
    from napari_omezarr.upkeep import remove as remove_those

    place = location_of(address, **reached)
    removal = plan_removal(place)
    found = f"{counted(removal.found.objects, 'object')}, {removal.found.size:,} bytes"
    if not removal.is_zarr and not whatever:
        sentence = f"{place.display} is no zarr ({found})."
        raise OptionError(sentence, action="Say --any to remove it all the same.")
    if as_json and not yes:
        sentence = f"{place.display} ({found}) is not removed unasked."
        raise OptionError(sentence, action="Say --yes, too.", url=place.display)
    if not yes:
        click.confirm(f"Remove {place.display} ({found})?", abort=True, err=True)
    remove_those(removal)
    if as_json:
        print_json({"address": place.display} | plain(removal.found))
        return
    echo(f"{place.display}: removed, {found}.")
