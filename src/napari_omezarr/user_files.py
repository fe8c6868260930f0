"""A person's own small files: where they lie, and the places that she opened last."""

from __future__ import annotations

import errno
import json
import logging
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from .atomic_file import replacing
from .errors import LocationError, ReadOnlyError
from .location import Location, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Small JSON files in the person's configuration folder; never for secrets.

FOLDER_VARIABLE = "NAPARI_OMEZARR_CONFIG"
"""An environment variable that names another folder, for tests and shared homes."""

CACHE_VARIABLE = "NAPARI_OMEZARR_CACHE"
"""The same for what may be lost: the journals of unfinished saves."""


def cache_folder() -> Path:
    """Give the folder of files that may be deleted at any time; it need not exist."""
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder)
    return Path(platformdirs.user_cache_dir("napari-omezarr", appauthor=False))


def configuration_folder() -> Path:
    """Give the folder of our files; it need not exist."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder)
    return Path(platformdirs.user_config_dir("napari-omezarr", appauthor=False))


def read_json(file: Path) -> Any:
    """Read a file; None where there is none or where it is broken."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def write_json(file: Path, value: Any) -> None:
    """Write a file so that a reader finds the old one or the new one, never half.

    Raises
    ------
    OSError
        It cannot be written; of a file of ours a ReadOnlyError that says what helps.
    """
    with kept_files(file):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(file) as fresh:
            # Only this person may read it: addresses tell what she works on.
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps(value, indent=1), encoding="utf-8")


@contextmanager
def kept_files(file: Path) -> Iterator[None]:
    """Say of a file in one of our folders, which no home has to let us write, so."""
    try:
        yield
    except OSError as error:
        refused = error.errno in _REFUSED and _refusal(file)
        if not refused:
            raise
        raise refused from error


_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)


def _refusal(file: Path) -> ReadOnlyError | None:
    for variable, folder in (
        (FOLDER_VARIABLE, configuration_folder()),
        (CACHE_VARIABLE, cache_folder()),
    ):
        if file.is_relative_to(folder):
            return ReadOnlyError(
                f"The folder {folder}, where this program keeps its own files, cannot "
                "be written to.",
                action=f"Let the variable {variable} name one that can.",
            )
    return None


# The places that were opened last, newest first, without anything secret.

MOST = 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recent:
    """One place: ``address`` parses to it again; ``opened`` is ISO 8601, in UTC."""

    address: str
    opened: str
    # It was saved to, and not opened since.
    saved: bool = False


class Recents:
    """The places that were opened last, in ``recents.json`` or another file."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or configuration_folder() / "recents.json"

    def entries(self) -> tuple[Recent, ...]:
        """Give the places, newest first; what a broken file holds is left out."""
        content = read_json(self.file)
        found = content.get("places") if isinstance(content, dict) else None
        rows = found if isinstance(found, list) else []
        entries = (entry for row in rows if (entry := _entry(row)))
        return tuple({entry.address: entry for entry in entries}.values())[:MOST]

    def add(self, location: Location, *, saved: bool = False) -> None:
        """Put a place first that was opened, or saved to.

        None in ``memory:``, for it would be gone at the next start.
        """
        if location.protocol == "memory":
            return
        address = without_secrets(location)
        fresh = Recent(address, datetime.now(UTC).isoformat(timespec="seconds"), saved)
        others = (entry for entry in self.entries() if entry.address != address)
        self._write((fresh, *others))

    def remove(self, address: str) -> None:
        """Forget one place."""
        self._write(entry for entry in self.entries() if entry.address != address)

    def clear(self) -> None:
        """Forget all places."""
        self._write(())

    def _write(self, entries: Iterable[Recent]) -> None:
        kept = list(entries)[:MOST]
        rows = [asdict(entry) for entry in kept]
        try:
            write_json(self.file, {"places": rows})
        except OSError as error:
            # A read-only home is no reason to fail at opening an image.
            _log.info("Recent places were not kept: %s", error)


def _entry(row: Any) -> Recent | None:
    """Give an entry of the file, cleaned of what another program may have added."""
    if not isinstance(row, dict):
        return None
    address, opened = row.get("address"), row.get("opened")
    if not isinstance(address, str):
        return None
    try:
        location = Location.parse(address)
    except LocationError:
        return None
    when = opened if isinstance(opened, str) else ""
    return Recent(without_secrets(location), when, row.get("saved") is True)
