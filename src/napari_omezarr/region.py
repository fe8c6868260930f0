"""A box of an image at one level, read into memory and placed exactly."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dask.array as da
import numpy as np

from ._io_loop import io_loop
from .doors import guarded
from .errors import OptionError
from .metadata import Affine, layer_affine, layer_options
from .pyramid import (
    ArrayPixels,
    Cast,
    ChannelsLast,
    Cropped,
    FixedAxes,
    LeadingAxes,
    Mosaic,
    Pyramid,
    Readable,
    boxes,
    pixels_of,
)
from .store import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import ArrayLike, NDArray

    from .pyramid import Bounds, Pixels

# Parts of arrays, read into memory together: what that costs, and the reading.

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
    """Parts that lie in the same stored chunks, and are read together."""

    pixels: Pixels
    """What is read: the array behind the channels that are cut out of it."""
    bounds: Bounds
    """A box of it that holds all members."""
    members: tuple[tuple[int, Bounds], ...]
    """The number of each part, and where it lies in `pixels`."""

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
        while isinstance(pixels, FixedAxes | Cropped):
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
        case LeadingAxes():
            return (1,) * pixels.count + unit(pixels.source)
        case Cast():
            return unit(pixels.source)
        case ArrayPixels(shards=tuple() as shards):
            return shards
    return pixels.chunks


def stored(pixels: Pixels, bounds: Bounds) -> tuple[Pixels, Bounds]:
    """Give the array that views look at, and a box of theirs in it."""
    match pixels:
        case FixedAxes() | Cropped() | ChannelsLast() | LeadingAxes():
            return stored(pixels.source, pixels.source_box(bounds))
        case Cast():
            return stored(pixels.source, bounds)
    return pixels, bounds


# What reading costs.


@dataclass(frozen=True, slots=True)
class Estimate:
    """What reading parts costs."""

    nbytes: int
    """The memory that the result takes."""
    requests: int
    """How many requests are sent: one for each stored chunk, whether or not there is
    something at its place."""
    is_exact: bool
    """False where `requests` is the most that there can be: near chunks of a shard are
    fetched together, and tiles that do not exist are not asked for."""


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
    # One for a shard that is wanted whole or is small, else one for its index and one
    # for each chunk: fewer, where chunks are near each other.
    shards = _count_touched(bounds, pixels.shards)
    layout = pixels.shard_layout
    if layout is not None and layout.is_small:
        return shards, True
    if layout is not None and layout.is_large:
        return shards + touched, False
    # Where zarr's pipeline reads, a shard over the array's end is one in part.
    ends = [size * (layout is not None) for size in pixels.shape]
    inside = tuple(
        (-(-low // by) * by, high if high == end else high // by * by)
        for (low, high), by, end in zip(bounds, pixels.shards, ends, strict=True)
    )
    inside = tuple((low, max(low, high)) for low, high in inside)
    whole = _count_touched(inside, pixels.shards)
    alone = touched - _count_touched(inside, pixels.chunks)
    return shards + alone, whole == shards


def _count_touched(bounds: Bounds, grid: Sequence[int]) -> int:
    return prod(len(numbers) for numbers in boxes.touched(bounds, grid))


# Reading: many pieces at a time, no more than memory allows.


def start(
    parts: Sequence[RegionPart], progress: Callable[[int, int], None] | None = None
) -> Future[list[np.ndarray]]:
    """Begin to read parts on the I/O loop; returns at once.

    Each stored chunk is asked for once, also when several parts lie in it.

    ``progress`` is called on the I/O loop after each piece with the bytes read and all
    bytes, and must return at once.

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


@guarded
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


# Where pixels lie in the world: which a box takes, and where a crop of them lies.

TOUCHES = 1e-3
"""How far into a pixel, in pixels, a box must reach to take it: less is rounding."""


# From a box in the world to the pixels of a level.


@dataclass(frozen=True, slots=True)
class Region:
    """A box of the pixels of one level, 0 being the finest; nowhere empty."""

    level: int
    bounds: Bounds

    @property
    def shape(self) -> tuple[int, ...]:
        """How many pixels it has along each axis."""
        return boxes.shape_of(self.bounds)

    @property
    def starts(self) -> tuple[int, ...]:
        """The index of its first pixel."""
        return tuple(start for start, _ in self.bounds)


def covering(affine: Affine, shape: Sequence[int], points: ArrayLike) -> Bounds:
    """Give the smallest box of pixels, at least one, that covers points of the world.

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
    return corners(affine, [(0, size) for size in shape])


def corners(
    affine: Affine, edges: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Give the corners of a box of an array in the world, 2**N x N.

    `edges` are in pixels from the edge of the first one: a whole axis is ``(0, size)``.
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


# Where napari shows a layer.


def affine_of_layer(layer: Any) -> Affine:
    """Give the map from an index of a layer's finest level to the world.

    Only public transforms of the ``napari.layers.Layer`` are used.
    """
    names = ("scale", "shear", "rotate", "translate", "affine")
    return layer_affine({name: getattr(layer, name) for name in names}, layer.ndim)


def napari_levels(
    finest: Affine, shapes: Sequence[Sequence[int]]
) -> tuple[Affine, ...]:
    """Give the places at which napari shows levels of these shapes, finest first.

    It knows no affine but that of the finest level, and lets every level cover the
    same part of the world, from edge to edge: a pixel is as many of the finest as
    the ratio of the shapes says, and its centre is half of that from the edge.
    """
    count = finest.ndim_in
    sizes = np.asarray([shape[:count] for shape in shapes], dtype=float)
    factors = sizes[0] / sizes
    return tuple(finest.coarser(factor.tolist()) for factor in factors)


# The levels of an image with their places in the world.


@dataclass(frozen=True, slots=True)
class Placed:
    """The levels of an image, finest first, each with its place in the world."""

    levels: tuple[Pixels, ...]
    """At least one. They may have one axis more than `affines`: the last, of the
    colours of an RGB picture."""
    affines: tuple[Affine, ...]
    """For each level, from an index (0 is the centre of the first pixel) to the world,
    N x (N+1)."""

    def region(self, level: int, points: ArrayLike) -> Region:
        """Give the pixels of a level that cover points of the world, K x M.

        Raises
        ------
        OptionError
            The points lie outside of the image.
        """
        affine, pixels = self.affines[level], self.levels[level]
        count = affine.ndim_in
        bounds = covering(affine, pixels.shape[:count], points)
        colours = tuple((0, size) for size in pixels.shape[count:])
        return Region(level, bounds + colours)

    def box(self, ranges: Sequence[tuple[float, float] | None]) -> np.ndarray:
        """Give the corners of a box along the axes of the world, K x N.

        Parameters
        ----------
        ranges : sequence of (float, float) or None
            Low and high along each axis of the world, in its unit; None is all of
            it. Axes are matched from the last one back; missing ones are whole.
        """
        whole = extent(self.affines[0], self.levels[0].shape[: self.ndim])
        ends = list(zip(whole.min(axis=0), whole.max(axis=0), strict=True))
        wanted = list(ranges)[-len(ends) :]
        first = len(ends) - len(wanted)
        for axis, given in enumerate(wanted, start=first):
            ends[axis] = ends[axis] if given is None else given
        return np.asarray(list(product(*ends)), dtype=float)

    def matching(self, pixel_size: Sequence[float]) -> int:
        """Give the level whose pixels have about this size: for labels of an image.

        The size is in world units, and is matched from the last axis back.
        """
        count = min(len(pixel_size), self.ndim)
        wanted = np.log(np.abs(pixel_size[-count:]))
        sizes = np.log(np.abs([affine.scale[-count:] for affine in self.affines]))
        return int(np.abs(sizes - wanted).max(axis=1).argmin())

    @property
    def ndim(self) -> int:
        """The number of axes in the world that the levels have."""
        return self.affines[0].ndim_in


def as_placed(image: Any) -> Placed:
    """Give the levels of a Pyramid or a napari layer, where they lie.

    The levels of a pyramid lie where its metadata say. Those of a layer, an Image or
    Labels of whatever reader, lie where napari shows them, which is the same but for
    sizes that do not divide.
    """
    if isinstance(image, Pyramid):
        return Placed(
            tuple(level.pixels for level in image.levels),
            tuple(level.affine for level in image.levels),
        )
    arrays = list(image.data) if image.multiscale else [image.data]
    levels = tuple(as_pixels(array) for array in arrays)
    shapes = [pixels.shape for pixels in levels]
    return Placed(levels, napari_levels(affine_of_layer(image), shapes))


# A region in one call, for scripts.


@dataclass(frozen=True, slots=True)
class Crop:
    """A region that was read."""

    data: np.ndarray
    """In memory, with all axes of the image it was read from."""
    region: Region
    """Which pixels of which level."""
    affine: Affine
    """From an index of `data` to the world."""

    @property
    def placement(self) -> dict[str, Any]:
        """Options of a napari layer that lies on the image: scale and translate.

        Where those cannot say it (rotation, shear), there is an affine too.
        """
        return layer_options(self.affine)


def crop_affine(affine: Affine, bounds: Bounds) -> Affine:
    """Give the place of a box of a level that lies at `affine`, from index to world."""
    # Colours, the last axis, have no place.
    starts = [float(start) for start, _ in bounds[: affine.ndim_in]]
    return affine @ Affine.from_translation(starts)


@guarded
def load_region(
    image: Pyramid | Any,
    box: Sequence[tuple[float, float] | None],
    level: int = 0,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Crop:
    """Read a box of an image at one level into memory; blocks.

    Parameters
    ----------
    image : Pyramid or napari.layers.Layer
        An image of ``read``, or an Image or Labels layer of any reader.
    box : sequence of (float, float) or None
        Low and high along each axis of the world, in its unit; None is the whole
        axis. Axes are matched from the last one back, so three ranges are z, y and
        x, and the axes before them are read whole.
    level : int, optional
        0 is the finest.
    progress : callable, optional
        Called with the bytes read and all bytes, in another thread.

    Returns
    -------
    Crop
        All pixels that the box touches, and where they lie: exactly on the image.

    Raises
    ------
    OptionError
        There is no such level, or the box lies outside of the image.
    StoreError
        A chunk could not be had.
    MemoryError
        There is no room for it.

    Examples
    --------
    >>> crop = load_region(
    ...     pyramid, [(10, 42), (120, 380.5), (90, 260)], level=1
    ... )  # doctest: +SKIP
    >>> viewer.add_image(crop.data, **crop.placement)  # doctest: +SKIP
    """
    placed = as_placed(image)
    if not 0 <= level < len(placed.levels):
        msg = f"There is no level {level}; the image has {len(placed.levels)}."
        raise OptionError(msg)
    region = placed.region(level, placed.box(box))
    (data,) = load([RegionPart(placed.levels[level], region.bounds)], progress)
    return Crop(data, region, crop_affine(placed.affines[level], region.bounds))
