"""From an address to a target, and from an image's address to its hierarchy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zarr.abc.store import Store

from napari_omezarr.errors import OptionError
from napari_omezarr.location import Location

from .folder import Folder
from .in_place import InPlaceTarget
from .local import ArchiveTarget, LocalTarget
from .remote import RemoteHierarchy
from .zarr_store import StoreHierarchy

if TYPE_CHECKING:
    import os

    from .options import Version
    from .target import Hierarchy, Target

Address = "str | os.PathLike[str] | Location | Store"

_SUFFIXES = (".ome.zarr", ".zarr", ".ozx", ".zarr.zip", ".zip")


def open_target(address: Location | Store, version: Version) -> Target:
    """Give the target of an address; nothing is asked or made.

    Parameters
    ----------
    address : Location or zarr store
        A folder, a zip file or a remote place; a store is written to as it is.
    version : {"0.4", "0.5", "0.6"}
        The version to be written: zip files hold 0.5 or later (RFC-9).

    Raises
    ------
    OptionError
        Nothing can be written there.
    """
    if isinstance(address, Store):
        return InPlaceTarget(StoreHierarchy(address, _store_address(address)))
    if address.is_archive:
        return _archive(address, version)
    if address.protocol == "file":
        return LocalTarget(address.local_path(), address.display)
    return InPlaceTarget(RemoteHierarchy(address))


def open_hierarchy(address: Location | Store) -> Hierarchy:
    """Give the hierarchy of an image that is to be changed.

    Raises
    ------
    OptionError
        Nothing can be changed there.
    """
    if isinstance(address, Store):
        return StoreHierarchy(address, _store_address(address))
    if address.protocol == "file" and not address.is_archive:
        return Folder(address.local_path(), address.display)
    if address.is_archive:
        raise _not_writable(address)
    return RemoteHierarchy(address)


def parsed(address: str | os.PathLike[str] | Location | Store) -> Location | Store:
    """Make a location of an address; a store passes through."""
    return address if isinstance(address, Store) else Location.parse(address)


def beside(address: Location, number: int) -> Location:
    """Give the place beside an address: ``cells.ome.zarr``, ``cells-2.ome.zarr``."""
    name = address.name
    suffix = next((s for s in _SUFFIXES if name.lower().endswith(s)), "")
    stem = name[: len(name) - len(suffix)] if suffix else name
    return address.parent / f"{stem}-{number}{name[len(stem) :]}"


def name_of(address: Location | Store) -> str:
    """Give a name for what is saved at an address."""
    return "image" if isinstance(address, Store) else address.stem or "image"


def _archive(address: Location, version: Version) -> Target:
    if address.protocol != "file" or address.member:
        raise _not_writable(address)
    if version == "0.4":
        raise OptionError(
            "A zip file holds OME-Zarr 0.5 or later.", action="Choose 0.5."
        )
    archive = replace(address, member=None)
    return ArchiveTarget(Path(archive.local_path()), version, address.display)


def _store_address(store: Store) -> str:
    return str(store)


def _not_writable(address: Location) -> OptionError:
    return OptionError(
        f"Nothing can be saved to {address.display}.",
        action="Choose a folder of this computer, or an object store.",
        url=address.display,
    )
