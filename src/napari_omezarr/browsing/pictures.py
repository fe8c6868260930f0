"""Thumbnails on disk, by the address and the version of what they were made from."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from napari_omezarr.user_files import cache_folder

if TYPE_CHECKING:
    from napari_omezarr.location import Location

MOST_BYTES = 64 * 2**20
"""What the pictures take on disk at most, unless somebody says otherwise."""

_log = logging.getLogger(__name__)
_room = {"bytes": MOST_BYTES}


def set_thumbnail_cache(size: int = MOST_BYTES) -> None:
    """Say how many bytes of thumbnails are kept on disk; 0 keeps none, and uses none.

    When the next picture is kept, what is too much goes: first what was used longest
    ago.
    """
    _room["bytes"] = size


def clear_thumbnail_cache() -> None:
    """Delete all thumbnails that are kept on disk; blocks."""
    Pictures().clear()


class Pictures:
    """Small pictures in files that may be deleted at any time.

    Parameters
    ----------
    folder : Path, optional
        Where; by default ``thumbnails`` in the cache folder.
    size : int, optional
        How many bytes they take at most; by default what `set_thumbnail_cache` says.
    """

    def __init__(self, folder: Path | None = None, *, size: int | None = None) -> None:
        self.folder = folder or cache_folder() / "thumbnails"
        self.size = _room["bytes"] if size is None else size

    def find(self, location: Location, version: str) -> np.ndarray | None:
        """Find a picture, rows x columns x RGB; None if none is of this version."""
        file = self._file(location, version)
        if file is None:
            return None
        try:
            with Image.open(file) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            os.utime(file)
        except (OSError, UnidentifiedImageError):
            return None
        return pixels

    def keep(self, location: Location, version: str, picture: np.ndarray) -> None:
        """Keep a picture, and let those go that were used longest ago.

        Without a version, nothing is kept: nobody could say when it is outdated.
        """
        file = self._file(location, version)
        if file is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
            with os.fdopen(handle, "wb") as stream:
                Image.fromarray(picture).save(stream, "PNG")
            Path(name).replace(file)
            self._prune()
        except OSError as error:
            # A full disk is no reason to show no picture.
            _log.info("A thumbnail was not kept: %s", error)

    def clear(self) -> None:
        """Delete all pictures, and what an interrupted process left of one."""
        for file in (*self.folder.glob("*.png"), *self.folder.glob("*.part")):
            with suppress(OSError):
                file.unlink()

    def _prune(self) -> None:
        taken = 0
        files = ((file, *_facts(file)) for file in self.folder.glob("*.png"))
        for file, _, size in sorted(files, key=itemgetter(1), reverse=True):
            taken += size
            if taken > self.size:
                with suppress(OSError):
                    file.unlink()

    def _file(self, location: Location, version: str) -> Path | None:
        if not version or self.size <= 0:
            return None
        # Hashed, so that no address can be read from the names of the files.
        name = hashlib.sha256(f"{location.display}\n{version}".encode()).hexdigest()
        return self.folder / f"{name}.png"


def _facts(file: Path) -> tuple[int, int]:
    """Say when a file was used, and how large it is; another process may delete it."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
