"""Decoded chunks in memory, shared by all layers of the process."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable

    import numpy as np

    from .chunks import ChunkKey


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What a cache holds and how it did; sizes in bytes."""

    hits: int
    misses: int
    entries: int
    bytes: int
    capacity: int


class ChunkCache:
    """The most recently used chunks, up to a number of bytes; for any thread.

    What an owner looks at now is never dropped, even where that exceeds the
    capacity: else a view larger than the cache would be fetched again for ever.

    Parameters
    ----------
    capacity : int
        Bytes.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._chunks: OrderedDict[ChunkKey, np.ndarray] = OrderedDict()
        self._kept: dict[Hashable, Collection[ChunkKey]] = {}
        self._bytes = self._hits = self._misses = 0
        self._lock = Lock()

    def get(self, keys: Iterable[ChunkKey]) -> list[np.ndarray | None]:
        """Give the chunks of these keys, read-only; None for each that is not here."""
        found: list[np.ndarray | None] = []
        with self._lock:
            for key in keys:
                chunk = self._chunks.get(key)
                if chunk is not None:
                    self._chunks.move_to_end(key)
                    self._hits += 1
                else:
                    self._misses += 1
                found.append(chunk)
        return found

    def __contains__(self, key: object) -> bool:
        """Say whether a chunk is here; does not count as use."""
        return key in self._chunks

    def put(self, key: ChunkKey, chunk: np.ndarray) -> None:
        """Keep a chunk, and drop the least recently used ones that are too many."""
        chunk.flags.writeable = False
        with self._lock:
            old = self._chunks.pop(key, None)
            self._bytes += chunk.nbytes - (0 if old is None else old.nbytes)
            self._chunks[key] = chunk
            self._evict(spared=key)

    def keep(self, owner: Hashable, keys: Collection[ChunkKey]) -> None:
        """Never drop these chunks, here or yet to come, until told otherwise.

        Parameters
        ----------
        owner : Hashable
            Who looks at them; what it kept before is given free.
        keys : Collection
            None of them gives all free.
        """
        with self._lock:
            if keys:
                self._kept[owner] = keys
            elif self._kept.pop(owner, None) is not None:
                self._evict()

    def discard(self, tokens: Collection[str]) -> None:
        """Drop all chunks of these pixels, which nobody will look at again."""
        with self._lock:
            for key in [key for key in self._chunks if key[0] in tokens]:
                self._bytes -= self._chunks.pop(key).nbytes

    def resize(self, capacity: int) -> None:
        """Set the capacity, in bytes."""
        with self._lock:
            self._capacity = capacity
            self._evict()

    @property
    def statistics(self) -> CacheStatistics:
        """Give hits and misses so far, and what is held now."""
        with self._lock:
            return CacheStatistics(
                self._hits,
                self._misses,
                len(self._chunks),
                self._bytes,
                self._capacity,
            )

    def _evict(self, spared: ChunkKey | None = None) -> None:
        excess = self._bytes - self._capacity
        dropped = []
        for key, chunk in self._chunks.items():
            if excess <= 0:
                break
            if key != spared and not any(key in kept for kept in self._kept.values()):
                dropped.append(key)
                excess -= chunk.nbytes
        for key in dropped:
            self._bytes -= self._chunks.pop(key).nbytes
