"""Keep consolidated metadata right when something below them changes."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import ConflictError, OMEZarrError

from .existing import document_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .arrays import Document
    from .target import Hierarchy

_TRIES = 5


def changed(
    hierarchy: Hierarchy,
    key: str,
    change: Callable[[dict[str, Any] | None], dict[str, Any] | None],
) -> None:
    """Read a document, change it, and write it if nobody else did meanwhile.

    Parameters
    ----------
    hierarchy : Hierarchy
        Where.
    key : str
        Of the document.
    change : callable
        Is given the document (None: not there), and gives the new one, or None to
        leave it alone. It may be asked again, with a newer document.

    Raises
    ------
    ConflictError
        Somebody else changed it each time.
    """
    for turn in range(_TRIES):
        stored = hierarchy.read(key)
        found = None if stored is None else document_of(stored, key)
        content = change(found)
        if content is None:
            return
        body = json.dumps(content, indent=2, ensure_ascii=False).encode()
        try:
            hierarchy.replace(key, body, stored)
        except ConflictError:
            if turn == _TRIES - 1:
                raise
        else:
            return


def refresh(
    above: Iterable[tuple[Hierarchy, str]], documents: Sequence[Document]
) -> None:
    """Bring new documents into the consolidated metadata of the groups above.

    Readers that find such metadata look no further: what they lack is not seen.

    Parameters
    ----------
    above : iterable of (Hierarchy, str)
        Each group that may have some, and the path from there to the documents'
        hierarchy.
    documents : sequence of Document
        What is new; documents of groups replace those that are held.
    """
    for hierarchy, path in above:
        below = f"{path}/" if path else ""
        entries = {f"{below}{document.key}": document.content for document in documents}
        try:
            changed(hierarchy, "zarr.json", partial(_inline, entries))
            changed(hierarchy, ".zmetadata", partial(_beside, entries))
        except ConflictError:
            raise
        except OMEZarrError:
            if not path:
                raise
            # What lies further up may be closed to us, or no zarr at all.
            continue


def retract(above: Iterable[tuple[Hierarchy, str]], group: str) -> None:
    """Take a group with all that lies below it out of the consolidated metadata.

    Parameters
    ----------
    above : iterable of (Hierarchy, str)
        As for `refresh`.
    group : str
        Its path in the documents' hierarchy.
    """
    for hierarchy, path in above:
        gone = f"{path}/{group}" if path else group
        try:
            changed(hierarchy, "zarr.json", partial(_inline_without, gone))
            changed(hierarchy, ".zmetadata", partial(_beside_without, gone))
        except ConflictError:
            raise
        except OMEZarrError:
            if not path:
                raise
            continue


def _inline_without(
    gone: str, document: dict[str, Any] | None
) -> dict[str, Any] | None:
    return _without((document or {}).get("consolidated_metadata"), gone, document)


def _beside_without(
    gone: str, document: dict[str, Any] | None
) -> dict[str, Any] | None:
    return _without(document, gone, document)


def _without(
    held: object, gone: str, document: dict[str, Any] | None
) -> dict[str, Any] | None:
    metadata = held.get("metadata") if isinstance(held, dict) else None
    if not isinstance(metadata, dict):
        return None
    below = [key for key in metadata if f"{key}/".startswith(f"{gone}/")]
    for key in below:
        del metadata[key]
    return document if below else None


def _inline(
    entries: dict[str, Any], document: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Change a Zarr v3 group; None where it holds nothing of those below it."""
    held = (document or {}).get("consolidated_metadata")
    if not isinstance(held, dict) or not isinstance(held.get("metadata"), dict):
        return None
    for key, content in entries.items():
        path, _, name = key.rpartition("/")
        if name == "zarr.json" and path:
            held["metadata"][path] = _without_own(content)
    return document


def _beside(
    entries: dict[str, Any], document: dict[str, Any] | None
) -> dict[str, Any] | None:
    if document is None or not isinstance(document.get("metadata"), dict):
        return None
    document["metadata"].update(entries)
    return document


def _without_own(content: Any) -> dict[str, Any]:
    """Take out what a group holds of those below it: the root says that already."""
    return {k: v for k, v in content.items() if k != "consolidated_metadata"}
