"""What a writer needs of a place: to put, look at, delete and list objects, once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from zarr.abc.store import ByteRequest

    from .translation import Place

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Held:
    """An object as it was read; ``tag`` names this state of it (its ETag)."""

    body: bytes = field(repr=False)
    tag: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An object that was listed: its key below the place, and its bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries; ``rest`` asks for the next ones and is ``""`` after the last."""

    entries: tuple[Entry, ...]
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """Write only if the object is in this state; no tag: if there is none."""

    tag: str = ""

    @property
    def headers(self) -> Mapping[str, str]:
        """Say it over HTTP."""
        return {"If-Match": self.tag} if self.tag else {"If-None-Match": "*"}


class Attempts(Protocol):
    """Calls a function until it answers, and raises our errors."""

    async def __call__(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call it."""
        ...


class Outlet(Protocol):
    """One way to change what lies below a location; each call is one attempt.

    All run on the I/O loop. They raise `Refused`, `Interrupted`, ``OSError`` where
    the place answers something else or not at all, and `StoreError` where asking
    again does not help.
    """

    @property
    def concurrency(self) -> int:
        """How many requests at a time do well here."""
        ...

    async def read(self, key: str, wanted: ByteRequest | None = None) -> Held | None:
        """Read an object, or a part of it; None if there is none."""
        ...

    async def write(
        self, key: str, body: bytes, condition: Condition | None = None
    ) -> None:
        """Write an object, whole or not at all."""
        ...

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write an object, in several requests if it is long.

        Parameters
        ----------
        key : str
            Of the object.
        body : bytes
            All of it.
        attempts : callable
            Is given each request, to try it as often as patience allows.
        """
        ...

    async def copy(self, key: str, to: str, size: int, attempts: Attempts) -> None:
        """Copy an object over another without its bytes coming here.

        Parameters
        ----------
        key, to : str
            Which, and where to; below the place both.
        size : int
            Its bytes.
        attempts : callable
            As for `put`.
        """
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; none there is as good."""
        ...

    async def page(self, prefix: str, rest: str = "", size: int = 1000) -> Page:
        """List all that lies below a folder, at any depth; ``""`` is the place."""
        ...

    def place(self, url: str, doing: str) -> Place:
        """Describe this place for the words of an error about `url`."""
        ...
