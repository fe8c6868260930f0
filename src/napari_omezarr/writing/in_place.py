"""Targets without rename: arrays first, and what makes them an image last."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_omezarr.errors import (
    ConflictError,
    ListingDeniedError,
    TargetExistsError,
)
from napari_omezarr.user_files import cache_folder

from .failures import explained
from .replacing import Replacement, kept, root_digests, take_place
from .sight import Sight, look, prove
from .staging import Staging, new_folder, own
from .target import Listing, root_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .arrays import Document
    from .target import Hierarchy


class InPlaceTarget:
    """A group of a hierarchy that becomes an image when its documents are written.

    What replaces an image is written whole into a folder beside before that is
    touched; see `replacing`.

    Parameters
    ----------
    hierarchy : Hierarchy
        Where.
    path : str, optional
        The group; empty for the root.
    announce, retire : callable, optional
        What else makes the image visible, once its documents are there, and
        invisible before it is replaced: listing it as a label of its image.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        path: str = "",
        announce: Callable[[], None] | None = None,
        retire: Callable[[], None] | None = None,
    ) -> None:
        self.path = path
        self.address = f"{hierarchy.address}/{path}" if path else hierarchy.address
        self.journal = journal_path(self.address)
        self._hierarchy = hierarchy
        self._announce = announce or _nothing
        self._retire = retire or _nothing
        self._committing = self.journal.with_suffix(".committing")
        self._replacing = self.journal.with_suffix(".replacing")
        self._sight = Sight.CLEAR

    @property
    def staged(self) -> Hierarchy:
        """Where arrays are written before they are an image."""
        replacement = self._replacement()
        if replacement is None:
            return self._hierarchy
        return Staging(self._hierarchy, replacement.folder)

    @property
    def switching(self) -> bool:
        """Whether the new image is whole, and the old one has begun to give way."""
        replacement = self._replacement()
        return replacement is not None and replacement.phase != "writing"

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be found out about the place, once it was looked at."""
        if self._sight is Sight.CLEAR:
            return ()
        return (
            f"{self.address} may not be listed: only its metadata were looked for, "
            "not what else may lie there.",
        )

    def occupied(self) -> Listing | None:
        """Say what is at the place; None where nothing is there yet.

        What an unfinished save of ours has written does not count.

        Raises
        ------
        TargetExistsError
            It is no zarr hierarchy, so that it is never replaced; or it may not be
            listed, so that nobody can say what would be replaced.
        """
        if self._committing.is_file() or self.switching:
            return None
        try:
            holds = self._hierarchy.holds(self.path)
        except ListingDeniedError as error:
            self._sight = look(self._hierarchy, self.path, error)
            return None
        if not holds:
            return None
        if any(self._hierarchy.read_all(root_keys(self.path))):
            return Listing.of(own(self._hierarchy.sizes(self.path)))
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

    def agreed(self) -> Listing | None:
        """Give what an unfinished save is to replace."""
        replacement = self._replacement()
        return replacement.agreed if replacement and self.unfinished() else None

    def begin(self, replaced: Listing | None = None) -> None:
        """Make ready; what is replaced stays whole until what is new is whole.

        Raises
        ------
        TargetExistsError
            What is there is not what was agreed to.
        """
        if self.occupied() != replaced:
            raise self._changed()
        if self._sight is Sight.DIM:
            prove(self._hierarchy, self.path)
        with explained(str(self.journal)):
            self.journal.parent.mkdir(parents=True, exist_ok=True)
        if replaced is not None and not self.unfinished():
            fresh = Replacement(new_folder(), replaced.objects, replaced.size)
            fresh.keep(self._replacing)

    def commit(
        self, documents: Sequence[Document], replaced: Listing | None = None
    ) -> None:
        """Write the documents; see `target.Target`.

        Raises
        ------
        TargetExistsError
            A group is there by now, or another one than was agreed to.
        """
        replacement = self._replacement()
        if self.occupied() != (replacement and replacement.agreed):
            raise self._changed()
        broken_off = self._committing.is_file()
        if replacement is None:
            self._committing.touch()
        *inner, last = documents
        staged = self.staged
        staged.sweep(self.path)
        writing = [staged.begin_put(each.key, each.body) for each in inner]
        for done in writing:
            done.result()
        if replacement is not None:
            staged.put(last.key, last.body)
            old = root_digests(self._hierarchy, self.path)
            replace(replacement, phase="switching", root=old).keep(self._replacing)
            self.finish()
            return
        self._publish(last, again=broken_off)
        self._announce()
        self._forget()

    def finish(self) -> None:
        """Bring a replacement to its end, once the old image has begun to give way.

        Raises
        ------
        ConflictError
            Somebody else has made an image there meanwhile.
        StoreError
            It could not be done. The new image is whole, and this can be repeated.
        """
        replacement = self._replacement()
        if replacement is None or replacement.phase == "writing":
            return
        staging = Staging(self._hierarchy, replacement.folder)
        if replacement.phase == "switching":
            self._retire()
            take_place(self._hierarchy, staging, self.path, replacement.root)
            self._announce()
            replace(replacement, phase="switched").keep(self._replacing)
        staging.remove("")
        self._forget()

    def _publish(self, root: Document, *, again: bool) -> None:
        """Write the document that makes the image, unless somebody else was first."""
        before = self._hierarchy.read(root.key) if again else None
        try:
            self._hierarchy.replace(root.key, root.body, before)
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

        Where somebody else has made one meanwhile, all is left as it is. Where the
        old image has begun to give way, the new one takes its place: both would be
        lost.
        """
        if self.switching:
            self.finish()
        elif self._replacement() is not None:
            self.staged.remove("")
        elif self.unfinished() and self.occupied() is None:
            self._hierarchy.remove(self.path)
        self._forget()

    def _replacement(self) -> Replacement | None:
        return kept(self._replacing)

    def _forget(self) -> None:
        for file in (self.journal, self._committing, self._replacing):
            file.unlink(missing_ok=True)


def journal_path(address: str) -> Path:
    """Give the file in the person's cache that belongs to an address."""
    name = hashlib.blake2b(address.encode(), digest_size=16).hexdigest()
    return cache_folder() / "unfinished" / f"{name}.jsonl"


def _nothing() -> None:
    """Do nothing."""
