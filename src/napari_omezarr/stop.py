"""Ending what a thread waits for, from another thread."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

_heeded: ContextVar[Stop | None] = ContextVar("napari_omezarr_stop", default=None)


class Stop:
    """A word that ends the requests of whoever heeds it, now and from then on.

    A thread that waits in ``run`` cannot look at a flag. What it waits for can be
    cancelled instead: its requests end, pauses before another try included, and
    ``run`` raises ``concurrent.futures.CancelledError``.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._said = False
        self._awaited: set[Future[Any]] = set()

    def say(self) -> None:
        """End it; callable from every thread, and more than once."""
        with self._lock:
            self._said = True
            awaited = tuple(self._awaited)
        for future in awaited:
            future.cancel()

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Let what this thread waits for inside the block end with the word."""
        token = _heeded.set(self)
        try:
            yield
        finally:
            _heeded.reset(token)

    def watch(self, future: Future[Any]) -> None:
        """Cancel a future when the word is said, or now if it was."""
        with self._lock:
            said = self._said
            self._awaited.add(future)
        future.add_done_callback(self._forget)
        if said:
            future.cancel()

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._awaited.discard(future)


def heeded_stop() -> Stop | None:
    """Give the word that this thread heeds, if any."""
    return _heeded.get()
