"""JSON that others wrote: parsed within bounds, and its values read with tolerance."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import MetadataError
from napari_omezarr.plain_text import bytes_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from numpy.typing import NDArray

# Bounds: of endless lists only the beginning is parsed.

MOST_ELEMENTS = 20_000
"""Of a longer list the first ones are read, where it is not said otherwise."""

MOST_WELLS = 10_000
"""Of a plate."""

MOST_BYTES = 64 << 20
MOST_PARSED = 256 << 20
"""A document takes so many bytes at most: as text, and as values in memory."""

_LONG = 64 << 20
"""A document that would take more has its longest lists cut, where only read."""

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
        size = f"{bytes_text(len(body))} long, and {bytes_text(MOST_BYTES)}"
        raise DocumentError(f"This document is {size} are the most that are read")
    shortened = shortened and body.lstrip()[:1] == b"{"
    if shortened and len(body) > _LARGE and (few := _with_few_wells(body)):
        # Where the list ends is a guess, and a wrong one leaves no JSON.
        with suppress(DocumentError):
            return load_json(few)
    if shortened and _size(body) > _LONG:
        body = _with_few_entries(body)
        body = _with_short_lists(body) if _size(body) > _LONG else body
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


_LARGE = 4 << 20
"""Of larger documents of plates only the first wells are parsed."""
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def _size(body: bytes) -> int:
    """Say what values take at least in CPython, without parsing them to find out."""
    objects, lists, values = _counted(body, b"{[,")
    return len(body) + 200 * objects + 64 * lists + 40 * values


_COUNTED = 1 << 18


def _counted(body: bytes, marks: bytes, begin: int = 0, end: int = -1) -> list[int]:
    """Count some characters in blocks that a processor's cache holds.

    It takes a fifth of the time of ``bytes.count`` for each of them.
    """
    text = np.frombuffer(body, np.uint8)[begin : len(body) if end < 0 else end]
    counts = [0] * len(marks)
    for start in range(0, len(text), _COUNTED):
        block = text[start : start + _COUNTED]
        for number, mark in enumerate(marks):
            counts[number] += int(np.count_nonzero(block == mark))
    return counts


def _depth(body: bytes) -> int:
    """Say how deep brackets are nested."""
    brackets = np.frombuffer(body.translate(None, _OTHERS), np.uint8)
    opening = (brackets == ord("[")) | (brackets == ord("{"))
    steps = np.where(opening, 1, -1).astype(np.int8)
    return int(np.cumsum(steps, dtype=np.int32).max(initial=0))


# Endless lists: found by their brackets and commas, many at a time.

_WELLS = re.compile(rb'"wells"\s*:\s*\[')


def well_key(text: str) -> tuple[str, str]:
    """Give the row in capitals, and the column without zeros before it.

    People write ``B3``, ``b03`` or ``B/3`` of one well, however its plate spells it.
    """
    row, slash, column = text.strip().upper().partition("/")
    if not slash:
        column = row.lstrip(ascii_uppercase)
        row = row.removesuffix(column) if column else row
    return row, column.lstrip("0") or column


def with_wells(
    body: bytes,
    rows: Iterable[str] | None,
    columns: Iterable[str] | None,
    wells: Collection[str] = (),
) -> bytes | None:
    """Leave out of a plate's document all wells but those of some rows and columns.

    None stands for all of them; `wells` are names as people write them, none for all.
    None where no well is left; as it was where wells are not plain.
    """
    place = _flat_wells(body)
    if place is None or not _count_with_paths(body, *place):
        return body
    begin, end = place
    # What is not wanted is passed over in C, of a million wells nearly all.
    row, column = map(_one_of, (rows, columns))
    spelled = {name.replace("/", "").upper().encode() for name in wells}
    alike = {tuple(part.encode() for part in well_key(name)) for name in wells}
    path = re.compile(rb'"path"\s*:\s*"(%b)/(%b)/?"' % (row, column))
    kept = [
        body[body.rfind(b"{", begin, m.start()) : body.find(b"}", m.end(), end) + 1]
        for m in path.finditer(body, begin, end)
        if not wells
        or (m[1] + m[2]).upper() in spelled
        or (m[1].upper(), m[2].upper().lstrip(b"0") or m[2]) in alike
    ]
    return body[:begin] + b", ".join(kept) + body[end:] if kept else None


def _one_of(names: Iterable[str] | None) -> bytes:
    """Give a pattern for any of some names, or for any name at all."""
    if names is None:
        return b'[^"/]*'
    every = b"|".join(re.escape(name.encode()) for name in names)
    return b"(?:%b)" % (every or b"(?!)")


def _with_few_wells(body: bytes) -> bytes | None:
    """Leave out all but the first wells of a plate, in a hundredth of the time."""
    place = _flat_wells(body)
    if place is None:
        return None
    begin, end = place
    last = begin
    for _ in range(MOST_WELLS + 1):
        last = body.find(b"}", last, end) + 1
        if last == 0:  # there are no more
            return None
    is_right = _count_with_paths(body, begin, last) == MOST_WELLS + 1
    return body[:last] + body[end:] if is_right else None


def _flat_wells(body: bytes) -> tuple[int, int] | None:
    """Say where the list of wells begins and ends, or seems to end.

    None where that cannot be told without parsing it, as it holds lists.
    """
    found = _WELLS.search(body)
    if found is None:
        return None
    begin = found.end()
    end = body.find(b"]", begin)
    is_flat = body.find(b"[", begin, end) < 0 and body.find(b"\\", begin, end) < 0
    return (begin, end) if end >= 0 and is_flat else None


def _count_with_paths(body: bytes, begin: int, end: int) -> int:
    """Count listed objects; 0 unless they hold no others, and each has a path."""
    (count,) = _counted(body, b"{", begin, end)
    return count if count == body.count(b'"path"', begin, end) else 0


_PLAIN = {
    re.compile(rb'"colors"\s*:\s*\['): b'"label-value"',
    re.compile(rb'"properties"\s*:\s*\['): b'"label-value"',
    re.compile(rb'"coordinateTransformations"\s*:\s*\['): b'"type"',
}
"""Lists that may be long, by how they begin: a key that each of their objects has."""
_LAST = re.compile(rb"\}\s*\]")
_MOST_LISTS = 50  # of one name are looked at


def _with_few_entries(body: bytes) -> bytes:
    """Leave out all but the first colours, properties, transforms: in little time."""
    for first, key in _PLAIN.items():
        start = 0
        for _ in range(_MOST_LISTS):
            found = first.search(body, start)
            last = found and _LAST.search(body, found.end())
            if not found or not last:
                break
            start, end = found.end(), last.end() - 1
            if _count_plain(body, key, start, end) > MOST_ELEMENTS:
                kept = start
                for _ in range(MOST_ELEMENTS + 1):
                    kept = body.find(b"}", kept, end) + 1
                body = body[:kept] + body[end:]
    return body


def _count_plain(body: bytes, key: bytes, begin: int, end: int) -> int:
    """Count the objects of a list; 0 unless each has a key, and one list or none."""
    opened, closed, lists, ends = _counted(body, b"{}[]", begin, end)
    plain = opened == closed == body.count(key, begin, end)
    plain &= lists == ends and lists in (0, opened)
    return opened if plain and body.find(b"\\", begin, end) < 0 else 0


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


# A value inside a document, and notes of what was tolerated.

MOST_NOTES = 50
"""A document with thousands of faults is told in this many sentences."""


@dataclass(slots=True)
class DocumentNotes:
    """What had to be tolerated while one document was read, in order, each once."""

    url: str = ""
    sentences: dict[str, None] = field(default_factory=dict)
    left_out: int = 0

    def add(self, sentence: str) -> None:
        """Keep ``sentence`` unless it is known; count it when there are too many."""
        if sentence in self.sentences:
            return
        if len(self.sentences) < MOST_NOTES:
            self.sentences[sentence] = None
        else:
            self.left_out += 1

    def collected(self) -> tuple[str, ...]:
        """Return all sentences; the last one says how many more there were."""
        more = f"{self.left_out} more problems are not listed."
        return (*self.sentences, *((more,) if self.left_out else ()))


def short_text(value: object) -> str:
    """Return a short text for ``value`` that is safe in any message."""
    if isinstance(value, str):
        text = value if len(value) <= 40 else f"{value[:37]}..."
        return repr(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    if isinstance(value, int) and value.bit_length() > 128:
        return "a very large number"
    if value is None or isinstance(value, int | float):
        return repr(value)
    return "an object" if isinstance(value, Mapping) else "a list"


@dataclass(frozen=True, slots=True)
class JsonNode:
    """One JSON value; absence is a node whose value is None, as is ``null``.

    Reading never raises. What has the wrong type reads as absent, what can be
    understood all the same is converted, and both leave a note. ``where`` is the path
    in the document, like ``multiscales/0/axes``.
    """

    value: Any
    where: str
    notes: DocumentNotes

    @property
    def exists(self) -> bool:
        """Whether the document holds a value other than null here."""
        return self.value is not None

    def note(self, sentence: str) -> None:
        """Leave a sentence about this value."""
        self.notes.add(f"{self.where}: {sentence}" if self.where else sentence)

    def error(self, problem: str) -> MetadataError:
        """Return, for raising, the error that this value makes the node unusable."""
        return MetadataError(problem, where=self.where, url=self.notes.url)

    def child(self, key: str) -> JsonNode:
        """Return the value below ``key``; absent where this is not an object."""
        # Mapping's own check is slow, and a document may have a million children.
        known = type(self.value) is dict or isinstance(self.value, Mapping)
        value = self.value.get(key) if known else None
        return JsonNode(value, f"{self.where}/{key}" if self.where else key, self.notes)

    def elements(self, most: int = MOST_ELEMENTS) -> tuple[JsonNode, ...]:
        """Return the elements of a list; one value that is no list is one element.

        Of a list of more than ``most`` the first ones, with a note.
        """
        if self.value is None:
            return ()
        if not isinstance(self.value, list | tuple):
            self.note("is not a list; its value is read as the only element")
            return (self,)
        return tuple(
            JsonNode(value, f"{self.where}/{index}", self.notes)
            for index, value in enumerate(self.first(most))
        )

    def first(self, most: int) -> list[Any]:
        """Return the first values of a list, with a note where there are more."""
        values = list(self.value[:most])
        if len(self.value) > most:
            count = f"{len(self.value):,}"
            if len(self.value) in (most + 1, MOST_ELEMENTS + 1):  # there may be more
                count = f"more than {len(self.value) - 1:,}"
            self.note(f"lists {count} entries, of which the first {most:,} are read")
        return values

    def text(self) -> str | None:
        """Return a string; a number becomes one, with a note."""
        if self.value is None or isinstance(self.value, str):
            return self.value
        if isinstance(self.value, int | float) and not isinstance(self.value, bool):
            self.note(f"is {short_text(self.value)} and no string")
            return short_text(self.value)
        self._reject("a string")
        return None

    def number(self) -> float | None:
        """Return a finite float; numeric strings are read, with a note."""
        if self.value is None:
            return None
        numeric = isinstance(self.value, int | float | str)
        if not numeric or isinstance(self.value, bool):
            self._reject("a number")
            return None
        try:
            number = float(self.value)
        except (ValueError, OverflowError):
            self._reject("a number")
            return None
        if not math.isfinite(number):
            self._reject("a finite number")
            return None
        if isinstance(self.value, str):
            self.note(f"is the string {short_text(self.value)} and no number")
        return number

    def integer(self) -> int | None:
        """Return an integer; a float without fraction is one."""
        if isinstance(self.value, int) and not isinstance(self.value, bool):
            return self.value
        number = self.number()
        if number is None:
            return None
        if not number.is_integer():
            self._reject("an integer")
            return None
        return int(number)

    def flag(self, *, default: bool) -> bool:
        """Return a boolean; 0 and 1 are read as one, with a note."""
        if self.value is None or isinstance(self.value, bool):
            return default if self.value is None else self.value
        if self.value in (0, 1):
            self.note(f"is {short_text(self.value)} and no boolean")
            return bool(self.value)
        self._reject("true or false")
        return default

    def _reject(self, expected: str) -> None:
        self.note(f"is {short_text(self.value)} and not {expected}; it is ignored")


# Which version of OME-Zarr a document is written in.

KNOWN_VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.9.dev1")

_PATTERN = re.compile(r"\s*v?(\d{1,4})\.(\d{1,4})(.{0,20})", re.DOTALL)


def read_version(root: JsonNode, *, namespaced: bool) -> str | None:
    """Return the version that a group's document is to be read as.

    It is major and minor (``0.4`` for ``0.4.1``, ``0.6`` for ``0.6rc0``), or the
    document's own text where that is newer than all that are known. Where it is
    absent, the structure tells; None for groups that have no place for a version.
    """
    for place in _places(root):
        if place.exists:
            version = _understood(place)
            if version is not None:
                return version
    return _inferred(root, namespaced=namespaced)


def _places(root: JsonNode) -> tuple[JsonNode, ...]:
    """Return where a version may be, the most authoritative first."""
    blocks = (
        root,
        _first_multiscale(root),
        *map(root.child, ("plate", "well", "image-label")),
    )
    return tuple(block.child("version") for block in blocks)


def _understood(node: JsonNode) -> str | None:
    text = node.text()
    match = _PATTERN.fullmatch(text or "")
    if match is None:
        node.note(f"is {short_text(node.value)} and no version; it is inferred")
        return None
    major, minor, rest = int(match[1]), int(match[2]), match[3].strip()
    version = f"{major}.{minor}"
    if f"{version}{rest}" in KNOWN_VERSIONS:
        return f"{version}{rest}"
    if version in KNOWN_VERSIONS:
        return version
    node.note(f"{short_text(text)} is not known here; read as well as can be")
    return f"{version}{rest}"


def _inferred(root: JsonNode, *, namespaced: bool) -> str | None:
    """Infer a version, as the versions differ in structure."""
    # ``coordinateSystems`` came with 0.6, the ``ome`` namespace with 0.5, axes as
    # objects with 0.4 and axes at all with 0.3. Up to 0.4 a version is only a SHOULD,
    # and labels groups and bioformats2raw roots have none.
    image = _first_multiscale(root)
    if image.child("coordinateSystems").exists or root.child("scene").exists:
        version = "0.6"
    elif namespaced:
        version = "0.5"
    elif image.exists:
        version = _by_axes(image.child("axes").value)
    elif root.child("plate").exists or root.child("well").exists:
        version = "0.4"
    else:
        return None
    root.note(f"There is no version; read as {version}.")
    return version


def _first_multiscale(root: JsonNode) -> JsonNode:
    multiscales = root.child("multiscales")
    if isinstance(multiscales.value, list | tuple) and multiscales.value:
        return multiscales.elements()[0]
    return multiscales


def _by_axes(axes: object) -> str:
    if not isinstance(axes, list) or not axes:
        return "0.1"
    return "0.3" if isinstance(axes[0], str) else "0.4"


# Paths inside a store as documents give them; nothing may lead out of the group.

_DRIVE = re.compile(r"[A-Za-z]:([/\\]|$)")


def escapes(path: str) -> bool:
    """Whether ``path`` leaves the group that it is relative to."""
    # A leading slash is harmless: it is read as the group itself, never as the root of
    # a file system.
    parts = re.split(r"[/\\]", path)
    return ".." in parts or _DRIVE.match(path.lstrip("/\\")) is not None


def is_usable_path(text: str) -> bool:
    """Whether a text is a path inside a group that a store can hold."""
    return not escapes(text) and _is_storable(text)


def relative_path(node: JsonNode) -> str | None:
    """Return the path that ``node`` gives, without slashes at its ends.

    None, with a note, where it is no usable path: absent, empty, the group itself, or
    text that no store can hold. A path out of the group raises `MetadataError`.
    """
    text = node.text()
    if text is None:
        return None
    if escapes(text):
        raise node.error("This path leads out of its group and is refused")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or not _is_storable(text):
        node.note("is no usable path")
        return None
    path = "/".join(parts)
    if path != text.rstrip("/"):
        node.note(f"is not a plain relative path; read as {path}")
    return path


def _is_storable(text: str) -> bool:
    """Whether a key of a store can be made of ``text``."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, legal in JSON
        return False
    return all(character >= " " for character in text)
