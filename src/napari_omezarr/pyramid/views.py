"""Other pixels seen differently: axes fixed or moved, a box, another dtype or grid."""

from __future__ import annotations

from abc import abstractmethod
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import DamagedDataError

from .boxes import chunk_counts, shape_of
from .pixels import Readable

if TYPE_CHECKING:
    from .boxes import Bounds
    from .pixels import Pixels


class _Reshaped(Readable):
    """Other pixels with more axes of length 1, or fewer; `source_box` says where."""

    source: Pixels

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop."""
        box = await self.source.read(self.source_box(bounds))
        return box.reshape(shape_of(bounds))

    @abstractmethod
    def source_box(self, bounds: Bounds) -> Bounds:
        """Give where a box lies in the source."""


class FixedAxes(_Reshaped):
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


class LeadingAxes(_Reshaped):
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


class Merged(Readable):
    """Other pixels in larger chunks, each of them several of theirs."""

    def __init__(self, pixels: Pixels, chunks: tuple[int, ...]) -> None:
        self.source = pixels
        self.shape = pixels.shape
        self.chunks = chunks
        self.dtype = pixels.dtype
        each = prod(chunk_counts(chunks, pixels.chunks))
        # One more than what is read at a time: the last chunks of one leave room.
        self.concurrency = 1 + -(-pixels.concurrency // max(1, each))
        self.token = f"{pixels.token}-{chunks}"

    def __repr__(self) -> str:
        return f"<{self.source!r} in chunks of {self.chunks}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop: only the chunks of the source in it."""
        return await self.source.read(bounds)


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
