"""Which blocks of a save are done, in a file that survives the process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from .hierarchy import explained

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

Key = tuple[int, int, int]
"""The numbers of an image, of one of its passes, and of a block in that."""
Checks = tuple[tuple[int, int, int], ...]
"""Level, number of an object and its checksum; only of blocks that are verified."""
Ranges = tuple[tuple[int, float, float], ...]
"""A channel, its lowest and its highest finite value; of blocks that were read."""


class BlockNote(NamedTuple):
    """What is noted of a block that is stored."""

    checks: Checks = ()
    ranges: Ranges = ()


class Journal:
    """A line for each finished block; a line that is cut off counts as not there.

    A file that is about the plan of another digest begins anew.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self.digest = digest
        self.done: dict[Key, BlockNote] = {}
        first, *lines = _lines(path) or [None]
        if isinstance(first, dict) and first.get("plan") == digest:
            self.done = {_key(line): _written(line) for line in lines}
            self._valid = len(self.done) + 1
        else:
            self._valid = 0

    @property
    def is_new(self) -> bool:
        """Whether no run has begun before."""
        return self._valid == 0

    def __enter__(self) -> Journal:
        """Open the file to go on, without the line that was cut off."""
        with explained(str(self.path)):
            kept = _complete(self.path)[: self._valid]
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8")
            header = json.dumps({"plan": self.digest})
            self._file.write("".join(f"{line}\n" for line in kept or [header]))
            self._file.flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def begin_anew(self) -> None:
        """Forget what is done."""
        with explained(str(self.path)):
            self._file.truncate(0)
            self._file.seek(0)
            self._file.write(f"{json.dumps({'plan': self.digest})}\n")
            self._file.flush()
        self.done.clear()

    def add(self, key: Key, written: BlockNote) -> None:
        """Note that a block is stored, with all its coarser levels."""
        line = json.dumps({"block": key, **written._asdict()})
        with explained(str(self.path)):
            self._file.write(f"{line}\n")
            self._file.flush()
        self.done[key] = written

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


def _key(line: dict[str, Any]) -> Key:
    image, turn, block = line["block"]
    return image, turn, block


def _written(line: dict[str, Any]) -> BlockNote:
    checks = tuple((level, part, checksum) for level, part, checksum in line["checks"])
    ranges = tuple(
        (channel, low, high) for channel, low, high in line.get("ranges", ())
    )
    return BlockNote(checks, ranges)
