"""Removing what lies at a place: counted first, and never what is being written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_omezarr.doors import guarded
from napari_omezarr.errors import ConflictError, NodeNotFoundError, OptionError
from napari_omezarr.location import DOCUMENTS
from napari_omezarr.writing import (
    StoredSize,
    claim_of,
    open_hierarchy,
    open_target,
)

from .examining import examine, mend

if TYPE_CHECKING:
    from napari_omezarr.location import Location


@dataclass(frozen=True, slots=True)
class Removal:
    """What would be removed: how much, and whether it is zarr."""

    location: Location
    found: StoredSize
    is_zarr: bool


@guarded
def plan_removal(location: Location) -> Removal:
    """Count what lies at a place; nothing is removed.

    Raises
    ------
    NodeNotFoundError
        Nothing is there.
    OptionError
        It is a whole bucket or disk, or nothing can be removed there.
    TargetClaimedError
        Somebody is writing there.
    StoreError
        It could not be listed.
    """
    if not location.path.strip("/") or location.is_archive:
        sentence = f"{location.display} is more than a store in a folder."
        raise OptionError(sentence, action="Name what is to go.", url=location.display)
    open_target(location, "0.5").claim.refuse_others()
    hierarchy = open_hierarchy(location)
    sizes = hierarchy.sizes("")
    if not sizes:
        sentence = f"Nothing is at {location.display}."
        raise NodeNotFoundError(sentence, url=location.display)
    is_zarr = any(key in DOCUMENTS for key in sizes)
    return Removal(location, StoredSize.of(sizes), is_zarr)


@guarded
def remove_store(removal: Removal) -> None:
    """Remove what was counted: its root's documents first, so that nobody opens half.

    Raises
    ------
    ConflictError
        There is more or less by now than was counted.
    TargetClaimedError
        Somebody is writing there.
    StoreError
        Something could not be removed.
    """
    location = removal.location
    hierarchy = open_hierarchy(location)
    with claim_of(hierarchy, "", hierarchy.address).held():
        sizes = hierarchy.sizes("")
        if StoredSize.of(sizes) != removal.found:
            sentence = f"{location.display} has changed since it was counted."
            raise ConflictError(sentence, action="Start again.", url=location.display)
        for name in DOCUMENTS:
            if name in sizes:
                hierarchy.begin_delete(name).result()
        hierarchy.remove("")
    _unlist(location)


def _unlist(location: Location) -> None:
    """Take labels that were removed out of the list of their image."""
    image = location.parent.parent
    if location.parent.name != "labels" or not image.path:
        return
    found = [
        ailment
        for ailment in examine(image)
        if ailment.is_stale
        or (ailment.kind == "absent label" and ailment.name == location.name)
    ]
    mend(image, found)
