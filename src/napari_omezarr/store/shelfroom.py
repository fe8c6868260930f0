"""The folder of the disk cache, and how much may lie in it."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = "napari-omezarr-cache-1"  # the number is that of the files' format
_UNFINISHED = "unfinished"
_DRAWER = 3  # so many digits name the folder that a file lies in: 4,096 of them
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# https://bford.info/cachedir/\n"
_BLOCK = 4096
_OVERHEAD = 512
_ABANDONED = 3600 * 10**9


class _File(NamedTuple):
    used: int
    weight: int
    path: str
    unfinished: bool


class ShelfRoom:
    """Files of a folder, the least recently used deleted when there are too many.

    A process looks what is there when it writes first, and again whenever it has
    written a thirty-second of the size, and makes an eighth of the size free. It
    does so in a thread, and waits for that only when it has written as much again.
    So two processes that write at once keep within the size; of more, each may go
    beyond by a sixteenth until it has looked.

    Parameters
    ----------
    folder : Path
        Our files go into a folder of their own in there.
    size : int
        Bytes on disk at most, with what a file system needs besides, estimated.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.base = folder
        self.folder = folder / _FOLDER
        self.size = size
        self._step = size // 32
        self._written = self._step
        self._counting = threading.Lock()
        self._looking = threading.Lock()
        self._looker: threading.Thread | None = None

    def path(self, name: str) -> Path:
        """Say where a file lies."""
        return self.folder / name[:_DRAWER] / name

    def names(self, key: str) -> list[str]:
        """List the names that begin with a key."""
        drawer = _scanned(self.folder / key[:_DRAWER])
        return [entry.name for entry in drawer if entry.name.startswith(key)]

    def put(self, name: str, *pieces: bytes) -> None:
        """Write a file, whole or not at all; not one larger than a thirty-second.

        Raises
        ------
        OSError
            If that cannot be done.
        """
        weight = _weight(sum(len(piece) for piece in pieces))
        if weight > self._step:
            return
        if self._is_due(weight):
            self._look()
        file = self._unfinished(pieces)
        path = self.path(name)
        try:
            try:
                file.replace(path)
            except FileNotFoundError:
                path.parent.mkdir(exist_ok=True)
                file.replace(path)
        finally:
            file.unlink(missing_ok=True)

    def make_room(self) -> None:
        """Delete what was used longest ago until an eighth of the size is free.

        What a process was writing when it was killed goes after an hour.
        """
        files = list(self._files())
        excess = sum(file.weight for file in files) - (self.size - 4 * self._step)
        if excess > 0:
            files.sort(key=attrgetter("used"))
        long_ago = time.time_ns() - _ABANDONED
        for file in files:
            if file.used < long_ago if file.unfinished else excess > 0:
                excess -= file.weight
                _delete(file)

    def contents(self) -> tuple[int, int]:
        """Count the bytes on disk and the files, by looking at each."""
        weights = [file.weight for file in self._files()]
        return sum(weights), len(weights)

    def clear(self) -> None:
        """Delete all files, and none that is not ours."""
        for file in self._files():
            _delete(file)

    def _unfinished(self, pieces: tuple[bytes, ...]) -> Path:
        """Write beside, in a folder that only this person may look into."""
        beside = self.folder / _UNFINISHED
        if not beside.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / "CACHEDIR.TAG").write_text(_TAG)
            beside.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(dir=beside)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.writelines(pieces)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        return Path(name)

    def _is_due(self, weight: int) -> bool:
        """Count what is written; true for one thread each time that room is needed."""
        with self._counting:
            self._written += weight
            due = self._written > self._step
            if due:
                self._written = weight
            return due

    def _look(self) -> None:
        with self._looking:
            if self._looker:
                self._looker.join()
            self._looker = threading.Thread(target=self.make_room, daemon=True)
            self._looker.start()

    def _files(self) -> Iterator[_File]:
        """Find all our files; those that vanish meanwhile are left out."""
        for drawer in _scanned(self.folder):
            if drawer.is_dir(follow_symlinks=False):
                unfinished = drawer.name == _UNFINISHED
                for file in _scanned(drawer.path):
                    with suppress(OSError):
                        times = file.stat(follow_symlinks=False)
                        weight = _weight(times.st_size)
                        yield _File(times.st_atime_ns, weight, file.path, unfinished)


def _delete(file: _File) -> None:
    with suppress(OSError):
        Path(file.path).unlink()


def _scanned(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _weight(size: int) -> int:
    """Estimate what a file takes on disk."""
    return _OVERHEAD + -(-size // _BLOCK) * _BLOCK
