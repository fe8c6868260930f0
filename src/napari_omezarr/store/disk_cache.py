"""The disk cache: answers of remote places, in files that need no index.

A file is written beside and moved to its name, so it is whole or it is not there; its
name says what it holds, its times when it was last used (access) and last known to be
current (modification). So there is nothing to lock, to repair, or to lose when a
process is killed, and several may share a folder, on a network drive too.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self
from urllib.parse import urlsplit

from zarr.abc.store import RangeByteRequest

from napari_omezarr.atomic_file import PARTIAL, replacing

from .backend import GetResult, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from zarr.abc.store import ByteRequest

    from .http import Response

# The name of an object: a digest, so that it tells nothing.

# Who signs a web address, with what and until when: by AWS and its imitators, Google,
# CloudFront, and whatever else calls a secret by its name.
_SIGNING = re.compile(
    r"x-(amz|goog|oss|cos|obs)-.*|awsaccesskeyid|googleaccessid|ossaccesskeyid|"
    r"expires|policy|key|key-pair-id|sig|.*signature|.*token|.*secret|.*password|"
    r".*api[-_]?key|.*auth|.*credential",
    re.IGNORECASE,
)
# Azure's shared access signatures have short names, which mean it only beside "sig".
_SHARED_ACCESS = re.compile(r"s[a-z]{1,4}|sig")


def cache_key(address: str, sign_in: str = "") -> str:
    """Name an object by 32 hexadecimal digits, alike however its address is signed.

    Neither the address nor anything in it can be had from them; passwords and
    signatures do not even enter. As whom it is read does, without any secret: what one
    sign-in was shown is not shown to another.
    """
    parts = urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    kept, signed = _without_signature(parts.query)
    named = (
        parts.scheme,
        user.partition(":")[0],
        host.lower(),
        parts.path,
        kept,
        "signed" if signed else "",
        sign_in,
    )
    return blake2b("\n".join(named).encode(), digest_size=16).hexdigest()


def _without_signature(query: str) -> tuple[str, bool]:
    """Take from a query what signs it; also say whether there was any."""
    pairs = query.split("&") if query else []
    names = [pair.partition("=")[0] for pair in pairs]
    azure = "sig" in names
    kept = [
        pair
        for pair, name in zip(pairs, names, strict=True)
        if not (_SIGNING.fullmatch(name) or (azure and _SHARED_ACCESS.fullmatch(name)))
    ]
    return "&".join(kept), len(kept) < len(pairs)


# Names of the files of the disk cache: all that must be known without opening one.

_PART = re.compile(r"([0-9a-f]{32})-([0-9a-f]{8})-(\d+)-(\d+)-(\d+)")
_ABSENT = re.compile(r"([0-9a-f]{32})-absent(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class CachedRange:
    """Bytes `start` to `stop` of an object that has `total`."""

    key: str
    version: str
    """A digest of the object's etag: only parts of one version fit together."""
    start: int
    stop: int
    total: int

    def __str__(self) -> str:
        extent = f"{self.start}-{self.stop}-{self.total}"
        return f"{self.key}-{self.version}-{extent}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read a name; None if it is that of something else."""
        said = _PART.fullmatch(name)
        if said is None:
            return None
        start, stop, total = (int(number) for number in said.groups()[2:])
        return cls(said[1], said[2], start, stop, total)

    def fits_beside(self, fresh: CachedRange) -> bool:
        """Say whether this is still right, and still of use, when `fresh` has come."""
        same = (self.version, self.total) == (fresh.version, fresh.total)
        return same and not fresh.start <= self.start <= self.stop <= fresh.stop


def part_of(key: str, response: Response) -> CachedRange | None:
    """Name the part of an object that came; None where it is not known what it fits to.

    That is so if the server does not say of which version it is, or where it lies.
    """
    if not (response.etag and response.total) or response.body is None:
        return None
    version = blake2b(response.etag.encode(), digest_size=4).hexdigest()
    stop = response.start + len(response.body)
    return CachedRange(key, version, response.start, stop, response.total)


def absent_name(key: str, lifetime: int | None) -> str:
    """Name the file, an empty one, that says that there is no such object."""
    return f"{key}-absent" if lifetime is None else f"{key}-absent-{lifetime}"


def absent_lifetime(names: Iterable[str]) -> tuple[str, int | None] | None:
    """Find the name that says that there is no such object, and for how long."""
    for name in names:
        if said := _ABSENT.fullmatch(name):
            return name, int(said[2]) if said[2] else None
    return None


def covering(
    parts: Iterable[CachedRange], wanted: ByteRequest | None
) -> list[tuple[CachedRange, RangeByteRequest]]:
    """Choose the parts that together hold what is wanted.

    Each comes with the bytes to take from it, counted from its own start. There are
    none if there is a gap, or if the parts are of several versions.
    """
    found = sorted(parts, key=lambda part: (part.start, -part.stop))
    if len({(part.version, part.total) for part in found}) != 1:
        return []
    begin, end = span(wanted, found[0].total)
    pieces = []
    for part in found:
        if part.start <= begin < min(part.stop, end):
            stop = min(part.stop, end)
            own = RangeByteRequest(begin - part.start, stop - part.start)
            pieces.append((part, own))
            begin = stop
    return pieces if begin == end else []


# The folder of the disk cache, and how much may lie in it.

_FOLDER = "napari-omezarr-cache-1"  # the number is that of the files' format
_DRAWER = 3  # so many digits name the folder that a file lies in: 4,096 of them
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# https://bford.info/cachedir/\n"
_BLOCK = 4096
_OVERHEAD = 512
_ABANDONED = 3600 * 10**9


class _File(NamedTuple):
    used: int
    weight: int
    path: str
    partial: bool


class CacheFolder:
    """Files below a folder, the least recently used deleted when there are too many.

    A process looks what is there when it writes first, and again whenever it has
    written a thirty-second of the size, and makes an eighth of the size free. It does
    so in a thread, and waits for that only when it has written as much again. So two
    processes that write at once keep within the size, which counts what a file system
    needs besides, estimated; of more, each may go beyond by a sixteenth until it has
    looked.
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
        """Write a file, whole or not at all; not one larger than a thirty-second."""
        weight = _weight(sum(len(piece) for piece in pieces))
        if weight > self._step:
            return
        if self._is_due(weight):
            self._look()
        if not self.folder.is_dir():
            # Only this person may look into it.
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / "CACHEDIR.TAG").write_text(_TAG)
        with replacing(self.path(name)) as fresh, fresh.open("wb") as stream:
            stream.writelines(pieces)

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
            if file.used < long_ago if file.partial else excess > 0:
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
                for file in _scanned(drawer.path):
                    with suppress(OSError):
                        times = file.stat(follow_symlinks=False)
                        weight = _weight(times.st_size)
                        partial = file.name.endswith(PARTIAL)
                        yield _File(times.st_atime_ns, weight, file.path, partial)


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


# One file of the disk cache: a line that says what it is, then the bytes.
#
# Each block of the bytes has a checksum in that line, so that a part can be read and
# checked without the rest. No file is believed that was cut off, mixed up or damaged.

BLOCK = 1 << 18
_LONGEST_HEADER = 1 << 20


class DamagedRecord(Exception):
    """A file of the cache is not what was once written."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line of a file says."""

    name: str
    """What the file is called."""
    etag: str
    """Which version of the object the bytes are of."""
    lifetime: int | None
    """For how many seconds the server lets them be used; None if it did not say."""
    size: int
    """How many bytes follow."""
    checks: list[int]
    """The CRC-32 of each block."""


def header_for(name: str, body: bytes, etag: str, lifetime: int | None) -> Header:
    """Describe bytes before they are written."""
    return Header(name, etag, lifetime, len(body), _checks(body))


def packed(header: Header) -> bytes:
    """Return the line that goes before the bytes."""
    facts = {
        "name": header.name,
        "validator": header.etag,  # as format 1 calls it: cached files stay readable
        "lifetime": header.lifetime,
        "size": header.size,
        "checks": header.checks,
    }
    text = json.dumps(facts).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_header(file: BinaryIO, name: str) -> Header:
    """Read the first line of the file called `name`, and stop where the bytes begin."""
    check, _, text = file.readline(_LONGEST_HEADER).partition(b" ")
    text = text.removesuffix(b"\n")
    if check != b"%08x" % zlib.crc32(text):
        raise DamagedRecord
    try:
        facts = json.loads(text)
        header = Header(etag=facts.pop("validator"), **facts)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise DamagedRecord from None
    if header.name != name:
        raise DamagedRecord
    return header


def read_bytes(file: BinaryIO, header: Header, start: int, stop: int) -> bytes:
    """Read bytes `start` to `stop`, and check the blocks they lie in."""
    first, last = start // BLOCK, -(-stop // BLOCK)
    begin, end = first * BLOCK, min(last * BLOCK, header.size)
    file.seek(begin, 1)
    body = file.read(max(0, end - begin))
    if stop > header.size or _checks(body) != header.checks[first:last]:
        raise DamagedRecord
    return body[start - begin : stop - begin]


def _checks(body: bytes) -> list[int]:
    view = memoryview(body)
    return [zlib.crc32(view[at : at + BLOCK]) for at in range(0, len(body), BLOCK)]


# The cache itself.


@dataclass(frozen=True, slots=True)
class CacheHit:
    """An answer from the cache."""

    body: bytes | None
    """What was asked for; None: there was no such object."""
    checked: float
    """When it was last known to be current, in seconds since 1970."""
    files: tuple[Path, ...]
    """Where it was read from."""
    etag: str = ""
    """Which version of the object it is of."""
    lifetime: int | None = None
    """For how many seconds the server let it be used without asking again."""
    size: int | None = None
    """Bytes of the whole object."""

    @property
    def result(self) -> GetResult | None:
        """What it says about the object."""
        return None if self.body is None else GetResult(self.body, self.etag, self.size)


@dataclass(slots=True)
class Uses:
    """What this process did with a cache, counted on the I/O loop only."""

    hits: int = 0
    """Answers that were taken without asking the place."""
    confirmed: int = 0
    """Answers that were taken after the place said that they are current."""
    misses: int = 0
    """Answers that had to be fetched."""


class DiskCache:
    """Answers in the files below a folder, the least recently used dropped first.

    All methods may be called from any thread. They raise nothing: what cannot be read
    is not there; what cannot be written is not kept, and ``trouble`` then says why in
    the system's words.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.files = CacheFolder(folder, size)
        self.trouble = ""
        self.uses = Uses()

    def find(self, key: str, wanted: ByteRequest | None) -> CacheHit | None:
        """Return what is kept of an object, or of a part of it; None if not enough."""
        try:
            with suppress(FileNotFoundError):
                return _read(self.files.path(key), wanted)
            names = self.files.names(key)
            parts = [part for name in names if (part := CachedRange.parse(name))]
            if pieces := covering(parts, wanted):
                return self._joined(pieces)
            return self._absent(names)
        except (OSError, DamagedRecord):
            return None

    def keep(self, key: str, response: Response) -> None:
        """Put an answer in the cache, in place of what it outdates."""
        part = part_of(key, response) if response.partial else None
        try:
            for name in self.files.names(key):
                other = CachedRange.parse(name)
                if not (part and other and other.fits_beside(part)):
                    self.files.path(name).unlink(missing_ok=True)
            if response.storable and (part or not response.partial):
                self._write(str(part or key), response)
            self.trouble = ""
        except OSError as error:
            self.trouble = error.strerror or type(error).__name__

    def confirm(self, hit: CacheHit) -> None:
        """Note that an answer is still current."""
        now = time.time_ns()
        for file in hit.files:
            with suppress(OSError):
                os.utime(file, ns=(now, now))

    def _joined(
        self, pieces: Sequence[tuple[CachedRange, RangeByteRequest]]
    ) -> CacheHit:
        """Read a body from the parts that hold it, in order."""
        read = [_read(self.files.path(str(part)), wanted) for part, wanted in pieces]
        return CacheHit(
            b"".join(piece.body or b"" for piece in read),
            min(piece.checked for piece in read),
            tuple(file for piece in read for file in piece.files),
            read[0].etag,
            read[0].lifetime,
            pieces[0][0].total,
        )

    def _absent(self, names: Sequence[str]) -> CacheHit | None:
        said = absent_lifetime(names)
        if said is None:
            return None
        path = self.files.path(said[0])
        times = path.stat()
        _mark_used(path, times)
        return CacheHit(None, times.st_mtime, (path,), lifetime=said[1])

    def _write(self, name: str, response: Response) -> None:
        if response.body is None:
            self.files.put(absent_name(name, response.lifetime))
            return
        header = header_for(name, response.body, response.etag, response.lifetime)
        self.files.put(name, packed(header), response.body)


def _read(path: Path, wanted: ByteRequest | None) -> CacheHit:
    """Read a file or a part of it; a damaged one is deleted."""
    try:
        with path.open("rb") as file:
            times = os.fstat(file.fileno())
            header = read_header(file, path.name)
            body = read_bytes(file, header, *span(wanted, header.size))
    except DamagedRecord:
        path.unlink(missing_ok=True)
        raise
    _mark_used(path, times)
    return CacheHit(
        body, times.st_mtime, (path,), header.etag, header.lifetime, header.size
    )


def _mark_used(path: Path, times: os.stat_result) -> None:
    with suppress(OSError):
        os.utime(path, ns=(time.time_ns(), times.st_mtime_ns))
