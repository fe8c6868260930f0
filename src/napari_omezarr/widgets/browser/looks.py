"""Looking at the rows that are visible, and no longer at those that are not."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_omezarr.browsing import Kind, Prober

from .reply import Reply, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from qtpy.QtCore import QObject

    from napari_omezarr.browsing import Entry

Spot = tuple[int, int]
"""The key of a branch and a row in it."""


class Looks:
    """The questions about rows that are under way.

    Parameters
    ----------
    found : callable
        Gets the spot and what lies there, in the GUI thread.
    owner : QObject
        Whose method that is.
    """

    def __init__(self, found: Callable[[Spot, Entry], None], owner: QObject) -> None:
        self._found = found
        self._owner = owner
        self._prober = Prober()
        self._asked: dict[Spot, Reply] = {}

    @property
    def busy(self) -> bool:
        """Whether an answer is to come."""
        return bool(self._asked)

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return self._prober.requests

    @property
    def received(self) -> int:
        """How many bytes came."""
        return self._prober.bytes_received

    def look_at(self, visible: Mapping[Spot, Entry]) -> None:
        """Ask about these rows where nothing is known, and about no others."""
        for spot in self._asked.keys() - visible.keys():
            self._asked.pop(spot).drop()
        for spot, entry in visible.items():
            if spot not in self._asked and _is_open(entry):
                future = self._prober.start(entry)
                receive = partial(self._receive, spot)
                self._asked[spot] = Reply(future, receive, self._owner)

    def stop(self) -> None:
        """End all questions."""
        self.look_at({})

    def _receive(self, spot: Spot, future: Future[Entry]) -> None:
        self._asked.pop(spot, None)
        # What cannot be looked at is an entry with a problem, not an exception.
        if failure(future) is None:
            self._found(spot, future.result())


def _is_open(entry: Entry) -> bool:
    known = entry.recognised or entry.problem
    return not known and entry.kind not in (Kind.FILE, Kind.BUCKET)
