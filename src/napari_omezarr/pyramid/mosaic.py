"""The wells of a plate as one plane of tiles, each found out when it is looked at."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from math import ceil, prod, sqrt
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from napari_omezarr._io_loop import Noted, bounded_gather
from napari_omezarr.errors import LossError
from napari_omezarr.plain_text import by_times
from napari_omezarr.store import presumptions

from .boxes import chunk_box, chunk_parts, shape_of, slices
from .decoding import QUICK
from .pixels import Readable, new_token
from .views import FixedAxes

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Coroutine,
        Hashable,
        Iterator,
        Mapping,
        Sequence,
    )

    from napari_omezarr.errors import OMEZarrError

    from .boxes import Bounds
    from .pixels import Pixels

T = TypeVar("T")
Place = tuple[int, int]
"""The row and the column of a well, as they are shown."""

_KEPT = 64 * 2**20
"""Bytes of fields' chunks, and again of shrunk ones, that a plate keeps."""
_LARGEST_KEPT = 16 * 2**20
LARGEST_OVERVIEW = 2048
"""Coarser levels are made until neither side of a plate is longer, in pixels."""
_SMALLEST_WELL, _LARGEST_TEXTURE = 16, 8192
"""But a well keeps so many pixels along each side, as far as graphics cards allow."""
_CHUNK = 144
_MOST_CHUNKS = 400
"""Wells that are smaller, of a plate that has more, are read several at a time."""


# Where wells lie.


@dataclass(frozen=True, slots=True)
class WellGrid:
    """Where the wells of a plate lie, in pixels of the finest level."""

    size: tuple[int, int]
    """Rows and columns."""
    cell: tuple[int, int]
    pitch: tuple[int, int]
    """Height and width of a well, and from one well to the next."""
    wells: Mapping[Place, str] = field(default_factory=dict, repr=False)
    """The names of the wells that are listed, like ``B/3``, by row and column."""
    rows: tuple[str, ...] = field(default=(), repr=False)
    columns: tuple[str, ...] = field(default=(), repr=False)
    """Their names."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of all wells together."""
        (rows, columns), (height, width) = self.size, self.pitch
        return (
            (rows - 1) * height + self.cell[0],
            (columns - 1) * width + self.cell[1],
        )

    def corner(self, place: Place) -> tuple[int, int]:
        """Give the first pixel of a well."""
        return place[0] * self.pitch[0], place[1] * self.pitch[1]

    def place_at(self, y: float, x: float) -> Place | None:
        """Give the well that a pixel lies in; None beside the wells, and between."""
        place = int(y // self.pitch[0]), int(x // self.pitch[1])
        inside = all(0 <= n < most for n, most in zip(place, self.size, strict=True))
        offsets = y - place[0] * self.pitch[0], x - place[1] * self.pitch[1]
        held = all(o < size for o, size in zip(offsets, self.cell, strict=True))
        return place if inside and held else None


class Tile(Protocol):
    """One field of view; ``str`` names it."""

    @property
    def origin(self) -> tuple[int, int]:
        """Where its first pixel lies in its well, in pixels of the finest level."""
        ...

    @property
    def path(self) -> str:
        """The path of its image below the plate."""
        ...

    def misfit(self, said: str) -> OMEZarrError:
        """Give the error for pixels that have no room in the mosaic: ``it {said}``."""
        ...

    async def level(self, number: int) -> Pixels | None:
        """Find its pixels as fine as a level, on the I/O loop; None: there are none.

        They have the mosaic's axes, without those that are stepped through.
        """
        ...


class TileSource(Protocol):
    """All fields of a plate; asks for what is looked at, and for nothing else."""

    @property
    def grid(self) -> WellGrid:
        """Where the wells lie."""
        ...

    @property
    def steps(self) -> tuple[int, ...]:
        """The sizes of axes in front that step through acquisitions and fields."""
        ...

    @property
    def store(self) -> Any:
        """Where notes are left."""
        ...

    async def tiles(self, place: Place, step: tuple[int, ...]) -> Sequence[Tile]:
        """Find the fields of a well that are shown together, on the I/O loop."""
        ...

    def named(
        self, place: Place, step: tuple[int, ...], point: tuple[float, float]
    ) -> str:
        """Say what lies at a point of a well, as far as it was looked at."""
        ...


@dataclass(frozen=True, slots=True)
class MosaicLevel:
    """One resolution of a mosaic."""

    number: int
    """Of the fields' levels."""
    factors: tuple[float, float]
    """How many pixels of the finest level a pixel is high and wide."""
    room: tuple[int, ...]
    """The shape that each field has room for, at the fields' level."""
    chunks: tuple[int, ...]
    """The shape of the fields' chunks there."""
    dtype: np.dtype[Any]
    """The type of all pixels."""
    shrunk: tuple[float, float] = (1, 1)
    """How much coarser than the fields' own level it is, (1, 1) if it is that one."""


# What is left out because it cannot be read: shown as a hole, and never saved as one.


def _loss(found: Collection[str], action: str) -> LossError:
    return LossError(min(found), action=action)


left_out = Noted("left out", _loss)


# What is asked for by many at once, and once.


class Shared(Generic[T]):
    """What was found out on the I/O loop, the latest ones kept; each asked for once.

    What nobody waits for any more is cancelled. Parts have sizes, of which at most so
    much is kept; nothing is kept that rests on what is only presumed missing.
    """

    def __init__(self, most: int, size: Callable[[T], int]) -> None:
        self._most, self._size = most, size
        self._held = 0
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._asked: dict[Hashable, list[Any]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Shared, (self._most, self._size)

    def put(self, key: Hashable, found: T) -> None:
        """Keep what was found out elsewhere."""
        if key not in self._kept:
            self._keep(key, found)

    async def get(self, key: Hashable, find: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Give what is kept, or wait for what is being found out."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        entry = self._asked.get(key)
        if entry is None:
            task = asyncio.ensure_future(_with_presumptions(find))
            entry = self._asked[key] = [task, 0]
            task.add_done_callback(partial(self._finish, key))
        entry[1] += 1
        try:
            found: T
            found, presumed = await asyncio.shield(entry[0])
        finally:
            entry[1] -= 1
            if entry[1] == 0 and not entry[0].done():
                entry[0].cancel()
                self._forget(key, entry[0])
        presumptions.add(*presumed)
        return found

    def _forget(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        entry = self._asked.get(key)
        if entry is not None and entry[0] is task:
            del self._asked[key]

    def _finish(self, key: Hashable, task: asyncio.Task[tuple[T, set[str]]]) -> None:
        self._forget(key, task)
        if task.cancelled() or task.exception() is not None:
            return
        found, presumed = task.result()
        if not presumed:
            self._keep(key, found)

    def _keep(self, key: Hashable, found: T) -> None:
        self._kept[key] = found
        self._held += self._size(found)
        while self._held > self._most and self._kept:
            _, dropped = self._kept.popitem(last=False)
            self._held -= self._size(dropped)


async def _with_presumptions(
    find: Callable[[], Coroutine[Any, Any, T]],
) -> tuple[T, set[str]]:
    with presumptions.collected() as presumed:
        return await find(), presumed


def _nbytes(array: np.ndarray) -> int:
    return array.nbytes


class Kept(Readable):
    """Other pixels whose chunks are kept for a while: several tiles' readers need one.

    The chunks of a mosaic end where wells do, and those of fields elsewhere.
    """

    def __init__(self, pixels: Pixels, chunks: Shared[np.ndarray]) -> None:
        self.source = pixels
        self._chunks = chunks
        self.shape, self.chunks = pixels.shape, pixels.chunks
        self.dtype, self.concurrency = pixels.dtype, pixels.concurrency
        self.token = pixels.token
        size = prod(self.chunks) * self.dtype.itemsize
        self._is_small = size <= _LARGEST_KEPT

    def __repr__(self) -> str:
        return f"<Kept {self.source!r}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop."""
        if not self._is_small:
            return await self.source.read(bounds)
        parts = list(chunk_parts(bounds, self.chunks))
        box = np.empty(shape_of(bounds), self.dtype)

        async def place(part: Any) -> None:
            whole = chunk_box(part.chunk, self.chunks, self.shape)
            chunk = await self._chunks.get(
                (self.token, part.chunk), partial(self.source.read, whole)
            )
            box[part.target] = chunk[part.source]

        await bounded_gather((partial(place, p) for p in parts), self.concurrency)
        return box


# Coarser levels than fields have.


class Shrunk(Readable):
    """Other pixels on a coarser grid of y and x, which are read whole and kept small.

    A pixel is the mean of those that it covers; of labels it is the middle one.
    """

    def __init__(
        self,
        pixels: Pixels,
        shape: tuple[int, int],
        kept: Shared[np.ndarray],
        *,
        labels: bool,
    ) -> None:
        self.source = pixels
        self._kept, self._labels = kept, labels
        height, width = pixels.shape[-2:]
        plane = self._plane = min(shape[0], height), min(shape[1], width)
        self.shape: tuple[int, ...] = (*pixels.shape[:-2], *plane)
        self.chunks = (*pixels.chunks[:-2], *plane)
        self.dtype, self.concurrency = pixels.dtype, pixels.concurrency
        self.token = f"{pixels.token}-{plane}"

    def __repr__(self) -> str:
        return f"<{self.shape} of {self.source!r}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop."""
        front = bounds[:-2]
        plane = await self._kept.get((self.token, front), partial(self._read, front))
        rows, columns = slices(bounds[-2:])
        return plane[..., rows, columns]

    async def _read(self, front: Bounds) -> np.ndarray:
        height, width = self.source.shape[-2:]
        box = await self.source.read((*front, (0, height), (0, width)))
        shrink = partial(_picked if self._labels else _averaged, shape=self._plane)
        if box.nbytes <= QUICK:
            return shrink(box)
        return await asyncio.get_running_loop().run_in_executor(None, shrink, box)


def _picked(box: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    rows, columns = (
        (np.arange(size) * 2 + 1) * whole // (2 * size)
        for size, whole in zip(shape, box.shape[-2:], strict=True)
    )
    return box[..., rows[:, None], columns]


def _averaged(box: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    total = box.astype(np.float64)
    for axis, size in zip((-2, -1), shape, strict=True):
        whole = box.shape[axis]
        starts = np.arange(size) * whole // size
        counts = np.diff([*starts, whole]).reshape((-1, 1) if axis == -2 else (-1,))
        total = np.add.reduceat(total, starts, axis=axis) / counts
    if box.dtype.kind in "iu":
        total = np.rint(total)
    return total.astype(box.dtype) if box.dtype.kind != "b" else total >= 0.5


class Arranged(Readable):
    """Other pixels with the axes of a mosaic, and its channels where they have them.

    `axes` says for each axis which of the source it is, or None for one that the source
    lacks; `channels`, along `channel_axis`, which channel each is, or None. Axes of the
    source that are named nowhere have one index.
    """

    def __init__(
        self,
        pixels: Pixels,
        axes: Sequence[int | None],
        channel_axis: int | None = None,
        channels: Sequence[int | None] = (),
    ) -> None:
        self.source = pixels
        self._axes = tuple(axes)
        self._channel_axis, self._channels = channel_axis, tuple(channels)
        shape = [1 if a is None else pixels.shape[a] for a in axes]
        if channel_axis is not None:
            shape[channel_axis] = len(channels)
        self.shape = tuple(shape)
        self.chunks = tuple(1 if a is None else pixels.chunks[a] for a in axes)
        self.dtype, self.concurrency = pixels.dtype, pixels.concurrency
        self.token = f"{pixels.token}-{self._axes}-{self._channels}"

    def __repr__(self) -> str:
        return f"<Arranged {self.source!r}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop; a channel that is not there is 0."""
        axis = self._channel_axis
        if axis is None:
            return await self._read(bounds)
        box = np.zeros(shape_of(bounds), self.dtype)
        wanted = self._channels[slice(*bounds[axis])]
        held = [number for number in wanted if number is not None]
        if not held:
            return box
        low, high = min(held), max(held) + 1
        part = await self._read((*bounds[:axis], (low, high), *bounds[axis + 1 :]))
        places = [n for n, number in enumerate(wanted) if number is not None]
        source = np.moveaxis(part, axis, 0)
        np.moveaxis(box, axis, 0)[places] = source[np.subtract(held, low)]
        return box

    async def _read(self, bounds: Bounds) -> np.ndarray:
        wanted: list[tuple[int, int]] = [(0, 1)] * len(self.source.shape)
        for axis, bound in zip(self._axes, bounds, strict=True):
            if axis is not None:
                wanted[axis] = bound
        box = await self.source.read(tuple(wanted))
        kept = [axis for axis in self._axes if axis is not None]
        others = [axis for axis in range(box.ndim) if axis not in kept]
        return box.transpose([*kept, *others]).reshape(shape_of(bounds))


# The mosaic.


class Mosaic(Readable):
    """One level of a plate: the fields of its wells, each in its place.

    The axes of the fields, y and x last, stand behind those that step through
    acquisitions and fields. Between wells, and where nothing is listed, or less than
    there is room for, pixels are 0. Nothing is cut or changed: a field that is larger
    than its room, or that holds values which the mosaic's type does not, raises. So
    does one that cannot be asked for.
    """

    def __init__(
        self, fields: TileSource, level: MosaicLevel, *, labels: bool = False
    ) -> None:
        self.fields, self.level, self.labels = fields, level, labels
        self.store = fields.store
        self.dtype = np.dtype(level.dtype)
        plane = tuple(
            max(1, ceil(size / by - 1e-6))
            for size, by in zip(fields.grid.shape, level.factors, strict=True)
        )
        self.shape: tuple[int, ...] = (*fields.steps, *level.room[:-2], *plane)
        cells = [p / f for p, f in zip(fields.grid.pitch, level.factors, strict=True)]
        self.chunks: tuple[int, ...] = (
            *(1 for _ in fields.steps),
            *level.chunks[:-2],
            *(
                _chunk(*along, len(fields.grid.wells))
                for along in zip(cells, level.chunks[-2:], plane, strict=True)
            ),
        )
        self.address: str = getattr(fields, "address", "")
        self.concurrency: int = getattr(fields, "concurrency", 16)
        self.token = new_token()
        self._chunks: Shared[np.ndarray] = Shared(_KEPT, _nbytes)

    def __repr__(self) -> str:
        return f"<Mosaic of {len(self.fields.grid.wells)} wells {self.shape}>"

    def keep_with(self, finer: Mosaic) -> Mosaic:
        """Share what is kept with another level of the plate."""
        self._chunks = finer._chunks
        return self

    def named(self, point: Sequence[float]) -> str:
        """Say which well and field lie at a pixel; empty where there is none."""
        y, x = (at * by for at, by in zip(point[-2:], self.level.factors, strict=True))
        place = self.fields.grid.place_at(y, x)
        if place not in self.fields.grid.wells or place is None:
            return ""
        top, left = self.fields.grid.corner(place)
        count = len(self.fields.steps)
        step = tuple(int(n) for n in point[-len(self.shape) :][:count])
        return self.fields.named(place, step, (y - top, x - left))

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box over any wells, on the I/O loop."""
        box = np.zeros(shape_of(bounds), self.dtype)
        count = len(self.fields.steps)
        steps = [range(*bound) for bound in bounds[:count]]
        work = (
            partial(
                self._show,
                place,
                step,
                bounds[count:],
                box[tuple(n - b[0] for n, b in zip(step, bounds, strict=False))],
            )
            for step in product(*steps)
            for place in self._touched(bounds[-2:])
        )
        await bounded_gather(work, max(1, self.concurrency))
        return box

    def _touched(self, plane: Bounds) -> Iterator[Place]:
        grid = self.fields.grid
        along = [
            range(
                max(0, int((low * by - 1) // pitch)),
                min(count, int((high * by) // pitch) + 1),
            )
            for (low, high), by, pitch, count in zip(
                plane, self.level.factors, grid.pitch, grid.size, strict=True
            )
        ]
        places = product(along[0], along[1])
        return (place for place in places if place in grid.wells)

    async def _show(
        self, place: Place, step: tuple[int, ...], bounds: Bounds, box: np.ndarray
    ) -> None:
        """Put what is seen of a well into a box; later fields lie over earlier ones."""
        first, last = self._corner(place), self._corner(place, self.fields.grid.cell)
        more = self.level.factors != (1, 1)  # coarser fields may end a pixel later
        if not _meets(bounds, first, [end + more for end in last]):
            return
        tiles = await self.fields.tiles(place, step)
        height, width = self._room()[-2:]
        corners = (self._corner(place, tile.origin) for tile in tiles)
        seen = [
            tile
            for tile, (y, x) in zip(tiles, corners, strict=True)
            if _meets(bounds, (y, x), (y + height, x + width))
        ]
        parts = await asyncio.gather(*(self._part(place, t, bounds) for t in seen))
        for part in parts:
            if part is not None:
                target, pixels = part
                box[target] = pixels

    def _room(self) -> list[int]:
        """Give the shape that each field has room for, in pixels of this level."""
        *front, height, width = self.level.room
        y, x = self.level.shrunk
        return [*front, max(1, round(height / y)), max(1, round(width / x))]

    def _finest_room(self) -> tuple[int, int]:
        """Give the height and width of a field's room, in pixels of the finest level.

        A pixel less, as those of a coarser level may end one later.
        """
        (height, width), (y, x) = self.level.factors, self._room()[-2:]
        return int((y - 1) * height) + 1, int((x - 1) * width) + 1

    def _corner(self, place: Place, origin: Sequence[int] = (0, 0)) -> list[int]:
        corner = self.fields.grid.corner(place)
        return [
            round((first + offset) / by)
            for first, offset, by in zip(
                corner, origin, self.level.factors, strict=True
            )
        ]

    async def _part(
        self, place: Place, tile: Tile, bounds: Bounds
    ) -> tuple[tuple[slice, ...], np.ndarray] | None:
        found = await tile.level(self.level.number)
        if found is None:
            return None
        pairs = zip(found.shape, self.level.room, strict=True)
        if any(size > held for size, held in pairs):
            sides, held = by_times(found.shape), by_times(self.level.room)
            raise tile.misfit(f"is {sides}, and its place {held}")
        ends = zip(tile.origin, self._finest_room(), self.fields.grid.cell, strict=True)
        if any(first < 0 or first + size > end for first, size, end in ends):
            raise tile.misfit("lies beyond the place of its well")
        pixels: Pixels = Kept(found, self._chunks)
        if self.level.shrunk != (1, 1):
            height, width = (
                max(1, round(size / by))
                for size, by in zip(found.shape[-2:], self.level.shrunk, strict=True)
            )
            plane = height, width
            pixels = Shrunk(found, plane, self._chunks, labels=self.labels)
        corner = [0] * (len(bounds) - 2) + self._corner(place, tile.origin)
        source, target = [], []
        for (start, stop), first, size, limit in zip(
            bounds, corner, pixels.shape, self._room(), strict=True
        ):
            low, high = max(start, first), min(stop, first + min(size, limit))
            if high <= low:
                return None
            source.append((low - first, high - first))
            target.append(slice(low - start, high - start))
        part = await pixels.read(tuple(source))
        return tuple(target), self._held(part, tile)

    def _held(self, part: np.ndarray, tile: Tile) -> np.ndarray:
        """Give values in the mosaic's type, which must hold each of them."""
        if part.dtype == self.dtype:
            return part
        with np.errstate(all="ignore"):
            held = part.astype(self.dtype)
            same = held.astype(part.dtype) == part
        if self.dtype.kind == "f":
            same |= np.isnan(held)
        if not same.all():
            raise tile.misfit(f"holds {part.dtype}, which {self.dtype} cannot")
        return held


def _meets(bounds: Bounds, first: Sequence[int], end: Sequence[int]) -> bool:
    """Whether a box shows anything of y and x from one pixel to before another."""
    return all(
        low < stop and start < high
        for (low, high), start, stop in zip(bounds[-2:], first, end, strict=True)
    )


def _chunk(cell: float, chunk: int, size: int, wells: int) -> int:
    """Choose how long the chunks of a mosaic are along y or x, in its pixels.

    A well is one chunk, or as many as it has chunks itself; wells that are small are
    several in one. A well of one chunk is a little longer than that, with its gap.
    """
    if round(cell / chunk) <= 1:
        together = min(_CHUNK // max(1, cell), sqrt(wells / _MOST_CHUNKS))
        return max(1, min(size, round(max(1, ceil(together)) * cell)))
    return max(1, min(size, ceil(cell / max(1, cell // chunk))))


def coarser_levels(finest: WellGrid, last: MosaicLevel) -> Iterator[MosaicLevel]:
    """Give the levels of a plate that follow the fields' last one, by twos."""
    factors = last.factors
    step = 1
    while True:
        step *= 2
        plane = [s / f / step for s, f in zip(finest.shape, factors, strict=True)]
        cell = [s / f / step for s, f in zip(finest.cell, factors, strict=True)]
        before = 2 * max(plane)
        is_small = min(cell) < _SMALLEST_WELL and before <= _LARGEST_TEXTURE
        if before <= LARGEST_OVERVIEW or is_small or min(cell) < 1:
            return
        yield MosaicLevel(
            last.number,
            (factors[0] * step, factors[1] * step),
            last.room,
            (*last.chunks[:-2], *(max(1, c // step) for c in last.chunks[-2:])),
            last.dtype,
            (step, step),
        )


def mosaic_of(pixels: Any) -> Mosaic | None:
    """Give the mosaic that pixels are a view of; None if they are of no plate."""
    while not isinstance(pixels, Mosaic) and hasattr(pixels, "source"):
        pixels = pixels.source
    return pixels if isinstance(pixels, Mosaic) else None


def sample_of(pixels: Pixels) -> Pixels:
    """Give pixels that stand for others: of a plate one field, which is surely there.

    The middle of a plate may be a well that holds nothing. Of a channel it is a field
    that has it.
    """
    mosaic = mosaic_of(pixels)
    fields: Any = None if mosaic is None else mosaic.fields
    sample = getattr(fields, "sample", None)
    if mosaic is None or sample is None:
        return pixels
    count = len(mosaic.fields.steps)
    if isinstance(pixels, FixedAxes) and pixels.source is mosaic:
        fixed = {axis - count: n for axis, n in pixels.fixed.items() if axis >= count}
        channel = fixed.get(fields.expected.channel_axis)
        sample = fields.samples.get(channel, sample)
        held = all(n < sample.shape[axis] for axis, n in fixed.items())
        return FixedAxes(sample, fixed) if held else pixels
    return sample if pixels is mosaic else pixels
