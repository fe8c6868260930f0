"""Making this plugin the preferred reader, so that napari does not ask which one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.settings import get_settings
from napari.utils.notifications import show_info

from napari_omezarr.user_files import configuration_folder, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLUGIN = "napari-omezarr"

PATTERNS = (
    "*.zarr",
    "*.zarr/*",
    "*.zarr[?]*",
    "*.zarr.zip",
    "*.zarr.zip[?]*",
    "*.ozx",
    "*.ozx[?]*",
)
"""Against what napari makes of an address: an absolute path, folders with a slash at
their end. Bucket addresses without these names are claimed by no other reader."""


def preferred(choices: Mapping[str, str]) -> dict[str, str]:
    """Give napari's reader choices with ours for OME-Zarr.

    Ours come first, because napari takes the first of equally specific patterns. A
    ``*`` of ours is dropped: napari's chooser stores it for addresses that end in a
    slash or a query, and would then send every file here.
    """
    others = {
        pattern: plugin
        for pattern, plugin in choices.items()
        if pattern not in PATTERNS and (pattern, plugin) != ("*", PLUGIN)
    }
    return {**dict.fromkeys(PATTERNS, PLUGIN), **others}


def restored(choices: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Give napari's reader choices without ours, and with those that ours replaced."""
    others = {p: plugin for p, plugin in choices.items() if plugin != PLUGIN}
    return {**before, **others}


def prefer() -> None:
    """Become the preferred reader, and say so."""
    plugins = get_settings().plugins
    choices = dict(plugins.extension2reader)
    replaced = {
        pattern: choices[pattern]
        for pattern in PATTERNS
        if choices.get(pattern, PLUGIN) != PLUGIN
    }
    if replaced:
        write_json(_memory(), {**_replaced(), **replaced})
    plugins.extension2reader = preferred(choices)
    show_info(
        "OME-Zarr (.zarr, .zarr.zip, .ozx) now opens with this plugin without a"
        " question. “Stop using OME-Zarr as the preferred reader” undoes it."
    )


def stop_preferring() -> None:
    """Let napari ask again, or use the readers of before, and say so."""
    plugins = get_settings().plugins
    before = _replaced()
    plugins.extension2reader = restored(plugins.extension2reader, before)
    _memory().unlink(missing_ok=True)
    readers = ", ".join(sorted(set(before.values())))
    show_info(
        f"OME-Zarr opens with {readers} again."
        if readers
        else "napari will ask again which reader opens OME-Zarr."
    )


def _memory() -> Path:
    return configuration_folder() / "replaced-readers.json"


def _replaced() -> dict[str, str]:
    """Give the choices that ours replaced, as far as the file makes sense."""
    content = read_json(_memory())
    pairs = content.items() if isinstance(content, dict) else ()
    return {p: r for p, r in pairs if p in PATTERNS and isinstance(r, str)}
