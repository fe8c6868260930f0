"""Write how layers look now into the metadata of the image that they came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import (
    ConflictError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
)

from .encode import ZarrDocument
from .existing import GroupDocument, document_of, read_group
from .rendering import NAPARI, channel_document, image_label_document, napari_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .hierarchy import Hierarchy
    from .image_spec import ChannelDisplay, ImageSpec
    from .options import Version

# Keep consolidated metadata right when something below them changes.

_TRIES = 5


def changed(
    hierarchy: Hierarchy,
    key: str,
    change: Callable[[dict[str, Any] | None], dict[str, Any] | None],
) -> None:
    """Read a document, change it, and write it if nobody else did meanwhile.

    ``change`` is given the document (None: not there) and gives the new one, or None
    to leave it alone. It may be asked again, with a newer document.
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
    above: Iterable[tuple[Hierarchy, str]], documents: Sequence[ZarrDocument]
) -> None:
    """Bring new documents into the consolidated metadata of the groups above.

    Readers that find such metadata look no further: what they lack is not seen.
    ``above`` are the groups that may have some, with the way from there to the
    documents' hierarchy.
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
    """Take a group with all that lies below it out of the consolidated metadata."""
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


# Write how layers look now into the metadata of the image that they came from.


def update_image(
    specs: Sequence[ImageSpec],
    hierarchy: Hierarchy,
    above: Iterable[tuple[Hierarchy, str]] = (),
) -> tuple[str, ...]:
    """Write names, colours, contrast and visibility; gives the names of changed layers.

    The specs are channels of one image (each knows which), or one label image.
    """
    group = read_group(hierarchy, "")
    if group is None or "multiscales" not in group.block:
        raise NodeNotFoundError(
            f"There is no OME-Zarr image at {hierarchy.address} any more.",
            url=hierarchy.address,
        )
    before = document_of(group.stored, group.key)
    names: list[str] = []
    for spec in specs:
        if spec.label is not None:
            _update_labels(group, spec, hierarchy.address)
        else:
            _update_channel(group, spec)
        names.append(spec.name)
    if group.content == before:
        return ()
    hierarchy.replace(group.key, group.body, group.stored)
    refresh([(hierarchy, ""), *above], [ZarrDocument(group.key, group.content)])
    return tuple(names)


def _update_channel(group: GroupDocument, spec: ImageSpec) -> None:
    display, index = spec.displays[0], spec.origin.channel if spec.origin else None
    if spec.rgb:
        return
    if index is None:
        raise OptionError(
            f"{spec.name} does not say which channel it is.",
            action="Open the image again, or save the layer anew.",
        )
    if display.limits is None:
        raise OptionError(f"{spec.name} has no contrast limits.")
    omero = group.block.setdefault("omero", {})
    channels = omero.setdefault("channels", [])
    while len(channels) <= index:
        channels.append({})
    before = channels[index] if isinstance(channels[index], Mapping) else {}
    channels[index] = {**before, **channel_document(display)}
    if any("window" not in channel for channel in channels):
        raise OptionError(
            "The image says nothing of its other channels, and all are needed.",
            action="Update all channels together.",
        )
    omero["rdefs"] = {**(omero.get("rdefs") or {}), "model": "color"}
    _update_state(group, display, index, len(channels))


def _update_state(
    group: GroupDocument, display: ChannelDisplay, index: int, count: int
) -> None:
    """Write what only napari knows of a channel; entries go by their position."""
    state = group.attributes.get(NAPARI)
    held = state.get("channels") if isinstance(state, Mapping) else None
    entries = list(held) if isinstance(held, list) and len(held) == count else []
    if not entries and not display.state:
        return
    while len(entries) < count:
        entries.append({})
    entries[index] = {"label": display.name, "color": display.color, **display.state}
    group.attributes[NAPARI] = {"channels": entries}


def _update_labels(group: GroupDocument, spec: ImageSpec, address: str) -> None:
    if spec.label is None:  # the caller asked; for the type checker
        raise ConflictError("These are no labels.")
    version: Version = "0.4" if group.zarr_format == 2 else "0.5"
    old = group.block.get("image-label")
    previous = old if isinstance(old, Mapping) else {}
    inside = "/labels/" in address
    block = image_label_document(spec.label, version, previous, of_image=inside)
    group.block["image-label"] = block
    state: dict[str, Any] = napari_document(spec, address)
    if state:
        group.attributes[NAPARI] = state
    else:
        group.attributes.pop(NAPARI, None)
