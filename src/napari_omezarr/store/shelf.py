"""The cache on disk: answers of remote places, in files that need no index.

A file is written beside and moved to its name, so it is whole or it is not there;
its name says what it holds, its times when it was last used (access) and last known
to be current (modification). So there is nothing to lock, to repair, or to lose when
a process is killed, and several may share a folder, on a network drive too.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .byterange import span
from .record import DamagedRecord, label_for, packed, read_bytes, read_label
from .shelfname import Part, absent_lifetime, absent_name, covering, part_of
from .shelfroom import ShelfRoom

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarr.abc.store import ByteRequest, RangeByteRequest

    from .reply import Reply


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer from the shelf.

    Attributes
    ----------
    body : bytes or None
        What was asked for; None: there was no such object.
    checked : float
        When it was last known to be current, in seconds since 1970.
    files : tuple of Path
        Where it was read from.
    validator : str
        Which version of the object it is of.
    lifetime : int or None
        For how many seconds the server let it be used without asking again.
    """

    body: bytes | None
    checked: float
    files: tuple[Path, ...]
    validator: str = ""
    lifetime: int | None = None


@dataclass(slots=True)
class Uses:
    """What this process did with a shelf, counted on the I/O loop only.

    Attributes
    ----------
    hits : int
        Answers that were taken without asking the place.
    confirmed : int
        Answers that were taken after the place said that they are current.
    misses : int
        Answers that had to be fetched.
    """

    hits: int = 0
    confirmed: int = 0
    misses: int = 0


class Shelf:
    """Answers in the files below a folder, the least recently used dropped first.

    All methods may be called from any thread. They raise nothing: what cannot be
    read is not there, what cannot be written is not kept.

    Parameters
    ----------
    folder : Path
        Our files go into a folder of their own in there.
    size : int
        Bytes on disk at most; see `ShelfRoom`.

    Attributes
    ----------
    trouble : str
        Why the last answer could not be kept, in the system's words; ``""`` if it
        was.
    uses : Uses
        How often answers were found.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.room = ShelfRoom(folder, size)
        self.trouble = ""
        self.uses = Uses()

    def find(self, key: str, wanted: ByteRequest | None) -> Kept | None:
        """Return what is kept of an object, or of a part of it; None if not enough."""
        try:
            with suppress(FileNotFoundError):
                return _read(self.room.path(key), wanted)
            names = self.room.names(key)
            parts = [part for name in names if (part := Part.parse(name))]
            if pieces := covering(parts, wanted):
                return self._joined(pieces)
            return self._absent(names)
        except (OSError, DamagedRecord):
            return None

    def keep(self, key: str, reply: Reply) -> None:
        """Put an answer on the shelf, in place of what it outdates."""
        part = part_of(key, reply) if reply.partial else None
        try:
            for name in self.room.names(key):
                other = Part.parse(name)
                if not (part and other and other.fits_beside(part)):
                    self.room.path(name).unlink(missing_ok=True)
            if reply.storable and (part or not reply.partial):
                self._write(str(part or key), reply)
            self.trouble = ""
        except OSError as error:
            self.trouble = error.strerror or type(error).__name__

    def confirm(self, kept: Kept) -> None:
        """Note that an answer is still current."""
        now = time.time_ns()
        for file in kept.files:
            with suppress(OSError):
                os.utime(file, ns=(now, now))

    def _joined(self, pieces: Sequence[tuple[Part, RangeByteRequest]]) -> Kept:
        """Read a body from the parts that hold it, in order."""
        read = [_read(self.room.path(str(part)), wanted) for part, wanted in pieces]
        return Kept(
            b"".join(piece.body or b"" for piece in read),
            min(piece.checked for piece in read),
            tuple(file for piece in read for file in piece.files),
            read[0].validator,
            read[0].lifetime,
        )

    def _absent(self, names: Sequence[str]) -> Kept | None:
        said = absent_lifetime(names)
        if said is None:
            return None
        path = self.room.path(said[0])
        times = path.stat()
        _mark_used(path, times)
        return Kept(None, times.st_mtime, (path,), lifetime=said[1])

    def _write(self, name: str, reply: Reply) -> None:
        if reply.body is None:
            self.room.put(absent_name(name, reply.lifetime))
            return
        label = label_for(name, reply.body, reply.validator, reply.lifetime)
        self.room.put(name, packed(label), reply.body)


def _read(path: Path, wanted: ByteRequest | None) -> Kept:
    """Read a file or a part of it; a damaged one is deleted."""
    try:
        with path.open("rb") as file:
            times = os.fstat(file.fileno())
            label = read_label(file, path.name)
            body = read_bytes(file, label, *span(wanted, label.size))
    except DamagedRecord:
        path.unlink(missing_ok=True)
        raise
    _mark_used(path, times)
    return Kept(body, times.st_mtime, (path,), label.validator, label.lifetime)


def _mark_used(path: Path, times: os.stat_result) -> None:
    with suppress(OSError):
        os.utime(path, ns=(time.time_ns(), times.st_mtime_ns))
