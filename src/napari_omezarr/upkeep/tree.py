"""All groups and arrays of a store, by their documents, and what these held before.

No chunk is read. Documents that are changed are kept, so that it can be taken back.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    ConflictError,
    ListingDeniedError,
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
)
from napari_omezarr.location import ZARR_JSON, ZARRAY, ZATTRS, ZGROUP, ZMETADATA
from napari_omezarr.metadata import (
    DocumentError,
    Image,
    Labels,
    Plate,
    Series,
    Well,
    load_json,
    parse_document,
)
from napari_omezarr.reading import join_path
from napari_omezarr.store import (
    all_items,
    all_pages,
    nothing_at,
    open_lister,
    open_store,
    run,
)
from napari_omezarr.user_files import configuration_folder, read_json, write_json
from napari_omezarr.writing import encoded, is_document, is_ours, objects_below

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from napari_omezarr.location import Location
    from napari_omezarr.store import ObjectMeta, RemoteStore
    from napari_omezarr.writing import Hierarchy

OLD_DOCUMENTS = (ZARRAY, ZGROUP, ZATTRS, ZMETADATA)
"""Of zarr 2, each beside its node."""
_AT_A_TIME = 32
_CHUNK = re.compile(r"c|(c\.)?-?\d+(\.-?\d+)*")
"""What the chunks of an array are called, or the folders that they lie in."""


@dataclass(frozen=True, slots=True)
class StoredNode:
    """A group or an array as it is stored.

    ``bodies`` are its documents by name, ``content`` is what makes it what it is
    (``zarr.json``, ``.zarray`` or ``.zgroup``), ``attributes`` what somebody added.
    ``restored`` are the names of documents that are broken or gone where they should
    be, and are taken from consolidated metadata.
    """

    path: str
    zarr_format: int
    is_array: bool
    bodies: Mapping[str, bytes] = field(repr=False)
    content: dict[str, Any] = field(repr=False)
    attributes: dict[str, Any] = field(repr=False)
    restored: tuple[str, ...] = ()

    def key(self, name: str) -> str:
        """Give the key of one of its documents."""
        return join_path(self.path, name)


def read_tree(
    location: Location,
    *,
    undocumented: bool = False,
    broken: list[MetadataError] | None = None,
    files: list[ObjectMeta] | None = None,
) -> dict[str, StoredNode]:
    """Read the documents of all nodes below a place; blocks.

    Folders are listed; where that is refused, what documents name is looked for. With
    ``undocumented`` folders called labels are groups even without a document. What has
    a document that cannot be parsed is left out where ``broken`` takes the error,
    unless nothing else is there, or consolidated metadata above it hold the document.
    Then a document that they hold is taken from them, too, where it is gone and
    something else of its node is there. ``files`` takes what lies in groups and is
    neither a document nor a node, where that can be listed.

    Returns
    -------
    dict of str to StoredNode
        By path, the root (``""``) first, parents before what is in them.

    Raises
    ------
    NodeNotFoundError
        The place is no zarr.
    MetadataError
        A document is no JSON object.
    StoreError
        Something could not be read.
    """
    reading = _read_tree(location, files, undocumented=undocumented, broken=broken)
    return run(reading)


async def _read_tree(
    location: Location,
    files: list[ObjectMeta] | None,
    *,
    undocumented: bool,
    broken: list[MetadataError] | None,
) -> dict[str, StoredNode]:
    store = open_store(location)
    nodes: dict[str, StoredNode] = {}
    paths = [""]
    while paths:
        found = await _read_nodes(location, store, paths, nodes, broken)
        if not nodes and not found:
            if broken:
                raise broken[0]
            sentence = f"There is no Zarr at {location.display}."
            raise nothing_at(location, sentence, "Check the address.")
        if undocumented:
            found += _undocumented(paths, found, nodes)
        nodes |= {node.path: node for node in found}
        slots = asyncio.Semaphore(_AT_A_TIME)
        if files is not None:
            with suppress(ListingDeniedError):
                for path in sorted(set(paths) - nodes.keys()):
                    below = await objects_below(location, path)
                    files += [each for each in below if not is_ours(each.name)]
        children = (_children(location, node, slots, files) for node in found)
        paths = [path for some in await asyncio.gather(*children) for path in some]
    return nodes


def _undocumented(
    paths: Sequence[str], found: Sequence[StoredNode], nodes: Mapping[str, StoredNode]
) -> list[StoredNode]:
    """Make groups of folders called labels in images that nobody described."""
    there = {node.path for node in found}
    made = []
    for path in paths:
        above, _, name = path.rpartition("/")
        if name == "labels" and path not in there and above in nodes:
            number = nodes[above].zarr_format
            content: dict[str, Any] = {"zarr_format": number}
            if number == 3:
                content |= {"node_type": "group", "attributes": {}}
            made.append(StoredNode(path, number, False, {}, content, {}))
    return made


async def _read_nodes(
    location: Location,
    store: RemoteStore,
    paths: Sequence[str],
    above: Mapping[str, StoredNode],
    broken: list[MetadataError] | None,
) -> list[StoredNode]:
    names = (ZARR_JSON, *OLD_DOCUMENTS)
    found = await store.answers(join_path(p, name) for p in paths for name in names)
    nodes = []
    for path in paths:
        bodies: dict[str, bytes] = {}
        for name in names:
            body = found[join_path(path, name)]
            if isinstance(body, OMEZarrError) and not isinstance(
                body, NodeNotFoundError
            ):
                raise body
            if isinstance(body, bytes):
                bodies[name] = body
        try:
            node = node_of(path, bodies)
        except MetadataError as error:
            if broken is None:
                raise
            broken.append(error)
            node = _restored(path, bodies, above, broken)
            if node is None:
                continue
        if broken is not None:
            node = await _with_gone(location, path, bodies, above, node)
        if node is not None:
            nodes.append(node)
    return nodes


def _restored(
    path: str,
    bodies: dict[str, bytes],
    above: Mapping[str, StoredNode],
    broken: list[MetadataError],
) -> StoredNode | None:
    """Make a node whose broken documents are held above it, or beside (``.zmetadata``).

    None if they are not; ``broken`` ends with the first error, and is given others.
    """
    copies: dict[str, bytes] = {}
    while True:
        key = broken[-1].where
        name = key.rpartition("/")[2]
        copy = None if name in copies else _copy_of(key, bodies, above)
        if copy is None:
            return None
        copies[name] = copy
        try:
            node = node_of(path, bodies | copies)
        except MetadataError as error:
            broken.append(error)
            continue
        return node and replace(node, restored=tuple(copies))


def _copy_of(
    key: str, bodies: Mapping[str, bytes], above: Mapping[str, StoredNode]
) -> bytes | None:
    """Look for a document in consolidated metadata, the nearest first."""
    path, _, name = key.rpartition("/")
    place, holder = path, bodies
    while True:
        inner = key.removeprefix(f"{place}/") if place else key
        with suppress(MetadataError):
            held = held_documents(place, holder) or {}
            is_new = name == ZARR_JSON
            found = held.get(inner.removesuffix(f"/{name}") if is_new else inner)
            if isinstance(found, dict) and found:
                return encoded(found)
        if not place:
            return None
        place = place.rpartition("/")[0]
        holder = above[place].bodies


async def _with_gone(
    location: Location,
    path: str,
    bodies: dict[str, bytes],
    above: Mapping[str, StoredNode],
    node: StoredNode | None,
) -> StoredNode | None:
    """Take documents that are gone from consolidated metadata, where the rest is there.

    Of what nothing is left no document is taken: an array without its chunks would
    read as its fill value.
    """
    copies = _gone(path, bodies, above)
    if copies and await _has_more(location, path):
        with suppress(MetadataError):  # what is held is no document either
            whole = node_of(path, (dict(node.bodies) if node else bodies) | copies)
            before = node.restored if node else ()
            return whole and replace(whole, restored=(*before, *copies))
    return node


def _gone(
    path: str, bodies: Mapping[str, bytes], above: Mapping[str, StoredNode]
) -> dict[str, bytes]:
    """Give the documents of a node that are held, and are not where they should be."""
    names = [ZARR_JSON, ZARRAY, ZGROUP, ZATTRS]
    if ZARR_JSON in bodies:
        return {}
    if not bodies.keys().isdisjoint((ZARRAY, ZGROUP)):
        names = [ZATTRS]
    copies = (
        (name, _copy_of(join_path(path, name), bodies, above))
        for name in names
        if name not in bodies
    )
    return {name: copy for name, copy in copies if copy is not None}


async def _has_more(location: Location, path: str) -> bool:
    """Whether an object but its documents lies at a node, as far as may be listed."""
    lister = open_lister(location / path if path else location)
    documents = {ZARR_JSON, *OLD_DOCUMENTS}
    with suppress(ListingDeniedError, NodeNotFoundError):
        async for page in all_pages(lister.deep_page):
            if any(item.name not in documents for item in page.items):
                return True
    return False


def held_documents(path: str, bodies: Mapping[str, bytes]) -> dict[str, Any] | None:
    """Give the documents that a node holds of those below it, by path or by key.

    None if it holds none.

    Raises
    ------
    MetadataError
        What holds them is no JSON object.
    """
    if ZARR_JSON in bodies:
        content = document(bodies[ZARR_JSON], join_path(path, ZARR_JSON))
        content = content.get("consolidated_metadata") or {}
    elif ZMETADATA in bodies:
        content = document(bodies[ZMETADATA], join_path(path, ZMETADATA))
    else:
        return None
    found = content.get("metadata") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else None


def node_of(path: str, bodies: Mapping[str, bytes]) -> StoredNode | None:
    """Make a node of its documents; those of zarr 3 go before those of zarr 2."""
    if ZARR_JSON in bodies:
        content = document(bodies[ZARR_JSON], join_path(path, ZARR_JSON))
        is_array = "shape" in content
        attributes = content.get("attributes")
        attributes = attributes if isinstance(attributes, dict) else {}
        return StoredNode(path, 3, is_array, bodies, content, attributes)
    name = next((name for name in (ZARRAY, ZGROUP, ZATTRS) if name in bodies), None)
    if name is None:
        return None
    content = document(bodies[name], join_path(path, name))
    attributes = {}
    if ZATTRS in bodies:
        attributes = document(bodies[ZATTRS], join_path(path, ZATTRS))
    return StoredNode(path, 2, name == ZARRAY, bodies, content, attributes)


def document(body: bytes, key: str) -> dict[str, Any]:
    """Parse a document, which must be an object."""
    try:
        content = load_json(body)
    except DocumentError as error:
        raise MetadataError(str(error), where=key) from error
    if not isinstance(content, dict):
        raise MetadataError("This is no JSON object", where=key)
    return content


async def _children(
    location: Location,
    node: StoredNode,
    slots: asyncio.Semaphore,
    files: list[ObjectMeta] | None,
) -> list[str]:
    if node.is_array and files is None:
        return []
    place = location / node.path if node.path else location
    async with slots:
        try:
            items = await all_items(open_lister(place).page)
            if node.is_array:
                items = [item for item in items if not _CHUNK.fullmatch(item.name)]
            names = [item.name for item in items if item.is_folder]
            if files is not None:
                files += [
                    replace(item, name=node.key(item.name))
                    for item in items
                    if not (item.is_folder or _is_known(item.name))
                ]
        except ListingDeniedError:
            names = [] if node.is_array else list(children_said(node))
    return [join_path(node.path, name) for name in names if not is_ours(f"{name}/")]


def _is_known(name: str) -> bool:
    return is_document(name) or is_ours(name)


def children_said(node: StoredNode) -> Iterable[str]:
    """Give the paths below a group that its metadata speak of, each once."""
    try:
        kind = parse_document(node.attributes).kind
    except OMEZarrError:
        return ()
    found: list[str] = []
    match kind:
        case Image():
            for multiscale in kind.multiscales:
                found += [dataset.path for dataset in multiscale.datasets]
            found.append("labels")
        case Labels():
            found += kind.paths
        case Plate():
            found += [well.path for well in kind.wells]
        case Well():
            found += [image.path for image in kind.images]
        case Series():
            found += [*(kind.paths or ()), "OME"]
    return dict.fromkeys(found)


@dataclass(frozen=True, slots=True)
class UndoCopy:
    """What documents held before (None: not there) and after one change."""

    file: Path
    before: Mapping[str, str | None]
    after: Mapping[str, str | None]


def undo_folder(address: str) -> Path:
    """Give the folder with what was changed at an address."""
    name = hashlib.blake2b(address.encode(), digest_size=16).hexdigest()
    return configuration_folder() / "undo" / name


def apply(hierarchy: Hierarchy, changes: Mapping[str, bytes | None]) -> UndoCopy | None:
    """Write documents (None: delete), after what they held was kept.

    They are written in the order given, each only if nobody changed it meanwhile.
    None if nothing is to be changed.

    Raises
    ------
    ConflictError
        Somebody else changed one meanwhile.
    StoreError
        Something could not be read or written.
    """
    found = dict(zip(changes, hierarchy.read_all(list(changes)), strict=True))
    before = {key: stored.body if stored else None for key, stored in found.items()}
    wanted = {
        key: body for key, body in changes.items() if not _is_same(body, before[key])
    }
    if not wanted:
        return None
    kept = UndoCopy(
        _fresh_file(hierarchy.address),
        {key: _text(before[key]) for key in wanted},
        {key: _text(body) for key, body in wanted.items()},
    )
    content: dict[str, Any] = {"address": hierarchy.address}
    write_json(kept.file, content | {"before": kept.before, "after": kept.after})
    for key, body in wanted.items():
        if body is None:
            hierarchy.begin_delete(key).result()
        else:
            hierarchy.replace(key, body, found[key])
    return kept


def _is_same(body: bytes | None, before: bytes | None) -> bool:
    """Whether a document says what it said, however it is laid out."""
    if body is None or before is None:
        return body is before
    try:
        said = [json.dumps(load_json(each), sort_keys=True) for each in (body, before)]
    except DocumentError:  # what is broken is made anew
        return body == before
    return said[0] == said[1]


@guarded
def take_back(hierarchy: Hierarchy) -> UndoCopy:
    """Put documents back as they were before the last change at a place.

    Raises
    ------
    NodeNotFoundError
        Nothing was changed there, from this computer.
    ConflictError
        Somebody changed them since.
    StoreError
        They could not be read or written.
    """
    kept = last_change(hierarchy.address)
    if kept is None:
        raise NodeNotFoundError(
            f"Nothing that was changed at {hierarchy.address} is kept.",
            action="Undo is possible on the computer that made the change.",
        )
    keys = list(kept.before)
    found = dict(zip(keys, hierarchy.read_all(keys), strict=True))
    for key, stored in found.items():
        now = _text(stored.body) if stored else None
        if now not in (kept.after[key], kept.before[key]):
            raise ConflictError(
                f"{key} was changed since.",
                action="Change it by hand.",
                url=hierarchy.address,
            )
    for key in reversed(keys):
        text, stored = kept.before[key], found[key]
        if text is None:
            hierarchy.begin_delete(key).result()
        elif stored is None or _text(stored.body) != text:
            hierarchy.replace(key, text.encode("utf-8", "surrogateescape"), stored)
    kept.file.unlink(missing_ok=True)
    return kept


def last_change(address: str) -> UndoCopy | None:
    """Give the last change at an address that was not taken back."""
    files = sorted(undo_folder(address).glob("*.json"))
    content = read_json(files[-1]) if files else None
    if not isinstance(content, dict):
        return None
    return UndoCopy(files[-1], content["before"], content["after"])


def _fresh_file(address: str) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    return undo_folder(address) / f"{now}.json"


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode("utf-8", "surrogateescape")
