"""What a store needs of a place: bytes of a key, and some facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest

    from napari_omezarr.errors import StoreError

    from .refusal import Refusal, Refused
    from .tally import Tally
    from .translation import Place

REMOTE_CONCURRENCY = 64
LOCAL_CONCURRENCY = 8


class Transport(Protocol):
    """One way to the bytes below a location.

    Attributes
    ----------
    concurrency : int
        How many reads at a time do well here.
    tally : Tally
        What was sent and received, and what is worth saying about it.
    """

    concurrency: int
    tally: Tally

    async def read(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        """Read a key, or a part of it, by one attempt; runs on the I/O loop.

        Parameters
        ----------
        key : str
            Below the location; ``""`` is the location itself.
        wanted : ByteRequest or None
            The part, or None for all of it.

        Returns
        -------
        bytes or None
            The bytes, fewer than wanted only where the object ends before; None
            if the place knows that there is no such object.

        Raises
        ------
        Refused
            If the place answered something else.
        Interrupted, OSError
            If there was no whole answer.
        StoreError
            If it is clear that asking again does not help.
        """
        ...

    def verdict(self, refused: Refused) -> Refusal | StoreError:
        """Say which of its problems a refusal stands for, by what is known by now."""
        ...

    def place(self, url: str) -> Place:
        """Describe this place for the words of an error about `url`."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened here, each once."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """A transport that says of which version an object is."""

    async def version(self, key: str) -> str:
        """Ask by one small request; ``""`` if there is no answer to that."""
        ...
