"""The directory of a zip file, read from bytes; zip64 too. No I/O.

Python's zipfile wants a file to seek in and reads it in many small steps; over a
network that is a round trip for each.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
_METADATA = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


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
    if any(name in members for name in _METADATA):
        return ""
    tops = {name.partition("/")[0] for name in members} - {"__MACOSX", ".DS_Store"}
    if len(tops) != 1:
        return ""
    (top,) = tops
    inside = any(f"{top}/{name}" in members for name in _METADATA)
    return f"{top}/" if inside else ""
