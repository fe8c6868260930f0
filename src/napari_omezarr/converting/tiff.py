"""TIFF files as arrays that read where they are, through tifffile's zarr view."""

from __future__ import annotations

import asyncio
import io
import logging
import math
import re
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from html import unescape
from itertools import product
from threading import Lock, RLock, get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.abc.store import RangeByteRequest

from napari_omezarr.doors import reading_foreign
from napari_omezarr.errors import (
    DamagedDataError,
    MissingPackageError,
    NodeNotFoundError,
    OMEZarrError,
    UnsupportedDataError,
)
from napari_omezarr.store import open_store, run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tifffile import TiffFile, TiffPage, TiffPageSeries

    from napari_omezarr.location import Location

# A remote object as a file that libraries can seek in.

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


# Images of several files: OME-XML names them, and may be a file of its own.

SUFFIXES = (
    *(".tif", ".tiff", ".tf2", ".tf8", ".btf", ".lsm", ".stk", ".svs"),
    *(".ndpi", ".scn", ".qptiff"),
)
COMPANION = ".companion.ome"
_ELSEWHERE = re.compile(r"""<(?:\w+:)?BinaryOnly\b[^>]*?\bMetadataFile=(["'])(.*?)\1""")
_FILE = re.compile(r"""\bFileName=(["'])(.*?)\1""")


def files_of_image(location: Location) -> tuple[Location, ...]:
    """Give the files of an OME-TIFF of several, as its metadata list them.

    If these lie in a file of their own, that is the first one. Nothing is given of any
    other file, and of one that cannot be read, which who opens it finds out.
    """
    if not location.name.lower().endswith((*SUFFIXES, COMPANION)):
        return ()
    text = _ome_xml(location)
    home = metadata_file(location, text)
    if home is not None:
        return (home, *files_of_image(home)) if home != location else ()
    names = dict.fromkeys(unescape(found[1]) for found in _FILE.findall(text))
    files = tuple(location.parent / name for name in names if _is_beside(name))
    return (location, *files) if files and _is_companion(location) else files


def metadata_file(location: Location, text: str) -> Location | None:
    """Give the file beside one that its OME-XML says to hold all the metadata."""
    found = _ELSEWHERE.search(text)
    if found is None or not _is_beside(name := unescape(found[2])):
        return None
    return location.parent / name


def whole_of(location: Location, others: Collection[Location]) -> Location | None:
    """Give the one of some files with which an image of several is read as a whole.

    It is the first of them that the image's metadata list; None for that one itself,
    and where its own metadata say otherwise.
    """
    first = next((f for f in files_of_image(location) if f in others), location)
    if first == location:
        return None
    same = [file for file in files_of_image(first) if file in others]
    return first if location in same and same[0] == first else None


def first_tiff(location: Location) -> Location:
    """Give a file itself; of OME-XML in a file of its own the first that it names.

    Raises
    ------
    UnsupportedDataError
        It names none.
    """
    if not _is_companion(location):
        return location
    _, *files = files_of_image(location) or (location,)
    if not files:
        sentence = f"{location.display} names no files of an image."
        action = "Name the files that hold the pixels."
        raise UnsupportedDataError(sentence, action=action, url=location.display)
    return files[0]


def _is_companion(location: Location) -> bool:
    return location.name.lower().endswith(COMPANION)


def _is_beside(name: str) -> bool:
    return not {"/", "\\"} & set(name) and name not in ("", ".", "..")


def _ome_xml(location: Location) -> str:
    import tifffile

    try:
        with reading_tiff(location):
            if location.protocol != "file":
                if _is_companion(location):
                    return ObjectFile(location).readall().decode(errors="replace")
                with open_tiff(location) as file:
                    return file.ome_metadata or ""
            path = location.local_path()
            if _is_companion(location):
                return path.read_text("utf-8", errors="replace")
            with tifffile.TiffFile(path) as file:  # its series would open all the files
                return file.ome_metadata or ""
    except OMEZarrError:
        return ""


# TIFF files that are open, and their arrays.

_OPEN_FILES = 32
"""How many files are kept open in a process."""
_PAGE_BYTES = 32 * 2**20
"""Up to this size a page of strips is decoded as a whole."""


class _OpenTiff:
    """A file that is open, and its views so far, by series and level."""

    def __init__(self, location: Location, file: TiffFile, *, damaged: bool) -> None:
        self.file = file
        self.damaged = damaged
        self.users = 0
        self._location = location
        self._views: dict[tuple[int, int], Any] = {}
        self._lock = Lock()
        file.filehandle.set_lock(True)  # threads read at the same time

    def level(self, series: int, level: int) -> TiffPageSeries:
        """Give a level of a series."""
        if series >= len(self.file.series):
            raise _damaged(self._location)
        found: TiffPageSeries = self.file.series[series].levels[level]
        return found

    def view(self, series: int, level: int) -> Any:
        """Give a level as a zarr array."""
        with self._lock:
            if (series, level) not in self._views:
                page = self.level(series, level).keyframe
                mode = 2 if _is_decoded_whole(page) else 0
                whole = self.file.series[series]
                store = whole.aszarr(level=level, chunkmode=mode)
                # Of format 2 or 3, as tifffile has it.
                view = zarr.open_array(store, mode="r")
                self._views[series, level] = view
            return self._views[series, level]

    def pixels(self, series: int, level: int) -> _OnePage | Any:
        """Give a level as what it is: one page, or anything else by its view."""
        found = self.level(series, level)
        page: Any = found.keyframe
        alone = len(found) == 1 and found.shape == page.shape and not found.transform
        if alone and _is_decoded_whole(page):
            return _OnePage(page)
        return self.view(series, level)

    def close(self) -> None:
        """Close it; there are no readers."""
        for view in self._views.values():
            view.store.close()
        self.file.close()


class _OnePage:
    """A page as an array, for which nothing of zarr is needed."""

    def __init__(self, page: TiffPage) -> None:
        self._page = page
        self.shape = self.chunks = page.shape
        self.dtype = np.dtype(page.dtype)

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        values: np.ndarray = self._page.asarray()[box]
        return values


def _is_decoded_whole(page: TiffPage) -> bool:
    """Whether it is a page of strips, and not large."""
    size = math.prod(page.shape) * np.dtype(page.dtype).itemsize
    return not page.is_tiled and size <= _PAGE_BYTES


class _OpenFiles:
    """Open files, of which a bounded number stays open while nobody reads them."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._open: OrderedDict[Location, _OpenTiff] = OrderedDict()

    @contextmanager
    def using(self, location: Location) -> Iterator[_OpenTiff]:
        """Open a file, or take it open; it is not closed inside the block."""
        with self._lock:
            found = self._open.get(location)
            if found is None:
                found = self._open[location] = _open(location)
            self._open.move_to_end(location)
            found.users += 1
        try:
            yield found
        finally:
            with self._lock:
                found.users -= 1
                self.close(_OPEN_FILES)

    def close(self, kept: int = 0) -> None:
        """Close the files that nobody reads, the oldest first, until so many stay."""
        with self._lock:
            if len(self._open) <= kept:
                return
            idle = [place for place, each in self._open.items() if not each.users]
            for place in idle[: max(0, len(self._open) - kept)]:
                self._open.pop(place).close()


_files = _OpenFiles()


def close_files() -> None:
    """Close all files that nobody reads; they open again when they are read."""
    _files.close()


@dataclass(frozen=True, slots=True, eq=False)
class TiffArray:
    """A series of a TIFF file at one level, read box by box; picklable.

    It is indexed by slices of step 1. ``axes`` has tifffile's letter for each axis, and
    ``chunks`` is what the file lets decode at a time.
    """

    location: Location
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    series: int = 0
    level: int = 0

    @property
    def address(self) -> str:
        """Where the file lies."""
        return self.location.display

    @property
    def is_at_hand(self) -> bool:
        """Whether it lies on this computer."""
        return self.location.protocol == "file"

    def of(self, location: Location) -> TiffArray:
        """Give another file that is built as this one; reading it finds out if not."""
        return replace(self, location=location)

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        with reading_tiff(self.location), _files.using(self.location) as opened:
            view = opened.pixels(self.series, self.level)
            if view.shape != self.shape or view.dtype != self.dtype:
                sentence = (
                    f"{self.address} holds {_about(view)}, and the files beside it "
                    f"{_about(self)}."
                )
                raise UnsupportedDataError(
                    sentence, action="Convert it by itself.", url=self.address
                )
            self._check_pages(opened, box)
            values: np.ndarray = view[box]
            return values

    def _check_pages(self, opened: _OpenTiff, box: tuple[slice, ...]) -> None:
        """Refuse pages that are not there, for which the view would give zeros."""
        series: Any = opened.level(self.series, self.level)
        if series.dataoffset is not None:
            return
        frames = _frame_axes(self.shape, series.keyframe.size)
        wanted = [range(*part.indices(n)) for part, n in zip(box, frames, strict=False)]
        with series.parent.filehandle.lock:
            for index in product(*wanted):
                number = int(np.ravel_multi_index(index, frames)) if frames else 0
                if series[number] is None:
                    sentence = (
                        f"A part of {self.address} lies in a file that is absent."
                    )
                    action = (
                        "Put all the files of the image beside each other."
                        if self.is_at_hand
                        else "Copy all the files of the image to this computer first."
                    )
                    raise NodeNotFoundError(sentence, action=action, url=self.address)


def reading_tiff(location: Location) -> AbstractContextManager[None]:
    """Say in our words what tifffile and its codecs raise."""
    return reading_foreign(location.display, partial(_failure, location))


def _failure(location: Location, error: Exception) -> OMEZarrError:
    # For Zstandard it asks for what Python has from 3.14 on.
    if isinstance(error, ImportError) or "imagecodecs" in str(error):
        sentence = f"{location.display} is compressed in a way that needs a library."
        action = "Install it: pip install imagecodecs"
        return MissingPackageError(sentence, action=action, url=location.display)
    return _damaged(location)


@contextmanager
def open_tiff(location: Location) -> Iterator[TiffFile]:
    """Open a file, or take it open, for looking at its metadata.

    Raises
    ------
    DamagedDataError
        It is no TIFF, or a part of it is missing.
    NodeNotFoundError, StoreError
        It is not there, or could not be read.
    """
    with reading_tiff(location), _files.using(location) as opened:
        if opened.damaged:
            raise _damaged(location)
        yield opened.file


def array_of(location: Location, series: int, level: int = 0) -> TiffArray:
    """Give a series as an array; nothing but metadata is read."""
    with reading_tiff(location), _files.using(location) as opened:
        view = opened.pixels(series, level)
        axes = opened.level(series, level).axes
        parts = (view.shape, view.dtype, view.chunks)
        return TiffArray(location, axes, *parts, series, level)


def _open(location: Location) -> _OpenTiff:
    import tifffile

    heard = _Heard()
    logger = logging.getLogger("tifffile")
    logger.addHandler(heard)
    try:
        if location.protocol == "file" and location.member is None:
            path = location.local_path()
            if not path.is_file():
                sentence = f"There is no file {location.display}."
                raise NodeNotFoundError(
                    sentence, action="Check its name.", url=location.display
                )
            file = tifffile.TiffFile(path)
            home = metadata_file(location, file.ome_metadata or "")
            if home is not None and location in files_of_image(home):
                file.close()
                file = _as_said_in(home, path)
        else:
            remote: Any = ObjectFile(location)
            file = tifffile.TiffFile(remote, name=location.name)
        try:
            list(file.series)  # what is missing is said when they are looked for
        except BaseException:
            file.close()
            raise
    finally:
        logger.removeHandler(heard)
    return _OpenTiff(location, file, damaged=heard.damage)


def _as_said_in(home: Location, path: Path) -> TiffFile:
    """Open an image of several files by what one of them, or none, says of it all."""
    import tifffile

    if _is_companion(home):
        return tifffile.TiffFile(path, omexml=_ome_xml(home).strip())
    return tifffile.TiffFile(home.local_path())


class _Heard(logging.Handler):
    """Listens to what tifffile has to say of a file: it opens what is left of one."""

    def __init__(self) -> None:
        super().__init__()
        self.damage = False
        self._thread = get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Take an error for damage."""
        if record.thread == self._thread:
            corrupted = "corrupted file" in record.getMessage()
            self.damage |= record.levelno >= logging.ERROR or corrupted


def _frame_axes(shape: Sequence[int], page: int) -> tuple[int, ...]:
    """Give the sizes of the axes along which pages lie: what a page does not hold."""
    for count in range(len(shape) + 1):
        if math.prod(shape[count:]) == page:
            return tuple(shape[:count])
    return ()


def _about(array: Any) -> str:
    return f"{' x '.join(map(str, array.shape))} of {array.dtype}"


def _damaged(location: Location) -> DamagedDataError:
    return DamagedDataError(
        f"{location.display} is no whole TIFF file.",
        action="Copy it again from where it was made.",
        url=location.display,
    )
