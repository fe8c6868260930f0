"""A value inside a JSON document, read with tolerance and with its path at hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_omezarr.errors import MetadataError

MOST_NOTES = 50
"""A document with thousands of faults is told in this many sentences."""


@dataclass(slots=True)
class Notes:
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


def shown(value: object) -> str:
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
class Node:
    """One JSON value; absence is a node whose value is None, as is ``null``.

    Reading never raises. What has the wrong type reads as absent, what can be
    understood all the same is converted, and both leave a note.

    Parameters
    ----------
    value : Any
        The parsed JSON value.
    where : str
        Its path in the document, like ``multiscales/0/axes``.
    notes : Notes
        Where the document's notes are collected.
    """

    value: Any
    where: str
    notes: Notes

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

    def child(self, key: str) -> Node:
        """Return the value below ``key``; absent where this is not an object."""
        value = self.value.get(key) if isinstance(self.value, Mapping) else None
        return Node(value, f"{self.where}/{key}" if self.where else key, self.notes)

    def elements(self) -> tuple[Node, ...]:
        """Return the elements of a list; one value that is no list is one element."""
        if self.value is None:
            return ()
        if not isinstance(self.value, list | tuple):
            self.note("is not a list; its value is read as the only element")
            return (self,)
        return tuple(
            Node(value, f"{self.where}/{index}", self.notes)
            for index, value in enumerate(self.value)
        )

    def text(self) -> str | None:
        """Return a string; a number becomes one, with a note."""
        if self.value is None or isinstance(self.value, str):
            return self.value
        if isinstance(self.value, int | float) and not isinstance(self.value, bool):
            self.note(f"is {shown(self.value)} and no string")
            return shown(self.value)
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
            self.note(f"is the string {shown(self.value)} and no number")
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
            self.note(f"is {shown(self.value)} and no boolean")
            return bool(self.value)
        self._reject("true or false")
        return default

    def _reject(self, expected: str) -> None:
        self.note(f"is {shown(self.value)} and not {expected}; it is ignored")
