"""New folders, other names, and deleting: what a browser changes at a place.

All block. Nothing is overwritten, and nothing goes that is open or being saved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    NodeNotFoundError,
    OptionError,
    TargetExistsError,
    TargetInUseError,
)
from napari_omezarr.location import is_below
from napari_omezarr.writing import (
    StoredSize,
    is_document,
    open_hierarchy,
    open_target,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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


@guarded
def what_lies_at(place: Location) -> StoredSize:
    """Count what deleting a place would take: objects and bytes.

    Raises
    ------
    NodeNotFoundError
        Nothing is there.
    """
    found = _keys(*_at(place))
    is_folder = place.protocol == "file" and place.local_path().is_dir()
    if not found and not is_folder:
        sentence = f"Nothing is at {place.display}."
        raise NodeNotFoundError(sentence, action="Reload.", url=place.display)
    return StoredSize.of(found)


@guarded
def delete(place: Location, expected: StoredSize, in_use: Iterable[str] = ()) -> None:
    """Delete a place with all that lies below it, if it is still what was said.

    Parameters
    ----------
    place : Location
        A folder, an image or an object.
    expected : StoredSize
        What `what_lies_at` has counted, and the person has agreed to.
    in_use : iterable of str
        Addresses that open layers read.

    Raises
    ------
    TargetInUseError
        It is open, a part of what is open, or being saved.
    OptionError
        More lies there by now, or other things.
    """
    _check_unused(place, in_use)
    found = _keys(*_at(place))
    if StoredSize.of(found) != expected:
        sentence = f"What lies at {place.display} has changed."
        raise OptionError(sentence, action="Look at it again.", url=place.display)
    hierarchy, name = _at(place)
    _remove(hierarchy, name, found)


@guarded
def rename(place: Location, name: str, in_use: Iterable[str] = ()) -> Location:
    """Give a place another name in its folder, and return where it is then.

    In a bucket every object is copied, the documents last, and then the old ones go:
    what breaks off leaves the old one whole.

    Raises
    ------
    TargetInUseError
        It is open, a part of what is open, or being saved.
    TargetExistsError
        Something of the new name is there.
    """
    target = _named(place.parent, name)
    _check_unused(place, in_use)
    if place.protocol == "file" and not place.is_archive:
        old, new = place.local_path(), target.local_path()
        if new.exists():
            raise _exists(target)
        try:
            old.rename(new)
        except OSError as error:
            raise _refused(place, error) from error
        return target
    hierarchy, before = _at(place)
    _check_free(hierarchy, name, target)
    found = _keys(hierarchy, before)
    keys = sorted(found, key=lambda key: (is_document(key), key))
    copies = [(key, f"{name}{key.removeprefix(before)}") for key in keys]
    documents = [pair for pair in copies if is_document(pair[0])]
    for pairs in (copies[: len(copies) - len(documents)], documents):
        for some in _batches(pairs):
            begun = [hierarchy.begin_copy(old, new, found[old]) for old, new in some]
            for future in begun:
                future.result()
    _remove(hierarchy, before, found)
    return target


def _remove(hierarchy: Hierarchy, name: str, found: Mapping[str, int]) -> None:
    if name in found:
        hierarchy.begin_delete(name).result()
    else:
        hierarchy.remove(name)


def _batches(pairs: Sequence[tuple[str, str]]) -> list[Sequence[tuple[str, str]]]:
    return [pairs[at : at + _AT_A_TIME] for at in range(0, len(pairs), _AT_A_TIME)]


def _at(place: Location) -> tuple[Hierarchy, str]:
    """Give the hierarchy of the folder that a place is in, and its name there."""
    if not place.path or place.member is not None:
        sentence = f"{place.display} cannot be changed here."
        raise OptionError(sentence, action="Choose something in it.", url=place.display)
    return open_hierarchy(place.parent), place.name


def _keys(hierarchy: Hierarchy, name: str) -> dict[str, int]:
    """Give the objects of a place by their keys from its folder, and their bytes."""
    below = hierarchy.sizes(name)
    folder = hierarchy.folder
    if below or (folder is not None and (folder / name).is_dir()):
        return below
    own = hierarchy.read(name)
    return {} if own is None else {name: len(own.body)}


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
    ours = f"{place.display.rstrip('/')}/"
    for address in in_use:
        theirs = f"{address.rstrip('/')}/"
        if theirs.startswith(ours) or ours.startswith(theirs):
            sentence = f"{place.name} is open in napari."
            action = "Close its layers first."
            raise TargetInUseError(sentence, action=action, url=place.display)
    if place.protocol != "file":
        open_target(place, "0.5").claim.refuse_others()


def _exists(place: Location) -> TargetExistsError:
    sentence = f"Something is already at {place.display}."
    return TargetExistsError(sentence, action="Choose another name.", url=place.display)


def _refused(place: Location, error: OSError) -> OptionError:
    sentence = f"{place.display} could not be changed ({error.strerror})."
    return OptionError(sentence, action="Check your rights there.", url=place.display)
