"""What lies beside a place while it is saved to: which blocks are there, and whose."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from threading import Event, Lock, Thread, Timer
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_omezarr._io_loop import Stop
from napari_omezarr.atomic_file import FileLock, beside, flush_below, replacing
from napari_omezarr.errors import (
    AccessDeniedError,
    ConflictError,
    DiskFullError,
    OMEZarrError,
    StoreError,
)
from napari_omezarr.store import CLAIM
from napari_omezarr.user_files import kept_files

from . import update
from .hierarchy import Claim, digest, explained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from napari_omezarr.store import GetResult

    from .hierarchy import Hierarchy


Key = tuple[int, int, int]
"""The numbers of an image, of one of its passes, and of a block in that."""
Checks = tuple[tuple[int, int, int], ...]
"""Level, number of an object and its checksum; only of blocks that are verified."""
Ranges = tuple[tuple[int, float, float], ...]
"""A channel, its lowest and its highest finite value; of blocks that were read."""


_AT_RISK = 30.0
"""Seconds of work that a loss of power may cost."""


class BlockNote(NamedTuple):
    """What is noted of a block that is stored."""

    checks: Checks = ()
    ranges: Ranges = ()


class Journal:
    """A line for each finished block; a line that is cut off counts as not there.

    A file that is about the plan of another digest begins anew. ``folder`` is where the
    blocks are written, if that is on this computer: what the system had not brought to
    the disk is lost with the power, so every now and then all is brought there, and of
    what was noted before this computer was started only as much counts.
    """

    def __init__(self, path: Path, digest: str, folder: Path | None = None) -> None:
        self.path = path
        self.digest = digest
        self.done: dict[Key, BlockNote] = {}
        self._folder = folder
        self._safe = time.monotonic()
        first, *lines = _lines(path) or [None]
        self.is_new = not isinstance(first, dict) or first.get("plan") != digest
        if isinstance(first, dict) and not self.is_new:
            if folder is not None and first.get("started") != _started():
                marks = [n for n, line in enumerate(lines) if "safe" in line]
                lines = lines[: marks[-1]] if marks else []
            self.done = {_key(n): _written(n) for n in lines if "block" in n}

    def __enter__(self) -> Journal:
        """Open the file to go on, without the line that was cut off."""
        with self._noting():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(self.path) as fresh:
                kept = (_line(key, written) for key, written in self.done.items())
                fresh.write_text("".join([self._header(), *kept]), "utf-8")
            self._file = self.path.open("a", encoding="utf-8")
        return self

    def _header(self) -> str:
        return f"{json.dumps({'plan': self.digest, 'started': _started()})}\n"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._noting():
                self._file.close()  # what could not be written is tried once more
        except StoreError:
            if error is None:
                raise

    def begin_anew(self) -> None:
        """Forget what is done."""
        with self._noting():
            self._file.truncate(0)
            self._file.seek(0)
            self._file.write(self._header())
            self._file.flush()
        self.done.clear()

    def add(self, key: Key, written: BlockNote) -> None:
        """Note that a block is stored, with all its coarser levels."""
        with self._noting():
            self._file.write(_line(key, written))
            self._file.flush()
            if self._folder is not None and time.monotonic() - self._safe > _AT_RISK:
                flush_below(self._folder)
                self._file.write(f"{json.dumps({'safe': len(self.done)})}\n")
                self._file.flush()
                os.fsync(self._file.fileno())
                self._safe = time.monotonic()
        self.done[key] = written

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            with explained(str(self.path)), kept_files(self.path):
                yield
        except DiskFullError as error:
            raise DiskFullError(
                f"There is no room left at {self.path.parent}, where this computer "
                "notes what is saved.",
                action="Make room there, and resume.",
                url=error.url,
            ) from error

    def checks(self, key: Key) -> Checks:
        """Give the checksums of a block; none of one that is not done."""
        return self.done.get(key, BlockNote()).checks

    def ranges(self, image: int) -> dict[int, tuple[float, float]]:
        """Give the lowest and the highest value of each channel of an image."""
        found: dict[int, tuple[float, float]] = {}
        for (number, _, _), written in self.done.items():
            for channel, low, high in written.ranges if number == image else ():
                least, most = found.get(channel, (low, high))
                found[channel] = min(least, low), max(most, high)
        return found


def journal_digest(path: Path) -> str | None:
    """Give the digest of the plan that a journal is about; None where it says none."""
    first = next(iter(_lines(path)), None)
    digest = first.get("plan") if isinstance(first, dict) else None
    return digest if isinstance(digest, str) else None


def notes_blocks(path: Path) -> bool:
    """Whether a journal says of any block that it is stored."""
    return any("block" in line for line in _lines(path))


def _complete(path: Path) -> list[str]:
    """Give the lines up to the first that is not JSON."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return []
    lines = []
    for line in text.splitlines():
        try:
            json.loads(line)
        except ValueError:
            break
        lines.append(line)
    return lines


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in _complete(path)]


@cache
def _started() -> str:
    """Say when this computer was started, by a number; empty where nothing says it."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _line(key: Key, written: BlockNote) -> str:
    return f"{json.dumps({'block': key, **written._asdict()})}\n"


def _key(line: dict[str, Any]) -> Key:
    image, turn, block = line["block"]
    return image, turn, block


def _written(line: dict[str, Any]) -> BlockNote:
    checks = tuple((level, part, checksum) for level, part, checksum in line["checks"])
    ranges = tuple(
        (channel, low, high) for channel, low, high in line.get("ranges", ())
    )
    return BlockNote(checks, ranges)


# A place is claimed by who saves there, so that two never write to one.

RENEWED = 60.0
"""Seconds after which a claim in a bucket is renewed."""
GONE = 15 * 60.0
"""Seconds without that after which its owner counts as gone: services let clocks differ
by as much."""
PARTING = 10.0
"""Seconds that letting go may take: who has stopped a save waits for it."""
_TRIES = 5
_active: set[str] = set()
"""The claims of this process: by owner, or by the place that they are of."""


class FileClaim(Claim):
    """A claim on this computer: a locked file beside the place.

    The lock ends with its process, however that ends.
    """

    def __init__(self, place: Path, address: str) -> None:
        super().__init__(address)
        self.file = beside(place, CLAIM, ".")
        self._lock: FileLock | None = None

    def take(self) -> None:
        """Lock the file, and say in it since when."""
        with explained(self.address):
            lock = FileLock(self.file)
            if not lock.take():
                raise self.taken(_said(self._content().get("since")))
            with ExitStack() as failing:
                failing.callback(lock.release)
                lock.write(json.dumps(_entry("")).encode())  # the disk may be full
                failing.pop_all()
        self._lock = lock

    def release(self) -> None:
        """Unlock it, and remove it."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def refuse_others(self) -> None:
        """Find out by taking it for a moment."""
        if self._lock is None and self.file.exists():
            with self.held():
                pass

    def _content(self) -> dict[str, Any]:
        try:
            return _parsed(self.file.read_bytes())
        except OSError:
            return {}


class ProcessClaim(Claim):
    """A claim within this process, on a store that somebody else made."""

    def __init__(self, place: str, address: str) -> None:
        super().__init__(address)
        self._place = place

    def take(self) -> None:
        """Note the place."""
        self.refuse_others()
        _active.add(self._place)

    def release(self) -> None:
        """Forget it."""
        _active.discard(self._place)

    def refuse_others(self) -> None:
        """Look it up."""
        if self._place in _active:
            raise self.taken("a moment ago")


class ObjectClaim(Claim):
    """A claim in a bucket: an object that names an owner, renewed while it saves.

    Where the service knows no conditions it is read back after a while: of those who
    wrote it at the same time it is the last one's.
    """

    def __init__(self, hierarchy: Hierarchy, path: str, address: str) -> None:
        super().__init__(address)
        self._hierarchy = hierarchy
        self._key = f"{path}/{CLAIM}".lstrip("/")
        self._owner = uuid.uuid4().hex
        self._since = ""
        self._renewed = 0.0
        self._lost = False
        self._ended = Event()
        self._changing = Lock()

    def take(self) -> None:
        """Put the object, if there is none or its owner is gone."""
        self._owner, self._since, self._lost = uuid.uuid4().hex, _now(), False
        try:
            self._take(self._body())
        except CancelledError:
            self.release()  # it may be there, for all that is known
            raise
        self._renewed = time.time()
        _active.add(self._owner)
        self._ended = Event()
        Thread(target=self._keep, args=(self._ended,), daemon=True).start()

    def _take(self, body: bytes) -> None:
        for turn in range(_TRIES):
            found = self._read()
            self._refuse(found)
            try:
                self._hierarchy.replace(self._key, body, found)
                break
            except ConflictError:
                if turn == _TRIES - 1:
                    raise self.taken("a moment ago") from None
        if not self._hierarchy.holds_conditions((self._key, body)):
            time.sleep(update.LOOK_AGAIN)
            self._refuse(self._read())

    def check(self, *, thoroughly: bool = False) -> None:
        """Renew it where that is due; raises once it is somebody else's."""
        if not self._lost and (thoroughly or time.time() - self._renewed > 2 * RENEWED):
            self._renew()
        if self._lost:
            raise ConflictError(
                f"Somebody else has begun to save to {self.address}: nothing was heard "
                "from here for a while.",
                action="Save under another name.",
                url=self.address,
            )

    def release(self) -> None:
        """Delete the object."""
        self._ended.set()
        _active.discard(self._owner)
        # What hangs, or is not done in time, leaves it behind.
        if not self._changing.acquire(timeout=PARTING):
            return
        stop = Stop()
        late = Timer(PARTING, stop.say)
        late.daemon = True
        late.start()
        try:
            with suppress(OMEZarrError, CancelledError), stop.heeded():
                if not self._lost and _parsed(self._read()).get("owner") == self._owner:
                    self._hierarchy.begin_delete(self._key).result()
        finally:
            late.cancel()
            self._changing.release()

    def refuse_others(self) -> None:
        """Read the object."""
        self._refuse(self._read())

    def _refuse(self, found: GetResult | None) -> None:
        there = _parsed(found)
        owner = there.get("owner")
        self.left_behind = bool(owner) and owner != self._owner
        if self.left_behind and _is_alive(there):
            self.left_behind = False
            raise self.taken(_said(there.get("since")))

    def _keep(self, ended: Event) -> None:
        while not ended.wait(RENEWED) and not self._lost:
            with suppress(OMEZarrError):  # the next time, or before the end
                self._renew()

    def _renew(self) -> None:
        # One thread at a time, or one of our own would be somebody who was faster.
        with self._changing:
            if self._ended.is_set():
                return
            found = self._read()
            if _parsed(found).get("owner") != self._owner:
                self._lost = True
                return
            try:
                self._hierarchy.replace(self._key, self._body(), found)
            except ConflictError:
                self._lost = True
            else:
                self._renewed = time.time()

    def _read(self) -> GetResult | None:
        try:
            return self._hierarchy.read(self._key)
        except AccessDeniedError as error:
            if type(error) is not AccessDeniedError:  # the sign-in itself is no good
                raise
            return None  # how S3 says "not there" to who may not list

    def _body(self) -> bytes:
        return json.dumps({**_entry(self._owner), "since": self._since}).encode()


def claim_of(hierarchy: Hierarchy, path: str, address: str) -> Claim:
    """Give the claim on a path of a hierarchy."""
    if hierarchy.folder is not None:
        place = hierarchy.folder / hierarchy.at(path)
        return FileClaim(place, address)
    if hierarchy.is_object_store:
        return ObjectClaim(hierarchy, path, address)
    return ProcessClaim(f"{hierarchy.store!r}/{hierarchy.at(path)}", address)


# What a claim says.


def _entry(owner: str) -> dict[str, Any]:
    return {
        "owner": owner,
        "machine": _machine(),
        "process": os.getpid(),
        "since": _now(),
        "renewed": _now(),
    }


@cache
def _machine() -> str:
    """Name this computer, as far as processes of it can see each other."""
    facts = [socket.gethostname(), str(uuid.getnode())]
    for name in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            file = Path(name)
            facts.append(
                str(file.readlink()) if file.is_symlink() else file.read_text()
            )
    return digest("\n".join(facts).encode())


def _is_alive(there: dict[str, Any]) -> bool:
    """Whether who claimed a place is still at it, as far as can be known."""
    process = there.get("process")
    if there.get("machine") == _machine() and isinstance(process, int):
        if process == os.getpid():
            return there.get("owner") in _active
        if not _runs(process):
            return False
    renewed = _time(there.get("renewed"))
    return renewed is not None and abs(time.time() - renewed.timestamp()) < GONE


def _runs(process: int) -> bool:
    if os.name != "posix":
        return True  # there a signal of 0 would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _parsed(found: GetResult | bytes | None) -> dict[str, Any]:
    body = found if isinstance(found, bytes) else found and found.body
    try:
        content = json.loads(body or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _time(said: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(said)
    except (TypeError, ValueError):
        return None


def _said(since: Any) -> str:
    """Say a time as a person does: the hour, and the day unless it is today."""
    when = _time(since)
    if when is None:
        return "a moment ago"
    here = when.astimezone()
    today = here.date() == datetime.now(UTC).astimezone().date()
    return here.strftime("%H:%M" if today else "%d %B, %H:%M")
