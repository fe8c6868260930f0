"""Commands that read: ls, tree, du, cat, info, validate, thumbnail, links, open."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_omezarr.plain_text import by_times, bytes_text, counted

from .options import (
    PLACE,
    aligned,
    echo,
    json_option,
    location_of,
    place_options,
    plain,
    print_done,
    print_json,
    print_json_rows,
    refuse_existing,
    table,
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_omezarr.browsing import AxisDetails, Details, Entry
    from napari_omezarr.location import Location
    from napari_omezarr.tables import StoredTable

_KIND, _VERSION = len("label image"), len("0.5")
"""How wide the first columns of a list are, whatever its first rows hold."""
_PICTURES = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
"""What is set where Qt finds something to draw on."""


@click.command()
@click.argument("address", type=PLACE)
@click.option("--files", is_flag=True, help="List objects and folders as they are.")
@json_option
@place_options
def ls(address: str, files: bool, as_json: bool, **reached: Any) -> None:
    """List what a place holds, with what each thing is."""
    from napari_omezarr.browsing import EntryPage, entries_of

    place = location_of(address, **reached)
    if as_json:
        print_json_rows(map(_row, entries_of(place, files=files)))
        return
    widths = [_KIND, _VERSION, 0, 0]

    def listed(page: EntryPage) -> None:
        widths[2] = max([widths[2], *(len(entry.name) for entry in page.entries)])

    for entry in entries_of(place, files=files, listed=listed):
        about = entry.summary or entry.problem
        cells = (entry.kind.value, entry.version, entry.name, about)
        echo(aligned(cells, widths))


@click.command()
@click.argument("address", type=PLACE)
@click.option(
    "--depth",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="How far down to look.",
)
@json_option
@place_options
def tree(address: str, depth: int, as_json: bool, **reached: Any) -> None:
    """List what a place holds, and what is in that."""
    place = location_of(address, **reached)
    if as_json:
        print_json_rows(_tree(place, depth))
        return
    echo(place.display)
    for indent, entry in _walk(place, depth):
        about = "  ".join(filter(None, (entry.kind.value, entry.summary)))
        echo(f"{'  ' * indent}{entry.name}  ({about})")


@click.command()
@click.argument("address", type=PLACE)
@json_option
@place_options
def du(address: str, as_json: bool, **reached: Any) -> None:
    """Count objects and bytes of what lies directly in a place, and of all of it."""
    from napari_omezarr.browsing import stored_below

    place = location_of(address, **reached)
    found = stored_below(place)
    objects = sum(count for count, _ in found.values())
    size = sum(stored for _, stored in found.values())
    if as_json:
        rows = [
            {"name": name, "objects": count, "bytes": stored}
            for name, (count, stored) in found.items()
        ]
        facts = {"address": place.display, "objects": objects, "bytes": size}
        print_json(facts | {"below": rows})
        return
    lines = [*found.items(), (place.display, (objects, size))]
    for line in table(
        [
            (bytes_text(stored), counted(count, "object"), name)
            for name, (count, stored) in lines
        ]
    ):
        echo(line)


@click.command()
@click.argument("address", type=PLACE)
@json_option
@place_options
def links(address: str, as_json: bool, **reached: Any) -> None:
    """Print links that open a public image in web viewers.

    It is asked for as a viewer would: what keeps others from it is told. To show what
    lies on this computer, serve it.
    """
    from napari_omezarr.browsing import Viewer, check_public, share_link
    from napari_omezarr.errors import OptionError
    from napari_omezarr.store import run

    place = location_of(address, **reached)
    access = run(check_public(place))
    if not access.address:
        raise OptionError(access.sentence, action=access.action, url=place.display)
    found = {str(viewer): share_link(access.address, viewer) for viewer in Viewer}
    if as_json:
        print_json(plain(access) | {"links": found})
        return
    for line in table(list(found.items())):
        echo(line)
    if access.sentence:
        echo(f"{access.sentence} {access.action}".rstrip(), err=True)


@click.command()
@click.argument("address", type=PLACE)
@json_option
@place_options
def cat(address: str, as_json: bool, **reached: Any) -> None:
    """Print the metadata documents of a place, its levels and its labels."""
    from napari_omezarr.browsing import raw_documents
    from napari_omezarr.store import nothing_at

    place = location_of(address, **reached)
    found = raw_documents(place)
    if not found:
        sentence = f"There is no Zarr at {place.display}."
        raise nothing_at(place, sentence, "Check the address.")
    if as_json:
        print_json({key: _parsed(text) for key, text in found.items()})
        return
    for key, text in found.items():
        echo(f"== {key}\n{text}")


def _parsed(document: str) -> Any:
    """Give a document as what it says; one that is no JSON as its text."""
    try:
        return json.loads(document)
    except ValueError:
        return document


@click.command()
@click.argument("address", type=PLACE)
@json_option
@place_options
def info(address: str, as_json: bool, **reached: Any) -> None:
    """Say what an image is: axes, levels, channels, labels, what was tolerated."""
    from napari_omezarr.browsing import EntryKind, Listing, describe

    place = location_of(address, **reached)
    details = describe(place, sample=False)
    if details.entry.kind is EntryKind.FOLDER:
        # Its documents do not tell a folder from nothing; its list does.
        Listing(place, files=True, size=1).more().result()
    if as_json:
        document = plain(details)
        document["entry"] = _row(details.entry)
        document["images"] = [_row(entry) for entry in _members(details)]
        print_json(document)
        return
    for line in _about(place, details):
        echo(line)
    for entry in _members(details):
        echo(f"image     {entry.name}  {entry.summary}".rstrip())
    if details.entry.kind is EntryKind.FOLDER:
        echo(f"Look into it: napari-omezarr ls {shlex.quote(address)}")


@click.command()
@click.argument("addresses", type=PLACE, nargs=-1, required=True)
@json_option
@place_options
def validate(addresses: tuple[str, ...], as_json: bool, **reached: Any) -> None:
    """Check the metadata against the specification; exit code 6 if it is not kept.

    Of several places --json prints a list.
    """
    from napari_omezarr.browsing import validate as checked

    from .command import DAMAGED

    places = [location_of(address, **reached) for address in addresses]
    several, outcomes = len(places) > 1, []
    for place in places:
        outcome = checked(place)
        outcomes.append(outcome)
        if as_json:
            continue
        echo(f"{place.display}: {outcome.sentence}" if several else outcome.sentence)
        for found in outcome.findings:
            where = "/".join(filter(None, (found.document, found.where)))
            echo(f"  {where}: {found.problem}")
    if as_json:
        named = zip(places, outcomes, strict=True)
        rows = [{"address": each.display} | plain(outcome) for each, outcome in named]
        print_json(rows if several else outcomes[0])
    if any(outcome.findings for outcome in outcomes):
        click.get_current_context().exit(DAMAGED)


@click.command()
@click.argument("address", type=PLACE)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@json_option
@place_options
def thumbnail(
    address: str, file: Path, force: bool, as_json: bool, **reached: Any
) -> None:
    """Save a small picture of an image as FILE (.png, .jpg)."""
    from PIL import Image

    from napari_omezarr.browsing import thumbnail as drawn
    from napari_omezarr.errors import (
        OptionError,
        UnsupportedDataError,
    )

    place = location_of(address, **reached)
    kind = Image.registered_extensions().get(file.suffix.lower())
    if kind not in _PICTURES or kind not in Image.SAVE:
        sentence = f"{file.name} is no name of a picture."
        raise OptionError(sentence, action="Choose one that ends in .png.")
    refuse_existing(file, force=force)
    picture = drawn(place)
    if picture.pixels is None:
        raise UnsupportedDataError(picture.sentence, url=place.display)
    body = io.BytesIO()
    Image.fromarray(picture.pixels).save(body, kind)
    write_file(file, body.getvalue(), force=force)
    facts = {"file": file, "address": place.display, "sentence": picture.sentence}
    print_done(f"{file}: {picture.sentence}", facts, as_json=as_json)


@click.command("open")
@click.argument("addresses", type=PLACE, nargs=-1, required=True)
@place_options
def open_(addresses: tuple[str, ...], **reached: Any) -> None:
    """Show images in napari, each address in layers of its own."""
    from napari_omezarr.errors import OptionError

    places = [location_of(address, **reached) for address in addresses]
    try:
        napari = import_module("napari")
        import_module("qtpy.QtWidgets")  # napari misses it when files are open
    except ImportError as error:
        raise OptionError(
            "napari, or a Qt binding for its window, is not installed.",
            action='Install both: pip install "napari-omezarr[all]"',
        ) from error

    if sys.platform == "linux" and not any(map(os.environ.get, _SCREENS)):
        raise OptionError(  # Qt would end the process
            "There is no screen here.",
            action="Open it on a computer with a screen, or connect by ssh -X.",
        )
    viewer = napari.Viewer()
    for place in places:
        viewer.open(str(place), plugin="napari-omezarr")
    napari.run()


def _members(details: Details) -> list[Entry]:
    """Give the images of a series or a scene, of which the details are of the first."""
    from napari_omezarr.browsing import EntryKind, entries_of

    if details.entry.kind not in (EntryKind.SERIES, EntryKind.SCENE):
        return []
    return list(entries_of(details.entry.location))


def _walk(place: Location, depth: int, indent: int = 1) -> Iterator[tuple[int, Entry]]:
    from napari_omezarr.browsing import entries_of

    for entry in entries_of(place):
        yield indent, entry
        if depth > 1 and _is_deep(entry):
            yield from _walk(entry.location, depth - 1, indent + 1)


def _is_deep(entry: Entry) -> bool:
    """Whether there is more in it; levels lie where their image does."""
    from napari_omezarr.browsing import EntryKind

    return not entry.is_leaf and entry.kind is not EntryKind.LEVELS


def _tree(place: Location, depth: int) -> Iterator[dict[str, Any]]:
    from napari_omezarr.browsing import entries_of

    for entry in entries_of(place):
        deeper = depth > 1 and _is_deep(entry)
        below = {"children": list(_tree(entry.location, depth - 1))} if deeper else {}
        yield _row(entry) | below


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "address": entry.location.display,
        "kind": entry.kind.value,
        "version": entry.version,
        "summary": entry.summary,
        "size": entry.size,
        "modified": entry.modified,
        "problem": entry.problem,
    }


def _of_axis(axis: AxisDetails) -> str:
    size = f"{axis.pixel:.6g}" if axis.unit or axis.pixel not in (None, 1) else ""
    return " ".join(filter(None, (axis.name, axis.type, size, axis.unit)))


def _about(place: Location, details: Details) -> Iterator[str]:
    entry = details.entry
    version = f", OME-Zarr {entry.version}" if entry.version else ""
    yield f"{details.name or entry.name}: {entry.kind.value}{version}"
    yield place.display
    if details.axes:
        yield f"axes      {', '.join(map(_of_axis, details.axes))}"
    for said in details.plate:
        yield f"plate     {said}"
    for number, level in enumerate(details.levels):
        sides = by_times(level.shape)
        chunks = by_times(level.chunks)
        yield f"level {number:<3} {sides}  {level.dtype}  chunks {chunks}"
    for number, channel in enumerate(details.channels):
        limits = channel.contrast_limits
        shown = "" if limits is None else f"  {limits[0]:g} to {limits[1]:g}"
        name = channel.name or details.name
        yield f"channel {number} {name}  #{channel.color}{shown}"
    for name in details.labels:
        yield f"labels    {name}"
    for said in details.tables:
        yield f"table     {said}"
    for sentence in (*details.warnings, *details.notes):
        yield f"note      {sentence}"
    if details.licence:
        yield f"licence   {details.licence}"


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
    write_file(file, body, force=force)
    columns = counted(len(found.columns), "column")
    echo(f"{file}: {counted(found.rows, 'row')}, {columns}")


def _listed(place: Location) -> tuple[StoredTable, ...] | None:
    """Give the tables of a place; None where it is a table itself."""
    from napari_omezarr.errors import NodeNotFoundError, UnsupportedDataError
    from napari_omezarr.store import nothing_at
    from napari_omezarr.tables import open_table, stored_tables

    found = stored_tables(place)
    if found:
        return found
    try:
        open_table(place)
    except NodeNotFoundError as error:
        sentence = f"There are no tables at {place.display}."
        raise nothing_at(place, sentence, "Check the address.") from error
    except UnsupportedDataError:
        if place.protocol == "file" and place.local_path().is_file():
            raise
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
