"""Parts of arrays, read into memory together: what that costs, and the reading."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dask.array as da
import numpy as np

from napari_omezarr._io_loop import io_loop
from napari_omezarr.pyramid import (
    ArrayPixels,
    Cast,
    ChannelsLast,
    FixedAxes,
    Mosaic,
    Readable,
    boxes,
    pixels_of,
)
from napari_omezarr.store import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from concurrent.futures import Future

    from napari_omezarr.pyramid import Bounds, Pixels

IN_FLIGHT = 256 * 2**20
"""Bytes of decoded pieces that may be under way, beside the result itself."""

_FOREIGN_THREADS = 4


# What is read.


@dataclass(frozen=True, slots=True)
class RegionPart:
    """A box of a level to be read, nowhere empty."""

    pixels: Pixels
    bounds: Bounds

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return prod(boxes.shape_of(self.bounds)) * self.pixels.dtype.itemsize


@dataclass(frozen=True, slots=True)
class ReadTogether:
    """Parts that lie in the same stored chunks, and are read together.

    Attributes
    ----------
    pixels : Pixels
        What is read: the array behind the channels that are cut out of it.
    bounds : Bounds
        A box of it that holds all members.
    members : tuple of (int, Bounds)
        The number of each part, and where it lies in `pixels`.
    """

    pixels: Pixels
    bounds: Bounds
    members: tuple[tuple[int, Bounds], ...]

    @property
    def nbytes(self) -> int:
        """The size of what is read."""
        return prod(boxes.shape_of(self.bounds)) * self.pixels.dtype.itemsize

    def pieces(self) -> Iterator[Bounds]:
        """Cut the box where its storage is cut, in C order."""
        return boxes.split_box(self.bounds, unit(self.pixels))


def grouped(parts: Sequence[RegionPart]) -> list[ReadTogether]:
    """Put parts together that the same stored chunks hold: channels of one array."""
    found: dict[tuple[str, Any], list[tuple[int, Pixels, Bounds]]] = {}
    for number, part in enumerate(parts):
        pixels, bounds = part.pixels, part.bounds
        if isinstance(pixels, FixedAxes):
            bounds = pixels.source_box(bounds)
            pixels = pixels.source
        key = pixels.token, boxes.touched(bounds, unit(pixels))
        found.setdefault(key, []).append((number, pixels, bounds))
    return [
        ReadTogether(
            pixels=members[0][1],
            bounds=boxes.hull(bounds for _, _, bounds in members),
            members=tuple((number, bounds) for number, _, bounds in members),
        )
        for members in found.values()
    ]


def unit(pixels: Pixels) -> tuple[int, ...]:
    """Give the shape of one stored object on the axes of `pixels`: chunk or shard."""
    match pixels:
        case FixedAxes():
            sizes = unit(pixels.source)
            return tuple(sizes[axis] for axis in pixels.kept)
        case ChannelsLast():
            others = list(unit(pixels.source))
            del others[pixels.channel_axis]
            return (*others, pixels.shape[-1])
        case Cast():
            return unit(pixels.source)
        case ArrayPixels(shards=tuple() as shards):
            return shards
    return pixels.chunks


def stored(pixels: Pixels, bounds: Bounds) -> tuple[Pixels, Bounds]:
    """Give the array that views look at, and a box of theirs in it."""
    match pixels:
        case FixedAxes() | ChannelsLast():
            return stored(pixels.source, pixels.source_box(bounds))
        case Cast():
            return stored(pixels.source, bounds)
    return pixels, bounds


# What reading costs.


@dataclass(frozen=True, slots=True)
class Estimate:
    """What reading parts costs.

    Attributes
    ----------
    nbytes : int
        The memory that the result takes.
    requests : int
        How many requests are sent: one for each stored chunk, whether or not there
        is something at its place.
    is_exact : bool
        False where `requests` is the most that there can be: near chunks of a shard
        are fetched together, and tiles that do not exist are not asked for.
    """

    nbytes: int
    requests: int
    is_exact: bool


def estimate(parts: Sequence[RegionPart]) -> Estimate:
    """Estimate what ``load`` will cost; takes no time, however large the parts."""
    groups = grouped(parts)
    counts = [_requests(*stored(group.pixels, group.bounds)) for group in groups]
    return Estimate(
        nbytes=sum(part.nbytes for part in parts),
        requests=sum(count for count, _ in counts),
        is_exact=all(exact for _, exact in counts),
    )


def _requests(pixels: Pixels, bounds: Bounds) -> tuple[int, bool]:
    """Count the requests for a box, and say whether it will be just as many."""
    touched = _count_touched(bounds, pixels.chunks)
    if not isinstance(pixels, ArrayPixels) or pixels.shards is None:
        return touched, not isinstance(pixels, Mosaic)
    # One for a shard that is wanted whole, else one for its index and one for each
    # chunk. zarr takes a shard that reaches over the array's end for one in part.
    pairs = list(zip(bounds, pixels.shards, strict=True))
    whole = prod(max(0, high // size - -(-low // size)) for (low, high), size in pairs)
    chunks = zip(pixels.shards, pixels.chunks, strict=True)
    inside = whole * prod(shard // chunk for shard, chunk in chunks)
    shards = _count_touched(bounds, pixels.shards)
    return shards + touched - inside, whole == shards


def _count_touched(bounds: Bounds, grid: Sequence[int]) -> int:
    return prod(len(numbers) for numbers in boxes.touched(bounds, grid))


# Reading: many pieces at a time, no more than memory allows.


def start(
    parts: Sequence[RegionPart], progress: Callable[[int, int], None] | None = None
) -> Future[list[np.ndarray]]:
    """Begin to read parts on the I/O loop; returns at once.

    Each stored chunk is asked for once, also when several parts lie in it.

    Parameters
    ----------
    parts : sequence of RegionPart
        What to read.
    progress : callable, optional
        Called on the I/O loop after each piece with the bytes read and all bytes;
        must return at once.

    Returns
    -------
    concurrent.futures.Future
        Its result is one array for each part, of the part's shape and dtype. Its
        ``cancel`` ends the reads that are under way. Its exception is a StoreError
        if a chunk could not be had: nothing is ever filled in for it.

    Raises
    ------
    MemoryError
        There is no room for the result.
    """
    return asyncio.run_coroutine_threadsafe(_reading(parts, progress), io_loop())


def load(
    parts: Sequence[RegionPart], progress: Callable[[int, int], None] | None = None
) -> list[np.ndarray]:
    """Read parts and wait for them; see ``start``.

    Raises
    ------
    StoreError
        A chunk could not be had.
    MemoryError
        There is no room for the result.
    """
    return run(_reading(parts, progress))


def _reading(
    parts: Sequence[RegionPart], progress: Callable[[int, int], None] | None
) -> Coroutine[Any, Any, list[np.ndarray]]:
    """Make room in the caller's thread, which learns of it, and give what reads."""
    groups = grouped(parts)
    results = [np.empty(0)] * len(parts)
    for group in groups:
        for number, bounds in group.members:
            results[number] = np.empty(boxes.shape_of(bounds), group.pixels.dtype)
    return _read(parts, groups, results, progress)


async def _read(
    parts: Sequence[RegionPart],
    groups: Sequence[ReadTogether],
    results: Sequence[np.ndarray],
    progress: Callable[[int, int], None] | None,
) -> list[np.ndarray]:
    total = sum(group.nbytes for group in groups)
    done = 0
    pieces = ((group, piece) for group in groups for piece in group.pieces())

    async def work() -> None:
        nonlocal done
        for group, piece in pieces:
            array = await group.pixels.read(piece)
            _paste(array, piece, group, results)
            done += array.nbytes
            if progress is not None:
                progress(done, total)

    workers = [asyncio.ensure_future(work()) for _ in range(_workers(groups))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    # Without the axes that a channel does not show.
    return [
        result.reshape(boxes.shape_of(part.bounds))
        for part, result in zip(parts, results, strict=True)
    ]


def _workers(groups: Sequence[ReadTogether]) -> int:
    most = max((group.pixels.concurrency for group in groups), default=1)
    sizes = (prod(unit(g.pixels)) * g.pixels.dtype.itemsize for g in groups)
    return max(1, min(most, IN_FLIGHT // max(sizes, default=1)))


def _paste(
    array: np.ndarray, piece: Bounds, group: ReadTogether, results: Sequence[np.ndarray]
) -> None:
    for number, bounds in group.members:
        shared = boxes.overlap(piece, bounds)
        target = boxes.slices_within(shared, bounds)
        results[number][target] = array[boxes.slices_within(shared, piece)]


# Arrays of other readers, read in the same way as ours.


class ForeignPixels(Readable):
    """A numpy, dask or zarr array, or any other that is sliced like them.

    Slices are read in threads, for such an array blocks; what goes wrong then is
    raised as its library says it.
    """

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape: tuple[int, ...] = tuple(int(size) for size in array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype).newbyteorder("=")
        self.chunks = _chunks(array, self.shape)
        self.concurrency = _FOREIGN_THREADS
        self.token = uuid4().hex
        self._threads = ThreadPoolExecutor(_FOREIGN_THREADS, "napari-omezarr region")

    def __repr__(self) -> str:
        return f"<ForeignPixels {type(self.array).__name__} {self.shape} {self.dtype}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, without holding up the I/O loop that it is called on."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._slice, bounds)

    def _slice(self, bounds: Bounds) -> np.ndarray:
        return np.asarray(self.array[boxes.slices(bounds)], dtype=self.dtype)


def as_pixels(array: Any) -> Pixels:
    """Give the pixels behind a dask array of ours, else the array as pixels."""
    ours = pixels_of(array) if isinstance(array, da.Array) else None
    return ForeignPixels(array) if ours is None else ours


def _chunks(array: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    # dask's may differ, and the largest counts; numpy has none, and is one chunk.
    chunks = getattr(array, "chunksize", None) or getattr(array, "chunks", None)
    if chunks is None or len(chunks) != len(shape):
        return tuple(max(1, size) for size in shape)
    return tuple(
        max(1, min(int(chunk), size)) for chunk, size in zip(chunks, shape, strict=True)
    )
