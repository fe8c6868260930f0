"""Files of this computer, read and listed in threads."""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from napari_omezarr.errors import NodeNotFoundError, StoreError
from napari_omezarr.location import is_below

from .backend import (
    LOCAL_CONCURRENCY,
    GetResult,
    ObjectBackend,
    ObjectMeta,
    RequestStats,
    most_bytes,
    span,
)
from .error_mapping import NO_FILE, ErrorContext, Reason, RequestFailed, translate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zarr.abc.store import ByteRequest

    from napari_omezarr.location import Location

# Not blocking: to open a pipe waits for who writes into it.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


_LOOKED_AT = 2_000
_ALIKE = 0.8
"""Names that are compared with one that is not there, and how alike a slip is."""


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
        with os.fdopen(os.open(file, _FLAGS), "rb") as opened:
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
        _refuse_broken(file)
        return None
    except PermissionError:
        if file.is_dir():  # how Windows refuses to open a folder as a file
            return None
        raise


def open_stored(file: str) -> tuple[FileIO, int] | None:
    """Open a file to read it, and give its size too; None where there is none.

    Raises
    ------
    OSError
        The disk refuses it.
    StoreError
        It is a pipe or a device.
    """
    try:
        descriptor = os.open(file, _FLAGS)
    except NO_FILE:
        _refuse_broken(file)
        return None
    except PermissionError:
        if Path(file).is_dir():  # how Windows refuses to open a folder as a file
            return None
        raise
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode):
        return FileIO(descriptor), facts.st_size
    os.close(descriptor)
    if stat.S_ISDIR(facts.st_mode):
        return None
    raise _no_file(Path(file))


def is_stored(file: Path) -> bool:
    """Whether there is such a file.

    Not ``Path.is_file``, for which what a disk refuses is not there.

    Raises
    ------
    OSError
        The disk refuses to say it.
    StoreError
        It is a pipe or a device, which nobody should open: that waits for who writes.
    """
    try:
        mode = file.stat().st_mode
    except NO_FILE:
        _refuse_broken(file)
        return False
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _no_file(file)
    return stat.S_ISREG(mode)


def _refuse_broken(file: str | Path) -> None:
    """Refuse a link to what is not there: a chunk that was not fetched is no zeros."""
    if Path(file).is_symlink() and not Path(file).exists():
        sentence = f"{file} is a link, and the file that it leads to is not there."
        action = "Fetch the file, as with datalad get, or remove the link."
        raise StoreError(sentence, action=action, url=str(file))


def _no_file(file: Path) -> StoreError:
    sentence = f"{file} is a device or a pipe, and no file."
    return StoreError(sentence, action="Choose a folder of files.", url=str(file))


# What lies in a folder.


def nothing_at(location: Location, sentence: str, action: str) -> NodeNotFoundError:
    """Say that a place is not what was looked for; of a file, what can be done."""
    where = location.display
    if location.protocol == "file" and location.local_path().is_file():
        sentence = f"{where} is a file, and no OME-Zarr."
        action = "Convert it first, or choose the folder that it lies in."
    elif location.protocol == "file" and (near := _alike(location.local_path())):
        action = f"{action} Beside it lies {near}."
    return NodeNotFoundError(sentence, action=action, url=where)


def _alike(path: Path) -> str:
    """Give the name that lies beside a missing path and is nearly its own, or none."""
    try:
        if path.exists():
            return ""
        names = islice((each.name for each in path.parent.iterdir()), _LOOKED_AT)
        return next(iter(get_close_matches(path.name, names, 1, _ALIKE)), "")
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class FolderItems:
    """The items of a folder of this computer."""

    location: Location

    @property
    def folder(self) -> Path:
        """Its path."""
        return self.location.local_path()

    async def __call__(self) -> Iterable[ObjectMeta]:
        """Look into the folder, in a thread."""
        try:
            return await asyncio.to_thread(_in_folder, self.folder)
        except (FileNotFoundError, NotADirectoryError):
            sentence = f"There is no folder {self.location.display}."
            raise await asyncio.to_thread(
                nothing_at, self.location, sentence, "Check the address."
            ) from None
        except OSError as error:
            raise translate(error, ErrorContext(self.location.display)) from None

    async def deep(self) -> Iterable[ObjectMeta]:
        """Walk the folder, in a thread, and folders that it has links to."""
        try:
            return await asyncio.to_thread(_below, self.folder)
        except OSError as error:
            raise translate(error, ErrorContext(self.location.display)) from None


def _in_folder(folder: Path) -> list[ObjectMeta]:
    items = []
    for path in folder.iterdir():
        known = _facts(path)
        if known is None:
            continue
        when = datetime.fromtimestamp(known.st_mtime, UTC)
        written = when.isoformat(timespec="seconds").replace("+00:00", "Z")
        is_folder = path.is_dir()
        size = None if is_folder else known.st_size
        items.append(ObjectMeta(path.name, is_folder, size, written))
    return items


def _below(folder: Path) -> list[ObjectMeta]:
    found = []
    waiting: list[tuple[str, str, tuple[str, ...]]]
    waiting = [("", os.path.realpath(folder), ())]
    while waiting:
        inside, here, links = waiting.pop()
        for entry in _entries(here):
            name, is_link = f"{inside}{entry.name}", entry.is_symlink()
            if is_link and Path(entry.path).is_dir():
                there, seen = os.path.realpath(entry.path), (*links, here)
                # One that leads to what it lies in has no end.
                if not any(Path(each).is_relative_to(there) for each in seen):
                    waiting.append((f"{name}/", there, seen))
            elif not is_link and entry.is_dir():
                waiting.append((f"{name}/", entry.path, links))
            elif (known := _facts(entry)) is not None:
                found.append(ObjectMeta(name, False, known.st_size))
    return found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [*entries]
    except NO_FILE:  # it has gone meanwhile
        return []


def _facts(file: Path | os.DirEntry[str]) -> os.stat_result | None:
    """Give what is known of a file, or of a link to nowhere; None if it has gone."""
    with suppress(OSError):
        return file.stat()
    with suppress(OSError):
        return os.lstat(file)
    return None
