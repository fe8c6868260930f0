"""What commands share: options, addresses, progress, an end by Ctrl-C; and output."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from napari_omezarr.errors import OMEZarrError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_omezarr.location import Location
    from napari_omezarr.writing import Progress, Saved


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for programs."
)

_STEPS = 1000
_SHORTEST_BAR, _LONGEST_BAR = 4, 36
_USUAL_COLUMNS = 80
_BESIDE_BAR = len("  []  100%  00:00:00")


_SHOWN = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"}
_SHOWN |= dict.fromkeys((*range(0x7F, 0xA0), *range(0xD800, 0xE000)), "\ufffd")
"""What stands for characters that a terminal would take for commands, and for bytes of
names that are no Unicode."""


def echo(text: str, *, err: bool = False) -> None:
    """Print text for people; what others wrote in it commands no terminal."""
    click.echo(text.translate(_SHOWN), err=err)


def plain(value: Any) -> Any:
    """Make a value of what JSON knows; dataclasses become objects."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


def print_json(value: Any) -> None:
    """Print a value as one document."""
    click.echo(json_text(value, indent=2))


def json_text(value: Any, indent: int | None = None) -> str:
    """Write a value as JSON; what is no Unicode is escaped, and reads as it was."""
    text = json.dumps(plain(value), indent=indent, ensure_ascii=False)
    return text.encode(errors="backslashreplace").decode()


def print_done(sentence: str, facts: Any, *, as_json: bool) -> None:
    """Say what was done: a sentence for people, or facts for machines."""
    if as_json:
        print_json(facts)
    else:
        echo(sentence)


def print_json_rows(rows: Iterable[Any]) -> None:
    """Print a list as one document, each of its rows as soon as it is known.

    Where it breaks off after some rows, the list ends with what went wrong.
    """
    begun = False

    def tell(value: Any) -> None:
        text = json_text(value)
        click.echo(f",\n{text}" if begun else f"[\n{text}", nl=False)

    try:
        for row in rows:
            tell(row)
            begun = True
    except OMEZarrError as error:
        if begun:
            tell(error_facts(error))
            click.echo("\n]")
        raise
    except KeyboardInterrupt:
        if begun:
            click.echo("\n]")
        raise
    click.echo("\n]" if begun else "[]")


def error_facts(error: OMEZarrError) -> dict[str, str]:
    """Give an error as an object for machines."""
    return {
        "error": type(error).__name__,
        "sentence": error.sentence,
        "action": error.action,
        "address": error.url,
    }


def aligned(cells: Sequence[str], widths: list[int]) -> str:
    """Lay out a row of which later ones are not known yet; `widths` grow with it."""
    widths[:] = [max(len(c), w) for c, w in zip(cells, widths, strict=True)]
    line = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(line).rstrip()


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Lay out rows in columns, as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _columns() -> int:
    """How wide the terminal is that progress is shown on."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):  # it is none
        return _USUAL_COLUMNS


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[float], None]]:
    """Show on a terminal how much is done, from 0 to 1; a pipe gets nothing."""
    # A line that is wider than the terminal would be written below the last one.
    columns = max(_columns() - _BESIDE_BAR, 0)
    label = label[: max(columns - _SHORTEST_BAR, 0)]
    width = max(min(columns - len(label), _LONGEST_BAR), 1)
    with click.progressbar(
        length=_STEPS,
        label=label,
        width=width,
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    ) as bar:
        done = 0

        def show(part: float) -> None:
            nonlocal done
            step = int(part * _STEPS) - done
            if step > 0:
                bar.update(step)
                done += step

        yield show


# What commands have in common: places, choices of a save, progress and Ctrl-C.


class PlaceType(click.types.StringParamType):
    """An address or a path; shells complete it as a path."""

    name = "place"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell complete files."""
        return [CompletionItem(incomplete, type="file")]


PLACE = PlaceType()


def _connection_names(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[str]:
    from napari_omezarr.connections import ConnectionFile

    names = [each.name for each in ConnectionFile().connections()]
    return [name for name in names if name.startswith(incomplete)]


scale_option = click.option(
    "--scale", metavar="AXIS=SIZE,...", help="Size of a pixel, like z=2,y=0.5."
)
units_option = click.option(
    "--units",
    metavar="AXIS=UNIT,...",
    help="Units of that size, like t=second; one alone is for z, y and x.",
)

_OPTIONS = (
    click.option(
        "--connection",
        metavar="NAME",
        shell_complete=_connection_names,
        help="Saved connection to use; napari-omezarr connections lists them.",
    ),
    click.option(
        "--endpoint", metavar="URL", help="Web address of an S3-compatible service."
    ),
    click.option(
        "--region", metavar="NAME", help="Region of the bucket, like eu-west-1."
    ),
    click.option(
        "--profile", metavar="NAME", help="Profile in AWS's configuration files."
    ),
    click.option("--anonymous", is_flag=True, help="Do not sign in."),
)


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a place is reached."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def location_of(
    address: str,
    *,
    connection: str | None = None,
    endpoint: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    anonymous: bool = False,
) -> Location:
    """Parse an address with what the options of ``place_options`` say.

    Raises
    ------
    LocationError
        It is no address.
    OptionError
        There is no such connection.
    """
    from napari_omezarr.location import Location

    if connection is not None:
        from napari_omezarr.connections import ConnectionFile
        from napari_omezarr.errors import OptionError

        found = ConnectionFile().find(connection)
        if found is None:
            raise OptionError(
                f"There is no connection {connection}.",
                action="Run: napari-omezarr connections",
            )
        return found.locate(address)
    return Location.parse(
        address,
        endpoint=endpoint,
        region=region,
        profile=profile,
        anonymous=anonymous or None,
    )


# Of those that write.

_REACH = ("connection", "endpoint", "region", "profile", "anonymous")
_REACH_TARGET = ("connection", "endpoint", "profile")


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how the target is reached, where it is another."""
    for option in reversed(
        (
            click.option(
                "--to-connection", metavar="NAME", help="Like --connection, for TARGET."
            ),
            click.option(
                "--to-endpoint", metavar="URL", help="Like --endpoint, for TARGET."
            ),
            click.option(
                "--to-profile", metavar="NAME", help="Like --profile, for TARGET."
            ),
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
                help="Version of OME-Zarr to write: 0.5; rechunk keeps that of SOURCE.",
            ),
            click.option(
                "--chunks",
                metavar=sizes,
                help="Size of a chunk in pixels, like z=1,y=512,x=512.",
            ),
            click.option(
                "--shards",
                metavar=sizes,
                help="Size of a shard in pixels; yes chooses one, no writes none.",
            ),
            click.option(
                "--codec", help="Compression: zstd, blosc-zstd, blosc-lz4, gzip, none."
            ),
            click.option("--level", type=int, help="Strength of the compression."),
            click.option("--levels", type=int, help="Number of resolution levels."),
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
                help="What to do if something is there: a free name is beside it.",
            ),
            click.option(
                "--unfinished",
                type=click.Choice(["refuse", "resume", "remove"]),
                help="What to do if a save there broke off.",
            ),
            click.option(
                "--verify",
                type=click.Choice(["sample", "all", "none"]),
                help="How much is read back and compared.",
            ),
            click.option(
                "--workers",
                type=int,
                help="Number of blocks that are in work at a time.",
            ),
            click.option(
                "--accept-losses",
                is_flag=True,
                default=None,
                help="Write it though not all can be kept, or a level is missing.",
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
        pairs = [part.split("=") for part in text.split(",")]
        found = {axis.strip(): kind(value) for axis, value in pairs}
    except ValueError:
        found = {}
    if not found or "" in found or len(found) < len(pairs):
        sentence = f"{text!r} says no {name}."
        action = "Write a value for each axis, once, like z=1,y=512,x=512."
        raise OptionError(sentence, action=action)
    return found


@contextmanager
def saving(label: str) -> Iterator[dict[str, Any]]:
    """Give a save its progress bar; Ctrl-C ends it in a state that can be resumed."""
    with counting(label) as running:

        def tell(progress: Progress) -> None:
            running["progress"](progress.done, progress.total)

        yield {**running, "progress": tell}


@contextmanager
def counting(label: str) -> Iterator[dict[str, Any]]:
    """Give what tells how much is done, of how much, a bar; Ctrl-C ends it."""
    cancel = Event()
    with progress_bar(label) as show, interrupted_by(cancel.set):

        def tell(done: int, of: int) -> None:
            show(done / max(1, of))

        yield {"progress": tell, "cancel": cancel}


@contextmanager
def interrupted_by(stop: Callable[[], object]) -> Iterator[None]:
    """Let the first Ctrl-C call `stop`, which raises nothing; a second one ends all."""
    # A handler runs between any two steps of the thread that waits. Were it to call
    # `stop` itself, it could ask for a lock that this thread holds, or wake it just
    # before it begins to wait, and nothing would wake it again. To put into this queue
    # is safe there: https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put
    asked: SimpleQueue[bool] = SimpleQueue()

    def obey() -> None:
        if asked.get():
            stop()

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        asked.put(True)

    listener = Thread(target=obey, name="omezarr-interrupt", daemon=True)
    listener.start()
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, interrupt)
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        asked.put(False)
        listener.join()


def report(saved: Saved, *, as_json: bool) -> None:
    """Print what was saved."""
    if as_json:
        facts = {"verified": saved.verified, "notes": saved.told}
        print_json({"address": saved.address} | facts)
        return
    echo(f"{saved.address}: saved.")
    for note in saved.told:
        echo(f"  {note}")


def refuse_existing(file: Path, *, force: bool) -> None:
    """Refuse to write over a file, unless that was said."""
    from napari_omezarr.errors import TargetExistsError

    with _writing(file):
        if file.exists() and not force:
            sentence = f"{file} is there already."
            raise TargetExistsError(sentence, action="Choose another name, or --force.")


def write_file(file: Path, body: bytes, *, force: bool) -> None:
    """Write a file whole, or not at all."""
    from napari_omezarr.atomic_file import replacing

    refuse_existing(file, force=force)
    with _writing(file), replacing(file) as fresh:
        fresh.write_bytes(body)


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    from napari_omezarr.doors import said_by_system
    from napari_omezarr.errors import StoreError

    try:
        yield
    except OMEZarrError:
        raise
    except OSError as error:
        sentence = f"{file} could not be written."
        raise said_by_system(error, str(file)) or StoreError(
            sentence, action="Choose another place.", url=str(file)
        ) from error
