"""A scan of all chunks: which cannot be decoded, and which seem to be lost."""

from __future__ import annotations

from concurrent.futures import CancelledError
from functools import partial
from itertools import islice, product
from math import prod
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr._io_loop import HeedingPool
from napari_omezarr.doors import guarded, stopped_by
from napari_omezarr.errors import (
    DamagedDataError,
    ListingDeniedError,
    TruncatedBodyError,
)
from napari_omezarr.metadata import Image, parse_document
from napari_omezarr.plain_text import counted
from napari_omezarr.pyramid import ArrayPixels, chunk_box
from napari_omezarr.reading import ReadOptions, read_current
from napari_omezarr.store import all_pages, open_lister, run

from .examining import Ailment
from .tree import read_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Bounds

_THREADS = 4
_AT_ONCE = 1024
_MOST = 10_000_000
"""A level of more chunks than this is told, and not scanned: it would take days."""
_NAMED = 5
"""So many chunks are named, and the others counted."""


@guarded
def scan(
    location: Location,
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
) -> list[Ailment]:
    """Decode every chunk of all images below a place; blocks, and takes its time.

    A chunk that is not stored stands for its fill value, so that it is no fault by
    itself. It counts as lost where another level has something else there. A level that
    claims more than ten million chunks is told, and left out.

    Raises
    ------
    WriteCancelledError
        It was cancelled.
    StoreError
        Something could not be read at all.
    """
    with stopped_by(cancel, "Scanning", "Start it again."):
        return _found(location, progress, cancel)


def _found(
    location: Location,
    progress: Callable[[int, int], None] | None,
    cancel: Event | None,
) -> list[Ailment]:
    levels: list[tuple[str, list[_Scan]]] = []
    found: list[Ailment] = []
    done = _Counted(progress)
    for node in read_tree(location).values():
        parsed = None if node.is_array else parse_document(node.attributes)
        if parsed is None or not isinstance(parsed.kind, Image):
            continue
        place = location / node.path if node.path else location
        reading = read_current(place, ReadOptions(labels=False))
        image = reading.pyramids[0]
        # What its own document is tolerated for is told without a scan.
        found += [
            Ailment(
                "array", node.path, warning, "Copy it again from where it was made."
            )
            for warning in reading.warnings
            if warning not in parsed.warnings
        ]
        scans = [
            _Scan(place / level.path, level.path, level.pixels, done, cancel)
            for level in image.levels
            if isinstance(level.pixels, ArrayPixels)
        ]
        done.all += sum(each.count for each in scans if each.count <= _MOST)
        levels.append((node.path, scans))
    for path, scans in levels:
        for number, each in enumerate(scans):
            others = [
                other.pixels for i, other in enumerate(scans) if abs(i - number) == 1
            ]
            found += each.ailments(path, others)
    return found


class _Counted:
    """How many objects were looked at, of how many."""

    def __init__(self, progress: Callable[[int, int], None] | None) -> None:
        self.done = self.all = 0
        self._progress = progress
        self._lock = Lock()

    def step(self) -> None:
        """Count one."""
        with self._lock:
            self.done += 1
            if self._progress is not None:
                self._progress(self.done, self.all)


class _Scan:
    """The chunks (or shards) of one level."""

    def __init__(
        self,
        place: Location,
        level: str,
        pixels: ArrayPixels,
        counted: _Counted,
        cancel: Event | None,
    ) -> None:
        self.place = place
        self.level = level
        self.pixels = pixels
        self.count = prod(pixels.stored_grid)
        self._counted = counted
        self._cancel = cancel

    def ailments(self, path: str, others: list[ArrayPixels]) -> Iterator[Ailment]:
        """Decode all, and look at other levels where something is not stored."""
        if self.count > _MOST:
            what = "shards" if self.pixels.shards else "chunks"
            told = f"Level {self.level} has {self.count:,} {what}, and is not scanned."
            action = "Ask who made it whether it is as large as its metadata say."
            yield Ailment("too many chunks", path, told, action)
            return
        damaged: list[str] = []
        lost: list[str] = []
        stored = self._names()
        indices = product(*map(range, self.pixels.stored_grid))
        with HeedingPool(_THREADS, "omezarr-scan") as pool:
            while some := list(islice(indices, _AT_ONCE)):
                for index, state in zip(
                    some,
                    pool.map(partial(self._state, stored, others), some),
                    strict=True,
                ):
                    if state:
                        names = damaged if state == "damaged" else lost
                        names.append(".".join(map(str, index)))
        what = "shard" if self.pixels.shards else "chunk"
        for kind, names in (("damaged", damaged), ("lost", lost)):
            if names:
                are = "are" if len(names) > 1 else "is"
                named = ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
                yield Ailment(
                    f"{kind} chunks",
                    path,
                    f"{counted(len(names), what)} of level {self.level} {are} "
                    f"{kind}: {named}.",
                    "Copy it again from where it was made (mirror does what differs).",
                )

    def _names(self) -> set[str] | None:
        """Give the keys that are stored, below the level; None where nobody tells."""
        pages = all_pages(open_lister(self.place).deep_page)

        async def names() -> set[str]:
            return {item.name async for page in pages for item in page.items}

        try:
            return run(names())
        except ListingDeniedError:
            return None

    def _state(
        self,
        stored: set[str] | None,
        others: list[ArrayPixels],
        index: tuple[int, ...],
    ) -> str:
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError
        self._counted.step()
        unit = self.pixels.shards or self.pixels.stored_chunks
        box = chunk_box(index, unit, self.pixels.shape)
        chunk = tuple(
            i * u // c
            for i, u, c in zip(index, unit, self.pixels.stored_chunks, strict=True)
        )
        # Keys of the array begin at the store's root, the listed ones at the level.
        key = self.pixels.stored_key(chunk)
        is_there = stored is None or any(
            name in stored for name in _endings(key, self.place.name)
        )
        try:
            if is_there:
                run(self.pixels.read(box))
                return ""
            return (
                "lost" if any(_is_filled(o, self.pixels, box) for o in others) else ""
            )
        except (DamagedDataError, TruncatedBodyError):
            return "damaged" if is_there else ""


def _endings(key: str, name: str) -> Iterator[str]:
    """Give what may stand behind the name of a level in a key, and the key itself."""
    parts = key.split("/")
    yield key
    for number, part in enumerate(parts[:-1], 1):
        if part == name:
            yield "/".join(parts[number:])


def _is_filled(other: ArrayPixels, pixels: ArrayPixels, box: Bounds) -> bool:
    """Whether another level has more than its fill value in the same region."""
    there = []
    for (start, stop), size, full in zip(box, pixels.shape, other.shape, strict=True):
        first = start * full // size
        there.append((first, max(first + 1, -(-stop * full // size))))
    values: np.ndarray = run(other.read(tuple(there)))
    fill = other.document.get("fill_value") or 0
    return bool((values != np.asarray(fill).astype(values.dtype)).any())
