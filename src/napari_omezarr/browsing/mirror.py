"""Making a store equal to another: what differs is copied, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from napari_omezarr._io_loop import bounded_gather
from napari_omezarr.atomic_file import PARTIAL
from napari_omezarr.errors import NodeNotFoundError, StoreError
from napari_omezarr.store import open_store
from napari_omezarr.writing import claim_of, is_claim, is_document

from .copy import (
    Copied,
    CopyRun,
    check_apart,
    check_names,
    is_md5,
    listed,
    md5,
    objects_of,
    open_copy_target,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_omezarr.location import Location
    from napari_omezarr.store import ObjectMeta, RemoteStore

    from .copy import CopyProgress

_AT_A_TIME = 16


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
        await bounded_gather((partial(self._compare, i) for i in items), _AT_A_TIME)

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
        body = (await store.answers([item.name]))[item.name]
        if isinstance(body, StoreError):
            raise body
        return None if body is None else md5(body)


async def mirror_store(
    plan: MirrorPlan,
    *,
    delete: bool = False,
    verify: bool = False,
    progress: Callable[[CopyProgress], None] | None = None,
) -> Copied:
    """Copy what differs, documents last, on the I/O loop; started again it goes on.

    Parameters
    ----------
    plan : MirrorPlan
        What a person agreed to.
    delete : bool, optional
        Delete at the target what the source has not.
    verify : bool, optional
        Read back what was written and compare it.
    progress : callable, optional
        Called on the I/O loop after each object; must return at once.

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
        await copying.run(accept_refused=False, verify=verify)
        await asyncio.to_thread(claim.check)
        # A document first: what is gone by half is nothing to a reader.
        extra = sorted(plan.extra if delete else (), key=lambda k: not is_document(k))
        for name in extra:
            gone = await asyncio.to_thread(hierarchy.begin_delete, name)
            await asyncio.wrap_future(gone)
    finally:
        await asyncio.to_thread(claim.release)
    return Copied(plan.target, copying.objects, copying.bytes, plan.same)
