"""What a person can set about the display."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# What a person can set about the display.

MEGABYTE = 2**20
GIGABYTE = 2**30


@dataclass(frozen=True, slots=True)
class Settings:
    """How the display spends memory and requests; sizes in bytes.

    Attributes
    ----------
    enabled : bool
        False leaves every layer an ordinary dask layer.
    cache_bytes : int
        How much the decoded chunks of all layers may take together.
    volume_bytes : int
        How large the volume of one layer may be in 3-D.
    prefetch_bytes : int
        How much may be fetched ahead of each view; 0 fetches nothing ahead.
    """

    enabled: bool
    cache_bytes: int
    volume_bytes: int
    prefetch_bytes: int

    @classmethod
    def of(cls, options: Any = None) -> Settings:
        """Read napari's plugin settings, sizes in their units there; else defaults.

        Parameters
        ----------
        options : object, optional
            Has the attributes ``progressive`` (bool), ``cache_gb``, ``volume_mb`` and
            ``prefetch_mb`` (numbers); a missing one, or a cache
            of 0, means the default.
        """
        cache = getattr(options, "cache_gb", 0)
        return cls(
            enabled=bool(getattr(options, "progressive", True)),
            cache_bytes=int(cache * GIGABYTE) or default_cache_bytes(),
            volume_bytes=int(getattr(options, "volume_mb", 128) * MEGABYTE),
            prefetch_bytes=int(getattr(options, "prefetch_mb", 64) * MEGABYTE),
        )


def default_cache_bytes() -> int:
    """Give a quarter of this machine's memory, at most 4 GB."""
    return min(4 * GIGABYTE, _memory() // 4)


def _memory() -> int:
    # Windows has no sysconf: 8 GB are assumed there.
    if not hasattr(os, "sysconf"):
        return 8 * GIGABYTE
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# What is loading, in values and in words.


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
