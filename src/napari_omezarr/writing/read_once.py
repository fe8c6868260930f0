"""Read each chunk of a source once, where what is written cuts across them."""

from __future__ import annotations

import math
import tempfile
from bisect import bisect_left, bisect_right
from collections import deque
from concurrent.futures import Future
from contextlib import ExitStack
from itertools import pairwise, product
from threading import Lock, Semaphore
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.pyramid import chunk_index, shape_of, slices_within, split_box

from .hierarchy import explained

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_omezarr.pyramid import Bounds

    from .source import PixelSource

_UNIT_BYTES = 2**23
"""So much is read at a time, if the source's chunks are smaller."""
_READING_BYTES = 2**24
"""What may be read and not yet put away."""

Index = tuple[int, ...]


def edges_of(source: PixelSource) -> tuple[Sequence[int], ...]:
    """Give where the chunks of a source begin and end along each axis, 0 and all."""
    own = getattr(source, "edges", None)
    if own is not None:
        edges: tuple[Sequence[int], ...] = own
        return edges
    return tuple(
        [*range(0, size, chunk), size]
        for size, chunk in zip(source.shape, source.chunks, strict=True)
    )


class ReadOnce:
    """A source that is read in blocks, and whose chunks are read once for all of them.

    What a chunk holds for other blocks is put aside until they are read: in memory if
    ``room`` is enough for what is expected, else in a file without a name in a folder.
    Threads that wait for a chunk help to read others.
    """

    def __init__(
        self,
        source: PixelSource,
        block: Index,
        done: Iterable[Index],
        folder: Path | None,
    ) -> None:
        self.source = source
        self.shape, self.dtype = source.shape, source.dtype
        self.chunks, self.places = source.chunks, source.places
        self._block = block
        self._finished = set(done)
        self._edges = _units(source, block)
        self._shelf = _Shelf(folder)
        self._lock = Lock()
        self._loads: dict[Index, Future[None]] = {}
        self._queue: deque[Index] = deque()
        self._aside: dict[Index, list[tuple[Bounds, Any]]] = {}
        most = math.prod(
            max((b - a for a, b in pairwise(edges)), default=1) for edges in self._edges
        )
        at_once = _READING_BYTES // max(1, most * self.dtype.itemsize)
        self._reading = Semaphore(max(1, at_once))

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a block; each of them once."""
        needed = self._needed(bounds)
        with self._lock:
            for unit in needed:
                if unit not in self._loads:
                    self._loads[unit] = Future()
                    self._queue.append(unit)
        for unit in needed:
            load = self._loads[unit]
            while not load.done() and self._help():
                pass
            load.result()
        index = chunk_index(bounds, self._block)
        values = np.empty(shape_of(bounds), self.dtype)
        with self._lock:
            parts = self._aside.pop(index)
            self._finished.add(index)
        for box, place in parts:
            values[slices_within(box, bounds)] = self._shelf.take(place, shape_of(box))
        return values

    def close(self) -> None:
        """Forget what was put aside."""
        self._aside.clear()
        self._shelf.close()

    def _needed(self, bounds: Bounds) -> list[Index]:
        return list(
            product(
                *(
                    range(bisect_right(edges, start) - 1, bisect_left(edges, stop))
                    for edges, (start, stop) in zip(self._edges, bounds, strict=True)
                )
            )
        )

    def _help(self) -> bool:
        """Read one of the units that somebody waits for; False where there is none."""
        with self._lock:
            if not self._queue:
                return False
            unit = self._queue.popleft()
        load = self._loads[unit]
        try:
            with self._reading:
                self._put_aside(unit)
        except BaseException as error:
            load.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            load.set_result(None)
        return True

    def _put_aside(self, unit: Index) -> None:
        pairs = zip(self._edges, unit, strict=True)
        box = tuple((edges[n], edges[n + 1]) for edges, n in pairs)
        values = self.source.read(box)
        for part in split_box(box, self._block):
            index = chunk_index(part, self._block)
            if index not in self._finished:
                place = self._shelf.put(values[slices_within(part, box)])
                with self._lock:
                    self._aside.setdefault(index, []).append((part, place))


def _units(source: PixelSource, block: Index) -> tuple[Sequence[int], ...]:
    """Give the borders of what is read at a time: several small chunks side by side."""
    edges = [list(along) for along in edges_of(source)]
    size = math.prod(source.chunks) * source.dtype.itemsize
    for axis in reversed(range(len(edges))):
        width = max(source.chunks[axis], 1)
        while 2 * size <= _UNIT_BYTES and 2 * width <= block[axis]:
            edges[axis] = [*edges[axis][:-1:2], edges[axis][-1]]
            size, width = 2 * size, 2 * width
    return tuple(edges)


def _nameless(folder: Path) -> IO[bytes]:
    """Open a file that goes with the process, however that ends."""
    return tempfile.TemporaryFile(dir=folder, buffering=0)


class _Shelf:
    """Keeps arrays: in memory, or in a file where there is a folder for it."""

    def __init__(self, folder: Path | None) -> None:
        self._open = ExitStack()
        self._file: IO[bytes] | None = None
        self._folder = folder
        self._lock = Lock()
        self._free: dict[int, list[int]] = {}
        self._end = 0
        self._dtype = np.dtype(np.uint8)

    def put(self, values: np.ndarray) -> Any:
        """Keep values; gives what they are taken by."""
        if self._folder is None:
            return values.copy()
        kept = np.ascontiguousarray(values)
        self._dtype = kept.dtype
        with explained(str(self._folder)), self._lock:
            if self._file is None:
                self._file = self._open.enter_context(_nameless(self._folder))
            free = self._free.get(kept.nbytes)
            offset = free.pop() if free else self._end
            self._end = max(self._end, offset + kept.nbytes)
            self._file.seek(offset)
            rest = kept.reshape(-1).view(np.uint8).data
            while rest:
                rest = rest[self._file.write(rest) :]
        return offset, kept.nbytes

    def take(self, place: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Give back what was kept, in its shape, and keep it no longer."""
        if self._file is None:
            kept: np.ndarray = place
            return kept
        offset, size = place
        with explained(str(self._folder)), self._lock:
            self._file.seek(offset)
            body = self._file.read(size)
            self._free.setdefault(size, []).append(offset)
        return np.frombuffer(body, self._dtype).reshape(shape)

    def close(self) -> None:
        """Give the room back."""
        self._open.close()
