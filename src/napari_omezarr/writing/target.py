"""What a writer needs of a place; local folders, archives and stores implement it.

Two ways of coming into being hide behind `Target`. A folder is written beside its
place and renamed. An object store has no rename: arrays are written where they
will stay, and the group metadata that makes them an image come last, so that
until then no reader takes them for one. Only what replaces another image is
written beside and copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from zarr.storage import StorePath

    from .arrays import Document


DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
"""What metadata are called, in the order in which a group's are written."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies at a place: how many objects, and their bytes altogether."""

    objects: int
    size: int

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> Listing:
        """Count objects, of which the bytes are given."""
        return cls(len(sizes), sum(sizes.values()))


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as it was read; ``tag`` names this state of it (its ETag)."""

    body: bytes
    tag: str


def is_document(key: str) -> bool:
    """Say whether an object holds metadata, by its name."""
    return key.rpartition("/")[2] in DOCUMENTS


def root_keys(path: str) -> list[str]:
    """Give the keys that a group's documents have, in the order of writing them."""
    return [f"{path}/{name}" if path else name for name in DOCUMENTS]


class Hierarchy(Protocol):
    """A zarr hierarchy of which documents and chunks can be changed.

    Keys are relative to it, with ``/``. All methods block, may be called from any
    thread but that of the I/O loop, and raise ``StoreError``.
    """

    @property
    def address(self) -> str:
        """Where it is, without secrets."""
        ...

    @property
    def concurrency(self) -> int:
        """How many objects may be written at a time."""
        ...

    @property
    def is_object_store(self) -> bool:
        """Whether many small objects are worth avoiding."""
        ...

    def node(self, path: str) -> StorePath:
        """Give where zarr finds an array; picklable if the place can be shared."""
        ...

    def read(self, key: str) -> Stored | None:
        """Read a document; None where there is none."""
        ...

    def read_all(self, keys: Sequence[str]) -> list[Stored | None]:
        """Read documents, all at once."""
        ...

    def put(self, key: str, body: bytes) -> None:
        """Write a document, whole or not at all."""
        ...

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Begin to write an object, whole or not at all; `body` is not changed."""
        ...

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Begin to copy an object of so many bytes over another."""
        ...

    def begin_delete(self, key: str) -> Future[None]:
        """Begin to delete an object; none there is as good."""
        ...

    def replace(self, key: str, body: bytes, expected: Stored | None) -> None:
        """Write a document if it is still as it was read (None: not there).

        Raises
        ------
        ConflictError
            It has been changed meanwhile.
        """
        ...

    def holds(self, prefix: str) -> bool:
        """Whether anything lies below a path, be it zarr or not."""
        ...

    def sizes(self, prefix: str) -> dict[str, int]:
        """Give the keys of all objects below a path, and the bytes of each."""
        ...

    def remove(self, prefix: str) -> None:
        """Remove a path with all that lies below it, or nothing if it is absent."""
        ...

    def sweep(self, prefix: str) -> None:
        """Remove what a process left half written below a path when it ended."""
        ...

    def hurry(self, *, on: bool) -> None:
        """Try nothing again, as somebody wants to stop; or do so as before."""
        ...


class Target(Protocol):
    """A place where an image, or several, will come into being."""

    @property
    def address(self) -> str:
        """Where, without secrets."""
        ...

    @property
    def staged(self) -> Hierarchy:
        """Where arrays are written before they are an image."""
        ...

    @property
    def journal(self) -> Path:
        """The file that says which blocks are done."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be found out about the place, in sentences."""
        ...

    def occupied(self) -> Listing | None:
        """Say what is at the place; None where it is free.

        Raises
        ------
        TargetExistsError
            What is there is no zarr hierarchy, so that it is never replaced.
        """
        ...

    def unfinished(self) -> bool:
        """Whether there is a journal, and what it is about."""
        ...

    @property
    def switching(self) -> bool:
        """Whether what is replaced has begun to give way: only `finish` is left."""
        ...

    def agreed(self) -> Listing | None:
        """Give what an unfinished save is to replace; None if nothing."""
        ...

    def begin(self, replaced: Listing | None = None) -> None:
        """Make ready for the first block; harmless when it was done before.

        What is replaced stays as it is until what is new is whole.

        Parameters
        ----------
        replaced : Listing or None, optional
            What the person agreed to lose.

        Raises
        ------
        TargetExistsError
            What is there is not what was agreed to.
        """
        ...

    def commit(
        self, documents: Sequence[Document], replaced: Listing | None = None
    ) -> None:
        """Write the documents, in their order, and make the image visible.

        Parameters
        ----------
        documents : sequence of Document
            Those of arrays first, the root's last.
        replaced : Listing or None, optional
            What the person agreed to lose; None: the place has to be free.

        Raises
        ------
        TargetExistsError
            Something else is there by now. What was written is kept.
        """
        ...

    def finish(self) -> None:
        """Bring to its end what is `switching`."""
        ...

    def discard(self) -> None:
        """Remove what an unfinished save has left, and its journal.

        Nothing that was there before is lost by it; what is `switching` is brought
        to its end instead.
        """
        ...
