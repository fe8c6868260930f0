"""What a store sent, received, and has to say about it."""

from __future__ import annotations

from dataclasses import dataclass


class Notes:
    """Sentences for the person, each kept once however often it is said."""

    def __init__(self) -> None:
        self._sentences: dict[str, None] = {}

    def add(self, sentence: str) -> None:
        """Keep a sentence."""
        self._sentences.setdefault(sentence)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The sentences, in the order in which they came up."""
        return tuple(self._sentences)


@dataclass(slots=True)
class Tally:
    """Counters of one store, written on the I/O loop only.

    Attributes
    ----------
    waves : int
        Sets of keys that were asked for at once.
    requests : int
        GETs sent, repeated ones and those that failed included.
    received : int
        Bytes of bodies that arrived.
    """

    waves: int = 0
    requests: int = 0
    received: int = 0
