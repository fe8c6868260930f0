"""A remote object as a file that libraries can seek in."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from zarr.abc.store import RangeByteRequest

from napari_omezarr.errors import NodeNotFoundError
from napari_omezarr.store import open_store, run

if TYPE_CHECKING:
    from napari_omezarr.location import Location

_BLOCK = 2**20
_KEPT = 16
"""Blocks in memory: headers lie at the beginning and at the end of files."""


class ObjectFile(io.RawIOBase):
    """An object of a remote place, read in blocks of 1 MiB that are kept for a while.

    All blocks of one read are asked for at once. Should the object change meanwhile,
    reading ends with an error.
    """

    def __init__(self, location: Location) -> None:
        self.name = location.name
        self._store = open_store(location)
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = Lock()
        self._place = 0
        first = run(self._store.read("", RangeByteRequest(0, _BLOCK)))
        if first is not None and first.size is None:
            # Some places do not tell how long an object is, whose part is asked for.
            first = run(self._store.read(""))
        if first is None:
            sentence = f"There is no file at {location.display}."
            raise NodeNotFoundError(
                sentence, action="Check the address.", url=location.display
            )
        self._size, self._etag = first.size or len(first.body), first.etag
        for start in range(0, len(first.body), _BLOCK):
            self._kept[start // _BLOCK] = first.body[start : start + _BLOCK]
        self._most = max(_KEPT, len(self._kept))

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that any place of it can be read."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}
        self._place = max(0, start[whence] + offset)
        return self._place

    def tell(self) -> int:
        """Give the place."""
        return self._place

    def readinto(self, buffer: object) -> int:
        """Fill a buffer from here on, as far as the object goes."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        start, stop = self._place, min(self._size, self._place + len(view))
        if stop <= start:
            return 0
        with self._lock:
            numbers = range(start // _BLOCK, -(-stop // _BLOCK))
            blocks = self._blocks(numbers)
        for number in numbers:
            first, body = number * _BLOCK, blocks[number]
            low, high = max(start, first), min(stop, first + len(body))
            view[low - start : high - start] = body[low - first : high - first]
        self._place = stop
        return stop - start

    def _blocks(self, numbers: range) -> dict[int, bytes]:
        found = {n: self._kept[n] for n in numbers if n in self._kept}
        missing = [number for number in numbers if number not in found]
        found |= zip(missing, run(self._fetched(missing)), strict=True)
        for number in numbers:
            self._kept[number] = found[number]
            self._kept.move_to_end(number)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found

    async def _fetched(self, numbers: list[int]) -> list[bytes]:
        return await asyncio.gather(
            *(
                self._store.read_part(
                    "", n * _BLOCK, min(self._size, (n + 1) * _BLOCK), self._etag
                )
                for n in numbers
            )
        )
