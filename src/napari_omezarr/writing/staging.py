"""A folder within a hierarchy where a new image is written while the old one is read.

Its name begins with a dot and no document names it: to readers it is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from zarr.storage import StorePath

    from .target import Hierarchy, Stored

_BEGIN = ".replacement-"


@dataclass(frozen=True, slots=True)
class Staging:
    """What lies below such a folder, by the keys that it will have; a `Hierarchy`.

    Parameters
    ----------
    inner : Hierarchy
        Where the folder is.
    folder : str
        Its name, of `new_folder`.
    """

    inner: Hierarchy
    folder: str

    @property
    def address(self) -> str:
        """Where the image will be."""
        return self.inner.address

    @property
    def concurrency(self) -> int:
        """How many objects may be written at a time."""
        return self.inner.concurrency

    @property
    def is_object_store(self) -> bool:
        """Whether many small objects are worth avoiding."""
        return self.inner.is_object_store

    def at(self, key: str) -> str:
        """Give where in the hierarchy something lies now."""
        return f"{self.folder}/{key}".rstrip("/")

    def node(self, path: str) -> StorePath:
        """Give where zarr finds an array."""
        return self.inner.node(self.at(path))

    def read(self, key: str) -> Stored | None:
        """Read a document; None where there is none."""
        return self.inner.read(self.at(key))

    def read_all(self, keys: Sequence[str]) -> list[Stored | None]:
        """Read documents, all at once."""
        return self.inner.read_all([self.at(key) for key in keys])

    def put(self, key: str, body: bytes) -> None:
        """Write a document."""
        self.inner.put(self.at(key), body)

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Begin to write an object."""
        return self.inner.begin_put(self.at(key), body)

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Begin to copy an object."""
        return self.inner.begin_copy(self.at(key), self.at(to), size)

    def begin_delete(self, key: str) -> Future[None]:
        """Begin to delete an object."""
        return self.inner.begin_delete(self.at(key))

    def replace(self, key: str, body: bytes, expected: Stored | None) -> None:
        """Write a document if it is still as it was read."""
        self.inner.replace(self.at(key), body, expected)

    def holds(self, prefix: str) -> bool:
        """Whether anything lies below a path."""
        return self.inner.holds(self.at(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Give the keys of all objects below a path, and the bytes of each."""
        above = len(self.folder) + 1
        found = self.inner.sizes(self.at(prefix))
        return {key[above:]: size for key, size in found.items()}

    def remove(self, prefix: str) -> None:
        """Remove a path with all that lies below it."""
        self.inner.remove(self.at(prefix))

    def sweep(self, prefix: str) -> None:
        """Remove what a process left half written below a path when it ended."""
        self.inner.sweep(self.at(prefix))

    def hurry(self, *, on: bool) -> None:
        """Try nothing again, as somebody wants to stop; or do so as before."""
        self.inner.hurry(on=on)


def new_folder() -> str:
    """Name a folder that nobody else has."""
    return f"{_BEGIN}{uuid4().hex[:12]}"


def own(sizes: Mapping[str, int]) -> dict[str, int]:
    """Take out what lies in such folders: it is no part of the image that is there."""
    return {key: size for key, size in sizes.items() if not key.startswith(_BEGIN)}
