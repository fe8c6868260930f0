"""Thumbnails on disk, by the address and the version of what they were made from."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from napari_omezarr.configuration import cache_folder

if TYPE_CHECKING:
    from napari_omezarr.location import Location

_MOST = 500

_log = logging.getLogger(__name__)


class Pictures:
    """Small pictures in files that may be deleted at any time.

    Parameters
    ----------
    folder : Path, optional
        Where; by default ``thumbnails`` in the cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "thumbnails"

    def find(self, location: Location, version: str) -> np.ndarray | None:
        """Find a picture, rows x columns x RGB; None if none is of this version."""
        file = self._file(location, version)
        if file is None:
            return None
        try:
            with Image.open(file) as picture:
                return np.asarray(picture.convert("RGB"))
        except (OSError, UnidentifiedImageError):
            return None

    def keep(self, location: Location, version: str, picture: np.ndarray) -> None:
        """Keep a picture, and let the oldest go where there are very many.

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
        """Delete all pictures."""
        for file in self.folder.glob("*.png"):
            with suppress(OSError):
                file.unlink()

    def _prune(self) -> None:
        files = sorted(self.folder.glob("*.png"), key=_age)
        for file in files[: max(0, len(files) - _MOST)]:
            with suppress(OSError):
                file.unlink()

    def _file(self, location: Location, version: str) -> Path | None:
        if not version:
            return None
        # Hashed, so that no address can be read from the names of the files.
        name = hashlib.sha256(f"{location.display}\n{version}".encode()).hexdigest()
        return self.folder / f"{name}.png"


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0
