"""A zarr hierarchy in an object store."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

from zarr.storage import StorePath

from napari_omezarr._io_loop import io_loop
from napari_omezarr.errors import ConflictError
from napari_omezarr.store import open_depot, run
from napari_omezarr.store.backend import Held
from napari_omezarr.store.store import DepotStore

from .target import Stored, is_document

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from zarr.abc.store import Store

    from napari_omezarr.location import Location
    from napari_omezarr.store import Depot


class RemoteHierarchy:
    """A hierarchy below a location in an object store; see `target.Hierarchy`.

    Parameters
    ----------
    location : Location
        Where; nothing is asked yet.
    depot : Depot or None, optional
        The way there, if it is not the usual one.

    Raises
    ------
    OptionError
        Nothing can be written there.
    """

    is_object_store = True

    def __init__(self, location: Location, depot: Depot | None = None) -> None:
        self.depot = depot or open_depot(location)
        self.address = location.display
        self.concurrency = self.depot.concurrency

    @cached_property
    def store(self) -> Store:
        """The zarr store of the place; picklable."""
        return DepotStore(self.depot)

    def node(self, path: str) -> StorePath:
        """Give where zarr finds an array."""
        return StorePath(self.store, path)

    def read(self, key: str) -> Stored | None:
        """Read a document; None where there is none."""
        return self.read_all([key])[0]

    def read_all(self, keys: Sequence[str]) -> list[Stored | None]:
        """Read documents, all at once."""
        return run(self._read_all(keys))

    def put(self, key: str, body: bytes) -> None:
        """Write a document."""
        run(self.depot.put(key, body))

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Begin to write an object."""
        return asyncio.run_coroutine_threadsafe(self.depot.put(key, body), io_loop())

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Begin to copy an object, within the service where it knows how to."""
        copy = self.depot.copy(key, to, size)
        return asyncio.run_coroutine_threadsafe(copy, io_loop())

    def begin_delete(self, key: str) -> Future[None]:
        """Begin to delete an object."""
        return asyncio.run_coroutine_threadsafe(self.depot.delete(key), io_loop())

    def replace(self, key: str, body: bytes, expected: Stored | None) -> None:
        """Write a document if it is still as it was read.

        Raises
        ------
        ConflictError
            It has been changed meanwhile.
        """
        held = None if expected is None else Held(expected.body, expected.tag)
        if not run(self.depot.replace(key, body, held)):
            raise ConflictError(
                f"{self.address}/{key} has been changed by somebody else.",
                action="Look at it again, and then repeat.",
                url=self.address,
            )

    def holds(self, prefix: str) -> bool:
        """Whether anything lies below a path."""
        return run(self.depot.holds(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """List the objects below a path: a request for each thousand."""
        return run(self._sizes(prefix))

    def remove(self, prefix: str) -> None:
        """Remove all objects below a path."""
        run(self._remove(prefix))

    def sweep(self, prefix: str) -> None:
        """Nothing is half written in an object store."""

    def hurry(self, *, on: bool) -> None:
        """Try nothing again, as somebody wants to stop; or do so as before."""
        run(self.depot.hurry(on=on))

    async def _read_all(self, keys: Sequence[str]) -> list[Stored | None]:
        found = await asyncio.gather(*map(self.depot.read, keys))
        return [Stored(held.body, held.tag) if held else None for held in found]

    async def _sizes(self, prefix: str) -> dict[str, int]:
        return {e.key: e.size async for e in self.depot.entries(prefix)}

    async def _remove(self, prefix: str) -> None:
        keys = [entry.key async for entry in self.depot.entries(prefix)]
        # The documents first: what is half removed is no image any more.
        keys.sort(key=lambda key: (not is_document(key), key.count("/"), key))
        documents = [key for key in keys if is_document(key)]
        for some in (documents, keys[len(documents) :]):
            await asyncio.gather(*map(self.depot.delete, some))
