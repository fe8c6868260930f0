"""The places that were opened last, newest first, without anything secret."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .configuration import configuration_folder, read_json, write_json
from .errors import LocationError
from .location import Location

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MOST = 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recent:
    """One place: ``address`` parses to it again; ``opened`` is ISO 8601, in UTC."""

    address: str
    opened: str


class Recents:
    """The list in its file.

    Parameters
    ----------
    file : Path, optional
        Where it is kept; by default ``recents.json`` in the configuration folder.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or configuration_folder() / "recents.json"

    def entries(self) -> tuple[Recent, ...]:
        """Give the places, newest first; what a broken file holds is left out."""
        content = read_json(self.file)
        found = content.get("places") if isinstance(content, dict) else None
        rows = found if isinstance(found, list) else []
        entries = (entry for row in rows if (entry := _entry(row)))
        return tuple({entry.address: entry for entry in entries}.values())[:MOST]

    def add(self, location: Location) -> None:
        """Put a place first; in ``memory:`` it would be gone at the next start."""
        if location.protocol == "memory":
            return
        address = without_secrets(location)
        fresh = Recent(address, datetime.now(UTC).isoformat(timespec="seconds"))
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
        rows = [{"address": entry.address, "opened": entry.opened} for entry in kept]
        try:
            write_json(self.file, {"places": rows})
        except OSError as error:
            # A read-only home is no reason to fail at opening an image.
            _log.info("Recent places were not kept: %s", error)


def without_secrets(location: Location) -> str:
    """Give the address without query and sign-in; a profile's name stays."""
    return str(replace(location, query="", userinfo="", notes=()))


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
    return Recent(without_secrets(location), opened if isinstance(opened, str) else "")
