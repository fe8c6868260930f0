"""What lies in a folder of this computer, in an archive, in an fsspec filesystem."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import NodeNotFoundError

from .listing import Item, about_listing, not_listed
from .refusal import Refused
from .translation import Place, translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .archive import ArchiveTransport
    from .generic import GenericTransport


@dataclass(frozen=True, slots=True)
class FolderItems:
    """The items of a folder of this computer."""

    folder: Path
    url: str

    async def __call__(self) -> Iterable[Item]:
        """Look into the folder, in a thread.

        Raises
        ------
        NodeNotFoundError
            There is no such folder.
        StoreError
            It may not be read.
        """
        try:
            return await asyncio.to_thread(_in_folder, self.folder)
        except (FileNotFoundError, NotADirectoryError):
            sentence = f"There is no folder {self.url}."
            action = "Check the address."
            raise NodeNotFoundError(sentence, action=action, url=self.url) from None
        except OSError as error:
            raise translate(error, Place(self.url)) from None

    async def tree(self) -> Iterable[Item]:
        """Walk the folder, in a thread; links to folders are not followed."""
        return await asyncio.to_thread(_below, self.folder)


@dataclass(frozen=True, slots=True)
class ArchiveItems:
    """The items of a folder in a zip file."""

    archive: ArchiveTransport
    url: str

    async def __call__(self) -> Iterable[Item]:
        """Read the archive's directory, once for all who ask.

        Raises
        ------
        StoreError
            The file is no archive, or cannot be read.
        """
        try:
            return in_tree(await self.archive.sizes())
        except Refused as refused:
            problem = self.archive.verdict(refused)
        raise translate(problem, self.archive.place(self.url))

    async def tree(self) -> Iterable[Item]:
        """Give all members, from the archive's directory."""
        sizes = await self.archive.sizes()
        return [Item(p, False, n) for p, n in sizes.items() if not p.endswith("/")]


@dataclass(frozen=True, slots=True)
class GenericItems:
    """The items of a path of an fsspec filesystem."""

    filesystem: GenericTransport
    url: str

    async def __call__(self) -> Iterable[Item]:
        """List the path.

        Raises
        ------
        StoreError
            The filesystem did not say.
        """
        try:
            return [_described(row) for row in await self.filesystem.listing()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise translate(error, self.filesystem.place(self.url)) from None
        except Refused as refused:
            problem = self.filesystem.verdict(refused)
        denied = translate(problem, self.filesystem.place(self.url))
        raise about_listing(denied, self.url)

    async def tree(self) -> Iterable[Item]:
        """Refuse: nothing asks for it.

        Raises
        ------
        ListingDeniedError
            Always.
        """
        raise not_listed(self.url)


def in_tree(sizes: Mapping[str, int]) -> list[Item]:
    """Give what lies directly below the root of a tree, from the paths of its files."""
    folders: dict[str, None] = {}
    files = []
    for path, size in sizes.items():
        name, slash, _ = path.partition("/")
        if slash and name:
            folders.setdefault(name)
        elif name:
            files.append(Item(name, False, size))
    return [*(Item(name, True) for name in folders), *files]


def _in_folder(folder: Path) -> list[Item]:
    items = []
    for path in folder.iterdir():
        try:
            known = path.stat()
        except OSError:  # a link to nowhere
            continue
        if path.is_dir():
            items.append(Item(path.name, True))
        else:
            when = datetime.fromtimestamp(known.st_mtime, UTC)
            written = when.isoformat(timespec="seconds").replace("+00:00", "Z")
            items.append(Item(path.name, False, known.st_size, written))
    return items


def _below(folder: Path) -> list[Item]:
    return [
        Item((Path(root) / name).relative_to(folder).as_posix(), False, size)
        for root, _, names in os.walk(folder)
        for name in names
        if (size := _size(Path(root) / name)) is not None
    ]


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:  # a link to nowhere
        return None


def _described(row: Mapping[str, Any]) -> Item:
    name = str(row["name"]).rstrip("/").rpartition("/")[2]
    if row.get("type") == "directory":
        return Item(name, True)
    return Item(name, False, row.get("size"))
