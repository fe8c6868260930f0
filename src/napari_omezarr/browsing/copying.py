"""Copying a store byte for byte: down, up, and from bucket to bucket.

What is written is whole or not there, and the documents come last: a copy that broke
off is no image to any reader. It goes on where it was when it is started again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_omezarr.errors import (
    ListingDeniedError,
    NodeNotFoundError,
    OptionError,
    StoreError,
    TargetExistsError,
    TruncatedBodyError,
)
from napari_omezarr.store import open_lister, open_store

from .copytarget import open_target
from .enumeration import known_objects
from .unfinished import Unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from napari_omezarr.location import Location
    from napari_omezarr.store import Item, PlaceStore

    from .copytarget import Target

_AT_A_TIME = 16
_LARGE = 64 * 2**20
"""From how many bytes an object is copied alone, so that memory stays bounded."""

_DOCUMENTS = ("zarr.json", ".zattrs", ".zgroup", ".zarray", ".zmetadata")


@dataclass(frozen=True, slots=True)
class Progress:
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
    progress: Callable[[Progress], None] | None = None,
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
    unfinished = Unfinished(source, target)
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
        source: PlaceStore,
        target: Target,
        progress: Callable[[Progress], None],
        items: Sequence[Item],
        done: Sequence[Item],
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

    async def _each(self, items: Sequence[Item]) -> None:
        queue = iter(items)
        workers = [asyncio.ensure_future(self._work(queue)) for _ in range(_AT_A_TIME)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, queue: Iterator[Item]) -> None:
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

    async def _copy(self, item: Item) -> int | None:
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
        self._progress(Progress(objects, self._all[0], count, self._all[1]))


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


async def _found(source: Location) -> list[Item]:
    """List the objects, or name them after the metadata where nothing is listed."""
    try:
        return await _listed(source)
    except ListingDeniedError as error:
        denied = error
    try:
        named = await known_objects(source)
    except NodeNotFoundError:
        raise denied from None
    if not named:
        raise denied
    return named


async def _listed(source: Location) -> list[Item]:
    lister = open_lister(source)
    items: list[Item] = []
    rest = ""
    while True:
        batch = await lister.tree(rest)
        items += batch.items
        rest = batch.rest
        if not rest:
            break
    if not items:
        sentence = f"Nothing is at {source.display}."
        raise NodeNotFoundError(sentence, url=source.display)
    return items


def _is_there(item: Item, there: Mapping[str, int]) -> bool:
    found = there.get(item.name)
    return found is not None and item.size in (None, found)


def _is_document(item: Item) -> bool:
    return item.name.rpartition("/")[2] in _DOCUMENTS


def _ignore(_progress: Progress) -> None:
    """Tell nobody."""
