"""Carry out a plan at a target, from the first check to the last document."""

from __future__ import annotations

import math
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_omezarr._io_loop import HeedingPool, results
from napari_omezarr.doors import stopped_by
from napari_omezarr.errors import (
    ConflictError,
    DamagedDataError,
    TargetExistsError,
    TargetInUseError,
    UnfinishedWriteError,
    VerificationError,
)
from napari_omezarr.metadata import limits_of
from napari_omezarr.plain_text import counted
from napari_omezarr.pyramid import coarser_box

from .chunking import COPIES
from .documents import array_documents, plan_documents
from .engine import Running, checked_box, checksum, run_plan, stored_level
from .given import lies_within
from .journal import Journal, journal_digest
from .plan import accepted, with_displays
from .source import reading_pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from napari_omezarr.pyramid import Bounds

    from .chunking import LevelPlan, WritePass
    from .engine import Executor, StoredArray
    from .hierarchy import Claim, Hierarchy, StoredSize, Target
    from .image_spec import ChannelDisplay
    from .journal import BlockNote, Checks
    from .options import SaveMode, Verify
    from .plan import ImagePlan, Plan

_READ_AGAIN = 3
"""Blocks of an earlier run whose sources are compared."""
_READERS = 8
"""Threads that read back at most."""
_COMPARED_BYTES = 2**25
"""Bytes that all boxes that are read back at a time may take."""
_WAITING = 256
"""Boxes that may wait; writing is held up until fewer do."""

_CONTRAST_BYTES = 2**20
"""What is read of a level to find its contrast."""
_MOST_BITS, _MOST_EXACT = 2**32, 2**53


# Read back what was written, while more is being written, and compare the two.


class Verification:
    """Compares blocks whose checksums were kept, in threads of its own.

    Leaving it gives up what was not begun; `finish` waits for all.
    """

    def __init__(self, plan: Plan, staged: Hierarchy, verify: Verify) -> None:
        self._plan = plan
        self._staged = staged
        self._pool = HeedingPool(readers(plan, verify), "omezarr-verify")
        # While there is nothing else to write, a file is read sooner than handed over.
        self._here = staged.folder is not None and plan.blocks == 1
        self._comparing: set[Future[None]] = set()
        self._equal = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(
        self, image: ImagePlan, write_pass: WritePass, bounds: Bounds, checks: Checks
    ) -> None:
        """Read a stored block back once a thread is free; raises earlier failures."""
        boxes = _checked_boxes(image, write_pass, bounds, checks)
        for level, box, expected in boxes:
            array = stored_level(self._plan, self._staged, image, level)
            if self._here:
                _compare(array, box, expected)
                self._equal += 1
                continue
            self._comparing.add(self._pool.submit(_compare, array, box, expected))
        while len(self._comparing) > _WAITING:
            self._collect(wait(self._comparing, return_when=FIRST_COMPLETED).done)
        self._collect([each for each in self._comparing if each.done()])

    def resume(self, journal: Journal) -> None:
        """Add the blocks that an earlier run has stored."""
        for key, image, write_pass, bounds in self._plan.all_blocks():
            self.add(image, write_pass, bounds, journal.checks(key))

    def finish(self) -> int:
        """Wait for all; gives how many boxes were compared, over all levels."""
        self._collect(wait(self._comparing).done)
        return self._equal

    def _collect(self, ended: Iterable[Future[None]]) -> None:
        for each in ended:
            self._comparing.discard(each)
            each.result()
            self._equal += 1


def readers(plan: Plan, verify: Verify) -> int:
    """Decide how many boxes are read back at a time, by what the largest one takes."""
    pixels = (
        (math.prod(write_pass.block if verify == "all" else level.unit), image)
        for _, _, image, write_pass in plan.all_passes()
        for level in image.written_in(write_pass)
    )
    largest = max(count * image.dtype.itemsize for count, image in pixels)
    return max(1, min(_READERS, int(_COMPARED_BYTES / COPIES / max(1, largest))))


def source_changed(plan: Plan, journal: Journal) -> bool:
    """Whether the sources differ from what an earlier, unfinished run has read.

    A few of its blocks that went straight from the source to the finest level are
    read again.
    """
    boxes = (
        (image, box, expected)
        for key, image, write_pass, bounds in plan.all_blocks()
        if key[1] == 0
        for level, box, expected in _checked_boxes(
            image, write_pass, bounds, journal.checks(key)
        )
        if level is image.levels[0]
    )
    with reading_pool(1, "omezarr-compare") as pool:
        return any(
            checksum(*results([pool.submit(image.spec.source.read, box)])) != expected
            for image, box, expected in islice(boxes, _READ_AGAIN)
        )


def _compare(array: StoredArray, box: Bounds, expected: int) -> None:
    cause: DamagedDataError | None = None
    try:
        if checksum(array.read(box)) == expected:
            return
    except DamagedDataError as error:
        cause = error
    corner = ", ".join(str(start) for start, _ in box)
    raise VerificationError(
        f"What was read back of {array.address} ({array.path}, from {corner}) differs "
        "from what was written.",
        action="Save it again; check the disk or the network.",
        url=array.address,
    ) from cause


def _checked_boxes(
    image: ImagePlan, write_pass: WritePass, bounds: Bounds, checks: Checks
) -> Iterator[tuple[LevelPlan, Bounds, int]]:
    """Give the boxes of a block, at each level, of which checksums were kept."""
    expected = {level: (part, check) for level, part, check in checks}
    for number, level in enumerate(image.written_in(write_pass), write_pass.first):
        bounds = coarser_box(bounds, level.step, level.shape)
        if number in expected:
            part, check = expected[number]
            yield level, checked_box(bounds, level.unit, part), check


# Contrast where nobody gave any, once the pixels are written: limits from the coarsest
# level, and the range that they can be moved in from every pixel.


def with_contrast(plan: Plan, staged: Hierarchy, journal: Journal) -> Plan:
    """Give the plan with limits for every channel that had none, and with ranges.

    Limits are the 0.1 and 99.9 percentiles of the finite values of the middle of
    the coarsest level, or of a part of it that is worth reading. Ranges reach the
    lowest and the highest pixel.
    """
    for number, image in enumerate(plan.images):
        spec = image.spec
        if not spec.displays or spec.rgb:
            continue
        displays = list(spec.displays)
        if any(display.limits is None for display in displays):
            parts = _middle_of_channels(plan, staged, image)
            displays = [
                replace(display, limits=display.limits or limits_of(part))
                for display, part in zip(displays, parts, strict=True)
            ]
        found = journal.ranges(number)
        reaching = [_reaching(d, found.get(i)) for i, d in enumerate(displays)]
        plan = with_displays(plan, number, reaching)
    return plan


def _middle_of_channels(
    plan: Plan, staged: Hierarchy, image: ImagePlan
) -> Sequence[np.ndarray]:
    level = image.levels[-1]
    axis = image.spec.channel_axis
    box = _middle(level.shape, image.dtype.itemsize, axis)
    values = stored_level(plan, staged, image, level).read(box)
    return [values] if axis is None else list(np.moveaxis(values, axis, 0))


def _reaching(
    display: ChannelDisplay, found: tuple[float, float] | None
) -> ChannelDisplay:
    """Widen the range of a channel so that its limits and all its pixels lie in it."""
    known = [each for each in (display.span, display.limits, found) if each]
    low, high = min(low for low, _ in known), max(high for _, high in known)
    return replace(display, span=(low, high))


def _middle(
    shape: tuple[int, ...], itemsize: int, channel: int | None
) -> tuple[tuple[int, int], ...]:
    """Cut the first axes, which are not channels, until the box is small enough."""
    sizes = list(shape)
    for axis in range(len(sizes)):
        if axis == channel:
            continue
        others = int(np.prod(sizes)) // sizes[axis] * itemsize
        sizes[axis] = max(1, min(sizes[axis], _CONTRAST_BYTES // max(1, others)))
    starts = [(full - size) // 2 for full, size in zip(shape, sizes, strict=True)]
    return tuple((a, a + size) for a, size in zip(starts, sizes, strict=True))


# All of it.


@dataclass(frozen=True, slots=True)
class Saved:
    """What was saved where, and how many boxes were read back and found equal.

    ``plan`` is what was written, with the contrast that was found, unless all that was
    left to do was to put it into the place of another; ``notes`` say what could not be
    found out about the place before, and which ids other viewers lack.
    """

    address: str
    plan: Plan = field(repr=False)
    verified: int
    notes: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """All that is worth telling: what was planned, and what was found out."""
        return self.plan.notes + self.notes


def save(
    plan: Plan,
    target: Target,
    mode: SaveMode,
    executor: Executor,
    running: Running | None = None,
    tables: Hierarchy | None = None,
) -> Saved:
    """Write all pixels, then the documents; until then there is no image.

    The executor is left open. What is done when it fails is kept, for resuming.
    ``tables`` is where the tables beside labels go, if not where the pixels do.
    """
    accepted(plan)
    running = running or Running(verify=mode.verify)
    action = "Resume it, or remove what is there."
    stopped = stopped_by(running.cancel, "Saving", action, "unfinished")
    with stopped, target.claim.held():
        guarded = _Guarded(executor, target.claim)
        return _save(plan, target, mode, guarded, running, tables)


class _Guarded:
    """An executor that begins no block of a place that is somebody else's by now."""

    def __init__(self, executor: Executor, claim: Claim) -> None:
        self._claim = claim
        self._executor = executor
        self.width, self.start = executor.width, executor.start
        self.close, self.stop = executor.close, executor.stop
        self.reads_here = executor.reads_here

    @property
    def moved(self) -> int:
        """How many bytes are stored."""
        return self._executor.moved

    def submit(
        self, started: Any, bounds: Bounds, *, check: Verify
    ) -> Future[BlockNote]:
        """Begin a block."""
        self._claim.check()
        return self._executor.submit(started, bounds, check=check)


def _save(
    plan: Plan,
    target: Target,
    mode: SaveMode,
    executor: Executor,
    running: Running,
    tables: Hierarchy | None,
) -> Saved:
    resumed = _resumed(target, plan, mode)
    if resumed and target.switching:
        target.finish()
        return Saved(target.address, plan, 0)
    replaced = target.agreed() if resumed else _replaceable(target, mode)
    target.begin(replaced)
    if target.staged.needs_arrays_first:
        for document in array_documents(plan):
            target.staged.put(document.key, document.body)
    with Journal(target.journal, plan.digest, target.staged.folder) as journal:
        if resumed and source_changed(plan, journal):
            raise ConflictError(
                "The layers have changed since this save broke off.",
                action="Remove the unfinished save, and begin anew.",
                url=target.address,
            )
        with Verification(plan, target.staged, running.verify) as verification:
            verification.resume(journal)
            running = replace(running, stored=verification.add)
            run_plan(plan, target.staged, journal, executor, running)
            plan = with_contrast(plan, target.staged, journal)
            notes = tuple(_id_notes(plan, journal))
            verified = verification.finish()
    for each in plan.tables:
        each.put(tables or target.staged)
    for beside in plan.carried:
        beside.put(target.staged, resumed=resumed, verify=running.verify == "all")
    target.claim.check(thoroughly=True)
    target.commit(plan_documents(plan), replaced)
    return Saved(target.address, plan, verified, (*target.notes, *notes))


def _id_notes(plan: Plan, journal: Journal) -> Iterator[str]:
    """Say where labels have ids that other viewers show otherwise, or not at all."""
    for number, image in enumerate(plan.images):
        if image.is_label and (found := journal.ranges(number)):
            low = min(least for least, _ in found.values())
            high = max(most for _, most in found.values())
            if low < 0:
                yield (
                    f"The labels {image.spec.name} go down to {low:,}: viewers on the "
                    "web show ids below 0 as other ones, or not at all."
                )
            if high >= _MOST_BITS:
                bits = 53 if high >= _MOST_EXACT else 32
                yield (
                    f"The labels {image.spec.name} go up to {high:,}: beyond 2**{bits} "
                    "viewers on the web show ids as other ones, or not at all."
                )


def _replaceable(target: Target, mode: SaveMode) -> StoredSize | None:
    """Give what may be replaced; None where the place is free."""
    found = target.occupied()
    if found is None or mode.existing == "replace":
        return found
    if not target.holds_bare_group(found):
        raise TargetExistsError(
            f"{target.address} exists already ({counted(found.objects, 'object')}).",
            action="Choose another name, or replace it.",
            url=target.address,
            option="existing",
        )
    return found


def _resumed(target: Target, plan: Plan, mode: SaveMode) -> bool:
    """Say whether an unfinished save is to go on; one that is not wanted is removed."""
    if not target.unfinished():
        return False
    if target.agreed() is None:  # what appeared since is not hidden by what is ours
        _replaceable(target, mode)
    if mode.unfinished == "remove":
        target.discard()
        return False
    if mode.unfinished == "refuse":
        raise UnfinishedWriteError(
            f"A save to {target.address} has broken off.",
            action="Resume it, or remove it.",
            url=target.address,
            option="unfinished",
        )
    if journal_digest(target.journal) != plan.digest:
        raise UnfinishedWriteError(
            f"The save to {target.address} that broke off had other options.",
            action="Choose the same ones again, or remove it.",
            url=target.address,
            option="unfinished",
        )
    return True


# Never write over what is being read.


def check_not_open(target: str, places: Iterable[str], *, inside: bool = False) -> None:
    """Check that a target is none of the places that are read, nor around one.

    With ``inside`` it may lie inside such a place (labels of an open image).
    """
    for place in places:
        if lies_within(place, target) or (not inside and lies_within(target, place)):
            raise TargetInUseError(
                f"{target} is being read: by a layer that is open, or to be saved.",
                action="Save under another name.",
                url=target,
            )
