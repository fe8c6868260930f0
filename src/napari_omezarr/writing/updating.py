"""Write how layers look now into the metadata of the image that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import ConflictError, NodeNotFoundError, OptionError

from .arrays import Document
from .consolidation import refresh
from .existing import GroupDocument, document_of, read_group
from .rendering import (
    NAPARI,
    channel_document,
    image_label_document,
    napari_document,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .options import Version
    from .picture import Look, Picture
    from .target import Hierarchy


def update_image(
    pictures: Sequence[Picture],
    hierarchy: Hierarchy,
    above: Iterable[tuple[Hierarchy, str]] = (),
) -> tuple[str, ...]:
    """Write names, colours, contrast and visibility; no pixel is touched.

    Parameters
    ----------
    pictures : sequence of Picture
        Channels of one image (each knows which), or one label image.
    hierarchy : Hierarchy
        The group of that image.
    above : iterable of (Hierarchy, str), optional
        Groups above it that may hold consolidated metadata.

    Returns
    -------
    tuple of str
        What was changed, a few words each; empty where nothing differed.

    Raises
    ------
    NodeNotFoundError
        There is no image any more.
    OptionError
        A layer does not know which channel it is, or has no contrast.
    ConflictError
        The document was changed while this was done.
    """
    group = read_group(hierarchy, "")
    if group is None or "multiscales" not in group.block:
        raise NodeNotFoundError(
            f"There is no OME-Zarr image at {hierarchy.address} any more.",
            url=hierarchy.address,
        )
    before = document_of(group.stored, group.key)
    names: list[str] = []
    for picture in pictures:
        if picture.label is not None:
            _update_labels(group, picture, hierarchy.address)
        else:
            _update_channel(group, picture)
        names.append(picture.name)
    if group.content == before:
        return ()
    hierarchy.replace(group.key, group.body, group.stored)
    refresh([(hierarchy, ""), *above], [Document(group.key, group.content)])
    return tuple(names)


def _update_channel(group: GroupDocument, picture: Picture) -> None:
    look, index = picture.looks[0], picture.origin.channel if picture.origin else None
    if picture.rgb:
        return
    if index is None:
        raise OptionError(
            f"{picture.name} does not say which channel it is.",
            action="Open the image again, or save the layer anew.",
        )
    if look.limits is None:
        raise OptionError(f"{picture.name} has no contrast limits.")
    omero = group.block.setdefault("omero", {})
    channels = omero.setdefault("channels", [])
    while len(channels) <= index:
        channels.append({})
    before = channels[index] if isinstance(channels[index], Mapping) else {}
    channels[index] = {**before, **channel_document(look)}
    if any("window" not in channel for channel in channels):
        raise OptionError(
            "The image says nothing of its other channels, and all are needed.",
            action="Update all channels together.",
        )
    omero["rdefs"] = {**(omero.get("rdefs") or {}), "model": "color"}
    _update_state(group, look, index, len(channels))


def _update_state(group: GroupDocument, look: Look, index: int, count: int) -> None:
    """Write what only napari knows of a channel; entries go by their position."""
    state = group.attributes.get(NAPARI)
    held = state.get("channels") if isinstance(state, Mapping) else None
    entries = list(held) if isinstance(held, list) and len(held) == count else []
    if not entries and not look.state:
        return
    while len(entries) < count:
        entries.append({})
    entries[index] = {"label": look.name, "color": look.color, **look.state}
    group.attributes[NAPARI] = {"channels": entries}


def _update_labels(group: GroupDocument, picture: Picture, address: str) -> None:
    if picture.label is None:  # the caller asked; for the type checker
        raise ConflictError("These are no labels.")
    version: Version = "0.4" if group.zarr_format == 2 else "0.5"
    old = group.block.get("image-label")
    previous = old if isinstance(old, Mapping) else {}
    inside = "/labels/" in address
    block = image_label_document(picture.label, version, previous, of_image=inside)
    group.block["image-label"] = block
    state: dict[str, Any] = napari_document(picture, address)
    if state:
        group.attributes[NAPARI] = state
    else:
        group.attributes.pop(NAPARI, None)
