"""Copying a store byte for byte: down, up, and from bucket to bucket.

What is written is whole or not there, and the documents come last: a copy that broke
off is no image to any reader. It goes on where it was when it is started again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_omezarr.atomic_file import PARTIAL, replacing
from napari_omezarr.errors import (
    DiskFullError,
    ListingDeniedError,
    NodeNotFoundError,
    OptionError,
    ReadOnlyError,
    StoreError,
    TargetExistsError,
    TruncatedBodyError,
)
from napari_omezarr.location import DOCUMENTS, NODE_DOCUMENTS
from napari_omezarr.pyramid import ArrayPixels
from napari_omezarr.reading import join_path, read
from napari_omezarr.store import ObjectMeta, open_lister, open_store, open_writable
from napari_omezarr.user_files import cache_folder, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Pyramid
    from napari_omezarr.store import RemoteStore, WritablePlace

# Where a copy goes: a folder of this computer, or a place that objects are put to.

_NO_ROOM = (28, 122)
"""ENOSPC and EDQUOT: the disk is full, or the person's share of it."""


_PARTIALS = (PARTIAL, ".copy-part")
"""How a file ends that was being written; the second is of earlier versions."""


class CopyTarget(Protocol):
    """A place to copy to."""

    async def sizes(self) -> Mapping[str, int]:
        """Give the paths of all objects that are there, and their bytes."""
        ...

    async def put(self, key: str, body: bytes) -> None:
        """Write an object, whole or not at all."""
        ...

    async def tidy(self) -> None:
        """Delete what an earlier copy left half written."""
        ...


def open_target(location: Location) -> CopyTarget:
    """Choose how to write to a place; nothing is written yet.

    Raises
    ------
    OptionError
        Nothing can be written there.
    """
    if location.is_archive:
        sentence = f"Nothing is copied into an archive: {location.display}."
        raise OptionError(sentence, action="Choose a folder.", url=location.display)
    if location.protocol == "file":
        return FolderTarget(location.local_path())
    return DepotTarget(open_writable(location))


class FolderTarget:
    """A folder of this computer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def sizes(self) -> Mapping[str, int]:
        """Walk the folder."""
        return await asyncio.to_thread(self._sizes)

    async def tidy(self) -> None:
        """Delete what a copy that was killed left half written."""
        await asyncio.to_thread(self._tidy)

    async def put(self, key: str, body: bytes) -> None:
        """Write a file beside and move it to its name.

        Raises
        ------
        StoreError
            It could not be written.
        """
        try:
            await asyncio.to_thread(self._put, key, body)
        except OSError as error:
            raise _explained(error, str(self._folder / key)) from None

    def _sizes(self) -> dict[str, int]:
        return {
            file.relative_to(self._folder).as_posix(): file.stat().st_size
            for root, _, names in os.walk(self._folder)
            for name in names
            if not (file := Path(root) / name).name.endswith(_PARTIALS)
        }

    def _tidy(self) -> None:
        for ending in _PARTIALS:
            for file in self._folder.rglob(f"*{ending}"):
                with suppress(OSError):
                    file.unlink()

    def _put(self, key: str, body: bytes) -> None:
        with replacing(self._folder / key) as fresh:
            fresh.write_bytes(body)


class DepotTarget:
    """A place in a bucket."""

    def __init__(self, depot: WritablePlace) -> None:
        self._depot = depot

    async def sizes(self) -> Mapping[str, int]:
        """List what is there."""
        return {each.name: each.size or 0 async for each in self._depot.objects()}

    async def tidy(self) -> None:
        """Do nothing: nothing is ever half written there."""

    async def put(self, key: str, body: bytes) -> None:
        """Put an object; S3 shows it whole or not at all."""
        await self._depot.put(key, body)


def _explained(error: OSError, place: str) -> StoreError:
    if error.errno in _NO_ROOM:
        sentence = "The disk is full."
        return DiskFullError(sentence, action="Make room, and start again.", url=place)
    if isinstance(error, PermissionError):
        sentence = f"{place} may not be written by you."
        return ReadOnlyError(sentence, action="Choose another folder.", url=place)
    sentence = f"{place} cannot be written ({error.strerror or 'unknown reason'})."
    return StoreError(sentence, action="Choose another folder.", url=place)


# The objects of an image at a place that lists nothing, from its metadata.

MOST = 1_000_000
"""How many objects are asked for at most: so many keys are held in memory."""


async def expected_keys(source: Location) -> list[ObjectMeta]:
    """Name all objects that an image and its labels may have, on the I/O loop.

    Their sizes are not known, and some may be missing: chunks that are all fill value
    are not stored. Whatever else lies beside them is left out.

    Returns
    -------
    list of Item
        Empty for what is no image of arrays, and for one of more than `MOST` objects.

    Raises
    ------
    OMEZarrError
        The image could not be read.
    """
    reading = await asyncio.to_thread(read, source)
    keys: dict[str, None] = {}
    for image in reading.pyramids:
        if any(not isinstance(level.pixels, ArrayPixels) for level in image.levels):
            return []
        if _count(image) + len(keys) > MOST:
            return []
        keys |= dict.fromkeys(_keys(source, image))
    for path in ("", "labels"):
        keys |= dict.fromkeys(join_path(path, name) for name in DOCUMENTS)
    return [ObjectMeta(key, False) for key in sorted(keys)]


def _count(image: Pyramid) -> int:
    arrays = (level.pixels for level in image.levels)
    return sum(prod(a.stored_grid) for a in arrays if isinstance(a, ArrayPixels))


def _keys(source: Location, image: Pyramid) -> Iterable[str]:
    path = _below(source, image.location)
    yield from (join_path(path, name) for name in NODE_DOCUMENTS)
    for level in image.levels:
        inside = join_path(path, level.path)
        yield from (join_path(inside, name) for name in NODE_DOCUMENTS)
        if isinstance(level.pixels, ArrayPixels):
            yield from _chunks(level.pixels)


def _chunks(pixels: ArrayPixels) -> Iterable[str]:
    objects = pixels.shards or pixels.stored_chunks
    each = zip(objects, pixels.stored_chunks, strict=True)
    step = tuple(size // chunk for size, chunk in each)
    for index in product(*map(range, pixels.stored_grid)):
        yield pixels.stored_key(tuple(i * n for i, n in zip(index, step, strict=True)))


def _below(ancestor: Location, location: Location) -> str:
    return location.path.removeprefix(ancestor.path).strip("/")


# Which copies were begun and not ended: that lets them go on, and nothing else.


class CopyJournal:
    """The mark of one copy, in a small file of the cache folder.

    Parameters
    ----------
    source, target : Location
        Its ends; no secret of theirs is in the file or in its name.
    """

    def __init__(self, source: Location, target: Location) -> None:
        self._ends = {"source": source.display, "target": target.display}
        name = hashlib.sha256("\n".join(self._ends.values()).encode()).hexdigest()
        self._file = cache_folder() / "copies" / f"{name[:32]}.json"

    def is_known(self) -> bool:
        """Say whether this copy was begun before and did not end."""
        content = read_json(self._file)
        return isinstance(content, dict) and self._ends.items() <= content.items()

    def begin(self, items: Iterable[ObjectMeta]) -> bool:
        """Mark the copy as begun.

        Returns
        -------
        bool
            Whether the source is as it was: what is there of it then still counts.
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
        """Forget the copy: it is whole."""
        self._file.unlink(missing_ok=True)


# Copying a store byte for byte: down, up, and from bucket to bucket.
#
# What is written is whole or not there, and the documents come last: a copy that
# broke off is no image to any reader. It goes on where it was when it is started
# again.

_AT_A_TIME = 16
_LARGE = 64 * 2**20
"""From how many bytes an object is copied alone, so that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far a copy is: objects and bytes, done of all."""

    objects: int
    all_objects: int
    bytes: int
    all_bytes: int


@dataclass(frozen=True, slots=True)
class Copied:
    """A finished copy.

    Attributes
    ----------
    target : Location
        Where it is.
    objects, bytes : int
        How much was copied now.
    resumed : int
        How many objects were there from before.
    """

    target: Location
    objects: int
    bytes: int
    resumed: int


async def copy_store(
    source: Location,
    target: Location,
    *,
    progress: Callable[[CopyProgress], None] | None = None,
) -> Copied:
    """Copy all objects below a place, on the I/O loop.

    Parameters
    ----------
    source : Location
        A place in a bucket, on this computer, in an archive. Where nothing is listed,
        as on web servers, an image and its labels, named after their metadata; the
        bytes of it all are not known then before they are there.
    target : Location
        A folder of this computer or a place in a bucket. Nothing may be there but
        what an earlier copy from the same source left.
    progress : callable, optional
        Called on the I/O loop after each object; must return at once.

    Returns
    -------
    Copied
        What was done. Cancelling keeps what is done until it is started again.

    Raises
    ------
    TargetExistsError
        Something else is there; nothing is overwritten.
    OptionError
        One lies in the other, or nothing can be written to the target.
    ListingDeniedError
        The source does not tell what it holds.
    StoreError
        Something could not be read or written.
    """
    _check_apart(source, target)
    items = await _found(source)
    unfinished = CopyJournal(source, target)
    where = open_target(target)
    there = await where.sizes()
    if there and not await asyncio.to_thread(unfinished.is_known):
        sentence = f"Something is already at {target.display}."
        action = "Choose another name."
        raise TargetExistsError(sentence, action=action, url=target.display)
    same = await asyncio.to_thread(unfinished.begin, items)
    await where.tidy()
    done = [i for i in items if same and _is_there(i, there)]
    copy = _Copy(open_store(source), where, progress or _ignore, items, done)
    await copy.run()
    await asyncio.to_thread(unfinished.end)
    return Copied(target, copy.objects, copy.copied, len(done))


class _Copy:
    """One run of a copy."""

    def __init__(
        self,
        source: RemoteStore,
        target: CopyTarget,
        progress: Callable[[CopyProgress], None],
        items: Sequence[ObjectMeta],
        done: Sequence[ObjectMeta],
    ) -> None:
        self.objects = 0
        self.copied = 0
        self._source = source
        self._target = target
        self._progress = progress
        self._all = (len(items), sum(item.size or 0 for item in items))
        self._done = [len(done), sum(item.size or 0 for item in done)]
        finished = {item.name for item in done}
        self._waiting = [item for item in items if item.name not in finished]
        self._alone = asyncio.Lock()

    async def run(self) -> None:
        self._tell()
        data = [item for item in self._waiting if not _is_document(item)]
        documents = [item for item in self._waiting if _is_document(item)]
        await self._each(data)
        # The root's document comes last of all.
        documents.sort(key=lambda item: -item.name.count("/"))
        for depth in sorted({d.name.count("/") for d in documents}, reverse=True):
            await self._each([d for d in documents if d.name.count("/") == depth])

    async def _each(self, items: Sequence[ObjectMeta]) -> None:
        queue = iter(items)
        workers = [asyncio.ensure_future(self._work(queue)) for _ in range(_AT_A_TIME)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, queue: Iterator[ObjectMeta]) -> None:
        for item in queue:
            if (item.size or 0) >= _LARGE:
                async with self._alone:
                    size = await self._copy(item)
            else:
                size = await self._copy(item)
            self.objects += size is not None
            self.copied += size or 0
            self._done[0] += 1
            self._done[1] += size or 0
            self._tell()

    async def _copy(self, item: ObjectMeta) -> int | None:
        """Copy an object and give its size; None if it may be missing, and is."""
        # What was listed is there: a refusal is one, and no way to say "missing".
        listed = item.size is not None
        body = (await self._source.answers([item.name], apart=listed))[item.name]
        if isinstance(body, StoreError):
            raise body
        place = (self._source.location / item.name).display
        if body is None and item.size is None:
            return None
        if body is None:
            sentence = f"{place} has gone while it was copied."
            raise NodeNotFoundError(sentence, action="Start again.", url=place)
        if item.size is not None and len(body) != item.size:
            sentence = f"{place} has changed while it was copied."
            raise TruncatedBodyError(sentence, action="Start again.", url=place)
        await self._target.put(item.name, body)
        return len(body)

    def _tell(self) -> None:
        objects, count = self._done
        self._progress(CopyProgress(objects, self._all[0], count, self._all[1]))


def _check_apart(source: Location, target: Location) -> None:
    """Refuse to copy a place into itself.

    Raises
    ------
    OptionError
        One lies in the other.
    """
    ends = [f"{place.display.rstrip('/')}/" for place in (source, target)]
    if ends[0].startswith(ends[1]) or ends[1].startswith(ends[0]):
        sentence = f"{target.display} and {source.display} lie in each other."
        raise OptionError(sentence, action="Choose another place.", url=target.display)


async def _found(source: Location) -> list[ObjectMeta]:
    """List the objects, or name them after the metadata where nothing is listed."""
    try:
        return await _listed(source)
    except ListingDeniedError as error:
        denied = error
    try:
        named = await expected_keys(source)
    except NodeNotFoundError:
        raise denied from None
    if not named:
        raise denied
    return named


async def _listed(source: Location) -> list[ObjectMeta]:
    lister = open_lister(source)
    items: list[ObjectMeta] = []
    rest = ""
    while True:
        batch = await lister.deep_page(rest)
        items += batch.items
        rest = batch.token
        if not rest:
            break
    if not items:
        sentence = f"Nothing is at {source.display}."
        raise NodeNotFoundError(sentence, url=source.display)
    return items


def _is_there(item: ObjectMeta, there: Mapping[str, int]) -> bool:
    found = there.get(item.name)
    return found is not None and item.size in (None, found)


def _is_document(item: ObjectMeta) -> bool:
    return item.name.rpartition("/")[2] in DOCUMENTS


def _ignore(_progress: CopyProgress) -> None:
    """Tell nobody."""
