"""The documents of plates and wells: what is whole is listed, by compare-and-set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from napari_omezarr.errors import OptionError
from napari_omezarr.location import ARRAY_DOCUMENT, GROUP_DOCUMENT, ZGROUP
from napari_omezarr.metadata import Plate, parse_document

from .encode import ZarrDocument, group_documents, zarr_format
from .existing import (
    CONSOLIDATED,
    changed,
    document_of,
    ome_block,
    open_existing,
    read_group,
    refresh,
)
from .options import Version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from .hierarchy import Hierarchy

_WELL = re.compile(r"([A-Za-z0-9]+)/([A-Za-z0-9]+)|([A-Za-z]+)[ _-]?([0-9]+)")
# 0.4, 0.5 "well": the path "MUST contain only alphanumeric characters"; 0.6 takes any
# name of a Zarr node.
_FIELD = re.compile(r"[A-Za-z0-9]+"), "letters and digits"
_FIELD_06 = (
    re.compile(r"(?!__)(?!\.+$)(?!zarr\.json$)[A-Za-z0-9._-]+"),
    "letters, digits, -, _ and .",
)


@dataclass(frozen=True, slots=True)
class PlateField:
    """A field of view and its place on a plate; ``path`` is its name in the well."""

    row: str
    column: str
    path: str = "0"
    acquisition: int | None = None

    @property
    def well(self) -> str:
        """The path of its well."""
        return f"{self.row}/{self.column}"


def parse_well_name(text: str) -> tuple[str, str]:
    """Give the row and the column of a well: of ``B/3``, ``B3`` or ``B03``.

    Raises
    ------
    OptionError
        It is no name of a well.
    """
    found = _WELL.fullmatch(text.strip())
    if found is None:
        msg = f"{text} is no well."
        raise OptionError(msg, action="Write a row and a column, like B/3 or B3.")
    first, second, letters, digits = found.groups()
    return (letters.upper(), digits) if letters else (first, second)


def check_field_names(
    fields: Iterable[PlateField],
    listed: Mapping[str, Collection[str]],
    version: Version,
) -> None:
    """Check what fields are to be called that their wells do not list yet.

    Raises
    ------
    OptionError
        OME-Zarr of this version has no such names.
    """
    known, signs = _FIELD_06 if version == "0.6" else _FIELD
    for each in fields:
        if each.path not in listed[each.well] and not known.fullmatch(each.path):
            msg = f"{each.path} is no name of a field in OME-Zarr {version}."
            raise OptionError(msg, action=f"Use {signs}.")


def plate_there(hierarchy: Hierarchy) -> tuple[Version | None, tuple[str, ...]]:
    """Say of which version a plate is that is there, and what its columns are called.

    The version is None where there is nothing.

    Raises
    ------
    OptionError
        Something else is there, or a plate of a version that is not written any more.
    """
    group = read_group(hierarchy, "")
    if group is None:
        return None, ()
    block = group.block.get("plate")
    if isinstance(block, dict) and not _listed(block, "wells"):  # made to be filled
        said = block.get("version") or group.block.get("version")
        names = tuple(str(e.get("name")) for e in _listed(block, "columns"))
        for version in get_args(Version):
            if version == said:
                return version, names
    document = parse_document(group.attributes, url=hierarchy.address)
    if not isinstance(document.kind, Plate):
        msg = f"{hierarchy.address} is no plate."
        raise OptionError(msg, action="Choose another place.", url=hierarchy.address)
    for version in get_args(Version):
        if version == document.version:
            return version, document.kind.columns
    msg = f"{hierarchy.address} is OME-Zarr {document.version}, which is not written."
    raise OptionError(msg, action="Write a new plate.", url=hierarchy.address)


def listed_fields(hierarchy: Hierarchy, well: str) -> frozenset[str]:
    """Give the names of the fields that a well lists; none where it is not there."""
    group = read_group(hierarchy, well)
    block = {} if group is None else group.block.get("well")
    entries = _listed(block, "images") if isinstance(block, dict) else []
    return frozenset(str(e.get("path")) for e in entries)


def _listed(block: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Give the objects of a list; none where it holds others, or is none."""
    entries = block.get(name)
    every = entries if isinstance(entries, list) else []
    return [entry for entry in every if isinstance(entry, dict)]


def list_fields(
    hierarchy: Hierarchy,
    fields: Sequence[PlateField],
    version: Version,
    names: tuple[str | None, str] = (None, "plate"),
) -> None:
    """List fields that are whole in their wells, and these in their plate.

    Each document is read, changed and put back if nobody else has changed it, so that
    several may add wells, and fields to one well, at once. The plate gets the first of
    the names, or the second one where it has none yet.
    """
    wells: dict[str, list[PlateField]] = {}
    for each in fields:
        wells.setdefault(each.well, []).append(each)
    for row in dict.fromkeys(each.row for each in fields):
        _change_group(hierarchy, row, version, lambda _: None)
    most = 1
    for well, own in wells.items():
        counts: list[int] = []
        edit = partial(_list_in_well, own, version, counts)
        _change_group(hierarchy, well, version, edit)
        most = max(most, counts[-1])
    listing = partial(_list_in_plate, (fields, most), version, *names)
    _change_group(hierarchy, "", version, listing)
    if _is_consolidated(hierarchy):
        refresh([(hierarchy, "")], lambda: list(_documents(hierarchy, fields, version)))


def _change_group(hierarchy: Hierarchy, path: str, version: Version, edit: Any) -> None:
    """Change a group's metadata, or make the group."""
    number = zarr_format(version)
    below = f"{path}/" if path else ""
    if number == 2:
        made = {"zarr_format": 2}
        changed(hierarchy, f"{below}{ZGROUP}", lambda old: None if old else made)

    def change(old: dict[str, Any] | None) -> dict[str, Any]:
        content = old
        if content is None:
            own = {} if number == 2 else {"ome": {"version": version}}
            attributes = own if path.count("/") or not path else {}
            content = dict(group_documents(path, attributes, version)[-1].content)
        edit(ome_block(content, number))
        return content

    changed(hierarchy, f"{below}{GROUP_DOCUMENT[number]}", change)


def _list_in_well(
    fields: Iterable[PlateField],
    version: Version,
    counts: list[int],
    block: dict[str, Any],
) -> None:
    """List fields in their well, and count all that it lists then."""
    well = block.setdefault("well", {"version": version} if version == "0.4" else {})
    images = well["images"] = _listed(well, "images")
    there = {str(image.get("path")) for image in images}
    for each in fields:
        if each.path not in there:
            number = (
                {} if each.acquisition is None else {"acquisition": each.acquisition}
            )
            images.append({"path": each.path, **number})
    counts.append(len(images))


def _list_in_plate(
    new: tuple[Sequence[PlateField], int],
    version: Version,
    name: str | None,
    default: str,
    block: dict[str, Any],
) -> None:
    """List fields in their plate; with them comes the most that a well has."""
    fields, most = new
    plate = block.setdefault("plate", {"version": version} if version == "0.4" else {})
    if name is not None or "name" not in plate:
        plate["name"] = name or default
    wells = [w for w in _listed(plate, "wells") if "path" in w]
    there = {str(well["path"]) for well in wells}
    # A plate of others may list fewer rows and columns than its wells have.
    named = [path.split("/") for path in there if path.count("/") == 1]
    rows = _merged(plate, "rows", [each.row for each in fields] + [n[0] for n in named])
    more = [each.column for each in fields] + [n[1] for n in named]
    columns = _merged(plate, "columns", more)
    added = dict.fromkeys(each.well for each in fields if each.well not in there)
    wells += [{"path": path} for path in added]
    for well in wells:
        row, _, column = str(well["path"]).partition("/")
        if row in rows and column in columns:
            well["rowIndex"], well["columnIndex"] = (
                rows.index(row),
                columns.index(column),
            )
    wells.sort(key=lambda w: (w.get("rowIndex", 0), w.get("columnIndex", 0)))
    plate["rows"] = [{"name": row} for row in rows]
    plate["columns"] = [{"name": column} for column in columns]
    plate["wells"] = wells
    # 0.5 "plate": "the maximum number of fields per well across all wells".
    held = plate.get("field_count")
    plate["field_count"] = max(most, held) if isinstance(held, int) else most
    _list_acquisitions(plate, fields)


def _list_acquisitions(plate: dict[str, Any], fields: Sequence[PlateField]) -> None:
    numbers = {each.acquisition for each in fields} - {None}
    listed = _listed(plate, "acquisitions")
    there = {a.get("id") for a in listed}
    listed += [{"id": n} for n in sorted(numbers - there, key=str)]
    if listed:
        plate["acquisitions"] = listed


def _merged(plate: dict[str, Any], listed: str, more: Iterable[str]) -> list[str]:
    """Give names in their natural order, unless those that are listed have another."""
    names = [str(e["name"]) for e in _listed(plate, listed) if "name" in e]
    new = [name for name in dict.fromkeys(more) if name not in names]
    if names != sorted(names, key=_natural):
        return [*names, *sorted(new, key=_natural)]
    return sorted([*names, *new], key=_natural)


def _natural(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, len(name), name)


def _is_consolidated(hierarchy: Hierarchy) -> bool:
    for number, key in CONSOLIDATED.items():
        stored = hierarchy.read(key)
        if stored is not None and (
            number == 2 or "consolidated_metadata" in document_of(stored, key)
        ):
            return True
    return False


def _documents(
    hierarchy: Hierarchy, fields: Sequence[PlateField], version: Version
) -> Iterator[ZarrDocument]:
    """Read the documents of fields and of what lies above them."""
    number = zarr_format(version)
    names = (ZGROUP, GROUP_DOCUMENT[2]) if number == 2 else (GROUP_DOCUMENT[3],)
    groups: dict[str, None] = {}
    arrays: list[str] = []
    for each in fields:
        place = f"{each.well}/{each.path}"
        groups |= dict.fromkeys((each.row, each.well, place))
        image = open_existing(hierarchy, place)
        arrays += [
            f"{place}/{d.path}/{ARRAY_DOCUMENT[number]}"
            for d in image.multiscale.datasets
        ]
    keys = [f"{group}/{name}" for group in groups for name in names]
    for key, stored in zip(
        keys + arrays, hierarchy.read_all(keys + arrays), strict=True
    ):
        if stored is not None:
            yield ZarrDocument(key, document_of(stored, key))
