"""Which version of OME-Zarr a document is written in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .node import shown

if TYPE_CHECKING:
    from .node import Node

KNOWN_VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.9.dev1")

_PATTERN = re.compile(r"\s*v?(\d{1,4})\.(\d{1,4})(.{0,20})", re.DOTALL)


def read_version(root: Node, *, namespaced: bool) -> str | None:
    """Return the version that a group's document is to be read as.

    Parameters
    ----------
    root : Node
        The group's metadata; from 0.5 on, what is below ``ome``.
    namespaced : bool
        Whether it was found below ``ome``.

    Returns
    -------
    str or None
        Major and minor (``0.4`` for ``0.4.1``, ``0.6`` for ``0.6rc0``), or the
        document's own text where it is newer than all that are known. Inferred
        from the structure where it is absent, except for groups that have no place
        for a version (None).
    """
    for place in _places(root):
        if place.exists:
            version = _understood(place)
            if version is not None:
                return version
    return _inferred(root, namespaced=namespaced)


def _places(root: Node) -> tuple[Node, ...]:
    """Return where a version may be, the most authoritative first."""
    blocks = (
        root,
        _first_multiscale(root),
        *map(root.child, ("plate", "well", "image-label")),
    )
    return tuple(block.child("version") for block in blocks)


def _understood(node: Node) -> str | None:
    text = node.text()
    match = _PATTERN.fullmatch(text or "")
    if match is None:
        node.note(f"is {shown(node.value)} and no version; it is inferred")
        return None
    major, minor, rest = int(match[1]), int(match[2]), match[3].strip()
    version = f"{major}.{minor}"
    if f"{version}{rest}" in KNOWN_VERSIONS:
        return f"{version}{rest}"
    if version in KNOWN_VERSIONS:
        return version
    node.note(f"{shown(text)} is not known here; read as well as can be")
    return f"{version}{rest}"


def _inferred(root: Node, *, namespaced: bool) -> str | None:
    """Infer a version, as the versions differ in structure (see Notes).

    Notes
    -----
    ``coordinateSystems`` came with 0.6, the ``ome`` namespace with 0.5, axes as
    objects with 0.4 and axes at all with 0.3. Up to 0.4 a version is only a SHOULD,
    and labels groups and bioformats2raw roots have none.
    """
    image = _first_multiscale(root)
    if image.child("coordinateSystems").exists or root.child("scene").exists:
        version = "0.6"
    elif namespaced:
        version = "0.5"
    elif image.exists:
        version = _by_axes(image.child("axes").value)
    elif root.child("plate").exists or root.child("well").exists:
        version = "0.4"
    else:
        return None
    root.note(f"There is no version; read as {version}.")
    return version


def _first_multiscale(root: Node) -> Node:
    multiscales = root.child("multiscales")
    if isinstance(multiscales.value, list | tuple) and multiscales.value:
        return multiscales.elements()[0]
    return multiscales


def _by_axes(axes: object) -> str:
    if not isinstance(axes, list) or not axes:
        return "0.1"
    return "0.3" if isinstance(axes[0], str) else "0.4"
