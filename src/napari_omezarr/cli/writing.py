"""Commands that change: add-labels, append, calibrate, rendering, write-plate, copy."""

from __future__ import annotations

from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_omezarr.plain_text import counted

from .converting import carry_out_plate
from .options import (
    PLACE,
    by_axis,
    echo,
    interrupted_by,
    json_option,
    location_of,
    of_target,
    place_options,
    print_done,
    print_json,
    progress_bar,
    report,
    save_options,
    saving,
    scale_option,
    split_options,
    target_options,
    units_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from napari_omezarr.browsing import Copied, CopyProgress, MirrorPlan
    from napari_omezarr.location import Location

_GLANCE = 0.5
"""Seconds between two looks whether a copy has ended."""
_ENDING = 60
"""Seconds that a copy may take to end after Ctrl-C; a second one ends it at once."""


@click.command("add-labels")
@click.argument("labels", type=PLACE)
@click.argument("image", type=PLACE)
@click.option("--name", help="Name of the label image; its own if absent.")
@save_options
@json_option
@place_options
def add_labels(
    labels: str, image: str, name: str | None, as_json: bool, **said: Any
) -> None:
    """Save the label image at LABELS into the image at IMAGE.

    LABELS is of an OME-Zarr, or a TIFF or another file that convert reads, of which the
    pixels are taken to lie on those of the image.
    """
    from napari_omezarr import Pyramid
    from napari_omezarr import add_labels as save
    from napari_omezarr.errors import OptionError

    choices, reached = split_options(said)
    choices.pop("version", None)
    here, there = location_of(labels, **reached), location_of(image, **reached)
    with _images_at(here) as images:
        found = [image for image in images if image.label is not None]
        if not any(isinstance(image, Pyramid) for image in images):
            found = images  # files do not say which of their images are labels
        if len(found) != 1:
            raise OptionError(
                f"There are {len(found)} label images at {here.display}, not one.",
                action="Give the address of one.",
                url=here.display,
            )
        name = name or found[0].name
        with saving(f"Writing labels {name}") as running:
            saved = save(found[0], there, name=name, **running, **choices)
    report(saved, as_json=as_json)


@contextmanager
def _images_at(place: Location) -> Iterator[list[Any]]:
    """Give what lies at a place: pyramids of an OME-Zarr, or specs of another file."""
    from napari_omezarr.converting import ReadChoices, close_files, read_images

    try:
        yield read_images(place, ReadChoices(resolutions=True))
    finally:
        close_files()


@click.command()
@click.argument("source", type=PLACE)
@click.argument("image", type=PLACE)
@click.option(
    "--axis", default="t", show_default=True, help="Axis along which it is put behind."
)
@click.option(
    "--channels",
    metavar="NAME,...",
    help="Names of new channels; those of SOURCE if absent.",
)
@json_option
@place_options
def append(
    source: str,
    image: str,
    axis: str,
    channels: str | None,
    as_json: bool,
    **reached: Any,
) -> None:
    """Append the image at SOURCE to the one at IMAGE, along an axis but space.

    SOURCE is an OME-Zarr, or a TIFF or another file that convert reads.

    Readers see the image as it was until all is there; what breaks off goes on when
    the same command is given again.
    """
    from napari_omezarr import append as grow

    here, there = location_of(source, **reached), location_of(image, **reached)
    with _images_at(here) as images, saving(f"Appending {here.name}") as running:
        names = [name.strip() for name in channels.split(",")] if channels else None
        done = grow(there, images[0], axis, channels=names, **running)
    sentence = f"{there.display}: {here.display} appended along {axis}."
    print_done(sentence, done, as_json=as_json)


@click.command()
@click.argument("address", type=PLACE)
@scale_option
@click.option(
    "--translation",
    metavar="AXIS=PLACE,...",
    help="Place of the first pixel, like y=10,x=20.",
)
@units_option
@click.option("--name", help="Name of the image.")
@json_option
@place_options
def calibrate(
    address: str,
    scale: str | None,
    translation: str | None,
    units: str | None,
    name: str | None,
    as_json: bool,
    **reached: Any,
) -> None:
    """Say anew how large pixels are, where they lie, and in which unit; pixels stay."""
    from napari_omezarr import calibrate as place_anew
    from napari_omezarr.metadata import known_unit

    place = location_of(address, **reached)
    if all(each is None for each in (scale, translation, units, name)):
        raise click.UsageError("Say what to change: --scale, --translation, ...")
    said = {"scale": scale, "translation": translation}
    sizes = {k: by_axis(k, text, float) for k, text in said.items() if text is not None}
    is_by_axis = units is not None and "=" in units
    unit = by_axis("units", units, str) if units and is_by_axis else units
    place_anew(place, **sizes, units=unit, name=name)
    said_units = list(unit.values()) if isinstance(unit, dict) else [unit]
    notes = [
        f"{each} is no unit of length or time; readers may show pixels."
        for each in said_units
        if each and known_unit(each) is None
    ]
    facts = {"address": place.display, **sizes, "units": unit, "name": name}
    sentence = "\n".join((f"{place.display}: calibrated.", *notes))
    print_done(sentence, facts | {"notes": notes}, as_json=as_json)


@click.command()
@click.argument("address", type=PLACE)
@click.option(
    "--channel", type=int, default=0, show_default=True, help="Number of the channel."
)
@click.option("--name", help="New name of the channel.")
@click.option(
    "--color", metavar="RRGGBB", help="Colour of its highest intensity, like 00FF00."
)
@click.option(
    "--contrast",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="Intensities that are shown black and brightest.",
)
@click.option(
    "--visible/--hidden", default=None, help="Whether viewers show it at first."
)
@json_option
@place_options
def rendering(
    address: str,
    channel: int,
    name: str | None,
    color: str | None,
    contrast: tuple[float, float] | None,
    **said: Any,
) -> None:
    """Change the name, the colour and the contrast of a channel; pixels stay."""
    from napari_omezarr import read_layers, update_rendering
    from napari_omezarr.errors import OptionError

    visible, as_json = said.pop("visible"), said.pop("as_json")
    place = location_of(address, **said)
    if all(each is None for each in (name, color, contrast, visible)):
        raise click.UsageError("Say what to change: --name, --color, --contrast, ...")
    images = [layer for layer in read_layers(place) if layer[2] == "image"]
    if not 0 <= channel < len(images):
        sentence = (
            f"{place.display} has {counted(len(images), 'channel')}, and no {channel}."
        )
        raise OptionError(sentence, url=place.display)
    options = images[channel][1]
    chosen = {"name": name, "contrast_limits": contrast, "visible": visible}
    options |= {key: value for key, value in chosen.items() if value is not None}
    if color is not None:
        options["colormap"] = _colormap(color)
    if contrast is not None:
        if not contrast[0] < contrast[1]:
            sentence = f"{contrast[0]:g} to {contrast[1]:g} is no range of contrast."
            raise OptionError(sentence, action="Give the lower number first.")
        options.pop("contrast_limits_range", None)
    written = update_rendering([images[channel]])
    sentence = f"{place.display}: {', '.join(written)} written."
    facts = {"address": place.display, "written": written}
    print_done(sentence, facts, as_json=as_json)


def _colormap(color: str) -> Any:
    from napari_omezarr.errors import OptionError

    digits = color.removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        sentence = f"{color} is no colour."
        raise OptionError(
            sentence, action="Write six hex digits, like 00FF00."
        ) from None
    top = (red / 255, green / 255, blue / 255, 1.0)
    return {"colors": [(0.0, 0.0, 0.0, 1.0), top], "name": digits}


@click.command("write-plate")
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("plate", type=PLACE)
@click.option("--name", help="Name of the plate.")
@click.option(
    "--axes", help="Names of the axes, where files do not say them, like cyx."
)
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
    from napari_omezarr.converting import ConvertRun, ReadChoices, plate_rows

    choices, reached = split_options(said)
    there = location_of(plate, **reached)
    run = ConvertRun(ReadChoices(axes=axes), choices)
    rows = plate_rows(table, run.reading)
    carry_out_plate(rows, there, run, name=name, as_json=as_json)


# Commands that move stored bytes from place to place: copy, mirror.

_verify_option = click.option(
    "--verify", is_flag=True, help="Read back and compare what was written."
)


@click.command()
@click.argument("source", type=PLACE)
@click.argument("target", type=PLACE)
@_verify_option
@json_option
@place_options
@target_options
def copy(source: str, target: str, verify: bool, as_json: bool, **reached: Any) -> None:
    """Copy a store byte by byte; started again, it goes on where it broke off."""
    from napari_omezarr.browsing import copy_store

    there = location_of(target, **of_target(reached))
    here = location_of(source, **reached)

    def begin(tell: Callable[[CopyProgress], None]) -> Coroutine[Any, Any, Copied]:
        return copy_store(here, there, progress=tell, verify=verify)

    done = carried_out(here, begin)
    if as_json:
        facts = {"objects": done.objects, "bytes": done.bytes, "before": done.resumed}
        print_json({"address": done.target.display} | facts)
        return
    before = f", {done.resumed:,} there before" if done.resumed else ""
    objects = counted(done.objects, "object")
    echo(f"{done.target.display}: {objects}, {done.bytes:,} bytes{before}.")


@click.command()
@click.argument("source", type=PLACE)
@click.argument("target", type=PLACE)
@click.option("--delete", is_flag=True, help="Delete what SOURCE has not.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask before anything is overwritten.")
@_verify_option
@json_option
@place_options
@target_options
def mirror(
    source: str,
    target: str,
    delete: bool,
    as_json: bool,
    **reached: Any,
) -> None:
    """Make TARGET equal to SOURCE: what differs, by size and checksum, is copied."""
    from napari_omezarr.browsing import mirror_store, plan_mirror, start

    dry_run, yes, verify = (reached.pop(k) for k in ("dry_run", "yes", "verify"))
    there = location_of(target, **of_target(reached))
    here = location_of(source, **reached)
    plan = start(plan_mirror(here, there)).result()
    extra = len(plan.extra) if delete else 0
    if (plan.changed or extra) and not (yes or dry_run):
        echo(_planned(plan, extra), err=True)
        click.confirm(f"Change {there.display}?", abort=True, err=True)

    def begin(tell: Callable[[CopyProgress], None]) -> Coroutine[Any, Any, Copied]:
        return mirror_store(plan, delete=delete, verify=verify, progress=tell)

    if not dry_run:
        carried_out(here, begin)
    if as_json:
        facts = {"copied": len(plan.items), "overwritten": len(plan.changed)}
        facts |= {"deleted": extra, "same": plan.same, "bytes": plan.bytes}
        print_json({"address": there.display, "dry_run": dry_run} | facts)
        return
    echo(f"{there.display}: {_planned(plan, extra)}")


def _planned(plan: MirrorPlan, extra: int) -> str:
    new = len(plan.items) - len(plan.changed)
    parts = [
        f"{counted(new, 'object')} new",
        f"{len(plan.changed):,} overwritten",
        f"{extra:,} deleted",
        f"{plan.same:,} equal",
    ]
    left = len(plan.extra) - extra
    parts += [f"{left:,} at the target only"] if left else []
    return f"{', '.join(parts)}."


def carried_out(
    source: Location,
    begin: Callable[[Callable[[CopyProgress], None]], Coroutine[Any, Any, Copied]],
) -> Copied:
    """Wait for a copy, show how far it is, and let Ctrl-C end it."""
    import asyncio

    from napari_omezarr.browsing import start
    from napari_omezarr.errors import WriteCancelledError

    with progress_bar(f"Copying {source.name}") as show:

        def tell(progress: CopyProgress) -> None:
            show(progress.objects / max(1, progress.all_objects))

        tasks: list[asyncio.Task[Any] | None] = []

        async def copied() -> Copied:
            tasks.append(asyncio.current_task())
            return await begin(tell)

        async def over() -> None:
            await asyncio.gather(*filter(None, tasks), return_exceptions=True)

        copying = start(copied())
        with interrupted_by(copying.cancel):
            try:
                while not copying.done():
                    with suppress(TimeoutError):
                        # Windows hears of Ctrl-C between two waits only.
                        copying.exception(_GLANCE)
                return copying.result()
            except CancelledError:
                # It is cancelled before its task has noticed, which would go on while
                # the program ends below it.
                with suppress(TimeoutError):
                    start(over()).result(_ENDING)
                sentence = f"The copy of {source.display} was stopped."
                action = "The same command goes on where it was."
                raise WriteCancelledError(sentence, action=action) from None
