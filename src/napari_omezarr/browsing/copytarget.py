"""Where a copy goes: a folder of this computer, or a place that objects are put to."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from napari_omezarr.errors import DiskFullError, OptionError, ReadOnlyError, StoreError
from napari_omezarr.store import open_depot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_omezarr.location import Location
    from napari_omezarr.store import Depot

_PART = ".copy-part"
_NO_ROOM = (28, 122)
"""ENOSPC and EDQUOT: the disk is full, or the person's share of it."""


class Target(Protocol):
    """A place to copy to."""

    async def sizes(self) -> Mapping[str, int]:
        """Give the paths of all objects that are there, and their bytes."""
        ...

    async def put(self, key: str, body: bytes) -> None:
        """Write an object, whole or not at all."""
        ...

    async def tidy(self) -> None:
        """Delete what an earlier copy left half written."""
        ...


def open_target(location: Location) -> Target:
    """Choose how to write to a place; nothing is written yet.

    Raises
    ------
    OptionError
        Nothing can be written there.
    """
    if location.is_archive:
        sentence = f"Nothing is copied into an archive: {location.display}."
        raise OptionError(sentence, action="Choose a folder.", url=location.display)
    if location.protocol == "file":
        return FolderTarget(location.local_path())
    return DepotTarget(open_depot(location))


class FolderTarget:
    """A folder of this computer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def sizes(self) -> Mapping[str, int]:
        """Walk the folder."""
        return await asyncio.to_thread(self._sizes)

    async def tidy(self) -> None:
        """Delete what a copy that was killed left half written."""
        await asyncio.to_thread(self._tidy)

    async def put(self, key: str, body: bytes) -> None:
        """Write a file beside and move it to its name.

        Raises
        ------
        StoreError
            It could not be written.
        """
        try:
            await asyncio.to_thread(self._put, key, body)
        except OSError as error:
            raise _explained(error, str(self._folder / key)) from None

    def _sizes(self) -> dict[str, int]:
        return {
            file.relative_to(self._folder).as_posix(): file.stat().st_size
            for root, _, names in os.walk(self._folder)
            for name in names
            if not (file := Path(root) / name).name.endswith(_PART)
        }

    def _tidy(self) -> None:
        for file in self._folder.rglob(f"*{_PART}"):
            with suppress(OSError):
                file.unlink()

    def _put(self, key: str, body: bytes) -> None:
        file = self._folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{uuid4().hex}{_PART}")
        try:
            fresh.write_bytes(body)
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)


class DepotTarget:
    """A place in a bucket."""

    def __init__(self, depot: Depot) -> None:
        self._depot = depot

    async def sizes(self) -> Mapping[str, int]:
        """List what is there."""
        return {entry.key: entry.size async for entry in self._depot.entries()}

    async def tidy(self) -> None:
        """Do nothing: nothing is ever half written there."""

    async def put(self, key: str, body: bytes) -> None:
        """Put an object; S3 shows it whole or not at all."""
        await self._depot.put(key, body)


def _explained(error: OSError, place: str) -> StoreError:
    if error.errno in _NO_ROOM:
        sentence = "The disk is full."
        return DiskFullError(sentence, action="Make room, and start again.", url=place)
    if isinstance(error, PermissionError):
        sentence = f"{place} may not be written by you."
        return ReadOnlyError(sentence, action="Choose another folder.", url=place)
    sentence = f"{place} cannot be written ({error.strerror or 'unknown reason'})."
    return StoreError(sentence, action="Choose another folder.", url=place)
