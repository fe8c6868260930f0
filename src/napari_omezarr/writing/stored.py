"""An array of a hierarchy whose document is known, so that nothing is asked."""

from __future__ import annotations

from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_omezarr._io_loop import reading_at
from napari_omezarr.pyramid.boxes import inside, is_whole, units
from napari_omezarr.store import run

from .encoding import encoding_of
from .failures import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_omezarr.pyramid.boxes import Bounds

    from .encoding import Encoding
    from .target import Hierarchy

    Encode = Callable[[Callable[[], Future[None]]], Future[Future[None]]]


@dataclass(frozen=True)
class StoredArray:
    """An array of a hierarchy.

    Parameters
    ----------
    hierarchy : Hierarchy
        Where.
    path : str
        Of the array.
    document : Mapping
        Its metadata.
    fresh : bool, optional
        Nothing of it is stored yet, so that there is nothing to be deleted.
    """

    hierarchy: Hierarchy
    path: str
    document: Mapping[str, Any]
    fresh: bool = False

    @property
    def address(self) -> str:
        """What to call its hierarchy in errors."""
        return self.hierarchy.address

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return tuple(self.document["shape"])

    @cached_property
    def chunks(self) -> tuple[int, ...]:
        """What is read at a time, and stored as one object: a shard, or a chunk."""
        array = self.opened()
        return array.shards or array.chunks

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type, in native byte order."""
        return np.dtype(self.opened().dtype).newbyteorder("=")

    @property
    def places(self) -> frozenset[str]:
        """The address of the array."""
        return frozenset({f"{self.address}/{self.path}"})

    def opened(self) -> zarr.AsyncArray[Any]:
        """Make the zarr array."""
        place = self.hierarchy.node(self.path)
        return zarr.AsyncArray.from_dict(place, dict(self.document))

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box."""
        selection = tuple(slice(start, stop) for start, stop in bounds)
        with explained(self.address), reading_at(self.hierarchy.concurrency):
            return np.asarray(run(self.opened().getitem(selection)), self.dtype)

    def write(self, bounds: Bounds, values: np.ndarray) -> None:
        """Write a box, and wait until it is there; pixels of 0 may not be stored."""
        settled(self.begin(bounds, values, at_once), self.address)

    def begin(
        self, bounds: Bounds, values: np.ndarray, encode: Encode
    ) -> list[Future[Future[None]]]:
        """Begin to write a box; `values` must not change until that has ended.

        Parameters
        ----------
        bounds : Bounds
            The box.
        values : numpy.ndarray
            Its pixels.
        encode : callable
            Is given a function without arguments, which it calls wherever it likes.

        Returns
        -------
        list of Future
            One for each object; each gives the future of its way to the store.
        """
        encoding = self._encoding
        if encoding is None or not is_whole(bounds, encoding.unit, self.shape):
            return [encode(partial(self._write_through_zarr, bounds, values))]
        begun: list[Future[Future[None]]] = []
        try:
            for box in units(bounds, encoding.unit):
                deposit = partial(self._deposit, encoding, box, bounds, values)
                begun.append(encode(deposit))
        except BaseException:
            wait(begun)
            raise
        return begun

    @cached_property
    def _encoding(self) -> Encoding | None:
        return encoding_of(self.document)

    def _deposit(
        self, encoding: Encoding, box: Bounds, bounds: Bounds, values: np.ndarray
    ) -> Future[None]:
        body = encoding.encode(values[inside(box, bounds)])
        key = f"{self.path}/{encoding.key(box)}"
        if body is not None:
            return self.hierarchy.begin_put(key, body)
        return done() if self.fresh else self.hierarchy.begin_delete(key)

    def _write_through_zarr(self, bounds: Bounds, values: np.ndarray) -> Future[None]:
        selection = tuple(slice(start, stop) for start, stop in bounds)
        with explained(self.address), reading_at(self.hierarchy.concurrency):
            run(self.opened().setitem(selection, values))
        return done()


def settled(depositing: list[Future[Future[None]]], address: str) -> None:
    """Wait until all is stored, or has failed, and raise the first failure.

    Raises
    ------
    StoreError
        Something could not be stored.
    """
    failures = list(_failures(depositing))
    if failures:
        with explained(address):
            raise failures[0]


def done() -> Future[None]:
    """Give a future that has ended."""
    future: Future[None] = Future()
    future.set_result(None)
    return future


def at_once(deposit: Callable[[], Future[None]]) -> Future[Future[None]]:
    """Encode in the calling thread; a failure is raised here."""
    future: Future[Future[None]] = Future()
    future.set_result(deposit())
    return future


def _failures(depositing: list[Future[Future[None]]]) -> Iterator[BaseException]:
    for encoded in depositing:
        error = encoded.exception() or encoded.result().exception()
        if error is not None:
            yield error
