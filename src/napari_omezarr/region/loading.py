"""Reading parts into memory: many pieces at a time, no more than memory allows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import chain, product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr._io_loop import io_loop
from napari_omezarr.errors import OptionError
from napari_omezarr.pyramid import ArrayPixels, Cast, ChannelsLast, FixedAxes, Mosaic
from napari_omezarr.store import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import ArrayLike, NDArray

    from napari_omezarr.metadata import Affine
    from napari_omezarr.pyramid import Pixels
    from napari_omezarr.pyramid.boxes import Bounds

# Region: which pixels of a level; and from a box in the world to one.

TOUCHES = 1e-3
"""How far into a pixel, in pixels, a box must reach to take it: less is rounding."""


@dataclass(frozen=True, slots=True)
class Region:
    """A box of the pixels of one level.

    Parameters
    ----------
    level : int
        0 is the finest.
    bounds : tuple of (int, int)
        Start and stop along each axis of the level's array, start < stop.
    """

    level: int
    bounds: Bounds

    @property
    def shape(self) -> tuple[int, ...]:
        """How many pixels it has along each axis."""
        return tuple(stop - start for start, stop in self.bounds)

    @property
    def starts(self) -> tuple[int, ...]:
        """The index of its first pixel."""
        return tuple(start for start, _ in self.bounds)


def covering(affine: Affine, shape: Sequence[int], points: ArrayLike) -> Bounds:
    """Give the smallest box of pixels that covers points of the world.

    The box is one of the array: in a rotated or sheared image it holds the points
    and, in its corners, more.

    Parameters
    ----------
    affine : Affine
        From an index of the array to the world, N x (N+1), invertible; index 0 is
        the centre of the first pixel, which reaches from -0.5 to 0.5.
    shape : sequence of int
        The array's shape along those N axes.
    points : array-like
        Corners of what is to be covered, K x M, in world units. World axes are
        matched from the last one back, as napari does: where M < N the first ones
        are covered whole, where M > N the first coordinates are left out.

    Returns
    -------
    tuple of (int, int)
        Start and stop along each axis; at least one pixel.

    Raises
    ------
    OptionError
        The points lie on one side of the array.
    """
    corners = _matched(np.asarray(points, dtype=float), affine, shape)
    edges = affine.inverse()(corners) + 0.5
    starts = np.floor(edges.min(axis=0) + TOUCHES)
    stops = np.ceil(edges.max(axis=0) - TOUCHES)
    # Points within one pixel, or on one edge, still mean that pixel.
    stops = np.maximum(stops, starts + 1)
    if np.any(starts >= shape) or np.any(stops <= 0):
        raise OptionError("The box lies outside of the image.")
    clipped = zip(starts.clip(min=0), np.minimum(stops, shape), strict=True)
    return tuple((int(start), int(stop)) for start, stop in clipped)


def extent(affine: Affine, shape: Sequence[int]) -> NDArray[np.float64]:
    """Give the corners of an array in the world, 2**N x N, at its pixels' edges."""
    return affine(list(product(*((-0.5, size - 0.5) for size in shape))))


def corners(
    affine: Affine, edges: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Give the corners of a box of an array in the world, 2**N x N.

    Parameters
    ----------
    affine : Affine
        From an index of the array to the world.
    edges : sequence of (float, float)
        Along each axis, in pixels from the edge of the first one: a whole axis is
        ``(0, size)``.
    """
    return affine(np.asarray(list(product(*edges)), dtype=float) - 0.5)


def _matched(
    points: NDArray[np.float64], affine: Affine, shape: Sequence[int]
) -> NDArray[np.float64]:
    missing = affine.ndim_out - points.shape[1]
    if missing <= 0:
        return points[:, -missing:]
    whole = extent(affine, shape)[:, :missing]
    ends = list(product(*zip(whole.min(axis=0), whole.max(axis=0), strict=True)))
    return np.asarray([(*end, *point) for end in ends for point in points.tolist()])


# What to read for a region, in which pieces, and what that costs.


@dataclass(frozen=True, slots=True)
class RegionPart:
    """A box to be read.

    Parameters
    ----------
    pixels : Pixels
        A level.
    bounds : Bounds
        Start and stop along each of its axes, nowhere empty.
    """

    pixels: Pixels
    bounds: Bounds


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


@dataclass(frozen=True, slots=True)
class ReadTogether:
    """Parts that lie in the same stored chunks, and are read together.

    Attributes
    ----------
    pixels : Pixels
        What is read: the array behind the windows of several channels.
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
        return prod(_sizes(self.bounds)) * self.pixels.dtype.itemsize

    def pieces(self) -> Iterator[Bounds]:
        """Cut the box where its storage is cut, in C order."""
        grid = zip(self.bounds, unit(self.pixels), strict=True)
        yield from product(*([*_cuts(bound, size)] for bound, size in grid))


def estimate(parts: Sequence[RegionPart]) -> Estimate:
    """Estimate what ``load`` will cost; takes no time, however large the parts.

    Parameters
    ----------
    parts : sequence of Part
        What is to be read together.
    """
    groups = grouped(parts)
    sizes = (prod(_sizes(p.bounds)) * p.pixels.dtype.itemsize for p in parts)
    counts = [_requests(*stored(group.pixels, group.bounds)) for group in groups]
    return Estimate(
        nbytes=sum(sizes),
        requests=sum(count for count, _ in counts),
        is_exact=all(exact for _, exact in counts),
    )


def grouped(parts: Sequence[RegionPart]) -> list[ReadTogether]:
    """Put parts together that the same stored chunks hold: channels of one array."""
    found: dict[tuple[str, Bounds], list[tuple[int, Pixels, Bounds]]] = {}
    for number, part in enumerate(parts):
        pixels, bounds = _behind_window(part.pixels, part.bounds)
        touched = zip(bounds, unit(pixels), strict=True)
        units = tuple((low // size, -(-high // size)) for (low, high), size in touched)
        found.setdefault((pixels.token, units), []).append((number, pixels, bounds))
    return [
        ReadTogether(
            pixels=members[0][1],
            bounds=_hull([bounds for _, _, bounds in members]),
            members=tuple((number, bounds) for number, _, bounds in members),
        )
        for members in found.values()
    ]


def unit(pixels: Pixels) -> tuple[int, ...]:
    """Give the shape of one stored object on the axes of `pixels`: chunk or shard."""
    match pixels:
        case FixedAxes():
            sizes = unit(pixels.source)
            return tuple(s for axis, s in enumerate(sizes) if axis not in pixels.fixed)
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
        case FixedAxes():
            return stored(*_behind_window(pixels, bounds))
        case ChannelsLast():
            order = list(bounds[:-1])
            order.insert(pixels.channel_axis, bounds[-1])
            return stored(pixels.source, tuple(order))
        case Cast():
            return stored(pixels.source, bounds)
    return pixels, bounds


def _behind_window(pixels: Pixels, bounds: Bounds) -> tuple[Pixels, Bounds]:
    if not isinstance(pixels, FixedAxes):
        return pixels, bounds
    kept = iter(bounds)
    axes = range(pixels.source.ndim)
    fixed = {axis: (index, index + 1) for axis, index in pixels.fixed.items()}
    whole = tuple(fixed[axis] if axis in fixed else next(kept) for axis in axes)
    return pixels.source, whole


def _requests(pixels: Pixels, bounds: Bounds) -> tuple[int, bool]:
    """Count the requests for a box, and say whether it will be just as many."""
    if isinstance(pixels, ArrayPixels) and pixels.shards is not None:
        return _shard_requests(bounds, pixels.chunks, pixels.shards)
    return _touched(bounds, pixels.chunks), not isinstance(pixels, Mosaic)


def _shard_requests(
    bounds: Bounds, chunks: Sequence[int], shards: Sequence[int]
) -> tuple[int, bool]:
    """Count one request for a shard wanted whole, else its index and its chunks.

    zarr takes a shard that reaches over the array's end for one in part.
    """
    pairs = list(zip(bounds, shards, strict=True))
    whole = prod(max(0, high // size - -(-low // size)) for (low, high), size in pairs)
    inside = whole * prod(s // c for s, c in zip(shards, chunks, strict=True))
    touched = _touched(bounds, shards)
    return touched + _touched(bounds, chunks) - inside, whole == touched


def _touched(bounds: Bounds, grid: Sequence[int]) -> int:
    return prod(
        -(-high // size) - low // size
        for (low, high), size in zip(bounds, grid, strict=True)
    )


def _cuts(bound: tuple[int, int], size: int) -> Iterator[tuple[int, int]]:
    low, high = bound
    while low < high:
        end = min(high, (low // size + 1) * size)
        yield low, end
        low = end


def _hull(boxes: Sequence[Bounds]) -> Bounds:
    return tuple(
        (min(low for low, _ in along), max(high for _, high in along))
        for along in zip(*boxes, strict=True)
    )


def _sizes(bounds: Bounds) -> list[int]:
    return [high - low for low, high in bounds]


# Reading parts into memory: many pieces at a time, no more than memory allows.

IN_FLIGHT = 256 * 2**20
"""Bytes of decoded pieces that may be under way, beside the result itself."""


def start(
    parts: Sequence[RegionPart], progress: Callable[[int, int], None] | None = None
) -> Future[list[np.ndarray]]:
    """Begin to read parts on the I/O loop; returns at once.

    Each stored chunk is asked for once, also when several parts lie in it.

    Parameters
    ----------
    parts : sequence of Part
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
    groups = grouped(parts)
    boxes = _empty(groups, len(parts))
    reading = _read(parts, groups, boxes, progress)
    return asyncio.run_coroutine_threadsafe(reading, io_loop())


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
    groups = grouped(parts)
    return run(_read(parts, groups, _empty(groups, len(parts)), progress))


def _empty(groups: Sequence[ReadTogether], count: int) -> list[np.ndarray]:
    boxes = [np.empty(0)] * count
    for group in groups:
        for number, bounds in group.members:
            sizes = [high - low for low, high in bounds]
            boxes[number] = np.empty(sizes, group.pixels.dtype)
    return boxes


async def _read(
    parts: Sequence[RegionPart],
    groups: Sequence[ReadTogether],
    boxes: Sequence[np.ndarray],
    progress: Callable[[int, int], None] | None,
) -> list[np.ndarray]:
    """Read all, then take away the axes that windows do not show."""
    await _fill(groups, boxes, progress or _ignore)
    return [
        box.reshape([high - low for low, high in part.bounds])
        for part, box in zip(parts, boxes, strict=True)
    ]


async def _fill(
    groups: Sequence[ReadTogether],
    boxes: Sequence[np.ndarray],
    progress: Callable[[int, int], None],
) -> None:
    total = sum(group.nbytes for group in groups)
    done = 0
    pieces = chain.from_iterable(map(_pieces, groups))

    async def work() -> None:
        nonlocal done
        for group, piece in pieces:
            array = await group.pixels.read(piece)
            _paste(array, piece, group, boxes)
            done += array.nbytes
            progress(done, total)

    workers = [asyncio.ensure_future(work()) for _ in range(_at_a_time(groups))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def _pieces(group: ReadTogether) -> Iterator[tuple[ReadTogether, Bounds]]:
    return ((group, piece) for piece in group.pieces())


def _at_a_time(groups: Sequence[ReadTogether]) -> int:
    most = max((group.pixels.concurrency for group in groups), default=1)
    sizes = (prod(unit(g.pixels)) * g.pixels.dtype.itemsize for g in groups)
    return max(1, min(most, IN_FLIGHT // max(sizes, default=1)))


def _paste(
    array: np.ndarray, piece: Bounds, group: ReadTogether, boxes: Sequence[np.ndarray]
) -> None:
    for number, bounds in group.members:
        source, target = [], []
        for (low, high), (first, last) in zip(piece, bounds, strict=True):
            begin, end = max(low, first), max(low, first, min(high, last))
            source.append(slice(begin - low, end - low))
            target.append(slice(begin - first, end - first))
        boxes[number][tuple(target)] = array[tuple(source)]


def _ignore(_done: int, _total: int) -> None:
    """Tell nobody."""
