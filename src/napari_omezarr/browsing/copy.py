"""Copying a store byte for byte: down, up, and from bucket to bucket; mirrors.

What is written is whole or not there, and the documents come last: a copy that broke
off is no image to any reader. It goes on where it was when it is started again.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from napari_omezarr._io_loop import bounded_gather
from napari_omezarr.atomic_file import is_partial
from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    ListingDeniedError,
    NodeNotFoundError,
    OptionError,
    StoreError,
    TargetExistsError,
)
from napari_omezarr.location import (
    DOCUMENTS,
    NODE_DOCUMENTS,
    is_below,
    is_plain_key,
)
from napari_omezarr.pyramid import ArrayPixels
from napari_omezarr.reading import join_path, read_current
from napari_omezarr.store import (
    ObjectMeta,
    all_items,
    nothing_at,
    open_lister,
    open_store,
)
from napari_omezarr.writing import (
    CopyJournal,
    CopyProgress,
    CopyRun,
    LongObject,
    check_new_name,
    claim_of,
    is_document,
    is_long,
    is_md5,
    is_ours,
    lies_within,
    md5,
    open_hierarchy,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Pyramid
    from napari_omezarr.store import RemoteStore
    from napari_omezarr.writing import Hierarchy

_MOST = 1_000_000
"""How many expected objects are asked for at most: so many keys are held in memory."""

_OLD_PARTIAL = ".copy-part"
"""How a file ended that an earlier version was writing."""


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
    journal = CopyJournal(source.display, target.display)
    hierarchy = open_copy_target(target)
    there = await asyncio.to_thread(hierarchy.sizes, "")
    partials = set()
    if not hierarchy.is_object_store:
        partials = set(filter(_is_partial, there))
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


def _is_partial(key: str) -> bool:
    return is_partial(key.rpartition("/")[2]) or key.endswith(_OLD_PARTIAL)


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
    items = await all_items(open_lister(source).deep_page)
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
    there = {name: item for name, item in there.items() if not is_ours(name)}
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
