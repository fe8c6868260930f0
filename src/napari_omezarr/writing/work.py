"""One block: read it, write it, make it coarser, write that; all in memory.

What a worker needs for it is a value that can be sent to another process.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.storage import StorePath

from napari_omezarr.pyramid.concurrency import reading_at
from napari_omezarr.store import run

from .downsample import downsample
from .failures import explained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarr.abc.store import Store

    from napari_omezarr.pyramid.selection import Bounds

    from .journal import Checks
    from .options import Method
    from .source import Source


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array of a hierarchy whose document is known, so that nothing is asked.

    Parameters
    ----------
    store : zarr.abc.store.Store
        Where.
    path : str
        Of the array.
    document : Mapping
        Its metadata.
    address : str
        What to call it in errors.
    concurrency : int
        How many chunks may be on their way at a time.
    """

    store: Store
    path: str
    document: Mapping[str, Any]
    address: str
    concurrency: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return tuple(self.document["shape"])

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is read at a time: a shard, or a chunk."""
        return self.opened().shards or self.opened().chunks

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
        place = StorePath(self.store, self.path)
        return zarr.AsyncArray.from_dict(place, dict(self.document))

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box."""
        selection = tuple(slice(start, stop) for start, stop in bounds)
        with explained(self.address), reading_at(self.concurrency):
            return np.asarray(run(self.opened().getitem(selection)), self.dtype)

    def write(self, bounds: Bounds, values: np.ndarray) -> None:
        """Write a box; chunks that hold nothing but 0 are not stored."""
        selection = tuple(slice(start, stop) for start, stop in bounds)
        with explained(self.address), reading_at(self.concurrency):
            run(self.opened().setitem(selection, values))


@dataclass(frozen=True, slots=True)
class Work:
    """What all blocks of one pass have in common.

    Parameters
    ----------
    source : Source
        What is read: the layer, or a level that has been written.
    outputs : tuple of StoredArray
        The levels that are written, finer ones first.
    steps : tuple of tuple of int
        How much coarser each output is than the one before; the first one than
        the source.
    method : {"mean", "nearest", "max", "mode"}
        How coarser levels are made.
    first : int
        The number of the first output's level.
    """

    source: Source
    outputs: tuple[StoredArray, ...]
    steps: tuple[tuple[int, ...], ...]
    method: Method
    first: int


def write_block(
    work: Work, bounds: Bounds, *, check: bool, values: np.ndarray | None = None
) -> Checks:
    """Write a block at all levels of a pass.

    Parameters
    ----------
    work : Work
        The pass.
    bounds : Bounds
        In pixels of what is read.
    check : bool
        Give checksums of what was written.
    values : numpy.ndarray or None, optional
        The block, where it has been read already.

    Returns
    -------
    Checks
        Empty unless asked for.

    Raises
    ------
    StoreError
        The block could not be read or written.
    """
    block = work.source.read(bounds) if values is None else values
    checks = []
    for number, (output, step) in enumerate(
        zip(work.outputs, work.steps, strict=True), work.first
    ):
        bounds = coarser_bounds(bounds, step, output.shape)
        block = downsample(block, step, work.method)
        # A level can be shorter than its cells say (an older image's, for labels).
        block = block[tuple(slice(0, stop - start) for start, stop in bounds)]
        if block.size == 0:
            break
        output.write(bounds, block)
        if check:
            checks.append((number, checksum(block)))
    return tuple(checks)


def coarser_bounds(
    bounds: Bounds, step: tuple[int, ...], shape: tuple[int, ...]
) -> Bounds:
    """Give the box of a coarser level that a box starting at a cell makes."""
    coarser = []
    for (start, stop), by, size in zip(bounds, step, shape, strict=True):
        end = min(-(-stop // by), size)
        coarser.append((min(start // by, end), end))
    return tuple(coarser)


def checksum(values: np.ndarray) -> int:
    """Give the CRC-32 of values in C order, little-endian."""
    plain = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    return zlib.crc32(plain.view(np.uint8).ravel().data)
