"""A depot as a zarr store, for the pixels of what is being written."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from zarr.abc.store import Store

from .loop import on_io_loop

if TYPE_CHECKING:
    import builtins
    from collections.abc import AsyncIterator, Iterable

    from zarr.abc.buffer import Buffer, BufferPrototype
    from zarr.abc.store import ByteRequest

    from .depot import Depot
    from .outlet import Held


class DepotStore(Store):
    """The objects of a depot, as zarr wants them; nothing is cached.

    Parameters
    ----------
    depot : Depot
        Where.
    read_only : bool, optional
        Refuse to change anything.
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, depot: Depot, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.depot = depot

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a key, or a part of it, from any loop."""
        found: Held | None = await on_io_loop(self.depot.read(key, byte_range))
        return None if found is None else prototype.buffer.from_bytes(found.body)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> builtins.list[Buffer | None]:
        """Read parts of keys, all at once."""
        return await asyncio.gather(
            *(self.get(key, prototype, wanted) for key, wanted in key_ranges)
        )

    async def exists(self, key: str) -> bool:
        """Say whether there is a key."""
        return await on_io_loop(self.depot.read(key)) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Write a key."""
        self._refuse_if_read_only()
        await on_io_loop(self.depot.put(key, value.to_bytes()))

    async def delete(self, key: str) -> None:
        """Delete a key; none there is as good."""
        self._refuse_if_read_only()
        await on_io_loop(self.depot.delete(key))

    async def list(self) -> AsyncIterator[str]:
        """List all keys."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List the keys that begin with a prefix."""
        for key in await on_io_loop(self._keys(prefix.rpartition("/")[0])):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List what lies directly below a folder."""
        below = f"{prefix.rstrip('/')}/".lstrip("/")
        keys = await on_io_loop(self._keys(prefix.strip("/")))
        names = {key[len(below) :].partition("/")[0] for key in keys}
        for name in sorted(names):
            yield name

    async def _keys(self, folder: str) -> builtins.list[str]:
        return [entry.key async for entry in self.depot.entries(folder)]

    def with_read_only(self, read_only: bool = False) -> DepotStore:
        """Return a store of the same objects."""
        return DepotStore(self.depot, read_only=read_only)

    def _refuse_if_read_only(self) -> None:
        if self.read_only:
            raise ValueError(f"{self} is opened for reading only.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DepotStore):
            return False
        same = self.depot.location == other.depot.location
        return same and self.read_only == other.read_only

    def __hash__(self) -> int:
        return hash(self.depot.location)

    def __repr__(self) -> str:
        return f"DepotStore({str(self)!r})"

    def __str__(self) -> str:
        return self.depot.location.display

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(DepotStore, read_only=self.read_only), (self.depot,)
