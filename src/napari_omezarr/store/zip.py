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
from itertools import accumulate
from typing import TYPE_CHECKING, NoReturn
from unicodedata import normalize

from zarr.abc.store import RangeByteRequest, SuffixByteRequest

from napari_omezarr.errors import StoreError
from napari_omezarr.location import DOCUMENTS

from .backend import (
    FAILURES,
    GetResult,
    NoteList,
    ObjectBackend,
    ObjectMeta,
    bounded_anew,
    cut,
    most_bytes,
    retrying,
    span,
)
from .error_mapping import Reason, RequestFailed, translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from zipfile import ZipInfo

    from zarr.abc.store import ByteRequest

    from .backend import RetryPolicy
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
    """Where the directory is, as the end of the file says."""

    start: int
    size: int
    """The directory, in bytes from the beginning of the file."""
    tail: int
    """Where in the file the bytes begin that this was read from."""


@dataclass(frozen=True, slots=True)
class Directory:
    """All members by name, and where each may end at most."""

    members: Mapping[str, ZipInfo]
    """By their paths, with ``/``, in composed letters; folders are none."""
    starts: tuple[int, ...]
    """Where members begin, ascending; the directory's own beginning is last."""
    roots: tuple[str, ...]
    """The folders that have Zarr metadata and lie in no other such folder; ``""`` is
    the archive itself."""

    def base(self, path: str) -> str:
        """Give the folder that is meant by a path inside.

        Where it has no Zarr metadata and only one folder below it has, it is that
        one; paths are also understood from the only such folder of the archive.
        """
        if path and not self._holds(path):
            # Members are called so, whatever they are called in the file.
            path = composed(path.replace("\\", "/"))
        if path and len(self.roots) == 1 and not self._holds(path):
            path = f"{self.roots[0]}/{path}".lstrip("/")
        below = self.below(path)
        return below[0] if len(below) == 1 else path

    def below(self, path: str) -> tuple[str, ...]:
        """Give the roots that lie below a path, none if it lies in one itself."""
        if self._is_in_root(path):
            return ()
        above = f"{path}/" if path else ""
        return tuple(root for root in self.roots if root.startswith(above))

    def _is_in_root(self, path: str) -> bool:
        parts = path.split("/")
        within = {"/".join(parts[:count]) for count in range(len(parts) + 1)}
        return not within.isdisjoint(self.roots)

    def _holds(self, path: str) -> bool:
        folder = f"{path}/"
        return path in self.members or any(n.startswith(folder) for n in self.members)

    def extent(self, member: ZipInfo) -> int:
        """Give where the next thing after a member begins.

        Raises
        ------
        NotAnArchive
            The member does not lie in the file.
        """
        if not 0 <= member.header_offset < self.starts[-1]:
            raise NotAnArchive
        return self.starts[bisect_right(self.starts, member.header_offset)]

    def packed(self, path: str) -> tuple[str, str] | None:
        """Find the archive in the archive that is meant by a path, if one is.

        It is what the path names, or goes on behind, or the only one below it; gives
        its name, and the rest of the path.
        """
        names = [n for n in self.members if n.lower().endswith(_ARCHIVES)]
        for name in names:
            if f"{path}/".startswith(f"{name}/"):
                return name, path[len(name) + 1 :]
        if self.roots:
            return None
        above = f"{path}/" if path else ""
        below = [name for name in names if name.startswith(above)]
        return (below[0], "") if len(below) == 1 else None


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
    """Read the directory from the end of the file, with as much as a comment may take.

    ``begin`` is where in the file these bytes begin, and ``start`` where the directory
    does.

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
    named = {name: info for info in infos if not (name := _name_of(info)).endswith("/")}
    # macOS takes letters and their accents apart, and whoever pastes a name does not.
    members = {
        name if composed(name) in named else composed(name): info
        for name, info in named.items()
    }
    starts = sorted({info.header_offset for info in members.values()} | {start})
    return Directory(members, tuple(starts), _roots(members))


def composed(name: str) -> str:
    """Give a name with letters and their accents in one (NFC)."""
    return name if name.isascii() else normalize("NFC", name)


def _name_of(info: ZipInfo) -> str:
    name = info.orig_filename
    if not info.flag_bits & _UTF8:
        # UTF-8 is more common than its flag; zipfile then reads DOS's code page.
        with suppress(UnicodeDecodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/").removeprefix("./")


def _roots(members: Mapping[str, ZipInfo]) -> tuple[str, ...]:
    split = (name.rpartition("/") for name in members)
    folders = {folder for folder, _, name in split if name in DOCUMENTS}
    roots: list[str] = []
    # In the order of their parts, what lies in a folder comes right after it.
    for folder in sorted(folders, key=lambda folder: folder.split("/")):
        inside = roots and (not roots[-1] or folder.startswith(f"{roots[-1]}/"))
        if not inside and not folder.startswith("__MACOSX/"):
            roots.append(folder)
    return tuple(roots)


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
_MOST_BEHIND = 3
_WORTH_A_THREAD = 1 << 16
_ARCHIVES = (".zip", ".ozx")


class ZipBackend(ObjectBackend):
    """The members of a zip file (the key ``""`` of `file`) below a path inside it.

    The directory costs one request at the first read, two if it is large. Then a member
    costs one; a part of an uncompressed member one, and one more the first time, to
    find where the member begins.

    Where no archive lies there, the path may go on behind the file's name
    (``cells.zip/content``, as repositories have it): then it is looked for there. A
    folder whose name is that of an archive is read as the folder that it is.
    """

    def __init__(
        self, file: ObjectBackend, member: str, address: str = "This file"
    ) -> None:
        self._address = address
        self.concurrency = file.concurrency
        self.stats = file.stats
        self._file = file
        self._key = ""  # of the archive below `file`
        self._member = member
        self._below = member  # the path of that which is meant, in the archive
        self._directory: Directory | None = None
        self._looks_inside = True
        self._is_folder = False
        self._opening = asyncio.Lock()
        self._starts: dict[int, int] = {}
        # Of which version of the file the directory is.
        self._etag = ""
        self._asked = member
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
            path = "/".join(part for part in (self._below, key) if part)
            if directory is None:
                return await self._file.read(path, wanted) if path else None
            members = directory.members
            member = members.get(path) or members.get(composed(path))
            if member is None:
                return None
            stored = member.compress_type == zipfile.ZIP_STORED
            known = stored or member.compress_type == zipfile.ZIP_DEFLATED
            if member.flag_bits & _ENCRYPTED or not known:
                raise self._unreadable(path, member)
            if stored and wanted is not None:
                return await self._part(member, wanted)
            if max(member.file_size, member.compress_size) > most_bytes():
                raise RequestFailed(reason=Reason.TOO_LONG)
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
        above = f"{self._below}/" if self._member else ""
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
            if self._directory is None and not self._is_folder:
                with bounded_anew():
                    self._directory = await self._find_directory()
                self._is_folder = self._directory is None
        return self._directory

    async def _find_directory(self) -> Directory | None:
        """Read the directory of the file, or of what goes on behind its name."""
        parts = self._member.split("/")[:_MOST_BEHIND]
        behind = list(accumulate((p for p in parts if p), "{}/{}".format))
        failures: list[RequestFailed | NotAnArchive] = []
        for key in ("", *behind):
            try:
                directory = await self._read_directory(key)
            except (RequestFailed, NotAnArchive) as failure:
                if isinstance(failure, RequestFailed) and not _is_no(failure):
                    raise
                failures.append(failure)
                continue
            if directory is not None:
                self._key = key
                self._member = self._member[len(key) :].lstrip("/")
                member = composed(self._member)
                inner = directory.packed(member) if self._looks_inside else None
                if inner is not None:
                    directory = await self._within(directory, *inner)
                self._below = directory.base(self._member)
                self._note(directory)
                return directory
        if failures:
            raise failures[0]
        return None

    async def _within(self, directory: Directory, name: str, rest: str) -> Directory:
        """Go on in an archive that lies in this one, and is stored as it is."""
        member = directory.members[name]
        if member.flag_bits & _ENCRYPTED or member.compress_type != zipfile.ZIP_STORED:
            raise StoreError(
                f"{self._address} holds another archive, {name}, packed a second time.",
                action=f"Unpack it, and open {name.rpartition('/')[2]}.",
                url=self._address,
            )
        outer = ZipBackend(self._file, self._key, self._address)
        outer._looks_inside = False
        outer._directory, outer._key, outer._etag = directory, self._key, self._etag
        outer._member = outer._below = ""
        self._file, self._key, self._member = _Packed(outer, name), "", rest
        self._looks_inside = False
        found = await self._read_directory("")
        if found is None:
            raise NotAnArchive
        self._notes.add(f"The image lies in an archive in the archive, {name}.")
        return found

    def _note(self, directory: Directory) -> None:
        if self._below != self._member and not self._member:
            self._notes.add(f"The image lies in {self._below} in the archive.")

    @property
    def choices(self) -> tuple[str, ...]:
        """The paths of the images below here, where none is meant and there are some.

        Empty until something was read.
        """
        if self._directory is None:
            return ()
        above = f"{self._below}/" if self._below else ""
        below = self._directory.below(self._below)
        return tuple(root.removeprefix(above) for root in below)

    async def _read_directory(self, key: str) -> Directory | None:
        found = await self._file.read(key, SuffixByteRequest(TAIL))
        if found is None:
            return None
        self._etag = found.etag
        body = found.body
        end = parse_end(body)
        if found.size is not None and end.start + end.size > found.size:
            raise NotAnArchive
        if end.start < end.tail:
            body = (await self._bytes(end.start, end.tail, key)).body + body
        begin = min(end.start, end.tail)
        return await asyncio.to_thread(parse_directory, body, begin, end.start)

    async def _bytes(self, start: int, end: int, key: str | None = None) -> GetResult:
        """Read a part of the file, all of which must be there."""
        name = self._key if key is None else key
        found = await self._file.read(name, RangeByteRequest(start, end))
        if found is not None and self._is_another(found.etag):
            self._begin_again()
        if found is None or len(found.body) != end - start:
            raise RequestFailed(reason=Reason.TRUNCATED)
        return found

    def _is_another(self, etag: str) -> bool:
        return bool(etag and self._etag) and etag != self._etag

    def _begin_again(self) -> NoReturn:
        """Forget the directory of a file that was replaced: it is read once more."""
        self._file.forget(self._key)
        self._directory = None
        self._starts.clear()
        self._etag, self._key, self._member = "", "", self._asked
        raise RequestFailed(reason=Reason.TRUNCATED)

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
            body = b"".join((body, (await self._bytes(end, begin + size)).body))
        stored = body[begin - at :][:size]
        if len(stored) < _WORTH_A_THREAD:
            plain = _unpacked(member, stored)
        else:
            plain = await asyncio.to_thread(_unpacked, member, stored)
        return GetResult(plain, found.etag, member.file_size)

    def _unreadable(self, path: str, member: ZipInfo) -> StoreError:
        sentence = f"{path} is compressed in an unusual way in {self._address}."
        action = "Unpack it, or pack it again without compression."
        if member.flag_bits & _ENCRYPTED:
            sentence = f"{path} is encrypted in {self._address}."
            action = "Unpack it with its password, and open what comes out."
        return StoreError(sentence, action=action, url=self._address)

    def _broken(self) -> StoreError:
        sentence = f"{self._address} is not a zip archive, or its end is missing."
        return StoreError(sentence, action="Copy it again.", url=self._address)


class _Packed(ObjectBackend):
    """An archive that is stored in another one: its key ``""``."""

    def __init__(self, outer: ZipBackend, name: str) -> None:
        self.concurrency, self.stats = outer.concurrency, outer.stats
        self._outer, self._name = outer, name

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a part of it."""
        return None if key else await self._outer.read(self._name, wanted)

    def verdict(self, failure: RequestFailed) -> RequestFailed | StoreError:
        """Say what the outer file's place says."""
        return self._outer.verdict(failure)

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe that place."""
        return self._outer.context(url, doing)


def _is_no(failure: RequestFailed) -> bool:
    """Whether a server says that it has no such file, or does not give it."""
    return 400 <= failure.status < 500 and failure.status not in (408, 429)


def _unpacked(member: ZipInfo, stored: bytes) -> bytes:
    is_stored = member.compress_type == zipfile.ZIP_STORED
    try:
        body = stored
        if not is_stored:
            plain = zlib.decompressobj(-zlib.MAX_WBITS)
            body = plain.decompress(stored, member.file_size + 1)
    except zlib.error:
        raise NotAnArchive from None
    if len(body) != member.file_size or zlib.crc32(body) != member.CRC:
        raise NotAnArchive
    return body


# What lies in a folder of an archive.


@dataclass(frozen=True, slots=True)
class ZipItems:
    """The items of a folder in a zip file."""

    archive: ZipBackend
    url: str
    retry: RetryPolicy

    async def __call__(self) -> Iterable[ObjectMeta]:
        """Read the archive's directory, once for all who ask."""
        return _in_tree(await self._sizes())

    async def deep(self) -> Iterable[ObjectMeta]:
        """Give all members, from the archive's directory."""
        sizes = await self._sizes()
        return [
            ObjectMeta(p, False, n) for p, n in sizes.items() if not p.endswith("/")
        ]

    async def _sizes(self) -> Mapping[str, int]:
        found = await retrying(self.archive.sizes, self.retry, asyncio.Semaphore(1))
        if not isinstance(found, FAILURES):
            return found
        if isinstance(found, RequestFailed):
            found = self.archive.verdict(found)
        raise translate(found, self.archive.context(self.url))


def _in_tree(sizes: Mapping[str, int]) -> list[ObjectMeta]:
    """Give what lies directly below the root of a tree, from the paths of its files."""
    folders: dict[str, None] = {}
    files = []
    for path, size in sizes.items():
        name, slash, _ = path.partition("/")
        if slash and name:
            folders.setdefault(name)
        elif name:
            files.append(ObjectMeta(name, False, size))
    return [*(ObjectMeta(name, True) for name in folders), *files]
