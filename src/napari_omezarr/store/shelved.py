"""A way to a place with a shelf beside it: what was once seen is not fetched again."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from napari_omezarr.errors import StoreConnectionError, StoreError

from .byterange import FIRST_BYTE
from .cachekey import cache_key
from .interruption import Interrupted, Kind
from .pages import is_page
from .tally import Notes
from .transport import Transport
from .versions import Versions

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest

    from .refusal import Refusal, Refused
    from .reply import Reply
    from .shelf import Kept, Shelf
    from .translation import Place

_OFFLINE = {Kind.UNKNOWN_HOST, Kind.NO_CONNECTION, Kind.SILENCE}
_OFFLINE_FOR = 30


@runtime_checkable
class Source(Transport, Protocol):
    """A transport that tells one version of an object from another."""

    def identity(self, key: str) -> str:
        """Return the web address of a key, the same however it is reached."""
        ...

    async def reply(
        self, key: str, wanted: ByteRequest | None, validator: str = ""
    ) -> Reply:
        """Read as `read` does, but only if the object is not of this version."""
        ...


class ShelvedTransport:
    """The keys below a place, whose answers are kept on a shelf and taken from there.

    An answer is fresh for a while, or for as long as the server says if that is
    less. Then the place is asked whether it is still the same; if nobody is there
    to be asked it is taken as it is, and a note says so. Failures and refusals are
    never kept.

    Parameters
    ----------
    source : Source
        The way to the place.
    shelf : Shelf
        Where answers are kept.
    max_age : float
        For how many seconds an answer is fresh.
    sign_in : str
        As whom the place is read, in words that are no secret.
    """

    def __init__(
        self, source: Source, shelf: Shelf, max_age: float, sign_in: str
    ) -> None:
        self.concurrency = source.concurrency
        self.tally = source.tally
        self._source = source
        self._shelf = shelf
        self._max_age = max_age
        self._sign_in = sign_in
        self._notes = Notes()
        self._versions = Versions()
        self._offline_until = 0.0

    async def version(self, key: str) -> str:
        """Ask the place itself; ``""`` while nobody is there."""
        asked = await self._source.reply(key, FIRST_BYTE)
        return asked.validator

    async def read(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        """Read a key, or a part of it, from the shelf or else from the place.

        Raises
        ------
        StoreError
            If it is a part of an object that has changed since another part of it
            was taken from the shelf.
        """
        name = cache_key(self._source.identity(key), self._sign_in)
        kept = await asyncio.to_thread(self._shelf.find, name, wanted)
        if kept is None:
            reply = await self._source.reply(key, wanted)
            return await self._fetched(key, name, wanted, reply)
        if self._is_fresh(name, kept) or time.monotonic() < self._offline_until:
            return self._taken(name, wanted, kept)
        try:
            reply = await self._source.reply(key, wanted, kept.validator)
        except (Interrupted, StoreConnectionError) as error:
            if isinstance(error, Interrupted) and error.kind not in _OFFLINE:
                raise
            self._go_offline()
            return self._taken(name, wanted, kept)
        if reply.unchanged:
            return await self._confirmed(name, wanted, kept)
        return await self._fetched(key, name, wanted, reply)

    def verdict(self, refused: Refused) -> Refusal | StoreError:
        """Return what the place says."""
        return self._source.verdict(refused)

    def place(self, url: str) -> Place:
        """Describe the place."""
        return self._source.place(url)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened there, and here."""
        return (*self._source.notes, *self._notes.sentences)

    def _is_fresh(self, name: str, kept: Kept) -> bool:
        checked = max(kept.checked, self._versions.checked(name, kept.validator))
        allowed = self._max_age if kept.lifetime is None else kept.lifetime
        return 0 <= time.time() - checked < min(self._max_age, allowed)

    def _go_offline(self) -> None:
        """Ask nobody for a while: finding out that nobody answers can take long."""
        self._offline_until = time.monotonic() + _OFFLINE_FOR
        self._notes.add("You are offline; shown from the cache.")

    def _taken(self, name: str, wanted: ByteRequest | None, kept: Kept) -> bytes | None:
        self._shelf.uses.hits += 1
        if wanted is not None:
            self._versions.taken(name, kept.validator, kept.checked)
        return kept.body

    async def _confirmed(
        self, name: str, wanted: ByteRequest | None, kept: Kept
    ) -> bytes | None:
        self._shelf.uses.confirmed += 1
        await asyncio.to_thread(self._shelf.confirm, kept)
        if wanted is not None:
            self._versions.fetched(name, kept.validator, time.time())
            self._versions.taken(name, kept.validator, time.time())
        return kept.body

    async def _fetched(
        self, key: str, name: str, wanted: ByteRequest | None, reply: Reply
    ) -> bytes | None:
        self._shelf.uses.misses += 1
        body = reply.part(wanted)
        if body is not None and is_page(key, body):
            return body
        await asyncio.to_thread(self._shelf.keep, name, reply)
        if self._shelf.trouble:
            self._notes.add(f"The disk cache keeps nothing: {self._shelf.trouble}.")
        if wanted is not None:
            self._versions.fetched(name, reply.validator, time.time())
        return body
