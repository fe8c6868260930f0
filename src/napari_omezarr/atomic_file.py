"""Files that a reader finds whole, and that one process at a time changes."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        # Far behind what it says: nobody reads what is locked.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


PARTIAL = ".partial"
"""How the name of a file ends that is being written."""


_LONGEST_NAME = 255
_NOT_KNOWN = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
_HERE = -100
"""What Linux calls the folder that relative names are in."""


def beside(file: Path, ending: str, beginning: str = "") -> Path:
    """Name what lies beside a file, after it, however long its own name is.

    Names are of at most 255 bytes nearly everywhere.
    """
    name = f"{beginning}{file.name}{ending}"
    if len(name.encode()) > _LONGEST_NAME:
        digest = hashlib.blake2b(file.name.encode(), digest_size=8).hexdigest()
        kept = file.name.encode()[: _LONGEST_NAME // 2].decode(errors="ignore")
        name = f"{beginning}{kept}-{digest}{ending}"
    return file.with_name(name)


@contextmanager
def replacing(
    file: Path, *, durable: bool = False, alone: bool = False
) -> Iterator[Path]:
    """Write a file beside its place, and rename it when the block ends well.

    Yields what to write, in the same folder: only there a rename is one step. It is
    gone when the block fails. A process that is killed leaves it behind, under a name
    that begins with a dot and ends with `PARTIAL`. ``durable``: what was written is on
    the disk before it gets its name, so that a loss of power leaves no empty file.
    ``alone``: nobody else writes the file meanwhile, and what was left behind of it is
    written over.
    """
    folder = file.parent
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
    own = f".{uuid4().hex}{PARTIAL}"
    fresh = beside(file, PARTIAL, ".") if alone else folder / own
    try:
        yield fresh
        if durable:
            flush_to_disk(fresh)
        fresh.replace(file)
        if durable:
            flush_to_disk(folder)
    finally:
        fresh.unlink(missing_ok=True)


def rename_new(old: Path, new: Path) -> None:
    """Rename a file or a folder to a name that is free.

    To look first and to rename then would replace what came between.

    Raises
    ------
    FileExistsError
        The name is not free; all is as it was.
    """
    number = _renamed_alone(old, new)
    if number == 0:
        return
    if number not in _NOT_KNOWN:
        raise OSError(number, os.strerror(number), str(old), None, str(new))
    if old.is_file() and not old.is_symlink():
        with suppress(PermissionError):  # as FAT says that it knows no links
            os.link(old, new)
            old.unlink()
            return
    taken = FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new))
    if os.path.lexists(new):
        raise taken
    try:
        old.rename(new)  # a folder with something in it is replaced nowhere
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise taken from error
        raise


def _renamed_alone(old: Path, new: Path) -> int:
    """Rename in one step that replaces nothing; gives the system's error, or 0."""
    library = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    if library is None:
        return errno.ENOSYS
    names = os.fsencode(old), os.fsencode(new)
    sys.audit("os.rename", str(old), str(new), -1, -1)  # as Python's own does
    if hasattr(library, "renameat2"):  # Linux
        failed = library.renameat2(_HERE, names[0], _HERE, names[1], 1)
    elif hasattr(library, "renamex_np"):  # macOS
        failed = library.renamex_np(*names, 4)
    else:
        return errno.ENOSYS
    return ctypes.get_errno() if failed else 0


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a loss of power."""
    if sys.platform == "win32" and path.is_dir():
        return  # a folder cannot be opened there
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_KNOWN:
            raise
    finally:
        os.close(descriptor)


def flush_below(folder: Path) -> None:
    """Wait until all that lies below a folder would survive a loss of power.

    Linux does it in one step, for all of a file system; elsewhere each file is done.
    """
    if sys.platform == "linux":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if ctypes.CDLL(None).syncfs(descriptor) == 0:
                return
        finally:
            os.close(descriptor)
    for path in (*folder.rglob("*"), folder):
        flush_to_disk(path)


# One process at a time, wherever it runs: the system's own lock of a file, which ends
# with its process however that ends. Libraries leave the file behind, which would then
# lie beside every chunk that was ever edited.

LOCK = ".lock"
"""How the name of a file ends that is there while another is changed."""
_LONGEST_WAIT = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02


class LockedError(Exception):
    """Somebody else holds a lock, and has done so for as long as we may wait."""


class FileLock:
    """A file that nobody else has locked; it is there only for as long as it is."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._descriptor = -1

    def take(self) -> bool:
        """Lock it, and make it for that; False where somebody else has it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:
            if sys.platform == "win32":  # about to be deleted
                return False
            raise
        try:
            _try_lock(descriptor)
            if os.path.samestat(self.file.stat(), os.fstat(descriptor)):
                self._descriptor = descriptor
                return True
        except (BlockingIOError, PermissionError, FileNotFoundError):
            pass
        finally:
            if self._descriptor != descriptor:
                os.close(descriptor)  # of somebody else, or one that lost its name
        return False

    def write(self, body: bytes) -> None:
        """Say something in it, for who finds it locked."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, body)

    def release(self) -> None:
        """Unlock it, and remove it."""
        # Whoever waits for this very file sees that it has lost its name.
        with suppress(OSError):  # Windows does not delete what others have open
            self.file.unlink()
        os.close(self._descriptor)
        self._descriptor = -1


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let nobody else be inside such a block for the same file, on any computer.

    Raises
    ------
    LockedError
        Somebody else was for a minute.
    """
    lock = FileLock(beside(file, LOCK, "."))
    until = time.monotonic() + _LONGEST_WAIT
    pause = _FIRST_PAUSE
    while not lock.take():
        if time.monotonic() >= until:
            raise LockedError
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    try:
        yield
    finally:
        lock.release()
