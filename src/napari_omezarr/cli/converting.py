"""The command convert: one input, many, or many merged into one."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_omezarr.plain_text import counted

from .options import (
    PLACE,
    by_axis,
    echo,
    interrupted_by,
    json_option,
    json_text,
    location_of,
    of_target,
    place_options,
    plain,
    print_json,
    progress_bar,
    report,
    save_options,
    scale_option,
    split_options,
    target_options,
    units_option,
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_omezarr.converting import (
        ConvertInput,
        ConvertJob,
        ConvertOutcome,
        ConvertRun,
        MergedInput,
    )
    from napari_omezarr.location import Location
    from napari_omezarr.opened import StoredPlate


scheduler_option = click.option(
    "--scheduler",
    default="threads",
    help="Who does the work: threads, processes, tcp://host:8786 (a dask cluster), or "
    "slurm:queue=q,cores=8,memory=16GB.",
)


@click.command()
@click.argument(
    "places", type=PLACE, nargs=-1, required=True, metavar="SOURCE... TARGET"
)
@click.option(
    "--pattern",
    default="",
    metavar="'*.tif'",
    help="In folders, take the files whose names fit.",
)
@click.option(
    "--merge",
    metavar="NAMES",
    help="Names of files that make one image, like '{name}_t{t}_{c}.tif'; see above.",
)
@click.option(
    "--plate",
    is_flag=True,
    help="Make TARGET a plate; {well} in --merge says which well.",
)
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the columns file, image, t, c, z, field, in place of SOURCE.",
)
@click.option(
    "--axes", metavar="tyx", help="Names of the axes, where files do not say them."
)
@click.option(
    "--series",
    type=int,
    help="Number of one image, from 0, in files that hold several.",
)
@scale_option
@units_option
@click.option("--no-labels", is_flag=True, help="Leave the labels of OME-Zarr out.")
@scheduler_option
@click.option(
    "--report",
    "file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="File that tells what became of each input (.json, else text).",
)
@save_options
@json_option
@place_options
@target_options
def convert(
    places: tuple[str, ...],
    scheduler: str,
    file: Path | None,
    as_json: bool,
    **said: Any,
) -> None:
    """Write TIFF, OME-Zarr and what installed readers open as OME-Zarr.

    A SOURCE is a file, an OME-Zarr, a folder or prefix, or any of them with * in it.
    Several become images in the folder TARGET; what is whole there is left as it is,
    what broke off goes on, and what fails does not end the others.

    --merge makes one image of many files: {t}, {c} and {z} in a name say where in the
    image a file belongs, {field} in which image of a collection, and other words in
    braces tell images apart.
    """
    from napari_omezarr.converting import (
        ConvertRun,
        ReadChoices,
        is_image_name,
        plan_jobs,
        plate_of,
        resuming,
        scheduled,
    )
    from napari_omezarr.errors import OptionError

    there = location_of(places[-1], **of_target(said))
    read = ReadChoices(said.pop("axes"), said.pop("series"), not said.pop("no_labels"))
    scale, units = said.pop("scale"), said.pop("units")
    of_plate = said.pop("plate")
    asked = {name: said.pop(name) for name in ("pattern", "merge", "table")}
    choices, reached = split_options(said)
    parse = partial(location_of, **reached)
    found = _found(places[:-1], parse, there, {**asked, "of_plate": of_plate})
    run = ConvertRun(
        read,
        choices,
        by_axis("scale", scale, float) if scale else None,
        by_axis("units", units, str) if units and "=" in units else units,
    )
    if file is not None and not file.absolute().parent.is_dir():
        sentence = f"There is no folder for the report {file}."
        raise OptionError(sentence, action="Make it, or choose another.")
    jobs = [] if of_plate else plan_jobs(found, there)
    with scheduled(scheduler, waiting()) as client:
        run = replace(run, client=client)
        is_image = is_image_name(there.name)
        plate = plate_of(found[0]) if len(jobs) == 1 and is_image else None
        fields = found if of_plate else plate
        if fields is not None:
            carry_out_plate(fields, there, resuming(run), file, as_json=as_json)
        else:
            _carry_out(jobs, run, file, is_image=is_image, as_json=as_json)


def waiting() -> Callable[[str], object] | None:
    """Give what tells a person where a job stands in its queue; a pipe gets nothing."""
    return partial(echo, err=True) if sys.stderr.isatty() else None


def _found(
    sources: Sequence[str],
    parse: Callable[[str], Location],
    target: Location,
    asked: dict[str, Any],
) -> list[ConvertInput] | list[MergedInput]:
    from napari_omezarr.converting import by_pattern, by_table, find_inputs
    from napari_omezarr.errors import OptionError

    table: Path | None = asked["table"]
    merge, pattern, of_plate = asked["merge"], asked["pattern"], asked["of_plate"]
    if table is not None:
        if sources or merge or pattern:
            raise OptionError(
                "A table says all the files.", action="Name only the target with it."
            )
        home = parse(str(table.absolute().parent))
        return by_table(table, home, parse)
    if not sources:
        raise OptionError(
            "What to convert, or its target, is missing.",
            action="Name both: napari-omezarr convert SOURCE TARGET",
        )
    if merge is None and of_plate:
        raise OptionError(
            "What of a name is the well is not said.",
            action="Say it, like --merge '{well}_f{field}_{c}.tif'.",
        )
    if merge is None:
        return find_inputs(sources, parse, pattern=pattern, apart=target)
    inputs = find_inputs(sources, parse, pattern=pattern or "*", apart=target)
    return by_pattern(inputs, merge, of_plate=of_plate)


def carry_out_plate(
    fields: Sequence[Any] | StoredPlate,
    target: Location,
    run: ConvertRun,
    file: Path | None = None,
    *,
    name: str | None = None,
    as_json: bool,
) -> None:
    """Write fields of a plate, and say what became of them."""
    from napari_omezarr.converting import convert_plate

    rows = fields if isinstance(fields, Sequence) else fields.fields
    label = f"Writing {counted(len(rows), 'field')}"
    with progress_bar(label) as show, interrupted_by(run.cancel.set):
        run = replace(run, progress=show)
        outcomes = convert_plate(fields, target, run, name)
    _write_report(file, outcomes)
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    written = [outcome for outcome in outcomes if outcome.state == "written"]
    absent = [outcome for outcome in outcomes if outcome.state == "absent"]
    notes = list(dict.fromkeys(note for each in outcomes for note in each.notes))
    notes += [f"{each.target}: {each.sentence}" for each in absent]
    if as_json:
        facts: dict[str, Any] = {"fields": [each.target for each in written]}
        facts |= {"notes": notes, "failed": list(map(_row, failed))}
        if absent:
            facts["absent"] = [each.target for each in absent]
        print_json({"address": target.display} | facts)
    else:
        stopped = [outcome for outcome in outcomes if outcome.state == "stopped"]
        for line in [line for each in (*failed, *stopped) for line in _lines(each)]:
            echo(line)
        echo(f"{target.display}: {_fields_sum(outcomes)}.")
        for note in notes:
            echo(f"  {note}")
    click.get_current_context().exit(_code(outcomes))


def _fields_sum(outcomes: Sequence[ConvertOutcome]) -> str:
    counts = Counter(outcome.state for outcome in outcomes)
    told = f"{counted(counts['written'], 'field')} written"
    if there := counts["there"]:
        told += f", {there:,} {'was' if there == 1 else 'were'} there before"
    told += f", {counts['absent']:,} listed and not there" if counts["absent"] else ""
    told += f", {counts['failed']:,} failed" if counts["failed"] else ""
    return told + (", and then it was stopped" if counts["stopped"] else "")


def _write_report(file: Path | None, outcomes: Sequence[ConvertOutcome]) -> None:
    """Write what became of each input, if a file for that is named."""
    if file is None:
        return
    text = "\n".join(line for outcome in outcomes for line in _lines(outcome))
    if file.suffix.lower() == ".json":
        text = json_text(list(map(_row, outcomes)), indent=2)
    write_file(file, f"{text}\n".encode(errors="backslashreplace"), force=True)


def _carry_out(
    jobs: Sequence[ConvertJob],
    run: ConvertRun,
    file: Path | None,
    *,
    is_image: bool,
    as_json: bool,
) -> None:
    from napari_omezarr.converting import convert_all, convert_one

    alone = len(jobs) == 1 and file is None and is_image
    label = f"Writing {jobs[0].target.name if alone else f'{len(jobs)} images'}"
    with progress_bar(label) as show, interrupted_by(run.cancel.set):
        run = replace(run, progress=show)
        if alone:
            saved = convert_one(jobs[0], run)
        else:
            outcomes = convert_all(jobs, run)
    if alone:
        report(saved, as_json=as_json)
        return
    _write_report(file, outcomes)
    if as_json:
        print_json(list(map(_row, outcomes)))
    else:
        lines = [line for outcome in outcomes for line in _lines(outcome)]
        for line in (*lines, _sum(outcomes)):
            echo(line)
    click.get_current_context().exit(_code(outcomes))


def _row(outcome: ConvertOutcome) -> dict[str, Any]:
    row: dict[str, Any] = plain(outcome)
    return row | {"error": outcome.error.__name__ if outcome.error else None}


def _lines(outcome: ConvertOutcome) -> list[str]:
    of = f", of {outcome.inputs[0]}" if outcome.inputs else ""
    if len(outcome.inputs) > 1:
        of = f"{of} and {len(outcome.inputs) - 1} more"
    about = [f"{outcome.target}: {outcome.state}{of}"]
    told = f"{outcome.sentence} {outcome.action}".strip()
    return about + [f"  {each}" for each in (told, *outcome.notes) if each]


def _sum(outcomes: Sequence[ConvertOutcome]) -> str:
    counts = Counter(outcome.state for outcome in outcomes)
    told = (
        f"{counts[state]} {state}"
        for state in ("written", "there", "joined", "absent", "failed", "stopped")
    )
    return ", ".join(each for each in told if not each.startswith("0 ")) + "."


def _code(outcomes: Sequence[ConvertOutcome]) -> int:
    """Give the exit code: of what went wrong, if that is of one kind, else 1."""
    from .command import STOPPED, exit_code

    if any(outcome.state == "stopped" for outcome in outcomes):
        return STOPPED
    codes = {exit_code(outcome.error) for outcome in outcomes if outcome.error}
    return codes.pop() if len(codes) == 1 else int(bool(codes))
