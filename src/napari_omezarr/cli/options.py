"""What commands have in common: places, choices of a save, progress and Ctrl-C."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from .output import echo, print_json, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_omezarr.location import Location
    from napari_omezarr.writing import Progress, Saved


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


_OPTIONS = (
    click.option(
        "--connection",
        metavar="NAME",
        shell_complete=_connection_names,
        help="One of your connections.",
    ),
    click.option("--endpoint", metavar="URL", help="Of an S3-compatible service."),
    click.option("--region", metavar="NAME", help="Where the buckets live."),
    click.option("--profile", metavar="NAME", help="A profile of AWS's files."),
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
        facts = {"verified": saved.verified, "notes": saved.notes}
        print_json({"address": saved.address} | facts)
        return
    echo(f"{saved.address}: saved.")
    for note in saved.notes:
        echo(note)
