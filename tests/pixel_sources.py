"""Pixels in memory that remember what was read of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from napari_omezarr.errors import UnsupportedDataError
from napari_omezarr.pyramid import Mosaic, MosaicLevel, Readable, WellGrid

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


class KnownTile:
    """A field of a plate whose pixels are in memory; counts how often it is asked."""

    def __init__(self, pixels, origin=(0, 0)):
        self.pixels = pixels
        self.origin = origin
        self.path = uuid4().hex
        self.opened = 0

    def misfit(self, said):
        return UnsupportedDataError(f"It {said}.", action="Open it by itself.")

    async def level(self, number):
        self.opened += 1
        return self.pixels


class KnownFields:
    """The tiles of a plate's wells, by row and column: none, one or several."""

    store = None
    concurrency = 4

    def __init__(self, tiles, grid, steps=()):
        self.all_tiles = tiles
        self.grid = grid
        self.steps = steps

    def named(self, place, step, point):
        return f"{self.grid.wells[place]} {step}"

    async def tiles(self, place, step):
        found = self.all_tiles.get((*step, *place), ())
        return found if isinstance(found, list | tuple) else (found,)


def mosaic_of_tiles(template, size, tiles, *, gap=0, room=None, dtype=None):
    """Lay single fields out in a grid of wells as large as the template, or `room`."""
    room = room or template.shape
    cell = room[-2], room[-1]
    pitch = cell[0] + gap, cell[1] + gap
    grid = WellGrid(size, cell, pitch, dict.fromkeys(tiles, "A/1"))
    level = MosaicLevel(0, (1, 1), room, template.chunks, dtype or template.dtype)
    return Mosaic(KnownFields(tiles, grid), level)
