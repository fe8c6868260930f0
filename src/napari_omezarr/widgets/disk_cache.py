"""The disk cache as the person has set it, and the command that clears it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.settings import get_plugin_settings
from napari.utils.notifications import show_error, show_info

from napari_omezarr.store import clear_disk_cache, set_disk_cache

from .job import Job

if TYPE_CHECKING:
    from concurrent.futures import Future

MEGABYTE = 2**20
GIGABYTE = 2**30
HOUR = 3600


def follow_settings() -> None:
    """Turn the disk cache on or off for what is opened from now on; reads no file."""
    wish = _settings()
    on = bool(getattr(wish, "enabled", False))
    set_disk_cache(
        getattr(wish, "folder", "") or None,
        size=int(getattr(wish, "size_gb", 10) * GIGABYTE) if on else 0,
        max_age=getattr(wish, "max_age_hours", 1) * HOUR,
    )


def clear() -> Job:
    """Delete what the cache holds, and all thumbnails, in a thread, and say so."""
    folder = getattr(_settings(), "folder", "") or None
    return Job(partial(_clear, folder)).start(_tell)


def thumbnail_room() -> int:
    """Give the bytes of thumbnails that the person lets be kept; reads no file."""
    return int(getattr(_settings(), "thumbnails_mb", 64) * MEGABYTE)


def _clear(folder: str | None) -> None:
    # Late, for opening an image needs nothing of the browser.
    from napari_omezarr.browsing.thumbnails import clear_thumbnail_cache

    clear_disk_cache(folder)
    clear_thumbnail_cache()


def _settings() -> Any:
    """Give the plugin's settings, None where the manifest is not installed."""
    try:
        return getattr(get_plugin_settings("napari-omezarr"), "cache", None)
    except KeyError:
        return None


def _tell(outcome: Future[None]) -> None:
    error = outcome.exception()
    if error is None:
        show_info("The disk cache is empty, and no thumbnail is kept.")
    else:
        show_error(f"The disk cache could not be cleared: {error}.")
