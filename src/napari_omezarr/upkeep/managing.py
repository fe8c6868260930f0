"""New folders, other names, and removal: what changes at a place as a whole.

All block. Nothing is overwritten, and nothing goes that was not counted, or that is
open or being saved.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from napari_omezarr.atomic_file import rename_new
from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    ConflictError,
    NodeNotFoundError,
    OptionError,
    TargetExistsError,
    TargetInUseError,
)
from napari_omezarr.location import DOCUMENTS, is_below
from napari_omezarr.writing import (
    StoredSize,
    claim_of,
    is_document,
    lies_within,
    open_hierarchy,
    open_target,
)

from .examining import examine, mend

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from napari_omezarr.location import Location
    from napari_omezarr.writing import Hierarchy

_KEPT = ".keep"
"""The object that keeps a folder in a bucket, which has none of its own."""
_AT_A_TIME = 32


@guarded
def make_folder(parent: Location, name: str) -> Location:
    """Make an empty folder, and give its place.

    Raises
    ------
    OptionError
        The name is none for a folder, or nothing can be written there.
    TargetExistsError
        Something of this name is there.
    """
    place = _named(parent, name)
    if parent.protocol == "file" and not parent.is_archive:
        try:
            place.local_path().mkdir()
        except FileExistsError:
            raise _exists(place) from None
        except OSError as error:
            raise _refused(place, error) from error
        return place
    hierarchy = open_hierarchy(parent)
    _check_free(hierarchy, name, place)
    hierarchy.put(f"{name}/{_KEPT}", b"")
    return place


@dataclass(frozen=True, slots=True)
class Removal:
    """What would be removed: how much, and whether it is zarr or one object alone."""

    location: Location
    found: StoredSize
    is_zarr: bool
    is_object: bool


@guarded
def plan_removal(place: Location, in_use: Iterable[str] = ()) -> Removal:
    """Count what lies at a place, a folder or one object; nothing is removed.

    Nobody is asked about what is not removed then: what is read by open layers, whose
    addresses are ``in_use``.

    Raises
    ------
    TargetInUseError
        It is open, or a part of what is open.
    NodeNotFoundError
        Nothing is there.
    OptionError
        It is a whole bucket or disk, or nothing can be removed there.
    TargetClaimedError
        Somebody is writing there.
    StoreError
        It could not be listed.
    """
    _check_unused(place, in_use)
    hierarchy, name = _at(place)
    open_target(place, "0.5").claim.refuse_others()
    found = _there(place, hierarchy, name)
    is_zarr = any(f"{name}/{document}" in found for document in DOCUMENTS)
    return Removal(place, StoredSize.of(found), is_zarr, name in found)


@guarded
def remove(removal: Removal, in_use: Iterable[str] = ()) -> None:
    """Remove what was counted: its root's documents first, so that nobody opens half.

    The person has agreed to it; ``in_use`` are the addresses that open layers read.

    Raises
    ------
    TargetInUseError
        It is open, or a part of what is open.
    TargetClaimedError
        Somebody is writing there.
    ConflictError
        There is more or less by now than was counted.
    StoreError
        Something could not be removed.
    """
    place = removal.location
    _check_unused(place, in_use)
    hierarchy, name = _at(place)
    with _held(hierarchy, name, is_object=removal.is_object):
        found = _keys(hierarchy, name)
        if StoredSize.of(found) != removal.found:
            sentence = f"What lies at {place.display} has changed since it was counted."
            raise ConflictError(sentence, action="Start again.", url=place.display)
        _remove(hierarchy, name, found)
    _list_labels(place)


@guarded
def rename(place: Location, name: str, in_use: Iterable[str] = ()) -> Location:
    """Give a place another name in its folder, and return where it is then.

    In a bucket every object is copied, the documents last, and then the old ones go:
    what breaks off leaves the old one whole.

    Raises
    ------
    TargetInUseError
        It is open, or a part of what is open.
    TargetClaimedError
        Somebody is writing there.
    TargetExistsError
        Something of the new name is there.
    NodeNotFoundError
        Nothing is at the place.
    """
    target = _named(place.parent, name)
    _check_unused(place, in_use)
    hierarchy, before = _at(place)
    found = _there(place, hierarchy, before)
    with _held(hierarchy, before, is_object=before in found):
        if place.protocol == "file":
            _rename_file(place, target)
        else:
            _check_free(hierarchy, target.name, target)
            _move(hierarchy, before, target.name, _keys(hierarchy, before))
    _list_labels(place, target.name)
    return target


def _rename_file(place: Location, target: Location) -> None:
    try:
        rename_new(place.local_path(), target.local_path())
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        raise _refused(place, error) from error


def _move(
    hierarchy: Hierarchy, before: str, name: str, found: Mapping[str, int]
) -> None:
    for _, turn in groupby(sorted(sorted(found), key=_turn), key=_turn):
        copies = [(key, f"{name}{key.removeprefix(before)}") for key in turn]
        for at in range(0, len(copies), _AT_A_TIME):
            some = copies[at : at + _AT_A_TIME]
            begun = [hierarchy.begin_copy(old, new, found[old]) for old, new in some]
            for future in begun:
                future.result()
    _remove(hierarchy, before, found)


def _turn(key: str) -> tuple[bool, bool, int]:
    """Say when an object is copied: what marks a folder first, the documents last.

    Folders go from above downwards: SeaweedFS may forget what marks one in which
    something is put at the same time.
    """
    marks = key.endswith("/")
    return is_document(key), not marks, key.count("/") if marks else 0


def _remove(hierarchy: Hierarchy, name: str, found: Mapping[str, int]) -> None:
    if name in found:
        hierarchy.begin_delete(name).result()
        return
    for document in DOCUMENTS:
        if f"{name}/{document}" in found:
            hierarchy.begin_delete(f"{name}/{document}").result()
    hierarchy.remove(name)


def _held(
    hierarchy: Hierarchy, name: str, *, is_object: bool
) -> AbstractContextManager[object]:
    """Claim a place while it is changed; one object alone has no room for a claim."""
    if is_object:
        return nullcontext()
    address = f"{hierarchy.address.rstrip('/')}/{name}"
    return claim_of(hierarchy, name, address).held()


def _list_labels(place: Location, name: str = "") -> None:
    """Take labels that are gone out of the list of their image, and put new ones in."""
    image = place.parent.parent
    if place.parent.name != "labels" or not image.path:
        return
    changed = {"absent label": place.name, "unlisted label": name}
    with suppress(NodeNotFoundError):  # no image has them
        found = [
            ailment
            for ailment in examine(image)
            if ailment.is_stale
            or (ailment.name and changed.get(ailment.kind) == ailment.name)
        ]
        mend(image, found)


def _at(place: Location) -> tuple[Hierarchy, str]:
    """Give the hierarchy of the folder that a place is in, and its name there."""
    if not place.path.strip("/") or place.is_archive:
        sentence = f"{place.display} is more than a folder, or a part of a file."
        raise OptionError(sentence, action="Name what is to go.", url=place.display)
    return open_hierarchy(place.parent), place.name


def _keys(hierarchy: Hierarchy, name: str) -> dict[str, int]:
    """Give the objects of a place by their keys from its folder, and their bytes."""
    below = hierarchy.sizes(name)
    folder = hierarchy.folder
    if below or (folder is not None and (folder / name).is_dir()):
        return below
    own = hierarchy.read(name)
    return {} if own is None else {name: len(own.body)}


def _there(place: Location, hierarchy: Hierarchy, name: str) -> dict[str, int]:
    found = _keys(hierarchy, name)
    is_folder = place.protocol == "file" and place.local_path().is_dir()
    if not found and not is_folder:
        sentence = f"Nothing is at {place.display}."
        action = "Check the address, or reload the list that it is from."
        raise NodeNotFoundError(sentence, action=action, url=place.display)
    return found


def _named(parent: Location, name: str) -> Location:
    name = name.strip()
    if name in ("", ".") or "/" in name or "\\" in name or not is_below(name):
        sentence = f"{name!r} is no name for a folder."
        raise OptionError(sentence, action="Type another name.")
    return parent / name


def _check_free(hierarchy: Hierarchy, name: str, place: Location) -> None:
    if _keys(hierarchy, name):
        raise _exists(place)


def _check_unused(place: Location, in_use: Iterable[str]) -> None:
    here = place.display
    for address in in_use:
        if lies_within(address, here) or lies_within(here, address):
            sentence = f"{place.name} is open in napari."
            action = "Close its layers first."
            raise TargetInUseError(sentence, action=action, url=here)


def _exists(place: Location) -> TargetExistsError:
    sentence = f"Something is already at {place.display}."
    return TargetExistsError(sentence, action="Choose another name.", url=place.display)


def _refused(place: Location, error: OSError) -> OptionError:
    sentence = f"{place.display} could not be changed ({error.strerror})."
    return OptionError(sentence, action="Check your rights there.", url=place.display)
