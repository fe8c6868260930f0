"""The objects of an image at a place that lists nothing, from its metadata."""

from __future__ import annotations

import asyncio
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from napari_omezarr.pyramid.pixels import ArrayPixels
from napari_omezarr.reading import read
from napari_omezarr.reading.nodes import array_key, group_keys, joined
from napari_omezarr.store import Item

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Pyramid

MOST = 1_000_000
"""How many objects are asked for at most: so many keys are held in memory."""


async def known_objects(source: Location) -> list[Item]:
    """Name all objects that an image and its labels may have, on the I/O loop.

    Their sizes are not known, and some may be missing: chunks that are all fill value
    are not stored. Whatever else lies beside them is left out.

    Returns
    -------
    list of Item
        Empty for what is no image of arrays, and for one of more than `MOST` objects.

    Raises
    ------
    OMEZarrError
        The image could not be read.
    """
    reading = await asyncio.to_thread(read, source)
    keys: dict[str, None] = {}
    for image in reading.pyramids:
        if any(not isinstance(level.pixels, ArrayPixels) for level in image.levels):
            return []
        if _count(image) + len(keys) > MOST:
            return []
        keys |= dict.fromkeys(_keys(source, image))
    documents = (*group_keys(""), ".zgroup", ".zmetadata", *group_keys("labels"))
    keys |= dict.fromkeys((*documents, "labels/.zgroup"))
    return [Item(key, False) for key in sorted(keys)]


def _count(image: Pyramid) -> int:
    arrays = (level.pixels for level in image.levels)
    return sum(prod(a.stored_grid) for a in arrays if isinstance(a, ArrayPixels))


def _keys(source: Location, image: Pyramid) -> Iterable[str]:
    path = _below(source, image.location)
    yield from (*group_keys(path), joined(path, ".zgroup"))
    for level in image.levels:
        inside = joined(path, level.path)
        yield from (array_key(inside, 3), array_key(inside, 2))
        yield joined(inside, ".zattrs")
        if isinstance(level.pixels, ArrayPixels):
            yield from _chunks(level.pixels)


def _chunks(pixels: ArrayPixels) -> Iterable[str]:
    objects = pixels.shards or pixels.stored_chunks
    each = zip(objects, pixels.stored_chunks, strict=True)
    step = tuple(size // chunk for size, chunk in each)
    for index in product(*map(range, pixels.stored_grid)):
        yield pixels.stored_key(tuple(i * n for i, n in zip(index, step, strict=True)))


def _below(ancestor: Location, location: Location) -> str:
    return location.path.removeprefix(ancestor.path).strip("/")
