"""Where pixels come from: anything that gives boxes of an array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import dask.array as da
import numpy as np

from napari_omezarr.errors import UnsupportedDataError
from napari_omezarr.pyramid import FixedAxes, Pixels, pixels_of, slices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.pyramid import Bounds

_WIDEST_FLOAT = 8


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


class ArraySource:
    """Anything that is indexed like numpy: numpy, zarr, `Pixels`, h5py, lazy views.

    `Pixels` ask the store for all the chunks of a box at once.
    """

    def __init__(self, array: Any, places: frozenset[str] = frozenset()) -> None:
        self.array = array
        self.shape: tuple[int, ...] = tuple(int(size) for size in array.shape)
        self.dtype = writable_dtype(array.dtype)
        self.places = places
        self.chunks = _chunks(array, len(self.shape))

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box."""
        return np.asarray(self.array[slices(bounds)], dtype=self.dtype)


class DaskSource:
    """A dask array that is not one of ours: its own graph is computed, box by box."""

    def __init__(self, array: da.Array) -> None:
        self.array = array
        self.shape: tuple[int, ...] = tuple(int(size) for size in array.shape)
        self.dtype = writable_dtype(array.dtype)
        self.places: frozenset[str] = frozenset()
        self.chunks = tuple(max(sizes, default=1) for sizes in array.chunks)

    def read(self, bounds: Bounds) -> np.ndarray:
        """Compute a box in dask's threads, whatever scheduler is set."""
        box = self.lazy(bounds).compute(scheduler="threads")
        return np.asarray(box, dtype=self.dtype)

    def lazy(self, bounds: Bounds) -> da.Array:
        """Give a box that is not computed yet, for a cluster to compute."""
        box: da.Array = self.array[slices(bounds)]
        return box


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

    A dask array of ours is read through its pixels.
    """
    array = _unwrapped(data)
    if isinstance(array, da.Array):
        pixels = pixels_of(array)
        if pixels is None:
            return DaskSource(array)
        array = pixels
    return ArraySource(array, places | _known_places(array))


def stack(sources: Sequence[PixelSource], axis: int) -> PixelSource:
    """Join sources along a new axis; channels of one array are read as that array.

    The channels of a stored image often share chunks: read one by one, each chunk
    would be fetched once for every channel.
    """
    whole = _common_pixels(sources, axis)
    return whole or Stacked(sources, axis)


def writable_dtype(dtype: Any) -> np.dtype[Any]:
    """Give a data type in native byte order.

    OME-Zarr viewers show booleans, integers and floats; not complex numbers, text,
    objects, or floats beyond 64 bits.
    """
    native: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    if native.kind not in "biuf" or (
        native.kind == "f" and native.itemsize > _WIDEST_FLOAT
    ):
        raise UnsupportedDataError(
            f"Pixels of type {native} cannot be saved as OME-Zarr.",
            action="Convert them to integers or floats first.",
        )
    return native


def _unwrapped(data: Any) -> Any:
    """Take the array out of an xarray object; nested lists become numpy."""
    if hasattr(data, "dims") and hasattr(data, "data"):
        return data.data
    return data if hasattr(data, "shape") else np.asarray(data)


def _chunks(array: Any, ndim: int) -> tuple[int, ...]:
    chunks = getattr(array, "shards", None) or getattr(array, "chunks", None)
    if not isinstance(chunks, tuple) or len(chunks) != ndim:
        return (1,) * ndim
    return tuple(c if isinstance(c, int) else max(c, default=1) for c in chunks)


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
