"""The ``omero`` and ``image-label`` blocks, and our ``napari`` key beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .options import Version
    from .picture import LabelLook, Look, Picture

NAPARI = "napari"
"""Our key among a group's attributes, for what OME-Zarr has no word for."""

_SAFE_NAME = re.compile(r"[^\w.\- ]+")


def omero_document(
    looks: Sequence[Look], previous: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Describe the channels; None where contrast is not known of all of them.

    The block is optional, and if it is there each channel must have a colour and
    a whole window (0.5, "omero").

    Parameters
    ----------
    looks : sequence of Look
        In the order of the channels.
    previous : Mapping or None, optional
        The block that is there: what it says beyond us is kept.
    """
    if not looks or any(look.limits is None for look in looks):
        return None
    old = previous if isinstance(previous, Mapping) else {}
    rdefs = old.get("rdefs")
    kept = dict(rdefs) if isinstance(rdefs, Mapping) else {}
    return {
        **old,
        "channels": [{**look.original, **channel_document(look)} for look in looks],
        "rdefs": {**kept, "model": "color"},
    }


def channel_document(look: Look) -> dict[str, Any]:
    """Describe one channel whose contrast is known."""
    start, end = look.limits or (0.0, 1.0)
    low, high = look.span or (start, end)
    window = {"start": start, "end": end, "min": low, "max": high}
    return {
        "label": look.name,
        "color": look.color,
        "active": look.visible,
        "inverted": look.inverted,
        "coefficient": 1,
        "family": "linear",
        "window": {key: _number(value) for key, value in window.items()},
    }


def image_label_document(
    look: LabelLook,
    version: Version,
    previous: Mapping[str, Any] | None = None,
    *,
    of_image: bool = True,
) -> dict[str, Any]:
    """Describe label values: a colour and properties for those that have some.

    Parameters
    ----------
    look : LabelLook
        Colours and properties.
    version : {"0.4", "0.5", "0.6"}
        0.4 says the version in the block itself.
    previous : Mapping or None, optional
        The block that is there: what it says beyond us is kept.
    of_image : bool, optional
        The labels lie in the ``labels`` group of their image.
    """
    block: dict[str, Any] = dict(previous or {})
    for key in ("colors", "properties"):
        block.pop(key, None)
    if version == "0.4":
        block["version"] = version
    if look.colors:
        block["colors"] = [
            {"label-value": value, "rgba": list(rgba)}
            for value, rgba in look.colors.items()
        ]
    if look.properties:
        block["properties"] = [
            {**known, "label-value": value} for value, known in look.properties.items()
        ]
    if of_image:
        block.setdefault("source", {"image": "../../"})
    return block


def napari_document(
    picture: Picture, path: str = "", *, named: bool = False
) -> dict[str, Any]:
    """Describe what only napari knows; empty where that is nothing.

    Parameters
    ----------
    picture : Picture
        An image or labels.
    path : str, optional
        The group; its last part is what a label image is called elsewhere.
    named : bool, optional
        The names of channels are those of layers, not to be put behind another.

    Notes
    -----
    Each channel's entry repeats label and colour: a reader takes it only where
    they still hold, so that a change by another program is not undone.
    """
    if picture.label is not None:
        state = dict(picture.label.state)
        if not picture.label.visible:
            state["visible"] = False
        if picture.name != path.rpartition("/")[2]:
            state["name"] = picture.name
        return {"labels": state} if state else {}
    if not named and not any(look.state for look in picture.looks):
        return {}
    return {
        "channels": [
            {"label": look.name, "color": look.color, **look.state}
            for look in picture.looks
        ]
    }


def folder_name(name: str, taken: Sequence[str]) -> str:
    """Make a name that every store and file system takes, and that is free."""
    safe = _SAFE_NAME.sub("_", name).strip(" .") or "labels"
    if safe.startswith("__"):  # Zarr v3 reserves such names
        safe = safe.lstrip("_") or "labels"
    free = safe
    number = 2
    while free.lower() in [other.lower() for other in taken]:
        free, number = f"{safe}-{number}", number + 1
    return free


def _number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else float(value)
