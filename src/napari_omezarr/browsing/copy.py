"""Copying a store byte for byte: down, up, and from bucket to bucket; mirrors.

What is written is whole or not there, and the documents come last: a copy that broke
off is no image to any reader. It goes on where it was when it is started again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from napari_omezarr._io_loop import bounded_gather
from napari_omezarr.atomic_file import PARTIAL
from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    ListingDeniedError,
    NodeNotFoundError,
    ObjectChangedError,
    OptionError,
    StoreError,
    TargetExistsError,
    TruncatedBodyError,
    VerificationError,
)
from napari_omezarr.location import (
    DOCUMENTS,
    NODE_DOCUMENTS,
    WEB,
    is_below,
    is_plain_key,
)
from napari_omezarr.pyramid import ArrayPixels
from napari_omezarr.reading import join_path, read_current
from napari_omezarr.store import (
    AGREE,
    FIRST_BYTE,
    ObjectMeta,
    nothing_at,
    open_lister,
    open_store,
    pieces_of,
    presumptions,
)
from napari_omezarr.user_files import cache_folder, read_json, write_json
from napari_omezarr.writing import (
    check_new_name,
    claim_of,
    is_claim,
    is_document,
    lies_within,
    open_hierarchy,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Pyramid
    from napari_omezarr.store import RemoteStore
    from napari_omezarr.writing import Hierarchy

_AT_A_TIME = 48
_MEDIUM_AT_A_TIME = 16
_MEDIUM = 2**20
"""From how many bytes on fewer objects are copied at a time."""
_LARGE = 64 * 2**20
"""From how many bytes an object is copied alone, and piece by piece where that can be,
so that memory stays bounded."""

_MOST = 1_000_000
"""How many expected objects are asked for at most: so many keys are held in memory."""

_PARTIALS = (PARTIAL, ".copy-part")
"""How a file ends that was being written; the second is of earlier versions."""


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far a copy is: objects and bytes, done of all."""

    objects: int
    all_objects: int
    bytes: int
    all_bytes: int


@dataclass(frozen=True, slots=True)
class Copied:
    """A finished copy: what was copied now, and how many objects were there before."""

    target: Location
    objects: int
    bytes: int
    resumed: int


@guarded
async def copy_store(
    source: Location,
    target: Location,
    *,
    progress: Callable[[CopyProgress], None] | None = None,
    accept_refused: bool = False,
    verify: bool = False,
) -> Copied:
    """Copy all objects below a place, on the I/O loop.

    What is cancelled goes on where it was when it is started again. The source is in a
    bucket, on this computer or in an archive; where nothing is listed, as on web
    servers, an image and its labels are copied, named after their metadata, and the
    bytes of it all are not known before they are there. At the target, a folder of this
    computer or a place in a bucket, nothing may be but what an earlier copy from the
    same source left.

    With ``accept_refused`` is left out what a bucket that may not be listed refuses:
    nobody can tell whether such chunks were never written. With ``verify`` what was
    written is read back and compared; what a bucket is sent carries its checksum in any
    case, and what it lists by one is compared when it comes. ``progress`` is called on
    the loop after each object, and each piece of 16 MB of a long one; it must return
    at once.

    Raises
    ------
    VerificationError, ObjectChangedError
        What was read back differs, or what came does not fit its checksum.
    LossError
        Chunks are refused so, and nobody has agreed to leave them out.
    TargetExistsError
        Something else is there; nothing is overwritten.
    OptionError
        One lies in the other, or nothing can be written to the target.
    ListingDeniedError
        The source does not tell what it holds.
    StoreError
        Something could not be read or written.
    """
    check_apart(source, target)
    items = await objects_of(source)
    check_names(source, target, items)
    journal = CopyJournal(source, target)
    hierarchy = open_copy_target(target)
    there = await asyncio.to_thread(hierarchy.sizes, "")
    partials = set()
    if not hierarchy.is_object_store:
        partials = {key for key in there if key.endswith(_PARTIALS)}
    if there.keys() - partials and not await asyncio.to_thread(journal.is_known):
        sentence = f"Something is already at {target.display}."
        action = "Choose another name."
        raise TargetExistsError(sentence, action=action, url=target.display)
    same = await asyncio.to_thread(journal.begin, items)
    for key in partials:
        await asyncio.to_thread(hierarchy.begin_delete, key)
    done = [item for item in items if same and _is_there(item, there)]
    copying = CopyRun(open_store(source), hierarchy, items, done, progress)
    written = open_store(target) if verify else None
    await copying.run(accept_refused=accept_refused, written=written)
    await asyncio.to_thread(journal.end)
    return Copied(target, copying.objects, copying.bytes, len(done))


def open_copy_target(target: Location) -> Hierarchy:
    """Give the hierarchy that objects are copied into."""
    if target.is_archive:
        sentence = f"Nothing is copied into an archive: {target.display}."
        raise OptionError(sentence, action="Choose a folder.", url=target.display)
    check_new_name(target)
    if target.protocol == "file" and target.local_path().is_file():
        sentence = f"A file is at {target.display}, and no folder."
        action = "Choose another name."
        raise TargetExistsError(sentence, action=action, url=target.display)
    return open_hierarchy(target)


class CopyRun:
    """One run of a copy: the items that are not done yet."""

    def __init__(
        self,
        source: RemoteStore,
        target: Hierarchy,
        items: Sequence[ObjectMeta],
        done: Sequence[ObjectMeta],
        progress: Callable[[CopyProgress], None] | None,
    ) -> None:
        self.objects = 0
        self.bytes = 0
        self._source = source
        self._target = target
        self._progress = progress
        self._all = (len(items), sum(item.size or 0 for item in items))
        self._done = (len(done), sum(item.size or 0 for item in done))
        self._passed = 0
        finished = {item.name for item in done}
        self._waiting = [item for item in items if item.name not in finished]
        self._alone = asyncio.Lock()
        self._few = asyncio.Semaphore(_MEDIUM_AT_A_TIME)
        self._written: RemoteStore | None = None

    async def run(
        self, *, accept_refused: bool, written: RemoteStore | None = None
    ) -> None:
        """Copy them, the root's document last.

        With ``written``, the target as who reads it finds it, all is read back.
        """
        self._written = written
        self._tell()
        # Where nothing is listed, what a refusal means depends on what can be read.
        await self._source.answers(
            item.name
            for item in self._waiting
            if item.size is None and item.name in NODE_DOCUMENTS
        )
        with nullcontext() if accept_refused else presumptions.refused(AGREE):
            await self._copy_all(i for i in self._waiting if not is_document(i.name))
        # The root's document comes last of all: until then it is no image to a reader.
        documents = [item for item in self._waiting if is_document(item.name)]
        for depth in sorted({d.name.count("/") for d in documents}, reverse=True):
            await self._copy_all(d for d in documents if d.name.count("/") == depth)

    async def _copy_all(self, items: Iterable[ObjectMeta]) -> None:
        await bounded_gather((partial(self._step, item) for item in items), _AT_A_TIME)

    async def _step(self, item: ObjectMeta) -> None:
        # Of unknown size they may be of any.
        size = _MEDIUM if item.size is None else item.size
        alone = self._alone if size >= _LARGE else nullcontext()
        async with alone, self._few if size >= _MEDIUM else nullcontext():
            if is_long(self._source, item):
                copied: int | None = await self._copy_pieces(item)
            else:
                copied = await self._copy(item)
        self.objects += copied is not None
        self.bytes += copied or 0
        self._passed += 1
        self._tell()

    async def _copy_pieces(self, item: ObjectMeta) -> int:
        """Copy a long object by its pieces, each of which is told of when it comes."""
        long = LongObject(self._source, item, hashes=self._written is not None)

        async def piece(start: int, stop: int) -> bytes:
            body = await long.piece(start, stop)
            self.bytes += len(body)
            self._tell()
            return body

        await long.open()
        await self._target.put_pieces(item.name, long.size, piece)
        if self._written is not None:
            written = LongObject(self._written, replace(item, etag=""))
            if await written.md5() != long.hash.hexdigest():
                raise _read_back_differs(item.name, long.place)
        return 0  # they are counted

    async def _copy(self, item: ObjectMeta) -> int | None:
        """Copy an object and give its size; None if it may be missing, and is."""
        # What was listed is there: a refusal is one, and no way to say "missing".
        listed = item.size is not None
        body = (await self._source.answers([item.name], apart=listed))[item.name]
        if isinstance(body, StoreError):
            raise body
        place = (self._source.location / item.name).display
        if body is None and not listed:
            return None
        if body is None:
            raise _gone(place)
        if item.size is not None and len(body) != item.size:
            raise _of_another_size(place)
        # A folder writes in the thread that begins, a bucket on this loop.
        put = await asyncio.to_thread(self._begin_put, item, body)
        if put is None:
            await self._check_again(item, body, place)
            put = await asyncio.to_thread(self._target.begin_put, item.name, body)
        if put.done():
            put.result()
        else:
            await asyncio.wrap_future(put)
        if self._written is not None:
            found = await asyncio.to_thread(self._target.read, item.name)
            if found is None or found.body != body:
                raise _read_back_differs(item.name, place)
        return len(body)

    def _begin_put(self, item: ObjectMeta, body: bytes) -> Future[None] | None:
        """Begin to put what fits its checksum; None if it does not."""
        if is_md5(item.etag) and md5(body) != item.etag:
            return None
        return self._target.begin_put(item.name, body)

    async def _check_again(self, item: ObjectMeta, body: bytes, place: str) -> None:
        """Fetch what does not fit its checksum once more.

        An encrypted object's ETag looks like a checksum and is none: then what comes
        is twice the same.
        """
        self._source.forget(item.name)
        again = (await self._source.answers([item.name], apart=True))[item.name]
        if again != body:
            raise _differs(place)

    def _tell(self) -> None:
        if self._progress is not None:
            objects, size = self._done[0] + self._passed, self._done[1] + self.bytes
            self._progress(CopyProgress(objects, self._all[0], size, self._all[1]))


# A long object, of which a few pieces are in memory at a time.


def is_long(store: RemoteStore, item: ObjectMeta) -> bool:
    """Whether an object is copied piece by piece.

    Not out of an archive, where a piece may cost as much as all before it, nor from a
    web server, which may send no pieces at all.
    """
    place = store.location
    apart = not place.is_archive and place.protocol not in WEB
    return apart and item.size is not None and item.size >= _LARGE


class LongObject:
    """A long object as it was when its first piece came.

    The pieces are asked for in their order, several at a time. They are hashed in it
    where the listing tells what the hash of all should be, or where that is wished.
    """

    def __init__(
        self, store: RemoteStore, item: ObjectMeta, *, hashes: bool = False
    ) -> None:
        self.size = item.size or 0
        self.place = (store.location / item.name).display
        self.hash = hashlib.md5(usedforsecurity=False)
        self._store = store
        self._item = item
        self._wanted = item.etag if is_md5(item.etag) else None
        self._hashes = hashes or self._wanted is not None
        self._etag = ""
        self._hashed = 0
        self._turn = asyncio.Condition()

    async def open(self) -> None:
        """Find out which state of the object is copied."""
        found = await self._store.read(self._item.name, FIRST_BYTE)
        if found is None:
            raise _gone(self.place)
        if found.size not in (None, self.size):
            raise _of_another_size(self.place)
        self._etag = found.etag

    async def piece(self, start: int, stop: int) -> bytes:
        """Give a piece; the last one only if all fit their checksum."""
        body = await self._read(start, stop)
        if self._hashes:
            await self._hash_in_turn(start, body)
        differs = self._wanted not in (None, self.hash.hexdigest())
        if differs and stop == self.size:
            await self._check_again()
        return body

    async def md5(self) -> str:
        """Give the checksum of all."""
        await self.open()
        for start, stop in pieces_of(self.size):
            await self._hash_in_turn(start, await self._read(start, stop))
        return self.hash.hexdigest()

    async def _read(self, start: int, stop: int) -> bytes:
        return await self._store.read_part(self._item.name, start, stop, self._etag)

    async def _hash_in_turn(self, start: int, body: bytes) -> None:
        async with self._turn:
            await self._turn.wait_for(lambda: self._hashed == start)
            await asyncio.to_thread(self.hash.update, body)
            self._hashed += len(body)
            self._turn.notify_all()

    async def _check_again(self) -> None:
        """Read all once more; what is no checksum of it comes twice the same."""
        self._store.forget(self._item.name)
        again = LongObject(self._store, self._item)
        if await again.md5() != self.hash.hexdigest():
            raise _differs(self.place)


def _gone(place: str) -> NodeNotFoundError:
    sentence = f"{place} has gone while it was copied."
    return NodeNotFoundError(sentence, action="Start again.", url=place)


def _of_another_size(place: str) -> TruncatedBodyError:
    sentence = f"{place} has changed while it was copied."
    return TruncatedBodyError(sentence, action="Start again.", url=place)


def _differs(place: str) -> ObjectChangedError:
    sentence = f"{place} came differently twice."
    action = "Start again; check the network."
    return ObjectChangedError(sentence, action=action, url=place)


def _read_back_differs(name: str, place: str) -> VerificationError:
    sentence = f"What was read back of {name} differs."
    action = "Copy it again; check the disk or the network."
    return VerificationError(sentence, action=action, url=place)


def md5(body: bytes) -> str:
    """Give the checksum that most services take for an ETag."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def is_md5(etag: str) -> bool:
    """Whether an ETag may be the checksum of all: those of uploads in parts are not."""
    return re.fullmatch("[0-9a-f]{32}", etag) is not None


def check_apart(source: Location, target: Location) -> None:
    """Refuse to copy a place into itself."""
    ends = source.display, target.display
    if lies_within(*ends) or lies_within(*reversed(ends)):
        sentence = f"{target.display} and {source.display} lie in each other."
        raise OptionError(sentence, action="Choose another place.", url=target.display)


def check_names(
    source: Location, target: Location, items: Iterable[ObjectMeta]
) -> None:
    """Refuse names that lead out of the target before anything is written."""
    windows = os.name == "nt" and not target.is_remote
    for name in (item.name for item in items):
        if not is_below(name, windows=windows):
            what = "which is no name below a folder"
        elif target.is_remote and not is_plain_key(name):
            what = "which services take for another name"
        else:
            continue
        sentence = f"{source.display} holds {name!r}, {what}."
        action = "Ask its owner to pack it again."
        raise StoreError(sentence, action=action, url=source.display)


def _is_there(item: ObjectMeta, there: Mapping[str, int]) -> bool:
    found = there.get(item.name)
    return found is not None and item.size in (None, found)


# What is copied.


async def objects_of(source: Location) -> list[ObjectMeta]:
    """List the objects, or name them after the metadata where nothing is listed."""
    try:
        return await listed(source)
    except ListingDeniedError as error:
        denied = error
    try:
        expected = await expected_keys(source)
    except NodeNotFoundError:
        raise denied from None
    if not expected:
        raise denied
    return expected


async def listed(source: Location) -> list[ObjectMeta]:
    """List all objects of a place; NodeNotFoundError if there are none."""
    lister = open_lister(source)
    page = await lister.deep_page("")
    items = [*page.items]
    while page.token:
        page = await lister.deep_page(page.token)
        items += page.items
    if not items:
        sentence = f"Nothing is at {source.display}."
        raise nothing_at(source, sentence, "Check the address.")
    return items


async def expected_keys(source: Location) -> list[ObjectMeta]:
    """Name all objects that an image and its labels may have, on the I/O loop.

    Their sizes are not known, and some may be missing: chunks that are all fill value
    are not stored. Whatever else lies beside them is left out. There are none for what
    is no image of arrays, and for one of more than a million objects. Of a level they
    are its own, though the whole image opens at its address.
    """
    reading = await asyncio.to_thread(read_current, source)
    above = f"{reading.location.path}/".lstrip("/")
    is_part = source != reading.location and source.path.startswith(above)
    root = reading.location if is_part else source
    keys: dict[str, None] = {}
    for image in reading.pyramids:
        if any(not isinstance(level.pixels, ArrayPixels) for level in image.levels):
            return []
        if _count_chunks(image) + len(keys) > _MOST:
            return []
        keys |= dict.fromkeys(_keys(root, image))
    if is_part:
        part = f"{source.path.removeprefix(above)}/"
        below = (key.removeprefix(part) for key in keys if key.startswith(part))
        keys = dict.fromkeys(below)
    for path in ("", "labels"):
        keys |= dict.fromkeys(join_path(path, name) for name in DOCUMENTS)
    return [ObjectMeta(key, False) for key in sorted(keys)]


def _count_chunks(image: Pyramid) -> int:
    arrays = (level.pixels for level in image.levels)
    return sum(prod(a.stored_grid) for a in arrays if isinstance(a, ArrayPixels))


def _keys(root: Location, image: Pyramid) -> Iterable[str]:
    path = image.location.path.removeprefix(root.path).strip("/")
    yield from (join_path(path, name) for name in NODE_DOCUMENTS)
    for level in image.levels:
        inside = join_path(path, level.path)
        yield from (join_path(inside, name) for name in NODE_DOCUMENTS)
        if isinstance(level.pixels, ArrayPixels):
            yield from _chunk_keys(level.pixels)


def _chunk_keys(pixels: ArrayPixels) -> Iterable[str]:
    objects = pixels.shards or pixels.stored_chunks
    each = zip(objects, pixels.stored_chunks, strict=True)
    step = tuple(size // chunk for size, chunk in each)
    for index in product(*map(range, pixels.stored_grid)):
        yield pixels.stored_key(tuple(i * n for i, n in zip(index, step, strict=True)))


# Which copies were begun and not ended: that lets them go on, and nothing else.


class CopyJournal:
    """A small file in the cache folder for one copy; no secret is in it or its name."""

    def __init__(self, source: Location, target: Location) -> None:
        self._ends = {"source": source.display, "target": target.display}
        name = hashlib.sha256("\n".join(self._ends.values()).encode()).hexdigest()
        self._file = cache_folder() / "copies" / f"{name[:32]}.json"

    def is_known(self) -> bool:
        """Say whether this copy was begun before and did not end."""
        content = read_json(self._file)
        return isinstance(content, dict) and self._ends.items() <= content.items()

    def begin(self, items: Iterable[ObjectMeta]) -> bool:
        """Note that the copy began; true if the source is as it was at the last time.

        What is there of it then still counts.
        """
        digest = hashlib.sha256()
        for item in items:
            digest.update(f"{item.name}\n{item.size}\n{item.modified}\n".encode())
        content = {**self._ends, "listing": digest.hexdigest()}
        before = read_json(self._file)
        if before == content:
            return True
        write_json(self._file, content)
        return before is None

    def end(self) -> None:
        """Forget the copy, as it is whole."""
        self._file.unlink(missing_ok=True)


# Making a store equal to another: what differs is copied, and nothing else.

_COMPARED_AT_A_TIME = 16


@dataclass(frozen=True, slots=True)
class MirrorPlan:
    """What differs between two places: what is to be copied, and what is too much.

    ``changed`` are the names of those to be copied that are at the target with another
    content; ``same`` counts those that are equal.
    """

    source: Location
    target: Location
    items: tuple[ObjectMeta, ...]
    changed: frozenset[str]
    extra: tuple[str, ...]
    same: int

    @property
    def bytes(self) -> int:
        """Bytes to be copied, as far as they are known before."""
        return sum(item.size or 0 for item in self.items)


@guarded
async def plan_mirror(source: Location, target: Location) -> MirrorPlan:
    """Compare two places, on the I/O loop; nothing is written.

    Sizes are compared, then checksums: those that buckets list, or of what is read.

    Raises
    ------
    OptionError
        One lies in the other, or nothing can be written to the target.
    ListingDeniedError
        One of them does not tell what it holds.
    StoreError
        Something could not be read.
    """
    check_apart(source, target)
    open_copy_target(target)
    items = await objects_of(source)
    check_names(source, target, items)
    try:
        there = {item.name: item for item in await listed(target)}
    except NodeNotFoundError:
        there = {}
    there = {
        name: item
        for name, item in there.items()
        if not is_claim(name) and not name.endswith(PARTIAL)
    }
    comparing = _Comparing(open_store(source), open_store(target), there)
    await comparing.run(items)
    wanted = {item.name for item in items} - comparing.absent
    return MirrorPlan(
        source,
        target,
        tuple(item for item in items if item.name in comparing.differing),
        frozenset(comparing.differing & there.keys()),
        tuple(name for name in there if name not in wanted),
        len(wanted) - len(comparing.differing),
    )


class _Comparing:
    """Which objects of a source differ from those at a target."""

    def __init__(
        self, source: RemoteStore, target: RemoteStore, there: dict[str, ObjectMeta]
    ) -> None:
        self.differing: set[str] = set()
        self.absent: set[str] = set()
        self._source = source
        self._target = target
        self._there = there

    async def run(self, items: Iterable[ObjectMeta]) -> None:
        """Compare all."""
        await bounded_gather(
            (partial(self._compare, i) for i in items), _COMPARED_AT_A_TIME
        )

    async def _compare(self, item: ObjectMeta) -> None:
        there = self._there.get(item.name)
        if item.size is not None and (there is None or there.size != item.size):
            self.differing.add(item.name)
            return
        wanted = await self._checksum(self._source, item)
        if wanted is None:  # expected by the metadata, and never written
            self.absent.add(item.name)
        elif there is None or await self._checksum(self._target, there) != wanted:
            self.differing.add(item.name)

    async def _checksum(self, store: RemoteStore, item: ObjectMeta) -> str | None:
        if is_md5(item.etag):
            return item.etag
        if is_long(store, item):
            return await LongObject(store, item).md5()
        body = (await store.answers([item.name]))[item.name]
        if isinstance(body, StoreError):
            raise body
        return None if body is None else md5(body)


@guarded
async def mirror_store(
    plan: MirrorPlan,
    *,
    delete: bool = False,
    verify: bool = False,
    progress: Callable[[CopyProgress], None] | None = None,
) -> Copied:
    """Copy what differs, as a person agreed; documents last. Started again it goes on.

    With ``delete`` what the source has not is deleted at the target; with ``verify``
    what was written is read back and compared. All is called on the I/O loop,
    ``progress`` as by `copy_store`: it must return at once.

    Raises
    ------
    TargetClaimedError
        Somebody is writing to the target.
    StoreError, VerificationError
        Something could not be read or written, or differs from what was read back.
    """
    if not plan.items and not (delete and plan.extra):
        return Copied(plan.target, 0, 0, plan.same)
    hierarchy = open_copy_target(plan.target)
    claim = claim_of(hierarchy, "", hierarchy.address)
    await asyncio.to_thread(claim.take)
    try:
        store = open_store(plan.source)
        copying = CopyRun(store, hierarchy, plan.items, [], progress)
        written = open_store(plan.target) if verify else None
        await copying.run(accept_refused=False, written=written)
        await asyncio.to_thread(claim.check)
        # A document first: what is gone by half is nothing to a reader.
        extra = sorted(plan.extra if delete else (), key=lambda k: not is_document(k))
        for name in extra:
            gone = await asyncio.to_thread(hierarchy.begin_delete, name)
            await asyncio.wrap_future(gone)
    finally:
        await asyncio.to_thread(claim.release)
    return Copied(plan.target, copying.objects, copying.bytes, plan.same)
