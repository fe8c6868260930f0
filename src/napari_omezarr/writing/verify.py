"""Read back what was written, while more is being written, and compare the two."""

from __future__ import annotations

import math
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Self

from napari_omezarr.errors import VerificationError

from .engine import stored_level
from .pyramid_plan import COPIES
from .work import checked_box, checksum, coarser_bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from napari_omezarr.pyramid.boxes import Bounds

    from .journal import Checks, Journal
    from .options import Verify
    from .plan import ImagePlan, Plan
    from .pyramid_plan import Level, Pass
    from .stored import StoredArray
    from .target import Hierarchy

_AT_ONCE = 8
_MEMORY = 2**25
"""Bytes that all boxes that are read back at a time may take."""
_WAITING = 256
"""Boxes that may wait; writing is held up until fewer do."""


class Verification:
    """Compares blocks whose checksums were kept, in threads of its own.

    Leaving it gives up what was not begun; `finish` waits for all.

    Parameters
    ----------
    plan : Plan
        What is written.
    staged : Hierarchy
        Where it is read back from.
    verify : {"sample", "all", "none"}
        How much is read at a time: of a sample one object, else whole blocks.
    """

    def __init__(self, plan: Plan, staged: Hierarchy, verify: Verify) -> None:
        self._plan = plan
        self._staged = staged
        self._pool = ThreadPoolExecutor(readers(plan, verify), "omezarr-verify")
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

    def add(self, image: ImagePlan, walk: Pass, bounds: Bounds, checks: Checks) -> None:
        """Read a block back that is stored, as soon as a thread is free.

        Raises
        ------
        VerificationError, StoreError
            An earlier one differs, or could not be read.
        """
        for level, box, expected in _boxes(image, walk, bounds, checks):
            array = stored_level(self._plan, self._staged, image, level)
            self._comparing.add(self._pool.submit(_compare, array, box, expected))
        while len(self._comparing) > _WAITING:
            self._collect(wait(self._comparing, return_when=FIRST_COMPLETED).done)
        self._collect([each for each in self._comparing if each.done()])

    def resume(self, journal: Journal) -> None:
        """Add the blocks that an earlier run has stored."""
        for number, turn, image, walk in self._plan.walks():
            for index, bounds in enumerate(walk.blocks()):
                checks = journal.done.get((number, turn, index), ())
                self.add(image, walk, bounds, checks)

    def finish(self) -> int:
        """Wait for all.

        Returns
        -------
        int
            How many boxes were compared, over all levels.

        Raises
        ------
        VerificationError
            What is there differs from what was written.
        StoreError
            It could not be read.
        """
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
        (math.prod(walk.block if verify == "all" else level.unit), image)
        for _, _, image, walk in plan.walks()
        for level in image.levels[walk.first : walk.last + 1]
    )
    largest = max(count * image.dtype.itemsize for count, image in pixels)
    return max(1, min(_AT_ONCE, int(_MEMORY / COPIES / max(1, largest))))


def source_changed(plan: Plan, journal: Journal, most: int = 3) -> bool:
    """Whether the sources differ from what an earlier, unfinished run has read.

    A few of its blocks that went straight from the source to the finest level are
    read again.
    """
    compared = 0
    for number, image in enumerate(plan.images):
        walk = image.passes[0]
        for index, bounds in enumerate(walk.blocks()):
            checks = journal.done.get((number, 0, index), ())
            for level, box, expected in _boxes(image, walk, bounds, checks):
                if level.path != image.levels[0].path or compared >= most:
                    continue
                compared += 1
                if checksum(image.picture.source.read(box)) != expected:
                    return True
    return False


def _compare(array: StoredArray, box: Bounds, expected: int) -> None:
    if checksum(array.read(box)) != expected:
        raise VerificationError(
            f"What was read back of {array.address} ({array.path}, from "
            f"{_corner(box)}) differs from what was written.",
            action="Save it again; check the disk or the network.",
            url=array.address,
        )


def _boxes(
    image: ImagePlan, walk: Pass, bounds: Bounds, checks: Checks
) -> Iterator[tuple[Level, Bounds, int]]:
    expected = {level: (part, check) for level, part, check in checks}
    for number in range(walk.first, walk.last + 1):
        level = image.levels[number]
        bounds = coarser_bounds(bounds, level.step, level.shape)
        if number in expected:
            part, check = expected[number]
            yield level, checked_box(bounds, level.unit, part), check


def _corner(bounds: Bounds) -> str:
    return ", ".join(str(start) for start, _ in bounds)
