"""The chunks of a level, and those that are in memory, decoded."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import product
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from napari_omezarr.pyramid import FixedAxes, boxes

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator

    import numpy as np

    from napari_omezarr.pyramid import Bounds, Pixels

ChunkIndex = tuple[int, ...]
ChunkKey = tuple[str, ChunkIndex]
"""The token of the stored pixels, and a chunk's place on their grid."""


# The chunks of one level, as the display sees them and as they are stored.


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stored chunk: how to name it and how to read it."""

    key: ChunkKey
    pixels: Pixels = field(compare=False, repr=False)
    bounds: Bounds = field(compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The chunk's shape; smaller than others at the array's end."""
        return boxes.shape_of(self.bounds)

    @property
    def nbytes(self) -> int:
        """The chunk's size when decoded."""
        return prod(self.shape) * self.pixels.dtype.itemsize


class ChunkGrid:
    """The chunks of a level; all indices and boxes are on the level's axes.

    The channels of one array name the same stored chunk, so that it is fetched and
    decoded once for all of them.
    """

    def __init__(self, pixels: Pixels) -> None:
        self.shape = pixels.shape
        self.dtype = pixels.dtype
        self.chunks = pixels.chunks
        self.ndim = len(pixels.shape)
        self.source, self._axes, fixed = _behind_fixed_axes(pixels)
        self.token = self.source.token
        self._origin = [0] * len(self.source.shape)
        self._inside: list[Any] = [slice(None)] * len(self.source.shape)
        for axis, index in fixed.items():
            size = self.source.chunks[axis]
            self._origin[axis], self._inside[axis] = divmod(index, size)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many chunks there are along each axis."""
        return tuple(
            -(-size // chunk)
            for size, chunk in zip(self.shape, self.chunks, strict=True)
        )

    def key(self, index: ChunkIndex) -> ChunkKey:
        """Name the stored chunk that holds a chunk of this grid."""
        stored = list(self._origin)
        for axis, number in zip(self._axes, index, strict=True):
            stored[axis] = number
        return self.token, tuple(stored)

    def chunk(self, index: ChunkIndex) -> Chunk:
        """Give the stored chunk that holds a chunk of this grid."""
        key = self.key(index)
        box = boxes.chunk_box(key[1], self.source.chunks, self.source.shape)
        return Chunk(key, self.source, box)

    def shown(self, stored: np.ndarray) -> np.ndarray:
        """Give the part of a stored chunk's array that this level shows, as a view."""
        part: np.ndarray = stored[tuple(self._inside)]
        return part

    def bounds(self, index: ChunkIndex) -> Bounds:
        """Give the box that a chunk covers."""
        return boxes.chunk_box(index, self.chunks, self.shape)

    def within(self, bounds: Bounds) -> Iterator[ChunkIndex]:
        """Go through the chunks that a box touches, in C order."""
        return product(*boxes.touched(bounds, self.chunks))

    def nbytes_within(self, bounds: Bounds) -> int:
        """Give the decoded size of the stored chunks that a box touches."""
        count = prod(len(numbers) for numbers in boxes.touched(bounds, self.chunks))
        return count * prod(self.source.chunks) * self.dtype.itemsize


def _behind_fixed_axes(pixels: Pixels) -> tuple[Pixels, list[int], dict[int, int]]:
    """Give the array that channels are cut from, where our axes lie, what is fixed."""
    axes = list(range(len(pixels.shape)))
    fixed: dict[int, int] = {}
    while isinstance(pixels, FixedAxes):
        kept = pixels.kept
        axes = [kept[axis] for axis in axes]
        fixed = {kept[axis]: index for axis, index in fixed.items()} | pixels.fixed
        pixels = pixels.source
    return pixels, axes, fixed


def host_of(pixels: Pixels) -> str:
    """Say where pixels lie, as a person would: a host or bucket, else this computer."""
    address = getattr(_innermost(pixels), "address", "")
    return urlsplit(address).netloc or "this computer"


def notes_of(pixels: Pixels) -> tuple[str, ...]:
    """Give the sentences about what happened at the store that pixels come from."""
    store = getattr(_innermost(pixels), "store", None)
    notes: tuple[str, ...] = getattr(store, "notes", ())
    return notes


def _innermost(pixels: Any) -> Any:
    while hasattr(pixels, "source"):
        pixels = pixels.source
    return pixels


# Decoded chunks in memory, shared by all layers of the process.


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What a cache holds and how it did; sizes in bytes."""

    hits: int
    misses: int
    entries: int
    bytes: int
    capacity: int


_DOUBTED = 60.0
"""Seconds for which chunks are kept that nobody knows to be empty, or refused."""


class ChunkCache:
    """The most recently used chunks, up to a number of bytes; for any thread.

    Doubtful ones, which may have been refused and not empty, are kept for `doubted`
    seconds after the last of their pixels has come; then they are asked for again.
    """

    def __init__(self, capacity: int, doubted: float = _DOUBTED) -> None:
        self._capacity = capacity
        self._doubted = doubted
        # By the pixels' token: when the last one came, and which they are.
        self._doubtful: dict[str, tuple[float, set[ChunkKey]]] = {}
        self._chunks: OrderedDict[ChunkKey, np.ndarray] = OrderedDict()
        self._pinned: dict[Hashable, Collection[ChunkKey]] = {}
        self._bytes = self._hits = self._misses = 0
        self._lock = Lock()

    def get(self, keys: Iterable[ChunkKey]) -> list[np.ndarray | None]:
        """Give the chunks of these keys, read-only; None for each that is not here."""
        found: list[np.ndarray | None] = []
        with self._lock:
            self._drop_doubtful()
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

    def put(self, key: ChunkKey, chunk: np.ndarray, *, doubtful: bool = False) -> None:
        """Keep a chunk, and drop the least recently used ones that are too many."""
        chunk.flags.writeable = False
        with self._lock:
            _, others = self._doubtful.get(key[0], (0.0, set()))
            others.discard(key)
            if doubtful:
                self._doubtful[key[0]] = time.monotonic(), others | {key}
            old = self._chunks.pop(key, None)
            self._bytes += chunk.nbytes - (0 if old is None else old.nbytes)
            self._chunks[key] = chunk
            self._evict(spared=key)

    def pin(self, owner: Hashable, keys: Collection[ChunkKey]) -> None:
        """Never drop these chunks, here or yet to come, until the owner pins others.

        What is looked at stays even where it exceeds the capacity: else a view larger
        than the cache would be fetched again for ever.
        """
        with self._lock:
            if keys:
                self._pinned[owner] = keys
            elif self._pinned.pop(owner, None) is not None:
                self._evict()

    def discard(self, tokens: Collection[str]) -> None:
        """Drop all chunks of these pixels, which nobody will look at again."""
        with self._lock:
            for key in [key for key in self._chunks if key[0] in tokens]:
                self._bytes -= self._chunks.pop(key).nbytes
            for token in tokens:
                self._doubtful.pop(token, None)

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

    def _drop_doubtful(self) -> None:
        until = time.monotonic() - self._doubted
        for token, (came, keys) in list(self._doubtful.items()):
            if came <= until:
                del self._doubtful[token]
                for key in keys & self._chunks.keys():
                    self._bytes -= self._chunks.pop(key).nbytes

    def _evict(self, spared: ChunkKey | None = None) -> None:
        excess = self._bytes - self._capacity
        dropped = []
        for key, chunk in self._chunks.items():
            if excess <= 0:
                break
            if key != spared and not any(key in keys for keys in self._pinned.values()):
                dropped.append(key)
                excess -= chunk.nbytes
        for key in dropped:
            self._bytes -= self._chunks.pop(key).nbytes
