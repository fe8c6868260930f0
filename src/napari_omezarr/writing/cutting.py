"""The shapes of all levels of an image, its chunks and its shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_omezarr.errors import OptionError

from .chunking import (
    MANY_OBJECTS,
    default_chunks,
    default_shards,
    named_sizes,
    objects,
    whole_chunks,
)
from .downsample import coarser_shape
from .pyramid_plan import steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .options import WriteOptions
    from .picture import Picture


@dataclass(frozen=True, slots=True)
class Structure:
    """What the levels of labels take over from their image.

    ``names`` are the axes; ``shapes`` and ``steps`` those of all its levels.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    steps: tuple[tuple[int, ...], ...]


def level_shapes(
    picture: Picture, options: WriteOptions, structure: Structure | None
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Decide on the shape of each level, and by how much it shrinks.

    Labels take both from their image; an image halves until it is small, or goes
    by the options.
    """
    if structure is not None:
        return _like(picture, structure)
    fixed = options.factors
    spacing = picture.affine.scale
    ones = (1,) * len(picture.shape)
    chosen = steps(
        picture.axes,
        picture.shape,
        spacing,
        options.levels,
        named_sizes(fixed, picture.axes, ones) if isinstance(fixed, Mapping) else None,
    )
    shapes = [picture.shape]
    for step in chosen[1:]:
        shapes.append(coarser_shape(shapes[-1], step))
    return shapes, list(chosen)


def _like(
    picture: Picture, structure: Structure
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Give labels the levels of their image, along the axes that they have."""
    where = [structure.names.index(axis.name) for axis in picture.axes]
    single = [size == 1 for size in picture.shape]

    def taken(sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            1 if one else sizes[i] for i, one in zip(where, single, strict=True)
        )

    shapes = [taken(shape) for shape in structure.shapes]
    return shapes, [taken(step) for step in structure.steps]


def stored_units(
    picture: Picture, options: WriteOptions, *, object_store: bool
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Decide on chunks and shards of the finest level.

    Raises
    ------
    OptionError
        Shards are not whole chunks.
    """
    shape, axes = picture.shape, picture.axes
    itemsize = picture.source.dtype.itemsize
    spacing = picture.affine.scale
    chunks = default_chunks(axes, shape, itemsize, spacing, options.layout)
    if isinstance(options.chunks, Mapping):
        chunks = named_sizes(options.chunks, axes, chunks)
        chunks = tuple(min(c, max(1, s)) for c, s in zip(chunks, shape, strict=True))
    wanted = options.shards
    if isinstance(wanted, Mapping):
        sizes = named_sizes(wanted, axes, chunks)
        parts = zip(sizes, chunks, shape, strict=True)
        if any(size % chunk and size < full for size, chunk, full in parts):
            raise OptionError(
                f"Shards of {_times(sizes)} are no whole chunks of {_times(chunks)}.",
                action="Choose multiples of the chunk.",
            )
        return chunks, whole_chunks(sizes, chunks, shape)
    many = object_store and objects(shape, chunks) > MANY_OBJECTS
    if options.version != "0.4" and (wanted or (wanted is None and many)):
        return chunks, default_shards(axes, shape, chunks, itemsize)
    return chunks, None


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
