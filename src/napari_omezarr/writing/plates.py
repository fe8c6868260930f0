"""The documents of plates and wells: what is whole is listed, by compare-and-set."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from napari_omezarr.errors import NodeNotFoundError, OptionError, TargetExistsError
from napari_omezarr.location import ARRAY_DOCUMENT, GROUP_DOCUMENT, ZGROUP
from napari_omezarr.metadata import Plate, parse_document
from napari_omezarr.tables import GROUP

from .annotations import lists_of_tables
from .documents import namespaced, parted
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

    from .carrying import CarryPlan
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
    """A field of view and its place on a plate; ``path`` is its name in the well.

    Without a path it is the well alone, in which no field is.
    """

    row: str
    column: str
    path: str = "0"
    acquisition: int | None = None

    @property
    def well(self) -> str:
        """The path of its well."""
        return f"{self.row}/{self.column}"


@dataclass(frozen=True, slots=True)
class PlateModel:
    """What the groups of a plate say that is to be written anew, kept as it is.

    ``attributes`` are those of the plate (path ``""``), of its rows and its wells.
    ``absent`` are wells that it lists, and that are not there.
    """

    attributes: Mapping[str, Mapping[str, Any]]
    absent: tuple[str, ...] = ()

    def listed(self, path: str) -> dict[str, dict[str, Any]]:
        """Give what a group lists, by path: the plate its wells, a well its fields."""
        kind, name = _LISTS[path == ""]
        block, _ = parted(self.attributes.get(path, {}))
        said = block.get(kind)
        found: dict[str, dict[str, Any]] = {}
        for entry in _listed(said, name) if isinstance(said, dict) else ():
            found.setdefault(str(entry.get("path")), entry)
        return found

    def begun(self, path: str, version: Version) -> dict[str, Any]:
        """Give the attributes of a group in a version, before anything is listed."""
        attributes = self.attributes.get(path, {})
        block, others = parted(attributes)
        if not block:
            return dict(attributes)
        block.pop("version", None)
        for kind, name in _LISTS.values():
            if isinstance(said := block.get(kind), dict):
                rest = {key: value for key, value in said.items() if key != "version"}
                own = {"version": version} if version == "0.4" else {}
                block[kind] = {**own, **rest, name: []}
        return namespaced(version, block, others)


_LISTS = {True: ("plate", "wells"), False: ("well", "images")}
"""What lists what; true is a plate."""


def refuse_other_plate(hierarchy: Hierarchy, model: PlateModel) -> None:
    """Refuse a plate that is there and is no unfinished one of a model.

    Raises
    ------
    TargetExistsError
        It has another name, lacks a row or a column, or has a well that is not known.
    """
    group = read_group(hierarchy, "")
    here = group.block.get("plate") if group else None
    there = parted(model.attributes.get("", {}))[0].get("plate")
    if not isinstance(here, dict) or not isinstance(there, dict):
        return
    is_same = here.get("name") == there.get("name")
    for name in ("rows", "columns"):
        is_same &= _names(there, name) <= _names(here, name)
    wells = {str(well.get("path")) for well in _listed(here, "wells")}
    if not is_same or wells - model.listed("").keys():
        raise TargetExistsError(
            f"{hierarchy.address} is another plate.",
            action="Choose another place.",
            url=hierarchy.address,
        )


def _names(plate: dict[str, Any], listed: str) -> set[str]:
    return {str(entry.get("name")) for entry in _listed(plate, listed)}


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


def listed_fields(hierarchy: Hierarchy, wells: Collection[str]) -> dict[str, set[str]]:
    """Give the names of the fields that wells list and that are there."""
    listed: dict[tuple[str, str], str] = {}
    for number, name in GROUP_DOCUMENT.items():
        keys = [f"{well}/{name}" for well in wells]
        for well, key, stored in zip(
            wells, keys, hierarchy.read_all(keys), strict=True
        ):
            if stored is not None:
                block = ome_block(document_of(stored, key), number).get("well")
                entries = _listed(block, "images") if isinstance(block, dict) else []
                paths = [str(entry.get("path")) for entry in entries]
                listed |= {(well, path): f"{well}/{path}/{name}" for path in paths}
    there: dict[str, set[str]] = {well: set() for well in wells}
    bodies = hierarchy.read_all([*listed.values()])
    for (well, path), stored in zip(listed, bodies, strict=True):
        if stored is not None:
            there[well].add(path)
    return there


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
    model: PlateModel | None = None,
) -> None:
    """List fields that are whole in their wells, and these in their plate.

    Each document is read, changed and put back if nobody else has changed it, so that
    several may add wells, and fields to one well, at once. The plate gets the first of
    the names, or the second one where it has none yet. Groups that are made, and what
    is listed, say what those of a ``model`` do, in its order.
    """
    wells: dict[str, list[PlateField]] = {}
    for each in fields:
        own = wells.setdefault(each.well, [])
        own += [each] if each.path else []
    beside = ["OME"] if model and "OME" in model.attributes else []
    for row in dict.fromkeys([*beside, *(each.row for each in fields)]):
        _change_group(hierarchy, row, version, lambda _: None, model)
    most = 1
    for well, own in wells.items():
        counts: list[int] = []
        edit = partial(_list_in_well, own, version, counts, _entries(model, well))
        _change_group(hierarchy, well, version, edit, model)
        most = max(most, counts[-1])
    listing = partial(_list_in_plate, (fields, most), version, names, model)
    _change_group(hierarchy, "", version, listing, model)
    if _is_consolidated(hierarchy):
        refresh([(hierarchy, "")], lambda: list(_documents(hierarchy, fields, version)))


def _entries(model: PlateModel | None, path: str) -> dict[str, dict[str, Any]]:
    return model.listed(path) if model else {}


def _in_order(
    entries: list[dict[str, Any]], known: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Put entries into the order of those that are known; others stay behind them."""
    order = {path: number for number, path in enumerate(known)}
    return sorted(entries, key=lambda e: order.get(str(e.get("path")), len(order)))


def _change_group(
    hierarchy: Hierarchy,
    path: str,
    version: Version,
    edit: Any,
    model: PlateModel | None = None,
) -> None:
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
            if model is not None:
                attributes = model.begun(path, version)
            content = dict(group_documents(path, attributes, version)[-1].content)
        edit(ome_block(content, number))
        return content

    changed(hierarchy, f"{below}{GROUP_DOCUMENT[number]}", change)


def _list_in_well(
    fields: Iterable[PlateField],
    version: Version,
    counts: list[int],
    known: Mapping[str, dict[str, Any]],
    block: dict[str, Any],
) -> None:
    """List fields in their well, and count all that it lists then."""
    well = block.setdefault("well", {"version": version} if version == "0.4" else {})
    images = _listed(well, "images")
    there = {str(image.get("path")) for image in images}
    for each in fields:
        if each.path not in there:
            number = (
                {} if each.acquisition is None else {"acquisition": each.acquisition}
            )
            images.append(known.get(each.path) or {"path": each.path, **number})
    well["images"] = _in_order(images, known)
    counts.append(len(images))


def _list_in_plate(
    whole: tuple[Sequence[PlateField], int],
    version: Version,
    names: tuple[str | None, str],
    model: PlateModel | None,
    block: dict[str, Any],
) -> None:
    """List fields in their plate; with them comes the most that a well has."""
    fields, most = whole
    plate = block.setdefault("plate", {"version": version} if version == "0.4" else {})
    name, default = names
    if name is not None or ("name" not in plate and model is None):
        plate["name"] = name or default
    wells = [w for w in _listed(plate, "wells") if "path" in w]
    known = _entries(model, "")
    there = dict.fromkeys(str(well["path"]) for well in wells)
    new = dict.fromkeys((*(e.well for e in fields), *(model.absent if model else ())))
    wells += [dict(known.get(p) or {"path": p}) for p in new if p not in there]
    # A plate of others may list fewer rows and columns than its wells have.
    named = [path.split("/") for path in (*there, *new) if path.count("/") == 1]
    rows = _merged(plate, "rows", [row for row, _ in named])
    columns = _merged(plate, "columns", [column for _, column in named])
    for well in wells:
        row, _, column = str(well["path"]).partition("/")
        if row in rows and column in columns:
            well["rowIndex"], well["columnIndex"] = (
                rows.index(row),
                columns.index(column),
            )
    wells.sort(key=lambda w: (w.get("rowIndex", 0), w.get("columnIndex", 0)))
    for listed, ordered in (("rows", rows), ("columns", columns)):
        said = {str(entry.get("name")): entry for entry in _listed(plate, listed)}
        plate[listed] = [said.get(name) or {"name": name} for name in ordered]
    plate["wells"] = _in_order(wells, known)
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


def list_tables(hierarchy: Hierarchy, plan: CarryPlan, version: Version) -> None:
    """List tables that are carried to a plate, beside those that it lists by now."""
    number = zarr_format(version)

    def merged(new: Mapping[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
        if old is None:
            return dict(new)
        known, more = old, new
        if number == 3:
            known, more = old.setdefault("attributes", {}), new.get("attributes", {})
        names = [*known.get(GROUP, ()), *more.get(GROUP, ())]
        if names:
            known[GROUP] = [*dict.fromkeys(names)]
        return old

    for document in lists_of_tables((), version, [plan]):
        changed(hierarchy, document.key, partial(merged, document.content))


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
        place = f"{each.well}/{each.path}".rstrip("/")
        groups |= dict.fromkeys((each.row, each.well, place))
        with suppress(NodeNotFoundError):  # it may be listed as in a model, and absent
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
