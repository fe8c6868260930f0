"""What is wrong with the metadata of a store, mended where that is safe."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import pairwise
from posixpath import join, normpath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.doors import guarded
from napari_omezarr.errors import MetadataError, OMEZarrError
from napari_omezarr.location import GROUP_DOCUMENT, ZARR_JSON, ZGROUP, ZMETADATA
from napari_omezarr.metadata import (
    Axis,
    Image,
    ImageLabel,
    Labels,
    normalized_unit,
    parse_document,
    unlike_levels,
)
from napari_omezarr.plain_text import counted, plain
from napari_omezarr.reading import join_path
from napari_omezarr.writing import (
    ZarrDocument,
    claim_of,
    encoded,
    inline,
    ome_block,
    open_hierarchy,
)

from .tree import OLD_DOCUMENTS, apply, document, held_documents, read_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari_omezarr.location import Location

    from .tree import StoredNode, UndoCopy

_MANY_ROWS = 1000
"""From so many rows on features weigh on who only opens the image."""

_NAMED = 5
"""So many names are said of many."""

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
    is_held: bool = False
    """Whether it is about a document that consolidated metadata hold whole."""

    @property
    def can_be_mended(self) -> bool:
        """Whether it can be mended without a loss."""
        return self.change is not None or self.is_stale or self.is_held


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
    held = {node.key(name) for node in nodes.values() for name in node.restored}
    told = [_unreadable(error, is_held=error.where in held) for error in broken]
    gone = held - {error.where for error in broken}
    told += [_absent(key) for key in sorted(gone)]
    found = [ailment for node in nodes.values() for ailment in _of_node(node, nodes)]
    if all(each.is_held for each in told):
        return [*told, *found, *_stale(nodes)]
    # Nothing is mended around what cannot be read: it may be spoken of elsewhere.
    return [replace(each, change=None, is_held=False) for each in (*told, *found)]


def _unreadable(error: MetadataError, *, is_held: bool) -> Ailment:
    path, _, name = error.where.rpartition("/")
    action = "Copy this document again from where it was made; the rest is mended then."
    if is_held:
        action = "The consolidated metadata hold it whole."
    sentence, kind = error.sentence, "broken document"
    return Ailment(kind, path, sentence, action, name, is_held=is_held)


def _absent(key: str) -> Ailment:
    path, _, name = key.rpartition("/")
    sentence = f"{key} is not there, and what it describes is."
    action = "The consolidated metadata hold it whole."
    return Ailment("gone document", path, sentence, action, name, is_held=True)


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
        broken: list[MetadataError] = []
        nodes = read_tree(location, undocumented=True, broken=broken)
        version = next(filter(None, map(_version, nodes.values())), "0.5")
        contents = {
            node.key(name): document(node.bodies[name], node.key(name))
            for node in nodes.values()
            for name in node.restored
        }
        for error in broken:
            if error.where not in contents:
                raise error
        for ailment in chosen:
            node = nodes.get(ailment.path)
            if ailment.change is None or node is None:
                continue
            key = node.key(GROUP_DOCUMENT[node.zarr_format])
            before = node.content if node.zarr_format == 3 else node.attributes
            content = contents.setdefault(key, deepcopy(before))
            if node.zarr_format == 3:
                if not isinstance(content.get("attributes"), dict):
                    content["attributes"] = {}
                attributes = content["attributes"]
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
        yield from _unlisted(node, kind, nodes)
        yield from _channels(node, kind, nodes)
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


def _unlisted(
    node: StoredNode, image: Image, nodes: Mapping[str, StoredNode]
) -> Iterator[Ailment]:
    """Look for arrays beside the levels that no multiscale speaks of."""
    listed = {dataset.path for each in image.multiscales for dataset in each.datasets}
    for path, other in nodes.items():
        above, _, name = path.rpartition("/")
        is_beside = bool(path) and above == node.path and name not in listed
        if is_beside and other.is_array and _shape(other) is not None:
            told = f"{_named(node)} has an array {name} that is none of its levels."
            action = "Remove it if nobody needs it, or convert the image anew."
            yield Ailment("unlisted level", node.path, told, action, name)


def _channels(
    node: StoredNode, image: Image, nodes: Mapping[str, StoredNode]
) -> Iterator[Ailment]:
    """Compare how many channels are described with how many there are."""
    block = ome_block({"attributes": node.attributes}, 3)
    omero = block.get("omero")
    described = omero.get("channels") if isinstance(omero, Mapping) else None
    multiscale = image.multiscales[0]
    first = nodes.get(join_path(node.path, multiscale.datasets[0].path))
    shape = _shape(first) or ()
    if not isinstance(described, list) or len(shape) != len(multiscale.axes):
        return
    sizes = [n for n, a in zip(shape, multiscale.axes, strict=True) if a.name == "c"]
    count = sizes[0] if sizes else 1
    if described and len(described) != count:
        told = (
            f"{_named(node)} describes {counted(len(described), 'channel')} of {count}."
        )
        action = "Describe each: napari-omezarr rendering"
        yield Ailment("channels", node.path, told, action)


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
    for multiscale in _objects(block.get("multiscales")):
        for holder in (multiscale, *_objects(multiscale.get("coordinateSystems"))):
            yield _objects(holder.get("axes"))


def _objects(said: Any) -> list[Block]:
    return [e for e in said if isinstance(e, dict)] if isinstance(said, list) else []


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
    parent = nodes.get(node.path.rpartition("/")[0])
    raw = ome_block({"attributes": node.attributes}, 3).get("labels")
    for name in listed:
        if isinstance(raw, list) and raw.count(name) > 1:
            told = f"{_named(node)} lists {name} {raw.count(name)} times."
            once = _listed_once
            yield Ailment("label listed twice", node.path, told, name=name, change=once)
        label = nodes.get(join_path(node.path, name))
        if label is not None and parent is not None:
            yield from _label(label, parent, nodes)
        if label is None:
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
    if parent is not None and parent is not node:
        block = ome_block({"attributes": parent.attributes}, 3)
        if "multiscales" not in block:
            yield Ailment(
                "orphan labels",
                node.path,
                f"{_named(node)} lies beside no image.",
                "Copy them into the image that they belong to.",
            )


def _listed_once(block: Block) -> None:
    names = block["labels"]
    block["labels"] = [n for i, n in enumerate(names) if n not in names[:i]]


def _label(
    node: StoredNode, parent: StoredNode, nodes: Mapping[str, StoredNode]
) -> Iterator[Ailment]:
    """Look at an image that is listed as labels of another."""
    image = _image_of(node)
    if image is None:
        return
    multiscale = image.multiscales[0]
    array = nodes.get(join_path(node.path, multiscale.datasets[0].path))
    said = array.content.get("data_type") or array.content.get("dtype") if array else ""
    if _is_fractional(said):
        told = f"{node.path} are labels of {said}, and labels are whole numbers."
        action = "Save them anew as integers: napari-omezarr add-labels"
        yield Ailment("label type", node.path, told, action)
    beside = _image_of(parent)
    if beside is not None and (told := unlike_levels(image, beside)):
        action = "Save them anew: napari-omezarr add-labels"
        yield Ailment("label levels", node.path, f"{node.path} {told}.", action)
    block = ome_block({"attributes": node.attributes}, 3)
    described = block.get("image-label")
    if multiscale.label is None or not isinstance(described, Mapping):
        told = f"{node.path} are listed as labels, and do not say that they are some."
        yield Ailment("label", node.path, told, change=_as_label)
        return
    place = _source(node, multiscale.label.source)
    if described.get("source") and place != parent.path:
        is_lost = place is not None and place not in nodes
        told = f"{node.path} say that they are labels of another image"
        told = f"{told} ({plain(multiscale.label.source)[:60]})."
        action = "" if is_lost else "Copy them into the image that they belong to."
        change = _as_label if is_lost else None
        yield Ailment("label source", node.path, told, action, change=change)


def _image_of(node: StoredNode) -> Image | None:
    try:
        kind = parse_document(node.attributes).kind
    except OMEZarrError:
        return None
    return kind if isinstance(kind, Image) else None


def _is_fractional(said: Any) -> bool:
    try:
        return np.dtype(said).kind in "fc" if isinstance(said, str) and said else False
    except TypeError:
        return False


def _source(node: StoredNode, said: str) -> str | None:
    """Give the path that labels say their image has; None outside of the store."""
    place = normpath(join(node.path, said))
    return None if place.startswith(("..", "/")) else "" if place == "." else place


def _as_label(block: Block) -> None:
    described = block.get("image-label")
    described = described if isinstance(described, dict) else {}
    block["image-label"] = {**described, "source": {"image": ImageLabel().source}}


def _with_labels(name: str, *, listed: bool) -> Mend:
    """Put a name into the list, or take it out."""

    def change(block: Block) -> None:
        said = block.get("labels")
        said = said if isinstance(said, list) else []
        names = [each for each in said if str(each).strip("/") != name]
        block["labels"] = [*names, name] if listed else names

    return change


# Consolidated metadata: a copy of all documents in the root's, which readers believe.


def _stale(nodes: Mapping[str, StoredNode]) -> Iterator[Ailment]:
    for node in nodes.values():
        if node.is_array:
            continue
        try:
            held = held_documents(node.path, node.bodies)
        except MetadataError:
            of = node.path or "the store"
            told = f"The consolidated metadata of {of} are no JSON."
            yield Ailment("stale metadata", node.path, told, is_stale=True)
            continue
        if held is None:
            continue
        now = _plain(_consolidated(node, nodes, {}))
        before = _plain(held)
        if before != now:
            told = (
                f"The consolidated metadata of {node.path or 'the store'} are not "
                "those of what is in it."
            )
            if lost := _outermost(before.keys() - now.keys()):
                named = ", ".join(lost[:_NAMED]) + ", ..." * (len(lost) > _NAMED)
                told += f" Nothing is left of {named}."
            yield Ailment("stale metadata", node.path, told, is_stale=True)


def _outermost(keys: Iterable[str]) -> list[str]:
    """Give the nodes of keys or paths, without those that lie in another of them."""
    paths = {
        key.rpartition("/")[0] if key.endswith(OLD_DOCUMENTS) else key for key in keys
    }
    return sorted(path for path in paths if path.rpartition("/")[0] not in paths)


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
        if other is not node and not path.startswith(below):
            continue
        inner = "" if other is node else path.removeprefix(below)
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
        held: dict[str, Any] | None = {}
        content: dict[str, Any] = {"zarr_consolidated_format": 1}
        with suppress(MetadataError):  # then it is made anew
            held = None if node.is_array else held_documents(node.path, node.bodies)
            if held is not None and node.zarr_format == 2:
                content = document(node.bodies[ZMETADATA], node.key(ZMETADATA))
        if held is None:
            continue
        fresh = _consolidated(node, nodes, contents)
        if node.zarr_format == 2:
            key = node.key(ZMETADATA)
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
