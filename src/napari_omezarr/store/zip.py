"""Members of a zip file (.zip, .ozx), read in parts from wherever the file lies."""

from __future__ import annotations

import asyncio
import struct
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarr.abc.store import RangeByteRequest, SuffixByteRequest

from napari_omezarr.errors import StoreError
from napari_omezarr.location import NODE_DOCUMENTS

from .backend import NoteList, cut, span
from .error_mapping import BrokenBy, Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zarr.abc.store import ByteRequest

    from .backend import Transport
    from .error_mapping import ErrorContext, Refusal, Refused

# The directory of a zip file, read from bytes; zip64 too. No I/O.
#
# Python's zipfile wants a file to seek in and reads it in many small steps; over a
# network that is a round trip for each.

STORED, DEFLATED = 0, 8
LOCAL_HEADER = 30
TAIL = 1 << 18

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_EXTRA = struct.Struct("<2H")
_MORE_32 = 0xFFFFFFFF
_ENCRYPTED, _UTF8 = 0x1, 0x800


class NotAnArchive(Exception):
    """The bytes are not those of a zip file, or its end is missing."""


@dataclass(frozen=True, slots=True)
class End:
    """What the end of the file says: where the directory is.

    Attributes
    ----------
    start, size : int
        The directory, in bytes from the beginning of the file.
    tail : int
        Where in the file the bytes begin that this was read from.
    """

    start: int
    size: int
    tail: int


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the archive, as the directory says.

    Attributes
    ----------
    start : int
        Where its local header begins; the bytes follow after that.
    stored, size : int
        How many bytes it has in the archive, and outside.
    method, crc : int
        How it is compressed (0 not, 8 deflate), and the check of its bytes.
    encrypted : bool
        Whether a password is needed.
    name : int
        How many bytes its name has.
    """

    start: int
    stored: int
    size: int
    method: int
    crc: int
    encrypted: bool
    name: int


@dataclass(frozen=True, slots=True)
class Directory:
    """All members by name, and where each may end at most.

    Attributes
    ----------
    members : Mapping
        By their paths, with ``/``.
    starts : tuple of int
        Where members begin, ascending; the directory's own beginning is last.
    folder : str
        The one folder that holds everything, with a slash at its end, if the
        archive has no Zarr metadata at its root but there; else ``""``.
    """

    members: Mapping[str, Member]
    starts: tuple[int, ...]
    folder: str

    def find(self, path: str) -> Member | None:
        """Find a member by its path, from the root or from the one folder."""
        return self.members.get(path) or self.members.get(self.folder + path)

    def extent(self, member: Member) -> int:
        """Return where the next thing after a member begins."""
        return self.starts[bisect_right(self.starts, member.start)]


def parse_end(tail: bytes) -> End:
    """Find the directory from the last bytes of the file.

    Parameters
    ----------
    tail : bytes
        The last `TAIL` bytes, or all if there are fewer.

    Raises
    ------
    NotAnArchive
        If no directory ends there.
    """
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise NotAnArchive
    *_, size, start, _ = _END.unpack_from(tail, at)
    return _parse_end_64(tail, at) or End(start, size, start + size - at)


def _parse_end_64(tail: bytes, end: int) -> End | None:
    """Read the larger end record, which lies before the locator before the end."""
    at = end - _LOCATOR_64.size
    if at < 0 or tail[at : at + 4] != b"PK\x06\x07":
        return None
    _, _, record, _ = _LOCATOR_64.unpack_from(tail, at)
    here = tail.rfind(b"PK\x06\x06", 0, at)
    if here < 0 or here + _END_64.size > len(tail):
        raise NotAnArchive
    *_, size, start = _END_64.unpack_from(tail, here)
    return End(start, size, record - here)


def parse_directory(listing: bytes, start: int) -> Directory:
    """Read the directory.

    Parameters
    ----------
    listing : bytes
        Its bytes.
    start : int
        Where they begin in the file.

    Raises
    ------
    NotAnArchive
        If they are not a directory.
    """
    members = dict(_entries(listing))
    starts = sorted({member.start for member in members.values()} | {start})
    return Directory(members, tuple(starts), _only_folder(members))


def data_start(member: Member, header: bytes) -> int:
    """Find where a member's bytes begin, from its local header.

    Its extra field need not be as long as the one in the directory.

    Raises
    ------
    NotAnArchive
        If the header is not one.
    """
    if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
        raise NotAnArchive
    *_, name, extra = _LOCAL.unpack_from(header)
    return int(member.start + _LOCAL.size + name + extra)


def _entries(listing: bytes) -> Iterator[tuple[str, Member]]:
    at = 0
    while at + _ENTRY.size <= len(listing):
        fields = _ENTRY.unpack_from(listing, at)
        if fields[0] != b"PK\x01\x02":
            raise NotAnArchive
        flags, method, crc = fields[3], fields[4], fields[7]
        stored, size, start = fields[8], fields[9], fields[16]
        n_name, n_extra, n_comment = fields[10:13]
        body = at + _ENTRY.size
        name = listing[body : body + n_name]
        extra = listing[body + n_name : body + n_name + n_extra]
        if _MORE_32 in (stored, size, start):
            size, stored, start = _larger(extra, (size, stored, start))
        at = body + n_name + n_extra + n_comment
        if not name.endswith(b"/"):
            encrypted = bool(flags & _ENCRYPTED)
            member = Member(start, stored, size, method, crc, encrypted, n_name)
            yield _text(name, flags), member


def _larger(extra: bytes, small: tuple[int, int, int]) -> tuple[int, int, int]:
    """Take numbers that do not fit into 32 bits from the zip64 extra field."""
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, size = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if kind == 1:
            numbers = extra[at : at + size]
            count = len(numbers) // 8
            large = iter(struct.unpack(f"<{count}Q", numbers[: count * 8]))
            first, second, third = (
                next(large, number) if number == _MORE_32 else number
                for number in small
            )
            return first, second, third
        at += size
    return small


def _text(name: bytes, flags: int) -> str:
    """Decode a name; UTF-8 is more common than its flag."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = name.decode("utf-8" if flags & _UTF8 else "cp437", errors="replace")
    return text.replace("\\", "/").removeprefix("./")


def _only_folder(members: Mapping[str, Member]) -> str:
    if any(name in members for name in NODE_DOCUMENTS):
        return ""
    tops = {name.partition("/")[0] for name in members} - {"__MACOSX", ".DS_Store"}
    if len(tops) != 1:
        return ""
    (top,) = tops
    inside = any(f"{top}/{name}" in members for name in NODE_DOCUMENTS)
    return f"{top}/" if inside else ""


# Members of a zip file (.zip, .ozx), read in parts from wherever the file lies.

# Local headers may be longer than the directory lets one guess, by their extra field.
_SLACK = 4096
_WORTH_A_THREAD = 1 << 16


class ArchiveTransport:
    """The members of a zip file below a path inside it.

    The directory costs one request at the first read, two if it is large. Then a
    member costs one; a part of an uncompressed member one, and one more the first
    time, to find where the member begins.

    Parameters
    ----------
    file : Transport
        The zip file: its key ``""``.
    member : str
        The path inside.
    """

    def __init__(self, file: Transport, member: str) -> None:
        self.concurrency = file.concurrency
        self.stats = file.stats
        self._file = file
        self._member = member
        self._directory: Directory | None = None
        self._opening = asyncio.Lock()
        self._starts: dict[int, int] = {}
        self._notes = NoteList()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened here."""
        return (*self._file.notes, *self._notes.sentences)

    async def read(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        """Read a member, or a part of it.

        Raises
        ------
        StoreError
            If the file is no zip file, or the member is compressed or encrypted in
            a way that is not understood.
        """
        try:
            directory = await self._open()
            path = "/".join(part for part in (self._member, key) if part)
            member = directory.find(path) if directory else None
            if directory is None or member is None:
                return None
            if member.encrypted or member.method not in (STORED, DEFLATED):
                raise self._unreadable(path)
            if member.method == STORED and wanted is not None:
                return await self._part(member, wanted)
            return cut(await self._whole(member, directory.extent(member)), wanted)
        except NotAnArchive:
            pass
        raise self._broken()

    async def sizes(self) -> Mapping[str, int]:
        """Give the path and the size of every member below this one.

        Raises
        ------
        StoreError
            If the file is no zip file.
        """
        try:
            directory = await self._open()
        except NotAnArchive:
            directory = None
        if directory is None:
            raise self._broken()
        above = f"{self._member}/".lstrip("/")
        if above and not any(name.startswith(above) for name in directory.members):
            above = directory.folder + above
        return {
            name.removeprefix(above): member.size
            for name, member in directory.members.items()
            if name.startswith(above)
        }

    def verdict(self, refused: Refused) -> Refusal | StoreError:
        """Return what the file's own place says."""
        return self._file.verdict(refused)

    def place(self, url: str) -> ErrorContext:
        """Describe the file's own place."""
        return self._file.place(url)

    async def _open(self) -> Directory | None:
        """Read the directory, once; None if there is no file."""
        async with self._opening:
            if self._directory is None:
                self._directory = await self._read_directory()
        return self._directory

    async def _read_directory(self) -> Directory | None:
        tail = await self._file.read("", SuffixByteRequest(TAIL))
        if tail is None:
            return None
        end = parse_end(tail)
        if end.start < end.tail:
            tail = await self._bytes(end.start, end.tail) + tail
        listing = tail[max(0, end.start - end.tail) :][: end.size]
        directory = await asyncio.to_thread(parse_directory, listing, end.start)
        if directory.folder:
            name = directory.folder.rstrip("/")
            self._notes.add(f"The image lies in the folder {name} of the archive.")
        return directory

    async def _bytes(self, start: int, end: int) -> bytes:
        """Read a part of the file, all of which must be there."""
        body = await self._file.read("", RangeByteRequest(start, end))
        if body is None or len(body) != end - start:
            raise Interrupted(BrokenBy.TRUNCATED)
        return body

    async def _part(self, member: Member, wanted: ByteRequest) -> bytes:
        start, end = span(wanted, member.size)
        if start == end:
            return b""
        if member.start not in self._starts:
            header = await self._bytes(member.start, member.start + LOCAL_HEADER)
            self._starts[member.start] = data_start(member, header)
        begin = self._starts[member.start]
        return await self._bytes(begin + start, begin + end)

    async def _whole(self, member: Member, extent: int) -> bytes:
        """Read a member with its header before it, in one request if it can be."""
        guess = member.start + LOCAL_HEADER + member.name + _SLACK + member.stored
        end = min(extent, guess)
        body = await self._bytes(member.start, end)
        begin = data_start(member, body)
        if begin + member.stored > end:
            body += await self._bytes(end, begin + member.stored)
        stored = body[begin - member.start :][: member.stored]
        if len(stored) < _WORTH_A_THREAD:
            return _unpacked(member, stored)
        return await asyncio.to_thread(_unpacked, member, stored)

    def _unreadable(self, path: str) -> StoreError:
        sentence = (
            f"{path} is encrypted or compressed in an unusual way in its archive."
        )
        return StoreError(sentence, action="Pack the archive without compression.")

    def _broken(self) -> StoreError:
        sentence = "This file is not a zip archive, or its end is missing."
        return StoreError(sentence, action="Copy it again.")


def _unpacked(member: Member, stored: bytes) -> bytes:
    try:
        body = stored if member.method == STORED else zlib.decompress(stored, -15)
    except zlib.error:
        raise NotAnArchive from None
    if len(body) != member.size or zlib.crc32(body) != member.crc:
        raise NotAnArchive
    return body
