"""Small JSON files in the person's configuration folder; never for secrets."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import platformdirs

FOLDER_VARIABLE = "NAPARI_OMEZARR_CONFIG"
"""An environment variable that names another folder, for tests and shared homes."""

CACHE_VARIABLE = "NAPARI_OMEZARR_CACHE"
"""The same for what may be lost: the journals of unfinished saves."""


def cache_folder() -> Path:
    """Give the folder of files that may be deleted at any time; it need not exist."""
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder)
    return Path(platformdirs.user_cache_dir("napari-omezarr", appauthor=False))


def configuration_folder() -> Path:
    """Give the folder of our files; it need not exist."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder)
    return Path(platformdirs.user_config_dir("napari-omezarr", appauthor=False))


def read_json(file: Path) -> Any:
    """Read a file; None where there is none or where it is broken."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def write_json(file: Path, value: Any) -> None:
    """Write a file so that a reader finds the old one or the new one, never half.

    Raises
    ------
    OSError
        The folder cannot be made, or cannot be written to.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    fresh = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=1)
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
