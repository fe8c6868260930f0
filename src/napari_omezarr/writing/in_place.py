"""Targets without rename: arrays first, and what makes them an image last."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from zarr.buffer import default_buffer_prototype

from napari_omezarr.configuration import cache_folder
from napari_omezarr.errors import ConflictError, TargetExistsError
from napari_omezarr.store import run
from napari_omezarr.store.loop import io_loop

from .failures import explained
from .target import Listing, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from zarr.abc.store import Store

    from .arrays import Document
    from .target import Hierarchy

_ROOT = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


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

    def listing(self, prefix: str) -> Listing:
        """Count what lies below a path."""
        return run(self._listing(prefix))

    def remove(self, prefix: str) -> None:
        """Remove a path with all that lies below it."""
        run(self._remove(prefix))

    def sweep(self, prefix: str) -> None:
        """Nothing is half written in a store."""

    def hurry(self, *, on: bool) -> None:
        """How often a store tries is its own affair."""

    async def _listing(self, prefix: str) -> Listing:
        keys = await self._keys(prefix)
        sizes = await asyncio.gather(*map(self.store.getsize, keys))
        return Listing(len(keys), sum(sizes))

    async def _remove(self, prefix: str) -> None:
        for key in await self._keys(prefix):
            await self.store.delete(key)

    async def _keys(self, prefix: str) -> list[str]:
        below = f"{prefix}/" if prefix else ""
        return [key async for key in self.store.list_prefix(below)]


class InPlaceTarget:
    """A group of a hierarchy that becomes an image when its documents are written.

    Parameters
    ----------
    hierarchy : Hierarchy
        Where.
    path : str, optional
        The group; empty for the root.
    announce : callable, optional
        What else makes the image visible, once its documents are there: listing
        it as a label of its image.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        path: str = "",
        announce: Callable[[], None] | None = None,
    ) -> None:
        self.staged = hierarchy
        self.path = path
        self.address = f"{hierarchy.address}/{path}" if path else hierarchy.address
        self._announce = announce
        self.journal = journal_path(self.address)
        self._committing = self.journal.with_suffix(".committing")

    def occupied(self) -> Listing | None:
        """Say what is at the place; None where nothing is there yet.

        What an unfinished save of ours has written does not count.

        Raises
        ------
        TargetExistsError
            It is no zarr hierarchy, so that it is never replaced.
        """
        if self._committing.is_file():
            return None
        if not self.staged.holds(self.path):
            return None
        below = f"{self.path}/" if self.path else ""
        if any(self.staged.read_all([f"{below}{name}" for name in _ROOT])):
            return self.staged.listing(self.path)
        if self.unfinished():
            return None
        raise TargetExistsError(
            f"{self.address} is there, and it is no OME-Zarr.",
            action="Choose another name.",
            url=self.address,
        )

    def unfinished(self) -> bool:
        """Whether there is a journal."""
        return self.journal.is_file()

    def begin(self, replaced: Listing | None = None) -> None:
        """Remove what is replaced: two images cannot lie in one place for a while.

        Raises
        ------
        TargetExistsError
            What is there is not what was agreed to.
        """
        found = self.occupied()
        if found != replaced:
            raise self._changed()
        if found is not None:
            self.staged.remove(self.path)
        with explained(str(self.journal)):
            self.journal.parent.mkdir(parents=True, exist_ok=True)

    def commit(
        self, documents: Sequence[Document], replaced: Listing | None = None
    ) -> None:
        """Write the documents; see `target.Target`.

        Raises
        ------
        TargetExistsError
            A group is there by now.
        """
        if self.occupied() is not None:
            raise self._changed()
        broken_off = self._committing.is_file()
        self._committing.touch()
        self.staged.sweep(self.path)
        *inner, last = documents
        writing = [self.staged.begin_put(each.key, each.body) for each in inner]
        for done in writing:
            done.result()
        self._publish(last, again=broken_off)
        if self._announce is not None:
            self._announce()
        self._forget()

    def _publish(self, root: Document, *, again: bool) -> None:
        """Write the document that makes the image, unless somebody else was first."""
        before = self.staged.read(root.key) if again else None
        try:
            self.staged.replace(root.key, root.body, before)
        except ConflictError as error:
            self._committing.unlink(missing_ok=True)
            raise self._changed() from error

    def _changed(self) -> TargetExistsError:
        return TargetExistsError(
            f"{self.address} appeared or changed meanwhile; it was left as it is.",
            action="Save under another name.",
            url=self.address,
        )

    def discard(self) -> None:
        """Remove the arrays that no document has made an image of.

        Where somebody else has made one meanwhile, all is left as it is.
        """
        if self.unfinished() and self.occupied() is None:
            self.staged.remove(self.path)
        self._forget()

    def _forget(self) -> None:
        self.journal.unlink(missing_ok=True)
        self._committing.unlink(missing_ok=True)


def journal_path(address: str) -> Path:
    """Give the file in the person's cache that belongs to an address."""
    name = hashlib.blake2b(address.encode(), digest_size=16).hexdigest()
    return cache_folder() / "unfinished" / f"{name}.jsonl"
