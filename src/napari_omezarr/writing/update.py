"""Objects that are read, changed and put back, unless somebody else was faster.

Every change of what is there goes this way: documents, chunks and shards. What was
read names its state, and is written over only in that state; else it is read again and
the change is made to what it has become. So nobody's change is lost, whoever is first.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from napari_omezarr._io_loop import HeedingPool
from napari_omezarr.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_omezarr.store import GetResult

    from .hierarchy import Hierarchy

T = TypeVar("T")
R = TypeVar("R")

LONGEST = 120.0
"""Seconds after which who was always overtaken gives up."""
LOOK_AGAIN = 1.0
"""Seconds after which what others were writing over ours has arrived, where a service
knows no conditions: longer than they need to read, change and write an object."""
_THREADS = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.25


class Change(ABC):
    """What is to become of the object at a key; ``written`` says whether it has."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.written = False

    @abstractmethod
    def made(self, found: GetResult | None) -> bytes | None:
        """Make the change to what is there; None where that has it already.

        It may be asked again, with what the object has become. A `ConflictError` ends
        all.
        """

    def lost(self, found: GetResult | None) -> bool:
        """Say whether what was written is gone, without anybody having seen it."""
        made = self.made(found)
        return made is not None and (found is None or made != found.body)


def update(
    hierarchy: Hierarchy,
    changes: Sequence[Change],
    known: Sequence[GetResult | None] | None = None,
) -> None:
    """Make changes to objects, some at a time.

    Those that are ``known`` were read a moment ago. Where the service does not hold to
    conditions, all are looked at again after a while, and what got lost is done again.

    Raises
    ------
    ConflictError
        A change cannot be made any more; or others were always faster.
    """
    if not changes:
        return
    guarded = not hierarchy.holds_conditions()
    if known is None:
        in_threads(hierarchy, partial(_update, hierarchy), changes)
    else:
        pairs = list(zip(changes, known, strict=True))
        in_threads(hierarchy, lambda pair: _update_known(hierarchy, *pair), pairs)
    left = [change for change in changes if change.written]
    while left and guarded:
        time.sleep(LOOK_AGAIN)
        found = in_threads(hierarchy, lambda change: hierarchy.read(change.key), left)
        left = [c for c, now in zip(left, found, strict=True) if c.lost(now)]
        in_threads(hierarchy, partial(_update, hierarchy), left)


def in_threads(
    hierarchy: Hierarchy, work: Callable[[T], R], items: Sequence[T]
) -> list[R]:
    """Do the same with several objects, some at a time; the first failure is raised."""
    if len(items) < 2:
        return [work(item) for item in items]
    threads = min(_THREADS, hierarchy.concurrency, len(items))
    with HeedingPool(threads, "omezarr-update") as pool:
        return list(pool.map(work, items))


def _update(hierarchy: Hierarchy, change: Change) -> None:
    _update_known(hierarchy, change, hierarchy.read(change.key))


def _update_known(
    hierarchy: Hierarchy, change: Change, found: GetResult | None
) -> None:
    """Change one object, however often others are faster."""
    until = time.monotonic() + LONGEST
    pause = _FIRST_PAUSE
    while True:
        body = change.made(found)
        if body is None or (found is not None and body == found.body):
            return
        try:
            hierarchy.replace(change.key, body, found)
        except ConflictError:
            if time.monotonic() > until:
                raise
        else:
            change.written = True
            return
        # Those who met here come back one after the other.
        time.sleep(random.uniform(0, pause))
        pause = min(2 * pause, _LONGEST_PAUSE)
        found = hierarchy.read(change.key)
