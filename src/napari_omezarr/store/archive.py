"""Members of a zip file (.zip, .ozx), read in parts from wherever the file lies."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

from zarr.abc.store import RangeByteRequest, SuffixByteRequest

from napari_omezarr.errors import StoreError

from .byterange import cut, span
from .interruption import Interrupted, Kind
from .tally import Notes
from .zipdirectory import (
    DEFLATED,
    LOCAL_HEADER,
    STORED,
    TAIL,
    NotAnArchive,
    data_start,
    parse_directory,
    parse_end,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarr.abc.store import ByteRequest

    from .refusal import Refusal, Refused
    from .translation import Place
    from .transport import Transport
    from .zipdirectory import Directory, Member

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
        self.tally = file.tally
        self._file = file
        self._member = member
        self._directory: Directory | None = None
        self._opening = asyncio.Lock()
        self._starts: dict[int, int] = {}
        self._notes = Notes()

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

    def place(self, url: str) -> Place:
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
            raise Interrupted(Kind.TRUNCATED)
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
