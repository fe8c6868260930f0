"""One file of the disk cache: a line that says what it is, then the bytes.

Each block of the bytes has a checksum in that line, so that a part can be read and
checked without the rest. No file is believed that was cut off, mixed up or damaged.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from typing import BinaryIO

BLOCK = 1 << 18
_LONGEST_LABEL = 1 << 20


class DamagedRecord(Exception):
    """A file of the cache is not what was once written."""


@dataclass(frozen=True, slots=True)
class Label:
    """What the first line of a file says.

    Attributes
    ----------
    name : str
        What the file is called.
    validator : str
        Which version of the object the bytes are of.
    lifetime : int or None
        For how many seconds the server lets them be used; None if it did not say.
    size : int
        How many bytes follow.
    checks : list of int
        The CRC-32 of each block.
    """

    name: str
    validator: str
    lifetime: int | None
    size: int
    checks: list[int]


def label_for(name: str, body: bytes, validator: str, lifetime: int | None) -> Label:
    """Describe bytes before they are written."""
    return Label(name, validator, lifetime, len(body), _checks(body))


def packed(label: Label) -> bytes:
    """Return the line that goes before the bytes."""
    text = json.dumps(asdict(label)).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_label(file: BinaryIO, name: str) -> Label:
    """Read the first line; the file is then where the bytes begin.

    Raises
    ------
    DamagedRecord
        If it is not such a line, or that of another file than `name`.
    """
    check, _, text = file.readline(_LONGEST_LABEL).partition(b" ")
    text = text.removesuffix(b"\n")
    if check != b"%08x" % zlib.crc32(text):
        raise DamagedRecord
    try:
        label = Label(**json.loads(text))
    except (TypeError, ValueError):
        raise DamagedRecord from None
    if label.name != name:
        raise DamagedRecord
    return label


def read_bytes(file: BinaryIO, label: Label, start: int, stop: int) -> bytes:
    """Read bytes `start` to `stop`, and check the blocks they lie in.

    Parameters
    ----------
    file : BinaryIO
        Just after `read_label`.
    label : Label
        What it returned.
    start, stop : int
        Within the bytes.

    Raises
    ------
    DamagedRecord
        If the bytes are not those that were written.
    """
    first, last = start // BLOCK, -(-stop // BLOCK)
    begin, end = first * BLOCK, min(last * BLOCK, label.size)
    file.seek(begin, 1)
    body = file.read(max(0, end - begin))
    if stop > label.size or _checks(body) != label.checks[first:last]:
        raise DamagedRecord
    return body[start - begin : stop - begin]


def _checks(body: bytes) -> list[int]:
    view = memoryview(body)
    return [zlib.crc32(view[at : at + BLOCK]) for at in range(0, len(body), BLOCK)]
