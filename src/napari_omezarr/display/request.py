"""What is asked for, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from .chunks import Chunk, ChunkKey
    from .place import Place


Priority = tuple[int, int, float]


class Tier(IntEnum):
    """What is read first; a lower tier goes before a higher one."""

    OVERVIEW = 0
    BETWEEN = 1
    SHARP = 2
    THUMBNAIL = 3
    WARM = 4
    AHEAD = 5


FOREGROUND = Tier.THUMBNAIL
"""The last tier that somebody sees; the ones after it wait for all of these."""


@dataclass(frozen=True, slots=True)
class Request:
    """A chunk, and how urgent it is: by tier, by step within it, then nearest first."""

    chunk: Chunk
    tier: Tier
    distance: float = 0.0
    step: int = 0

    @property
    def priority(self) -> Priority:
        """Lower is sooner."""
        # A plain number: queues compare it often, and an enumeration's is slow.
        return int(self.tier), self.step, self.distance


@dataclass(slots=True, eq=False)
class Entry:
    """One chunk that is on its way, for all who want it."""

    chunk: Chunk
    place: Place
    owners: dict[Hashable, Priority] = field(default_factory=dict)
    attempts: int = 0
    started: float | None = None
    waiting: bool = False

    @property
    def priority(self) -> Priority:
        """The most urgent of its owners'."""
        return min(self.owners.values())


@dataclass(frozen=True, slots=True)
class Failure:
    """A chunk that could not be had."""

    chunk: Chunk
    error: BaseException
    place: Place
    again_at: float | None


@dataclass(slots=True)
class Want:
    """What one owner waits for, and what came of it so far."""

    generation: int = -1
    requests: dict[ChunkKey, Request] = field(default_factory=dict)
    failed: set[ChunkKey] = field(default_factory=set)
    pending: set[ChunkKey] = field(default_factory=set)
    arrived: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """A place that fails, told once until it is back."""

    place: str
    error: BaseException
