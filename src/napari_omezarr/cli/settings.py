"""Commands for the program itself: settings, completion, connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import PLACE, echo, json_option, print_done, print_json, table

_KEPT = ("cache", "recent", "undo")


@click.command()
@click.option(
    "--clear",
    type=click.Choice(_KEPT),
    multiple=True,
    help="Delete what is kept of it.",
)
@json_option
def settings(clear: tuple[str, ...], as_json: bool) -> None:
    """Say where the program keeps what, and how much; delete what is not needed.

    What can be set is set in napari (Preferences, Plugins), and by the environment
    variables NAPARI_OMEZARR_CONFIG and NAPARI_OMEZARR_CACHE for the two folders.
    """
    for name in clear:
        _clear(name)
    facts = _facts()
    if as_json:
        print_json(facts)
        return
    for line in table([(name, str(value)) for name, value in facts.items()]):
        click.echo(line)


def _facts() -> dict[str, Any]:
    from napari_omezarr.connections import ConnectionFile
    from napari_omezarr.store import disk_cache_facts
    from napari_omezarr.user_files import Recents, cache_folder, configuration_folder

    cache = disk_cache_facts()
    unfinished = cache_folder() / "unfinished"
    return {
        "configuration": configuration_folder(),
        "connections": len(ConnectionFile().connections()),
        "recent": len(Recents().entries()),
        "undo": len(_undo_copies()),
        "cache": cache_folder(),
        "unfinished": len([*unfinished.glob("*.jsonl")]),
        "disk_cache": cache.folder,
        "disk_cache_bytes": cache.bytes,
    }


def _undo_copies() -> list[Path]:
    from napari_omezarr.user_files import configuration_folder

    return [*(configuration_folder() / "undo").glob("*/*.json")]


def _clear(name: str) -> None:
    from napari_omezarr.browsing.thumbnails import clear_thumbnail_cache  # not its face
    from napari_omezarr.store import clear_disk_cache
    from napari_omezarr.user_files import Recents

    if name == "cache":
        clear_disk_cache()
        clear_thumbnail_cache()
    elif name == "recent":
        Recents().clear()
    else:
        for file in _undo_copies():
            file.unlink(missing_ok=True)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, options, paths and connections.

    In bash: eval "$(napari-omezarr completion bash)", in ~/.bashrc to keep it.
    """
    from click.shell_completion import get_completion_class

    from .command import main

    kind = get_completion_class(shell)
    assert kind is not None
    name = "napari-omezarr"
    click.echo(kind(main, {}, name, "_NAPARI_OMEZARR_COMPLETE").source())


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def connections(ctx: click.Context, as_json: bool) -> None:
    """List, test, add and import connections; without a command they are listed."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)


@connections.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List your connections, without their keys."""
    from napari_omezarr.connections import ConnectionFile

    found = ConnectionFile().connections()
    if as_json:
        print_json([each.profile for each in found])
        return
    rows = [
        (each.name, each.profile.endpoint or "AWS", each.profile.sign_in)
        for each in found
    ]
    for line in table(rows) if rows else ("no connections",):
        echo(line)


@connections.command("test")
@click.argument("name")
@click.argument("address", default="")
@json_option
def test(name: str, address: str, as_json: bool) -> None:
    """Try what a connection may do: list buckets, list a place, read there.

    The exit code is 1 if nothing of what was tried works.
    """
    from napari_omezarr.browsing import check_connection, start
    from napari_omezarr.connections import find_profile

    checks = start(check_connection(find_profile(name), address)).result()
    if as_json:
        print_json(checks)
    else:
        for check in checks:
            echo(f"{check.what}: {check.sentence} {check.action}".rstrip())
    tried = [check.works for check in checks if check.works is not None]
    if tried and not any(tried):
        click.get_current_context().exit(1)


@connections.command("add")
@click.argument("name")
@click.option(
    "--endpoint", metavar="URL", help="Web address of an S3-compatible service."
)
@click.option("--region", metavar="NAME", help="Region of the buckets.")
@click.option(
    "--profile",
    metavar="NAME",
    help="Profile in AWS's configuration files that signs in.",
)
@click.option("--anonymous", is_flag=True, help="Never sign in.")
@click.option(
    "--start", default="", metavar="ADDRESS", help="Address where browsing begins."
)
@json_option
def add(
    name: str, anonymous: bool, start: str, as_json: bool, **reached: str | None
) -> None:
    """Add a connection, or replace the one of this name; keys are typed in napari."""
    from napari_omezarr.connections import Connection, ConnectionFile, Profile, checked

    if not name.strip():
        raise click.UsageError("A connection needs a name.")
    made = Profile(
        name.strip(),
        aws_profile=reached["profile"],
        endpoint=reached["endpoint"],
        region=reached["region"],
        sign_in="anonymous" if anonymous else "automatic",
        start=start,
    )
    ConnectionFile().save(Connection(checked(made)))
    print_done(f"{name} is kept.", {"name": name}, as_json=as_json)


@connections.command("import")
@click.option(
    "--aws", is_flag=True, help="Take the profiles in AWS's configuration files."
)
@click.option(
    "--mc",
    "mc_file",
    type=PLACE,
    is_flag=False,
    flag_value="",
    help="Take the aliases of the MinIO client; its usual file if none is named.",
)
@json_option
def import_(aws: bool, mc_file: str | None, as_json: bool) -> None:
    """Take over connections of other programs; yours of the same name stay."""
    from napari_omezarr.connections import Connection, ConnectionFile, from_aws, from_mc
    from napari_omezarr.errors import NodeNotFoundError

    if not aws and mc_file is None:
        raise click.UsageError("Say whose connections: --aws, --mc, or both.")
    if mc_file and not Path(mc_file).is_file():
        sentence = f"There is no file {mc_file}."
        raise NodeNotFoundError(sentence, action="Name the config.json of mc.")
    kept = ConnectionFile()
    names = {each.name for each in kept.connections()}
    found = list(from_aws()) if aws else []
    if mc_file is not None:
        found += from_mc(Path(mc_file) if mc_file else None)
    new = [profile for profile in found if profile.name not in names]
    for profile in new:
        kept.save(Connection(profile))
    if as_json:
        print_json([profile.name for profile in new])
        return
    for profile in new:
        echo(profile.name)
