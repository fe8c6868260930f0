"""Chunks moved into other containers by their stored bytes: nothing is decoded."""

from __future__ import annotations

from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event, local
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np

from napari_omezarr._io_loop import HeedingPool
from napari_omezarr.atomic_file import write_all
from napari_omezarr.errors import DamagedDataError, StoreError, VerificationError
from napari_omezarr.reading import join_path
from napari_omezarr.store import is_stored, open_store, open_stored
from napari_omezarr.writing import FolderHierarchy

from .versions import bytes_of_unit, storage_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from napari_omezarr.location import Location
    from napari_omezarr.writing import Hierarchy

    from .versions import ChunkStorage

_ABSENT = 2**64 - 1
_MEMORY = 96 * 2**20
_COPIES = 3
"""How often an object is in memory while it is moved: as it came, joined, sent."""
_MOST_THREADS = 8
_AT_ONCE = 4096
_AT_A_TIME = 2**20
"""Bytes that are written at a time: few enough to stay in the processor's cache."""
_CHECK = 4
"""Bytes of the checksum behind an index."""

Chunk = tuple[int, ...]


class StoredChunks:
    """The chunks of an array as their stored bytes, whatever they are kept in."""

    def __init__(
        self, location: Location, path: str, document: Mapping[str, Any]
    ) -> None:
        self.storage = storage_of(document)
        self._store = open_store(location)
        self._path = path
        is_folder = location.protocol == "file" and not location.is_archive
        self._folder = location.local_path() if is_folder else None

    def read(self, chunks: Iterable[Chunk]) -> dict[Chunk, bytes]:
        """Read chunks; what is not stored is left out.

        Raises
        ------
        StoreError
            They could not be read.
        """
        wanted = list(chunks)
        if not self.storage.is_sharded:
            return self._objects(wanted)
        per = self.storage.per_unit
        homes = {
            chunk: tuple(n // p for n, p in zip(chunk, per, strict=True))
            for chunk in wanted
        }
        bodies = self._objects(list(dict.fromkeys(homes.values())))
        found = {}
        for chunk, home in homes.items():
            if home in bodies:
                part = _part(bodies[home], self.storage.per_unit, chunk)
                if part is not None:
                    found[chunk] = part
        return found

    def files(self, chunks: Iterable[Chunk]) -> dict[Chunk, str]:
        """Give where chunks would be that have files of their own; none if none is."""
        if self._folder is None or self.storage.is_sharded:
            return {}
        key = self.storage.key
        # Not paths: to make one takes longer than to open its file.
        folder = str(self._folder / self._path)
        named = {chunk: f"{folder}/{key(chunk)}" for chunk in chunks}
        return named if any(is_stored(Path(file)) for file in named.values()) else {}

    def _objects(self, indices: Sequence[Chunk]) -> dict[Chunk, bytes]:
        keys = {
            index: join_path(self._path, self.storage.key(index)) for index in indices
        }
        if self._folder is not None:
            with suppress(OSError):  # the store below then says what is wrong
                return _files(self._folder, keys)
        answers = self._store.fetch(keys.values())
        found = {}
        for index, key in keys.items():
            body = answers[key]
            if isinstance(body, StoreError):
                raise body
            if body is not None:
                found[index] = body
        return found


def _files(folder: Path, keys: Mapping[Chunk, str]) -> dict[Chunk, bytes]:
    """Read files in this thread: a disk is not worth a trip to the I/O loop."""
    found = {}
    for index, key in keys.items():
        if is_stored(file := folder / key):
            found[index] = file.read_bytes()
    return found


def joined(chunks: Mapping[Chunk, bytes], per_unit: Sequence[int]) -> bytes | None:
    """Join chunks to a shard with its index at its end; None of none of them."""
    if not chunks:
        return None
    sizes = {chunk: len(body) for chunk, body in chunks.items()}
    return b"".join([*chunks.values(), _index(sizes, per_unit)])


def _index(sizes: Mapping[Chunk, int], per_unit: Sequence[int]) -> bytes:
    """Give the index of chunks of these sizes, one behind the other, and its check."""
    table = np.full((*per_unit, 2), _ABSENT, "<u8")
    lengths = np.array([*sizes.values()], np.int64)
    offsets = np.cumsum(lengths) - lengths
    places = np.array([*sizes], int).reshape(len(sizes), len(per_unit)) % per_unit
    table[(*places.T,)] = np.stack([offsets, lengths], axis=-1)
    index: bytes = table.tobytes()
    check: bytes = google_crc32c.value(index).to_bytes(_CHECK, "little")
    return index + check


class _ThreadBuffer(local):
    """Memory of a thread, through which bytes pass from many files into one."""

    def __init__(self) -> None:
        self.bytes = memoryview(bytearray(_AT_A_TIME))


_buffer = _ThreadBuffer()


def _join_files(
    files: Mapping[Chunk, str], per_unit: Sequence[int], shard: Path
) -> int:
    """Join those files that there are to a shard, and give its size."""
    sizes: dict[Chunk, int] = {}
    buffer, held = _buffer.bytes, 0
    with shard.open("wb", buffering=0) as out:
        for chunk, file in files.items():
            if (opened := open_stored(file)) is None:
                continue
            body, left = opened
            sizes[chunk] = left
            with body:
                while left:
                    if held == len(buffer):
                        write_all(out, buffer)
                        held = 0
                    count = body.readinto(buffer[held : held + left])
                    if not count:
                        raise EOFError
                    held, left = held + count, left - count
        write_all(out, buffer[:held])
        write_all(out, _index(sizes, per_unit))
        return out.tell()


def _part(shard: bytes, per_unit: Sequence[int], chunk: Chunk) -> bytes | None:
    """Take a chunk out of a shard."""
    size = 16 * int(np.prod(per_unit))
    index, check = shard[-size - _CHECK : -_CHECK], shard[-_CHECK:]
    right = google_crc32c.value(index).to_bytes(_CHECK, "little") == check
    if len(index) != size or not right:
        raise DamagedDataError(
            "The index of a shard is damaged.",
            action="Copy the store again from where it was made.",
        )
    table = np.frombuffer(index, "<u8").reshape(*per_unit, 2)
    place = tuple(n % p for n, p in zip(chunk, per_unit, strict=True))
    offset, length = map(int, table[place])
    if offset == length == _ABSENT:
        return None
    if offset + length > len(shard) - size - _CHECK:
        raise DamagedDataError(
            "The index of a shard speaks of chunks beyond its end.",
            action="Copy the store again from where it was made.",
        )
    return shard[offset : offset + length]


@dataclass(frozen=True, slots=True)
class Repack:
    """The chunks of an array on their way into the container of a new document.

    ``document`` is of zarr 3, with the chunks and codecs of the old one, and the new
    array goes to a path of ``target``. Keys that are ``there`` were put by an earlier
    run, whole, and are left. ``step`` is told the bytes of each object that was put.
    """

    source: StoredChunks
    document: Mapping[str, Any]
    target: Hierarchy
    path: str
    there: Collection[str] = ()
    verify: bool = False
    step: Callable[[int], None] | None = None
    cancel: Event | None = None

    def run(self) -> None:
        """Move all chunks, several objects at a time; blocks.

        Raises
        ------
        StoreError, VerificationError, WriteCancelledError
            Reading or writing failed, what was read back differs, or it was cancelled.
        """
        storage = storage_of(self.document)
        size = bytes_of_unit(self.document)
        threads = max(1, min(_MOST_THREADS, _MEMORY // (_COPIES * size)))
        put = partial(self._put_until, Event(), storage)
        with HeedingPool(threads, "omezarr-pack") as pool:
            units = storage.units()
            # Some at a time: an array may have millions.
            while some := list(islice(units, _AT_ONCE)):
                for _ in pool.map(put, some):
                    pass

    def _put_until(self, broken: Event, storage: ChunkStorage, unit: Chunk) -> None:
        """Put an object; after one has failed no other is begun."""
        if broken.is_set():
            return
        with ExitStack() as after_failure:
            after_failure.callback(broken.set)
            self._put(storage, unit)
            after_failure.pop_all()

    def _put(self, storage: ChunkStorage, unit: Chunk) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise CancelledError
        key = join_path(self.path, storage.key(unit))
        if key in self.there:
            return
        if storage.is_sharded and not self.verify and self._joined(storage, unit, key):
            return
        chunks = self.source.read(storage.chunks_of(unit))
        if storage.is_sharded:
            body = joined(chunks, storage.per_unit)
        else:
            body = next(iter(chunks.values()), None)
        if body is None:
            return
        self.target.begin_put(key, body).result()
        if self.verify:
            found = self.target.read(key)
            if found is None or found.body != body:
                raise VerificationError(
                    f"What was read back of {key} differs from what was written.",
                    action="Do it again; check the disk or the network.",
                    url=self.target.address,
                )
        self._tell(len(body))

    def _joined(self, storage: ChunkStorage, unit: Chunk, key: str) -> bool:
        """Make a file of files; false where it has to be, or went, another way."""
        if not isinstance(self.target, FolderHierarchy):
            return False
        sizes: list[int] = []

        def join(fresh: Path) -> None:
            sizes.append(_join_files(files, storage.per_unit, fresh))

        is_made = False
        # Else the other way says what is wrong.
        with suppress(StoreError, OSError, EOFError):
            files = self.source.files(storage.chunks_of(unit))
            if files:
                self.target.make(key, join)
                is_made = True
        if is_made:
            self._tell(sizes[0])
        return is_made

    def _tell(self, size: int) -> None:
        if self.step is not None:
            self.step(size)
