"""Other pixels seen differently: an axis fixed, moved to the end, another dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .pixels import Readable

if TYPE_CHECKING:
    from .pixels import Pixels
    from .selection import Bounds


class Window(Readable):
    """Other pixels with some axes fixed at one index; nothing is copied or read.

    Parameters
    ----------
    pixels : Pixels
        What is looked at.
    fixed : dict of int to int
        The index at which each of these axes is held; they vanish from the shape.
    """

    def __init__(self, pixels: Pixels, fixed: dict[int, int]) -> None:
        self.source = pixels
        self.fixed = dict(fixed)
        self._kept = tuple(a for a in range(len(pixels.shape)) if a not in fixed)
        self.shape: tuple[int, ...] = tuple(pixels.shape[a] for a in self._kept)
        self.chunks: tuple[int, ...] = tuple(pixels.chunks[a] for a in self._kept)
        self.dtype = pixels.dtype
        self.concurrency = pixels.concurrency
        held = "-".join(f"{axis}.{index}" for axis, index in sorted(fixed.items()))
        self.token = f"{pixels.token}-{held}"

    def __repr__(self) -> str:
        return f"<Window {self.fixed} of {self.source!r}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box of the kept axes, on the I/O loop."""
        whole = [(index, index + 1) for index in self._held()]
        for axis, bound in zip(self._kept, bounds, strict=True):
            whole[axis] = bound
        box = await self.source.read(tuple(whole))
        return box.reshape([stop - start for start, stop in bounds])

    def _held(self) -> list[int]:
        return [self.fixed.get(axis, 0) for axis in range(len(self.source.shape))]


class ChannelsLast(Readable):
    """Other pixels with their channel axis moved to the end, as RGB pictures have it.

    Parameters
    ----------
    pixels : Pixels
        What is looked at.
    channel_axis : int
        The axis that becomes the last one; it is always read whole.
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
        order = list(bounds[:-1])
        order.insert(self.channel_axis, bounds[-1])
        box = await self.source.read(tuple(order))
        return np.moveaxis(box, self.channel_axis, -1)

    def _moved(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        rest = [size for axis, size in enumerate(sizes) if axis != self.channel_axis]
        return (*rest, sizes[self.channel_axis])


class Cast(Readable):
    """Other pixels in another data type (label values that were stored as floats).

    Parameters
    ----------
    pixels : Pixels
        What is looked at.
    dtype : numpy.dtype
        What values become; not finite ones become 0.
    """

    def __init__(self, pixels: Pixels, dtype: np.dtype[Any]) -> None:
        self.source = pixels
        self.shape = pixels.shape
        self.chunks = pixels.chunks
        self.dtype = np.dtype(dtype)
        self.concurrency = pixels.concurrency
        self.token = f"{pixels.token}-{self.dtype}"

    def __repr__(self) -> str:
        return f"<{self.dtype} of {self.source!r}>"

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box, on the I/O loop."""
        box = await self.source.read(bounds)
        if box.dtype.kind == "f":
            box = np.nan_to_num(box, nan=0, posinf=0, neginf=0)
        return box.astype(self.dtype, copy=False)
