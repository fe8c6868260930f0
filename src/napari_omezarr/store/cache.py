"""Small answers that are asked for again and again: the indexes of shards."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable
    from typing import Any

K = TypeVar("K", bound="Hashable")

_OVERHEAD = 100


class ByteCache(Generic[K]):
    """The last answers up to a number of bytes; each is fetched once at a time.

    Lives on one event loop. That something is missing is an answer too; a failure
    is not, and is told to all who wait for it.

    Parameters
    ----------
    limit : int
        Bytes to keep at most; an answer that is larger is not kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[K, bytes | None] = OrderedDict()
        self._coming: dict[K, _Coming] = {}

    async def get(
        self, key: K, fetch: Callable[[], Coroutine[Any, Any, bytes | None]]
    ) -> bytes | None:
        """Return the answer that is kept, or the one that `fetch` brings."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        coming = self._coming.get(key)
        if coming is None:
            coming = self._coming[key] = _Coming(asyncio.ensure_future(fetch()))
            coming.task.add_done_callback(lambda task: self._came(key, task))
        return await self._wait(key, coming)

    async def _wait(self, key: K, coming: _Coming) -> bytes | None:
        coming.waiting += 1
        try:
            return await asyncio.shield(coming.task)
        finally:
            coming.waiting -= 1
            if not coming.waiting:
                coming.task.cancel()
                if self._coming.get(key) is coming:
                    del self._coming[key]

    def _came(self, key: K, task: asyncio.Task[bytes | None]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._keep(key, task.result())

    def _keep(self, key: K, body: bytes | None) -> None:
        if _weight(body) > self._limit:
            return
        self._kept[key] = body
        self._size += _weight(body)
        while self._size > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self._size -= _weight(dropped)


@dataclass(slots=True)
class _Coming:
    """A fetch, and how many wait for it: when the last gives up, it ends."""

    task: asyncio.Task[bytes | None]
    waiting: int = 0


def _weight(body: bytes | None) -> int:
    return _OVERHEAD + len(body or b"")
