"""Upgrades: metadata of a later version, and stored chunks in shards."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Any

from napari_omezarr.doors import guarded, stopped_by
from napari_omezarr.errors import (
    OptionError,
    TargetExistsError,
    UnfinishedWriteError,
    UnsupportedDataError,
)
from napari_omezarr.location import ZARR_JSON
from napari_omezarr.metadata import Axis, Image, parse_document
from napari_omezarr.plain_text import counted
from napari_omezarr.reading import join_path
from napari_omezarr.store import refuse_presumed
from napari_omezarr.writing import (
    Journal,
    ZarrDocument,
    check_not_open,
    claim_of,
    default_shards,
    encoded,
    inline,
    journal_digest,
    open_hierarchy,
    open_target,
    whole_chunks,
)

from .packing import Repack, StoredChunks
from .tree import OLD_DOCUMENTS, apply, read_tree
from .versions import (
    as_zarr3,
    check_version,
    contained,
    itemsize_of,
    known_array,
    storage_of,
    upgraded,
    version_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from napari_omezarr.location import Location
    from napari_omezarr.writing import Target

    from .tree import StoredNode, UndoCopy

_AGREE = "Sign in as somebody who may list it."
Shards = bool | Mapping[str, int] | None
"""True chooses them, False takes them away, None leaves the container as it is."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade has done: objects and bytes put, documents written."""

    address: str
    objects: int
    bytes: int
    documents: int
    undo: UndoCopy | None = None


@guarded
def upgrade(location: Location, version: str = "0.5") -> Upgraded:
    """Upgrade the metadata of a store to 0.5 or 0.6; its chunks stay as they are.

    It is a whole store: an image, a plate, a collection. What the documents held before
    is kept on this computer, and `take_back` puts it back.

    Raises
    ------
    UnsupportedDataError
        The bytes of its chunks would be others in zarr 3, or what it says cannot be
        said in the version.
    OptionError
        There is no such version to upgrade to, or nothing can be written there.
    NodeNotFoundError, MetadataError
        There is no OME-Zarr, or it cannot be understood.
    TargetClaimedError, ConflictError
        Somebody is writing there.
    StoreError
        Something could not be read or written.
    """
    check_version(version)
    hierarchy = open_hierarchy(location)
    nodes = read_tree(location)
    documents = _documents(location, nodes, version)
    fresh = {doc.key: encoded(doc.content) for doc in documents}
    old = {
        node.key(name): None
        for node in reversed([*nodes.values()])
        for name in node.bodies
        if name in OLD_DOCUMENTS
    }
    with claim_of(hierarchy, "", hierarchy.address).held():
        kept = apply(hierarchy, {**fresh, **old})
    count = len(kept.after) if kept else 0
    return Upgraded(location.display, 0, 0, count, kept)


@dataclass(frozen=True, slots=True)
class PackChoices:
    """How a store is packed anew.

    ``version`` is of OME-Zarr (None keeps it, and makes 0.5 of 0.4). ``shards`` are
    True for shards of about 16 MB of pixels, pixels by axis for such of so many, False
    for none. ``verify`` reads all that was written back and compares it.
    """

    version: str | None = None
    shards: Shards = None
    verify: bool = False

    def __post_init__(self) -> None:
        sizes = self.shards.values() if isinstance(self.shards, Mapping) else ()
        if any(size < 1 for size in sizes):
            sentence = "A shard has one pixel at least along each axis."
            raise OptionError(sentence, action="Give sizes above 0.")


@guarded
def repack_store(
    source: Location,
    target: Location,
    choices: PackChoices,
    *,
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
) -> Upgraded:
    """Write a store with the same chunks in other containers; none is decoded.

    Nothing is at the target yet; started again after it broke off it goes on.
    ``progress`` is told how many objects are done, of how many at most.

    Raises
    ------
    TargetExistsError, TargetClaimedError
        Something is there, or somebody is writing there.
    UnfinishedWriteError
        Something else that broke off is there.
    WriteCancelledError
        It was cancelled.
    OMEZarrError
        As `upgrade`.
    """
    began = time.monotonic()
    nodes = read_tree(source)
    version = choices.version or _version(nodes)
    version = "0.5" if version in (None, "0.4") else version
    check_version(version)
    check_not_open(target.display, [source.display])
    documents = _documents(source, nodes, version, shards=choices.shards)
    contents = {doc.key: doc.content for doc in documents}
    said = [source.display, *contents.items()]
    try:
        body = json.dumps(said, sort_keys=True, allow_nan=False)
    except ValueError as error:
        raise UnsupportedDataError(
            f"The metadata of {source.display} hold a number that JSON does not have.",
            action="Correct the NaN or infinite number in them.",
            url=source.display,
        ) from error
    digest = hashlib.blake2b(body.encode(), digest_size=16).hexdigest()
    place = open_target(target, "0.5")
    done = _Done(contents, progress)
    with stopped_by(cancel, "Packing", "Start it again."), place.claim.held():
        there = _begun(place, digest, documents)
        with Journal(place.journal, digest):
            for node in nodes.values():
                if node.is_array:
                    chunks = StoredChunks(source, node.path, _as_zarr3(node))
                    document = contents[node.key(ZARR_JSON)]
                    parts = (chunks, document, place.staged, node.path)
                    run = (there, choices.verify, done.step, cancel)
                    Repack(*parts, *run).run()
        refuse_presumed(began, "packed", _AGREE)
        place.claim.check(thoroughly=True)
        place.commit(documents)
    return Upgraded(target.display, done.objects, done.bytes, len(documents))


class _Done:
    """How much is done of what a store's documents say."""

    def __init__(
        self,
        contents: Mapping[str, Mapping[str, Any]],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        arrays = [each for each in contents.values() if "shape" in each]
        self.all = sum(prod(storage_of(each).grid) for each in arrays)
        self.objects = self.bytes = 0
        self._progress = progress
        self._lock = Lock()

    def step(self, size: int) -> None:
        """Count an object."""
        with self._lock:
            self.objects += 1
            self.bytes += size
            if self._progress is not None:
                self._progress(self.objects, self.all)


def _begun(
    place: Target, digest: str, documents: Sequence[ZarrDocument]
) -> dict[str, int]:
    """Make the target ready, and give what an earlier run has put there."""
    goes_on = place.unfinished()
    if goes_on and journal_digest(place.journal) != digest:
        raise UnfinishedWriteError(
            f"Something else that broke off is at {place.address}.",
            action="Choose another place, or finish that first.",
            url=place.address,
        )
    found = None if goes_on else place.occupied()
    if found is not None:
        raise TargetExistsError(
            f"{place.address} exists already ({counted(found.objects, 'object')}).",
            action="Choose another name.",
            url=place.address,
        )
    place.begin()
    if place.staged.needs_arrays_first:
        for document in documents:
            if "shape" in document.content:
                place.staged.put(document.key, document.body)
    return place.staged.sizes("") if goes_on else {}


def _version(nodes: Mapping[str, StoredNode]) -> str | None:
    for node in nodes.values():
        if not node.is_array and (found := version_of(node.attributes)):
            return found
    return None


def _as_zarr3(node: StoredNode, names: Sequence[str] = ()) -> dict[str, Any]:
    known = known_array(node.content, node.zarr_format)
    return known if node.zarr_format == 3 else as_zarr3(known, names)


def _documents(
    location: Location,
    nodes: Mapping[str, StoredNode],
    version: str,
    *,
    shards: Shards | str = "in place",
) -> list[ZarrDocument]:
    """Give the documents of the upgraded store, arrays first and the root's last."""
    if all(node.is_array for node in nodes.values()):
        sentence = f"{location.display} is an array, and no OME-Zarr."
        raise OptionError(sentence, action="Name the image.", url=location.display)
    axes = _axes(nodes)
    if isinstance(shards, Mapping):
        _check_axes(shards, axes)
    arrays, groups = [], []
    for node in nodes.values():
        try:
            if node.is_array:
                content = _array(node, axes.get(node.path, ()), shards)
                arrays.append(ZarrDocument(node.key(ZARR_JSON), content))
            else:
                attributes = upgraded(node.attributes, version)
                head = {"zarr_format": 3, "node_type": "group"}
                content = {**head, "attributes": attributes}
                groups.append(ZarrDocument(node.key(ZARR_JSON), content))
        except UnsupportedDataError as error:
            place = join_path(location.display, node.path)
            raise UnsupportedDataError(
                f"{place} stays as it is: {error.sentence}",
                action=error.action,
                url=location.display,
            ) from error
    below = [*arrays, *reversed(groups[1:])]
    top, first = groups[0], next(iter(nodes.values()))
    if ".zmetadata" in first.bodies or "consolidated_metadata" in first.content:
        top = ZarrDocument(top.key, {**top.content, **inline(below)})
    return [*below, top]


def _array(
    node: StoredNode, axes: Sequence[Axis], shards: Shards | str
) -> dict[str, Any]:
    names = [axis.name for axis in axes]
    document = {**_as_zarr3(node, names), "attributes": node.attributes}
    if shards == "in place":
        return document
    storage = storage_of(document)
    if shards is None:
        return contained(document, storage.unit if storage.is_sharded else None)
    if not shards:
        return contained(document, None)
    if len(axes) != len(storage.shape):
        count = len(storage.shape)
        names = list("tczyx"[-count:] if 0 < count <= 5 else map(str, range(count)))
        axes = [Axis(name, "space") for name in names]
    if isinstance(shards, Mapping):
        wanted = [
            shards.get(axis.name, chunk)
            for axis, chunk in zip(axes, storage.chunks, strict=True)
        ]
        unit = whole_chunks(wanted, storage.chunks, storage.shape)
    else:
        itemsize = itemsize_of(document)
        unit = default_shards(axes, storage.shape, storage.chunks, itemsize)
    return contained(document, None if unit == storage.chunks else unit)


def _check_axes(shards: Mapping[str, int], axes: Mapping[str, Sequence[Axis]]) -> None:
    known = dict.fromkeys(axis.name for each in axes.values() for axis in each)
    unknown = [name for name in shards if name not in known]
    if known and unknown:
        sentence = f"No image there has an axis {', '.join(unknown)}."
        raise OptionError(sentence, action=f"Name some of {', '.join(known)}.")


def _axes(nodes: Mapping[str, StoredNode]) -> dict[str, Sequence[Axis]]:
    """Find the axes of arrays, as the multiscales above them say."""
    found: dict[str, Sequence[Axis]] = {}
    for node in nodes.values():
        kind = None if node.is_array else parse_document(node.attributes).kind
        if isinstance(kind, Image):
            for multiscale in kind.multiscales:
                for dataset in multiscale.datasets:
                    found[join_path(node.path, dataset.path)] = multiscale.axes
    return found
