"""A folder within a hierarchy where a new image is written while the old one is read.

Its name begins with a dot and no document names it: to readers it is not there.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, StorePath

from napari_omezarr._io_loop import io_loop
from napari_omezarr.atomic_file import PARTIAL, replacing
from napari_omezarr.errors import (
    AccessDeniedError,
    ConflictError,
    DiskFullError,
    NodeNotFoundError,
    OMEZarrError,
    ReadOnlyError,
    StoreError,
)
from napari_omezarr.location import DOCUMENTS
from napari_omezarr.store import GetResult, open_writable, run
from napari_omezarr.store.writable import WritableStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from zarr.abc.store import Store

    from napari_omezarr.location import Location
    from napari_omezarr.store import WritablePlace

    from .encode import ZarrDocument

# What a writer needs of a place; local folders, archives and stores implement it.
#
# Two ways of coming into being hide behind `Target`. A folder is written beside its
# place and renamed. An object store has no rename: arrays are written where they will
# stay, and the group metadata that makes them an image come last, so that until then
# no reader takes them for one. Only what replaces another image is written beside and
# copied.

"""What metadata are called, in the order in which a group's are written."""


@dataclass(frozen=True, slots=True)
class StoredSize:
    """What lies at a place: how many objects, and their bytes altogether."""

    objects: int
    size: int

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> StoredSize:
        """Count objects, of which the bytes are given."""
        return cls(len(sizes), sum(sizes.values()))


def is_document(key: str) -> bool:
    """Say whether an object holds metadata, by its name."""
    return key.rpartition("/")[2] in DOCUMENTS


def root_keys(path: str) -> list[str]:
    """Give the keys that a group's documents have, in the order of writing them."""
    return [f"{path}/{name}" if path else name for name in DOCUMENTS]


class Hierarchy(Protocol):
    """A zarr hierarchy of which documents and chunks can be changed.

    Keys are relative to it, with ``/``. All methods block, may be called from any
    thread but that of the I/O loop, and raise ``StoreError``.
    """

    @property
    def address(self) -> str:
        """Where it is, without secrets."""
        ...

    @property
    def concurrency(self) -> int:
        """How many objects may be written at a time."""
        ...

    @property
    def is_object_store(self) -> bool:
        """Whether many small objects are worth avoiding."""
        ...

    def node(self, path: str) -> StorePath:
        """Give where zarr finds an array; picklable if the place can be shared."""
        ...

    def read(self, key: str) -> GetResult | None:
        """Read a document; None where there is none."""
        ...

    def read_all(self, keys: Sequence[str]) -> list[GetResult | None]:
        """Read documents, all at once."""
        ...

    def put(self, key: str, body: bytes) -> None:
        """Write a document, whole or not at all."""
        ...

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Begin to write an object, whole or not at all; `body` is not changed."""
        ...

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Begin to copy an object of so many bytes over another."""
        ...

    def begin_delete(self, key: str) -> Future[None]:
        """Begin to delete an object; none there is as good."""
        ...

    def replace(self, key: str, body: bytes, expected: GetResult | None) -> None:
        """Write a document if it is still as it was read (None: not there).

        Raises
        ------
        ConflictError
            It has been changed meanwhile.
        """
        ...

    def holds(self, prefix: str) -> bool:
        """Whether anything lies below a path, be it zarr or not."""
        ...

    def sizes(self, prefix: str) -> dict[str, int]:
        """Give the keys of all objects below a path, and the bytes of each."""
        ...

    def remove(self, prefix: str) -> None:
        """Remove a path with all that lies below it, or nothing if it is absent."""
        ...

    def sweep(self, prefix: str) -> None:
        """Remove what a process left half written below a path when it ended."""
        ...

    def hurry(self, *, on: bool) -> None:
        """Try nothing again, as somebody wants to stop; or do so as before."""
        ...


class Target(Protocol):
    """A place where an image, or several, will come into being."""

    @property
    def address(self) -> str:
        """Where, without secrets."""
        ...

    @property
    def staged(self) -> Hierarchy:
        """Where arrays are written before they are an image."""
        ...

    @property
    def journal(self) -> Path:
        """The file that says which blocks are done."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be found out about the place, in sentences."""
        ...

    def occupied(self) -> StoredSize | None:
        """Say what is at the place; None where it is free.

        Raises
        ------
        TargetExistsError
            What is there is no zarr hierarchy, so that it is never replaced.
        """
        ...

    def unfinished(self) -> bool:
        """Whether there is a journal, and what it is about."""
        ...

    @property
    def switching(self) -> bool:
        """Whether what is replaced has begun to give way: only `finish` is left."""
        ...

    def agreed(self) -> StoredSize | None:
        """Give what an unfinished save is to replace; None if nothing."""
        ...

    def begin(self, replaced: StoredSize | None = None) -> None:
        """Make ready for the first block; harmless when it was done before.

        What is replaced stays as it is until what is new is whole.

        Parameters
        ----------
        replaced : Listing or None, optional
            What the person agreed to lose.

        Raises
        ------
        TargetExistsError
            What is there is not what was agreed to.
        """
        ...

    def commit(
        self, documents: Sequence[ZarrDocument], replaced: StoredSize | None = None
    ) -> None:
        """Write the documents, in their order, and make the image visible.

        Parameters
        ----------
        documents : sequence of Document
            Those of arrays first, the root's last.
        replaced : Listing or None, optional
            What the person agreed to lose; None: the place has to be free.

        Raises
        ------
        TargetExistsError
            Something else is there by now. What was written is kept.
        """
        ...

    def finish(self) -> None:
        """Bring to its end what is `switching`."""
        ...

    def discard(self) -> None:
        """Remove what an unfinished save has left, and its journal.

        Nothing that was there before is lost by it; what is `switching` is brought
        to its end instead.
        """
        ...


# What a computer says when it cannot write, in our words.

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM)


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into one of ours, about an address.

    Raises
    ------
    StoreError
        Whatever the operating system refused.
    """
    try:
        yield
    except OMEZarrError:
        raise
    except OSError as error:
        raise _explanation(error, address) from error
    except BaseExceptionGroup as group:
        # zarr hands on all failures of a shard's reads together.
        problem = _first(group)
        if not isinstance(problem, OSError):
            raise
        raise _said(problem, address) from group


def _said(error: OSError, address: str) -> StoreError:
    return error if isinstance(error, StoreError) else _explanation(error, address)


def _first(error: BaseException) -> BaseException:
    """Take the first failure out of a group of groups."""
    if isinstance(error, BaseExceptionGroup):
        return _first(error.exceptions[0])
    return error


def _explanation(error: OSError, address: str) -> StoreError:
    if error.errno in _FULL:
        return DiskFullError(
            f"There is no room left at {address}.",
            action="Make room and resume, or choose another place.",
            url=address,
        )
    if error.errno == errno.EROFS:
        return ReadOnlyError(
            f"{address} is read-only.", action="Choose another place.", url=address
        )
    if error.errno in _DENIED:
        return AccessDeniedError(
            f"You may not write to {address}.",
            action="Choose another place, or ask who owns it.",
            url=address,
        )
    reason = error.strerror or type(error).__name__
    return StoreError(f"{address} could not be written: {reason}.", url=address)


# A zarr hierarchy in a folder of this computer.

"""How zarr, and `Folder.put`, call a file until it is whole and renamed."""
DONE: Future[None] = Future()
"""What is done already."""
DONE.set_result(None)


@dataclass(frozen=True, slots=True)
class Folder:
    """A hierarchy below a path; see `target.Hierarchy`."""

    path: Path
    address: str
    concurrency: int = 8
    is_object_store: bool = False

    @property
    def store(self) -> Store:
        """The zarr store of the folder."""
        return LocalStore(self.path)

    def node(self, path: str) -> StorePath:
        """Give where zarr finds an array."""
        return StorePath(self.store, path)

    def read(self, key: str) -> GetResult | None:
        """Read a document; None where there is none."""
        with explained(self.address):
            try:
                body = (self.path / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return GetResult(body, hashlib.blake2b(body, digest_size=16).hexdigest())

    def read_all(self, keys: Sequence[str]) -> list[GetResult | None]:
        """Read documents."""
        return [self.read(key) for key in keys]

    def put(self, key: str, body: bytes) -> None:
        """Write a document beside its place and rename it."""
        self._make(key, lambda fresh: fresh.write_bytes(body))

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Write an object now: a disk is not worth waiting for elsewhere."""
        self.put(key, body)
        return DONE

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Copy a file now."""
        self._make(to, lambda fresh: shutil.copyfile(self.path / key, fresh))
        return DONE

    def begin_delete(self, key: str) -> Future[None]:
        """Delete an object now."""
        with explained(self.address):
            (self.path / key).unlink(missing_ok=True)
        return DONE

    def replace(self, key: str, body: bytes, expected: GetResult | None) -> None:
        """Write a document if it is still as it was read.

        Raises
        ------
        ConflictError
            It has been changed meanwhile.
        """
        found = self.read(key)
        if (found and found.etag) != (expected and expected.etag):
            raise ConflictError(
                f"{self.address}/{key} has been changed by somebody else.",
                action="Look at it again, and then repeat.",
                url=self.address,
            )
        self.put(key, body)

    def holds(self, prefix: str) -> bool:
        """Whether anything lies below a path."""
        with explained(self.address):
            place = self.path / prefix if prefix else self.path
            return place.is_dir() and any(place.iterdir())

    def sizes(self, prefix: str) -> dict[str, int]:
        """List the files below a path."""
        with explained(self.address):
            return {
                file.relative_to(self.path).as_posix(): file.lstat().st_size
                for file in _files(self.path / prefix)
            }

    def remove(self, prefix: str) -> None:
        """Remove a path with all that lies below it."""
        with explained(self.address):
            remove(self.path / prefix if prefix else self.path)

    def sweep(self, prefix: str) -> None:
        """Remove the files into which a chunk or document was being written."""
        with explained(self.address):
            for half in (self.path / prefix).rglob(f"*{PARTIAL}"):
                half.unlink()

    def hurry(self, *, on: bool) -> None:
        """Nothing is tried again on a disk."""

    def _make(self, key: str, fill: Callable[[Path], object]) -> None:
        """Write a file beside its place and rename it."""
        with explained(self.address), replacing(self.path / key) as fresh:
            fill(fresh)


def listing(path: Path) -> StoredSize:
    """Count the files of a tree, or a file as one; links are not followed."""
    if not path.is_dir() or path.is_symlink():
        return StoredSize(1, path.lstat().st_size)
    sizes = [file.lstat().st_size for file in _files(path)]
    return StoredSize(len(sizes), sum(sizes))


def _files(path: Path) -> list[Path]:
    return [Path(top) / name for top, _, names in os.walk(path) for name in names]


def remove(path: Path) -> None:
    """Remove a file, a link or a tree, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# A zarr hierarchy in an object store.


class RemoteHierarchy:
    """A hierarchy below a location in an object store; see `target.Hierarchy`.

    Parameters
    ----------
    location : Location
        Where; nothing is asked yet.
    depot : Depot or None, optional
        The way there, if it is not the usual one.

    Raises
    ------
    OptionError
        Nothing can be written there.
    """

    is_object_store = True

    def __init__(self, location: Location, depot: WritablePlace | None = None) -> None:
        self.depot = depot or open_writable(location)
        self.address = location.display
        self.concurrency = self.depot.concurrency

    @cached_property
    def store(self) -> Store:
        """The zarr store of the place; picklable."""
        return WritableStore(self.depot)

    def node(self, path: str) -> StorePath:
        """Give where zarr finds an array."""
        return StorePath(self.store, path)

    def read(self, key: str) -> GetResult | None:
        """Read a document; None where there is none."""
        return self.read_all([key])[0]

    def read_all(self, keys: Sequence[str]) -> list[GetResult | None]:
        """Read documents, all at once."""
        return run(self._read_all(keys))

    def put(self, key: str, body: bytes) -> None:
        """Write a document."""
        run(self.depot.put(key, body))

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Begin to write an object."""
        return asyncio.run_coroutine_threadsafe(self.depot.put(key, body), io_loop())

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Begin to copy an object, within the service where it knows how to."""
        copy = self.depot.copy(key, to, size)
        return asyncio.run_coroutine_threadsafe(copy, io_loop())

    def begin_delete(self, key: str) -> Future[None]:
        """Begin to delete an object."""
        return asyncio.run_coroutine_threadsafe(self.depot.delete(key), io_loop())

    def replace(self, key: str, body: bytes, expected: GetResult | None) -> None:
        """Write a document if it is still as it was read.

        Raises
        ------
        ConflictError
            It has been changed meanwhile.
        """
        if not run(self.depot.replace(key, body, expected)):
            raise ConflictError(
                f"{self.address}/{key} has been changed by somebody else.",
                action="Look at it again, and then repeat.",
                url=self.address,
            )

    def holds(self, prefix: str) -> bool:
        """Whether anything lies below a path."""
        return run(self.depot.holds(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """List the objects below a path: a request for each thousand."""
        return run(self._sizes(prefix))

    def remove(self, prefix: str) -> None:
        """Remove all objects below a path."""
        run(self._remove(prefix))

    def sweep(self, prefix: str) -> None:
        """Nothing is half written in an object store."""

    def hurry(self, *, on: bool) -> None:
        """Try nothing again, as somebody wants to stop; or do so as before."""
        run(self.depot.hurry(on=on))

    async def _read_all(self, keys: Sequence[str]) -> list[GetResult | None]:
        found = await asyncio.gather(*map(self.depot.read, keys))
        return [GetResult(held.body, held.etag) if held else None for held in found]

    async def _sizes(self, prefix: str) -> dict[str, int]:
        return {e.key: e.size async for e in self.depot.entries(prefix)}

    async def _remove(self, prefix: str) -> None:
        keys = [entry.key async for entry in self.depot.entries(prefix)]
        # The documents first: what is half removed is no image any more.
        keys.sort(key=lambda key: (not is_document(key), key.count("/"), key))
        documents = [key for key in keys if is_document(key)]
        for some in (documents, keys[len(documents) :]):
            await asyncio.gather(*map(self.depot.delete, some))


# A zarr hierarchy in a store that somebody else made.


class StoreHierarchy:
    """A hierarchy in a zarr store; see `target.Hierarchy`.

    Parameters
    ----------
    store : zarr.abc.store.Store
        It can be written to, and listed for what is to be removed.
    address : str
        What to call it.
    concurrency : int, optional
        How many objects may be written at a time.
    is_object_store : bool, optional
        Whether many small objects are worth avoiding.
    """

    def __init__(
        self,
        store: Store,
        address: str,
        concurrency: int = 8,
        *,
        is_object_store: bool = False,
    ) -> None:
        self.store = store
        self.address = address
        self.concurrency = concurrency
        self.is_object_store = is_object_store

    def node(self, path: str) -> StorePath:
        """Give where zarr finds an array."""
        return StorePath(self.store, path)

    def read(self, key: str) -> GetResult | None:
        """Read a document; None where there is none."""
        found = run(self.store.get(key, default_buffer_prototype()))
        if found is None:
            return None
        body = found.to_bytes()
        return GetResult(body, hashlib.blake2b(body, digest_size=16).hexdigest())

    def read_all(self, keys: Sequence[str]) -> list[GetResult | None]:
        """Read documents."""
        return [self.read(key) for key in keys]

    def put(self, key: str, body: bytes) -> None:
        """Write a document."""
        buffer = default_buffer_prototype().buffer.from_bytes(body)
        run(self.store.set(key, buffer))

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Begin to write an object."""
        buffer = default_buffer_prototype().buffer.from_bytes(body)
        return asyncio.run_coroutine_threadsafe(self.store.set(key, buffer), io_loop())

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Begin to copy an object: all that a store can do is read and write."""
        return asyncio.run_coroutine_threadsafe(self._copy(key, to), io_loop())

    def begin_delete(self, key: str) -> Future[None]:
        """Begin to delete an object."""
        return asyncio.run_coroutine_threadsafe(self.store.delete(key), io_loop())

    def replace(self, key: str, body: bytes, expected: GetResult | None) -> None:
        """Write a document if it is still as it was read.

        Raises
        ------
        ConflictError
            It has been changed meanwhile.
        """
        found = self.read(key)
        if (found and found.etag) != (expected and expected.etag):
            raise ConflictError(
                f"{self.address}/{key} has been changed by somebody else.",
                action="Look at it again, and then repeat.",
                url=self.address,
            )
        self.put(key, body)

    def holds(self, prefix: str) -> bool:
        """Whether anything lies below a path."""
        return bool(run(self._keys(prefix)))

    def sizes(self, prefix: str) -> dict[str, int]:
        """List what lies below a path."""
        return run(self._sizes(prefix))

    def remove(self, prefix: str) -> None:
        """Remove a path with all that lies below it."""
        run(self._remove(prefix))

    def sweep(self, prefix: str) -> None:
        """Nothing is half written in a store."""

    def hurry(self, *, on: bool) -> None:
        """How often a store tries is its own affair."""

    async def _copy(self, key: str, to: str) -> None:
        found = await self.store.get(key, default_buffer_prototype())
        if found is None:
            raise NodeNotFoundError(f"{self.address}/{key} is gone.", url=self.address)
        await self.store.set(to, found)

    async def _sizes(self, prefix: str) -> dict[str, int]:
        keys = await self._keys(prefix)
        sizes = await asyncio.gather(*map(self.store.getsize, keys))
        return dict(zip(keys, sizes, strict=True))

    async def _remove(self, prefix: str) -> None:
        for key in await self._keys(prefix):
            await self.store.delete(key)

    async def _keys(self, prefix: str) -> list[str]:
        below = f"{prefix}/" if prefix else ""
        return [key async for key in self.store.list_prefix(below)]


# A folder within a hierarchy where a new image is written while the old one is read.
#
# Its name begins with a dot and no document names it: to readers it is not there.

_BEGIN = ".replacement-"


@dataclass(frozen=True, slots=True)
class Staging:
    """What lies below such a folder, by the keys that it will have; a `Hierarchy`.

    Parameters
    ----------
    inner : Hierarchy
        Where the folder is.
    folder : str
        Its name, of `new_folder`.
    """

    inner: Hierarchy
    folder: str

    @property
    def address(self) -> str:
        """Where the image will be."""
        return self.inner.address

    @property
    def concurrency(self) -> int:
        """How many objects may be written at a time."""
        return self.inner.concurrency

    @property
    def is_object_store(self) -> bool:
        """Whether many small objects are worth avoiding."""
        return self.inner.is_object_store

    def at(self, key: str) -> str:
        """Give where in the hierarchy something lies now."""
        return f"{self.folder}/{key}".rstrip("/")

    def node(self, path: str) -> StorePath:
        """Give where zarr finds an array."""
        return self.inner.node(self.at(path))

    def read(self, key: str) -> GetResult | None:
        """Read a document; None where there is none."""
        return self.inner.read(self.at(key))

    def read_all(self, keys: Sequence[str]) -> list[GetResult | None]:
        """Read documents, all at once."""
        return self.inner.read_all([self.at(key) for key in keys])

    def put(self, key: str, body: bytes) -> None:
        """Write a document."""
        self.inner.put(self.at(key), body)

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Begin to write an object."""
        return self.inner.begin_put(self.at(key), body)

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Begin to copy an object."""
        return self.inner.begin_copy(self.at(key), self.at(to), size)

    def begin_delete(self, key: str) -> Future[None]:
        """Begin to delete an object."""
        return self.inner.begin_delete(self.at(key))

    def replace(self, key: str, body: bytes, expected: GetResult | None) -> None:
        """Write a document if it is still as it was read."""
        self.inner.replace(self.at(key), body, expected)

    def holds(self, prefix: str) -> bool:
        """Whether anything lies below a path."""
        return self.inner.holds(self.at(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Give the keys of all objects below a path, and the bytes of each."""
        above = len(self.folder) + 1
        found = self.inner.sizes(self.at(prefix))
        return {key[above:]: size for key, size in found.items()}

    def remove(self, prefix: str) -> None:
        """Remove a path with all that lies below it."""
        self.inner.remove(self.at(prefix))

    def sweep(self, prefix: str) -> None:
        """Remove what a process left half written below a path when it ended."""
        self.inner.sweep(self.at(prefix))

    def hurry(self, *, on: bool) -> None:
        """Try nothing again, as somebody wants to stop; or do so as before."""
        self.inner.hurry(on=on)


def new_folder() -> str:
    """Name a folder that nobody else has."""
    return f"{_BEGIN}{uuid4().hex[:12]}"


def own(sizes: Mapping[str, int]) -> dict[str, int]:
    """Take out what lies in such folders: it is no part of the image that is there."""
    return {key: size for key, size in sizes.items() if not key.startswith(_BEGIN)}
