"""Commands for the program itself: settings, completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .output import json_option, print_json, table

if TYPE_CHECKING:
    from pathlib import Path

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
