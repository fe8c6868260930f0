"""What is wrong with a store: its metadata, mended where safe, and its chunks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice, pairwise, product
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr._io_loop import HeedingPool
from napari_omezarr.doors import guarded, stopped_by
from napari_omezarr.errors import (
    DamagedDataError,
    ListingDeniedError,
    MetadataError,
    OMEZarrError,
    TruncatedBodyError,
)
from napari_omezarr.location import GROUP_DOCUMENT, ZARR_JSON, ZGROUP, ZMETADATA
from napari_omezarr.metadata import (
    Axis,
    Image,
    Labels,
    normalized_unit,
    parse_document,
)
from napari_omezarr.plain_text import counted
from napari_omezarr.pyramid import ArrayPixels, chunk_box
from napari_omezarr.reading import join_path, read_current
from napari_omezarr.store import open_lister, run
from napari_omezarr.writing import (
    ZarrDocument,
    claim_of,
    encoded,
    inline,
    ome_block,
    open_hierarchy,
)

from .tree import OLD_DOCUMENTS, apply, document, read_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from threading import Event

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Bounds

    from .tree import StoredNode, UndoCopy

_MANY_ROWS = 1000
"""From so many rows on features weigh on who only opens the image."""

_CALIBRATE = "Say the right one: napari-omezarr calibrate --units"

Block = dict[str, Any]
Mend = Callable[[Block], None]
"""Changes the OME-Zarr metadata of a group in place."""


@dataclass(frozen=True, slots=True)
class Ailment:
    """One thing that is wrong in a store.

    ``kind`` is a word for machines, ``path`` the node, ``name`` what of it.
    ``can_be_mended`` says whether `mend` changes it; if not, ``action`` says what a
    person can do.
    """

    kind: str
    path: str
    sentence: str
    action: str = ""
    name: str = ""
    change: Mend | None = field(default=None, repr=False, compare=False)
    is_stale: bool = False
    """Whether it is about consolidated metadata, which are made anew."""

    @property
    def can_be_mended(self) -> bool:
        """Whether it can be mended without a loss."""
        return self.change is not None or self.is_stale


@guarded
def examine(location: Location) -> list[Ailment]:
    """Look for what is wrong in the metadata of a store; blocks, reads no chunk.

    Raises
    ------
    NodeNotFoundError
        There is no zarr.
    MetadataError, StoreError
        The root's document is no JSON object, or one could not be read.
    """
    broken: list[MetadataError] = []
    nodes = read_tree(location, undocumented=True, broken=broken)
    found = [ailment for node in nodes.values() for ailment in _of_node(node, nodes)]
    if not broken:
        return [*found, *_stale(nodes)]
    # Consolidated metadata may hold the only copy that is left of what is broken, so
    # that nothing is mended around it.
    left = [replace(ailment, change=None) for ailment in found]
    return [*map(_unreadable, broken), *left]


def _unreadable(error: MetadataError) -> Ailment:
    path, _, name = error.where.rpartition("/")
    action = "Copy this document again from where it was made; the rest is mended then."
    return Ailment("broken document", path, error.sentence, action, name)


@guarded
def mend(location: Location, ailments: Iterable[Ailment]) -> UndoCopy | None:
    """Mend what can be mended safely; the documents as they were are kept.

    Only metadata are changed, and nothing that lies in the store is deleted. None if
    there was nothing to mend.

    Raises
    ------
    OptionError
        Nothing can be written there.
    TargetClaimedError, ConflictError
        Somebody is writing there.
    StoreError
        Something could not be read or written.
    """
    chosen = [ailment for ailment in ailments if ailment.can_be_mended]
    if not chosen:
        return None
    hierarchy = open_hierarchy(location)
    with claim_of(hierarchy, "", hierarchy.address).held():
        nodes = read_tree(location, undocumented=True)
        version = next(filter(None, map(_version, nodes.values())), "0.5")
        contents: dict[str, dict[str, Any]] = {}
        for ailment in chosen:
            node = nodes.get(ailment.path)
            if ailment.change is None or node is None:
                continue
            key = node.key(GROUP_DOCUMENT[node.zarr_format])
            before = node.content if node.zarr_format == 3 else node.attributes
            content = contents.setdefault(key, deepcopy(before))
            if node.zarr_format == 3:
                attributes = content.setdefault("attributes", {})
                attributes.setdefault("ome", {"version": version})
            elif ZGROUP not in node.bodies:
                contents[node.key(ZGROUP)] = {"zarr_format": 2}
            ailment.change(ome_block(content, node.zarr_format))
        return apply(hierarchy, _with_consolidated(nodes, contents))


def _version(node: StoredNode) -> str | None:
    inner = node.attributes.get("ome")
    version = inner.get("version") if isinstance(inner, Mapping) else None
    return str(version) if version else None


# What is looked for in a node.


def _of_node(node: StoredNode, nodes: Mapping[str, StoredNode]) -> Iterator[Ailment]:
    if node.zarr_format == 3 and any(name in node.bodies for name in OLD_DOCUMENTS):
        yield Ailment(
            "two formats",
            node.path,
            f"{_named(node)} has documents of zarr 2 and of zarr 3.",
            "Remove those of the format that nobody reads.",
        )
    if node.is_array:
        return
    try:
        parsed = parse_document(node.attributes)
    except OMEZarrError as error:
        yield Ailment("metadata", node.path, error.sentence, error.action)
        return
    kind = parsed.kind
    if isinstance(kind, Image):
        yield from _levels(node, kind, nodes)
        yield from _units(node)
        yield from _features(node, kind)
    for warning in parsed.warnings:
        is_unit = "/unit: " in warning
        told = f"{_named(node)}: {warning}."
        action = _CALIBRATE if is_unit else "Ask who made it; it is read all the same."
        yield Ailment("unit" if is_unit else "tolerated", node.path, told, action)
    names = kind.paths if isinstance(kind, Labels) else None
    if node.path.rpartition("/")[2] == "labels":
        yield from _labels(node, names or (), nodes)


def _levels(
    node: StoredNode, image: Image, nodes: Mapping[str, StoredNode]
) -> Iterator[Ailment]:
    for number, multiscale in enumerate(image.multiscales):
        paths = [dataset.path for dataset in multiscale.datasets]
        found = {p: nodes.get(join_path(node.path, p)) for p in paths}
        shapes = {p: s for p in paths if (s := _shape(found[p])) is not None}
        missing = [p for p in paths if p not in shapes]
        there = [p for p in paths if p not in missing]
        if missing:
            told = f"{_named(node)} speaks of level {', '.join(missing)}, not there."
            # Without its finest level an image would look smaller than it is.
            safe = bool(there) and paths[0] not in missing
            yield Ailment(
                "missing level",
                node.path,
                told,
                "" if safe else "Copy it again from where it was made.",
                change=_without_levels(number, missing) if safe else None,
            )
        wrong = _unlike(shapes, [found[p] for p in there])
        if wrong:
            of = node.path or "the store"
            action = "Convert it from where it was made."
            yield Ailment("shape", node.path, f"The levels of {of} {wrong}.", action)


def _shape(node: StoredNode | None) -> tuple[int, ...] | None:
    """Give the shape of a level; None if nothing is there that could be one."""
    shape = node.content.get("shape") if node is not None and node.is_array else None
    if isinstance(shape, list) and all(isinstance(size, int) for size in shape):
        return tuple(shape)
    return None


def _unlike(
    shapes: Mapping[str, tuple[int, ...]], levels: Sequence[StoredNode | None]
) -> str:
    """Say in which way levels are not those of one image; nothing if they are."""
    kinds = {
        str(each.content.get("data_type") or each.content.get("dtype"))
        for each in levels
        if each
    }
    if len({len(shape) for shape in shapes.values()}) > 1:
        return "have different numbers of axes"
    for (fine, large), (coarse, small) in pairwise(shapes.items()):
        if any(s > n for s, n in zip(small, large, strict=True)):
            return f"are not from fine to coarse: {coarse} is larger than {fine}"
    return "have different types of pixels" if len(kinds) > 1 else ""


def _without_levels(number: int, missing: list[str]) -> Mend:
    def change(block: Block) -> None:
        multiscale = block["multiscales"][number]
        multiscale["datasets"] = [
            dataset
            for dataset in multiscale["datasets"]
            if str(dataset.get("path")).strip("/") not in missing
        ]

    return change


def _axis_lists(block: Block) -> Iterator[list[Any]]:
    """Give the lists of axes of all multiscales, of whichever version."""
    for multiscale in block.get("multiscales") or ():
        for holder in (multiscale, *(multiscale.get("coordinateSystems") or ())):
            axes = holder.get("axes") if isinstance(holder, Mapping) else None
            if isinstance(axes, list):
                yield [axis for axis in axes if isinstance(axis, dict)]


def _units(node: StoredNode) -> Iterator[Ailment]:
    block = ome_block({"attributes": node.attributes}, 3)
    wrong: dict[str, str] = {}
    for axes in _axis_lists(block):
        for axis in axes:
            unit = axis.get("unit")
            if not isinstance(unit, str):
                continue
            kind, name = axis.get("type"), str(axis.get("name"))
            right = normalized_unit(
                Axis(name, kind if isinstance(kind, str) else None, unit)
            )
            if right is not None and right != unit:
                wrong[unit] = right
    for unit, right in wrong.items():
        told = f"{_named(node)} has the unit {unit[:40]!r}, which is written {right}."
        yield Ailment("unit", node.path, told, change=_with_unit(unit, right))


def _with_unit(wrong: str, right: str) -> Mend:
    def change(block: Block) -> None:
        for axes in _axis_lists(block):
            for axis in axes:
                if axis.get("unit") == wrong:
                    axis["unit"] = right

    return change


def _features(node: StoredNode, image: Image) -> Iterator[Ailment]:
    label = image.multiscales[0].label
    rows = len(label.properties) if label else 0
    if rows > _MANY_ROWS:
        yield Ailment(
            "features",
            node.path,
            f"{_named(node)} has {rows:,} rows of features in its metadata, which "
            "everybody reads who opens the image.",
            "Save the labels anew: many rows then go into a table beside them.",
        )


def _labels(
    node: StoredNode, names: Iterable[str], nodes: Mapping[str, StoredNode]
) -> Iterator[Ailment]:
    listed = list(names)
    for name in listed:
        if join_path(node.path, name) not in nodes:
            yield Ailment(
                "absent label",
                node.path,
                f"{_named(node)} lists {name}, which is not there.",
                name=name,
                change=_with_labels(name, listed=False),
            )
    below = f"{node.path}/"
    for path, other in nodes.items():
        name = path.removeprefix(below)
        if not path.startswith(below) or "/" in name or other.is_array:
            continue
        block = ome_block({"attributes": other.attributes}, 3)
        if "multiscales" in block and name not in listed:
            yield Ailment(
                "unlisted label",
                node.path,
                f"{path} are labels that {node.path or 'the store'} does not list.",
                name=name,
                change=_with_labels(name, listed=True),
            )
    parent = nodes.get(node.path.rpartition("/")[0])
    if parent is not None and parent is not node:
        block = ome_block({"attributes": parent.attributes}, 3)
        if "multiscales" not in block:
            yield Ailment(
                "orphan labels",
                node.path,
                f"{_named(node)} lies beside no image.",
                "Copy them into the image that they belong to.",
            )


def _with_labels(name: str, *, listed: bool) -> Mend:
    """Put a name into the list, or take it out."""

    def change(block: Block) -> None:
        names = [each for each in block.get("labels") or () if each != name]
        block["labels"] = [*names, name] if listed else names

    return change


# Consolidated metadata: a copy of all documents in the root's, which readers believe.


def _held(node: StoredNode) -> dict[str, Any] | None:
    """Give the documents that a node holds of those below it, by path or by key."""
    if node.zarr_format == 3:
        held = node.content.get("consolidated_metadata")
        found = held.get("metadata") if isinstance(held, Mapping) else None
    elif ZMETADATA in node.bodies:
        found = document(node.bodies[ZMETADATA], node.key(ZMETADATA)).get("metadata")
    else:
        return None
    return found if isinstance(found, dict) else None


def _stale(nodes: Mapping[str, StoredNode]) -> Iterator[Ailment]:
    for node in nodes.values():
        if node.is_array or (held := _held(node)) is None:
            continue
        if _plain(held) != _plain(_consolidated(node, nodes, {})):
            yield Ailment(
                "stale metadata",
                node.path,
                f"The consolidated metadata of {node.path or 'the store'} are not "
                "those of what is in it.",
                is_stale=True,
            )


def _plain(held: Mapping[str, Any]) -> dict[str, str]:
    """Make documents comparable; what an array or a group need not say is left out."""
    return {
        key: json.dumps(
            {k: v for k, v in value.items() if k not in _NEED_NOT and v is not None},
            sort_keys=True,
        )
        for key, value in held.items()
        if isinstance(value, Mapping) and value
    }


_NEED_NOT = ("consolidated_metadata", "storage_transformers")


def _consolidated(
    node: StoredNode,
    nodes: Mapping[str, StoredNode],
    contents: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """Give the documents of all that is below a node, as it should hold them."""
    below = f"{node.path}/" if node.path else ""
    found: dict[str, Any] = {}
    for path, other in nodes.items():
        if not path.startswith(below):
            continue
        inner = path.removeprefix(below)
        if node.zarr_format == 3:
            if other is not node:
                key = other.key(ZARR_JSON)
                found[inner] = contents.get(key, other.content)
            continue
        for name, body in other.bodies.items():
            key = other.key(name)
            if name != ZMETADATA:
                found[join_path(inner, name)] = contents.get(key) or document(body, key)
    if node.zarr_format == 2:
        fresh = {key: each for key, each in contents.items() if key.startswith(below)}
        found |= {key.removeprefix(below): each for key, each in fresh.items()}
        return {k: v for k, v in found.items() if not k.endswith(ZMETADATA)}
    documents = [ZarrDocument(join_path(p, ZARR_JSON), c) for p, c in found.items()]
    held = inline(documents)["consolidated_metadata"]["metadata"]
    return {
        path: {k: v for k, v in content.items() if k != "consolidated_metadata"}
        for path, content in held.items()
    }


def _with_consolidated(
    nodes: Mapping[str, StoredNode], contents: dict[str, dict[str, Any]]
) -> dict[str, bytes | None]:
    """Give the documents to write: changed ones, and what holds copies of them."""
    for node in reversed([*nodes.values()]):
        if node.is_array or (held := _held(node)) is None:
            continue
        fresh = _consolidated(node, nodes, contents)
        if node.zarr_format == 2:
            key = node.key(ZMETADATA)
            content = document(node.bodies[ZMETADATA], key)
        else:
            key = node.key(ZARR_JSON)
            content = contents.get(key, deepcopy(node.content))
        if _plain(held) == _plain(fresh):
            continue
        if node.zarr_format == 2:
            content["metadata"] = fresh
        else:
            content["consolidated_metadata"]["metadata"] = fresh
        contents[key] = content
    # What is deeper is written first, the root's last.
    keys = sorted(contents, key=lambda key: -key.count("/"))
    return {key: encoded(contents[key]) for key in keys}


def _named(node: StoredNode) -> str:
    return node.path or "The store"


# A scan of all chunks: which cannot be decoded, and which seem to be lost.

_THREADS = 4
_AT_ONCE = 1024
_NAMED = 5
"""So many chunks are named, and the others counted."""


@guarded
def scan(
    location: Location,
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
) -> list[Ailment]:
    """Decode every chunk of all images below a place; blocks, and takes its time.

    A chunk that is not stored stands for its fill value, so that it is no fault by
    itself. It counts as lost where another level has something else there.

    Raises
    ------
    WriteCancelledError
        It was cancelled.
    StoreError
        Something could not be read at all.
    """
    with stopped_by(cancel, "Scanning", "Start it again."):
        return _found(location, progress, cancel)


def _found(
    location: Location,
    progress: Callable[[int, int], None] | None,
    cancel: Event | None,
) -> list[Ailment]:
    levels: list[tuple[str, list[_Scan]]] = []
    done = _Counted(progress)
    for node in read_tree(location).values():
        if node.is_array or not isinstance(parse_document(node.attributes).kind, Image):
            continue
        place = location / node.path if node.path else location
        image = read_current(place).pyramids[0]
        scans = [
            _Scan(place / level.path, level.path, level.pixels, done, cancel)
            for level in image.levels
            if isinstance(level.pixels, ArrayPixels)
        ]
        done.all += sum(prod(each.pixels.stored_grid) for each in scans)
        levels.append((node.path, scans))
    found: list[Ailment] = []
    for path, scans in levels:
        for number, each in enumerate(scans):
            others = [
                other.pixels for i, other in enumerate(scans) if abs(i - number) == 1
            ]
            found += each.ailments(path, others)
    return found


class _Counted:
    """How many objects were looked at, of how many."""

    def __init__(self, progress: Callable[[int, int], None] | None) -> None:
        self.done = self.all = 0
        self._progress = progress
        self._lock = Lock()

    def step(self) -> None:
        """Count one."""
        with self._lock:
            self.done += 1
            if self._progress is not None:
                self._progress(self.done, self.all)


class _Scan:
    """The chunks (or shards) of one level."""

    def __init__(
        self,
        place: Location,
        level: str,
        pixels: ArrayPixels,
        counted: _Counted,
        cancel: Event | None,
    ) -> None:
        self.place = place
        self.level = level
        self.pixels = pixels
        self._counted = counted
        self._cancel = cancel

    def ailments(self, path: str, others: list[ArrayPixels]) -> Iterator[Ailment]:
        """Decode all, and look at other levels where something is not stored."""
        damaged: list[str] = []
        lost: list[str] = []
        stored = self._names()
        indices = product(*map(range, self.pixels.stored_grid))
        with HeedingPool(_THREADS, "omezarr-scan") as pool:
            while some := list(islice(indices, _AT_ONCE)):
                for index, state in zip(
                    some,
                    pool.map(partial(self._state, stored, others), some),
                    strict=True,
                ):
                    if state:
                        names = damaged if state == "damaged" else lost
                        names.append(".".join(map(str, index)))
        what = "shard" if self.pixels.shards else "chunk"
        for kind, names in (("damaged", damaged), ("lost", lost)):
            if names:
                are = "are" if len(names) > 1 else "is"
                named = ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
                yield Ailment(
                    f"{kind} chunks",
                    path,
                    f"{counted(len(names), what)} of level {self.level} {are} "
                    f"{kind}: {named}.",
                    "Copy it again from where it was made (mirror does what differs).",
                )

    def _names(self) -> set[str] | None:
        """Give the keys that are stored, below the level; None where nobody tells."""
        lister = open_lister(self.place)

        async def all_pages() -> set[str]:
            page = await lister.deep_page()
            names = {item.name for item in page.items}
            while page.token:
                page = await lister.deep_page(page.token)
                names |= {item.name for item in page.items}
            return names

        try:
            return run(all_pages())
        except ListingDeniedError:
            return None

    def _state(
        self,
        stored: set[str] | None,
        others: list[ArrayPixels],
        index: tuple[int, ...],
    ) -> str:
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError
        self._counted.step()
        unit = self.pixels.shards or self.pixels.stored_chunks
        box = chunk_box(index, unit, self.pixels.shape)
        chunk = tuple(
            i * u // c
            for i, u, c in zip(index, unit, self.pixels.stored_chunks, strict=True)
        )
        # Keys of the array begin at the store's root, the listed ones at the level.
        key = self.pixels.stored_key(chunk)
        is_there = stored is None or any(
            name in stored for name in _endings(key, self.place.name)
        )
        try:
            if is_there:
                run(self.pixels.read(box))
                return ""
            return (
                "lost" if any(_is_filled(o, self.pixels, box) for o in others) else ""
            )
        except (DamagedDataError, TruncatedBodyError):
            return "damaged" if is_there else ""


def _endings(key: str, name: str) -> Iterator[str]:
    """Give what may stand behind the name of a level in a key, and the key itself."""
    parts = key.split("/")
    yield key
    for number, part in enumerate(parts[:-1], 1):
        if part == name:
            yield "/".join(parts[number:])


def _is_filled(other: ArrayPixels, pixels: ArrayPixels, box: Bounds) -> bool:
    """Whether another level has more than its fill value in the same region."""
    there = []
    for (start, stop), size, full in zip(box, pixels.shape, other.shape, strict=True):
        first = start * full // size
        there.append((first, max(first + 1, -(-stop * full // size))))
    values: np.ndarray = run(other.read(tuple(there)))
    fill = other.document.get("fill_value") or 0
    return bool((values != np.asarray(fill).astype(values.dtype)).any())
