"""Where pixels come from: anything that gives boxes of an array."""

from __future__ import annotations

import math
import os
import tempfile
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import accumulate, pairwise, product
from threading import Lock, Semaphore
from typing import IO, TYPE_CHECKING, Any, Protocol

import dask.array as da
import numpy as np
import zarr
from dask.base import optimize
from dask.delayed import Delayed

from napari_omezarr._io_loop import LeavablePool, left_behind, told_to_workers
from napari_omezarr.doors import not_enough_memory
from napari_omezarr.errors import (
    OMEZarrError,
    SourceError,
    UnsupportedDataError,
)
from napari_omezarr.pyramid import (
    ChunkLayer,
    Cropped,
    FixedAxes,
    Level,
    Pixels,
    chunk_index,
    left_out,
    overlap,
    pixels_of,
    shape_of,
    slices,
    slices_within,
    split_box,
)
from napari_omezarr.store import AGREE, SIGN_IN_TO_LIST, presumptions

from .hierarchy import explained

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_omezarr.pyramid import Bounds


_WIDEST_FLOAT = 8
_SLABS = 16
"""A dask array is looked through so often at least, in slabs."""
_SLABS_KEPT = 4
_SLAB_CHUNKS = 2**12
"""So many chunks a slab has at most, unless a box needs more: its tasks are kept, and
looked through for each box."""
_COMPUTED_CHUNKS = 2**11
"""So many are computed at a time: dask keeps some kilobytes for each task."""
MOST_LEFT = 64
"""Threads that may hang in other people's code before no more are begun."""


class PixelSource(Protocol):
    """An array of which a writer reads boxes, each pixel once."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type, in native byte order."""
        ...

    @property
    def chunks(self) -> tuple[int, ...]:
        """What the source reads or computes at a time; 1 where it does not matter."""
        ...

    @property
    def places(self) -> frozenset[str]:
        """The addresses that reading it needs, as far as they are known."""
        ...

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box in the calling thread; C-contiguous or not, never masked."""
        ...


@contextmanager
def known(
    *, accept_losses: bool | None = None, accept_refused: bool | None = None
) -> Iterator[None]:
    """Refuse pixels that are a guess, where they are read for a place that keeps them.

    So do tasks that are sent to a cluster in a block of `told_to_workers` in it. What
    is None, nobody is asked to agree to.

    Raises
    ------
    LossError
        A part is shown as empty, or as coarser, because it cannot be read.
    RefusedChunksError
        Chunks are refused, and nobody can tell whether they were ever written.
    """
    with ExitStack() as refusing:
        if not accept_refused:
            ask = SIGN_IN_TO_LIST if accept_refused is None else AGREE
            refusing.enter_context(presumptions.refused(ask))
        if not accept_losses:
            mend = "Mend it, or save other wells"
            ask = "" if accept_losses is None else ", or agree to that (accept_losses)"
            refusing.enter_context(left_out.refused(f"{mend}{ask}."))
        yield


class ArraySource:
    """Anything that is indexed like numpy: numpy, zarr, `Pixels`, h5py, tensorstore.

    `Pixels` ask the store for all the chunks of a box at once.
    """

    def __init__(self, array: Any, places: frozenset[str] = frozenset()) -> None:
        self.array = array
        self.shape = known_shape(array)
        self.dtype = writable_dtype(dtype_of(array))
        self.places = places
        self.chunks = _chunks(array, len(self.shape))
        self.edges = array.edges if isinstance(array, Cropped) else None

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box."""
        # Whoever's array it is may be computed by the client that is active.
        with read_from(self.array), told_to_workers():
            box = _in_numpy(self.array[slices(bounds)], self.dtype)
        if box.shape != shape_of(bounds):
            raise SourceError(
                f"{_kind(self.array)} gives other boxes than were asked for.",
                action="Make a numpy or dask array of it first.",
            )
        return box


class DaskSource:
    """A dask array that is not one of ours: its own graph is computed, box by box.

    To look through a graph of a million tasks for those of a box takes seconds. So it
    is done for a slab of the array, out of which boxes that lie in it are then taken.
    """

    def __init__(self, array: da.Array) -> None:
        self.array = array
        self.shape = known_shape(array)
        self.dtype = writable_dtype(array.dtype)
        self.places: frozenset[str] = frozenset()
        self.chunks = tuple(max(sizes, default=1) for sizes in array.chunks)
        self.edges = tuple(tuple(accumulate(s, initial=0)) for s in array.chunks)
        self._slabs: deque[tuple[Bounds, da.Array]] = deque(maxlen=_SLABS_KEPT)
        self._lock = Lock()
        layers = getattr(array.dask, "layers", {}).values()
        # Ours read ahead whatever they are told is wanted.
        self._narrows = not any(isinstance(layer, ChunkLayer) for layer in layers)

    def read(self, bounds: Bounds) -> np.ndarray:
        """Compute a box in dask's threads, whatever scheduler is set."""
        with read_from(self.array):
            parts = list(self._parts(bounds))
            if len(parts) == 1:
                return self._computed(bounds)
            values = np.empty(shape_of(bounds), self.dtype)
            for part in parts:
                values[slices_within(part, bounds)] = self._computed(part)
            return values

    def _computed(self, bounds: Bounds) -> np.ndarray:
        box = self._near(bounds).compute(scheduler="threads", pool=_graphs(os.getpid()))
        return _in_numpy(box, self.dtype)

    def _parts(self, bounds: Bounds) -> Iterator[Bounds]:
        """Cut a box at borders of chunks until no part has too many of them."""
        spans = [
            (bisect_right(edges, start), bisect_left(edges, stop))
            for edges, (start, stop) in zip(self.edges, bounds, strict=True)
        ]
        counts = [last - first + 1 for first, last in spans]
        if math.prod(counts) <= _COMPUTED_CHUNKS:
            yield bounds
            return
        axis = counts.index(max(counts))
        middle = self.edges[axis][sum(spans[axis]) // 2]
        start, stop = bounds[axis]
        for half in ((start, middle), (middle, stop)):
            yield from self._parts((*bounds[:axis], half, *bounds[axis + 1 :]))

    def __reduce__(self) -> tuple[Any, ...]:
        return DaskSource, (self.array,)

    def _near(self, bounds: Bounds) -> da.Array:
        """Give a box out of the slab that it lies in."""
        if not self._narrows:
            return self.lazy(bounds)
        with self._lock:
            for region, slab in self._slabs:
                if overlap(region, bounds) == bounds:
                    inside: da.Array = slab[slices_within(bounds, region)]
                    return inside
            region = self._slab_around(bounds)
            culled: Any = optimize
            (slab,) = culled(self.lazy(region))
            self._slabs.append((region, slab))
        box: da.Array = slab[slices_within(bounds, region)]
        return box

    def _slab_around(self, bounds: Bounds) -> Bounds:
        """Give the box with what comes after it, as far as a slab reaches.

        Blocks come in C order: it is whole along the last axes first.
        """
        region = list(bounds)
        counts = [
            bisect_left(edges, stop) - bisect_right(edges, start) + 1
            for edges, (start, stop) in zip(self.edges, bounds, strict=True)
        ]
        everything = math.prod(len(edges) - 1 for edges in self.edges)
        most = min(_SLAB_CHUNKS, -(-everything // _SLABS))
        for axis in reversed(range(len(counts))):
            edges = self.edges[axis]
            room = most * counts[axis] // math.prod(counts)
            if room < len(edges) - 1:
                first = bisect_right(edges, bounds[axis][0]) - 1
                end = edges[min(first + room, len(edges) - 1)]
                region[axis] = bounds[axis][0], max(end, bounds[axis][1])
                break
            region[axis], counts[axis] = (0, self.shape[axis]), len(edges) - 1
        return tuple(region)

    def lazy(self, bounds: Bounds) -> da.Array:
        """Give a box that is not computed yet, for a cluster to compute."""
        box: da.Array = self.array[slices(bounds)]
        return box


def reading_pool(most: int, name: str) -> LeavablePool:
    """Give threads that read sources, and may be left behind where one hangs.

    Raises
    ------
    SourceError
        Too many hang already.
    """
    if left_behind() >= MOST_LEFT:
        raise SourceError(
            f"{left_behind()} computations that were cancelled have not ended yet.",
            action="Wait for them, or start Python again.",
        )
    return LeavablePool(most, name)


@cache
def _graphs(process: int) -> LeavablePool:
    """Give the threads that compute graphs; those of dask heed nobody's `Stop`."""
    return LeavablePool(os.cpu_count() or 1, f"omezarr-graphs-{process}")


class Stacked:
    """Sources of equal shape as one, along a new axis."""

    def __init__(self, sources: Sequence[PixelSource], axis: int) -> None:
        self.sources = tuple(sources)
        self.axis = axis
        first = self.sources[0]
        self.shape = _inserted(first.shape, axis, len(self.sources))
        self.chunks = _inserted(first.chunks, axis, 1)
        self.dtype = first.dtype
        self.places: frozenset[str] = frozenset().union(
            *(source.places for source in self.sources)
        )

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box of each of the sources that it touches."""
        start, stop = bounds[self.axis]
        rest = bounds[: self.axis] + bounds[self.axis + 1 :]
        boxes = [source.read(rest) for source in self.sources[start:stop]]
        return np.stack(boxes, self.axis)


class Transposed:
    """A source with its axes in another order."""

    def __init__(self, source: PixelSource, order: Sequence[int]) -> None:
        self.source = source
        self.order = tuple(order)
        self.shape = tuple(source.shape[axis] for axis in order)
        self.chunks = tuple(source.chunks[axis] for axis in order)
        self.dtype = source.dtype
        self.places = source.places

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box and turn it."""
        inner = [(0, 0)] * len(bounds)
        for axis, bound in zip(self.order, bounds, strict=True):
            inner[axis] = bound
        return self.source.read(tuple(inner)).transpose(self.order)


class Converted:
    """A source in another data type that holds all its values (bool as uint8)."""

    def __init__(self, source: PixelSource, dtype: np.dtype[Any]) -> None:
        self.source = source
        self.dtype = np.dtype(dtype)
        self.shape = source.shape
        self.chunks = source.chunks
        self.places = source.places

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box and convert it."""
        return self.source.read(bounds).astype(self.dtype, copy=False)


def as_source(data: Any, places: frozenset[str] = frozenset()) -> PixelSource:
    """Make a source of one level of a layer's data; nothing is read.

    A dask array of ours is read through its pixels; arrays in a list, which are equal
    in shape, lie side by side along a new first axis.
    """
    if isinstance(data, Delayed):  # which seems to have whatever one asks for
        raise no_array(data)
    array = _unwrapped(data)
    if isinstance(array, np.ma.MaskedArray) and not np.ma.is_masked(array):
        array = array.data
    if np.ma.isMaskedArray(getattr(array, "_meta", array)):  # dask's, or numpy's own
        raise UnsupportedDataError(
            "The mask of a masked array has no place in an OME-Zarr.",
            action="Say what masked pixels are to be: array.filled(0), or "
            "dask.array.ma.filled(array, 0).",
        )
    if isinstance(array, list):
        return stack([as_source(each, places) for each in array], 0)
    if isinstance(array, da.Array):
        pixels = pixels_of(array)
        if pixels is None:
            return DaskSource(array)
        array = pixels
    return ArraySource(array, places | _known_places(array))


def is_at_hand(source: Any) -> bool:
    """Whether nobody waits to read a source: memory, or a file of this computer."""
    if known := _inner(source):
        return all(map(is_at_hand, known))
    return type(source) is np.ndarray or getattr(source, "is_at_hand", False) is True


def _inner(source: Any) -> list[Any]:
    """Give what a source is made of, if it says that."""
    inner = getattr(source, "sources", None) or (
        getattr(source, name, None) for name in ("source", "array")
    )
    return [part for part in inner if part is not None]


def empty_is_nan(source: Any) -> bool:
    """Whether what a source does not store is NaN, as far as can be known."""
    if known := _inner(source):
        return all(map(empty_is_nan, known))
    fill = getattr(source, "fill_value", getattr(source, "fillvalue", None))
    if fill is None:
        fill = getattr(source, "document", {}).get("fill_value")
    return bool(
        fill == "NaN" or (isinstance(fill, float | np.floating) and fill != fill)
    )


def stack(sources: Sequence[PixelSource], axis: int) -> PixelSource:
    """Join sources along a new axis; channels of one array are read as that array.

    The channels of a stored image often share chunks: read one by one, each chunk
    would be fetched once for every channel.
    """
    whole = _common_pixels(sources, axis)
    return whole or Stacked(sources, axis)


def writable_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Give a data type in native byte order.

    OME-Zarr viewers show booleans, integers and floats; not complex numbers, text,
    objects, or floats beyond 64 bits.
    """
    native: np.dtype[Any] = dtype.newbyteorder("=")
    if native.kind not in "biuf" or (
        native.kind == "f" and native.itemsize > _WIDEST_FLOAT
    ):
        raise UnsupportedDataError(
            f"Pixels of type {native} cannot be saved as OME-Zarr.",
            action="Convert them to integers or floats first.",
        )
    return native


@contextmanager
def read_from(array: Any) -> Iterator[None]:
    """Say in our words what somebody else's array fails with."""
    try:
        yield
    except (OMEZarrError, CancelledError):
        raise
    except MemoryError as error:
        raise not_enough_memory("") from error
    except Exception as error:
        # Any code can be behind an array. What it says may hold secrets: the type
        # stands in the sentence, and the rest is chained for who looks at the log.
        raise SourceError(
            f"The pixels could not be read from {_kind(array)} "
            f"({type(error).__name__}).",
            action="Look whether it can be read by itself, into a numpy array; what "
            "lies in the memory of a graphics card has to be copied first.",
        ) from error


def known_shape(array: Any) -> tuple[int, ...]:
    """Give the size of an array along each axis.

    Raises
    ------
    UnsupportedDataError
        It is not known before the pixels are.
    """
    sizes = tuple(array.shape)
    # Of a dask array from a filter, or of files, it is NaN until it is computed.
    if any(size is None or math.isnan(size) for size in sizes):
        raise UnsupportedDataError(
            "The size of this array is not known before it is computed.",
            action="Call compute_chunk_sizes() on it first, or say its shape.",
        )
    return tuple(int(size) for size in sizes)


def dtype_of(array: Any) -> np.dtype[Any]:
    """Give an array's data type in numpy's words, whose ever array it is."""
    dtype = array.dtype
    for said in (
        dtype,
        getattr(dtype, "numpy_dtype", None),  # tensorstore
        str(dtype).rpartition(".")[2],  # torch.uint8
    ):
        try:
            if said is not None:
                return np.dtype(said)
        except TypeError:
            continue
    raise UnsupportedDataError(
        f"The pixels of {_kind(array)} are of a type that numpy does not know.",
        action="Convert them to integers or floats of numpy first.",
    )


def _in_numpy(box: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Bring what an array gave into numpy: from a graphics card, by DLPack."""
    if hasattr(box, "__cuda_array_interface__") and hasattr(box, "get"):
        box = box.get()  # cupy
    elif hasattr(box, "detach") and hasattr(box, "cpu"):
        box = box.detach().cpu()  # torch
    if hasattr(box, "__dlpack__") and not hasattr(box, "__array__"):
        box = np.from_dlpack(box)
    return np.asarray(box, dtype=dtype)


def _kind(array: Any) -> str:
    """Say what an array is: ``numpy.ndarray``."""
    kind = type(array)
    name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    return name.removeprefix("builtins.")


def _unwrapped(data: Any) -> Any:
    """Take the array out of an xarray object; nested lists become numpy.

    A list of arrays is checked, and stays one.
    """
    if isinstance(data, Level):
        return data.pixels
    if hasattr(data, "dims") and hasattr(data, "data"):
        # What xarray reads lazily from a file is read where it is indexed.
        lazy = hasattr(data, "isel") and not getattr(data, "chunks", None)
        return data if lazy else data.data
    if isinstance(data, zarr.AsyncArray):
        return zarr.Array(data)
    if hasattr(data, "shape") and hasattr(data, "dtype"):
        return data
    if isinstance(data, list | tuple) and data and all(map(_is_array, data)):
        if len({tuple(each.shape) for each in data}) == 1:
            return list(data)
        raise UnsupportedDataError(
            "Arrays of several shapes are no image.",
            action="Give the finest level alone; the coarser ones are made.",
        )
    if isinstance(data, Mapping):
        raise no_array(data)
    try:
        array = np.asarray(data)
    except (TypeError, ValueError) as error:
        raise no_array(data) from error
    if array.dtype == object and not isinstance(data, np.ndarray):
        raise no_array(data)
    return array


def no_array(data: Any) -> UnsupportedDataError:
    """Say what to do with something that is no array."""
    action = "Make a numpy or dask array of it."
    if isinstance(data, Delayed):
        action = "Say its shape and type: dask.array.from_delayed(…, shape, dtype)."
    elif isinstance(data, Mapping):  # a dataset of xarray, a file of h5py
        names = ", ".join(map(repr, list(data)[:3])) or "nothing"
        action = f"Give one of what it holds ({names})."
    return UnsupportedDataError(f"{_kind(data)} is no array.", action=action)


def _is_array(data: Any) -> bool:
    return hasattr(data, "shape") and hasattr(data, "dtype")


def _chunks(array: Any, ndim: int) -> tuple[int, ...]:
    layout = getattr(array, "chunk_layout", None)  # tensorstore
    found = getattr(getattr(layout, "read_chunk", None), "shape", None)
    encoding = getattr(array, "encoding", None)  # what xarray reads lazily
    kept = encoding.get("chunksizes") or encoding.get("chunks") if encoding else None
    chunks = getattr(array, "shards", None) or getattr(array, "chunks", None)
    chunks = chunks or found or kept
    if not isinstance(chunks, tuple) or len(chunks) != ndim:
        return (1,) * ndim
    return tuple(max(c, default=1) if isinstance(c, tuple) else c or 1 for c in chunks)


def _known_places(array: Any) -> frozenset[str]:
    address = getattr(array, "address", None)  # ArrayPixels
    store_path = getattr(array, "store_path", None)  # zarr.Array
    filename = getattr(array, "filename", None)  # numpy.memmap
    inner = getattr(array, "source", None)  # our views
    found = {str(name) for name in (address, filename) if name}
    if store_path is not None:
        found.add(str(store_path))
    return frozenset(found) | (_known_places(inner) if inner is not None else set())


def _common_pixels(sources: Sequence[PixelSource], axis: int) -> PixelSource | None:
    windows = [getattr(source, "array", None) for source in sources]
    first = windows[0]
    if not isinstance(first, FixedAxes) or tuple(first.fixed) != (axis,):
        return None
    whole: Pixels = first.source
    for index, window in enumerate(windows):
        if not isinstance(window, FixedAxes) or window.source is not whole:
            return None
        if window.fixed != {axis: index}:
            return None
    if whole.shape[axis] != len(sources):
        return None
    places = frozenset().union(*(source.places for source in sources))
    return ArraySource(whole, places)


def _inserted(sizes: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*sizes[:axis], size, *sizes[axis:])


# Read each chunk of a source once, where what is written cuts across them.

_UNIT_BYTES = 2**23
"""So much is read at a time, if the source's chunks are smaller."""
_READING_BYTES = 2**24
"""What may be read and not yet put away."""

Index = tuple[int, ...]


def edges_of(source: PixelSource) -> tuple[Sequence[int], ...]:
    """Give where the chunks of a source begin and end along each axis, 0 and all."""
    own = getattr(source, "edges", None)
    if own is not None:
        edges: tuple[Sequence[int], ...] = own
        return edges
    return tuple(
        [*range(0, size, chunk), size]
        for size, chunk in zip(source.shape, source.chunks, strict=True)
    )


class ReadOnce:
    """A source that is read in blocks, and whose chunks are read once for all of them.

    What a chunk holds for other blocks is put aside until they are read: in memory if
    ``room`` is enough for what is expected, else in a file without a name in a folder.
    Threads that wait for a chunk help to read others.
    """

    def __init__(
        self,
        source: PixelSource,
        block: Index,
        done: Iterable[Index],
        folder: Path | None,
    ) -> None:
        self.source = source
        self.shape, self.dtype = source.shape, source.dtype
        self.chunks, self.places = source.chunks, source.places
        self._block = block
        self._finished = set(done)
        self._edges = _units(source, block)
        self._shelf = _Shelf(folder)
        self._lock = Lock()
        self._loads: dict[Index, Future[None]] = {}
        self._queue: deque[Index] = deque()
        self._aside: dict[Index, list[tuple[Bounds, Any]]] = {}
        most = math.prod(
            max((b - a for a, b in pairwise(edges)), default=1) for edges in self._edges
        )
        at_once = _READING_BYTES // max(1, most * self.dtype.itemsize)
        self._reading = Semaphore(max(1, at_once))

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a block; each of them once."""
        needed = self._needed(bounds)
        with self._lock:
            for unit in needed:
                if unit not in self._loads:
                    self._loads[unit] = Future()
                    self._queue.append(unit)
        for unit in needed:
            load = self._loads[unit]
            while not load.done() and self._help():
                pass
            load.result()
        index = chunk_index(bounds, self._block)
        values = np.empty(shape_of(bounds), self.dtype)
        with self._lock:
            parts = self._aside.pop(index)
            self._finished.add(index)
        for box, place in parts:
            values[slices_within(box, bounds)] = self._shelf.take(place, shape_of(box))
        return values

    def close(self) -> None:
        """Forget what was put aside."""
        self._aside.clear()
        self._shelf.close()

    def _needed(self, bounds: Bounds) -> list[Index]:
        return list(
            product(
                *(
                    range(bisect_right(edges, start) - 1, bisect_left(edges, stop))
                    for edges, (start, stop) in zip(self._edges, bounds, strict=True)
                )
            )
        )

    def _help(self) -> bool:
        """Read one of the units that somebody waits for; False where there is none."""
        with self._lock:
            if not self._queue:
                return False
            unit = self._queue.popleft()
        load = self._loads[unit]
        try:
            with self._reading:
                self._put_aside(unit)
        except BaseException as error:
            load.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            load.set_result(None)
        return True

    def _put_aside(self, unit: Index) -> None:
        pairs = zip(self._edges, unit, strict=True)
        box = tuple((edges[n], edges[n + 1]) for edges, n in pairs)
        values = self.source.read(box)
        for part in split_box(box, self._block):
            index = chunk_index(part, self._block)
            if index not in self._finished:
                place = self._shelf.put(values[slices_within(part, box)])
                with self._lock:
                    self._aside.setdefault(index, []).append((part, place))


def _units(source: PixelSource, block: Index) -> tuple[Sequence[int], ...]:
    """Give the borders of what is read at a time: several small chunks side by side."""
    edges = [list(along) for along in edges_of(source)]
    size = math.prod(source.chunks) * source.dtype.itemsize
    for axis in reversed(range(len(edges))):
        width = max(source.chunks[axis], 1)
        while 2 * size <= _UNIT_BYTES and 2 * width <= block[axis]:
            edges[axis] = [*edges[axis][:-1:2], edges[axis][-1]]
            size, width = 2 * size, 2 * width
    return tuple(edges)


def _nameless(folder: Path) -> IO[bytes]:
    """Open a file that goes with the process, however that ends."""
    return tempfile.TemporaryFile(dir=folder, buffering=0)


class _Shelf:
    """Keeps arrays: in memory, or in a file where there is a folder for it."""

    def __init__(self, folder: Path | None) -> None:
        self._open = ExitStack()
        self._file: IO[bytes] | None = None
        self._folder = folder
        self._lock = Lock()
        self._free: dict[int, list[int]] = {}
        self._end = 0
        self._dtype = np.dtype(np.uint8)

    def put(self, values: np.ndarray) -> Any:
        """Keep values; gives what they are taken by."""
        if self._folder is None:
            return values.copy()
        kept = np.ascontiguousarray(values)
        self._dtype = kept.dtype
        with explained(str(self._folder)), self._lock:
            if self._file is None:
                self._file = self._open.enter_context(_nameless(self._folder))
            free = self._free.get(kept.nbytes)
            offset = free.pop() if free else self._end
            self._end = max(self._end, offset + kept.nbytes)
            self._file.seek(offset)
            rest = kept.reshape(-1).view(np.uint8).data
            while rest:
                rest = rest[self._file.write(rest) :]
        return offset, kept.nbytes

    def take(self, place: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Give back what was kept, in its shape, and keep it no longer."""
        if self._file is None:
            kept: np.ndarray = place
            return kept
        offset, size = place
        with explained(str(self._folder)), self._lock:
            self._file.seek(offset)
            body = self._file.read(size)
            self._free.setdefault(size, []).append(offset)
        return np.frombuffer(body, self._dtype).reshape(shape)

    def close(self) -> None:
        """Give the room back."""
        self._open.close()
