"""What is loading, in values and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Status:
    """How far a layer is.

    Attributes
    ----------
    pending : int
        Chunks that its picture still waits for.
    failed : int
        Chunks of it that could not be had.
    bytes : int
        Decoded bytes that arrived for it since it was last sharp.
    place : str
        Where it comes from: a host, a bucket, or this computer.
    arrived : int
        Chunks that arrived for it since it was last sharp.
    level : int
        The level that is looked at.
    """

    pending: int = 0
    failed: int = 0
    bytes: int = 0
    place: str = ""
    arrived: int = 0
    level: int = 0

    @property
    def sharp(self) -> bool:
        """Whether nothing is missing and nothing failed."""
        return not self.pending and not self.failed


def sentence(statuses: Iterable[Status]) -> str:
    """Say what is loading for all layers together, for the status line.

    Returns
    -------
    str
        Like ``loading level 0: 7 of 12, 3.1 MB from idr``; empty when all is there.
    """
    busy = [status for status in statuses if status.pending]
    if not busy:
        return ""
    levels = ", ".join(str(level) for level in sorted({s.level for s in busy}))
    arrived = sum(status.arrived for status in busy)
    total = arrived + sum(status.pending for status in busy)
    size = sum(status.bytes for status in busy) / 1e6
    places = ", ".join(sorted({status.place for status in busy}))
    return f"loading level {levels}: {arrived} of {total}, {size:.1f} MB from {places}"
