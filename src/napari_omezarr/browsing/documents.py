"""The metadata documents of a place as they are stored, laid out for reading."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import StoreError
from napari_omezarr.reading.nodes import array_key, group_keys
from napari_omezarr.store import open_store

from .parts import part_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_omezarr.location import Location

_MOST = 4 * 2**20
_LEVELS = 12


def raw_documents(location: Location) -> Mapping[str, str]:
    """Read the documents of a group, of its levels and of its labels; blocks.

    Returns
    -------
    Mapping
        Their texts by their keys, the group's own first: JSON indented by two
        spaces, everything else as it is.

    Raises
    ------
    StoreError
        None of them could be read.
    """
    store = open_store(location)
    own = (*group_keys(""), array_key("", 2), ".zgroup", ".zmetadata")
    answers = store.fetch((*own, *part_keys()))
    levels = [path for body in answers.values() for path in _level_paths(body)]
    keys = [array_key(path, version) for path in levels[:_LEVELS] for version in (3, 2)]
    answers |= store.fetch(keys)
    found = {key: pretty(b) for key, b in answers.items() if isinstance(b, bytes)}
    if not found:
        failed = (answer for answer in answers.values() if answer is not None)
        for answer in failed:
            if isinstance(answer, StoreError):
                raise answer
    return found


def pretty(body: bytes) -> str:
    """Lay out a document: JSON is indented, everything else stays; at most 4 MiB."""
    try:
        return json.dumps(json.loads(body[:_MOST]), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body[:_MOST].decode(errors="replace")


def _level_paths(body: object) -> list[str]:
    if not isinstance(body, bytes):
        return []
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return []
    found: list[str] = []
    _collect(document, found)
    return list(dict.fromkeys(found))


def _collect(value: Any, found: list[str]) -> None:
    """Gather the paths of ``datasets``, wherever a version keeps them."""
    if not isinstance(value, dict):
        return
    for key in ("attributes", "ome"):
        _collect(value.get(key), found)
    for image in _list(value.get("multiscales")):
        for dataset in _list(image.get("datasets")):
            if isinstance(dataset.get("path"), str):
                found.append(dataset["path"])


def _list(value: Any) -> list[dict[str, Any]]:
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, dict)]
