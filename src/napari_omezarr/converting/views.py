"""Arrays seen in another way: one index of an axis, palettes as colours."""

from __future__ import annotations

from typing import Any

import numpy as np


class SelectedIndex:
    """One index of an axis of an array, without that axis."""

    def __init__(self, array: Any, axis: int, index: int) -> None:
        self.array = array
        self.axis = axis
        self.index = index
        self.shape = array.shape[:axis] + array.shape[axis + 1 :]
        self.chunks = array.chunks[:axis] + array.chunks[axis + 1 :]
        self.dtype = array.dtype
        self.address = array.address

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        here = slice(self.index, self.index + 1)
        inner = (*box[: self.axis], here, *box[self.axis :])
        values: np.ndarray = self.array[inner]
        return values.squeeze(self.axis)


class PaletteArray:
    """Indices of a palette (entries x 3) as its colours, along a new last axis."""

    def __init__(self, array: Any, palette: np.ndarray) -> None:
        self.array = array
        self.palette = palette
        self.shape = (*array.shape, palette.shape[1])
        self.chunks = (*array.chunks, palette.shape[1])
        self.dtype = palette.dtype
        self.address = array.address

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        colors: np.ndarray = self.palette[self.array[box[:-1]]]
        return colors[..., box[-1]]


class JoinedChannels:
    """Channels of several samples as so many channels more."""

    def __init__(self, array: Any, channel: int, sample: int) -> None:
        self.array = array
        # Without the samples, channels lie here.
        self.channel = channel - (sample < channel)
        self.sample = sample
        self.samples = array.shape[sample]
        self.shape = self._without(array.shape)
        self.chunks = self._without(array.chunks)
        self.dtype = array.dtype
        self.address = array.address

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        first, last, _ = box[self.channel].indices(self.shape[self.channel])
        whole = slice(first // self.samples, -(-last // self.samples))
        inner = [*box[: self.channel], whole, *box[self.channel + 1 :]]
        inner.insert(self.sample, slice(None))
        values = np.moveaxis(self.array[tuple(inner)], self.sample, self.channel + 1)
        shape = list(values.shape)
        shape[self.channel : self.channel + 2] = [-1]
        start = first - whole.start * self.samples
        part = slice(start, start + last - first)
        joined: np.ndarray = values.reshape(shape)
        return joined[(slice(None),) * self.channel + (part,)]

    def _without(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        kept = [*sizes[: self.sample], *sizes[self.sample + 1 :]]
        kept[self.channel] *= self.samples
        return tuple(kept)
