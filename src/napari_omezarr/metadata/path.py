"""Paths inside a store as documents give them; nothing may lead out of the group."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .node import Node

_DRIVE = re.compile(r"[A-Za-z]:([/\\]|$)")


def escapes(path: str) -> bool:
    """Whether ``path`` leaves the group that it is relative to.

    Parameters
    ----------
    path : str
        As the document gives it. A leading slash is harmless: it is read as the
        group itself, never as the root of a file system.
    """
    parts = re.split(r"[/\\]", path)
    return ".." in parts or _DRIVE.match(path.lstrip("/\\")) is not None


def relative_path(node: Node) -> str | None:
    """Return the path that ``node`` gives, without slashes at its ends.

    Returns
    -------
    str or None
        Names joined by ``/``; None, with a note, where there is no usable path:
        absent, empty, the group itself, or text that no store can hold.

    Raises
    ------
    MetadataError
        When the path leads out of the group (``..``, a drive letter).
    """
    text = node.text()
    if text is None:
        return None
    if escapes(text):
        raise node.error("This path leads out of its group and is refused")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or not _is_storable(text):
        node.note("is no usable path")
        return None
    path = "/".join(parts)
    if path != text.rstrip("/"):
        node.note(f"is not a plain relative path; read as {path}")
    return path


def _is_storable(text: str) -> bool:
    """Whether a key of a store can be made of ``text``."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, legal in JSON
        return False
    return all(character >= " " for character in text)
