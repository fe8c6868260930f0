"""Looking at the rows that are visible: one wave of questions for each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from napari_omezarr._io_loop import start
from napari_omezarr.store import open_store

from .entry import Kind
from .recognition import probe_keys, recognised

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari_omezarr.location import Location
    from napari_omezarr.store import Patience, PlaceStore

    from .entry import Entry

AT_A_TIME = 8
"""How many rows are looked at together."""


class Prober:
    """Says what entries are; keep one for as long as the rows of a place are shown.

    Parameters
    ----------
    patience : Patience, optional
        How long to wait, and how often to ask.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self._stores: dict[Location, PlaceStore] = {}

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""
        return sum(store.requests for store in self._stores.values())

    @property
    def bytes_received(self) -> int:
        """How many bytes of answers came so far."""
        return sum(store.bytes_received for store in self._stores.values())

    def start(self, entry: Entry) -> Future[Entry]:
        """Begin to look at an entry; returns at once.

        Returns
        -------
        concurrent.futures.Future
            Its result is the entry with what was found; one that could not be
            looked at says why in `problem` and is not `recognised`. ``cancel`` it
            when the row scrolls away: what waits for its turn then asks nothing.
        """
        return start(self.probe(entry))

    async def probe(self, entry: Entry) -> Entry:
        """Look at an entry, on the I/O loop, when its turn has come."""
        if entry.recognised or entry.kind is Kind.FILE:
            return entry
        async with self._slots:
            store, path = self._store(entry)
            # Each row by itself: that others can be read says nothing of this one.
            answers = await store.answers(probe_keys(path), apart=True)
        return recognised(entry, path, answers)

    def _store(self, entry: Entry) -> tuple[PlaceStore, str]:
        """Give the store to ask: siblings share one, an archive has its own."""
        inside = entry.kind is not Kind.ARCHIVE
        place, path = (entry.parent, entry.path) if inside else (entry.location, "")
        if place not in self._stores:
            self._stores[place] = open_store(place, patience=self._patience)
        return self._stores[place], path
