"""When Python looks for its oldest garbage: not while somebody waits for a picture."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_RARELY = 1000
"""The threshold of `gc` for the oldest, in collections of the middle generation."""


class _Waiting:
    """How many wait, in any thread, and what the threshold was before the first."""

    def __init__(self) -> None:
        # Garbage is collected inside the blocks below, too, and may end a wait.
        self._lock = RLock()
        self._count = self._before = 0

    def begin(self) -> None:
        """Raise the threshold, where nobody has done so."""
        with self._lock:
            young, middle, oldest = gc.get_threshold()
            self._count += 1
            if self._count == 1:
                self._before = oldest
            if 0 < oldest < _RARELY:
                gc.set_threshold(young, middle, _RARELY)

    def end(self) -> None:
        """Put the threshold back after the last, unless others have set it since."""
        with self._lock:
            young, middle, oldest = gc.get_threshold()
            self._count -= 1
            if self._count == 0 and oldest == _RARELY:
                gc.set_threshold(young, middle, self._before)


_waiting = _Waiting()


@contextmanager
def oldest_garbage_waits() -> Iterator[None]:
    """Let Python go through all objects of the process later than in this block.

    Imports, documents and the wells of a plate make so many that it would, for 0.07 s
    in a script and 0.2 s in napari, in which all threads stand. Young garbage is
    collected as ever.
    """
    _waiting.begin()
    try:
        yield
    finally:
        _waiting.end()
