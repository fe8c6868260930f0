"""Other pixels seen differently: axes fixed or moved, a box, a dtype, a mosaic."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import numpy as np

from napari_omezarr.errors import DamagedDataError

from .boxes import shape_of
from .pixels import Readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_omezarr.errors import OMEZarrError

    from .boxes import Bounds
    from .pixels import Pixels


class FixedAxes(Readable):
    """Other pixels with some axes held at one index; these vanish from the shape."""

    def __init__(self, pixels: Pixels, fixed: dict[int, int]) -> None:
        self.source = pixels
        self.fixed = dict(fixed)
        self.kept = tuple(a for a in range(len(pixels.shape)) if a not in fixed)
        self.shape: tuple[int, ...] = tuple(pixels.shape[a] for a in self.kept)
        self.chunks: tuple[int, ...] = tuple(pixels.chunks[a] for a in self.kept)
        self.dtype = pixels.dtype
        self.concurrency = pixels.concurrency
        held = "-".join(f"{axis}.{index}" for axis, index in sorted(fixed.items()))
        self.token = f"{pixels.token}-{held}"

    def __repr__(self) -> str:
        return f"<FixedAxes {self.fixed} of {self.source!r}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box of the kept axes, on the I/O loop."""
        box = await self.source.read(self.source_box(bounds))
        return box.reshape(shape_of(bounds))

    def source_box(self, bounds: Bounds) -> Bounds:
        """Give where a box lies in the source."""
        ranges = {axis: (index, index + 1) for axis, index in self.fixed.items()}
        ranges.update(zip(self.kept, bounds, strict=True))
        return tuple(ranges[axis] for axis in range(len(self.source.shape)))


class Cropped(Readable):
    """A box of other pixels, nowhere empty.

    Its chunks are those of the source, cut where the box ends: a grid that does not
    begin at 0, so `edges` says where they meet.
    """

    def __init__(self, pixels: Pixels, box: Bounds) -> None:
        self.source = pixels
        self.box = box
        self.shape: tuple[int, ...] = shape_of(box)
        self.chunks: tuple[int, ...] = tuple(
            min(chunk, size)
            for chunk, size in zip(pixels.chunks, self.shape, strict=True)
        )
        self.dtype = pixels.dtype
        self.concurrency = pixels.concurrency
        held = "-".join(f"{start}.{stop}" for start, stop in box)
        self.token = f"{pixels.token}-{held}"

    def __repr__(self) -> str:
        return f"<Cropped {self.box} of {self.source!r}>"

    @property
    def edges(self) -> tuple[tuple[int, ...], ...]:
        """Where chunks begin and end along each axis, 0 and the whole size included."""
        return tuple(
            (0, *range(chunk - start % chunk, stop - start, chunk), stop - start)
            for (start, stop), chunk in zip(self.box, self.source.chunks, strict=True)
        )

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box of the box, on the I/O loop."""
        return await self.source.read(self.source_box(bounds))

    def source_box(self, bounds: Bounds) -> Bounds:
        """Give where a box lies in the source."""
        pairs = zip(self.box, bounds, strict=True)
        return tuple((first + low, first + high) for (first, _), (low, high) in pairs)


class ChannelsLast(Readable):
    """Other pixels with their channel axis moved to the end, as RGB pictures have it.

    The channel axis is always read whole.
    """

    def __init__(self, pixels: Pixels, channel_axis: int) -> None:
        self.source = pixels
        self.channel_axis = channel_axis
        self.shape = self._moved(pixels.shape)
        self.chunks = (*self._moved(pixels.chunks)[:-1], self.shape[-1])
        self.dtype = pixels.dtype
        self.concurrency = pixels.concurrency
        self.token = f"{pixels.token}-last.{channel_axis}"

    def __repr__(self) -> str:
        return f"<ChannelsLast of {self.source!r}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, channels last, on the I/O loop."""
        box = await self.source.read(self.source_box(bounds))
        return np.moveaxis(box, self.channel_axis, -1)

    def source_box(self, bounds: Bounds) -> Bounds:
        """Give where a box lies in the source."""
        order = list(bounds[:-1])
        order.insert(self.channel_axis, bounds[-1])
        return tuple(order)

    def _moved(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        rest = [size for axis, size in enumerate(sizes) if axis != self.channel_axis]
        return (*rest, sizes[self.channel_axis])


class LeadingAxes(Readable):
    """Other pixels with axes of length 1 in front, for what shows planes only."""

    def __init__(self, pixels: Pixels, count: int) -> None:
        self.source = pixels
        self.count = count
        self.shape: tuple[int, ...] = (1,) * count + tuple(pixels.shape)
        self.chunks: tuple[int, ...] = (1,) * count + tuple(pixels.chunks)
        self.dtype = pixels.dtype
        self.concurrency = pixels.concurrency
        self.token = f"{pixels.token}-in.{count}"

    def __repr__(self) -> str:
        return f"<LeadingAxes of {self.source!r}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop."""
        box = await self.source.read(self.source_box(bounds))
        return box.reshape(shape_of(bounds))

    def source_box(self, bounds: Bounds) -> Bounds:
        """Give where a box lies in the source."""
        return tuple(bounds[self.count :])


class Cast(Readable):
    """Other pixels in another data type.

    Values that are not finite become 0 where the type has no such. With `exact`, as
    for label values that were stored as floats, a value that the type cannot hold is
    an error; else it becomes the nearest one, as in a coarser level that is of another
    type than the finest.
    """

    def __init__(
        self, pixels: Pixels, dtype: np.dtype[Any], *, exact: bool = True
    ) -> None:
        self.source = pixels
        self.exact = exact
        self.shape = pixels.shape
        self.chunks = pixels.chunks
        self.dtype = np.dtype(dtype)
        self.concurrency = pixels.concurrency
        self.token = f"{pixels.token}-{self.dtype}{'' if exact else '-near'}"

    def __repr__(self) -> str:
        return f"<{self.dtype} of {self.source!r}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop."""
        box = await self.source.read(bounds)
        if self.dtype.kind not in "iu" or box.dtype.kind == "b":
            return box.astype(self.dtype, copy=False)
        if box.dtype.kind == "f":
            box = np.nan_to_num(box, nan=0, posinf=0, neginf=0)
        if not fits(box, self.dtype):
            if self.exact:
                raise self._does_not_fit()
            box = nearest(box, self.dtype)
        return box.astype(self.dtype, copy=False)

    def _does_not_fit(self) -> DamagedDataError:
        place = str(getattr(self.source, "address", "")) or "This label image"
        sentence = f"{place} holds values that are no whole numbers of {self.dtype}."
        action = "Open it as an image, or ask its owner to store labels as integers."
        return DamagedDataError(sentence, action=action, url=place)


def fits(values: np.ndarray, dtype: np.dtype[Any]) -> bool:
    """Say whether an integer type holds all of some finite values."""
    if values.size == 0:
        return True
    low, high = _ends(dtype)
    inside = low <= _number(values.min()) and _number(values.max()) <= high
    return inside and (values.dtype.kind != "f" or not np.any(np.mod(values, 1)))


def nearest(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Round finite values to the nearest ones that an integer type holds."""
    low, high = _ends(dtype)
    if values.dtype.kind != "f":
        ends = _ends(values.dtype)
        inside = np.clip(values, max(low, ends[0]), min(high, ends[1]))
        return np.asarray(inside, dtype)
    whole = np.rint(values).astype(np.float64)
    # The largest of 64 bits is no float: what reaches its power is set apart.
    above = whole >= float(high)
    inside = np.where(above, 0, np.maximum(whole, low))
    return np.where(above, high, inside.astype(dtype)).astype(dtype)


def _ends(dtype: np.dtype[Any]) -> tuple[int, int]:
    information = np.iinfo(dtype)
    return int(information.min), int(information.max)


def _number(value: Any) -> int | float:
    found: int | float = value.item()
    return found


# One plane of many equal tiles, each of which is found out when it is looked at.


class Tile(Protocol):
    """Gives the pixels of one tile, once somebody looks at it."""

    async def open(self) -> Pixels | None:
        """Find out the tile's pixels on the I/O loop; None where there are none."""
        ...

    def misfit(self, said: str) -> OMEZarrError:
        """Give the error for pixels that have no room in the mosaic: ``it {said}``."""
        ...


class Mosaic(Readable):
    """Tiles laid out in a grid over the last two axes (y, x).

    Each place has the size of `tile_shape`, by default the template's, and begins
    with its tile: where the tile is smaller, or missing, the rest is 0. Nothing is
    cut or changed: a tile that is larger than its place, or that holds values which
    `dtype`, by default the template's, does not, raises. So does one that cannot be
    read.
    """

    def __init__(
        self,
        template: Pixels,
        grid: tuple[int, int],
        tiles: Mapping[tuple[int, int], Tile],
        *,
        tile_shape: tuple[int, ...] | None = None,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        self._tiles = dict(tiles)
        self._place = tile_shape or template.shape
        self._size = self._place[-2:]
        self._opened: dict[tuple[int, int], asyncio.Task[Pixels | None]] = {}
        rows, columns = grid
        height, width = self._size
        self.shape: tuple[int, ...] = (
            *self._place[:-2],
            rows * height,
            columns * width,
        )
        self.dtype = template.dtype if dtype is None else np.dtype(dtype)
        self.concurrency = template.concurrency
        self.address: str = getattr(template, "address", "")
        # A chunk must not lie across two tiles, or it would be read for both.
        fits = all(
            size % chunk == 0
            for size, chunk in zip(self._size, template.chunks[-2:], strict=True)
        )
        plane = template.chunks[-2:] if fits else self._size
        self.chunks: tuple[int, ...] = (*template.chunks[:-2], *plane)
        self.token = uuid4().hex

    def __repr__(self) -> str:
        return f"<Mosaic of {len(self._tiles)} tiles {self.shape} {self.dtype}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box over any tiles at once, on the I/O loop."""
        box = np.zeros(shape_of(bounds), self.dtype)
        (top, bottom), (left, right) = bounds[-2:]
        height, width = self._size
        places = product(
            range(top // height, (bottom - 1) // height + 1),
            range(left // width, (right - 1) // width + 1),
        )
        await asyncio.gather(*(self._paste(place, bounds, box) for place in places))
        return box

    async def _paste(
        self, place: tuple[int, int], bounds: Bounds, box: np.ndarray
    ) -> None:
        pixels = await self._pixels(place)
        if pixels is None:
            return
        # The last axes of both are the same; one may lack axes of one index in front.
        extra = len(pixels.shape) - len(bounds)
        shape = (1,) * -extra + pixels.shape[max(extra, 0) :]
        origins = [0] * (len(bounds) - 2) + [
            position * size for position, size in zip(place, self._size, strict=True)
        ]
        source, target = [], []
        for (start, stop), origin, size, limit in zip(
            bounds, origins, shape, self._place, strict=True
        ):
            low, high = max(start, origin), min(stop, origin + min(size, limit))
            if high <= low:
                return
            source.append((low - origin, high - origin))
            target.append(slice(low - start, high - start))
        wanted = [(0, 1)] * extra + source[max(-extra, 0) :]
        part = await pixels.read(tuple(wanted))
        held = self._held(part, place)
        box[tuple(target)] = held.reshape(shape_of(tuple(source)))

    def _held(self, part: np.ndarray, place: tuple[int, int]) -> np.ndarray:
        """Give values in the mosaic's type, which must hold each of them."""
        if part.dtype == self.dtype:
            return part
        with np.errstate(all="ignore"):
            held = part.astype(self.dtype)
            same = held.astype(part.dtype) == part
        if self.dtype.kind == "f":
            same |= np.isnan(held)
        if not same.all():
            said = f"holds {part.dtype}, which {self.dtype} cannot"
            raise self._tiles[place].misfit(said)
        return held

    async def _pixels(self, place: tuple[int, int]) -> Pixels | None:
        tile = self._tiles.get(place)
        if tile is None:
            return None
        task = self._opened.get(place)
        if task is None or (task.done() and _failed(task)):
            task = self._opened[place] = asyncio.ensure_future(self._open(tile))
        # Shielded: one reader that is cancelled must not end it for the others.
        return await asyncio.shield(task)

    async def _open(self, tile: Tile) -> Pixels | None:
        """Open a tile, which must have room in its place."""
        pixels = await tile.open()
        if pixels is None:
            return None
        count = len(self._place)
        shape = pixels.shape[-count:]
        if any(size != 1 for size in pixels.shape[:-count]):
            raise tile.misfit(f"has {len(pixels.shape)} axes, and others have {count}")
        if any(
            size > held
            for size, held in zip(shape, self._place[-len(shape) :], strict=True)
        ):
            text = " x ".join(map(str, shape))
            place = " x ".join(map(str, self._place))
            raise tile.misfit(f"is {text}, and its place {place}")
        return pixels


class ChosenChannels(Readable):
    """Other pixels with their channels in another order; those that lack are 0.

    `chosen` gives, for each channel, its number in `pixels`, or None.
    """

    def __init__(
        self, pixels: Pixels, axis: int, chosen: tuple[int | None, ...]
    ) -> None:
        self.source = pixels
        self._axis = axis
        self._chosen = chosen
        self.shape = (*pixels.shape[:axis], len(chosen), *pixels.shape[axis + 1 :])
        self.chunks = (*pixels.chunks[:axis], 1, *pixels.chunks[axis + 1 :])
        self.dtype = pixels.dtype
        self.concurrency = pixels.concurrency
        self.token = f"{pixels.token}-{axis}.{chosen}"

    def __repr__(self) -> str:
        return f"<Channels {self._chosen} of {self.source!r}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop."""
        box = np.zeros(shape_of(bounds), self.dtype)
        wanted = self._chosen[slice(*bounds[self._axis])]
        held = [number for number in wanted if number is not None]
        if not held:
            return box
        low, high = min(held), max(held) + 1
        before, after = bounds[: self._axis], bounds[self._axis + 1 :]
        part = await self.source.read((*before, (low, high), *after))
        places = [n for n, number in enumerate(wanted) if number is not None]
        source = np.moveaxis(part, self._axis, 0)
        np.moveaxis(box, self._axis, 0)[places] = source[np.subtract(held, low)]
        return box


class Resized(Readable):
    """Other pixels on a coarser or finer grid of the same extent: the nearest ones."""

    def __init__(self, pixels: Pixels, shape: tuple[int, ...]) -> None:
        self.source = pixels
        self.shape = shape
        self.chunks = tuple(
            max(1, min(size, chunk * size // max(1, whole)))
            for size, chunk, whole in zip(
                shape, pixels.chunks, pixels.shape, strict=True
            )
        )
        self.dtype = pixels.dtype
        self.concurrency = pixels.concurrency
        self.token = f"{pixels.token}-{shape}"

    def __repr__(self) -> str:
        return f"<{self.shape} of {self.source!r}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop; a row of the source's chunks at a time."""
        indices = [
            (np.arange(low, high) * 2 + 1) * whole // (2 * size)
            for (low, high), size, whole in zip(
                bounds, self.shape, self.source.shape, strict=True
            )
        ]
        rows = indices[-2]
        cuts = np.flatnonzero(np.diff(rows // self.source.chunks[-2])) + 1
        strips = [
            await self._strip([*indices[:-2], strip, indices[-1]])
            for strip in np.split(rows, cuts)
        ]
        return np.concatenate(strips, axis=-2)

    async def _strip(self, indices: list[np.ndarray]) -> np.ndarray:
        bounds = tuple((int(index[0]), int(index[-1]) + 1) for index in indices)
        box = await self.source.read(bounds)
        return box[np.ix_(*(index - index[0] for index in indices))]


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None
