"""Whatever fsspec can write to and we have no way of our own for: gs, az, memory."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .generic import bounds_of, status_of
from .outlet import Entry, Held, Page
from .refusal import Refusal, Refused
from .transport import LOCAL_CONCURRENCY, REMOTE_CONCURRENCY

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest

    from .outlet import Attempts, Condition
    from .translation import Place


class GenericOutlet:
    """The keys below a path of an fsspec filesystem.

    It knows no conditions: who writes on one has to look before.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
        If it is asynchronous, it must belong to fsspec's own loop, as by default.
    path : str
        The path in its terms.
    place : Place
        Whom to name in an error.
    foreign : tuple of types, optional
        The filesystem's own exceptions that are no OSErrors.
    """

    def __init__(
        self,
        filesystem: Any,
        path: str,
        place: Place,
        foreign: tuple[type[Exception], ...] = (),
    ) -> None:
        self.concurrency = (
            REMOTE_CONCURRENCY if filesystem.async_impl else LOCAL_CONCURRENCY
        )
        self._filesystem = filesystem
        self._path = path
        self._place = place
        self._errors: tuple[type[Exception], ...] = (OSError, *foreign)

    async def read(self, key: str, wanted: ByteRequest | None = None) -> Held | None:
        """Read a key, or a part of it."""
        start, end = bounds_of(wanted)
        try:
            body = await self._call("cat_file", self._at(key), start=start, end=end)
        except (FileNotFoundError, IsADirectoryError):
            return None
        return Held(body, hashlib.blake2b(body, digest_size=16).hexdigest())

    async def write(
        self, key: str, body: bytes, condition: Condition | None = None
    ) -> None:
        """Write a key, whatever is there."""
        await self._call("pipe_file", self._at(key), bytes(body))

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write a key; the filesystem itself cuts what is long."""
        await attempts(partial(self.write, key, body))

    async def delete(self, key: str) -> None:
        """Delete a key."""
        try:
            await self._call("rm_file", self._at(key))
        except FileNotFoundError:
            return

    async def page(self, prefix: str, rest: str = "", size: int = 1000) -> Page:
        """List all at once."""
        folder = self._at(prefix)
        self._filesystem.invalidate_cache(folder)
        try:
            found = await self._call("find", folder, detail=True)
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

    def _at(self, key: str) -> str:
        return f"{self._path}/{key}".rstrip("/")

    async def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        try:
            if self._filesystem.async_impl:
                # The asynchronous half of fsspec's contract: an underscore before.
                return await getattr(self._filesystem, f"_{name}")(
                    *arguments, **options
                )
            call = getattr(self._filesystem, name)
            return await asyncio.to_thread(call, *arguments, **options)
        except self._errors as error:
            status = status_of(error)
            if not status and isinstance(error, OSError):
                raise
        raise Refused(Refusal(status, signed=True))
