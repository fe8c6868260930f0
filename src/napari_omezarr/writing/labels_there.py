"""Labels of an image that are in the way of others of the same name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .in_place import InPlaceTarget
from .labelling import label_names
from .rendering import folder_name
from .staging import own
from .target import Listing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .target import Hierarchy


@dataclass(frozen=True, slots=True)
class LabelsThere:
    """What stands in the way of labels that are to be added to an image.

    Parameters
    ----------
    taken : tuple of str
        Labels of the same name that the image lists.
    found : Listing
        Their objects.
    unfinished : bool
        Adding some of them has broken off.
    switching : bool
        It has broken off while new ones, which are whole, took the place of old ones.
    """

    taken: tuple[str, ...] = ()
    found: Listing = field(default_factory=lambda: Listing(0, 0))
    unfinished: bool = False
    switching: bool = False


def labels_there(hierarchy: Hierarchy, names: Iterable[str]) -> LabelsThere:
    """Find out which of the labels that are to be added are in an image already.

    Parameters
    ----------
    hierarchy : Hierarchy
        The image's group.
    names : iterable of str
        Of the layers.

    Raises
    ------
    StoreError
        It could not be read.
    """
    folders = {folder_name(name, ()) for name in names}
    listed = label_names(hierarchy)
    targets = [InPlaceTarget(hierarchy, f"labels/{name}") for name in sorted(folders)]
    broken_off = [target for target in targets if target.unfinished()]
    taken = tuple(name for name in listed if name in folders)
    sizes = [own(hierarchy.sizes(f"labels/{name}")) for name in taken]
    return LabelsThere(
        taken,
        Listing(sum(map(len, sizes)), sum(sum(each.values()) for each in sizes)),
        unfinished=bool(broken_off),
        switching=any(target.switching for target in broken_off),
    )


def discard_labels(hierarchy: Hierarchy, names: Iterable[str]) -> None:
    """Remove what adding labels has left where it broke off.

    Raises
    ------
    StoreError
        It could not be removed.
    """
    for name in {folder_name(name, ()) for name in names}:
        target = InPlaceTarget(hierarchy, f"labels/{name}")
        if target.unfinished() and not target.switching:
            target.discard()
