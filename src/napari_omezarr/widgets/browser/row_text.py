"""What a row says: its right side, its tooltip, and what is read aloud; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_omezarr.widgets.region_text import bytes_text

if TYPE_CHECKING:
    from napari_omezarr.browsing import Entry


def aside(entry: Entry) -> str:
    """Give what stands at the right of the name: axes and version, or size and date."""
    size = "" if entry.size is None else bytes_text(entry.size)
    parts = (entry.summary, entry.version, size, entry.modified[:10])
    return "  ".join(part for part in parts if part)


def tooltip(entry: Entry) -> str:
    """Give the address, what it is, and why it could not be looked at."""
    lines = [entry.location.display, kind_text(entry), aside(entry), entry.problem]
    return "\n".join(line for line in lines if line)


def spoken(entry: Entry) -> str:
    """Give the row as one sentence for a screen reader."""
    parts = (entry.name, kind_text(entry), entry.summary, entry.version)
    return ", ".join(part for part in parts if part)


def kind_text(entry: Entry) -> str:
    """Say what an entry is, as far as it is known."""
    if not entry.recognised and entry.looks_like_store:
        return "Zarr"
    return str(entry.kind)
