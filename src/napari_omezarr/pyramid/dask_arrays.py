"""Dask arrays over lazily indexed pixels, whose chunks are read many at a time."""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from concurrent.futures import CancelledError
from contextvars import Context, copy_context
from functools import cached_property, partial
from hashlib import sha256
from itertools import islice, product
from math import prod
from operator import mod, mul
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet, WeakValueDictionary, finalize

import dask.array as da
import numpy as np
from dask.array.core import getter
from dask.callbacks import Callback
from dask.highlevelgraph import HighLevelGraph, Layer

from napari_omezarr._io_loop import (
    awaited,
    bounded_gather,
    context_here,
    start,
    start_together,
)
from napari_omezarr.store import run

from .boxes import (
    bounded,
    chunk_box,
    chunk_counts,
    chunk_index,
    hull,
    lying_together,
    merged_chunks,
    overlap,
    shape_of,
    slices,
    slices_within,
)
from .views import Cast, Cropped, FixedAxes, Merged

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from concurrent.futures import Future

    from .boxes import Bounds
    from .pixels import Pixels

    Block = tuple[int, ...]
    Boxes = dict[Block, Bounds]
    Found = tuple[Bounds, np.ndarray]
    Read = Future[dict[Block, Found]]

W = TypeVar("W")
R = TypeVar("R")

_PIXELS: WeakValueDictionary[str, Pixels] = WeakValueDictionary()
"""The pixels behind each array of `to_dask`, as long as somebody holds them."""

MANY_CHUNKS = 256
BLOCK_BYTES = 8 * 2**20
"""Where there are more chunks than these, blocks are as large as this: dask takes a
third of a millisecond for a block, and two on a cluster."""

MOST_BLOCKS = 10_000
"""Dask's own cost grows with the blocks of an array, so a level has no more."""

BATCH_BLOCKS = 64
BATCH_BYTES = 64 * 10**6
"""A batch is so many chunks at most, and at most so many bytes of pixels."""

AHEAD_BLOCKS = 4 * BATCH_BLOCKS
AHEAD_BYTES = 2 * BATCH_BYTES
"""So much is read, at most, before a task asks for it."""

MOST_AWAY = 8
AWAY_BYTES = 64 * 2**20
"""So many tasks of a cluster's worker, for so many bytes, wait beside those in its
threads: enough for more chunks than are asked for at a time. One does, however much it
waits for."""

EAGERNESS = 4
"""How many chunks may be read ahead for each that was taken, where it is not known
which will be."""


def blocks_of(pixels: Pixels) -> tuple[int, ...]:
    """Give the shape of the blocks in which dask reads pixels.

    They are the chunks, unless these are many; then they are whole shards, or some
    chunks that lie together, of one shard if there are shards. There are at most
    `MOST_BLOCKS` of them.
    """
    shape, chunks = pixels.shape, tuple(max(1, chunk) for chunk in pixels.chunks)
    if prod(chunk_counts(shape, chunks)) <= MANY_CHUNKS:
        return chunks
    shards = shards_of(pixels)
    if shards is not None and _size(pixels, shards) <= BATCH_BYTES:
        blocks = shards
    else:
        room = chunk_counts(shards or shape, chunks)
        together = min(BATCH_BLOCKS, BLOCK_BYTES // _size(pixels, chunks))
        by = lying_together(room, together, evenly=shards is not None)
        blocks = tuple(map(mul, by, chunks))
    units = shards or chunks
    together = min(BATCH_BLOCKS, BATCH_BYTES // _size(pixels, units))
    if prod(chunk_counts(shape, blocks)) > MOST_BLOCKS:
        blocks = merged_chunks(shape, units, MOST_BLOCKS, together)
    return tuple(min(b, max(1, s)) for b, s in zip(blocks, shape, strict=True))


def to_dask(pixels: Pixels) -> da.Array:
    """Give pixels as a dask array of the same shape, dtype and axes; nothing is read.

    Its blocks are the chunks, or several of them where they are many (`blocks_of`).
    Those that a computation wants are read many at a time, whole or only the part that
    a slice asks for.

    Raises
    ------
    StoreError
        When it is computed and a read fails.
    """
    if isinstance(pixels, Cropped):  # blocks meet where the chunks of the whole do
        whole = to_dask(pixels.source)
        part: da.Array = whole[tuple(slice(*pair) for pair in pixels.box)]
        return part
    # A name of our own: dask would hash the whole object to make one.
    name = f"omezarr-{pixels.token}"
    _PIXELS[name] = pixels
    shape, blocks = pixels.shape, blocks_of(pixels)
    meta = np.empty((0,) * len(shape), pixels.dtype)
    array: da.Array
    if 0 in shape:
        array = da.from_array(np.empty(shape, pixels.dtype), name=name)
    else:
        as_stored = blocks == tuple(pixels.chunks)
        layer = ChunkLayer(name, pixels if as_stored else Merged(pixels, blocks))
        graph = HighLevelGraph.from_collections(name, layer)
        sizes = da.core.normalize_chunks(blocks, shape, dtype=pixels.dtype)
        array = da.Array(graph, name, sizes, meta=meta)
    return array


def pixels_of(array: da.Array) -> Pixels | None:
    """Give the pixels that an array of `to_dask` reads; None for any other array.

    A writer reads them with as many requests at once as it likes.
    """
    return _PIXELS.get(array.name)


def shards_of(pixels: Pixels) -> tuple[int, ...] | None:
    """Give the shape of the stored objects that hold several chunks, if they do."""
    shards: tuple[int, ...] | None = getattr(pixels, "shards", None)
    match pixels:
        case Cast():
            return shards_of(pixels.source)
        case Merged():
            shards = shards_of(pixels.source)
            cut = shards and any(map(mod, shards, pixels.chunks))
            return None if cut else shards
        case FixedAxes():
            shards = shards_of(pixels.source)
            return shards and tuple(shards[axis] for axis in pixels.kept)
    return shards


# The graph: a task for each block, and one for each batch of blocks that lie together.
# Blocks are the chunks of the pixels of the graph: those of the image, or merged ones.
#
# Dask runs as many tasks at a time as there are processors, which is far too few for
# chunks that are a round trip away. So the task of a batch only opens it, and the
# chunks that are taken from it let the requests for the others begin. That the chunks
# of a batch depend on one task makes dask go through an array batch by batch, whatever
# is done with the chunks; else it takes them in many orders, and no guess at the next
# ones would be right.


class ChunkLayer(Layer):
    """The tasks that read an array's chunks, made for those that are wanted.

    Before it is culled nobody has said which are wanted, and each is read by itself.
    """

    # Tuples are made for both old and new graphs; dask asks this to know whether it
    # has to look for the keys of other layers in them.
    has_legacy_tasks = False

    def __init__(
        self,
        name: str,
        pixels: Pixels,
        wanted: Iterable[Block] | None = None,
        annotations: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(annotations=annotations)
        self.name = name
        self.pixels = pixels
        self.wanted = None if wanted is None else tuple(sorted(wanted))

    def __repr__(self) -> str:
        return f"<ChunkLayer {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the tasks, which the other side makes for itself.
        return ChunkLayer, (self.name, self.pixels, self.wanted, self.annotations)

    def is_materialized(self) -> bool:
        """Say whether the tasks were made."""
        return "_tasks" in self.__dict__

    def get_output_keys(self) -> set[Any]:
        """Give the keys of the blocks."""
        return {(self.name, *block) for block in self._blocks()}

    def cull(
        self, keys: set[Any], all_hlg_keys: Collection[Any]
    ) -> tuple[Layer, dict[Any, set[Any]]]:
        """Give the layer of the wanted blocks alone; ``keys`` has those of others."""
        length = len(self.pixels.shape) + 1
        wanted = [
            key[1:]
            for key in keys
            if isinstance(key, tuple) and key[0] == self.name and len(key) == length
        ]
        culled = ChunkLayer(self.name, self.pixels, wanted, self.annotations)
        return culled, {key: culled.get_dependencies(key, ()) for key in culled}

    def get_dependencies(self, key: Any, all_hlg_keys: Collection[Any]) -> set[Any]:
        """Give the task of the batch that a block is taken from."""
        task = self._tasks[key]
        return {task[1]} if task[0] is getter else set()

    def __getitem__(self, key: Any) -> tuple[Any, ...]:
        return self._tasks[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, key: object) -> bool:
        return key in self._tasks

    def _blocks(self) -> Iterable[Block]:
        if self.wanted is not None:
            return self.wanted
        counts = chunk_counts(self.pixels.shape, self.pixels.chunks)
        return product(*map(range, counts))

    @cached_property
    def _tasks(self) -> dict[Any, tuple[Any, ...]]:
        tasks: dict[Any, tuple[Any, ...]] = {}
        if self.wanted is None:
            for block in self._blocks():
                key = slices(_box(block, self.pixels))
                tasks[(self.name, *block)] = (_read_one, self.pixels, key)
            return tasks
        reading = _ReadAhead(self.pixels, batches(self.wanted, self.pixels))
        for number, blocks in enumerate(reading.batches):
            # Named by what it holds, so that the tasks of several graphs can be mixed.
            digest = sha256(repr(blocks).encode()).hexdigest()[:16]
            opened = (f"{_OPENED}{self.name}", digest)
            tasks[opened] = (_open, Batch(self.pixels, blocks, reading, number))
            for block in blocks:
                # Dask's own getter: a slice that follows becomes part of its key, so
                # that no more of a chunk is kept than is used.
                key = slices(_box(block, self.pixels))
                tasks[(self.name, *block)] = (getter, opened, key)
        return tasks


def batches(wanted: Sequence[Block], pixels: Pixels) -> tuple[tuple[Block, ...], ...]:
    """Group blocks that lie together, filling the last axes first; no shard is cut."""
    if not wanted:
        return ()
    size = _size(pixels, pixels.chunks)
    most = max(1, min(BATCH_BLOCKS, BATCH_BYTES // size))
    groups: dict[Block, list[Block]] = {}
    shards = shards_of(pixels)
    if shards is not None:
        most = max(1, BATCH_BYTES // size)
        for block in wanted:
            corner = (start for start, _ in _box(block, pixels))
            shard = tuple(c // s for c, s in zip(corner, shards, strict=True))
            groups.setdefault(shard, []).append(block)
    else:
        # By their rank among the wanted, not by their place: these may be far apart.
        along = [sorted(set(numbers)) for numbers in zip(*wanted, strict=True)]
        ranks = [{number: rank for rank, number in enumerate(axis)} for axis in along]
        room, shape = most, list[int]()
        for axis in reversed(along):
            shape.insert(0, min(len(axis), room))
            room = max(1, room // shape[0])
        for block in wanted:
            ranked = (rank[number] for rank, number in zip(ranks, block, strict=True))
            cell = tuple(r // by for r, by in zip(ranked, shape, strict=True))
            groups.setdefault(cell, []).append(block)
    return tuple(
        tuple(groups[cell][begin : begin + most])
        for cell in sorted(groups)
        for begin in range(0, len(groups[cell]), most)
    )


def _box(block: Block, pixels: Pixels) -> Bounds:
    return chunk_box(block, pixels.chunks, pixels.shape)


def _size(pixels: Pixels, shape: Sequence[int]) -> int:
    """Give the bytes of an array of this shape, at least 1."""
    return max(1, prod(shape) * pixels.dtype.itemsize)


# What the tasks do.

_OPENED = "open-omezarr-"
"""How the names of the tasks that open a batch begin."""


def _read_one(pixels: Pixels, key: tuple[slice, ...]) -> np.ndarray:
    return pixels[key]


def _open(batch: Batch) -> Batch | _Chunks:
    """Read a batch where its blocks are then taken on the same worker, else show it.

    The workers of a cluster know nothing of each other's reads. There each batch is
    read whole by one of them, and dask computes where the pixels are. Of a merged block
    a task may want a part; it has chunks enough to be read by itself.
    """
    merged = isinstance(batch.pixels, Merged)
    if batch.reading is None and not merged and _on_a_cluster():
        return batch.read()
    return batch


def _on_a_cluster() -> bool:
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


class _Away:
    """The tasks of a worker that wait for pixels, so that others run meanwhile.

    A worker has as many threads as processors, and a block is a round trip away.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: list[int] = []

    def read(self, pixels: Pixels, box: Bounds) -> np.ndarray:
        """Read a box of a block, outside the worker's threads if there is room."""
        size = _size(pixels, shape_of(box))
        with self._lock:
            room = len(self._held) < MOST_AWAY and sum(self._held) + size <= AWAY_BYTES
            is_away = (room or not self._held) and _leave()
            if is_away:
                self._held.append(size)
        try:
            return pixels[slices(box)]
        finally:
            if is_away:
                with self._lock:
                    self._held.remove(size)
                sys.modules["distributed"].rejoin()


def _leave() -> bool:
    """Give this thread's place to another task; False if it is no task of a worker."""
    try:
        sys.modules["distributed"].secede()
    except AttributeError:  # of a thread that a task, or a program, has started itself
        return False
    return True


_AWAY = _Away()


class _Taking(ABC):
    """Something that `getter` indexes with a key of one block, or a part of it."""

    pixels: Pixels

    def __getitem__(self, key: Any) -> np.ndarray:
        selection = bounded(key, self.pixels.shape)
        if 0 in shape_of(selection.bounds):
            return self.pixels[key]
        return selection.taken_from(self.take(selection.bounds))

    @abstractmethod
    def take(self, box: Bounds) -> np.ndarray:
        """Give the pixels of a box that lies in one block."""


def _part(found: Found, box: Bounds) -> np.ndarray:
    around, whole = found
    part = whole[slices_within(box, around)]
    # A view would keep all that was read in memory.
    return part if 2 * part.nbytes > whole.nbytes else part.copy()


class Batch(_Taking):
    """Blocks that are read together; pickled, it knows nothing of the other batches."""

    def __init__(
        self,
        pixels: Pixels,
        blocks: tuple[Block, ...],
        reading: _ReadAhead | None = None,
        number: int = 0,
    ) -> None:
        self.pixels = pixels
        self.blocks = blocks
        self.reading = reading
        self.number = number

    def __repr__(self) -> str:
        return f"<Batch of {len(self.blocks)} blocks of {self.pixels!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Batch, (self.pixels, self.blocks)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return "napari_omezarr.Batch", self.pixels.token, self.blocks

    def take(self, box: Bounds) -> np.ndarray:
        """Give the pixels of a box of a block, and let the reads of others begin."""
        if self.reading is None:
            if _on_a_cluster():
                return _AWAY.read(self.pixels, box)
            return self.pixels[slices(box)]
        return self.reading.take(self.number, box)

    def read(self) -> _Chunks:
        """Read all of its blocks at once."""
        found: dict[Block, Found] = {}

        async def read(piece: Sequence[Block]) -> None:
            boxes = {block: _box(block, self.pixels) for block in piece}
            found.update(await _read(self.pixels, boxes))

        work = (partial(read, piece) for piece in pieces(self.blocks, self.pixels))
        run(bounded_gather(work, self.pixels.concurrency))
        return _Chunks(self.pixels, found)


class _Chunks(_Taking):
    """The pixels of blocks, on the worker of a cluster that read them."""

    def __init__(self, pixels: Pixels, found: dict[Block, Found]) -> None:
        self.pixels = pixels
        self.found = found

    def __sizeof__(self) -> int:
        # What the worker counts as its memory.
        return sum(chunk.nbytes for _, chunk in self.found.values())

    def take(self, box: Bounds) -> np.ndarray:
        block = chunk_index(box, self.pixels.chunks)
        return _part(self.found[block], box)


def pieces(
    blocks: Iterable[Block], pixels: Pixels, wanted: Boxes | None = None
) -> Iterator[list[Block]]:
    """Cut blocks into the boxes that are read in one go: single chunks, but of shards.

    The chunks of a shard that lie side by side need fewer requests together, where all
    of them is wanted.
    """
    left = sorted(blocks)
    if shards_of(pixels) is None:
        yield from ([block] for block in left)
        return
    whole = {b for b in left if _is_wanted_whole(b, pixels, wanted or {})}
    yield from ([block] for block in left if block not in whole)
    rest = whole
    while rest:
        box = [(number, number + 1) for number in min(rest)]
        for axis in reversed(range(len(box))):
            while True:
                first, stop = box[axis]
                edge = [*box[:axis], (stop, stop + 1), *box[axis + 1 :]]
                if not rest.issuperset(product(*(range(*along) for along in edge))):
                    break
                box[axis] = (first, stop + 1)
        piece = list(product(*(range(*along) for along in box)))
        rest.difference_update(piece)
        yield piece


def _is_wanted_whole(block: Block, pixels: Pixels, wanted: Boxes) -> bool:
    # Of a chunk all is read; only of a merged one a part can be.
    return not isinstance(pixels, Merged) or wanted.get(block) in {
        None,
        _box(block, pixels),
    }


async def _read(pixels: Pixels, boxes: Boxes) -> dict[Block, Found]:
    """Read a box of each block of a piece; each has its own memory."""
    around = hull(boxes.values())
    found = await pixels.read(around)
    if len(boxes) == 1:
        return dict.fromkeys(boxes, (around, found))
    return {
        block: (box, found[slices_within(box, around)].copy())
        for block, box in boxes.items()
    }


class _ReadAhead:
    """The reads of the batches of one graph, which its tasks share in all threads.

    It lives as long as the graph; what was begun and not taken ends with it.
    """

    def __init__(self, pixels: Pixels, batches: tuple[tuple[Block, ...], ...]) -> None:
        self.pixels = pixels
        self.batches = batches
        size = _size(pixels, pixels.chunks)
        self._most = min(AHEAD_BLOCKS, AHEAD_BYTES // size)
        # So many are begun together, as each time the I/O loop has to be woken up.
        self._together = max(1, min(pixels.concurrency, self._most) // 8)
        self._lock = Lock()
        self._begun: dict[Block, Read] = {}
        self._under_way: set[Read] = set()
        # Neither begun nor taken, and how these are read, the next at the end.
        self._left = [set(blocks) for blocks in batches]
        self._pieces: dict[int, list[list[Block]]] = {}
        self._taken = 0
        # What the computation that runs will take of which batches, in its order.
        self._wanted: dict[int, Boxes] = {}
        # Of who computes: the threads of dask 2026.1 know nothing of it.
        self._context: Context | None = None
        finalize(self, _end, self._begun).atexit = False
        _READINGS.add(self)
        _STARTING.register()

    def expect(self, wanted: dict[int, Boxes]) -> None:
        """Take note of what will be taken of the blocks of batches, in their order."""
        with self._lock:
            self._wanted, self._context = wanted, context_here()
            for number in wanted:
                self._left[number].clear()
            self._begin_again()

    def take(self, number: int, box: Bounds) -> np.ndarray:
        """Give the pixels of a box of a block, and let the reads of others begin."""
        block = chunk_index(box, self.pixels.chunks)
        with self._lock:
            begun = self._begun.pop(block, None)
            own: Future[np.ndarray] | None = None
            if begun is None:
                if block not in self._left[number]:
                    self._begin_again()
                self._left[number].discard(block)
                # Before those that nobody waits for.
                own = self._begun_for(start, self.pixels.read(box))
            self._taken += 1
            self._read_ahead(number)
        try:
            if begun is not None:
                return self._begun_before(begun, block, box)
            assert own is not None
            return awaited(own)
        except BaseException:
            # Nobody may come for the others, and the error may hold this for long.
            self._give_up()
            raise

    def _begun_before(self, read: Read, block: Block, box: Bounds) -> np.ndarray:
        """Wait for a read, which goes on without us if others wait for it too."""
        shared = shards_of(self.pixels) is not None
        try:
            found = _found(read, shared=shared).pop(block)
        except CancelledError:
            if not (shared and read.cancelled()):
                raise
            # Given up because of another block, by a task that failed.
            return self.pixels[slices(box)]
        around, _ = found
        if overlap(box, around) == box:
            return _part(found, box)
        # Another computation of the same graph had said how much it takes.
        return self.pixels[slices(box)]

    def _begin_again(self) -> None:
        """Let all be read once more: a graph was kept, and is computed again."""
        self._taken = 0
        self._pieces.clear()
        for number, blocks in enumerate(self.batches):
            again = set(self._wanted.get(number, blocks)).difference(self._begun)
            self._left[number] |= again

    def _give_up(self) -> None:
        with self._lock:
            self._pieces.clear()
            for blocks, left in zip(self.batches, self._left, strict=True):
                left.update(block for block in blocks if block in self._begun)
            _end(self._begun)

    def _read_ahead(self, number: int) -> None:
        """Begin the next reads, in the batch that is taken from and those that follow.

        Where nobody knows what will be taken, only as many as what was taken vouches
        for: a task of a batch can be computed by itself. How much is wanted of a merged
        block nothing vouches for.
        """
        most, numbers = self._most, [number, *self._wanted]
        if number not in self._wanted:
            vouched = EAGERNESS * self._taken if self._taken > 1 else 0
            vouched = 0 if isinstance(self.pixels, Merged) else vouched
            most, numbers = min(most, vouched), [number]
        room = most - len(self._begun)
        free = self.pixels.concurrency - len(self._under_way)
        if min(free, room) < self._together:
            return
        begun: list[Boxes] = []
        for piece in islice(self._next(numbers), free):
            begun.append(piece)
            room -= len(piece)
            if room <= 0:
                break
        if not begun:
            return
        works = [_read(self.pixels, piece) for piece in begun]
        reads = self._begun_for(start_together, works)
        for piece, read in zip(begun, reads, strict=True):
            self._begun.update(dict.fromkeys(piece, read))
            self._under_way.add(read)
            read.add_done_callback(self._under_way.discard)

    def _begun_for(self, begin: Callable[[W], R], work: W) -> R:
        """Begin reads for whoever computes: what they note is noted there."""
        context = copy_context() if self._context is None else self._context.copy()
        return context.run(begin, work)

    def _next(self, numbers: Iterable[int]) -> Iterator[Boxes]:
        """Cut what is left of some batches into pieces, which are then begun."""
        for number in dict.fromkeys(numbers):
            left, wanted = self._left[number], self._wanted.get(number, {})
            if left and number not in self._pieces:
                self._pieces[number] = list(pieces(left, self.pixels, wanted))
            while left:
                # What was taken by itself meanwhile is not read again.
                piece = left.intersection(self._pieces[number].pop())
                if piece:
                    left -= piece
                    yield {
                        block: wanted.get(block) or _box(block, self.pixels)
                        for block in sorted(piece)
                    }


def _found(read: Read, *, shared: bool) -> dict[Block, Found]:
    return run(_shared(read)) if shared else awaited(read)


async def _shared(read: Read) -> dict[Block, Found]:
    return await asyncio.shield(asyncio.wrap_future(read))


def _end(begun: dict[Block, Read]) -> None:
    """Cancel what nobody has taken."""
    while begun:
        _, read = begun.popitem()
        read.cancel()


# What a computation will take: a graph that was culled once can be computed in part.

_READINGS: WeakSet[_ReadAhead] = WeakSet()


def _started(graph: Mapping[Any, Any], state: Mapping[str, Any]) -> None:
    """Tell the batches, as a computation on this machine starts, what it takes.

    Dask forgets callbacks where threads compute at the same time. Then reading ahead
    begins more slowly.
    """
    if not _READINGS:
        return
    found: dict[_ReadAhead, dict[int, Boxes]] = {}
    # The one that is next stands at the end.
    for key in reversed(state["ready"]):
        if not (isinstance(key, tuple) and str(key[0]).startswith(_OPENED)):
            continue
        for batch in getattr(graph[key], "args", ()):
            if isinstance(batch, Batch) and batch.reading is not None:
                tasks = [graph[dependent] for dependent in state["dependents"][key]]
                taken = _taken(tasks, key, batch.pixels)
                if taken is not None:
                    found.setdefault(batch.reading, {})[batch.number] = taken
    for reading, wanted in found.items():
        reading.expect(wanted)


def _taken(tasks: Sequence[Any], opened: Any, pixels: Pixels) -> Boxes | None:
    """Find what tasks take of the blocks of a batch; None if one is not understood."""
    taken: Boxes = {}
    understood = 0
    for task in tasks:
        # Dask fuses tasks into one that holds them.
        nodes, keys = [task], []
        while nodes:
            node = nodes.pop()
            args = getattr(node, "args", ())
            if isinstance(node, dict):
                nodes += node.values()
            elif args and getattr(args[0], "key", None) == opened:
                keys.append(getattr(args[1], "value", args[1]))
            else:
                nodes += [
                    arg for arg in args if isinstance(arg, dict) or hasattr(arg, "args")
                ]
        understood += bool(keys)
        for box in (bounded(key, pixels.shape).bounds for key in keys):
            if 0 not in shape_of(box):
                block = chunk_index(box, pixels.chunks)
                taken[block] = hull([box, taken.get(block, box)])
    return taken if understood == len(tasks) else None


_STARTING = Callback(start_state=_started)
