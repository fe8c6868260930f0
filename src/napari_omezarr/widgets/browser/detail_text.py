"""What the panel says of a place, in words; pure."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from napari_omezarr.browsing import Kind
from napari_omezarr.widgets.region_text import BY, bytes_text

from .row_text import kind_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.browsing import (
        AxisDetails,
        Chunk,
        Details,
        Entry,
        LevelDetails,
        Validation,
    )
    from napari_omezarr.metadata import ResolvedChannel

COLUMNS = ("Level", "Shape", "Chunk", "Size", "Stored", "Type", "Codec", "Shard")

_JOINING = "\N{NO-BREAK SPACE}"
_MOST_TEXT = 4 * 2**20
_TEXTS = (
    ".json", ".zattrs", ".zgroup", ".zarray", ".zmetadata", ".xml", ".txt", ".md",
    ".csv", ".tsv", ".yaml", ".yml",
)  # fmt: skip

_SYMBOLS = {
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "microsecond": "µs",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
}


def facts_text(details: Details) -> str:
    """Say kind, version, type and axes: ``image · OME-Zarr 0.4 · uint16 · c z y x``."""
    entry = details.entry
    version = f"OME-Zarr {entry.version}" if entry.version else ""
    dtype = details.levels[0].dtype if details.levels else ""
    axes = " ".join(axis.name for axis in details.axes)
    parts = (kind_text(entry), version, dtype, axes)
    return " · ".join(part for part in parts if part)


def voxel_text(axes: Sequence[AxisDetails]) -> str:
    """Say the size of a pixel of the finest level: ``0.5 x 0.36 x 0.36 µm``.

    Axes follow in their order, channels left out; other units come apart.
    """
    sized = [axis for axis in axes if axis.type != "channel"]
    parts = []
    for unit, group in groupby(sized, key=lambda axis: axis.unit or ""):
        lengths = BY.join(f"{abs(axis.pixel):.4g}" for axis in group)
        parts.append(f"{lengths} {_SYMBOLS.get(unit, unit or 'pixel')}")
    return ", ".join(parts)


def axes_text(axes: Sequence[AxisDetails]) -> str:
    """Say each axis with its size and that of a pixel: ``c 2 · z 236 at 0.5 µm``."""
    return " · ".join(_axis_text(axis).replace(" ", _JOINING) for axis in axes)


def _axis_text(axis: AxisDetails) -> str:
    if axis.type == "channel":
        return f"{axis.name} {axis.size}"
    unit = axis.unit or ""
    length = f"{abs(axis.pixel):.4g} {_SYMBOLS.get(unit, unit or 'pixel')}"
    return f"{axis.name} {axis.size} at {length}"


def about_text(details: Details) -> str:
    """Say what somebody wrote about an image, and under which licence it is."""
    licence = f"Licence: {details.licence}" if details.licence else ""
    return "\n".join(part for part in (licence, details.description) if part)


def level_row(level: LevelDetails) -> tuple[str, ...]:
    """Give the cells of a level, as `COLUMNS` names them."""
    exact = "" if level.codec == "none" else "≈ "
    stored = "" if level.stored is None else f"{exact}{bytes_text(level.stored)}"
    return (
        level.path,
        _compact(level.shape),
        _compact(level.chunks),
        bytes_text(level.raw),
        stored,
        level.dtype,
        level.codec,
        "" if level.shards is None else _compact(level.shards),
    )


def channels_html(channels: Sequence[ResolvedChannel], image: str) -> str:
    """Give the names of the channels, each after a square of its colour.

    Names are what somebody wrote into a file, so they are escaped.
    """
    rows = (
        f'<span style="color:#{escape(c.color)}">■</span> {escape(c.name or image)}'
        for c in channels
    )
    return " &nbsp; ".join(rows)


def labels_text(labels: Sequence[str]) -> str:
    """Name the label images."""
    return f"Labels: {', '.join(labels)}" if labels else ""


def notes_text(details: Details) -> str:
    """Say what was tolerated, and how the place was reached: a line each."""
    lines = [f"⚠ {warning}" for warning in details.warnings]
    return "\n".join((*lines, *details.notes))


def entry_text(entry: Entry) -> str:
    """Say what a row knows, before anybody looked further."""
    size = "" if entry.size is None else bytes_text(entry.size)
    version = f"OME-Zarr {entry.version}" if entry.version else ""
    parts = (kind_text(entry), version, entry.summary, size, entry.modified[:10])
    facts = " · ".join(part for part in parts if part)
    return f"{facts}\n{entry.problem}".rstrip()


def is_readable(entry: Entry) -> bool:
    """Say whether a row is a small object of text, like a metadata document."""
    if entry.kind is not Kind.FILE or (entry.size or 0) > _MOST_TEXT:
        return False
    return entry.name.lower().endswith(_TEXTS)


def chunk_text(chunk: Chunk) -> str:
    """Say what a chunk weighs, what is in it, and how long it took."""
    milliseconds = f"{chunk.seconds * 1000:,.0f} ms"
    raw = f"{bytes_text(chunk.raw)} of {chunk.pixels.dtype}"
    low, high = chunk.pixels.min(), chunk.pixels.max()
    values = f"values {low:.6g} to {high:.6g}"
    if chunk.ratio is None:
        return (
            f"{chunk.key}: nothing is stored, all is {low:.6g}. {raw}, {milliseconds}."
        )
    stored = f"{bytes_text(chunk.stored)} stored"
    ratio = f"{chunk.ratio:.1f} times smaller"
    return f"{chunk.key}: {stored}, {ratio} than {raw}; {milliseconds}; {values}."


def findings_text(validation: Validation) -> str:
    """Give the outcome of a validation, and a line for each finding with its path."""
    sign = ("✖" if validation.findings else "✔") if validation.covered else "?"
    lines = [f"{sign} {validation.sentence}"]
    for finding in validation.findings:
        parts = (finding.document, finding.where)
        where = "/".join(part for part in parts if part) or "the document"
        lines.append(f"{where}: {finding.problem}")
    return "\n".join(lines)


def _compact(shape: Sequence[int]) -> str:
    """Say a shape without the spaces for which a narrow table has no room."""
    return BY.strip().join(map(str, shape))
