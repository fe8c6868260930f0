"""Change the metadata of an image that is there, and what groups above hold of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import (
    ConflictError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
)
from napari_omezarr.location import ZARR_JSON, ZMETADATA

from .encode import ZarrDocument
from .existing import GroupDocument, changed, document_of, read_group
from .rendering import NAPARI, channel_document, image_label_document, napari_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .hierarchy import Hierarchy
    from .image_spec import ChannelDisplay, ImageSpec
    from .options import Version

CONSOLIDATED = {3: ZARR_JSON, 2: ZMETADATA}
"""The document of a group that may hold the metadata of those below, by format."""


# Consolidated metadata, when something below them changes.


def refresh(
    above: Iterable[tuple[Hierarchy, str]], documents: Sequence[ZarrDocument]
) -> None:
    """Bring new documents into the consolidated metadata of the groups above.

    Readers that find such metadata look no further: what they lack is not seen.
    ``above`` are the groups that may have some, with the way from there to the
    documents' hierarchy.
    """

    def insert(held: dict[str, Any], below: str, zarr_format: int) -> bool:
        for document in documents:
            key = f"{below}{document.key}"
            if zarr_format == 2:
                held[key] = document.content
                continue
            path, _, name = key.rpartition("/")
            if name == ZARR_JSON and path:
                # What a group holds of those below it the root says already.
                held[path] = {
                    k: v
                    for k, v in document.content.items()
                    if k != "consolidated_metadata"
                }
        return True

    _change_consolidated(above, insert)


def retract(above: Iterable[tuple[Hierarchy, str]], group: str) -> None:
    """Take a group with all that lies below it out of the consolidated metadata."""

    def take_out(held: dict[str, Any], below: str, _: int) -> bool:
        gone = [key for key in held if f"{key}/".startswith(f"{below}{group}/")]
        for key in gone:
            del held[key]
        return bool(gone)

    _change_consolidated(above, take_out)


def _change_consolidated(
    above: Iterable[tuple[Hierarchy, str]],
    change: Callable[[dict[str, Any], str, int], bool],
) -> None:
    """Change what groups hold of those below them; ``change`` says if it did."""
    for hierarchy, path in above:
        below = f"{path}/" if path else ""
        try:
            for zarr_format, key in CONSOLIDATED.items():
                changed(hierarchy, key, partial(_with_held, change, below, zarr_format))
        except ConflictError:
            raise
        except OMEZarrError:
            if not path:
                raise
            # What lies further up may be closed to us, or no zarr at all.
            continue


def _with_held(
    change: Callable[[dict[str, Any], str, int], bool],
    below: str,
    zarr_format: int,
    document: dict[str, Any] | None,
) -> dict[str, Any] | None:
    """Change what one document holds; None where that is nothing."""
    held: Any = document
    if zarr_format == 3:
        held = (document or {}).get("consolidated_metadata")
    metadata = held.get("metadata") if isinstance(held, dict) else None
    if not isinstance(metadata, dict) or not change(metadata, below, zarr_format):
        return None
    return document


# How layers look now, in the metadata of the image that they came from.


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
