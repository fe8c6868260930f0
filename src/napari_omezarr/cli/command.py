"""The command of all commands: which there are, and how each ends."""

from __future__ import annotations

import os
import sys
from concurrent.futures import CancelledError
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from napari_omezarr import errors
from napari_omezarr.doors import as_ours, with_action

from .options import echo, error_facts, json_text

# Which module has a command; it is imported when the command is run or asked about.
_HOMES = {
    "ls": "looking",
    "tree": "looking",
    "du": "looking",
    "cat": "looking",
    "info": "looking",
    "validate": "looking",
    "thumbnail": "looking",
    "table": "looking",
    "links": "looking",
    "open": "looking",
    "copy": "writing",
    "mirror": "writing",
    "convert": "converting",
    "doctor": "upkeep",
    "remove": "upkeep",
    "rechunk": "upkeep",
    "upgrade": "upkeep",
    "add-labels": "writing",
    "append": "writing",
    "calibrate": "writing",
    "rendering": "writing",
    "write-plate": "writing",
    "serve": "serving",
    "connections": "settings",
    "settings": "settings",
    "completion": "settings",
}
_NAMES = {
    "add-labels": "add_labels",
    "write-plate": "write_plate",
    "open": "open_",
    "table": "table_",
}
_SUMMARIES = {
    "ls": "List what a place holds, with what each thing is.",
    "tree": "List what a place holds, and what is in that.",
    "du": "Count objects and bytes of what a place holds.",
    "cat": "Print the metadata documents of a place.",
    "info": "Say what an image is: axes, levels, channels, labels.",
    "validate": "Check the metadata against the specification.",
    "thumbnail": "Save a small picture of an image.",
    "table": "List the tables beside an image, or give one as CSV.",
    "links": "Print links that open a public image in web viewers.",
    "open": "Show images in napari.",
    "copy": "Copy a store byte by byte; goes on where it broke off.",
    "mirror": "Make a store equal to another: only what differs is copied.",
    "convert": "Write TIFF, OME-Zarr and other formats as OME-Zarr; one, or many.",
    "doctor": "Look for what is wrong in a store, and mend what is safe to mend.",
    "remove": "Remove a store, counted and asked first.",
    "rechunk": "Write an OME-Zarr with other chunks or shards.",
    "upgrade": "Upgrade OME-Zarr to a later version, and pack chunks into shards.",
    "add-labels": "Save a label image into an image.",
    "append": "Append an image to another, along time, channels or another axis.",
    "calibrate": "Say anew how large pixels are, where they lie, and in which unit.",
    "rendering": "Change names, colours and contrast of an image's channels.",
    "write-plate": "Write a table of images as a plate, or add them to one.",
    "serve": "Serve an image or a folder over HTTP to web viewers.",
    "connections": "List, test, add and import connections.",
    "settings": "Say where the program keeps what; delete what is not needed.",
    "completion": "Print what makes a shell complete commands.",
}

USAGE, MISSING, REFUSED, TAKEN, DAMAGED, UNREACHABLE, NO_ROOM = 2, 3, 4, 5, 6, 7, 8
STOPPED = 130
"""The exit codes by the kind of error; 1 is any other."""
UNREAD = 141
"""What shells give for a program whose output nobody reads any more (SIGPIPE)."""

_CODES: tuple[tuple[int, tuple[type[errors.OMEZarrError], ...]], ...] = (
    (USAGE, (errors.MissingPackageError,)),
    (MISSING, (errors.NodeNotFoundError, errors.BucketNotFoundError)),
    (REFUSED, (errors.AccessDeniedError,)),
    (
        TAKEN,
        (
            errors.TargetClaimedError,
            errors.TargetExistsError,
            errors.TargetInUseError,
            errors.UnfinishedWriteError,
            errors.ConflictError,
        ),
    ),
    (
        DAMAGED,
        (
            errors.DamagedDataError,
            errors.MetadataError,
            errors.SourceError,
            errors.UnsupportedDataError,
            errors.VerificationError,
        ),
    ),
    (NO_ROOM, (errors.DiskFullError, errors.NotEnoughMemoryError)),
    (UNREACHABLE, (errors.ClusterError, errors.StoreError)),
    (STOPPED, (errors.WriteCancelledError,)),
    (USAGE, (errors.LocationError, errors.OptionError)),
)


_AS_JSON = f"{__name__}.as_json"


def exit_code(kind: type[errors.OMEZarrError]) -> int:
    """Give the exit code of a kind of errors."""
    return next((code for code, kinds in _CODES if issubclass(kind, kinds)), 1)


class _Commands(click.Group):
    """The commands, each imported when it is needed; our errors end one in words."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run as a program, also where a stream is closed or takes nothing."""
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:  # closed by who started us
                nothing = os.open(os.devnull, os.O_RDWR)
                setattr(sys, name, os.fdopen(nothing, mode, encoding="utf-8"))
        try:
            return super().main(*args, **options)
        except OSError as error:  # of the help, or of what click itself says
            with suppress(OSError):
                _say(as_ours(error), as_json=False)
            sys.exit(exit_code(type(as_ours(error))))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _HOMES:
            return None
        module = import_module(f"{__package__}.{_HOMES[cmd_name]}")
        command: click.Command = getattr(module, _NAMES.get(cmd_name, cmd_name))
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        # From the table: the help must not import every command.
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUMMARIES.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        ctx.meta[_AS_JSON] = "--json" in args
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0], _HOMES, 1)
            meant = f" Is it {near[0]}?" if near and args[0] not in _HOMES else ""
            raise click.UsageError(f"{error.message}{meant}", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return self._invoked(ctx)
        except errors.OMEZarrError as error:
            with_action(error).action += self._choices(ctx, error.option)
            _say(error, as_json=ctx.meta.get(_AS_JSON, False))
            ctx.exit(exit_code(type(error)))
        except click.ClickException as error:
            if not ctx.meta.get(_AS_JSON, False):
                raise
            _say_usage(error)
            ctx.exit(error.exit_code)
        except (KeyboardInterrupt, CancelledError, click.Abort):
            echo("Stopped.", err=True)
            ctx.exit(STOPPED)
        except BrokenPipeError:
            # What is left to be flushed has to go somewhere when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(UNREAD)

    def _choices(self, ctx: click.Context, name: str) -> str:
        """Say how an action is chosen, where the command that ran has that option."""
        command = self.get_command(ctx, ctx.invoked_subcommand or "")
        for option in command.params if command is not None else ():
            if option.name == name and isinstance(option.type, click.Choice):
                said = [c for c in option.type.choices if c != "refuse"]
                return f" Say {' or '.join(f'{option.opts[0]} {c}' for c in said)}."
        return ""

    def _invoked(self, ctx: click.Context) -> Any:
        """Run a command, from which no error comes that is neither ours nor click's."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except (CancelledError, BrokenPipeError):  # by who runs it, or what it runs in
            raise
        except Exception as error:
            raise as_ours(error) from error


def _say_usage(error: click.ClickException) -> None:
    """Print what is wrong with a call as one object, like any other error."""
    facts = {
        "error": type(error).__name__,
        "sentence": error.format_message(),
        "action": "Run the command with --help.",
        "address": "",
    }
    click.echo(json_text(facts), err=True)


def _say(error: errors.OMEZarrError, *, as_json: bool) -> None:
    """Print an error: two lines, or one object where ``--json`` was said."""
    if as_json:
        click.echo(json_text(error_facts(error)), err=True)
        return
    echo(f"Error: {error.sentence}", err=True)
    if error.action:
        echo(error.action, err=True)


_EXAMPLES = """\b
Examples:
  napari-omezarr info https://host/cells.ome.zarr
  napari-omezarr open ~/data/cells.ome.zarr
  napari-omezarr copy s3://bucket/cells.ome.zarr here.ome.zarr
  napari-omezarr convert raw/ converted/ --pattern '*.tif'
"""


@click.group(
    cls=_Commands,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="napari-omezarr")
def main() -> None:
    """Look at, copy, convert and edit OME-Zarr, wherever it lies.

    A place is a path, an http(s), s3, gs, az or other address, or whatever may be
    pasted into the viewer. Exit codes: 0 done, 2 wrong use, or a package is missing, 3
    nothing there, 4 not allowed, 5 taken by something else, 6 damaged or not
    understood, 7 not reached, 8 no room, 130 stopped, 141 its output was not read to
    the end, 1 anything else.
    """
