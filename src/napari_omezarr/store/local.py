"""Files of this computer, read in threads."""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING

from napari_omezarr.errors import StoreError
from napari_omezarr.location import is_below

from .absence import NO_FILE
from .backend import (
    LOCAL_CONCURRENCY,
    GetResult,
    ObjectBackend,
    RequestStats,
    most_bytes,
    span,
)
from .error_mapping import ErrorContext, Reason, RequestFailed

if TYPE_CHECKING:
    from pathlib import Path

    from zarr.abc.store import ByteRequest


class LocalBackend(ObjectBackend):
    """The files below a folder, or one file (its key is ``""``)."""

    def __init__(self, folder: Path) -> None:
        self.concurrency = LOCAL_CONCURRENCY
        self.stats = RequestStats()
        self._folder = folder

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a file, or a part of it."""
        if not is_below(key):
            return None
        self.stats.requests += 1
        file = self._folder / key if key else self._folder
        found = await asyncio.to_thread(_read, file, wanted)
        self.stats.received += len(found.body) if found else 0
        return found

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        return ErrorContext(url, doing=doing)


def _read(file: Path, wanted: ByteRequest | None) -> GetResult | None:
    try:
        # Not blocking: to open a pipe waits for who writes into it.
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        with os.fdopen(os.open(file, flags), "rb") as opened:
            facts = os.fstat(opened.fileno())
            if stat.S_ISDIR(facts.st_mode):
                return None
            if not stat.S_ISREG(facts.st_mode):
                raise _no_file(file)
            if wanted is None and facts.st_size > most_bytes():
                raise RequestFailed(reason=Reason.TOO_LONG)
            start, end = span(wanted, facts.st_size)
            opened.seek(start)
            body = opened.read(end - start)
            etag = f"{facts.st_ino:x}-{facts.st_mtime_ns:x}-{facts.st_size:x}"
            return GetResult(body, etag, facts.st_size)
    except NO_FILE:
        return None
    except PermissionError:
        if file.is_dir():  # how Windows refuses to open a folder as a file
            return None
        raise


def _no_file(file: Path) -> StoreError:
    sentence = f"{file} is a device or a pipe, and no file."
    return StoreError(sentence, action="Choose a folder of files.", url=str(file))
