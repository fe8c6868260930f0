"""Files that a reader finds whole, and that one process at a time changes."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import hashlib
import os
import re
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from functools import cache, partial
from io import FileIO
from itertools import count
from pathlib import Path
from threading import Condition, Semaphore
from typing import TYPE_CHECKING
from uuid import uuid4
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

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
_IS_PARTIAL = re.compile(
    rf"(\..+|.+\.([0-9a-f]{{8}}|[0-9a-f]{{32}})){re.escape(PARTIAL)}", re.DOTALL
)

_PROCESS = uuid4().hex[:16]
_numbers = count()

_LONGEST_NAME = 255
_NOT_KNOWN = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
_HERE = -100
"""What Linux calls the folder that relative names are in."""


def beside(file: Path, ending: str, beginning: str = "") -> Path:
    """Name what lies beside a file, after it, however long its own name is.

    Names are of at most 255 bytes nearly everywhere.
    """
    name = f"{beginning}{file.name}{ending}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        whole = os.fsencode(file.name)
        digest = hashlib.blake2b(whole, digest_size=8).hexdigest()
        kept = whole[: _LONGEST_NAME // 2].decode(errors="ignore")
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
    fresh = beside(file, PARTIAL, ".") if alone else file.with_name(_own_name())
    try:
        if not fresh.parent.is_dir():
            fresh.parent.mkdir(parents=True, exist_ok=True)
        yield fresh
        if durable:
            flush_to_disk(fresh)
        fresh.replace(file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    if durable:
        flush_to_disk(file.parent)


@asynccontextmanager
async def replacing_in_threads(file: Path) -> AsyncIterator[Path]:
    """Do as `replacing` for who runs on an event loop, which waits for no disk."""
    making = replacing(file)
    fresh = await asyncio.to_thread(making.__enter__)
    try:
        yield fresh
    finally:
        await asyncio.to_thread(making.__exit__, *sys.exc_info())


def put_whole(root: str, key: str, body: bytes) -> None:
    """Write a file below a folder as `replacing` does: one of many, and mostly small.

    Names are strings here: to make a path takes as long as to write such a file.
    """
    file = f"{root}/{key}"
    folder = file.rpartition("/")[0]
    fresh = f"{folder}/{_own_name()}"
    try:
        try:
            out = FileIO(fresh, "wb")
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103
            out = FileIO(fresh, "wb")
        with out:
            write_all(out, body)
        os.replace(fresh, file)  # noqa: PTH105
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def write_all(out: FileIO, body: bytes | memoryview) -> None:
    """Write all of a body: the system takes what it likes at a time."""
    left = memoryview(body)
    while left:
        left = left[out.write(left) :]


def write_at(file: Path, start: int, body: bytes) -> None:
    """Write a body at its place in a file, which is made if it is not there."""
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
    with FileIO(os.open(file, flags, 0o666), "wb") as out:
        out.seek(start)
        write_all(out, body)


def _own_name() -> str:
    """Name a file that is being written, as nobody else does."""
    return f".{_PROCESS}-{os.getpid():x}-{next(_numbers):x}{PARTIAL}"


def is_partial(name: str) -> bool:
    """Say whether a file is one that was being written: by us, by zarr or fsspec.

    What a person calls so is her own, and stays.

    >>> is_partial(".0-1f-3.partial"), is_partial("results.partial")
    (True, False)
    """
    return _IS_PARTIAL.fullmatch(name) is not None


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
    library = system_library()
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


@cache
def system_library() -> ctypes.CDLL | None:
    """Give the system's functions, where there are those of C; they set `errno`."""
    return ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a loss of power."""
    if sys.platform == "win32" and path.is_dir():
        return  # a folder cannot be opened there
    is_folder = path.is_dir()
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        if is_folder:
            facts = os.fstat(descriptor)
            done_once((facts.st_dev, facts.st_ino), partial(os.fsync, descriptor))
        else:
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
    library = system_library() if sys.platform == "linux" else None
    if library is not None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            device = os.fstat(descriptor).st_dev
            if done_once((device,), partial(library.syncfs, descriptor)) == 0:
                return
        finally:
            os.close(descriptor)
    for path in (*folder.rglob("*"), folder):
        flush_to_disk(path)


# Threads that save small images wait for the disk most of the time, and all for the
# same: one wait that begins after all have written is enough for all of them.


class _Wait:
    """Something that is waited for again and again, one time after the other."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.begun = self.ended = self.succeeded = 0
        self.outcome: int | None = None


_waits: WeakValueDictionary[tuple[int, ...], _Wait] = WeakValueDictionary()


_turn: ContextVar[Semaphore | None] = ContextVar("turn", default=None)


@contextmanager
def taking_turns(turns: Semaphore) -> Iterator[None]:
    """Work in turn with other threads; while one waits for the disk it is another's.

    More threads than processors, all at work, take Python's lock from each other.
    """
    with turns:
        token = _turn.set(turns)
        try:
            yield
        finally:
            _turn.reset(token)


def done_once(what: tuple[int, ...], wait: Callable[[], int | None]) -> int | None:
    """Wait for something, or for who waits for the same and began after this call.

    What another's wait has raised is found out by waiting once more.
    """
    turns = _turn.get()
    if turns is None:
        return _done_once(what, wait)
    turns.release()
    try:
        return _done_once(what, wait)
    finally:
        turns.acquire()


def _done_once(what: tuple[int, ...], wait: Callable[[], int | None]) -> int | None:
    shared = _waits.setdefault(what, _Wait())
    with shared.changed:
        wanted = shared.begun + 1
        while shared.begun > shared.ended and shared.succeeded < wanted:
            shared.changed.wait()
        if shared.succeeded >= wanted:
            return shared.outcome
        shared.begun = number = shared.begun + 1
    try:
        shared.outcome = wait()
        shared.succeeded = number
        return shared.outcome
    finally:
        with shared.changed:
            shared.ended = number
            shared.changed.notify_all()


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
