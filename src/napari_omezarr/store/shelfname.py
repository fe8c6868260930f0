"""Names of the files of the disk cache: all that must be known without opening one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Self

from zarr.abc.store import RangeByteRequest

from .byterange import span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zarr.abc.store import ByteRequest

    from .reply import Reply

_PART = re.compile(r"([0-9a-f]{32})-([0-9a-f]{8})-(\d+)-(\d+)-(\d+)")
_ABSENT = re.compile(r"([0-9a-f]{32})-absent(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `start` to `stop` of an object that has `total`.

    Attributes
    ----------
    version : str
        A digest of the object's validator: only parts of one version fit together.
    """

    key: str
    version: str
    start: int
    stop: int
    total: int

    def __str__(self) -> str:
        extent = f"{self.start}-{self.stop}-{self.total}"
        return f"{self.key}-{self.version}-{extent}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read a name; None if it is that of something else."""
        said = _PART.fullmatch(name)
        if said is None:
            return None
        start, stop, total = (int(number) for number in said.groups()[2:])
        return cls(said[1], said[2], start, stop, total)

    def fits_beside(self, fresh: Part) -> bool:
        """Say whether this is still right, and still of use, when `fresh` has come."""
        same = (self.version, self.total) == (fresh.version, fresh.total)
        return same and not fresh.start <= self.start <= self.stop <= fresh.stop


def part_of(key: str, reply: Reply) -> Part | None:
    """Name the part of an object that came.

    Returns
    -------
    Part or None
        None if the server does not say which version it is of, or where in the
        object it lies: it would not be known what it fits to.
    """
    if not (reply.validator and reply.total) or reply.body is None:
        return None
    version = blake2b(reply.validator.encode(), digest_size=4).hexdigest()
    stop = reply.start + len(reply.body)
    return Part(key, version, reply.start, stop, reply.total)


def absent_name(key: str, lifetime: int | None) -> str:
    """Name the file, an empty one, that says that there is no such object."""
    return f"{key}-absent" if lifetime is None else f"{key}-absent-{lifetime}"


def absent_lifetime(names: Iterable[str]) -> tuple[str, int | None] | None:
    """Find the name that says that there is no such object, and for how long."""
    for name in names:
        if said := _ABSENT.fullmatch(name):
            return name, int(said[2]) if said[2] else None
    return None


def covering(
    parts: Iterable[Part], wanted: ByteRequest | None
) -> list[tuple[Part, RangeByteRequest]]:
    """Choose the parts that together hold what is wanted.

    Returns
    -------
    list of (Part, RangeByteRequest)
        Each with the bytes to take from it, counted from its own start; empty if
        there is a gap, or if the parts are of several versions.
    """
    found = sorted(parts, key=lambda part: (part.start, -part.stop))
    if len({(part.version, part.total) for part in found}) != 1:
        return []
    begin, end = span(wanted, found[0].total)
    pieces = []
    for part in found:
        if part.start <= begin < min(part.stop, end):
            stop = min(part.stop, end)
            own = RangeByteRequest(begin - part.start, stop - part.start)
            pieces.append((part, own))
            begin = stop
    return pieces if begin == end else []
