"""What commands that write have in common: their options, progress and Ctrl-C."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from .output import echo, print_json, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_omezarr.writing import Progress, Saved

_REACH = ("connection", "endpoint", "region", "profile", "anonymous")
_REACH_TARGET = ("connection", "endpoint", "profile")


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
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


def save_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the choices of a save."""
    sizes = "AXIS=N,..."
    for option in reversed(
        (
            click.option(
                "--version",
                type=click.Choice(["0.4", "0.5", "0.6"]),
                help="Of OME-Zarr; 0.5 unless the source has another.",
            ),
            click.option("--chunks", metavar=sizes, help="Like z=1,y=512,x=512."),
            click.option("--shards", metavar=sizes, help="Or yes, or no."),
            click.option("--codec", help="zstd, blosc-zstd, blosc-lz4, gzip, none."),
            click.option("--level", type=int, help="Of the codec."),
            click.option("--levels", type=int, help="How many resolution levels."),
            click.option(
                "--use-existing-resolutions",
                "existing_resolutions",
                is_flag=True,
                default=None,
                help="Keep the coarser resolutions of the input.",
            ),
            click.option(
                "--existing",
                type=click.Choice(["refuse", "replace", "beside"]),
                help="What to do where something is there already.",
            ),
            click.option(
                "--unfinished",
                type=click.Choice(["refuse", "resume", "remove"]),
                help="What to do with a save there that broke off.",
            ),
            click.option(
                "--verify",
                type=click.Choice(["sample", "all", "none"]),
                help="How much is read back and compared.",
            ),
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


def of_target(said: dict[str, Any]) -> dict[str, Any]:
    """Take out how the target is reached."""
    return {name: said.pop(f"to_{name}") for name in _REACH_TARGET}


def split_options(said: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part what was said into choices of the save and how the source is reached."""
    reached = {name: said.pop(name) for name in _REACH}
    choices = {name: value for name, value in said.items() if value is not None}
    for name in ("chunks", "shards"):
        if name in choices:
            choices[name] = sizes(name, choices[name])
    return choices, reached


def sizes(name: str, text: str) -> Any:
    """Parse ``z=1,y=512``; for shards, yes and no too."""
    words = {"yes": True, "no": False} if name == "shards" else {}
    return words[text] if text in words else by_axis(name, text, int)


def by_axis(name: str, text: str, kind: Callable[[str], Any]) -> dict[str, Any]:
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
def saving(label: str) -> Iterator[dict[str, Any]]:
    """Give a save its progress bar; Ctrl-C ends it in a state that can be resumed."""
    cancel = Event()
    with progress_bar(label) as show, interrupted_by(cancel.set):

        def tell(progress: Progress) -> None:
            show(progress.done / max(1, progress.total))

        yield {"progress": tell, "cancel": cancel}


@contextmanager
def interrupted_by(stop: Callable[[], object]) -> Iterator[None]:
    """Let the first Ctrl-C call `stop`, which raises nothing; a second one ends all."""

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def report(saved: Saved, *, as_json: bool) -> None:
    """Print what was saved."""
    if as_json:
        facts = {"verified": saved.verified, "notes": saved.notes}
        print_json({"address": saved.address} | facts)
        return
    echo(f"{saved.address}: saved.")
    for note in saved.notes:
        echo(note)
