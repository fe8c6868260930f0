"""What scripts give to be written, and where: zarr groups, readings, addresses."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from napari_omezarr.errors import (
    ImageChoiceError,
    LocationError,
    NodeNotFoundError,
    OptionError,
)
from napari_omezarr.location import Location, is_plain_key
from napari_omezarr.metadata import Plate, Well
from napari_omezarr.reading import read_current
from napari_omezarr.store import (
    foreign_store,
    is_zarr,
    location_of,
    not_writable,
    store_and_path,
)

from .commit import ArchiveTarget, InPlaceTarget, LocalTarget
from .hierarchy import FolderHierarchy, RemoteHierarchy, StoreHierarchy
from .source import read_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarr.abc.store import Store

    from napari_omezarr.pyramid import Pyramid

    from .hierarchy import Hierarchy, Target
    from .options import Version

    Address = str | os.PathLike[str] | Location | Store | zarr.Group | zarr.AsyncGroup


def is_closed(given: Any) -> bool:
    """Whether something is to be opened before it has layers or pixels."""
    if isinstance(given, zarr.Array | zarr.AsyncArray | np.ndarray | np.generic):
        return False
    in_memory = isinstance(given, memoryview) or hasattr(given, "__array_interface__")
    return is_zarr(given) or in_memory


def opened(given: Any) -> Any:
    """Give what a zarr group or store holds; everything else as it is.

    That is a `Reading` where it is OME-Zarr, else its array, or its arrays as levels.
    Only documents are read.

    Raises
    ------
    OptionError
        It is a plate or a well, or holds several arrays that are no levels.
    OMEZarrError
        It could not be read, or nothing is there that could be saved.
    """
    if not is_closed(given):
        return given
    if not is_zarr(given):
        return np.asarray(given)  # an image of Pillow, a memoryview
    try:
        reading = read_current(given)
    except ImageChoiceError:
        raise
    except NodeNotFoundError as error:
        arrays = _arrays(given)
        if not arrays:
            place = location_of(given).display
            raise OptionError(
                f"{place} holds no image and no array.",
                action="Give a group that does.",
                url=place,
            ) from error
        return arrays[0] if len(arrays) == 1 else arrays
    if isinstance(reading.kind, Plate | Well):
        what = type(reading.kind).__name__.lower()
        raise OptionError(
            f"{reading.location.display} is a {what}, and not one image.",
            action="Open it, and save its mosaic or its fields.",
            url=reading.location.display,
        )
    if reading.kind is None:  # a store that is one array
        store, path = store_and_path(given)
        with read_from(given):
            return zarr.open_array(store, path=path, mode="r")
    return reading


def _arrays(given: Any) -> list[Any]:
    """Give the arrays that lie directly in a group, the largest first."""
    store, path = store_and_path(given)
    with read_from(given):
        try:
            group = zarr.open_group(store, path=path, mode="r")
        except FileNotFoundError:  # there is nothing at all
            return []
        found = dict(group.arrays())
    arrays = sorted(found.values(), key=lambda array: -math.prod(array.shape))
    alike = len({array.dtype for array in arrays}) <= 1
    if not alike or not all(is_coarser(*pair) for pair in itertools.pairwise(arrays)):
        names = ", ".join(sorted(found)[:8])
        raise OptionError(
            f"This zarr group holds {len(found)} arrays that are no levels of one "
            f"image: {names}.",
            action="Give one of them.",
        )
    return arrays


def is_coarser(finer: Any, coarser: Any) -> bool:
    """Whether an array can be the next level below another one."""
    pairs = zip(finer.shape, coarser.shape, strict=False)
    return (
        len(finer.shape) == len(coarser.shape)
        and all(small <= large for large, small in pairs)
        and math.prod(coarser.shape) < math.prod(finer.shape)
    )


def the_image(pyramids: Sequence[Pyramid]) -> Pyramid:
    """Give the one image, or else the one label image, of what was opened.

    Raises
    ------
    OptionError
        There are several.
    """
    images = [each for each in pyramids if each.label is None] or list(pyramids)
    if len(images) != 1:
        names = ", ".join(each.name for each in images[:8])
        raise OptionError(
            f"These are {len(images)} images, and one is needed: {names}.",
            action="Give one of them, or use write_layers for all.",
        )
    return images[0]


def the_labels(pyramids: Sequence[Pyramid]) -> Pyramid:
    """Give the one label image of what was opened, or else its image.

    Raises
    ------
    OptionError
        There are several.
    """
    labels = [each for each in pyramids if each.label is not None]
    return the_image(labels or pyramids)


# From an address to where is written; asks nothing.

_SUFFIXES = (".ome.zarr", ".zarr", ".ozx", ".zarr.zip", ".zip")


@dataclass(frozen=True, slots=True)
class Foreign:
    """A place in a zarr store that somebody else made, and what to call it."""

    store: Store
    path: str
    address: str

    def hierarchy(self) -> Hierarchy:
        """Give the hierarchy there; a folder is one, whoever has opened it."""
        hierarchy: Hierarchy = StoreHierarchy(self.store, self.address)
        if type(self.store) is LocalStore and not self.store.read_only:
            hierarchy = FolderHierarchy(Path(self.store.root), self.address)
        return hierarchy.below(self.path) if self.path else hierarchy


def check_new_name(address: Location | Foreign) -> None:
    """Refuse to make what a service would keep by another name: nobody finds it."""
    if isinstance(address, Foreign) or not address.is_remote:
        return
    if not is_plain_key(address.path):
        raise OptionError(
            f"{address.display} has a backslash or a control character in its name, "
            "which services take for something else.",
            action="Choose another name.",
            url=address.display,
        )


def tidy(place: Location) -> None:
    """Remove what a killed save left beside a place of this computer that is whole."""
    if place.protocol == "file":
        target = open_target(place, "0.5")
        if isinstance(target, LocalTarget):
            target.tidy()


def open_target(address: Location | Foreign, version: Version) -> Target:
    """Give the target of an address (a store is written to as it is); asks nothing."""
    if isinstance(address, Foreign):
        return InPlaceTarget(address.hierarchy())
    if address.through:
        raise not_writable(address)
    if address.is_archive:
        return _archive(address, version)
    if address.protocol == "file":
        return LocalTarget(address.local_path(), address.display)
    return InPlaceTarget(RemoteHierarchy(address))


def open_hierarchy(address: Location | Foreign) -> Hierarchy:
    """Give the hierarchy of an image that is to be changed."""
    if isinstance(address, Foreign):
        return address.hierarchy()
    if address.through:
        raise not_writable(address)
    if address.is_archive:
        raise OptionError(
            f"{address.display} lies in a zip file, and those are not edited.",
            action="Unpack it first, or save what is changed as another image.",
            url=address.display,
        )
    if address.protocol == "file":
        return FolderHierarchy(address.local_path(), address.display)
    return RemoteHierarchy(address)


def parsed(address: Address) -> Location | Foreign:
    """Make a location of an address, or note the place in a zarr store."""
    if not is_zarr(address):
        if getattr(address, "is_part", False):
            raise OptionError(
                "A part of an image has no address to write at.",
                action="Give the address of the whole image.",
            )
        named: Any = getattr(address, "location", address)
        place = Location.parse(named)
        if place.protocol != "store":
            return place
        return Foreign(foreign_store(place), place.path, place.display)
    if isinstance(address, (zarr.Array, zarr.AsyncArray)):
        raise OptionError(
            "An image is a group, and nothing can be saved to an array.",
            action="Give the group that the array is in, or a store.",
        )
    return Foreign(*store_and_path(address), location_of(address).display)


def beside(address: Location, number: int) -> Location:
    """Give the place beside an address: ``cells.ome.zarr``, ``cells-2.ome.zarr``."""
    name = address.name
    suffix = next((s for s in _SUFFIXES if name.lower().endswith(s)), "")
    stem = name[: len(name) - len(suffix)] if suffix else name
    return address.parent / f"{stem}-{number}{name[len(stem) :]}"


def name_of(address: Location | Foreign) -> str:
    """Give a name for what is saved at an address."""
    return "image" if isinstance(address, Foreign) else address.stem or "image"


def _archive(address: Location, version: Version) -> Target:
    if address.protocol != "file" or address.member:
        raise not_writable(address)
    if version == "0.4":
        # RFC-9
        raise OptionError(
            "A zip file holds OME-Zarr 0.5 or later.", action="Choose 0.5."
        )
    archive = replace(address, member=None)
    return ArchiveTarget(Path(archive.local_path()), version, address.display)


def lies_within(inner: str, outer: str) -> bool:
    """Whether an address is that of another place or of one in it, however spelled."""
    return f"{_plain(inner)}/".startswith(f"{_plain(outer)}/")


def _plain(address: str) -> str:
    """Give one spelling of an address: local paths absolute, links followed."""
    text = address.removeprefix("file://")
    text = (
        _in_bucket(text) if "://" in text else os.path.normcase(os.path.realpath(text))
    )
    return text.replace("\\", "/").rstrip("/")


def _in_bucket(text: str) -> str:
    """Spell what may be an object of a bucket in one way, also if it is read as web."""
    try:
        location = Location.parse(text)
    except LocationError:
        return text
    bucket = location if location.protocol == "s3" else location.as_s3(path_style=True)
    if bucket is None:
        return text
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return f"{bucket.endpoint or named or 's3:'}/{bucket.root}/{bucket.path}"
