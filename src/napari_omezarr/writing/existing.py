"""An image that is there: its documents are read, changed and put back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast, get_args

from napari_omezarr.errors import (
    ConflictError,
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
)
from napari_omezarr.location import ARRAY_DOCUMENT, GROUP_DOCUMENT, ZARR_JSON, ZMETADATA
from napari_omezarr.metadata import Image, Multiscale, fit_axes, parse_document

from .chunking import Structure
from .encode import ZarrDocument
from .engine import StoredArray
from .image_spec import whole_range
from .options import Version
from .rendering import (
    NAPARI,
    channel_document,
    image_label_document,
    napari_document,
    rdefs_document,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_omezarr.store import GetResult

    from .hierarchy import Hierarchy
    from .image_spec import ChannelDisplay, ImageSpec

# An image that is there: read its documents, change them, put them back.

_TRIES = 5


@dataclass(frozen=True, slots=True)
class ExistingImage:
    """An image, or a label image, of a hierarchy."""

    hierarchy: Hierarchy
    path: str
    version: Version
    """What is added has to be of the same one (0.5: uniform in a hierarchy)."""
    multiscale: Multiscale
    levels: tuple[StoredArray, ...]
    method: str | None = None
    """How the image says that its coarser levels were made."""

    @property
    def structure(self) -> Structure:
        """How its levels follow each other."""
        shapes = [level.shape for level in self.levels]
        steps = [(1,) * len(shapes[0])]
        for finer, coarser in itertools.pairwise(shapes):
            steps.append(_step(finer, coarser, self.hierarchy.address))
        names = tuple(axis.name for axis in self.multiscale.axes)
        return Structure(names, tuple(shapes), tuple(steps))


@dataclass(frozen=True, slots=True)
class GroupDocument:
    """The document that holds a group's attributes, as it was read.

    ``content`` is the whole document, ``block`` the OME-Zarr metadata in it;
    changing either changes ``content``.
    """

    key: str
    stored: GetResult
    content: dict[str, Any]
    zarr_format: int

    @property
    def attributes(self) -> dict[str, Any]:
        """The group's attributes."""
        return attributes_of(self.content, self.zarr_format)

    @property
    def block(self) -> dict[str, Any]:
        """The OME-Zarr metadata: below ``ome`` from 0.5 on."""
        return ome_block(self.content, self.zarr_format)

    @property
    def body(self) -> bytes:
        """The document's bytes."""
        return encoded(self.content)


def attributes_of(content: dict[str, Any], zarr_format: int) -> dict[str, Any]:
    """Give the attributes in a group's document; changing them changes it."""
    if zarr_format == 2:
        return content
    attributes: dict[str, Any] = content.setdefault("attributes", {})
    return attributes


def ome_block(content: dict[str, Any], zarr_format: int) -> dict[str, Any]:
    """Give the OME-Zarr metadata in a group's document; changing them changes it."""
    attributes = attributes_of(content, zarr_format)
    inner = attributes.get("ome")
    return inner if isinstance(inner, dict) else attributes


def encoded(content: dict[str, Any]) -> bytes:
    """Give the bytes of a document that was there; it may hold NaN, as it did."""
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def read_group(hierarchy: Hierarchy, path: str) -> GroupDocument | None:
    """Read what holds a group's attributes; None where there is no group."""
    below = f"{path}/" if path else ""
    for zarr_format, name in GROUP_DOCUMENT.items():
        stored = hierarchy.read(f"{below}{name}")
        if stored is not None:
            content = document_of(stored, f"{below}{name}")
            return GroupDocument(f"{below}{name}", stored, content, zarr_format)
    return None


def changed(
    hierarchy: Hierarchy,
    key: str,
    change: Callable[[dict[str, Any] | None], dict[str, Any] | None],
) -> None:
    """Read a document, change it, and write it if nobody else did meanwhile.

    ``change`` is given the document (None: not there) and gives the new one, or None
    to leave it alone. It may be asked again, with a newer document.
    """
    for turn in range(_TRIES):
        stored = hierarchy.read(key)
        found = None if stored is None else document_of(stored, key)
        content = change(found)
        if content is None:
            return
        try:
            hierarchy.replace(key, encoded(content), stored)
        except ConflictError:
            if turn == _TRIES - 1:
                raise
        else:
            return


def open_existing(hierarchy: Hierarchy, path: str = "") -> ExistingImage:
    """Read the documents of an image; no pixel is read."""
    group = read_group(hierarchy, path)
    place = f"{hierarchy.address}/{path}" if path else hierarchy.address
    document = parse_document(group.attributes, url=place) if group else None
    if group is None or document is None or not isinstance(document.kind, Image):
        raise NodeNotFoundError(
            f"There is no OME-Zarr image at {place}.",
            action="Choose an image.",
            url=place,
        )
    if document.version not in get_args(Version):
        raise OptionError(
            f"{place} is OME-Zarr {document.version}, which is not written any more.",
            action="Save the image anew, with the labels.",
            url=place,
        )
    multiscale = document.kind.multiscales[0]
    levels = tuple(
        _level(hierarchy, path, dataset.path, group.zarr_format)
        for dataset in multiscale.datasets
    )
    multiscale, _ = fit_axes(multiscale, len(levels[0].shape))
    version = cast("Version", document.version)
    said = group.block["multiscales"][0].get("type")
    return ExistingImage(hierarchy, path, version, multiscale, levels, said)


def document_of(stored: GetResult, key: str) -> dict[str, Any]:
    """Parse a document."""
    try:
        content = json.loads(stored.body)
    except ValueError as error:
        raise MetadataError("This is no JSON", where=key) from error
    if not isinstance(content, dict):
        raise MetadataError("This is no JSON object", where=key)
    return content


def _level(hierarchy: Hierarchy, path: str, name: str, zarr_format: int) -> StoredArray:
    place = f"{path}/{name}" if path else name
    key = f"{place}/{ARRAY_DOCUMENT[zarr_format]}"
    stored = hierarchy.read(key)
    if stored is None:
        raise NodeNotFoundError(
            f"Level {name} of {hierarchy.address} is not there.", url=hierarchy.address
        )
    document: Mapping[str, Any] = document_of(stored, key)
    return StoredArray(hierarchy, place, document)


def _step(
    finer: Sequence[int], coarser: Sequence[int], address: str
) -> tuple[int, ...]:
    """Find by how much a level shrank; odd sizes may have been cut or kept."""
    step = []
    for large, small in zip(finer, coarser, strict=True):
        factor = max(1, round(large / small))
        if small not in (large // factor, -(-large // factor)):
            raise OptionError(
                f"The levels of {address} do not shrink by whole numbers, so that "
                "nothing can be added that matches them.",
                url=address,
            )
        step.append(factor)
    return tuple(step)


# Change the metadata of an image that is there, and what groups above hold of them.

CONSOLIDATED = {3: ZARR_JSON, 2: ZMETADATA}
"""The document of a group that may hold the metadata of those below, by format."""


# Consolidated metadata, when something below them changes.


def refresh(
    above: Iterable[tuple[Hierarchy, str]], documents: Sequence[ZarrDocument]
) -> None:
    """Bring new documents into the consolidated metadata of the groups above.

    Readers that find such metadata look no further: what they lack is not seen.
    ``above`` are the groups that may have some, with the way from there to the
    documents' hierarchy.
    """

    def insert(held: dict[str, Any], below: str, zarr_format: int) -> bool:
        for document in documents:
            key = f"{below}{document.key}"
            if zarr_format == 2:
                held[key] = document.content
                continue
            path, _, name = key.rpartition("/")
            if name == ZARR_JSON and path:
                # What a group holds of those below it the root says already.
                held[path] = {
                    k: v
                    for k, v in document.content.items()
                    if k != "consolidated_metadata"
                }
        return True

    _change_consolidated(above, insert)


def retract(above: Iterable[tuple[Hierarchy, str]], group: str) -> None:
    """Take a group with all that lies below it out of the consolidated metadata."""

    def take_out(held: dict[str, Any], below: str, _: int) -> bool:
        gone = [key for key in held if f"{key}/".startswith(f"{below}{group}/")]
        for key in gone:
            del held[key]
        return bool(gone)

    _change_consolidated(above, take_out)


def _change_consolidated(
    above: Iterable[tuple[Hierarchy, str]],
    change: Callable[[dict[str, Any], str, int], bool],
) -> None:
    """Change what groups hold of those below them; ``change`` says if it did."""
    for hierarchy, path in above:
        below = f"{path}/" if path else ""
        try:
            for zarr_format, key in CONSOLIDATED.items():
                changed(hierarchy, key, partial(_with_held, change, below, zarr_format))
        except ConflictError:
            raise
        except OMEZarrError:
            if not path:
                raise
            # What lies further up may be closed to us, or no zarr at all.
            continue


def _with_held(
    change: Callable[[dict[str, Any], str, int], bool],
    below: str,
    zarr_format: int,
    document: dict[str, Any] | None,
) -> dict[str, Any] | None:
    """Change what one document holds; None where that is nothing."""
    held: Any = document
    if zarr_format == 3:
        held = (document or {}).get("consolidated_metadata")
    metadata = held.get("metadata") if isinstance(held, dict) else None
    if not isinstance(metadata, dict) or not change(metadata, below, zarr_format):
        return None
    return document


# How layers look now, in the metadata of the image that they came from.


def update_image(
    specs: Sequence[ImageSpec],
    hierarchy: Hierarchy,
    above: Iterable[tuple[Hierarchy, str]] = (),
) -> tuple[str, ...]:
    """Write names, colours, contrast and visibility; gives the names of changed layers.

    The specs are channels of one image (each knows which), or one label image.
    """
    group = read_group(hierarchy, "")
    if group is None or "multiscales" not in group.block:
        raise NodeNotFoundError(
            f"There is no OME-Zarr image at {hierarchy.address} any more.",
            url=hierarchy.address,
        )
    before = document_of(group.stored, group.key)
    names: list[str] = []
    for spec in specs:
        if spec.label is not None:
            _update_labels(group, spec, hierarchy.address)
        else:
            _update_channel(group, spec)
        names.append(spec.name)
    if group.content == before:
        return ()
    hierarchy.replace(group.key, group.body, group.stored)
    refresh([(hierarchy, ""), *above], [ZarrDocument(group.key, group.content)])
    return tuple(names)


def _update_channel(group: GroupDocument, spec: ImageSpec) -> None:
    display, index = spec.displays[0], spec.origin.channel if spec.origin else None
    if spec.rgb:
        return
    if index is None:
        raise OptionError(
            f"{spec.name} does not say which channel it is.",
            action="Open the image again, or save the layer anew.",
        )
    if display.limits is None:
        raise OptionError(f"{spec.name} has no contrast limits.")
    if display.span is None:
        display = replace(display, span=whole_range(spec.source.dtype, display.limits))
    omero = group.block.setdefault("omero", {})
    channels = omero.setdefault("channels", [])
    while len(channels) <= index:
        channels.append({})
    before = channels[index] if isinstance(channels[index], Mapping) else {}
    channels[index] = {**before, **channel_document(display)}
    if any("window" not in channel for channel in channels):
        raise OptionError(
            "The image says nothing of its other channels, and all are needed.",
            action="Update all channels together.",
        )
    omero["rdefs"] = rdefs_document(omero.get("rdefs") or {}, spec.planes)
    _update_state(group, display, index, len(channels))


def _update_state(
    group: GroupDocument, display: ChannelDisplay, index: int, count: int
) -> None:
    """Write what only napari knows of a channel; entries go by their position."""
    state = _state(group)
    held = state.get("channels")
    entries = list(held) if isinstance(held, list) and len(held) == count else []
    if not entries and not display.state:
        return
    while len(entries) < count:
        entries.append({})
    entries[index] = {"label": display.name, "color": display.color, **display.state}
    group.attributes[NAPARI] = {**state, "channels": entries}


def _state(group: GroupDocument) -> dict[str, Any]:
    state = group.attributes.get(NAPARI)
    return dict(state) if isinstance(state, Mapping) else {}


def _update_labels(group: GroupDocument, spec: ImageSpec, address: str) -> None:
    if spec.label is None:  # the caller asked; for the type checker
        raise ConflictError("These are no labels.")
    version: Version = "0.4" if group.zarr_format == 2 else "0.5"
    old = group.block.get("image-label")
    previous = old if isinstance(old, Mapping) else {}
    inside = "/labels/" in address
    block = image_label_document(spec.label, version, previous, of_image=inside)
    group.block["image-label"] = block
    others = {key: value for key, value in _state(group).items() if key != "labels"}
    state = {**others, **napari_document(spec, address)}
    if state:
        group.attributes[NAPARI] = state
    else:
        group.attributes.pop(NAPARI, None)
