"""Which blocks of a save are done, in a file that survives the process."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_omezarr.atomic_file import flush_below, replacing
from napari_omezarr.errors import DiskFullError, StoreError

from .hierarchy import explained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

Key = tuple[int, int, int]
"""The numbers of an image, of one of its passes, and of a block in that."""
Checks = tuple[tuple[int, int, int], ...]
"""Level, number of an object and its checksum; only of blocks that are verified."""
Ranges = tuple[tuple[int, float, float], ...]
"""A channel, its lowest and its highest finite value; of blocks that were read."""


_AT_RISK = 30.0
"""Seconds of work that a loss of power may cost."""


class BlockNote(NamedTuple):
    """What is noted of a block that is stored."""

    checks: Checks = ()
    ranges: Ranges = ()


class Journal:
    """A line for each finished block; a line that is cut off counts as not there.

    A file that is about the plan of another digest begins anew. ``folder`` is where the
    blocks are written, if that is on this computer: what the system had not brought to
    the disk is lost with the power, so every now and then all is brought there, and of
    what was noted before this computer was started only as much counts.
    """

    def __init__(self, path: Path, digest: str, folder: Path | None = None) -> None:
        self.path = path
        self.digest = digest
        self.done: dict[Key, BlockNote] = {}
        self._folder = folder
        self._safe = time.monotonic()
        first, *lines = _lines(path) or [None]
        self.is_new = not isinstance(first, dict) or first.get("plan") != digest
        if isinstance(first, dict) and not self.is_new:
            if folder is not None and first.get("started") != _started():
                marks = [n for n, line in enumerate(lines) if "safe" in line]
                lines = lines[: marks[-1]] if marks else []
            self.done = {_key(n): _written(n) for n in lines if "block" in n}

    def __enter__(self) -> Journal:
        """Open the file to go on, without the line that was cut off."""
        with self._noting():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(self.path) as fresh:
                kept = (_line(key, written) for key, written in self.done.items())
                fresh.write_text("".join([self._header(), *kept]), "utf-8")
            self._file = self.path.open("a", encoding="utf-8")
        return self

    def _header(self) -> str:
        return f"{json.dumps({'plan': self.digest, 'started': _started()})}\n"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._noting():
                self._file.close()  # what could not be written is tried once more
        except StoreError:
            if error is None:
                raise

    def begin_anew(self) -> None:
        """Forget what is done."""
        with self._noting():
            self._file.truncate(0)
            self._file.seek(0)
            self._file.write(self._header())
            self._file.flush()
        self.done.clear()

    def add(self, key: Key, written: BlockNote) -> None:
        """Note that a block is stored, with all its coarser levels."""
        with self._noting():
            self._file.write(_line(key, written))
            self._file.flush()
            if self._folder is not None and time.monotonic() - self._safe > _AT_RISK:
                flush_below(self._folder)
                self._file.write(f"{json.dumps({'safe': len(self.done)})}\n")
                self._file.flush()
                os.fsync(self._file.fileno())
                self._safe = time.monotonic()
        self.done[key] = written

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            with explained(str(self.path)):
                yield
        except DiskFullError as error:
            raise DiskFullError(
                f"There is no room left at {self.path.parent}, where this computer "
                "notes what is saved.",
                action="Make room there, and resume.",
                url=error.url,
            ) from error

    def checks(self, key: Key) -> Checks:
        """Give the checksums of a block; none of one that is not done."""
        return self.done.get(key, BlockNote()).checks

    def ranges(self, image: int) -> dict[int, tuple[float, float]]:
        """Give the lowest and the highest value of each channel of an image."""
        found: dict[int, tuple[float, float]] = {}
        for (number, _, _), written in self.done.items():
            for channel, low, high in written.ranges if number == image else ():
                least, most = found.get(channel, (low, high))
                found[channel] = min(least, low), max(most, high)
        return found


def journal_digest(path: Path) -> str | None:
    """Give the digest of the plan that a journal is about; None where it says none."""
    first = next(iter(_lines(path)), None)
    digest = first.get("plan") if isinstance(first, dict) else None
    return digest if isinstance(digest, str) else None


def notes_blocks(path: Path) -> bool:
    """Whether a journal says of any block that it is stored."""
    return any("block" in line for line in _lines(path))


def _complete(path: Path) -> list[str]:
    """Give the lines up to the first that is not JSON."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return []
    lines = []
    for line in text.splitlines():
        try:
            json.loads(line)
        except ValueError:
            break
        lines.append(line)
    return lines


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in _complete(path)]


@cache
def _started() -> str:
    """Say when this computer was started, by a number; empty where nothing says it."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _line(key: Key, written: BlockNote) -> str:
    return f"{json.dumps({'block': key, **written._asdict()})}\n"


def _key(line: dict[str, Any]) -> Key:
    image, turn, block = line["block"]
    return image, turn, block


def _written(line: dict[str, Any]) -> BlockNote:
    checks = tuple((level, part, checksum) for level, part, checksum in line["checks"])
    ranges = tuple(
        (channel, low, high) for channel, low, high in line.get("ranges", ())
    )
    return BlockNote(checks, ranges)
