"""How arrays are cut: chunks and shards, the levels of an image, and the passes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from napari_omezarr.errors import OptionError
from napari_omezarr.plain_text import by_times
from napari_omezarr.pyramid import chunk_counts, split_box, whole_box

from .downsample import coarser_shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_omezarr.metadata import Affine, Axis
    from napari_omezarr.pyramid import Bounds

    from .image_spec import ImageSpec
    from .options import Layout, WriteOptions

CHUNK_BYTES = 2**20
SHARD_BYTES = 2**24
"""Larger ones leave too few to be on their way at a time within the memory."""
COARSE_SHARD_BYTES = 2**22
"""Larger ones of a coarser level take as many finer pixels as the memory has not."""
SMALL_BYTES = 2**18
"""Where the planes of the finest level are smaller, a chunk holds several of them."""
MANY_OBJECTS = 4000
"""From so many objects on, an object store is better off with shards."""
MANY_FILES = 10_000
"""From so many on, shards are proposed for a disk, too."""
_ABOUT_AS_FINE = 1.5
_DEEP = 16

LONGEST_SIDE = 256
MOST_LEVELS = 32
IN_WORK = 2
"""Blocks in work at a time: while one is written, the next one is read."""
COPIES = 2.5
"""What a block takes in memory: itself, its coarser levels, what is encoded."""
_USEFUL_BLOCK = 2**24


# Chunks of about 1 MB, and shards where there would be too many objects.


def spatial(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[int, ...]:
    """Give the axes along which an image has resolution: space, longer than 1."""
    found = [i for i, a in enumerate(axes) if a.type == "space" and shape[i] > 1]
    if found or any(axis.type == "space" for axis in axes):
        return tuple(found)
    return tuple(i for i in range(max(0, len(axes) - 2), len(axes)) if shape[i] > 1)


@lru_cache  # images that are converted in a row are often alike
def default_chunks(
    axes: tuple[Axis, ...],
    shape: tuple[int, ...],
    itemsize: int,
    spacing: tuple[float, ...],
    layout: Layout = "auto",
    *,
    coarse: bool = False,
) -> tuple[int, ...]:
    """Choose a chunk of about 1 MB.

    It doubles along the side that is shortest in the world, y and x only where
    the image is a stack of planes: where the voxel is much longer in z, or there
    are few planes. Where these sides are small it goes on along depth, time and
    channels, at a ``coarse`` level further, as that is read whole.
    ``spacing`` is the pixel's size along each axis, in world units.
    """
    sides = spatial(axes, shape)
    volume = _is_volume(sides, shape, spacing, layout)
    growing = sides if volume else sides[-2:]
    width = [abs(size) if volume else 1.0 for size in spacing]
    chunk = [1] * len(shape)
    while 2 * math.prod(chunk) * itemsize <= CHUNK_BYTES:
        open_sides = [axis for axis in growing if chunk[axis] < shape[axis]]
        if not open_sides:
            break
        # Of equal sides the later one, whose pixels lie closer in memory.
        axis = min(reversed(open_sides), key=lambda a: chunk[a] * width[a])
        chunk[axis] *= 2
    chunk = [min(c, max(1, s)) for c, s in zip(chunk, shape, strict=True)]
    for axis in _then(axes, sides, growing):
        most = CHUNK_BYTES if coarse and axis in sides else SMALL_BYTES
        while chunk[axis] < shape[axis] and 2 * math.prod(chunk) * itemsize <= most:
            chunk[axis] = min(2 * chunk[axis], shape[axis])
    return tuple(min(c, max(1, s)) for c, s in zip(chunk, shape, strict=True))


def _then(
    axes: Sequence[Axis], sides: Sequence[int], growing: Sequence[int]
) -> list[int]:
    """Give along what a chunk grows at last: depth, time, others, channels."""
    rest = [axis for axis in reversed(range(len(axes))) if axis not in growing]
    order: dict[str | None, int] = {"time": 1, "channel": 3}
    return sorted(
        rest, key=lambda a: 0 if a in sides else order.get(axes[a].type or "", 2)
    )


def default_shards(
    axes: Sequence[Axis],
    shape: Sequence[int],
    chunks: Sequence[int],
    itemsize: int,
    most: int = SHARD_BYTES,
) -> tuple[int, ...]:
    """Choose a shard of whole chunks, about 16 MB, near a cube of chunks.

    Where space is small it goes on along the other axes.
    """
    shard = list(chunks)
    sides = spatial(axes, shape)
    for growing in (sides, *([axis] for axis in _then(axes, (), sides))):
        while 2 * math.prod(shard) * itemsize <= most:
            open_sides = [axis for axis in growing if shard[axis] < shape[axis]]
            if not open_sides:
                break
            axis = min(reversed(open_sides), key=lambda a: shard[a] // chunks[a])
            shard[axis] *= 2
    return whole_chunks(shard, chunks, shape)


def whole_chunks(
    wanted: Sequence[int], chunks: Sequence[int], shape: Sequence[int]
) -> tuple[int, ...]:
    """Give the wanted shard as whole chunks, no longer than the array needs."""
    return tuple(
        chunk * max(1, min(-(-want // chunk), -(-size // chunk)))
        for want, chunk, size in zip(wanted, chunks, shape, strict=True)
    )


def named_sizes(
    sizes: Mapping[str, int], axes: Sequence[Axis], default: Sequence[int]
) -> tuple[int, ...]:
    """Put sizes that are given by axis name in place of the default ones."""
    return tuple(
        int(sizes.get(axis.name, other))
        for axis, other in zip(axes, default, strict=True)
    )


def objects(shape: Sequence[int], unit: Sequence[int]) -> int:
    """Count the objects that an array is stored in."""
    return math.prod(chunk_counts(shape, unit))


def _is_volume(
    sides: Sequence[int],
    shape: Sequence[int],
    spacing: Sequence[float],
    layout: Layout,
) -> bool:
    if len(sides) < 3 or layout == "plane":
        return False
    if layout == "volume":
        return True
    depth = sides[0]
    finest = min(abs(spacing[axis]) for axis in sides)
    fine = abs(spacing[depth]) <= _ABOUT_AS_FINE * finest
    return fine and shape[depth] >= _DEEP


def step_factors(
    axes: Sequence[Axis], shape: Sequence[int], spacing: Sequence[float]
) -> tuple[int, ...]:
    """Choose by how much the next level shrinks each axis: 2 or 1.

    An axis waits until the others are about as coarse as it is, so that voxels
    become cubes and stay so.
    """
    sides = spatial(axes, shape)
    if not sides:
        return (1,) * len(shape)
    units = {axes[axis].unit for axis in sides}
    if len(units) > 1:  # sizes that cannot be compared: leave z alone
        sides = sides[-2:]
    finest = min(abs(spacing[axis]) for axis in sides)
    return tuple(
        2 if i in sides and abs(spacing[i]) <= _ABOUT_AS_FINE * finest else 1
        for i in range(len(shape))
    )


# The levels of an image that is to be written, and in which passes.


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """One resolution level to be written, at a path below its image's group.

    Along each axis it is by ``step`` coarser than the level before, and by ``factors``
    than the finest; ``affine`` leads from its indices to the world. Shards are whole
    chunks; None: each chunk is an object.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    step: tuple[int, ...]
    factors: tuple[int, ...]
    affine: Affine

    @property
    def unit(self) -> tuple[int, ...]:
        """What is stored as one object, which only one block may write."""
        return self.shards or self.chunks

    @property
    def objects(self) -> int:
        """How many objects hold the level's pixels, empty ones counted."""
        return objects(self.shape, self.unit)


@dataclass(frozen=True, slots=True)
class WritePass:
    """One pass that reads an array in blocks, and writes levels ``first`` to ``last``.

    It reads the source if ``first`` is 0, else level ``first - 1`` as it was written,
    or the resolution that level ``first`` is copied from.
    ``block`` and ``shape`` are in pixels of what it reads; at each level that is
    written a block is whole objects, or the whole axis. Where blocks cut chunks of what
    is read, ``region`` is whole ones of both, and ``held`` is how many pixels are kept
    at most so that no chunk is read twice.
    """

    first: int
    last: int
    block: tuple[int, ...]
    shape: tuple[int, ...]
    region: tuple[int, ...] = ()
    held: int = 0

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return objects(self.shape, self.block)

    def blocks(self) -> Iterator[Bounds]:
        """Give the blocks in order; together they are the whole array, once."""
        for region in split_box(whole_box(self.shape), self.region or self.block):
            yield from split_box(region, self.block)


def steps(
    axes: Sequence[Axis],
    shape: Sequence[int],
    spacing: Sequence[float],
    levels: int | None = None,
    fixed: Sequence[int] | None = None,
) -> tuple[tuple[int, ...], ...]:
    """Choose how much each level shrinks the one before; the first not at all.

    There are as many as asked for, else until no spatial side is longer than 256;
    ``fixed`` gives the factors of every step.
    """
    found = [(1,) * len(shape)]
    sizes, widths = tuple(shape), list(spacing)
    while len(found) < (levels or MOST_LEVELS):
        if levels is None and _longest(axes, sizes) <= LONGEST_SIDE:
            break
        wanted = tuple(fixed) if fixed else step_factors(axes, sizes, widths)
        pairs = zip(wanted, sizes, strict=True)
        step = tuple(min(by, size) if size else 1 for by, size in pairs)
        smaller = coarser_shape(sizes, step)
        if smaller == sizes:
            break
        found.append(step)
        sizes = smaller
        widths = [width * by for width, by in zip(widths, step, strict=True)]
    return tuple(found)


def write_passes(
    levels: Sequence[LevelPlan],
    itemsize: int,
    memory: int,
    source_chunks: Sequence[int] | None = None,
) -> tuple[WritePass, ...]:
    """Decide in how few passes all levels can be written within the memory.

    Each pass takes blocks as large as are needed to make as many levels as fit
    from one of them; the next one starts from the coarsest level made. Blocks are
    whole chunks of the source where that fits, so that none is read twice.
    """
    limit = int(memory / COPIES / IN_WORK)
    found: list[WritePass] = []
    first = 0
    while first < len(levels):
        base = levels[max(0, first - 1)]
        hint = source_chunks if first == 0 else base.unit
        last, block = _widest(levels, first, base, itemsize, limit)
        block = _fitted(block, hint, base.shape, itemsize, limit)
        region, held = _region(block, hint or (), base.shape)
        found.append(WritePass(first, last, block, base.shape, region, held))
        first = last + 1
    return tuple(found)


def _widest(
    levels: Sequence[LevelPlan], first: int, base: LevelPlan, itemsize: int, limit: int
) -> tuple[int, tuple[int, ...]]:
    last, block = first, _block((1,) * len(base.shape), levels[first], base)
    for number in range(first + 1, len(levels)):
        larger = _block(block, levels[number], base)
        # One coarser level is worth a larger block: else a whole pass is needed
        # that reads everything again.
        room = limit * IN_WORK if number == first + 1 and first == 0 else limit
        if math.prod(larger) * itemsize > room:
            break
        last, block = number, larger
    return last, block


def _block(block: Sequence[int], level: LevelPlan, base: LevelPlan) -> tuple[int, ...]:
    """Enlarge a block so that it is whole objects of a level too."""
    grown = []
    for axis, size in enumerate(base.shape):
        factor = level.factors[axis] // base.factors[axis]
        needed = math.lcm(block[axis], level.unit[axis] * factor)
        if level.unit[axis] >= level.shape[axis]:
            needed = size
        grown.append(max(1, min(needed, size)))
    return tuple(grown)


def _fitted(
    block: tuple[int, ...],
    chunks: Sequence[int] | None,
    shape: Sequence[int],
    itemsize: int,
    limit: int,
) -> tuple[int, ...]:
    """Enlarge a block to whole chunks of what is read, and to a useful size."""
    grown = list(block)
    for axis, chunk in enumerate(chunks or ()):
        wanted = min(-(-chunk // block[axis]) * block[axis], shape[axis])
        others = math.prod(grown) // grown[axis]
        if chunk > block[axis] and others * wanted * itemsize <= limit:
            grown[axis] = wanted
    useful = min(limit, _USEFUL_BLOCK)
    for axis in reversed(range(len(grown))):
        while grown[axis] < shape[axis] and 2 * math.prod(grown) * itemsize <= useful:
            grown[axis] = min(2 * grown[axis], shape[axis])
    return tuple(grown)


def _region(
    block: tuple[int, ...], chunks: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[int, ...], int]:
    """Give whole blocks that are whole chunks, and what is kept while they are read.

    Nothing where no block cuts a chunk.
    """
    region, kept, cut = [], 1, False
    for axis, chunk in enumerate(chunks):
        size, whole = shape[axis], block[axis]
        if whole < size and whole % chunk:
            whole = min(math.lcm(whole, chunk), size)
            # Along the first axis that is cut, blocks and chunks go side by side.
            kept *= whole if cut else min(block[axis] + chunk, size)
            cut = True
        else:
            kept *= whole
        region.append(whole)
    return (tuple(region), kept) if cut else ((), 0)


def _longest(axes: Sequence[Axis], shape: Sequence[int]) -> int:
    sides = [s for axis, s in zip(axes, shape, strict=True) if axis.type == "space"]
    return max(sides or shape[-2:], default=0)


# The shapes of all levels of an image, its chunks and its shards.


@dataclass(frozen=True, slots=True)
class Structure:
    """What the levels of labels take over from their image.

    ``names`` are the axes; ``shapes`` and ``steps`` those of all its levels.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    steps: tuple[tuple[int, ...], ...]


def level_shapes(
    spec: ImageSpec, options: WriteOptions, structure: Structure | None
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Decide on the shape of each level, and by how much it shrinks.

    Labels take both from their image; an image halves until it is small, or goes
    by the options. Labels of a coarser level go on as an image does, for of levels they
    "MUST have the same number ... as the original unlabeled image" (0.4, "labels").
    """
    fixed, levels = options.factors, options.levels
    ones = (1,) * len(spec.shape)
    shapes, chosen = [spec.shape], [ones]
    if structure is not None:
        shapes, chosen = _like(spec, structure) or (shapes, chosen)
        levels = len(structure.shapes) - len(shapes) + 1
    by = map(math.prod, zip(*chosen, strict=True))
    more = steps(
        spec.axes,
        shapes[-1],
        [size * factor for size, factor in zip(spec.affine.scale, by, strict=True)],
        levels,
        named_sizes(fixed, spec.axes, ones) if isinstance(fixed, Mapping) else None,
    )
    for step in more[1:]:
        shapes.append(coarser_shape(shapes[-1], step))
    return shapes, [*chosen, *more[1:]]


def kept_levels(
    spec: ImageSpec, most: int | None, known: Sequence[tuple[int, ...]] | None
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]] | None:
    """Give shapes and steps of the resolutions that an image has; None if one is odd.

    Each has to be some whole times as coarse as the one before. Of labels they must
    also be ``known`` as those of their image.
    """
    shapes, steps = [spec.shape], [(1,) * len(spec.shape)]
    for level in spec.coarser[: most and most - 1]:
        source = level.source
        alike = source.dtype == spec.source.dtype
        step = _step_between(shapes[-1], source.shape) if alike else None
        if step is None:
            return None
        shapes.append(source.shape)
        steps.append(step)
    if known is not None and shapes != list(known):
        return None
    return shapes, steps


def _step_between(finer: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...] | None:
    """Give by how much a level is coarser than another; None if it is no level of it.

    Small sizes leave several: that of the longest axis goes before others.
    """
    pairs = list(zip(finer, sizes, strict=False))
    if len(finer) != len(sizes) or all(size == whole for whole, size in pairs):
        return None
    longest = max((whole, size) for whole, size in pairs if size != whole)
    usual = round(longest[0] / longest[1])
    found = []
    for whole, size in pairs:
        ratio = whole / size
        likely = (1, usual, round(ratio), math.ceil(ratio), math.floor(ratio))
        fitting = (by for by in likely if by and size in (whole // by, -(-whole // by)))
        found.append(next(fitting, 0))
    return tuple(found) if all(found) else None


def steps_between(totals: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Give by how much each level is coarser than the one before, of all factors."""
    before = [(1,) * len(totals[0]), *totals]
    return tuple(
        tuple(by // finer for by, finer in zip(factors, each, strict=True))
        for factors, each in zip(totals, before, strict=False)
    )


def _like(
    spec: ImageSpec, structure: Structure
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]] | None:
    """Give labels the levels of their image, from theirs on, along their axes."""
    where = [structure.names.index(axis.name) for axis in spec.axes]
    single = [size == 1 for size in spec.shape]

    def taken(sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            1 if one else sizes[i] for i, one in zip(where, single, strict=True)
        )

    shapes = [taken(shape) for shape in structure.shapes]
    if spec.shape not in shapes:  # as coarse as no level of the image is
        return None
    first = shapes.index(spec.shape)
    unchanged = (1,) * len(spec.shape)
    following = [taken(step) for step in structure.steps[first + 1 :]]
    return shapes[first:], [unchanged, *following]


def stored_units(
    spec: ImageSpec,
    options: WriteOptions,
    shapes: Sequence[tuple[int, ...]],
    factors: Sequence[tuple[int, ...]],
    *,
    object_store: bool,
) -> list[tuple[tuple[int, ...], tuple[int, ...] | None]]:
    """Decide on the chunks and the shards of each level.

    ``factors`` says by how much each is coarser than the finest. A shard is more than
    one chunk; a level without so many has none.
    """
    chunks = [
        _chunks_of_level(spec, options, shape, by)
        for shape, by in zip(shapes, factors, strict=True)
    ]
    wanted = options.shards
    many = object_store and objects(shapes[0], chunks[0]) > MANY_OBJECTS
    if options.version == "0.4" or wanted is False or (wanted is None and not many):
        return [(unit, None) for unit in chunks]
    finest = _finest_shards(spec, options, chunks[0])
    found = []
    for shape, unit, by in zip(shapes, chunks, factors, strict=True):
        shard = _shards_of_level(finest, shape, unit, by)
        if not isinstance(wanted, Mapping) and by != factors[0]:
            shard = _enlarged(spec, shape, unit, shard)
        found.append((unit, None if shard == unit else shard))
    return found


def _chunks_of_level(
    spec: ImageSpec,
    options: WriteOptions,
    shape: tuple[int, ...],
    factors: tuple[int, ...],
) -> tuple[int, ...]:
    axes, itemsize = spec.axes, spec.source.dtype.itemsize
    finest = spec.affine.scale
    sides = spatial(axes, spec.shape)
    volume = _is_volume(sides, spec.shape, finest, options.layout)
    layout: Layout = "volume" if volume else "plane"
    spacing = [size * by for size, by in zip(finest, factors, strict=True)]
    coarse = max(factors) > 1
    chunks = default_chunks(
        tuple(axes), shape, itemsize, tuple(spacing), layout, coarse=coarse
    )
    if isinstance(options.chunks, Mapping):
        chunks = named_sizes(options.chunks, axes, chunks)
    return tuple(min(c, max(1, s)) for c, s in zip(chunks, shape, strict=True))


def _finest_shards(
    spec: ImageSpec, options: WriteOptions, chunks: tuple[int, ...]
) -> tuple[int, ...]:
    wanted, shape = options.shards, spec.shape
    if not isinstance(wanted, Mapping):
        return default_shards(spec.axes, shape, chunks, spec.source.dtype.itemsize)
    sizes = named_sizes(wanted, spec.axes, chunks)
    parts = zip(sizes, chunks, shape, strict=True)
    if any(size % chunk and size < full for size, chunk, full in parts):
        raise OptionError(
            f"Shards of {by_times(sizes)} are no whole chunks of {by_times(chunks)}.",
            action="Choose multiples of the chunk.",
        )
    return whole_chunks(sizes, chunks, shape)


def _shards_of_level(
    finest: tuple[int, ...],
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    factors: tuple[int, ...],
) -> tuple[int, ...]:
    """Give the shard that is made of one shard of the finest level."""
    region = [-(-size // by) for size, by in zip(finest, factors, strict=True)]
    return whole_chunks(region, chunks, shape)


def _enlarged(
    spec: ImageSpec,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    shard: tuple[int, ...],
) -> tuple[int, ...]:
    """Enlarge the shard of a coarser level, if it is small."""
    itemsize = spec.source.dtype.itemsize
    if math.prod(shard) * itemsize >= COARSE_SHARD_BYTES:
        return shard
    return default_shards(spec.axes, shape, chunks, itemsize, COARSE_SHARD_BYTES)
