"""Members of a zip file (.zip, .ozx), read in parts from wherever the file lies."""

from __future__ import annotations

import asyncio
import io
import struct
import zipfile
import zlib
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zarr.abc.store import RangeByteRequest, SuffixByteRequest

from napari_omezarr.errors import StoreError
from napari_omezarr.location import NODE_DOCUMENTS

from .backend import GetResult, NoteList, ObjectBackend, cut, span
from .error_mapping import Reason, RequestFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zipfile import ZipInfo

    from zarr.abc.store import ByteRequest

    from .error_mapping import ErrorContext

# The directory of a zip file, read by Python's zipfile from bytes that are here.
#
# zipfile itself wants a file to seek in and reads it in many small steps; over a
# network that is a round trip for each.

LOCAL_HEADER = 30
TAIL = 1 << 18
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _UTF8 = 0x1, 0x800


class NotAnArchive(Exception):
    """The bytes are not those of a zip file, or its end is missing."""


@dataclass(frozen=True, slots=True)
class End:
    """Where the directory is, as the end of the file says.

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
class Directory:
    """All members by name, and where each may end at most.

    Attributes
    ----------
    members : Mapping
        By their paths, with ``/``; folders are none.
    starts : tuple of int
        Where members begin, ascending; the directory's own beginning is last.
    folder : str
        The one folder that holds everything, with a slash at its end, if the
        archive has no Zarr metadata at its root but there; else ``""``.
    """

    members: Mapping[str, ZipInfo]
    starts: tuple[int, ...]
    folder: str

    def find(self, path: str) -> ZipInfo | None:
        """Find a member by its path, from the root or from the one folder."""
        return self.members.get(path) or self.members.get(self.folder + path)

    def extent(self, member: ZipInfo) -> int:
        """Give where the next thing after a member begins."""
        return self.starts[bisect_right(self.starts, member.header_offset)]


def parse_end(tail: bytes) -> End:
    """Find the directory from the last `TAIL` bytes of the file, or all of it.

    Raises
    ------
    NotAnArchive
        No directory ends there.
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


class _FileEnd(io.BytesIO):
    """The last bytes of a file, at the positions that they have in it."""

    def __init__(self, body: bytes, start: int) -> None:
        super().__init__(body)
        self._start = start

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position of the file."""
        if whence == 0:
            offset -= self._start
        return super().seek(offset, whence) + self._start

    def tell(self) -> int:
        """Give the position in the file."""
        return super().tell() + self._start


def parse_directory(body: bytes, begin: int, start: int) -> Directory:
    """Read the directory.

    Parameters
    ----------
    body : bytes
        The end of the file: the directory, and as much as a comment may take.
    begin, start : int
        Where in the file these bytes and the directory begin.

    Raises
    ------
    NotAnArchive
        They are not a directory.
    """
    try:
        with zipfile.ZipFile(_FileEnd(body, begin)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
        raise NotAnArchive from None
    members = {
        name: info for info in infos if not (name := _name_of(info)).endswith("/")
    }
    starts = sorted({info.header_offset for info in members.values()} | {start})
    return Directory(members, tuple(starts), _only_folder(members))


def _name_of(info: ZipInfo) -> str:
    name = info.orig_filename
    if not info.flag_bits & _UTF8:
        # UTF-8 is more common than its flag; zipfile then reads DOS's code page.
        with suppress(UnicodeDecodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/").removeprefix("./")


def _only_folder(members: Mapping[str, ZipInfo]) -> str:
    if any(name in members for name in NODE_DOCUMENTS):
        return ""
    tops = {name.partition("/")[0] for name in members} - {"__MACOSX", ".DS_Store"}
    if len(tops) != 1:
        return ""
    (top,) = tops
    inside = any(f"{top}/{name}" in members for name in NODE_DOCUMENTS)
    return f"{top}/" if inside else ""


def data_start(member: ZipInfo, header: bytes) -> int:
    """Find where a member's bytes begin, from its local header.

    Raises
    ------
    NotAnArchive
        The header is not one.
    """
    if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
        raise NotAnArchive
    # Its extra field need not be as long as the one in the directory.
    *_, name, extra = _LOCAL.unpack_from(header)
    return int(member.header_offset + _LOCAL.size + name + extra)


# Members, read from wherever the file lies.

# Local headers may be longer than the directory lets one guess, by their extra field.
_SLACK = 4096
_WORTH_A_THREAD = 1 << 16


class ZipBackend(ObjectBackend):
    """The members of a zip file below a path inside it.

    The directory costs one request at the first read, two if it is large. Then a
    member costs one; a part of an uncompressed member one, and one more the first
    time, to find where the member begins.

    Parameters
    ----------
    file : ObjectBackend
        The zip file: its key ``""``.
    member : str
        The path inside.
    """

    def __init__(self, file: ObjectBackend, member: str) -> None:
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
        """Sentences about what happened here, and where the file lies."""
        return (*self._file.notes, *self._notes.sentences)

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a member, or a part of it.

        Raises
        ------
        StoreError
            The file is no zip file, or the member is compressed or encrypted in a
            way that is not understood.
        """
        try:
            directory = await self._open()
            path = "/".join(part for part in (self._member, key) if part)
            member = directory.find(path) if directory else None
            if directory is None or member is None:
                return None
            stored = member.compress_type == zipfile.ZIP_STORED
            known = stored or member.compress_type == zipfile.ZIP_DEFLATED
            if member.flag_bits & _ENCRYPTED or not known:
                raise self._unreadable(path)
            if stored and wanted is not None:
                return await self._part(member, wanted)
            whole = await self._whole(member, directory.extent(member))
            return replace(whole, body=cut(whole.body, wanted))
        except NotAnArchive:
            pass
        raise self._broken()

    async def sizes(self) -> Mapping[str, int]:
        """Give the path and the size of every member below this one.

        Raises
        ------
        StoreError
            The file is no zip file.
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
            name.removeprefix(above): member.file_size
            for name, member in directory.members.items()
            if name.startswith(above)
        }

    def verdict(self, failure: RequestFailed) -> RequestFailed | StoreError:
        """Say what the file's own place says."""
        return self._file.verdict(failure)

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe the file's own place."""
        return self._file.context(url, doing)

    async def _open(self) -> Directory | None:
        """Read the directory, once; None if there is no file."""
        async with self._opening:
            if self._directory is None:
                self._directory = await self._read_directory()
        return self._directory

    async def _read_directory(self) -> Directory | None:
        found = await self._file.read("", SuffixByteRequest(TAIL))
        if found is None:
            return None
        body = found.body
        end = parse_end(body)
        if end.start < end.tail:
            body = (await self._bytes(end.start, end.tail)).body + body
        begin = min(end.start, end.tail)
        directory = await asyncio.to_thread(parse_directory, body, begin, end.start)
        if directory.folder:
            name = directory.folder.rstrip("/")
            self._notes.add(f"The image lies in the folder {name} of the archive.")
        return directory

    async def _bytes(self, start: int, end: int) -> GetResult:
        """Read a part of the file, all of which must be there."""
        found = await self._file.read("", RangeByteRequest(start, end))
        if found is None or len(found.body) != end - start:
            raise RequestFailed(reason=Reason.TRUNCATED)
        return found

    async def _part(self, member: ZipInfo, wanted: ByteRequest) -> GetResult:
        start, end = span(wanted, member.file_size)
        if start == end:
            return GetResult(b"", size=member.file_size)
        at = member.header_offset
        if at not in self._starts:
            header = await self._bytes(at, at + LOCAL_HEADER)
            self._starts[at] = data_start(member, header.body)
        begin = self._starts[at]
        part = await self._bytes(begin + start, begin + end)
        return replace(part, size=member.file_size)

    async def _whole(self, member: ZipInfo, extent: int) -> GetResult:
        """Read a member with its header before it, in one request if it can be."""
        at, size = member.header_offset, member.compress_size
        name = len(member.orig_filename.encode())
        end = min(extent, at + LOCAL_HEADER + name + _SLACK + size)
        found = await self._bytes(at, end)
        body = found.body
        begin = data_start(member, body)
        if begin + size > end:
            body += (await self._bytes(end, begin + size)).body
        stored = body[begin - at :][:size]
        if len(stored) < _WORTH_A_THREAD:
            plain = _unpacked(member, stored)
        else:
            plain = await asyncio.to_thread(_unpacked, member, stored)
        return GetResult(plain, found.etag, member.file_size)

    def _unreadable(self, path: str) -> StoreError:
        sentence = (
            f"{path} is encrypted or compressed in an unusual way in its archive."
        )
        return StoreError(sentence, action="Pack the archive without compression.")

    def _broken(self) -> StoreError:
        sentence = "This file is not a zip archive, or its end is missing."
        return StoreError(sentence, action="Copy it again.")


def _unpacked(member: ZipInfo, stored: bytes) -> bytes:
    is_stored = member.compress_type == zipfile.ZIP_STORED
    try:
        body = stored if is_stored else zlib.decompress(stored, -zlib.MAX_WBITS)
    except zlib.error:
        raise NotAnArchive from None
    if len(body) != member.file_size or zlib.crc32(body) != member.CRC:
        raise NotAnArchive
    return body
