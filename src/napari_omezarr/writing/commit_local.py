"""Targets on this computer: written beside their place, then renamed."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from typing import TYPE_CHECKING

from napari_omezarr.errors import TargetExistsError
from napari_omezarr.location import DOCUMENTS, NODE_DOCUMENTS
from napari_omezarr.user_files import read_json, write_json

from .hierarchy import (
    FolderHierarchy,
    StoredSize,
    explained,
    files_below,
    remove,
    size_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .encode import ZarrDocument
    from .hierarchy import Hierarchy

_EPOCH = (1980, 1, 1, 0, 0, 0)
_OURS = frozenset({"data", "journal", "packed", "landing", "agreed", "replaced"})


def zip_folder(folder: Path, archive: Path, version: str) -> None:
    """Put a hierarchy into a zip file, in the order of RFC-9.

    Members are stored as they are (chunks are compressed already), the root's
    document first, then the other documents breadth-first, then the chunks; the
    comment names the version. Equal folders give equal files.
    """
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, allowZip64=True) as packed:
        packed.comment = json.dumps({"ome": {"version": version}}).encode()
        names = [file.relative_to(folder).as_posix() for file in files_below(folder)]
        for name in sorted(names, key=_rank):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr = 0o644 << 16
            file = folder / name
            member.file_size = file.stat().st_size
            with file.open("rb") as source, packed.open(member, "w") as sink:
                while part := source.read(1 << 20):
                    sink.write(part)


def _rank(name: str) -> tuple[bool, int, str]:
    file = name.rpartition("/")[2]
    return file not in DOCUMENTS, name.count("/"), name


class LocalTarget:
    """A folder that will appear whole: a rename is its commit.

    Until then everything lies in ``<name>.partial`` beside it, with its journal; for
    the moment between two renames also what is replaced, whole.
    """

    def __init__(self, path: Path, address: str = "") -> None:
        self.path = path
        self.address = address or str(path)
        self.partial = path.with_name(f"{path.name}.partial")
        self.journal = self.partial / "journal"

    @property
    def staged(self) -> Hierarchy:
        """The folder that will be renamed."""
        return FolderHierarchy(self.partial / "data", self.address)

    def occupied(self) -> StoredSize | None:
        """Say what is at the place; None where it is free."""
        with explained(self.address):
            if not _is_there(self.path):
                return None
            if self._is_replaceable():
                return size_of(self.path)
        raise TargetExistsError(
            f"{self.address} is there, and it is no OME-Zarr.",
            action="Choose another name.",
            url=self.address,
        )

    switching = False
    notes: tuple[str, ...] = ()

    def unfinished(self) -> bool:
        """Whether there is a journal, and the data that it is about."""
        return self.journal.is_file() and (self.partial / "data").is_dir()

    def agreed(self) -> StoredSize | None:
        """Give what an unfinished save is to replace; None once that has given way."""
        found = read_json(self.partial / "agreed") if self.unfinished() else None
        if not isinstance(found, dict) or (self.partial / "replaced").exists():
            return None
        return StoredSize(**found)

    def begin(self, replaced: StoredSize | None = None) -> None:
        """Make the folder beside the place; what is there stays until the end."""
        with explained(self.address):
            if not self.unfinished():
                self._clear()
            (self.partial / "data").mkdir(parents=True, exist_ok=True)
            if replaced is not None:
                write_json(self.partial / "agreed", asdict(replaced))

    def commit(
        self, documents: Sequence[ZarrDocument], replaced: StoredSize | None = None
    ) -> None:
        """Write the documents and rename."""
        for document in documents:
            self.staged.put(document.key, document.body)
        self.staged.remove_partials("")
        with explained(self.address):
            finished = self._finished()
            self._give_way(replaced)
            finished.rename(self.path)
            self._clear()

    def finish(self) -> None:
        """Nothing is left to do after a rename."""

    def discard(self) -> None:
        """Remove the folder beside the place; what had given way comes back."""
        with explained(self.address):
            self._clear()

    def _clear(self) -> None:
        """Remove the folder beside the place, if it is one of ours."""
        if not self.partial.exists():
            return
        ours = self.partial.is_dir() and {p.name for p in self.partial.iterdir()} <= (
            _OURS
        )
        if not ours:
            raise TargetExistsError(
                f"{self.partial} is in the way, and it is not a save of ours.",
                action="Rename it, or choose another name.",
                url=self.address,
            )
        old = self.partial / "replaced"
        if _is_there(old) and not _is_there(self.path):
            old.rename(self.path)
        remove(self.partial)

    def _finished(self) -> Path:
        return self.partial / "data"

    def _is_replaceable(self) -> bool:
        if not self.path.is_dir():
            return False
        known = any((self.path / name).is_file() for name in NODE_DOCUMENTS)
        return known or not any(self.path.iterdir())

    def _give_way(self, replaced: StoredSize | None) -> None:
        """Rename what is to be replaced, if it is what the person was shown."""
        found = self.occupied()
        if found is None:
            return
        if found != replaced:
            said = "has changed since" if replaced else "appeared meanwhile"
            raise TargetExistsError(
                f"{self.address} {said}; it was left as it is.",
                action="Look at it, then resume or save beside it.",
                url=self.address,
            )
        self.path.rename(self.partial / "replaced")


class ArchiveTarget(LocalTarget):
    """One zip file (``.ozx``, ``.zarr.zip``), packed from a folder beside it.

    Chunks come in any order, and an archive can only grow: it is made once all
    is there, with the root's document first (RFC-9).
    """

    def __init__(self, path: Path, version: str, address: str = "") -> None:
        super().__init__(path, address)
        self.version = version

    def unfinished(self) -> bool:
        """Whether there is a journal with its data, and the file is not made yet."""
        packed, landing = self.partial / "packed", self.partial / "landing"
        return super().unfinished() and not (landing.exists() and not packed.exists())

    def _finished(self) -> Path:
        packed = self.partial / "packed"
        zip_folder(self.partial / "data", packed, self.version)
        # From here on a missing file was renamed to where it belongs.
        (self.partial / "landing").touch()
        return packed

    def _is_replaceable(self) -> bool:
        return self.path.is_file()


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()
