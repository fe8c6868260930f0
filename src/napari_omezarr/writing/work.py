"""One block: read it, write it, make it coarser, write that; all in memory.

What a worker needs for it is a value that can be sent to another process.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.pyramid.boxes import inside, numbered, sampled

from .downsample import downsample
from .stored import at_once, settled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from napari_omezarr.pyramid.boxes import Bounds

    from .journal import Checks
    from .options import Method, Verify
    from .source import Source
    from .stored import Encode, StoredArray

WHOLE = -1
"""Instead of an object's number in a block: all of them."""


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
    work: Work,
    bounds: Bounds,
    *,
    check: Verify,
    values: np.ndarray | None = None,
    encode: Encode = at_once,
) -> Checks:
    """Write a block at all levels of a pass.

    Objects are on their way to the store while the next level is made.

    Parameters
    ----------
    work : Work
        The pass.
    bounds : Bounds
        In pixels of what is read.
    check : {"none", "sample", "all"}
        Of what checksums are given: nothing, one object of each level, everything.
    values : numpy.ndarray or None, optional
        The block, where it has been read already.
    encode : callable, optional
        Where objects are encoded; one after the other in this thread if not said.

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
    checks: list[tuple[int, int, int]] = []
    begun: list[Future[Future[None]]] = []
    try:
        for number, (output, step) in enumerate(
            zip(work.outputs, work.steps, strict=True), work.first
        ):
            bounds = coarser_bounds(bounds, step, output.shape)
            block = downsample(block, step, work.method)
            # A level can be shorter than its cells say (an older image's, for labels).
            block = block[tuple(slice(0, stop - start) for start, stop in bounds)]
            if block.size == 0:
                break
            begun += output.begin(bounds, block, encode)
            if check != "none":
                part = WHOLE if check == "all" else sampled(bounds, output.chunks)
                box = checked_box(bounds, output.chunks, part)
                checks.append((number, part, checksum(block[inside(box, bounds)])))
    finally:
        settled(begun, work.outputs[0].address)
    return tuple(checks)


def checked_box(bounds: Bounds, unit: Sequence[int], part: int) -> Bounds:
    """Give the box that a checksum is of: an object of a block, or all of it."""
    return bounds if part == WHOLE else numbered(bounds, unit, part)


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
