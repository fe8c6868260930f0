"""Work through a plan: blocks side by side, bounded in number, each noted when done."""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from napari_omezarr.errors import WriteCancelledError

from .plan import level_document, width
from .stored import StoredArray
from .work import Work, write_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event

    from napari_omezarr.pyramid.boxes import Bounds

    from .journal import Checks, Journal, Key
    from .options import Verify
    from .plan import ImagePlan, Plan
    from .pyramid_plan import Level, Pass
    from .target import Hierarchy

_GLANCE = 0.25
"""Seconds after which a wish to cancel is noticed at the latest."""
_SAMPLED = 8
"""About so many blocks of each pass are verified."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a save has come.

    ``done`` and ``total`` are blocks; ``read_bytes`` what has been read of the
    sources, raw; ``total_bytes`` what there is to read.
    """

    done: int
    total: int
    read_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Running:
    """What a run tells and obeys.

    Parameters
    ----------
    progress : callable or None
        Is given a `Progress` after each block, in the thread that called the run.
    cancel : Event or None
        Set it to stop; blocks in work are finished and noted.
    verify : {"sample", "all", "none"}
        Of how many blocks checksums are kept.
    stored : callable or None
        Is given each block that is stored, in the thread that called the run: its
        image, pass, bounds and checksums. What it raises ends the run.
    """

    progress: Callable[[Progress], None] | None = None
    cancel: Event | None = None
    verify: Verify = "sample"
    stored: Callable[[ImagePlan, Pass, Bounds, Checks], None] | None = None


class Executor(Protocol):
    """Where blocks are written: threads of this process, or a cluster."""

    def width(self, image: ImagePlan, walk: Pass) -> int:
        """Give how many blocks may be on their way at a time."""
        ...

    def start(self, work: Work) -> Any:
        """Make a pass known; the result is handed back with each block."""
        ...

    def submit(self, started: Any, bounds: Bounds, *, check: Verify) -> Future[Checks]:
        """Begin a block."""
        ...

    def close(self) -> None:
        """Wait for what is begun, and end."""
        ...


class Threads:
    """Blocks in threads of this process, their objects encoded on all processors."""

    def __init__(self, memory: int, workers: int | None = None) -> None:
        processors = os.cpu_count() or 1
        self.most = workers or processors + 2
        self.memory = memory
        self._pool = ThreadPoolExecutor(self.most, "omezarr-write")
        self._encoders = ThreadPoolExecutor(processors, "omezarr-encode")

    def width(self, image: ImagePlan, walk: Pass) -> int:
        """Give as many blocks as fit into the memory, and a processor each."""
        return min(self.most, width(image, walk, self.memory))

    def start(self, work: Work) -> Work:
        """Need nothing."""
        return work

    def submit(self, started: Work, bounds: Bounds, *, check: Verify) -> Future[Checks]:
        """Begin a block."""
        encode = self._encoders.submit
        return self._pool.submit(
            write_block, started, bounds, check=check, encode=encode
        )

    def close(self) -> None:
        """Wait for what is begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)
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
    begins when the one before, which it may read, has ended.

    Raises
    ------
    OMEZarrError
        The first failure, once the blocks in work have ended; those that were
        stored are in the journal.
    WriteCancelledError
        ``running.cancel`` was set.
    """
    meter = _Meter(plan, journal, running)
    for number, turn, image, walk in plan.walks():
        work = work_of(plan, staged, image, walk, fresh=journal.is_new)
        todo = (
            ((number, turn, index), bounds)
            for index, bounds in enumerate(walk.blocks())
            if (number, turn, index) not in journal.done
        )
        started = executor.start(work)
        room = executor.width(image, walk)
        chosen = checked_blocks(walk, running.verify)
        pending: dict[Future[Checks], tuple[Key, Bounds]] = {}
        try:
            for key, bounds in todo:
                check = chosen(key[2])
                _stop_if_asked(running)
                pending[executor.submit(started, bounds, check=check)] = key, bounds
                if len(pending) >= room:
                    _collect(pending, journal, meter, (image, walk), running)
            while pending:
                _collect(pending, journal, meter, (image, walk), running)
        except WriteCancelledError:
            staged.hurry(on=True)
            raise
        finally:
            _settle(pending, journal)
            staged.hurry(on=False)


def work_of(
    plan: Plan, staged: Hierarchy, image: ImagePlan, walk: Pass, *, fresh: bool = False
) -> Work:
    """Give what the blocks of a pass have in common."""
    levels = image.levels[walk.first : walk.last + 1]
    source: Any = image.picture.source
    if walk.first > 0:
        source = stored_level(plan, staged, image, image.levels[walk.first - 1])
    return Work(
        source=source,
        outputs=tuple(
            replace(stored_level(plan, staged, image, level), fresh=fresh)
            for level in levels
        ),
        steps=tuple(level.step for level in levels),
        method=image.method,
        first=walk.first,
    )


def stored_level(
    plan: Plan, staged: Hierarchy, image: ImagePlan, level: Level
) -> StoredArray:
    """Give the array of a level, as it will be or as it was written."""
    document = level_document(plan, image, level)
    return StoredArray(staged, image.array_path(level), document)


def checked_blocks(walk: Pass, verify: Verify) -> Callable[[int], Verify]:
    """Decide what is verified of which blocks: a sample is spread evenly over them."""
    if verify != "sample":
        return lambda _: verify
    every = max(1, walk.count // _SAMPLED)
    return lambda index: "none" if index % every else "sample"


def _collect(
    pending: dict[Future[Checks], tuple[Key, Bounds]],
    journal: Journal,
    meter: _Meter,
    where: tuple[ImagePlan, Pass],
    running: Running,
) -> None:
    """Wait for a block, note it, and say so."""
    finished: set[Future[Checks]] = set()
    while not finished:
        _stop_if_asked(running)
        finished, _ = wait(pending, _GLANCE, return_when=FIRST_COMPLETED)
    for future in finished:
        key, bounds = pending.pop(future)
        journal.add(key, future.result())
        meter.add(key, bounds, where[0])
        if running.stored is not None:
            running.stored(*where, bounds, future.result())


def _settle(
    pending: dict[Future[Checks], tuple[Key, Bounds]], journal: Journal
) -> None:
    """Note the blocks that still got through after a failure or a cancel."""
    for future, (key, _) in pending.items():
        if not future.cancel() and future.exception() is None:
            journal.add(key, future.result())


def _stop_if_asked(running: Running) -> None:
    if running.cancel is not None and running.cancel.is_set():
        raise WriteCancelledError(
            "Saving was cancelled.", action="Resume it, or remove what is there."
        )


class _Meter:
    """Counts blocks and bytes, and tells them."""

    def __init__(self, plan: Plan, journal: Journal, running: Running) -> None:
        self._tell = running.progress
        self._total = plan.blocks
        self._total_bytes = sum(
            _level_bytes(image, 0) for image in plan.images if image.passes
        )
        self._done = len(journal.done)
        self._bytes = sum(_resumed_bytes(plan, journal))

    def add(self, key: Key, bounds: Bounds, image: ImagePlan) -> None:
        """Count a block."""
        self._done += 1
        if key[1] == 0:
            self._bytes += _box_bytes(bounds, image)
        if self._tell is not None:
            self._tell(
                Progress(self._done, self._total, self._bytes, self._total_bytes)
            )


def _resumed_bytes(plan: Plan, journal: Journal) -> Iterator[int]:
    for number, image in enumerate(plan.images):
        for index, bounds in enumerate(image.passes[0].blocks()):
            if (number, 0, index) in journal.done:
                yield _box_bytes(bounds, image)


def _box_bytes(bounds: Bounds, image: ImagePlan) -> int:
    pixels = 1
    for start, stop in bounds:
        pixels *= stop - start
    return pixels * image.dtype.itemsize


def _level_bytes(image: ImagePlan, number: int) -> int:
    return _box_bytes(tuple((0, size) for size in image.levels[number].shape), image)
