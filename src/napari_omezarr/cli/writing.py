"""Commands that write: copy, convert, add-labels, rendering."""

from __future__ import annotations

import signal
from concurrent.futures import CancelledError
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from .output import json_option, print_json, progress_bar
from .place import location_of, place_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_omezarr.browsing import CopyProgress
    from napari_omezarr.writing import Progress, Saved

_REACH = ("connection", "endpoint", "region", "profile", "anonymous")
_REACH_TARGET = ("connection", "endpoint", "profile")


def _target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how the target is reached, where it is another."""
    for option in reversed(
        (
            click.option("--to-connection", metavar="NAME", help="Of the target."),
            click.option("--to-endpoint", metavar="URL", help="Of the target."),
            click.option("--to-profile", metavar="NAME", help="Of the target."),
        )
    ):
        command = option(command)
    return command


def _save_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the choices of a save."""
    sizes = "AXIS=N,..."
    for option in reversed(
        (
            click.option("--version", type=click.Choice(["0.4", "0.5", "0.6"])),
            click.option("--chunks", metavar=sizes, help="Like z=1,y=512,x=512."),
            click.option("--shards", metavar=sizes, help="Or yes, or no."),
            click.option("--codec", help="zstd, blosc-zstd, blosc-lz4, gzip, none."),
            click.option("--level", type=int, help="Of the codec."),
            click.option("--levels", type=int, help="How many resolution levels."),
            click.option(
                "--existing", type=click.Choice(["refuse", "replace", "beside"])
            ),
            click.option(
                "--unfinished", type=click.Choice(["refuse", "resume", "remove"])
            ),
            click.option("--verify", type=click.Choice(["sample", "all", "none"])),
            click.option("--workers", type=int, help="Blocks in work at a time."),
            click.option(
                "--accept-losses",
                is_flag=True,
                default=None,
                help="Write even what the version cannot hold.",
            ),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("source")
@click.argument("target")
@json_option
@place_options
@_target_options
def copy(
    source: str,
    target: str,
    as_json: bool,
    **reached: Any,
) -> None:
    """Copy a store byte by byte; started again, it goes on where it broke off."""
    from napari_omezarr.browsing import copy_store, start
    from napari_omezarr.errors import WriteCancelledError

    there = location_of(target, **_of_target(reached))
    here = location_of(source, **reached)
    with progress_bar(f"Copying {here.name}") as show:

        def tell(progress: CopyProgress) -> None:
            show(progress.objects / max(1, progress.all_objects))

        copying = start(copy_store(here, there, progress=tell))
        with _interrupted_by(copying.cancel):
            try:
                done = copying.result()
            except CancelledError:
                sentence = f"The copy of {here.display} was stopped."
                action = "The same command goes on where it was."
                raise WriteCancelledError(sentence, action=action) from None
    if as_json:
        facts = {"objects": done.objects, "bytes": done.bytes, "before": done.resumed}
        print_json({"address": done.target.display} | facts)
        return
    before = f", {done.resumed} were there before" if done.resumed else ""
    click.echo(
        f"{done.target.display}: {done.objects} objects, {done.bytes} bytes{before}."
    )


@click.command()
@click.argument("source")
@click.argument("target")
@click.option("--no-labels", is_flag=True, help="Leave the labels out.")
@_save_options
@json_option
@place_options
@_target_options
def convert(
    source: str,
    target: str,
    no_labels: bool,
    as_json: bool,
    **said: Any,
) -> None:
    """Write an OME-Zarr anew: version, chunks, shards, codec, levels."""
    from napari_omezarr import read_layers, write_layers

    there = location_of(target, **_of_target(said))
    choices, reached = _split(said)
    here = location_of(source, **reached)
    layers = read_layers(here, labels=not no_labels)
    with _saving(f"Writing {there.name}") as running:
        saved = write_layers(layers, there, **running, **choices)
    _report(saved, as_json=as_json)


@click.command("add-labels")
@click.argument("labels")
@click.argument("image")
@click.option("--name", help="Of the label image; its own name if absent.")
@_save_options
@json_option
@place_options
def add_labels(
    labels: str, image: str, name: str | None, as_json: bool, **said: Any
) -> None:
    """Save the label image at LABELS into the image at IMAGE."""
    from napari_omezarr import add_labels as save
    from napari_omezarr import read_layers
    from napari_omezarr.errors import OptionError

    choices, reached = _split(said)
    choices.pop("version", None)
    here, there = location_of(labels, **reached), location_of(image, **reached)
    found = [layer for layer in read_layers(here) if layer[2] == "labels"]
    if len(found) != 1:
        sentence = f"There are {len(found)} label images at {here.display}, not one."
        raise OptionError(sentence, action="Give the address of one.", url=here.display)
    with _saving(f"Writing labels {name or here.name}") as running:
        saved = save(found[0], there, name=name, **running, **choices)
    _report(saved, as_json=as_json)


@click.command()
@click.argument("source")
@click.argument("image")
@click.option("--axis", default="t", show_default=True, help="Along which axis.")
@json_option
@place_options
def append(source: str, image: str, axis: str, as_json: bool, **reached: Any) -> None:
    """Append the image at SOURCE to the one at IMAGE, along an axis but space.

    Readers see the image as it was until all is there; what breaks off goes on when
    the same command is given again.
    """
    from napari_omezarr import append as grow
    from napari_omezarr import read

    here, there = location_of(source, **reached), location_of(image, **reached)
    pixels = read(here).pyramids[0].levels[0].pixels
    with _saving(f"Appending {here.name}") as running:
        done = grow(there, pixels, axis, **running)
    if as_json:
        print_json(done)
        return
    click.echo(f"{there.display}: {here.display} appended along {axis}.")


@click.command()
@click.argument("address")
@click.option("--scale", metavar="AXIS=SIZE,...", help="Of a pixel, like z=2,y=0.5.")
@click.option("--translation", metavar="AXIS=PLACE,...", help="Of the first pixel.")
@click.option("--units", metavar="AXIS=UNIT,...", help="Or one unit for all of space.")
@click.option("--name", help="Of the image.")
@place_options
def calibrate(
    address: str,
    scale: str | None,
    translation: str | None,
    units: str | None,
    name: str | None,
    **reached: Any,
) -> None:
    """Say anew how large pixels are, where they lie, and in which unit; pixels stay."""
    from napari_omezarr import calibrate as place_anew

    place = location_of(address, **reached)
    said = {"scale": scale, "translation": translation}
    sizes = {key: _by_axis(key, text, float) for key, text in said.items() if text}
    is_by_axis = units is not None and "=" in units
    unit = _by_axis("units", units, str) if units and is_by_axis else units
    place_anew(place, **sizes, units=unit, name=name)
    click.echo(f"{place.display}: calibrated.")


@click.command()
@click.argument("address")
@click.option("--channel", type=int, default=0, show_default=True, help="Which one.")
@click.option("--name", help="What to call the channel.")
@click.option("--color", metavar="RRGGBB", help="Of its highest intensity.")
@click.option("--contrast", nargs=2, type=float, metavar="LOW HIGH")
@click.option("--visible/--hidden", default=None)
@place_options
def rendering(
    address: str,
    channel: int,
    name: str | None,
    color: str | None,
    contrast: tuple[float, float] | None,
    visible: bool | None,
    **reached: Any,
) -> None:
    """Change the name, the colour and the contrast of a channel; pixels stay."""
    from napari_omezarr import read_layers, update_rendering
    from napari_omezarr.errors import OptionError

    place = location_of(address, **reached)
    images = [layer for layer in read_layers(place) if layer[2] == "image"]
    if not 0 <= channel < len(images):
        sentence = f"{place.display} has {len(images)} channels, and no {channel}."
        raise OptionError(sentence, url=place.display)
    options = images[channel][1]
    chosen = {"name": name, "contrast_limits": contrast, "visible": visible}
    options |= {key: value for key, value in chosen.items() if value is not None}
    if color is not None:
        options["colormap"] = _colormap(color)
    if contrast is not None:
        options.pop("contrast_limits_range", None)
    written = update_rendering([images[channel]])
    click.echo(f"{place.display}: {', '.join(written)} written.")


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


def _of_target(said: dict[str, Any]) -> dict[str, Any]:
    """Take out how the target is reached."""
    return {name: said.pop(f"to_{name}") for name in _REACH_TARGET}


def _split(said: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part what was said into choices of the save and how the source is reached."""
    reached = {name: said.pop(name) for name in _REACH}
    choices = {name: value for name, value in said.items() if value is not None}
    for name in ("chunks", "shards"):
        if name in choices:
            choices[name] = _sizes(name, choices[name])
    return choices, reached


def _sizes(name: str, text: str) -> Any:
    """Parse ``z=1,y=512``; for shards, yes and no too."""
    words = {"yes": True, "no": False} if name == "shards" else {}
    return words[text] if text in words else _by_axis(name, text, int)


def _by_axis(name: str, text: str, kind: Callable[[str], Any]) -> dict[str, Any]:
    """Parse a value for each axis, like ``z=1,y=512``."""
    from napari_omezarr.errors import OptionError

    try:
        pairs = (part.split("=") for part in text.split(","))
        return {axis.strip(): kind(value) for axis, value in pairs}
    except ValueError:
        sentence = f"{text} says no {name}."
        action = "Write a value for each axis, like z=1,y=512,x=512."
        raise OptionError(sentence, action=action) from None


@contextmanager
def _saving(label: str) -> Iterator[dict[str, Any]]:
    """Give a save its progress bar; Ctrl-C ends it in a state that can be resumed."""
    cancel = Event()
    with progress_bar(label) as show, _interrupted_by(cancel.set):

        def tell(progress: Progress) -> None:
            show(progress.done / max(1, progress.total))

        yield {"progress": tell, "cancel": cancel}


@contextmanager
def _interrupted_by(stop: Callable[[], object]) -> Iterator[None]:
    """Let the first Ctrl-C call `stop`, which raises nothing; a second one ends all."""

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _report(saved: Saved, *, as_json: bool) -> None:
    if as_json:
        facts = {"verified": saved.verified, "notes": saved.notes}
        print_json({"address": saved.address} | facts)
        return
    click.echo(f"{saved.address}: saved.")
    for note in saved.notes:
        click.echo(note)
