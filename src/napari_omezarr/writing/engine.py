"""Work through a plan: blocks side by side, bounded in number, each noted when done."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
import zlib
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import zarr
from zarr.storage import MemoryStore, StorePath

from napari_omezarr._io_loop import (
    HeedingPool,
    carry_out,
    end_requests,
    hand_on,
    is_ended,
)
from napari_omezarr.atomic_file import system_library
from napari_omezarr.errors import FOREIGN_ERRORS, DiskFullError, WriteCancelledError
from napari_omezarr.location import ARRAY_DOCUMENT
from napari_omezarr.plain_text import by_times, bytes_text
from napari_omezarr.pyramid import (
    ArrayPixels,
    array_metadata,
    chunk_index,
    coarser_box,
    is_whole,
    nth_box,
    sample_number,
    shape_of,
    slices,
    slices_within,
    split_box,
    whole_box,
)
from napari_omezarr.store import run

from .downsample import downsample
from .encode import encoding_of
from .hierarchy import DONE, FolderHierarchy, explained
from .journal import BlockNote
from .plan import HELD, block_bytes, held_bytes, level_document, width
from .source import ReadOnce, is_at_hand, known, reading_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from threading import Event

    from napari_omezarr.pyramid import Bounds

    from .chunking import LevelPlan, WritePass
    from .encode import Encoding
    from .hierarchy import Hierarchy
    from .journal import Checks, Journal, Key, Ranges
    from .options import Method, Verify
    from .plan import ImagePlan, Plan
    from .source import PixelSource

WHOLE = -1
"""Instead of an object's number in a block: all of them."""
_GLANCE = 0.25
"""Seconds after which it is noticed at the latest that a save is cancelled."""
_PARTING = 1.0
"""Seconds that blocks have to end by themselves when a save is cancelled."""
_SMALL = 2**20
"""Bytes of a block that is encoded where it was read, and for which no memory is given
back: to hand it to other threads takes longer."""
_SAMPLED = 8
"""About so many blocks of each pass are verified."""

# An array of a hierarchy whose document is known, so that nothing is asked.


@dataclass(frozen=True)
class StoredArray:
    """An array of a hierarchy; of a ``fresh`` one nothing is stored yet."""

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
        if self._encoding is not None:
            return self._encoding.unit
        array = self.opened()
        return array.shards or array.chunks

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type, in native byte order."""
        return np.dtype(self.opened().dtype).newbyteorder("=")

    @property
    def is_at_hand(self) -> bool:
        """Whether it lies on this computer."""
        return self.hierarchy.folder is not None

    @property
    def places(self) -> frozenset[str]:
        """The address of the array."""
        return frozenset({f"{self.address}/{self.path}"})

    @property
    def document_key(self) -> str:
        """The key of its document."""
        return f"{self.path}/{ARRAY_DOCUMENT[self.document['zarr_format']]}"

    def opened(self) -> zarr.AsyncArray[Any]:
        """Make the zarr array."""
        return zarr.AsyncArray(_understood(self._text), self.hierarchy.node(self.path))

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read a box."""
        name = f"{self.address}/{self.path}"
        with explained(self.address):
            if isinstance(self.hierarchy, FolderHierarchy):
                get = partial(self.hierarchy.content, below=self.path)
                if (
                    box := _nowhere(self._text).read_here(bounds, get, name)
                ) is not None:
                    return box
            # Made anew: the index of a shard that is being written is not kept.
            pixels = ArrayPixels(self.opened(), name, self.hierarchy.concurrency)
            pixels.may_be_empty = True  # what is all fill value is not written
            return pixels[slices(bounds)]

    def write(self, bounds: Bounds, values: np.ndarray) -> None:
        """Write a box, and wait until it is there; pixels of 0 may not be stored."""
        settled(self.begin(bounds, values), self.address)

    def begin(
        self,
        bounds: Bounds,
        values: np.ndarray,
        encoders: ThreadPoolExecutor | None = None,
    ) -> list[Future[None]]:
        """Begin to write a box; `values` must not change until that has ended.

        There is a future for each object, which ends when it is stored. Without
        encoders each is encoded in the calling thread, and a failure is raised here.
        """
        encoding = self._encoding
        if encoding is None or not is_whole(bounds, encoding.unit, self.shape):
            return [_begun(partial(self._write_through_zarr, bounds, values), encoders)]
        begun: list[Future[None]] = []
        try:
            for box in split_box(bounds, encoding.unit):
                deposit = partial(self._deposit, encoding, box, bounds, values)
                begun.append(_begun(deposit, encoders))
        except BaseException:
            wait(begun)
            raise
        return begun

    @cached_property
    def _text(self) -> str:
        return json.dumps(self.document)

    @cached_property
    def _encoding(self) -> Encoding | None:
        if self.fresh:
            return encoding_of(self.document)
        _understood(self._text)  # it is of others, and may be none
        try:
            return encoding_of(self.document)
        except FOREIGN_ERRORS:
            return None  # zarr knows what stands there if nothing is said

    def _deposit(
        self, encoding: Encoding, box: Bounds, bounds: Bounds, values: np.ndarray
    ) -> Future[None]:
        body = encoding.encode(values[slices_within(box, bounds)])
        key = f"{self.path}/{encoding.key(box)}"
        if body is not None:
            return self.hierarchy.begin_put(key, body)
        return DONE if self.fresh else self.hierarchy.begin_delete(key)

    def _write_through_zarr(self, bounds: Bounds, values: np.ndarray) -> Future[None]:
        with explained(self.address), _storing_at(self.hierarchy.concurrency):
            run(self.opened().setitem(slices(bounds), values))
        return DONE


@lru_cache
def _understood(document: str) -> Any:
    """Let zarr parse a document; images that are converted in a row have the same."""
    return array_metadata(json.loads(document))


@lru_cache
def _nowhere(document: str) -> ArrayPixels:
    """Give pixels that decode what is brought to them, alike for equal documents."""
    array = zarr.AsyncArray(_understood(document), StorePath(MemoryStore()))
    return ArrayPixels(array, "", 1)


# How many chunks zarr stores at a time, where its own pipeline encodes them.

_KEY = "async.concurrency"
_lock = Lock()
_saves: list[int] = []
_outer: list[Any] = []


@contextmanager
def _storing_at(concurrency: int) -> Iterator[None]:
    """Let zarr store ``concurrency`` chunks at a time inside the block.

    zarr has one setting for the whole process, which every call looks up anew.
    While several saves overlap, the highest holds; after the last one the
    setting is what it was before the first. (A ``with zarr.config.set`` in each
    thread would end with whichever value was restored last.)
    """
    with _lock:
        if not _saves:
            _outer.append(zarr.config.get(_KEY))
        _saves.append(concurrency)
        zarr.config.set({_KEY: max(*_saves, *_outer)})
    try:
        yield
    finally:
        with _lock:
            _saves.remove(concurrency)
            zarr.config.set({_KEY: max(*_saves, *_outer) if _saves else _outer.pop()})


def settled(begun: Iterable[Future[None]], address: str) -> None:
    """Wait until all is stored, or has failed, and raise the first failure."""
    failures = [error for each in begun if (error := _failure(each))]
    if failures:
        with explained(address):
            raise failures[0]


def _failure(begun: Future[None]) -> BaseException | None:
    try:
        return begun.exception()
    except CancelledError as error:
        return error


def _begun(
    deposit: Callable[[], Future[None]], encoders: ThreadPoolExecutor | None
) -> Future[None]:
    """Encode an object and begin to store it; the future ends when it is stored."""
    if encoders is None:
        return deposit()
    encoding = encoders.submit(deposit)
    stored: Future[None] = Future()

    def ended(part: Future[Any]) -> None:
        error = CancelledError() if part.cancelled() else part.exception()
        if error is not None:
            stored.set_exception(error)
        elif part is encoding:
            part.result().add_done_callback(ended)
        else:
            stored.set_result(None)

    encoding.add_done_callback(ended)
    return stored


# One block: read it, write it, make it coarser, write that; all in memory.
#
# What a worker needs for it is a value that can be sent to another process.


@dataclass(frozen=True, slots=True)
class BlockTask:
    """What all blocks of one pass have in common; can be sent to another process.

    ``outputs`` are the levels that are written, finer ones first, ``steps`` by how
    much each is coarser than the one before (the first: than the source), and
    ``first`` is the number of the first one. ``channel_axis`` is the source's.
    """

    source: PixelSource
    outputs: tuple[StoredArray, ...]
    steps: tuple[tuple[int, ...], ...]
    method: Method
    first: int
    channel_axis: int | None = None
    accept_losses: bool = False
    accept_refused: bool = False
    is_done_here: bool = False
    """Whether its only object is sooner written than handed to another thread."""


def read_block(task: BlockTask, bounds: Bounds) -> np.ndarray:
    """Read a block of a pass; raises a `LossError` at what nobody has agreed to."""
    with known_for(task):
        return task.source.read(bounds)


def known_for(task: BlockTask) -> AbstractContextManager[None]:
    """Refuse in a block what nobody has agreed to."""
    return known(accept_losses=task.accept_losses, accept_refused=task.accept_refused)


def write_block(
    task: BlockTask,
    bounds: Bounds,
    *,
    check: Verify,
    begin: Callable[[], None] | None = None,
    encoders: ThreadPoolExecutor | None = None,
    stored: Callable[[int], None] | None = None,
) -> BlockNote:
    """Write a block, in pixels of what is read, at all levels of a pass.

    Objects are on their way to the store while the next level is made. Checksums are
    of nothing, of one object of each level, or of everything. ``begin`` is asked before
    anything is written; it raises if the block is not wanted any more. ``stored`` is
    told the bytes of each object of the finest level, raw, once it is there; in any
    thread.
    """
    block = read_block(task, bounds)
    if begin is not None:
        begin()
    # Only the source's own pixels say what a window of contrast has to reach.
    ranges = () if task.first else extremes(block, bounds, task.channel_axis)
    checks: list[tuple[int, int, int]] = []
    begun: list[Future[None]] = []
    try:
        for number, (output, step) in enumerate(
            zip(task.outputs, task.steps, strict=True), task.first
        ):
            bounds = coarser_box(bounds, step, output.shape)
            first = [start for start, _ in bounds]
            block = downsample(block, step, task.method, first)
            # A level can be shorter than its cells say (an older image's, for labels).
            block = block[slices(whole_box(shape_of(bounds)))]
            if block.size == 0:
                break
            others = encoders if block.nbytes > _SMALL else None
            objects = output.begin(bounds, block, others)
            begun += objects
            if stored is not None and number == 0:
                for each in objects:
                    share = partial(stored, block.nbytes // len(objects))
                    each.add_done_callback(partial(_said, share))
            if check != "none":
                part = WHOLE if check == "all" else sample_number(bounds, output.chunks)
                box = checked_box(bounds, output.chunks, part)
                checks.append(
                    (number, part, checksum(block[slices_within(box, bounds)]))
                )
    finally:
        settled(begun, task.outputs[0].address)
    return BlockNote(tuple(checks), ranges)


def _said(share: Callable[[], None], _: Future[None]) -> None:
    share()


def extremes(block: np.ndarray, bounds: Bounds, axis: int | None) -> Ranges:
    """Give the lowest and the highest finite value of each channel of a block."""
    found: list[tuple[int, float, float]] = []
    parts = (block,) if axis is None else np.moveaxis(block, axis, 0)
    first = 0 if axis is None else bounds[axis][0]
    for channel, part in enumerate(parts, first):
        low, high = part.min(), part.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = part[np.isfinite(part)]
            if not finite.size:
                continue
            low, high = finite.min(), finite.max()
        found.append((channel, low.item(), high.item()))
    return tuple(found)


def checked_box(bounds: Bounds, unit: Sequence[int], part: int) -> Bounds:
    """Give the box that a checksum is of: an object of a block, or all of it."""
    return bounds if part == WHOLE else nth_box(bounds, unit, part)


def checksum(values: np.ndarray) -> int:
    """Give the CRC-32 of values in C order, little-endian; any NaN is as any other."""
    plain = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    if plain.dtype.kind == "f" and (absent := np.isnan(plain)).any():
        # Which NaN it was is lost where the chunk is all NaN, and not stored.
        plain[absent] = np.nan
    return zlib.crc32(plain.view(np.uint8).ravel().data)


# All blocks of a plan, side by side, bounded in number, each noted when done.


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a save has come.

    ``done`` and ``total`` are blocks; ``read_bytes`` what has come from the sources to
    the finest level, raw, object by object; ``total_bytes`` what there is of it.
    """

    done: int
    total: int
    read_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Running:
    """What a run tells and obeys; callables run in the thread that called the run."""

    progress: Callable[[Progress], None] | None = None
    cancel: Event | None = None
    """Set it to stop: requests end at once, and what is stored by then is noted."""
    verify: Verify = "sample"
    stored: Callable[[ImagePlan, WritePass, Bounds, Checks], None] | None = None
    """Is given each block that is stored; what it raises ends the run."""


class Executor(Protocol):
    """Where blocks are written: threads of this process, or a cluster."""

    def width(self, image: ImagePlan, write_pass: WritePass) -> int:
        """Give how many blocks may be on their way at a time."""
        ...

    def start(self, task: BlockTask) -> Any:
        """Make a pass known; the result is handed back with each block."""
        ...

    def submit(
        self, started: Any, bounds: Bounds, *, check: Verify
    ) -> Future[BlockNote]:
        """Begin a block; what it reads is left to itself if the future is cancelled.

        Nothing is written then. A block that is being written cannot be cancelled.
        """
        ...

    def stop(self) -> None:
        """Let no block go on from reading to writing any more."""
        ...

    @property
    def moved(self) -> int:
        """How many bytes of the finest levels are stored, raw, as far as it knows."""
        ...

    @property
    def reads_here(self) -> bool:
        """Whether all blocks are read in this process, and can share what they read."""
        ...

    def close(self) -> None:
        """Wait for what is begun, and end."""
        ...


class Threads:
    """Blocks in threads of this process, their objects encoded on all processors."""

    reads_here = True

    def __init__(self, memory: int, workers: int | None = None) -> None:
        processors = os.cpu_count() or 1
        self.most = workers or processors + 2
        self.memory = memory
        self._pool = reading_pool(self.most, "omezarr-write")
        self._encoders = HeedingPool(processors, "omezarr-encode")
        self._counting = Lock()
        self._stopped = False
        self.moved = 0

    def width(self, image: ImagePlan, write_pass: WritePass) -> int:
        """Give as many blocks as fit into the memory, and a processor each."""
        return min(self.most, width(image, write_pass, self.memory))

    def start(self, task: BlockTask) -> BlockTask:
        """Need nothing."""
        return task

    def submit(
        self, started: BlockTask, bounds: Bounds, *, check: Verify
    ) -> Future[BlockNote]:
        """Begin a block; it is running once it is being written."""
        block: Future[BlockNote] = Future()

        def begin() -> None:
            if self._stopped or not block.set_running_or_notify_cancel():
                raise CancelledError

        write = partial(
            write_block,
            started,
            bounds,
            check=check,
            begin=begin,
            encoders=self._encoders,
            stored=self._move,
        )
        if started.is_done_here:
            work: Future[BlockNote] = Future()
            carry_out(work, write)
        else:
            work = self._pool.submit(write)
        work.add_done_callback(partial(hand_on, block))
        return block

    def stop(self) -> None:
        """Let no block be written that is not yet."""
        self._stopped = True

    def _move(self, count: int) -> None:
        with self._counting:
            self.moved += count

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown()
        self._encoders.shutdown()


def run_plan(
    plan: Plan,
    staged: Hierarchy,
    journal: Journal,
    executor: Executor,
    running: Running,
) -> None:
    """Write all pixels of a plan, but what the journal says is done.

    Blocks of a pass are independent: no two write the same chunk or shard. A pass
    begins when the one before, which it may read, has ended. The first failure is
    raised once the blocks in work have ended, and those that were stored are noted.
    """
    meter = _Meter(plan, journal, running, executor)
    for number, turn, image, write_pass in plan.all_passes():
        task = task_of(plan, staged, image, write_pass, fresh=journal.is_new)
        once = None
        if write_pass.region and executor.reads_here:
            once = _once(task.source, plan, journal, (number, turn))
            task = replace(task, source=once)
        todo = (
            ((number, turn, index), bounds)
            for index, bounds in enumerate(write_pass.blocks())
            if (number, turn, index) not in journal.done
        )
        started = executor.start(task)
        room = executor.width(image, write_pass)
        chosen = checked_blocks(write_pass, running.verify)
        pending: dict[Future[BlockNote], tuple[Key, Bounds]] = {}
        try:
            for key, bounds in todo:
                check = chosen(key[2])
                _stop_if_asked(running)
                pending[executor.submit(started, bounds, check=check)] = key, bounds
                if len(pending) >= room:
                    _collect(pending, journal, meter, (image, write_pass), running)
            while pending:
                _collect(pending, journal, meter, (image, write_pass), running)
        except KeyboardInterrupt:
            end_requests()
            raise
        finally:
            _settle(pending, journal, executor)
            if once is not None:
                once.close()


def _once(
    source: PixelSource, plan: Plan, journal: Journal, where: tuple[int, int]
) -> ReadOnce:
    """Give a source whose chunks are read once for all blocks of a pass to come.

    Raises
    ------
    DiskFullError
        There is less room than will be needed for what is kept meanwhile.
    """
    number, turn = where
    image = plan.images[number]
    write_pass = image.passes[turn]
    numbers = {key[2] for key in journal.done if key[:2] == where}
    done = [
        chunk_index(bounds, write_pass.block)
        for index, bounds in enumerate(write_pass.blocks() if numbers else ())
        if index in numbers
    ]
    size = held_bytes(image, write_pass)
    folder = journal.path.parent if size > plan.options.memory // HELD else None
    if folder is not None and shutil.disk_usage(folder).free < size:
        raise DiskFullError(
            f"{bytes_text(size)} of room are needed in {folder} while this is saved, "
            "as it is stored in other chunks than it is read in.",
            action=f"Make room, or choose chunks like {by_times(source.chunks)}.",
        )
    return ReadOnce(source, write_pass.block, done, folder)


def task_of(
    plan: Plan,
    staged: Hierarchy,
    image: ImagePlan,
    write_pass: WritePass,
    *,
    fresh: bool = False,
) -> BlockTask:
    """Give what the blocks of a pass have in common."""
    levels = image.written_in(write_pass)
    source: Any = image.spec.source
    if write_pass.first > 0 and image.kept:
        source = image.kept[write_pass.first - 1].source
    elif write_pass.first > 0:
        source = stored_level(plan, staged, image, image.levels[write_pass.first - 1])
    return BlockTask(
        source=source,
        outputs=tuple(
            stored_level(plan, staged, image, level, fresh=fresh) for level in levels
        ),
        steps=tuple(level.step for level in levels),
        method=image.method,
        first=write_pass.first,
        channel_axis=image.spec.channel_axis,
        accept_losses=plan.options.accept_losses,
        accept_refused=plan.options.accept_refused,
        is_done_here=staged.folder is not None
        and levels[0].objects == 1
        and block_bytes(image, write_pass) <= _SMALL
        and is_at_hand(source),
    )


def stored_level(
    plan: Plan,
    staged: Hierarchy,
    image: ImagePlan,
    level: LevelPlan,
    *,
    fresh: bool = False,
) -> StoredArray:
    """Give the array of a level, as it will be or as it was written."""
    document = level_document(plan, image, level)
    return StoredArray(staged, image.array_path(level), document, fresh)


def checked_blocks(write_pass: WritePass, verify: Verify) -> Callable[[int], Verify]:
    """Decide what is verified of which blocks: a sample is spread evenly over them."""
    if verify != "sample":
        return lambda _: verify
    every = max(1, write_pass.count // _SAMPLED)
    return lambda index: "none" if index % every else "sample"


def _collect(
    pending: dict[Future[BlockNote], tuple[Key, Bounds]],
    journal: Journal,
    meter: _Meter,
    where: tuple[ImagePlan, WritePass],
    running: Running,
) -> None:
    """Wait for a block, note it, and say so."""
    finished: set[Future[BlockNote]] = set()
    while not finished:
        _stop_if_asked(running)
        finished, _ = wait(pending, _GLANCE, return_when=FIRST_COMPLETED)
        if not finished:
            meter.glance()
    if any(_box_bytes(pending[each][1], where[0]) > _SMALL for each in finished):
        _give_back()
    for future in finished:
        key, bounds = pending.pop(future)
        journal.add(key, future.result())
        meter.add(key, bounds, where[0])
        if running.stored is not None:
            running.stored(*where, bounds, future.result().checks)


def _give_back() -> None:
    """Let the C library give memory back that it keeps for each thread (glibc)."""
    library = system_library() if sys.platform == "linux" else None
    if library is not None and hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def _settle(
    pending: dict[Future[BlockNote], tuple[Key, Bounds]],
    journal: Journal,
    executor: Executor,
) -> None:
    """Note the blocks that still got through after a failure or a cancel.

    Nobody who has cancelled waits for somebody's code: what is still read then ends
    whenever it does, and nothing of it is written.
    """
    waiting, asked = set(pending), math.inf
    while waiting:
        if asked == math.inf and is_ended():
            asked = time.monotonic()
            executor.stop()
        if time.monotonic() - asked > _PARTING:
            waiting = {block for block in waiting if not block.cancel()}
        waiting = wait(waiting, _GLANCE).not_done
    for block, (key, _) in pending.items():
        if not block.cancelled() and block.exception() is None:
            journal.add(key, block.result())


def _stop_if_asked(running: Running) -> None:
    if running.cancel is not None and running.cancel.is_set():
        end_requests()
        raise WriteCancelledError(
            "Saving was cancelled.",
            action="Resume it, or remove what is there.",
            option="unfinished",
        )
    if is_ended():
        raise CancelledError


class _Meter:
    """Counts blocks and bytes, and tells them."""

    def __init__(
        self, plan: Plan, journal: Journal, running: Running, executor: Executor
    ) -> None:
        self._tell = running.progress
        self._executor = executor
        self._total = plan.blocks
        self._total_bytes = sum(
            _box_bytes(whole_box(image.levels[0].shape), image)
            for image in plan.images
            if image.passes
        )
        self._done = len(journal.done)
        self._bytes = sum(_resumed_bytes(plan, journal))
        self._before = self._bytes - executor.moved
        self._told = self._bytes

    def add(self, key: Key, bounds: Bounds, image: ImagePlan) -> None:
        """Count a block."""
        self._done += 1
        if key[1] == 0:
            self._bytes += _box_bytes(bounds, image)
        self._say(max(self._told, self._bytes))

    def glance(self) -> None:
        """Tell what has been stored of blocks that are still in work."""
        moved = min(self._before + self._executor.moved, self._total_bytes)
        if moved > self._told:
            self._say(moved)

    def _say(self, moved: int) -> None:
        self._told = moved
        if self._tell is not None:
            self._tell(Progress(self._done, self._total, moved, self._total_bytes))


def _resumed_bytes(plan: Plan, journal: Journal) -> Iterator[int]:
    for key, image, _, bounds in plan.all_blocks():
        if key[1] == 0 and key in journal.done:
            yield _box_bytes(bounds, image)


def _box_bytes(bounds: Bounds, image: ImagePlan) -> int:
    return math.prod(shape_of(bounds)) * image.dtype.itemsize
