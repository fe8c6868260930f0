"""JSON that others wrote, parsed within bounds: of endless lists only the beginning."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MOST_ELEMENTS = 20_000
"""Of a longer list the first ones are read, where it is not said otherwise."""

MOST_BYTES = 64 << 20
MOST_PARSED = 256 << 20
"""A document takes so many bytes at most: as text, and as values in memory."""

MOST_DEPTH = 100


class DocumentError(ValueError):
    """A document is no JSON, or more of it than can be read; says which in words."""


def load_json(body: bytes, *, shortened: bool = False) -> Any:
    """Parse a document that others wrote, unless it would take too much memory.

    With `shortened`, lists that make it so large are read up to one more element than
    `MOST_ELEMENTS`; not for documents that are to be written back.

    Raises
    ------
    DocumentError
        It is not JSON, too long, or nested too deep.
    """
    if len(body) > MOST_BYTES:
        size = f"{len(body) / 1e6:.0f} MB long, and {MOST_BYTES / 1e6:.0f}"
        raise DocumentError(f"This document is {size} MB are the most that are read")
    if _size(body) > MOST_PARSED and shortened and body.lstrip()[:1] == b"{":
        body = _with_few_wells(body) or _with_short_lists(body)
    if _size(body) > MOST_PARSED:
        raise DocumentError("This document holds more than can be read at once")
    # Looked at twice, as those in strings nest nothing and are slow to leave out.
    if (
        body.count(b"{") + body.count(b"[") > MOST_DEPTH
        and _depth(body) > MOST_DEPTH
        and _depth(_STRING.sub(b"", body)) > MOST_DEPTH
    ):
        raise DocumentError("This document is nested too deep")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise DocumentError("This document is not JSON") from None


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def _size(body: bytes) -> int:
    """Say what values take at least in CPython, without parsing them to find out."""
    objects, lists, values = map(body.count, (b"{", b"[", b","))
    return len(body) + 200 * objects + 64 * lists + 40 * values


def _depth(body: bytes) -> int:
    """Say how deep brackets are nested."""
    brackets = np.frombuffer(body.translate(None, _OTHERS), np.uint8)
    opening = (brackets == ord("[")) | (brackets == ord("{"))
    steps = np.where(opening, 1, -1).astype(np.int8)
    return int(np.cumsum(steps, dtype=np.int32).max(initial=0))


# Endless lists: found by their brackets and commas, many at a time.

_WELLS = re.compile(rb'"wells"\s*:\s*\[')


def _with_few_wells(body: bytes) -> bytes | None:
    """Leave out all but the first wells of a plate, in a tenth of the time.

    None where they are not objects without lists and objects in them.
    """
    found = _WELLS.search(body)
    if found is None:
        return None
    begin, last = found.end(), found.end()
    end = body.find(b"]", begin)
    is_flat = body.find(b"[", begin, end) < 0 and body.find(b"\\", begin, end) < 0
    counts = {body.count(mark, begin, end) for mark in (b"{", b"}", b'"path"')}
    if end < 0 or not is_flat or len(counts) > 1 or counts.pop() <= MOST_ELEMENTS:
        return None
    for _ in range(MOST_ELEMENTS + 1):
        last = body.find(b"}", last, end) + 1
    return body[:last] + body[end:]


_BLOCK = 4 << 20
_MOST_MARKS = 12_000_000
_MARKS = np.isin(np.arange(256), list(b"[]{},"))
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


def _with_short_lists(body: bytes) -> bytes:
    """Leave out what comes behind the first elements of each list that is too long."""
    places = _marks(body)
    if len(places) > _MOST_MARKS:
        return body
    marks = np.frombuffer(body, np.uint8)[places]
    steps = _STEPS[marks]
    depths = np.cumsum(steps, dtype=np.int32)
    if not 0 <= depths.min() <= depths.max() <= MOST_DEPTH:
        return body
    depths = depths.astype(np.int8)
    cuts = [
        cut
        for depth in range(1, int(depths.max()) + 1)
        for cut in _long_lists(marks, steps, depths, depth)
    ]
    kept, end = [], 0
    for first, last in sorted(cuts):
        if places[first] >= end:  # else it is within one that is left out
            kept.append(body[end : places[first]])
            end = int(places[last])
    return b"".join((*kept, body[end:]))


def _long_lists(
    marks: NDArray[np.uint8], steps: NDArray[np.int8], depths: NDArray[Any], depth: int
) -> Iterator[tuple[int, int]]:
    """Give, of each list of a depth that is too long, where to cut and its end."""
    here = depths == depth
    commas = np.flatnonzero(here & (steps == 0))
    if len(commas) <= MOST_ELEMENTS:
        return
    opened = np.flatnonzero(here & (steps == 1))
    # Those that stand behind an opening bracket, up to the next one, are its own.
    firsts = np.searchsorted(commas, opened)
    long = np.flatnonzero(np.diff(firsts, append=len(commas)) > MOST_ELEMENTS)
    closed = np.flatnonzero((depths == depth - 1) & (steps == -1))
    for number in long.tolist():
        if marks[opened[number]] == ord("[") and number < len(closed):
            yield int(commas[firsts[number] + MOST_ELEMENTS]), int(closed[number])


def _marks(body: bytes) -> NDArray[np.int32]:
    """Give the places of brackets and commas that are not in strings."""
    if b"\\" in body:  # as long as before, and no quote that ends nothing
        body = body.replace(rb"\\", b"__").replace(rb"\"", b"__")
    text = np.frombuffer(body, np.uint8)
    found, within = [], False
    for start in range(0, len(text), _BLOCK):
        block = text[start : start + _BLOCK]
        inside = np.bitwise_xor.accumulate(block == ord('"')) ^ within
        found.append(np.flatnonzero(_MARKS[block] & ~inside).astype(np.int32) + start)
        within = bool(inside[-1])
    return np.concatenate(found)
