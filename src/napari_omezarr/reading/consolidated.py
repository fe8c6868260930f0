"""Consolidated metadata: used when it is there, never needed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Consolidated:
    """What a group's consolidated metadata say of the documents below it.

    zarr 3 keeps them inside ``zarr.json``, zarr 2 in ``.zmetadata``. They answer
    only for what they hold: a label added later is asked for as usual.
    """

    def __init__(self) -> None:
        self._documents: dict[str, Any] = {}

    def learn(self, answers: Mapping[str, Any]) -> None:
        """Take up consolidated metadata from the answers to a wave."""
        for key, body in answers.items():
            prefix, _, file = key.rpartition("/")
            below = f"{prefix}/" if prefix else ""
            if not isinstance(body, bytes):
                continue
            if file == ".zmetadata":
                entries = _entries(body, "metadata")
                self._documents |= {below + name: e for name, e in entries.items()}
            elif file == "zarr.json" and b"consolidated_metadata" in body:
                entries = _entries(body, "consolidated_metadata", "metadata")
                self._documents |= {
                    f"{below}{name}/zarr.json": e for name, e in entries.items()
                }

    def answer(self, key: str) -> bytes | None:
        """Give the document at a key as its bytes, or None if it is not held."""
        document = self._documents.get(key)
        return None if document is None else json.dumps(document).encode()


def _entries(body: bytes, *path: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(body)
    except ValueError:
        return {}
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return {}
    return {name: entry for name, entry in found.items() if isinstance(entry, dict)}
