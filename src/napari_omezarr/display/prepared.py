"""A volume that is put together in another thread before it is asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import Future

    from .assembly import Assembly


class Prepared:
    """At most one assembly, made in the background under a name.

    Copying a hundred megabytes takes the GUI thread tenths of a second, and much
    longer while chunks arrive, because both want Python's lock.

    Parameters
    ----------
    on_ready : callable
        Called, in any thread, when an assembly is ready or has failed.
    """

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        self._name: Hashable = None
        self._future: Future[Assembly] | None = None

    def has(self, name: Hashable, make: Callable[[], Assembly]) -> bool:
        """Say whether one is ready, or could not be made; else have it made.

        Parameters
        ----------
        name : Hashable
            What is wanted now. Another one that is ready is dropped for it, one that
            is still being made is waited for.
        make : callable
            Gives it; called in another thread.
        """
        busy = self._future is not None and not self._future.done()
        if busy or (self._future is not None and self._name == name):
            return not busy
        self._name = name
        self._future = _threads.submit(make)
        self._future.add_done_callback(lambda _: self._on_ready())
        return False

    def take(self, name: Hashable) -> Assembly | None:
        """Give, once, the one of this name; None if there is none."""
        future = self._future
        if future is None or self._name != name or not future.done():
            return None
        self._future = None
        return None if future.exception() else future.result()

    def drop(self) -> None:
        """Forget what is ready or being made."""
        self._future = None


_threads = ThreadPoolExecutor(1, "napari-omezarr volume")
