"""What the person has set for good: the preferred reader, the disk cache."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.settings import get_plugin_settings, get_settings

from napari_omezarr.display.notifications import show_error, show_info
from napari_omezarr.user_files import configuration_folder, read_json, write_json

from .qt_async import Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
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

MEGABYTE = 2**20
GIGABYTE = 2**30
HOUR = 3600

# The preferred reader, so that napari does not ask which one.


def preferred(choices: Mapping[str, str]) -> dict[str, str]:
    """Return napari's reader choices with ours for OME-Zarr.

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
    """Return napari's reader choices with those that ours have replaced."""
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
        " question. The same command undoes it."
    )


def toggle_preferred() -> None:
    """Become the preferred reader, or be it no longer."""
    choices = get_settings().plugins.extension2reader
    if all(choices.get(pattern) == PLUGIN for pattern in PATTERNS):
        stop_preferring()
    else:
        prefer()


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
    """Return the choices that ours replaced, as far as the file makes sense."""
    content = read_json(_memory())
    pairs = content.items() if isinstance(content, dict) else ()
    return {p: r for p, r in pairs if p in PATTERNS and isinstance(r, str)}


# The disk cache as the person has set it, and the command that clears it.


def follow_settings() -> None:
    """Turn the disk cache on or off for what is opened from now on; reads no file."""
    # Late, for choosing a reader needs nothing of the store.
    from napari_omezarr.store import set_disk_cache

    settings = _settings()
    on = bool(getattr(settings, "enabled", False))
    set_disk_cache(
        getattr(settings, "folder", "") or None,
        size=int(getattr(settings, "size_gb", 10) * GIGABYTE) if on else 0,
        max_age=getattr(settings, "max_age_hours", 1) * HOUR,
    )


def clear() -> Task:
    """Delete what the cache holds, and all thumbnails, in a thread, and say so."""
    folder = getattr(_settings(), "folder", "") or None
    return Task(partial(_clear, folder)).start(_tell)


def thumbnail_room() -> int:
    """Return how many bytes of thumbnails may be kept; reads no file."""
    return int(getattr(_settings(), "thumbnails_mb", 64) * MEGABYTE)


# What the browser remembers of how it was left.


def browser_preferences() -> dict[str, Any]:
    """Return what is remembered; nothing at first."""
    content = read_json(_browser_file())
    return content if isinstance(content, dict) else {}


def keep_browser_preferences(**values: Any) -> None:
    """Remember something more until the next time; it holds no secret."""
    # A read-only home is no reason to fail at anything.
    with suppress(OSError):
        write_json(_browser_file(), {**browser_preferences(), **values})


def _browser_file() -> Path:
    return configuration_folder() / "browser.json"


def _clear(folder: str | None) -> None:
    # Late, for opening an image needs nothing of the browser.
    from napari_omezarr.browsing.thumbnails import clear_thumbnail_cache
    from napari_omezarr.store import clear_disk_cache

    clear_disk_cache(folder)
    clear_thumbnail_cache()


def _settings() -> Any:
    """Return the plugin's settings, None where the manifest is not installed."""
    try:
        return getattr(get_plugin_settings(PLUGIN), "cache", None)
    except KeyError:
        return None


def _tell(outcome: Future[None]) -> None:
    error = outcome.exception()
    if error is None:
        show_info("The disk cache is empty, and no thumbnail is kept.")
    else:
        show_error(f"The disk cache could not be cleared: {error}.")
