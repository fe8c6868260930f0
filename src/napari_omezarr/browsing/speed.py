"""How fast a place is: the time of a small answer, and bytes in a second."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import islice, product
from math import prod
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from napari_omezarr.reading import ReadOptions, read
from napari_omezarr.store import run

from .chunk import array_of, grid_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid.pixels import ArrayPixels

_LATENCIES = 5
_CHUNKS = 32
_BYTES = 32 * 2**20
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a place answered.

    Attributes
    ----------
    latency : float
        Seconds for one small answer: the median of five, one after another.
    rate : float
        Bytes in a second, of chunks that are asked for together.
    requests, received : int
        What the second figure was taken from.
    """

    latency: float
    rate: float
    requests: int
    received: int

    @property
    def sentence(self) -> str:
        """Both figures, for the person."""
        milliseconds = f"{self.latency * 1000:.0f} ms for an answer"
        if not self.received:
            return f"{milliseconds}; nothing is stored that could be read."
        megabytes = f"{self.rate / 1e6:.1f} MB/s"
        return f"{milliseconds}, {megabytes} over {self.requests} requests."


def measure_speed(location: Location) -> Speed:
    """Measure how fast the chunks of an image come; blocks for ten seconds at most.

    Reads at most 32 chunks of its finest level, of 32 MiB without compression, from
    its beginning; a disk cache that has them makes the place seem fast.

    Raises
    ------
    OMEZarrError
        There is no image here, or it could not be read.
    """
    reading = read(location, ReadOptions(labels=False, level=0))
    pixels = array_of(reading.pyramids[0].levels[0].pixels)
    return run(_measure(pixels))


async def _measure(pixels: ArrayPixels) -> Speed:
    chunks = list(_chunks(pixels))
    key = pixels.stored_key(chunks[0])
    await pixels.store.exists(key)  # opens the connection
    latency = median([await _seconds(pixels, key) for _ in range(_LATENCIES)])
    store = pixels.store
    requests, received, begin = store.requests, store.bytes_received, perf_counter()
    try:
        async with asyncio.timeout(_SECONDS):
            await asyncio.gather(*(pixels.read(_bounds(pixels, c)) for c in chunks))
    except TimeoutError:
        pass  # what came until then is the answer
    seconds = max(perf_counter() - begin, 1e-9)
    received = store.bytes_received - received
    return Speed(latency, received / seconds, store.requests - requests, received)


async def _seconds(pixels: ArrayPixels, key: str) -> float:
    begin = perf_counter()
    await pixels.store.exists(key)
    return perf_counter() - begin


def _chunks(pixels: ArrayPixels) -> Iterable[tuple[int, ...]]:
    size = max(1, prod(pixels.chunks) * pixels.dtype.itemsize)
    count = max(1, min(_CHUNKS, _BYTES // size))
    return islice(product(*map(range, grid_of(pixels))), count)


def _bounds(pixels: ArrayPixels, index: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    rows = zip(index, pixels.chunks, pixels.shape, strict=True)
    return tuple((i * chunk, min((i + 1) * chunk, n)) for i, chunk, n in rows)
