"""What lies beside an image and is none of it: found, and carried as it is stored.

Tables of other programs, groups, arrays and files: all but levels, labels and what is
written anew. Nothing of it is decoded; documents of zarr 2 become such of zarr 3 where
the stored chunks are the same in both.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from napari_omezarr._io_loop import run
from napari_omezarr.errors import (
    ListingDeniedError,
    MetadataError,
    StoreError,
    UnsupportedDataError,
)
from napari_omezarr.location import (
    ZARR_JSON,
    ZARRAY,
    ZATTRS,
    ZGROUP,
    ZMETADATA,
    Location,
)
from napari_omezarr.metadata import DocumentError, Image, load_json, parse_document
from napari_omezarr.reading import join_path
from napari_omezarr.store import all_items, open_lister, open_store
from napari_omezarr.tables import GROUP

from .containers import as_zarr3, known_array
from .encode import ZarrDocument, encoded, inline, zarr_format
from .hierarchy import FolderHierarchy, RemoteHierarchy, is_document, is_ours
from .moving import CopyJournal, CopyRun

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from napari_omezarr.pyramid import Pyramid
    from napari_omezarr.store import ObjectMeta, RemoteStore

    from .hierarchy import Hierarchy
    from .options import Version

LABELS = "labels"
_SAID_ANEW = ("ome", "series", "bioformats2raw.layout")
_MADE_ANEW = {"image": (GROUP, LABELS), "series": ("OME",), "plate": (GROUP, "OME")}
"""Groups whose documents are written anew, and may hold what is carried."""
_UNITS_IN = _MADE_ANEW["image"]
_LARGEST_DOCUMENT = 2**24


@dataclass(frozen=True, slots=True)
class Beside:
    """What lies at a place beside what is written anew, by keys from there on.

    ``documents`` are those of zarr, as they are stored, ``objects`` all else, and
    ``groups`` the attributes of the groups that are written anew, by their path.
    ``left`` names what is there and is not carried. ``is_above``: the place is no
    image, but what holds a series of them. ``arrays`` are the attributes of levels in
    zarr 2, where they are no part of the document, by their paths.
    """

    source: Location
    objects: tuple[ObjectMeta, ...] = ()
    documents: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    left: tuple[str, ...] = ()
    is_above: bool = False
    arrays: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        """Whether there is something."""
        several = (self.objects, self.documents, self.groups, self.left, self.arrays)
        return any(several)

    @property
    def told(self) -> tuple[str, ...]:
        """The paths of all that is there."""
        return (*self.units, *self.left)

    @property
    def units(self) -> dict[str, list[str]]:
        """The keys of what is carried as a whole or not at all, by its path."""
        found: dict[str, list[str]] = {}
        for key in sorted([*(each.name for each in self.objects), *self.documents]):
            found.setdefault(_unit(key), []).append(key)
        return found


def _unit(key: str) -> str:
    first, _, rest = key.partition("/")
    second, inside, _ = rest.partition("/")
    return f"{first}/{second}" if first in _UNITS_IN and inside else first


# Finding it: folders are listed, and but those of which all is carried only one deep.


def find_beside(
    source: Location,
    known: Collection[str],
    *,
    without: Collection[str] = (),
    levels: Collection[str] = (),
    kind: Literal["image", "series", "plate"] = "image",
) -> Beside | None:
    """List what lies at a place beside the ``known`` paths, and read its documents.

    Of ``without`` it is only said that it is there; of ``levels``, of zarr 2, the
    attributes are read. None if the place is not listed.

    Raises
    ------
    StoreError
        It could not be read.
    """
    try:
        return run(_find(source, known, without, levels, kind))
    except ListingDeniedError:
        return None


def levels_of(image: Pyramid) -> set[str]:
    """Give the paths of all levels of an image group, of all its multiscales."""
    kind = parse_document(image.attributes or {}).kind
    several = kind.multiscales if isinstance(kind, Image) else ()
    named = {dataset.path for each in several for dataset in each.datasets}
    return {path.strip("/") for path in named | {each.path for each in image.levels}}


async def _find(
    source: Location,
    known: Collection[str],
    without: Collection[str],
    levels: Collection[str],
    kind: str,
) -> Beside:
    is_above = kind == "series"
    objects: list[ObjectMeta] = []
    left: list[str] = []
    shallow = {path for key in known for path in parents(key)} - {GROUP}
    made_anew = {"", *_MADE_ANEW[kind]}
    shallow |= made_anew - {"", GROUP}
    waiting = [""]
    while waiting:
        path = waiting.pop()
        place = source / path if path else source
        for item in await all_items(open_lister(place).page):
            key = join_path(path, item.name)
            if key in without:
                left.append(key)
            elif key in shallow and item.is_folder:
                waiting.append(key)
            elif key not in known:
                if item.is_folder:
                    objects += await objects_below(source, key)
                else:
                    objects.append(replace(item, name=key))
    anew = {
        each.name
        for each in objects
        if is_document(each.name) and each.name.rpartition("/")[0] in made_anew
    }
    objects = [each for each in objects if _is_carried(each.name, known, anew)]
    store = open_store(source)
    small = [e.name for e in objects if (e.size or 0) <= _LARGEST_DOCUMENT]
    anew = {key for key in anew if key.rpartition("/")[0] or is_above}
    of_levels = {join_path(path, ZATTRS) for path in levels}
    asked = [*filter(is_document, small), *sorted(anew | of_levels)]
    bodies = await _bodies(store, asked)
    said = dict(_attributes({k: bodies[k] for k in anew | of_levels if k in bodies}))
    return Beside(
        source,
        tuple(each for each in objects if each.name not in bodies),
        {key: body for key, body in bodies.items() if key not in anew | of_levels},
        {path: each for path, each in said.items() if path not in levels},
        tuple(left),
        is_above,
        {path: each for path, each in said.items() if path in levels},
    )


def _is_carried(key: str, known: Collection[str], anew: Collection[str]) -> bool:
    return not (is_ours(key) or key in anew or _unit(key) in known)


def parents(key: str) -> Iterator[str]:
    """Give the paths above a key, the nearest first."""
    while key := key.rpartition("/")[0]:
        yield key


async def objects_below(place: Location, path: str) -> list[ObjectMeta]:
    """List all objects below a path, by keys from the place on."""
    items = await all_items(open_lister(place / path).deep_page)
    return [replace(item, name=join_path(path, item.name)) for item in items]


async def _bodies(store: RemoteStore, keys: Iterable[str]) -> dict[str, bytes]:
    bodies = {}
    for key, body in (await store.answers(keys, apart=True)).items():
        if isinstance(body, StoreError):
            raise body
        if body is not None:
            bodies[key] = body
    return bodies


def _attributes(bodies: Mapping[str, bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, body in bodies.items():
        path, _, name = key.rpartition("/")
        try:
            content = _parsed(body)
        except MetadataError:  # the group is made anew, and nothing of it can be kept
            continue
        if name == ZARR_JSON:
            content = content.get("attributes")
        if name in (ZARR_JSON, ZATTRS) and isinstance(content, dict) and content:
            yield path, content


def _parsed(body: bytes) -> Any:
    try:
        content = load_json(body)
    except DocumentError as error:
        raise MetadataError(str(error)) from error
    if not isinstance(content, dict):
        raise MetadataError("This is no JSON object")
    return content


# What becomes of it: pure.


@dataclass(frozen=True, slots=True)
class CarryPlan:
    """What is carried to an image that is written, by keys from its group on.

    ``documents`` are as they will be stored; ``tables`` are listed in the group of
    tables; ``extras`` are attributes that groups written anew keep.
    """

    image: str
    source: Location
    objects: tuple[ObjectMeta, ...]
    documents: Mapping[str, bytes] = field(repr=False)
    units: tuple[str, ...]
    tables: tuple[str, ...]
    extras: Mapping[str, Mapping[str, Any]] = field(repr=False)
    losses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def consolidated(self, version: Version) -> Iterator[ZarrDocument]:
        """Give the documents that are of a version's zarr format, to be held above."""
        number = zarr_format(version)
        for key, body in self.documents.items():
            name = key.rpartition("/")[2]
            if name == ZMETADATA or (name == ZARR_JSON) != (number == 3):
                continue
            with suppress(MetadataError, ValueError):  # as broken as it was, or NaN
                content = _parsed(body)
                content.pop("consolidated_metadata", None)
                document = ZarrDocument(join_path(self.image, key), content)
                json.dumps(content, allow_nan=False)
                yield document

    def left_by(self, hierarchy: Hierarchy) -> CarryPlan:
        """Give what is not there, or not whole, of what an earlier run has put."""
        there: dict[str, int] = {}
        for unit in self.units:
            there |= hierarchy.sizes(unit)
            if unit not in there and (own := hierarchy.read(unit)) is not None:
                there[unit] = len(own.body)
        held = {each.name: each.size for each in self.objects}
        held |= dict.fromkeys(self.documents)
        lacking = {
            _unit(key)
            for key, size in held.items()
            if key not in there or size not in (None, there[key])
        }
        return replace(
            self,
            units=tuple(unit for unit in self.units if unit in lacking),
            objects=tuple(e for e in self.objects if _unit(e.name) in lacking),
            documents={k: b for k, b in self.documents.items() if _unit(k) in lacking},
        )

    def put(self, hierarchy: Hierarchy, *, resumed: bool, verify: bool) -> None:
        """Copy it, the documents last; what an earlier run has put there is left."""
        target = hierarchy.below(self.image) if self.image else hierarchy
        address = join_path(hierarchy.address, self.image)
        journal = CopyJournal(self.source.display, f"{address} (beside)")
        same = journal.begin(self.objects) and resumed
        there: dict[str, int] = {}
        for unit in self.units if resumed else ():
            there |= target.sizes(unit)
        done = [e for e in self.objects if same and there.get(e.name, -1) == e.size]
        names = {each.name for each in self.objects}
        # Of what the source held before; where it is the same the rest is somebody's.
        for key in () if same else there.keys() - names - self.documents.keys():
            target.begin_delete(key).result()
        if target.needs_arrays_first:
            self._put_documents(target)
        copying = CopyRun(open_store(self.source), target, self.objects, done, None)
        written = _as_read(target) if verify else None
        run(copying.run(accept_refused=False, written=written))
        if not target.needs_arrays_first:
            self._put_documents(target)
        journal.end()

    def _put_documents(self, target: Hierarchy) -> None:
        keys = sorted(self.documents, key=lambda key: (-key.count("/"), key))
        if target.needs_arrays_first:
            keys.reverse()
        for done in [target.begin_put(key, self.documents[key]) for key in keys]:
            done.result()


def _as_read(target: Hierarchy) -> RemoteStore | None:
    """Give what is written as who reads it finds it; None of somebody else's store."""
    if isinstance(target, RemoteHierarchy):
        place = target.writable.location
        return open_store(place / target.prefix if target.prefix else place)
    if isinstance(target, FolderHierarchy):
        return open_store(Location.parse(target.path / target.prefix))
    return None


def plan_carried(
    beside: Beside, image: str, name: str, version: Version, taken: Iterable[str]
) -> CarryPlan:
    """Decide what is carried to an image, where some paths are ``taken``."""
    held = {path.lower() for path in taken}
    units, losses, notes = beside.units, [], []
    documents: dict[str, bytes] = {}
    kept, alike = [], []
    for unit, keys in units.items():
        if unit.lower() in held:
            losses.append(
                f"{unit} beside {name} is not taken over: something of the image that "
                "is written has its name."
            )
            continue
        kept.append(unit)
        bodies = {key: beside.documents[key] for key in keys if key in beside.documents}
        try:
            documents |= in_format(bodies, zarr_format(version))
            alike.append(unit)
        except (UnsupportedDataError, MetadataError) as error:
            documents |= bodies
            other = 2 if zarr_format(version) == 3 else 3
            notes.append(
                f"{unit} beside {name} stays as it is, in zarr {other}, and opens by "
                f"its own address: {error.sentence}"
            )
    if beside.left:
        named = ", ".join(beside.left)
        notes.append(f"What lies beside {name} is not taken over: {named}.")
    carried = {key for unit in kept for key in units[unit]}
    listed = beside.groups.get(GROUP, {}).get(GROUP)
    listed = [each for each in listed if isinstance(each, str)] if listed else []
    return CarryPlan(
        image,
        beside.source,
        tuple(each for each in beside.objects if each.name in carried),
        documents,
        tuple(kept),
        tuple(each for each in listed if f"{GROUP}/{each}" in alike),
        {
            path: {k: v for k, v in said.items() if k not in (path, *_SAID_ANEW)}
            for path, said in beside.groups.items()
        },
        tuple(losses),
        tuple(notes),
    )


def in_format(documents: Mapping[str, bytes], number: int) -> dict[str, bytes]:
    """Give documents in a zarr format, around the same chunks.

    Raises
    ------
    UnsupportedDataError
        The chunks would be others, or an earlier format is asked for.
    MetadataError
        One of them is no document.
    """
    new = {key.rpartition("/")[0] for key in documents if _name(key) == ZARR_JSON}
    old = [key for key in documents if _name(key) != ZARR_JSON]
    if number == 2:
        if new:
            raise UnsupportedDataError("OME-Zarr 0.4 is of zarr 2.")
        return dict(documents)
    result = {key: body for key, body in documents.items() if _name(key) == ZARR_JSON}
    paths = {key.rpartition("/")[0] for key in old} - new
    held = [path for path in paths if join_path(path, ZMETADATA) in documents]
    made = {path: _as_new(path, documents) for path in paths}
    for path in held:
        below = f"{path}/"
        made[path] |= inline(
            ZarrDocument(f"{other.removeprefix(below)}/{ZARR_JSON}", content)
            for other, content in made.items()
            if other.startswith(below)
        )
    return result | {join_path(p, ZARR_JSON): encoded(made[p]) for p in sorted(paths)}


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _as_new(path: str, documents: Mapping[str, bytes]) -> dict[str, Any]:
    """Describe a group or an array of zarr 2 in zarr 3."""
    said = {
        name: _parsed(documents[key])
        for name in (ZARRAY, ZGROUP, ZATTRS)
        if (key := join_path(path, name)) in documents
    }
    attributes = said.get(ZATTRS, {})
    if ZARRAY not in said:
        return {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return {**as_zarr3(known_array(said[ZARRAY], 2)), "attributes": attributes}
