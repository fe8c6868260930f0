"""TIFF files that lie elsewhere, and the files beside them that belong to an image."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from contextlib import suppress
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from tifffile import TiffFile
from zarr.abc.store import RangeByteRequest

from napari_omezarr.errors import NodeNotFoundError
from napari_omezarr.location import is_beside
from napari_omezarr.store import open_store, run

if TYPE_CHECKING:
    from napari_omezarr.location import Location

# A remote object as a file that libraries can seek in.

_BLOCK = 2**20
_KEPT = 16
"""Blocks in memory: headers lie at the beginning and at the end of files."""
_Blocks = OrderedDict[tuple[str, int], bytes]


class ObjectFile(io.RawIOBase):
    """An object of a remote place, read in blocks of 1 MiB that are kept for a while.

    All blocks of one read are asked for at once. Should the object change meanwhile,
    reading ends with an error. With another file it shares how many are kept.
    """

    def __init__(self, location: Location, other: ObjectFile | None = None) -> None:
        self.name = location.name
        self._store = open_store(location)
        self._kept: _Blocks = OrderedDict() if other is None else other._kept
        self._lock: Lock = Lock() if other is None else other._lock
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
        starts = range(0, len(first.body), _BLOCK)
        self._most = max(_KEPT, len(starts))
        with self._lock:
            for start in starts:
                block = first.body[start : start + _BLOCK]
                self._kept[self.name, start // _BLOCK] = block

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
        kept = {n: self._kept.get((self.name, n)) for n in numbers}
        found = {n: block for n, block in kept.items() if block is not None}
        missing = [number for number in numbers if number not in found]
        found |= zip(missing, run(self._fetched(missing)), strict=True)
        for number in numbers:
            self._kept[self.name, number] = found[number]
            self._kept.move_to_end((self.name, number))
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


# tifffile opens the files of an image by their paths, and these have none. It has no
# door for that, but asks for each file by its id first.


class RemoteTiff(TiffFile):  # type: ignore[misc]
    """A TIFF file at a remote place; those of its image are found beside it by name."""

    def __init__(self, location: Location, omexml: str | None = None) -> None:
        self._location = location
        self._object = ObjectFile(location)
        file: Any = self._object
        super().__init__(file, name=location.name, omexml=omexml)

    @property
    def _files(self) -> _FilesOfImage:
        return self._of_image

    @_files.setter
    def _files(self, known: dict[str | None, TiffFile]) -> None:
        """Take the files that are known when tifffile begins to look for others."""
        self._of_image = _FilesOfImage(self, known)

    def beside(self, name: str) -> TiffFile:
        """Open a file beside this one, with all its pages."""
        file: Any = ObjectFile(self._location.parent / name, self._object)
        tiff = TiffFile(file, name=name)
        tiff.filehandle.set_lock(True)  # threads read at the same time
        tiff.pages.cache = tiff.pages.useframes = True
        tiff.pages.set_keyframe(0)
        tiff.pages[len(tiff.pages) - 1]  # all that is known of them is read now
        return tiff


class _FilesOfImage(dict[str | None, TiffFile]):
    """The files of an image, by their ids; each is opened when it is looked for."""

    def __init__(self, tiff: RemoteTiff, known: dict[str | None, TiffFile]) -> None:
        super().__init__(known)
        self._tiff = tiff

    @cached_property
    def _names(self) -> dict[str | None, str]:
        each = ElementTree.fromstring(self._tiff.ome_metadata or "<OME/>").iter()
        found = [one for one in each if one.tag.endswith("UUID")]
        names = {one.text: one.get("FileName", "") for one in found}
        return {uuid: name for uuid, name in names.items() if is_beside(name)}

    def __contains__(self, uuid: object) -> bool:
        """Whether a file of this id is there."""
        if super().__contains__(uuid):
            return True
        name = self._names.pop(str(uuid), "")
        with suppress(NodeNotFoundError):  # then it is missed where it is read
            if name:
                self[str(uuid)] = self._tiff.beside(name)
        return super().__contains__(uuid)
