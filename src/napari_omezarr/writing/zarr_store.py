"""A zarr hierarchy in a store that somebody else made."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from zarr.buffer import default_buffer_prototype
from zarr.storage import StorePath

from napari_omezarr._io_loop import io_loop
from napari_omezarr.errors import ConflictError, NodeNotFoundError
from napari_omezarr.store import run

from .target import Stored

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from zarr.abc.store import Store


class StoreHierarchy:
    """A hierarchy in a zarr store; see `target.Hierarchy`.

    Parameters
    ----------
    store : zarr.abc.store.Store
        It can be written to, and listed for what is to be removed.
    address : str
        What to call it.
    concurrency : int, optional
        How many objects may be written at a time.
    is_object_store : bool, optional
        Whether many small objects are worth avoiding.
    """

    def __init__(
        self,
        store: Store,
        address: str,
        concurrency: int = 8,
        *,
        is_object_store: bool = False,
    ) -> None:
        self.store = store
        self.address = address
        self.concurrency = concurrency
        self.is_object_store = is_object_store

    def node(self, path: str) -> StorePath:
        """Give where zarr finds an array."""
        return StorePath(self.store, path)

    def read(self, key: str) -> Stored | None:
        """Read a document; None where there is none."""
        found = run(self.store.get(key, default_buffer_prototype()))
        if found is None:
            return None
        body = found.to_bytes()
        return Stored(body, hashlib.blake2b(body, digest_size=16).hexdigest())

    def read_all(self, keys: Sequence[str]) -> list[Stored | None]:
        """Read documents."""
        return [self.read(key) for key in keys]

    def put(self, key: str, body: bytes) -> None:
        """Write a document."""
        buffer = default_buffer_prototype().buffer.from_bytes(body)
        run(self.store.set(key, buffer))

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Begin to write an object."""
        buffer = default_buffer_prototype().buffer.from_bytes(body)
        return asyncio.run_coroutine_threadsafe(self.store.set(key, buffer), io_loop())

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Begin to copy an object: all that a store can do is read and write."""
        return asyncio.run_coroutine_threadsafe(self._copy(key, to), io_loop())

    def begin_delete(self, key: str) -> Future[None]:
        """Begin to delete an object."""
        return asyncio.run_coroutine_threadsafe(self.store.delete(key), io_loop())

    def replace(self, key: str, body: bytes, expected: Stored | None) -> None:
        """Write a document if it is still as it was read.

        Raises
        ------
        ConflictError
            It has been changed meanwhile.
        """
        found = self.read(key)
        if (found and found.tag) != (expected and expected.tag):
            raise ConflictError(
                f"{self.address}/{key} has been changed by somebody else.",
                action="Look at it again, and then repeat.",
                url=self.address,
            )
        self.put(key, body)

    def holds(self, prefix: str) -> bool:
        """Whether anything lies below a path."""
        return bool(run(self._keys(prefix)))

    def sizes(self, prefix: str) -> dict[str, int]:
        """List what lies below a path."""
        return run(self._sizes(prefix))

    def remove(self, prefix: str) -> None:
        """Remove a path with all that lies below it."""
        run(self._remove(prefix))

    def sweep(self, prefix: str) -> None:
        """Nothing is half written in a store."""

    def hurry(self, *, on: bool) -> None:
        """How often a store tries is its own affair."""

    async def _copy(self, key: str, to: str) -> None:
        found = await self.store.get(key, default_buffer_prototype())
        if found is None:
            raise NodeNotFoundError(f"{self.address}/{key} is gone.", url=self.address)
        await self.store.set(to, found)

    async def _sizes(self, prefix: str) -> dict[str, int]:
        keys = await self._keys(prefix)
        sizes = await asyncio.gather(*map(self.store.getsize, keys))
        return dict(zip(keys, sizes, strict=True))

    async def _remove(self, prefix: str) -> None:
        for key in await self._keys(prefix):
            await self.store.delete(key)

    async def _keys(self, prefix: str) -> list[str]:
        below = f"{prefix}/" if prefix else ""
        return [key async for key in self.store.list_prefix(below)]
