"""Pixels in memory that remember what was read of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from napari_omezarr.pyramid import Readable

if TYPE_CHECKING:
    import numpy as np


class MemoryPixels(Readable):
    """An array that is read through the same door as a remote one."""

    def __init__(self, array: np.ndarray, chunks: tuple[int, ...]):
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype
        self.chunks = chunks
        self.concurrency = 4
        self.token = uuid4().hex
        self.reads = []

    async def read(self, bounds):
        self.reads.append(bounds)
        return self.array[tuple(slice(*bound) for bound in bounds)]
