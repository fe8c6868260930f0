"""What to read for a region, in which pieces, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from napari_omezarr.pyramid import ArrayPixels, Cast, ChannelsLast, Mosaic, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_omezarr.pyramid import Pixels
    from napari_omezarr.pyramid.boxes import Bounds


@dataclass(frozen=True, slots=True)
class Part:
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
class Group:
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


def estimate(parts: Sequence[Part]) -> Estimate:
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


def grouped(parts: Sequence[Part]) -> list[Group]:
    """Put parts together that the same stored chunks hold: channels of one array."""
    found: dict[tuple[str, Bounds], list[tuple[int, Pixels, Bounds]]] = {}
    for number, part in enumerate(parts):
        pixels, bounds = _behind_window(part.pixels, part.bounds)
        touched = zip(bounds, unit(pixels), strict=True)
        units = tuple((low // size, -(-high // size)) for (low, high), size in touched)
        found.setdefault((pixels.token, units), []).append((number, pixels, bounds))
    return [
        Group(
            pixels=members[0][1],
            bounds=_hull([bounds for _, _, bounds in members]),
            members=tuple((number, bounds) for number, _, bounds in members),
        )
        for members in found.values()
    ]


def unit(pixels: Pixels) -> tuple[int, ...]:
    """Give the shape of one stored object on the axes of `pixels`: chunk or shard."""
    match pixels:
        case Window():
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
        case Window():
            return stored(*_behind_window(pixels, bounds))
        case ChannelsLast():
            order = list(bounds[:-1])
            order.insert(pixels.channel_axis, bounds[-1])
            return stored(pixels.source, tuple(order))
        case Cast():
            return stored(pixels.source, bounds)
    return pixels, bounds


def _behind_window(pixels: Pixels, bounds: Bounds) -> tuple[Pixels, Bounds]:
    if not isinstance(pixels, Window):
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
