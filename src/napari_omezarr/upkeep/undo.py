"""Documents as they were before they were changed, so that it can be taken back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from napari_omezarr.doors import guarded
from napari_omezarr.errors import ConflictError, NodeNotFoundError
from napari_omezarr.user_files import configuration_folder, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_omezarr.writing import Hierarchy


@dataclass(frozen=True, slots=True)
class UndoCopy:
    """What documents held before (None: not there) and after one change."""

    file: Path
    before: Mapping[str, str | None]
    after: Mapping[str, str | None]


def undo_folder(address: str) -> Path:
    """Give the folder with what was changed at an address."""
    name = hashlib.blake2b(address.encode(), digest_size=16).hexdigest()
    return configuration_folder() / "undo" / name


def apply(hierarchy: Hierarchy, changes: Mapping[str, bytes | None]) -> UndoCopy | None:
    """Write documents (None: delete), after what they held was kept.

    They are written in the order given, each only if nobody changed it meanwhile.
    None if nothing is to be changed.

    Raises
    ------
    ConflictError
        Somebody else changed one meanwhile.
    StoreError
        Something could not be read or written.
    """
    found = dict(zip(changes, hierarchy.read_all(list(changes)), strict=True))
    before = {key: stored.body if stored else None for key, stored in found.items()}
    wanted = {key: body for key, body in changes.items() if body != before[key]}
    if not wanted:
        return None
    kept = UndoCopy(
        _fresh_file(hierarchy.address),
        {key: _text(before[key]) for key in wanted},
        {key: _text(body) for key, body in wanted.items()},
    )
    content: dict[str, Any] = {"address": hierarchy.address}
    write_json(kept.file, content | {"before": kept.before, "after": kept.after})
    for key, body in wanted.items():
        if body is None:
            hierarchy.begin_delete(key).result()
        else:
            hierarchy.replace(key, body, found[key])
    return kept


@guarded
def take_back(hierarchy: Hierarchy) -> UndoCopy:
    """Put documents back as they were before the last change at a place.

    Raises
    ------
    NodeNotFoundError
        Nothing was changed there, from this computer.
    ConflictError
        Somebody changed them since.
    StoreError
        They could not be read or written.
    """
    kept = last_change(hierarchy.address)
    if kept is None:
        raise NodeNotFoundError(
            f"Nothing that was changed at {hierarchy.address} is kept.",
            action="Undo is possible on the computer that made the change.",
        )
    keys = list(kept.before)
    found = dict(zip(keys, hierarchy.read_all(keys), strict=True))
    for key, stored in found.items():
        now = _text(stored.body) if stored else None
        if now not in (kept.after[key], kept.before[key]):
            raise ConflictError(
                f"{key} was changed since.",
                action="Change it by hand.",
                url=hierarchy.address,
            )
    for key in reversed(keys):
        text, stored = kept.before[key], found[key]
        if text is None:
            hierarchy.begin_delete(key).result()
        elif stored is None or _text(stored.body) != text:
            hierarchy.replace(key, text.encode("utf-8", "surrogateescape"), stored)
    kept.file.unlink(missing_ok=True)
    return kept


def last_change(address: str) -> UndoCopy | None:
    """Give the last change at an address that was not taken back."""
    files = sorted(undo_folder(address).glob("*.json"))
    content = read_json(files[-1]) if files else None
    if not isinstance(content, dict):
        return None
    return UndoCopy(files[-1], content["before"], content["after"])


def _fresh_file(address: str) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    return undo_folder(address) / f"{now}.json"


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode("utf-8", "surrogateescape")
