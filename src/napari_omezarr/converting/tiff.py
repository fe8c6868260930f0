"""TIFF files as arrays that read where they are, through tifffile's zarr view."""

from __future__ import annotations

import logging
import math
import re
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from html import unescape
from itertools import product
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_omezarr.doors import reading_foreign
from napari_omezarr.errors import (
    DamagedDataError,
    MissingPackageError,
    NodeNotFoundError,
    OMEZarrError,
    UnsupportedDataError,
)
from napari_omezarr.location import is_beside

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    from tifffile import TiffFile, TiffPage, TiffPageSeries

    from napari_omezarr.location import Location

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
        return (home, *_listed(home, _ome_xml(home))) if home != location else ()
    return _listed(location, text)


def _listed(location: Location, text: str) -> tuple[Location, ...]:
    names = dict.fromkeys(unescape(found[1]) for found in _FILE.findall(text))
    files = tuple(location.parent / name for name in names if is_beside(name))
    return (location, *files) if files and _is_companion(location) else files


def metadata_file(location: Location, text: str) -> Location | None:
    """Give the file beside one that its OME-XML says to hold all the metadata."""
    found = _ELSEWHERE.search(text)
    if found is None or not is_beside(name := unescape(found[2])):
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


def _ome_xml(location: Location) -> str:
    try:
        with reading_tiff(location):
            if not _is_companion(location):
                with _files.using(location) as opened:
                    return opened.text
            if _is_here(location):
                return location.local_path().read_text("utf-8", errors="replace")
            # It is made of tifffile's, which is loaded where a file is opened.
            from .remote_tiff import ObjectFile

            return ObjectFile(location).readall().decode(errors="replace")
    except OMEZarrError:
        return ""


def _is_here(location: Location) -> bool:
    return location.protocol == "file" and location.member is None


# TIFF files that are open, and their arrays.

_OPEN_FILES = 32
"""How many files are kept open in a process."""
_PAGE_BYTES = 32 * 2**20
"""Up to this size a page of strips is decoded as a whole."""


class _OpenTiff:
    """A file that is open, and its views so far, by series and level."""

    def __init__(self, location: Location) -> None:
        self.users = 0
        self._location = location
        self._views: dict[tuple[int, int], Any] = {}
        self._lock = RLock()
        with _hearing() as self._heard:
            self._file = _open(location)
        self.text = self._file.ome_metadata or ""
        self._is_whole = False

    @property
    def damaged(self) -> bool:
        """Whether something was wrong with it when it was looked at."""
        return self._heard.damage

    @property
    def file(self) -> TiffFile:
        """The file with its series, for which all files of its image are opened."""
        with self._lock:
            if not self._is_whole:
                with _hearing(self._heard):
                    home = metadata_file(self._location, self.text)
                    if home is not None and self._location in files_of_image(home):
                        self._file.close()
                        self._file = _as_said_in(home, self._location)
                    list(self._file.series)
                self._file.filehandle.set_lock(True)  # threads read at the same time
                self._is_whole = True
            return self._file

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
        self._file.close()


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
                found = self._open[location] = _OpenTiff(location)
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
                    raise _missing(self.location)


def _missing(location: Location) -> NodeNotFoundError:
    """Say which files of an image are not there, of one of them."""
    absent = [file.name for file in files_of_image(location) if not _is_there(file)]
    where = ", ".join(absent[:8]) or "a file"
    return NodeNotFoundError(
        f"A part of {location.display} lies in {where}, which is not beside it.",
        action="Put all the files of the image beside each other.",
        url=location.display,
    )


def _is_there(location: Location) -> bool:
    try:
        with reading_tiff(location), _files.using(location):
            return True
    except OMEZarrError as error:
        return not isinstance(error, NodeNotFoundError)


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
        file = opened.file
        if opened.damaged:
            raise _damaged(location)
        yield file


def array_of(location: Location, series: int, level: int = 0) -> TiffArray:
    """Give a series as an array; nothing but metadata is read."""
    with reading_tiff(location), _files.using(location) as opened:
        view = opened.pixels(series, level)
        axes = opened.level(series, level).axes
        parts = (view.shape, view.dtype, view.chunks)
        return TiffArray(location, axes, *parts, series, level)


def _open(location: Location, omexml: str | None = None) -> TiffFile:
    """Open a file where it is; its series are not looked for."""
    if not _is_here(location):
        # tifffile is loaded where a file is opened.
        from .remote_tiff import RemoteTiff

        return RemoteTiff(location, omexml)
    import tifffile

    path = location.local_path()
    if not path.is_file():
        sentence = f"There is no file {location.display}."
        action = "Check its name."
        raise NodeNotFoundError(sentence, action=action, url=location.display)
    return tifffile.TiffFile(path, omexml=omexml)


def _as_said_in(home: Location, location: Location) -> TiffFile:
    """Open an image of several files by what one of them, or none, says of it all."""
    if _is_companion(home):
        return _open(location, _ome_xml(home).strip())
    return _open(home)


@contextmanager
def _hearing(heard: _Heard | None = None) -> Iterator[_Heard]:
    """Listen to tifffile in this thread."""
    logger = logging.getLogger("tifffile")
    heard = heard or _Heard()
    heard.thread = get_ident()
    logger.addHandler(heard)
    try:
        yield heard
    finally:
        logger.removeHandler(heard)


class _Heard(logging.Handler):
    """Listens to what tifffile has to say of a file: it opens what is left of one."""

    def __init__(self) -> None:
        super().__init__()
        self.damage = False
        self.thread = get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Take an error for damage."""
        if record.thread == self.thread:
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
