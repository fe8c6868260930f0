"""A zarr hierarchy in a folder of this computer."""

from __future__ import annotations

import hashlib
import os
import shutil
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from zarr.storage import LocalStore, StorePath

from napari_omezarr.errors import ConflictError

from .failures import explained
from .target import Listing, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zarr.abc.store import Store

_HALF = "*.partial"
"""How zarr, and `Folder.put`, call a file until it is whole and renamed."""
DONE: Future[None] = Future()
"""What is done already."""
DONE.set_result(None)


@dataclass(frozen=True, slots=True)
class Folder:
    """A hierarchy below a path; see `target.Hierarchy`."""

    path: Path
    address: str
    concurrency: int = 8
    is_object_store: bool = False

    @property
    def store(self) -> Store:
        """The zarr store of the folder."""
        return LocalStore(self.path)

    def node(self, path: str) -> StorePath:
        """Give where zarr finds an array."""
        return StorePath(self.store, path)

    def read(self, key: str) -> Stored | None:
        """Read a document; None where there is none."""
        with explained(self.address):
            try:
                body = (self.path / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return Stored(body, hashlib.blake2b(body, digest_size=16).hexdigest())

    def read_all(self, keys: Sequence[str]) -> list[Stored | None]:
        """Read documents."""
        return [self.read(key) for key in keys]

    def put(self, key: str, body: bytes) -> None:
        """Write a document beside its place and rename it."""
        self._make(key, lambda fresh: fresh.write_bytes(body))

    def begin_put(self, key: str, body: bytes) -> Future[None]:
        """Write an object now: a disk is not worth waiting for elsewhere."""
        self.put(key, body)
        return DONE

    def begin_copy(self, key: str, to: str, size: int) -> Future[None]:
        """Copy a file now."""
        self._make(to, lambda fresh: shutil.copyfile(self.path / key, fresh))
        return DONE

    def begin_delete(self, key: str) -> Future[None]:
        """Delete an object now."""
        with explained(self.address):
            (self.path / key).unlink(missing_ok=True)
        return DONE

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
        with explained(self.address):
            place = self.path / prefix if prefix else self.path
            return place.is_dir() and any(place.iterdir())

    def sizes(self, prefix: str) -> dict[str, int]:
        """List the files below a path."""
        with explained(self.address):
            return {
                file.relative_to(self.path).as_posix(): file.lstat().st_size
                for file in _files(self.path / prefix)
            }

    def remove(self, prefix: str) -> None:
        """Remove a path with all that lies below it."""
        with explained(self.address):
            remove(self.path / prefix if prefix else self.path)

    def sweep(self, prefix: str) -> None:
        """Remove the files into which a chunk or document was being written."""
        with explained(self.address):
            for half in (self.path / prefix).rglob(_HALF):
                half.unlink()

    def hurry(self, *, on: bool) -> None:
        """Nothing is tried again on a disk."""

    def _make(self, key: str, fill: Callable[[Path], object]) -> None:
        """Write a file beside its place and rename it."""
        with explained(self.address):
            file = self.path / key
            file.parent.mkdir(parents=True, exist_ok=True)
            fresh = file.with_name(f".{uuid4().hex}.partial")
            try:
                fill(fresh)
                fresh.replace(file)
            finally:
                fresh.unlink(missing_ok=True)


def listing(path: Path) -> Listing:
    """Count the files of a tree, or a file as one; links are not followed."""
    if not path.is_dir() or path.is_symlink():
        return Listing(1, path.lstat().st_size)
    sizes = [file.lstat().st_size for file in _files(path)]
    return Listing(len(sizes), sum(sizes))


def _files(path: Path) -> list[Path]:
    return [Path(top) / name for top, _, names in os.walk(path) for name in names]


def remove(path: Path) -> None:
    """Remove a file, a link or a tree, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
