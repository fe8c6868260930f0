"""Paths inside stores: archives, files of a node, chunks, and who owns a level."""

from __future__ import annotations

import re

METADATA_FILES = frozenset({"zarr.json", ".zattrs", ".zgroup", ".zarray", ".zmetadata"})
ARCHIVES = (".zip", ".ozx")
MAX_OWNERS = 3
_OME_XML = re.compile(r"(?:^|/)OME/METADATA\.ome\.xml$")
_DOTTED_CHUNK = re.compile(r"\d+(\.\d+){2,}")
_FLAT_CHUNK = re.compile(r"\d+\.\d+")
_LEVEL = re.compile(r"s?\d+")
_ROW = re.compile(r"[A-Z]{1,2}")
# A plate has at most three numbers in a row (column, field, level), a series two.
_SURE_CHUNK = 5


def split_archive(path: str) -> tuple[str, str | None]:
    """Split a path after its first ``.zip`` or ``.ozx`` part; None is no archive."""
    parts = path.split("/")
    for index, part in enumerate(parts, start=1):
        if is_archive_name(part):
            return "/".join(parts[:index]), "/".join(parts[index:]).strip("/")
    return path, None


def is_archive_name(name: str) -> bool:
    """Say whether the last part of a path names an archive."""
    return name.lower().endswith(ARCHIVES)


def is_store_name(name: str) -> bool:
    """Say whether a part of a path names a store, whatever lies above it."""
    return name.lower().endswith(".zarr")


def node_path(path: str, *, in_store: bool = False) -> str:
    """Return the node that holds what a path points at.

    Metadata files are of the node that they lie in, ``OME/METADATA.ome.xml`` of
    the one above; chunks are of their array, where it is sure that they are
    chunks. Every other path stays.

    Parameters
    ----------
    path : str
        Without ``/`` at its ends.
    in_store : bool
        Whether the path starts at the root of a store, which lies nowhere else
        than below a folder called ``*.zarr``.
    """
    shorter = _without_file(path, in_store=in_store)
    while shorter != path:
        path, shorter = shorter, _without_file(shorter, in_store=in_store)
    return path


def owner_paths(path: str, *, in_store: bool = False) -> tuple[str, ...]:
    """Return the nodes that may have the array at `path` as a level, nearest first.

    At most three, never above a folder called ``*.zarr``; the path itself is
    none of them.
    """
    owners: list[str] = []
    while path and len(owners) < MAX_OWNERS and not is_store_name(path):
        path = path.rpartition("/")[0].rstrip("/")
        if path or in_store:
            owners.append(path)
    return tuple(owners)


def _without_file(path: str, *, in_store: bool) -> str:
    head, _, last = path.rpartition("/")
    if last in METADATA_FILES:
        return head.rstrip("/")
    if found := _OME_XML.search(path):
        return path[: found.start()].rstrip("/")
    parts = path.split("/")
    stores = [i for i, part in enumerate(parts, start=1) if is_store_name(part)]
    if not stores and not in_store:
        return path
    start = stores[-1] if stores else 0
    return "/".join(parts[:start] + _without_chunk(parts[start:])).rstrip("/")


def _without_chunk(parts: list[str]) -> list[str]:
    run = len(parts)
    while run and parts[run - 1].isdecimal():
        run -= 1
    if 2 <= run < len(parts) and parts[run - 1] == "c":
        return parts[: run - 1]
    if len(parts) - run >= _SURE_CHUNK:
        # The first number is a level, or an image of a series: both can open. In
        # a plate, it is the column of a well, and the field follows.
        in_plate = run == 1 and _ROW.fullmatch(parts[0])
        return parts[: run + (2 if in_plate else 1)]
    if parts and _DOTTED_CHUNK.fullmatch(parts[-1]):
        return parts[:-1]
    if (
        len(parts) > 1
        and _FLAT_CHUNK.fullmatch(parts[-1])
        and _LEVEL.fullmatch(parts[-2])
    ):
        return parts[:-1]
    return parts
