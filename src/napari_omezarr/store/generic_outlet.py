"""Whatever fsspec can write to and we have no way of our own for: gs, az, memory."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from .generic import bounds_of
from .generic_place import GenericPlace
from .outlet import Entry, Held, Page

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest

    from .outlet import Attempts, Condition
    from .translation import Place


class GenericOutlet(GenericPlace):
    """Writes the keys below a path of an fsspec filesystem.

    It knows no conditions: who writes on one has to look before.
    """

    async def read(self, key: str, wanted: ByteRequest | None = None) -> Held | None:
        """Read a key, or a part of it."""
        start, end = bounds_of(wanted)
        try:
            body = await self.call("cat_file", self.at(key), start=start, end=end)
        except (FileNotFoundError, IsADirectoryError):
            return None
        return Held(body, hashlib.blake2b(body, digest_size=16).hexdigest())

    async def write(
        self, key: str, body: bytes, condition: Condition | None = None
    ) -> None:
        """Write a key, whatever is there."""
        await self.call("pipe_file", self.at(key), bytes(body))

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write a key; the filesystem itself cuts what is long."""
        await attempts(partial(self.write, key, body))

    async def copy(self, key: str, to: str, size: int, attempts: Attempts) -> None:
        """Let the filesystem copy a key, within its service where it can."""
        await attempts(partial(self.call, "cp_file", self.at(key), self.at(to)))

    async def delete(self, key: str) -> None:
        """Delete a key."""
        try:
            await self.call("rm_file", self.at(key))
        except FileNotFoundError:
            return

    async def page(self, prefix: str, rest: str = "", size: int = 1000) -> Page:
        """List all at once."""
        folder = self.at(prefix)
        self._filesystem.invalidate_cache(folder)
        try:
            found = await self.call("find", folder, detail=True)
        except FileNotFoundError:
            found = {}
        above = len(self._path.strip("/")) + 1 if self._path.strip("/") else 0
        return Page(
            tuple(
                Entry(name.strip("/")[above:], int(facts.get("size") or 0))
                for name, facts in sorted(found.items())
            )
        )

    def place(self, url: str, doing: str) -> Place:
        """Describe this place for the words of an error about `url`."""
        return replace(self._place, url=url, doing=doing)
