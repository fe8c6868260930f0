"""Upgrades: metadata of a later version, and stored chunks in shards.

Chunks move into other containers by their stored bytes: nothing is decoded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path
from threading import Event, Lock, local
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np

from napari_omezarr._io_loop import HeedingPool
from napari_omezarr._io_loop import run as run_io
from napari_omezarr.atomic_file import write_all
from napari_omezarr.doors import guarded, stopped_by
from napari_omezarr.errors import (
    DamagedDataError,
    OptionError,
    StoreError,
    TargetExistsError,
    UnfinishedWriteError,
    UnsupportedDataError,
    VerificationError,
)
from napari_omezarr.location import ZARR_JSON
from napari_omezarr.metadata import Axis, Image, parse_document
from napari_omezarr.plain_text import counted
from napari_omezarr.reading import join_path
from napari_omezarr.store import (
    SIGN_IN_TO_LIST,
    is_stored,
    open_store,
    open_stored,
    presumptions,
)
from napari_omezarr.writing import (
    CopyRun,
    FolderHierarchy,
    Journal,
    ZarrDocument,
    as_zarr3,
    bytes_of_unit,
    check_not_open,
    claim_of,
    contained,
    default_shards,
    encoded,
    inline,
    itemsize_of,
    journal_digest,
    known_array,
    open_hierarchy,
    open_target,
    storage_of,
    whole_chunks,
)

from .tree import OLD_DOCUMENTS, apply, read_tree
from .versions import check_version, upgraded, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from napari_omezarr.location import Location
    from napari_omezarr.store import ObjectMeta
    from napari_omezarr.writing import ChunkStorage, Hierarchy, Target

    from .tree import StoredNode, UndoCopy


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


# Stores in a later version.

Shards = bool | Mapping[str, int] | None
"""True chooses them, False takes them away, None leaves the container as it is."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade has done: objects and bytes put, documents written."""

    address: str
    objects: int
    bytes: int
    documents: int
    undo: UndoCopy | None = None


@guarded
def upgrade(location: Location, version: str = "0.5") -> Upgraded:
    """Upgrade the metadata of a store to 0.5 or 0.6; its chunks stay as they are.

    It is a whole store: an image, a plate, a collection. What the documents held before
    is kept on this computer, and `take_back` puts it back.

    Raises
    ------
    UnsupportedDataError
        The bytes of its chunks would be others in zarr 3, or what it says cannot be
        said in the version.
    OptionError
        There is no such version to upgrade to, or nothing can be written there.
    NodeNotFoundError, MetadataError
        There is no OME-Zarr, or it cannot be understood.
    TargetClaimedError, ConflictError
        Somebody is writing there.
    StoreError
        Something could not be read or written.
    """
    check_version(version)
    hierarchy = open_hierarchy(location)
    nodes = read_tree(location)
    documents = _documents(location, nodes, version)
    fresh = {doc.key: encoded(doc.content) for doc in documents}
    old = {
        node.key(name): None
        for node in reversed([*nodes.values()])
        for name in node.bodies
        if name in OLD_DOCUMENTS
    }
    with claim_of(hierarchy, "", hierarchy.address).held():
        kept = apply(hierarchy, {**fresh, **old})
    count = len(kept.after) if kept else 0
    return Upgraded(location.display, 0, 0, count, kept)


@dataclass(frozen=True, slots=True)
class PackChoices:
    """How a store is packed anew.

    ``version`` is of OME-Zarr (None keeps it, and makes 0.5 of 0.4). ``shards`` are
    True for shards of about 16 MB of pixels, pixels by axis for such of so many, False
    for none. ``verify`` reads all that was written back and compares it.
    """

    version: str | None = None
    shards: Shards = None
    verify: bool = False

    def __post_init__(self) -> None:
        sizes = self.shards.values() if isinstance(self.shards, Mapping) else ()
        if any(size < 1 for size in sizes):
            sentence = "A shard has one pixel at least along each axis."
            raise OptionError(sentence, action="Give sizes above 0.")


@guarded
def repack_store(
    source: Location,
    target: Location,
    choices: PackChoices,
    *,
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
) -> Upgraded:
    """Write a store with the same chunks in other containers; none is decoded.

    Nothing is at the target yet; started again after it broke off it goes on.
    ``progress`` is told how many objects are done, of how many at most.

    Raises
    ------
    TargetExistsError, TargetClaimedError
        Something is there, or somebody is writing there.
    UnfinishedWriteError
        Something else that broke off is there.
    WriteCancelledError
        It was cancelled.
    OMEZarrError
        As `upgrade`.
    """
    files: list[ObjectMeta] = []
    nodes = read_tree(source, files=files)
    version = choices.version or _version(nodes)
    version = "0.5" if version in (None, "0.4") else version
    check_version(version)
    check_not_open(target.display, [source.display])
    documents = _documents(source, nodes, version, shards=choices.shards)
    contents = {doc.key: doc.content for doc in documents}
    said = [source.display, *contents.items()]
    try:
        body = json.dumps(said, sort_keys=True, allow_nan=False)
    except ValueError as error:
        raise UnsupportedDataError(
            f"The metadata of {source.display} hold a number that JSON does not have.",
            action="Correct the NaN or infinite number in them.",
            url=source.display,
        ) from error
    digest = hashlib.blake2b(body.encode(), digest_size=16).hexdigest()
    place = open_target(target, "0.5")
    done = _Done(contents, progress)
    with stopped_by(cancel, "Packing", "Start it again."), place.claim.held():
        there = _begun(place, digest, documents)
        refusing = presumptions.refused(SIGN_IN_TO_LIST)
        with refusing, Journal(place.journal, digest):
            for node in nodes.values():
                if node.is_array:
                    chunks = StoredChunks(source, node.path, _as_zarr3(node))
                    document = contents[node.key(ZARR_JSON)]
                    parts = (chunks, document, place.staged, node.path)
                    run = (there, choices.verify, done.step, cancel)
                    Repack(*parts, *run).run()
            done_before = [each for each in files if there.get(each.name) == each.size]
            whole = open_store(source), place.staged, files, done_before, None
            copying = CopyRun(*whole)
            run_io(copying.run(accept_refused=False))
        place.claim.check(thoroughly=True)
        place.commit(documents)
    objects, size = done.objects + copying.objects, done.bytes + copying.bytes
    return Upgraded(target.display, objects, size, len(documents))


class _Done:
    """How much is done of what a store's documents say."""

    def __init__(
        self,
        contents: Mapping[str, Mapping[str, Any]],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        arrays = [each for each in contents.values() if "shape" in each]
        self.all = sum(prod(storage_of(each).grid) for each in arrays)
        self.objects = self.bytes = 0
        self._progress = progress
        self._lock = Lock()

    def step(self, size: int) -> None:
        """Count an object."""
        with self._lock:
            self.objects += 1
            self.bytes += size
            if self._progress is not None:
                self._progress(self.objects, self.all)


def _begun(
    place: Target, digest: str, documents: Sequence[ZarrDocument]
) -> dict[str, int]:
    """Make the target ready, and give what an earlier run has put there."""
    goes_on = place.unfinished()
    if goes_on and journal_digest(place.journal) != digest:
        raise UnfinishedWriteError(
            f"Something else that broke off is at {place.address}.",
            action="Choose another place, or finish that first.",
            url=place.address,
        )
    found = None if goes_on else place.occupied()
    if found is not None:
        raise TargetExistsError(
            f"{place.address} exists already ({counted(found.objects, 'object')}).",
            action="Choose another name.",
            url=place.address,
        )
    place.begin()
    if place.staged.needs_arrays_first:
        for document in documents:
            if "shape" in document.content:
                place.staged.put(document.key, document.body)
    return place.staged.sizes("") if goes_on else {}


def _version(nodes: Mapping[str, StoredNode]) -> str | None:
    for node in nodes.values():
        if not node.is_array and (found := version_of(node.attributes)):
            return found
    return None


def _as_zarr3(node: StoredNode, names: Sequence[str] = ()) -> dict[str, Any]:
    known = known_array(node.content, node.zarr_format)
    return known if node.zarr_format == 3 else as_zarr3(known, names)


def _documents(
    location: Location,
    nodes: Mapping[str, StoredNode],
    version: str,
    *,
    shards: Shards | str = "in place",
) -> list[ZarrDocument]:
    """Give the documents of the upgraded store, arrays first and the root's last."""
    if all(node.is_array for node in nodes.values()):
        sentence = f"{location.display} is an array, and no OME-Zarr."
        raise OptionError(sentence, action="Name the image.", url=location.display)
    axes = _axes(nodes)
    if isinstance(shards, Mapping):
        _check_axes(shards, axes)
    arrays, groups = [], []
    for node in nodes.values():
        try:
            if node.is_array:
                content = _array(node, axes.get(node.path, ()), shards)
                arrays.append(ZarrDocument(node.key(ZARR_JSON), content))
            else:
                attributes = upgraded(node.attributes, version)
                head = {"zarr_format": 3, "node_type": "group"}
                content = {**head, "attributes": attributes}
                groups.append(ZarrDocument(node.key(ZARR_JSON), content))
        except UnsupportedDataError as error:
            place = (location / node.path).display
            raise UnsupportedDataError(
                f"{place} stays as it is: {error.sentence}",
                action=error.action,
                url=location.display,
            ) from error
    below = [*arrays, *reversed(groups[1:])]
    top, first = groups[0], next(iter(nodes.values()))
    if ".zmetadata" in first.bodies or "consolidated_metadata" in first.content:
        top = ZarrDocument(top.key, {**top.content, **inline(below)})
    return [*below, top]


def _array(
    node: StoredNode, axes: Sequence[Axis], shards: Shards | str
) -> dict[str, Any]:
    names = [axis.name for axis in axes]
    document = {**_as_zarr3(node, names), "attributes": node.attributes}
    if shards == "in place":
        return document
    storage = storage_of(document)
    if shards is None:
        return contained(document, storage.unit if storage.is_sharded else None)
    if not shards:
        return contained(document, None)
    if len(axes) != len(storage.shape):
        count = len(storage.shape)
        names = list("tczyx"[-count:] if 0 < count <= 5 else map(str, range(count)))
        axes = [Axis(name, "space") for name in names]
    if isinstance(shards, Mapping):
        wanted = [
            shards.get(axis.name, chunk)
            for axis, chunk in zip(axes, storage.chunks, strict=True)
        ]
        unit = whole_chunks(wanted, storage.chunks, storage.shape)
    else:
        itemsize = itemsize_of(document)
        unit = default_shards(axes, storage.shape, storage.chunks, itemsize)
    return contained(document, None if unit == storage.chunks else unit)


def _check_axes(shards: Mapping[str, int], axes: Mapping[str, Sequence[Axis]]) -> None:
    known = dict.fromkeys(axis.name for each in axes.values() for axis in each)
    unknown = [name for name in shards if name not in known]
    if known and unknown:
        sentence = f"No image there has an axis {', '.join(unknown)}."
        raise OptionError(sentence, action=f"Name some of {', '.join(known)}.")


def _axes(nodes: Mapping[str, StoredNode]) -> dict[str, Sequence[Axis]]:
    """Find the axes of arrays, as the multiscales above them say."""
    found: dict[str, Sequence[Axis]] = {}
    for node in nodes.values():
        kind = None if node.is_array else parse_document(node.attributes).kind
        if isinstance(kind, Image):
            for multiscale in kind.multiscales:
                for dataset in multiscale.datasets:
                    found[join_path(node.path, dataset.path)] = multiscale.axes
    return found
