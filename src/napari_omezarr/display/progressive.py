"""A level that answers at once: lazily sliced, then put together from the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_omezarr.pyramid.boxes import Bounds


class ProgressiveLevel:
    """What napari slices in place of a level's dask array; never blocks.

    Slicing is lazy; ``numpy.asarray`` shows what is known now and asks for the rest.

    Parameters
    ----------
    shape : tuple of int
        The level's shape.
    dtype : numpy.dtype
        The level's data type.
    show : callable
        Gives the array of a box (``Bounds``) of the level, as far as it is known.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        show: Callable[[Bounds], np.ndarray],
    ) -> None:
        self._show = show
        self._axes: tuple[range | int, ...] = tuple(range(size) for size in shape)
        self.dtype = dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape after what was sliced so far."""
        return tuple(len(axis) for axis in self._axes if isinstance(axis, range))

    @property
    def ndim(self) -> int:
        """The number of axes after what was sliced so far."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of pixels after what was sliced so far."""
        return int(np.prod(self.shape, dtype=int))

    def __getitem__(self, key: Any) -> ProgressiveLevel:
        """Slice by integers and slices, lazily."""
        parts = list(key) if isinstance(key, tuple) else [key]
        parts += [slice(None)] * (self.ndim - len(parts))
        rest = iter(parts)
        sliced = ProgressiveLevel((), self.dtype, self._show)
        sliced._axes = tuple(
            axis[next(rest)] if isinstance(axis, range) else axis for axis in self._axes
        )
        return sliced

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> np.ndarray:
        """Give what is known now of the slice, in memory of its own."""
        del copy
        bounds = tuple(
            (min(axis), max(axis) + 1)
            if isinstance(axis, range) and len(axis)
            else ((0, 0) if isinstance(axis, range) else (axis, axis + 1))
            for axis in self._axes
        )
        inner = tuple(
            slice(None, None, axis.step) if isinstance(axis, range) else 0
            for axis in self._axes
        )
        array = np.asarray(self._show(bounds)[inner])
        return array if dtype is None else array.astype(dtype, copy=False)
