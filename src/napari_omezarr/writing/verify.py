"""Read back what was written, and compare it with what was meant."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from napari_omezarr.errors import VerificationError

from .engine import stored_level
from .work import checked_box, checksum, coarser_bounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_omezarr.pyramid.selection import Bounds

    from .journal import Checks, Journal
    from .plan import ImagePlan, Plan
    from .pyramid_plan import Level, Pass
    from .stored import StoredArray
    from .target import Hierarchy

_AT_ONCE = 16


def verify(plan: Plan, staged: Hierarchy, journal: Journal) -> int:
    """Read back all blocks whose checksums were kept.

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
    boxes = (
        (stored_level(plan, staged, image, level), box, expected)
        for number, turn, image, walk in plan.walks()
        for index, bounds in enumerate(walk.blocks())
        for level, box, expected in _boxes(
            image, walk, bounds, journal.done.get((number, turn, index), ())
        )
    )
    with ThreadPoolExecutor(_AT_ONCE, "omezarr-verify") as pool:
        return sum(pool.map(_compare, boxes))


def _compare(task: tuple[StoredArray, Bounds, int]) -> int:
    array, box, expected = task
    if checksum(array.read(box)) != expected:
        raise VerificationError(
            f"What was read back of {array.address} ({array.path}, from "
            f"{_corner(box)}) differs from what was written.",
            action="Save it again; check the disk or the network.",
            url=array.address,
        )
    return 1


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
