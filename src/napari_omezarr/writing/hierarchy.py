"""Where images are written: hierarchies of objects, and targets that become images."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from abc import ABC, abstractmethod
from concurrent.futures import Future
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, Self
from uuid import uuid4

from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore, StorePath

from napari_omezarr._io_loop import bounded_gather, heeding, in_thread, run, start
from napari_omezarr.atomic_file import (
    LockedError,
    is_partial,
    locked,
    put_whole,
    replacing,
    replacing_in_threads,
    write_at,
)
from napari_omezarr.doors import said_by_system
from napari_omezarr.errors import (
    ConflictError,
    NodeNotFoundError,
    OMEZarrError,
    StoreError,
    TargetClaimedError,
    TargetExistsError,
)
from napari_omezarr.location import DOCUMENTS, is_below
from napari_omezarr.store import (
    CLAIM,
    PIECES_AT_A_TIME,
    ForeignStore,
    GetResult,
    WritableStore,
    joined,
    open_stored,
    open_writable,
    pieces_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    from zarr.abc.store import Store

    from napari_omezarr.location import Location
    from napari_omezarr.store import Piece, WritablePlace

    from .encode import ZarrDocument

DONE: Future[None] = Future()
"""What is done already."""
DONE.set_result(None)

_one_of_this_process = Lock()
_REPLACEMENT = ".replacement-"


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


def is_claim(key: str) -> bool:
    """Say whether an object claims a place, by its name."""
    return key.rpartition("/")[2] == CLAIM


def is_ours(key: str) -> bool:
    """Say whether an object is no part of what is stored: a claim, or half written."""
    *folders, name = key.split("/")
    is_fresh = any(each.startswith(_REPLACEMENT) for each in folders)
    return is_fresh or name == CLAIM or is_partial(name)


def root_keys(path: str) -> list[str]:
    """Give the keys that a group's documents have, in the order of writing them."""
    return [f"{path}/{name}" if path else name for name in DOCUMENTS]


def digest(body: bytes) -> str:
    """Name the content of a document."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


# A zarr hierarchy of which documents and chunks can be changed.


class Hierarchy(ABC):
    """The objects of a zarr hierarchy, by keys that are relative to it, with ``/``.

    All methods but coroutines block, may be called from any thread but that of the I/O
    loop, and raise ``StoreError``; coroutines run there. The store is as zarr finds it,
    picklable if the place can be shared; the address holds no secrets.
    """

    folder: Path | None = None
    """Where it lies on this computer; None elsewhere."""
    is_object_store = False
    """Whether many small objects are worth avoiding."""
    needs_arrays_first = False
    """Whether chunks can be put only below the document of their array."""

    def __init__(self, store: Store, address: str, concurrency: int = 8) -> None:
        self.store = store
        self.address = address
        self.concurrency = concurrency
        self.prefix = ""

    def below(self, folder: str) -> Self:
        """Give what lies below a folder, by keys from there on; the address stays."""
        inner = copy(self)
        inner.prefix = self.at(folder)
        return inner

    def at(self, key: str) -> str:
        """Give the key that an object has in the store."""
        return f"{self.prefix}/{key}".strip("/")

    def node(self, path: str) -> StorePath:
        """Give where zarr finds an array."""
        return StorePath(self.store, self.at(path))

    @abstractmethod
    def read(self, key: str) -> GetResult | None:
        """Read a document; None where there is none."""

    def read_all(self, keys: Sequence[str]) -> list[GetResult | None]:
        """Read documents, all at once where that is worth it."""
        return [self.read(key) for key in keys]

    @abstractmethod
    def put(self, key: str, body: bytes) -> None:
        """Write a document, whole or not at all."""

    @abstractmethod
    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Begin to write an object, whole or not at all; `body` is not changed."""

    async def put_pieces(self, key: str, size: int, piece: Piece) -> None:
        """Write a long object by `pieces_of` it, as they come; whole or not at all.

        Few are in memory at a time where the place takes parts of an object.
        """
        body = await joined(size, piece)
        await asyncio.wrap_future(await asyncio.to_thread(self.begin_put, key, body))

    @abstractmethod
    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Begin to copy an object of so many bytes over another."""

    @abstractmethod
    def begin_delete(self, key: str) -> Future[None]:
        """Begin to delete an object; none there is as good."""

    @abstractmethod
    def replace(self, key: str, body: bytes, expected: GetResult | None) -> None:
        """Write an object if it is still as it was read (None: not there).

        Raises
        ------
        ConflictError
            It has been changed meanwhile.
        """

    def holds_conditions(self, there: tuple[str, bytes] | None = None) -> bool:
        """Whether `replace` overwrites nothing that it has not seen.

        Where it may, who changes something has to look again after a while. To find
        out, what is ``there``, a key and its body, may be put once more.
        """
        return True

    def _check_unchanged(self, key: str, expected: GetResult | None) -> None:
        found = self.read(key)
        if (found and found.etag) != (expected and expected.etag):
            raise self._conflict(key)

    @abstractmethod
    def holds(self, path: str) -> bool:
        """Whether anything lies below a path, be it zarr or not."""

    def sizes(self, path: str) -> dict[str, int]:
        """Give the keys of all objects below a path, and the bytes of each."""
        above = len(self.at("key")) - len("key")
        found = self._sizes(self.at(path))
        return {key[above:]: n for key, n in found.items() if not is_claim(key)}

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a path with all that lies below it, or nothing if it is absent."""

    def remove_partials(self, path: str) -> None:
        """Remove what a process left half written below a path when it ended."""
        return  # stores and services put whole objects

    @abstractmethod
    def _sizes(self, path: str) -> dict[str, int]:
        """List what lies below a path of the store."""

    def _conflict(self, key: str) -> ConflictError:
        return ConflictError(
            f"{self.address}/{key} has been changed by somebody else.",
            action="Look at it again, and then repeat.",
            url=self.address,
        )


class FolderHierarchy(Hierarchy):
    """A hierarchy in a folder of this computer, written in the calling thread."""

    def __init__(self, path: Path, address: str) -> None:
        super().__init__(LocalStore(path), address)
        self.path = self.folder = path
        self._root = str(path)

    def read(self, key: str) -> GetResult | None:
        """Read a document; its content stands for its ETag."""
        body = self.content(key)
        return None if body is None else GetResult(body, digest(body))

    def content(self, key: str, below: str = "") -> bytes | None:
        """Give what a file holds, below a path; None where there is none."""
        inside = self._inside(f"{below}/{key}" if below else key)
        with explained(self.address):
            found = open_stored(f"{self._root}/{inside}")
            if found is None:
                return None
            with found[0] as file:
                return file.readall()

    def put(self, key: str, body: bytes) -> None:
        """Write a document beside its place and rename it."""
        inside = self._inside(key)
        with explained(self.address):
            put_whole(self._root, inside, body)

    def replace(self, key: str, body: bytes, expected: GetResult | None) -> None:
        """Write a file under a lock, and wait until it is on the disk."""
        file = self._file(key)
        try:
            with explained(self.address), locked(file):
                self._check_unchanged(key, expected)
                with replacing(file, durable=True, alone=True) as fresh:
                    fresh.write_bytes(body)
        except LockedError:
            raise self._conflict(key) from None

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Write an object now: a disk is not worth waiting for elsewhere."""
        self.put(key, body)
        return DONE

    async def put_pieces(self, key: str, size: int, piece: Piece) -> None:
        """Write a file piece by piece; it gets its name when all are there."""
        turn = asyncio.Lock()

        async def write(fresh: Path, span: tuple[int, int]) -> None:
            body = await piece(*span)
            async with turn:
                work = partial(write_at, fresh, span[0], body)
                # Once it is given up none is written any more.
                await in_thread(work, lambda: None)

        with explained(self.address):
            async with replacing_in_threads(self._file(key)) as fresh:
                works = (partial(write, fresh, span) for span in pieces_of(size))
                await bounded_gather(works, PIECES_AT_A_TIME)

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Copy a file now."""
        self.make(to, lambda fresh: shutil.copyfile(self._file(key), fresh))
        return DONE

    def begin_delete(self, key: str) -> Future[None]:
        """Delete a file now."""
        with explained(self.address):
            self._file(key).unlink(missing_ok=True)
        return DONE

    def holds(self, path: str) -> bool:
        """Whether a folder is there, and not empty."""
        with explained(self.address):
            folder = self._file(path)
            return folder.is_dir() and any(folder.iterdir())

    def remove(self, path: str) -> None:
        """Remove a folder or a file."""
        with explained(self.address):
            remove(self._file(path))

    def remove_partials(self, path: str) -> None:
        """Remove the files into which zarr, or `put`, was writing."""
        with explained(self.address):
            top = f"{self._root}/{self._inside(path)}"
            for folder, _, names in os.walk(top):
                for name in names:
                    if is_partial(name):
                        Path(folder, name).unlink()

    def _file(self, key: str) -> Path:
        return self.path / self._inside(key)

    def _inside(self, key: str) -> str:
        # The one place that makes files after names that others chose.
        inside = self.at(key)
        if not is_below(inside):
            sentence = f"{key!r} is no name for a file below {self.address}."
            action = "Ask the owner to give it another name."
            raise StoreError(sentence, action=action, url=self.address)
        return inside

    def make(self, key: str, fill: Callable[[Path], object]) -> None:
        """Write a file by a function, which is given where; whole or not at all."""
        with explained(self.address), replacing(self._file(key)) as fresh:
            fill(fresh)

    def _sizes(self, path: str) -> dict[str, int]:
        with explained(self.address):
            return {
                file.relative_to(self.path).as_posix(): file.lstat().st_size
                for file in files_below(self.path / path)
            }


def _begun(work: Coroutine[Any, Any, None]) -> Future[None]:
    return heeding(start(work))


class RemoteHierarchy(Hierarchy):
    """A hierarchy below a location in an object store; making it asks nothing.

    Raises
    ------
    OptionError
        Nothing can be written there.
    """

    is_object_store = True

    def __init__(
        self, location: Location, writable: WritablePlace | None = None
    ) -> None:
        self.writable = writable or open_writable(location)
        store = WritableStore(self.writable)
        super().__init__(store, location.display, self.writable.concurrency)

    def read(self, key: str) -> GetResult | None:
        """Read a document."""
        return self.read_all([key])[0]

    def read_all(self, keys: Sequence[str]) -> list[GetResult | None]:
        """Read documents, all at once."""
        return run(self._read_all([self.at(key) for key in keys]))

    def put(self, key: str, body: bytes) -> None:
        """Write a document."""
        run(self.writable.put(self.at(key), body))

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Begin to write an object."""
        return _begun(self.writable.put(self.at(key), body))

    async def put_pieces(self, key: str, size: int, piece: Piece) -> None:
        """Write an object in parts."""
        await self.writable.put_pieces(self.at(key), size, piece)

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Begin to copy an object, within the service where it knows how to."""
        return _begun(self.writable.copy(self._object(key), self._object(to), size))

    def begin_delete(self, key: str) -> Future[None]:
        """Begin to delete an object."""
        return _begun(self.writable.delete(self._object(key)))

    def _object(self, key: str) -> str:
        """Give the key of what is there; one that marks a folder ends in a slash."""
        return self.at(key) + ("/" if key.endswith("/") else "")

    def holds_conditions(self, there: tuple[str, bytes] | None = None) -> bool:
        """Whether the service holds to conditions; it is tried once."""
        at = there and (self.at(there[0]), there[1])
        return run(self.writable.holds_conditions(at))

    def replace(self, key: str, body: bytes, expected: GetResult | None) -> None:
        """Write an object on the condition that it is still as it was read."""
        if not run(self.writable.replace(self.at(key), body, expected)):
            raise self._conflict(key)

    def holds(self, path: str) -> bool:
        """Whether anything lies below a path."""
        return run(self.writable.holds(self.at(path), but=is_claim))

    def remove(self, path: str) -> None:
        """Remove all objects below a path."""
        run(self._remove(self.at(path)))

    async def _read_all(self, keys: Sequence[str]) -> list[GetResult | None]:
        return await asyncio.gather(*map(self.writable.read, keys))

    def _sizes(self, path: str) -> dict[str, int]:
        return run(self._listed(path))

    async def _listed(self, path: str) -> dict[str, int]:
        return {e.name: e.size or 0 async for e in self.writable.objects(path)}

    async def _remove(self, path: str) -> None:
        keys = [key for key in await self._listed(path) if not is_claim(key)]
        # The documents first: what is half removed is no image any more.
        keys.sort(key=lambda key: (not is_document(key), key.count("/"), key))
        documents = [key for key in keys if is_document(key)]
        for some in (documents, keys[len(documents) :]):
            await asyncio.gather(*map(self.writable.delete, some))


class StoreHierarchy(Hierarchy):
    """A hierarchy in a zarr store that somebody else made; it can be listed."""

    def __init__(self, store: Store, address: str) -> None:
        super().__init__(ForeignStore(store, address), address)
        # Icechunk keeps chunks by their array. What a session holds is not to be seen
        # before it is committed, so an array is no sign of an image there.
        library = type(store).__module__.partition(".")[0]
        self.needs_arrays_first = library == "icechunk"
        # A session of icechunk notices at its commit what others have committed.
        self._is_alone = library == "icechunk" or type(store) is MemoryStore

    def read(self, key: str) -> GetResult | None:
        """Read a document; its content stands for its ETag."""
        found = run(self.store.get(self.at(key), default_buffer_prototype()))
        if found is None:
            return None
        body = found.to_bytes()
        return GetResult(body, digest(body))

    def holds_conditions(self, there: tuple[str, bytes] | None = None) -> bool:
        """Whether nobody outside of this process changes the store."""
        return self._is_alone

    def replace(self, key: str, body: bytes, expected: GetResult | None) -> None:
        """Write an object if it is as it was read: zarr has no condition for that."""
        with _one_of_this_process:
            self._check_unchanged(key, expected)
            self.put(key, body)

    def put(self, key: str, body: bytes) -> None:
        """Write a document."""
        run(self._put(key, body))

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Begin to write an object."""
        return _begun(self._put(key, body))

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Begin to copy an object: all that a store can do is read and write."""
        return _begun(self._copy(self.at(key), self.at(to)))

    def begin_delete(self, key: str) -> Future[None]:
        """Begin to delete an object."""
        return _begun(self.store.delete(self.at(key)))

    def holds(self, path: str) -> bool:
        """Whether anything lies below a path."""
        return bool(run(self._keys(self.at(path))))

    def remove(self, path: str) -> None:
        """Remove a path with all that lies below it."""
        run(self._remove(self.at(path)))

    async def _put(self, key: str, body: bytes) -> None:
        buffer = default_buffer_prototype().buffer.from_bytes(body)
        await self.store.set(self.at(key), buffer)

    async def _copy(self, key: str, to: str) -> None:
        found = await self.store.get(key, default_buffer_prototype())
        if found is None:
            raise NodeNotFoundError(f"{self.address}/{key} is gone.", url=self.address)
        await self.store.set(to, found)

    def _sizes(self, path: str) -> dict[str, int]:
        return run(self._listed(path))

    async def _listed(self, path: str) -> dict[str, int]:
        keys = await self._keys(path)
        sizes = await asyncio.gather(*map(self.store.getsize, keys))
        return dict(zip(keys, sizes, strict=True))

    async def _remove(self, path: str) -> None:
        for key in await self._keys(path):
            await self.store.delete(key)

    async def _keys(self, path: str) -> list[str]:
        below = f"{path}/" if path else ""
        return [key async for key in self.store.list_prefix(below)]


def replacement_folder() -> str:
    """Name a folder of a hierarchy where a new image is written beside the old one.

    Its name begins with a dot and no document names it: to readers it is not there.
    """
    return f"{_REPLACEMENT}{uuid4().hex[:12]}"


def without_replacements(sizes: Mapping[str, int]) -> dict[str, int]:
    """Take out what lies in such folders: it is no part of the image that is there."""
    return {k: size for k, size in sizes.items() if not k.startswith(_REPLACEMENT)}


# Places where an image, or several, will come into being.


class Claim(ABC):
    """The right to save to a place; nobody else has it at the same time."""

    left_behind = False
    """Whether the last owner ended without letting go: what is there is unfinished."""

    def __init__(self, address: str) -> None:
        self.address = address

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the claim inside a block.

        Raises
        ------
        TargetClaimedError
            Somebody else has it.
        """
        self.take()
        try:
            yield
        finally:
            self.release()

    @abstractmethod
    def take(self) -> None:
        """Take it, also from an owner who is gone."""

    def check(self, *, thoroughly: bool = False) -> None:
        """Make sure that it is still ours; costs nothing unless that is in doubt."""
        return

    @abstractmethod
    def release(self) -> None:
        """Let it go."""

    @abstractmethod
    def refuse_others(self) -> None:
        """Raise a `TargetClaimedError` if somebody else has it."""

    def taken(self, since: str) -> TargetClaimedError:
        """Say that it is somebody else's."""
        return TargetClaimedError(
            f"Somebody has been saving to {self.address} since {since}.",
            action="Wait until that has ended, or choose another name.",
            url=self.address,
        )


class Target(Protocol):
    """A place where an image will be visible only when it is whole.

    A folder is written beside its place and renamed. An object store has no rename:
    arrays are written where they will stay, and the group metadata that makes them an
    image comes last, so that until then no reader takes them for one. Only what
    replaces another image is written beside and copied.
    """

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
    def claim(self) -> Claim:
        """The right to save there."""
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
            What is there is no zarr hierarchy, or cannot be counted: it is never
            replaced.
        """
        ...

    def holds_bare_group(self, found: StoredSize) -> bool:
        """Say whether what is at the place is a group with nothing in it.

        Nobody loses anything if it is replaced: scripts make one and write into it.
        """
        ...

    def unfinished(self) -> bool:
        """Whether there is a journal, and what it is about."""
        ...

    def try_writing(self) -> None:
        """Find out whether anything can be written there, and leave nothing."""
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

        What is replaced (what the person agreed to lose) stays as it is until what is
        new is whole.

        Raises
        ------
        TargetExistsError
            What is there is not what was agreed to.
        """
        ...

    def commit(
        self, documents: Sequence[ZarrDocument], replaced: StoredSize | None = None
    ) -> None:
        """Write the documents, the root's last, and make the image visible.

        Raises
        ------
        TargetExistsError
            Something else is there by now than what was agreed to be ``replaced``
            (None: nothing). What was written is kept.
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


# Files of this computer, and what it says when it cannot write them.


def files_below(path: Path) -> list[Path]:
    """List the files of a tree; links are not followed."""
    return [Path(top) / name for top, _, names in os.walk(path) for name in names]


def size_of(path: Path) -> StoredSize:
    """Count the files of a tree, or a file as one; links are not followed."""
    if not path.is_dir() or path.is_symlink():
        return StoredSize(1, path.lstat().st_size)
    sizes = [file.lstat().st_size for file in files_below(path)]
    return StoredSize(len(sizes), sum(sizes))


def remove(path: Path) -> None:
    """Remove a file, a link or a tree, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into an error of ours about an address."""
    try:
        yield
    except OMEZarrError:
        raise
    except OSError as error:
        raise _explanation(error, address) from error
    except BaseExceptionGroup as group:
        # zarr hands on all failures of a shard's reads together.
        problem: BaseException = group
        while isinstance(problem, BaseExceptionGroup):
            problem = problem.exceptions[0]
        if not isinstance(problem, OSError):
            raise
        raise _explanation(problem, address) from group


def _explanation(error: OSError, address: str) -> OMEZarrError:
    if known := said_by_system(error, address):
        return known
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        sentence = f"{address} could not be written: a file is in the way."
        action = "Choose another place."
        return TargetExistsError(sentence, action=action, url=address)
    reason = error.strerror or type(error).__name__
    sentence = f"{address} could not be written: {reason}."
    return StoreError(sentence, action="Choose another place.", url=address)
