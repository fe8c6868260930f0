"""The ``omero`` block: how channels are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .model import Channel, Rendering, Window
from .node import shown

if TYPE_CHECKING:
    from .node import Node

_HEX = re.compile(r"(?:#|0x)?([0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")


def parse_rendering(node: Node) -> Rendering | None:
    """Parse the ``omero`` block; None where there is none.

    Nothing in it makes an image unreadable: what cannot be understood is absent
    in the result, and noted.
    """
    if not node.exists:
        return None
    if not isinstance(node.value, Mapping):
        node.note("is no object; it is ignored")
        return None
    if not node.child("channels").exists:
        node.note("lists no channels")
    rdefs = node.child("rdefs")
    return Rendering(
        channels=tuple(map(_parse_channel, node.child("channels").elements())),
        model=_parse_model(rdefs.child("model")),
        default_t=_parse_index(rdefs.child("defaultT")),
        default_z=_parse_index(rdefs.child("defaultZ")),
    )


def parse_color(node: Node) -> str | None:
    """Return six upper-case hex digits, or None where there is no such colour.

    Notes
    -----
    The specification asks for six hex digits. A leading ``#`` or ``0x``, and the
    alpha of RGBA, are dropped; three digits are doubled, as on the web.
    """
    if not node.exists:
        return None
    text = node.value.strip() if isinstance(node.value, str) else ""
    match = _HEX.fullmatch(text)
    if match is None:
        node.note(f"{shown(node.value)} is no colour of six hex digits; it is ignored")
        return None
    digits = match[1].upper()
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    if digits[:6] != text.upper():
        node.note(f"{shown(text)} is no colour of six hex digits; read as {digits[:6]}")
    return digits[:6]


def _parse_channel(node: Node) -> Channel:
    if node.exists and not isinstance(node.value, Mapping):
        node.note("is no object; the channel is shown with defaults")
    return Channel(
        label=node.child("label").text(),
        color=parse_color(node.child("color")),
        window=_parse_window(node.child("window")),
        active=node.child("active").flag(default=True),
        inverted=node.child("inverted").flag(default=False),
    )


def _parse_window(node: Node) -> Window | None:
    if not node.exists:
        return None
    start, end, lowest, highest = (
        node.child(key).number() for key in ("start", "end", "min", "max")
    )
    if all(value is None for value in (start, end, lowest, highest)):
        node.note("gives no numbers; it is ignored")
        return None
    return Window(start=start, end=end, min=lowest, max=highest)


def _parse_model(node: Node) -> str:
    model = (node.text() or "color").strip().lower()
    if model in ("greyscale", "grayscale"):
        return "greyscale"
    if model != "color":
        node.note(f"{shown(model)} is neither color nor greyscale; read as color")
    return "color"


def _parse_index(node: Node) -> int | None:
    index = node.integer()
    if index is not None and index < 0:
        node.note(f"{shown(index)} is no index; it is ignored")
        return None
    return index
