"""An image that is there: read its documents, change them, put them back."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

from napari_omezarr.errors import (
    ConflictError,
    MetadataError,
    NodeNotFoundError,
    OptionError,
)
from napari_omezarr.location import ARRAY_DOCUMENT, GROUP_DOCUMENT
from napari_omezarr.metadata import Image, Multiscale, fit_axes, parse_document

from .chunking import Structure
from .engine import StoredArray
from .options import Version

_TRIES = 5

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_omezarr.store import GetResult

    from .hierarchy import Hierarchy


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
