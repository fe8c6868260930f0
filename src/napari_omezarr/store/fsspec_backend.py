"""Everything that fsspec knows and we have no way of our own for.

Memory, SFTP, WebDAV's lists and writes, Hugging Face, GitHub, IPFS, and fsspec's caches
before any place.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from napari_omezarr._io_loop import outcome
from napari_omezarr.atomic_file import PARTIAL
from napari_omezarr.errors import StoreError

from .backend import (
    LOCAL_CONCURRENCY,
    PAGE,
    REMOTE_CONCURRENCY,
    GetResult,
    ListPage,
    ObjectBackend,
    ObjectMeta,
    PutMode,
    RequestStats,
    WritableBackend,
    about_listing,
    fitted,
    joined,
    not_listed,
    span,
)
from .error_mapping import NO_FILE, ErrorContext, Reason, RequestFailed, translate
from .filesystems import (
    SharedFilesystem,
    is_absence,
    shared_filesystem,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

    from zarr.abc.store import ByteRequest

    from napari_omezarr.location import Location

    from .backend import Attempts, Piece

T = TypeVar("T")


class FsspecBackend(WritableBackend):
    """The keys below a path of an fsspec filesystem, to be read or written.

    It names no versions and knows no conditions: who writes on one has to look before.
    A part has the bytes that were asked for, or is an error: filesystems differ in what
    they make of a range, and some give the whole file without a word. An asynchronous
    filesystem must belong to fsspec's own loop, as by default. The path is in its
    terms, or what gives that of a key.
    """

    def __init__(self, filesystem: Any, path: Any, place: ErrorContext) -> None:
        if not isinstance(filesystem, SharedFilesystem):
            filesystem = SharedFilesystem(place, made=filesystem)
        self.concurrency = (
            REMOTE_CONCURRENCY if filesystem.is_parallel else LOCAL_CONCURRENCY
        )
        self.stats = RequestStats()
        self._shared = filesystem
        self._path = path
        self._folders: set[str] = set()
        self._place = place

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a key, or a part of it."""
        self.stats.requests += 1
        try:
            if wanted is None and not self._shared.is_cache:
                body = await self._call("cat_file", self._at(key))
                found = GetResult(body, size=len(body))
            else:
                found = await self._part(self._at(key), wanted)
        except NO_FILE:
            await self._shared.check_absent(self._at(key))
            return None
        self.stats.received += len(found.body)
        return found

    async def _part(self, path: str, wanted: ByteRequest | None) -> GetResult:
        if wanted is None or not self._shared.kind.cuts_ranges:
            # Through a file, whose size is known: "read from here to there" is
            # understood alike by all, and what comes can be judged by the size.
            # Caches are only before what is opened, not before ``cat_file``.
            filesystem = await self._shared.get()
            reading = asyncio.to_thread(self._from_file, filesystem, path, wanted)
            return await self._tried(filesystem, reading)
        start, end = bounds_of(wanted)
        body = await self._call("cat_file", path, start=start, end=end)
        length = None if start is None or end is None else end - start
        if length is None and start is not None and start < 0:
            length = -start
        if length is not None and len(body) == length:
            return GetResult(body)
        facts = await self._call("info", path)
        return fitted(body, wanted, int(facts["size"]))

    def _from_file(
        self, filesystem: Any, path: str, wanted: ByteRequest | None
    ) -> GetResult:
        with filesystem.open(path, "rb", **self._shared.kind.file_options) as file:
            size = getattr(file, "size", None)
            if not isinstance(size, int):
                size = file.seek(0, 2)
                # asyncssh's file says nothing on seeking.
                size = file.tell() if size is None else size
            start, end = span(wanted, size)
            file.seek(start)
            body = file.read(end - start) if end > start else b""
        return fitted(body, wanted, size)

    async def list_folder(self) -> list[dict[str, Any]]:
        """List what lies directly below the path, as fsspec describes it."""
        self.stats.requests += 1
        return list(await self._call("ls", self._path, detail=True))

    async def write(
        self, key: str, body: bytes, condition: PutMode | None = None
    ) -> None:
        """Write a key, whatever is there."""
        path = self._at(key)
        await self._make_folder(path)
        if not self._shared.kind.renames:
            await self._call("pipe_file", path, bytes(body))
            return
        # A file that is being written is half there; a name changes at once.
        fresh = f"{path}.{uuid4().hex[:8]}{PARTIAL}"
        await self._call("pipe_file", fresh, bytes(body))
        await self._call("mv", fresh, path)

    async def _make_folder(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        if not self._shared.kind.makes_folders or folder in self._folders:
            return
        await self._call("makedirs", folder, exist_ok=True)
        self._folders.add(folder)

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write a key; the filesystem itself cuts what is long."""
        await attempts(partial(self.write, key, body))

    async def put_pieces(
        self, key: str, size: int, piece: Piece, attempts: Attempts
    ) -> None:
        """Write an object whole: filesystems say nothing of parts of one."""
        await self.put(key, await joined(size, piece), attempts)

    async def copy(self, key: str, to: str, size: int, attempts: Attempts) -> None:
        """Let the filesystem copy a key, within its service where it can."""
        # Each is tried, as what either raises is not ours yet.
        await attempts(partial(self._make_folder, self._at(to)))
        await attempts(partial(self._call, "cp_file", self._at(key), self._at(to)))

    async def delete(self, key: str) -> None:
        """Delete a key."""
        try:
            await self._call("rm_file", self._at(key))
        except FileNotFoundError:
            return

    async def list_all(
        self, prefix: str, token: str = "", size: int = PAGE
    ) -> ListPage:
        """List all at once."""
        folder = self._at(prefix)
        (await self._shared.get()).invalidate_cache(folder)
        try:
            found = await self._call("find", folder, detail=True)
        except FileNotFoundError:
            found = {}
        above = len(self._path.strip("/")) + 1 if self._path.strip("/") else 0
        return ListPage(
            tuple(
                ObjectMeta(name.strip("/")[above:], False, int(facts.get("size") or 0))
                for name, facts in sorted(found.items())
            )
        )

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        return replace(self._place, url=url, doing=doing)

    def _at(self, key: str) -> str:
        if callable(self._path):
            return str(self._path(key))
        return f"{self._path}/{key}".rstrip("/") if self._path else key

    async def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the filesystem by its name; on the I/O loop."""
        filesystem = await self._shared.get()
        # The asynchronous half of fsspec's contract: an underscore before.
        method = getattr(filesystem, f"_{name}" * filesystem.async_impl, None)
        if method is not None:
            return await self._tried(filesystem, method(*arguments, **options))
        method = getattr(filesystem, name)
        work = asyncio.to_thread(method, *arguments, **options)
        return await self._tried(filesystem, work)

    async def _tried(self, filesystem: Any, work: Awaitable[T]) -> T:
        """Await what a filesystem does, and make a failure of what it raises."""
        answer = await outcome(work)
        if not isinstance(answer, Exception):
            return answer
        if isinstance(answer, (RequestFailed, StoreError)):
            raise answer
        if isinstance(answer, NO_FILE):
            if is_absence(answer):
                raise answer
            raise self._shared.explain(answer)
        failure = self._shared.explain(answer)
        if isinstance(failure, RequestFailed) and failure.reason is Reason.BROKEN:
            self._shared.drop(filesystem)
        raise failure


class WebdavBackend(FsspecBackend):
    """The files below a path of a WebDAV server: read as files on the web are.

    What comes for a range can be told by its status there, and is counted and retried.
    """

    def __init__(self, web: ObjectBackend, *filesystem: Any) -> None:
        super().__init__(*filesystem)
        self.stats = web.stats
        self._web = web

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a file, or a part of it."""
        return await self._web.read(key, wanted)


# What lies at a path.


@dataclass(frozen=True, slots=True)
class FsspecItems:
    """The items of a path of an fsspec filesystem."""

    filesystem: FsspecBackend
    url: str

    async def __call__(self) -> Iterable[ObjectMeta]:
        """List the path."""
        context = self.filesystem.context(self.url)
        try:
            return [_described(row) for row in await self.filesystem.list_folder()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise translate(error, context) from None
        except RequestFailed as failure:
            problem = failure
        raise about_listing(translate(problem, context), self.url)

    async def deep(self) -> Iterable[ObjectMeta]:
        """Refuse: nothing asks for it."""
        raise not_listed(self.url)


def _described(row: Mapping[str, Any]) -> ObjectMeta:
    name = str(row["name"]).rstrip("/").rpartition("/")[2]
    if row.get("type") == "directory":
        return ObjectMeta(name, True)
    return ObjectMeta(name, False, row.get("size"))


def filesystem_of(location: Location) -> tuple[SharedFilesystem, Any, ErrorContext]:
    """Make the filesystem of a place that fsspec knows.

    Returns
    -------
    tuple
        The filesystem, the path in its terms, and whom to name in an error.

    Raises
    ------
    OptionError
        The library that knows the place is not installed.
    """
    shared, path = shared_filesystem(location)
    return shared, path, shared.place


def bounds_of(wanted: ByteRequest | None) -> tuple[int | None, int | None]:
    """Say a part as fsspec does: from where to where, counted from the end if < 0."""
    match wanted:
        case RangeByteRequest(start, end):
            return start, end
        case OffsetByteRequest(offset):
            return offset, None
        case SuffixByteRequest(suffix):
            return -suffix, None
        case None:
            return None, None
