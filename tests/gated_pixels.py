"""Pixels that arrive only when a test lets them."""

from __future__ import annotations

import asyncio
from collections import Counter
from threading import Condition
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from napari_omezarr._io_loop import io_loop
from napari_omezarr.pyramid import Readable

if TYPE_CHECKING:
    from collections.abc import Sequence

LONG = 60.0
"""Seconds after which a test that waits is broken."""


class GatedPixels(Readable):
    """An array whose reads wait until the test opens the gate.

    Parameters
    ----------
    array : numpy.ndarray
        What is read.
    chunks : tuple of int
        The shape of a chunk.
    gate : Gate
        Shared by all levels of a pyramid.
    """

    def __init__(self, array, chunks, gate, concurrency=64, address="s3://far/image"):
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype
        self.chunks = tuple(chunks)
        self.concurrency = concurrency
        self.address = address
        self.token = uuid4().hex
        self.gate = gate

    async def read(self, bounds):
        index = tuple(
            start // c for (start, _), c in zip(bounds, self.chunks, strict=True)
        )
        await self.gate.passed((self, index))
        return self.array[tuple(slice(*bound) for bound in bounds)].copy()


class Gate:
    """Holds reads back, counts them, and makes them fail.

    ``asked`` counts the reads of each (pixels, chunk index), ``waiting`` are those that
    have not passed, ``cancelled`` those that were given up.
    """

    def __init__(self, *, is_open=False):
        self.asked = Counter()
        self.cancelled = Counter()
        self.waiting = {}
        self.errors = {}
        self._open = is_open
        self._news = Condition()

    async def passed(self, read):
        event = asyncio.Event()
        event.task = asyncio.current_task()
        with self._news:
            self.asked[read] += 1
            must_wait = not self._open
            if must_wait:
                self.waiting[read] = event
            self._news.notify_all()
        if must_wait:
            try:
                await event.wait()
            except asyncio.CancelledError:
                with self._news:
                    self.cancelled[read] += 1
                    self._news.notify_all()
                raise
            finally:
                with self._news:
                    self.waiting.pop(read, None)
        if error := self.errors.get(read, self.errors.get(None)):
            raise error

    def open(self):
        """Let everything pass, now and from now on."""
        with self._news:
            self._open = True
        self.release()

    def shut(self):
        with self._news:
            self._open = False

    def release(self, *reads):
        """Let some reads pass that wait, or all of them."""
        with self._news:
            passing = [read for read in reads or self.waiting if read in self.waiting]
            events = [self.waiting.pop(read) for read in passing]
        for event in events:
            io_loop().call_soon_threadsafe(event.set)

    def interrupt(self):
        """End the reads that wait, as a connection that breaks may do."""
        with self._news:
            events = list(self.waiting.values())
            self.waiting.clear()
        for event in events:
            io_loop().call_soon_threadsafe(event.task.cancel)

    def wait_for(self, condition):
        """Wait until a condition on this gate holds; fails the test after long."""
        with self._news:
            assert self._news.wait_for(condition, LONG), "the gate waited in vain"

    def chunks_of(self, pixels, among=None):
        counter = self.asked if among is None else among
        return {index: n for (p, index), n in counter.items() if p is pixels and n}


def pyramid(array, chunks, gate, levels=3, axes=(-2, -1), **options):
    """Make gated levels by taking every second pixel of these axes."""
    result: Sequence[GatedPixels] = []
    for _ in range(levels):
        clipped = tuple(min(c, s) for c, s in zip(chunks, array.shape, strict=True))
        result.append(GatedPixels(array, clipped, gate, **options))
        step = [slice(None)] * array.ndim
        for axis in axes:
            step[axis] = slice(None, None, 2)
        array = np.ascontiguousarray(array[tuple(step)])
    return tuple(result)
