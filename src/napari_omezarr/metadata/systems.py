"""Named coordinate systems and the transforms between them (0.6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_omezarr.errors import MetadataError

from .axes import parse_axes
from .path import relative_path
from .transforms import Ends, parse_transform

if TYPE_CHECKING:
    from .affine import Affine
    from .model import Axis
    from .node import Node


@dataclass(frozen=True, slots=True)
class Reference:
    """A coordinate system by name; ``path`` is that of another group, or empty."""

    name: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.name}" if self.path else self.name


@dataclass(frozen=True, slots=True)
class Edge:
    """A transform from one system to another."""

    source: Reference
    target: Reference
    affine: Affine


def parse_systems(node: Node) -> dict[str, tuple[Axis, ...]]:
    """Return the axes of each coordinate system, by name, in document order."""
    systems: dict[str, tuple[Axis, ...]] = {}
    for index, element in enumerate(node.elements()):
        name = element.child("name").text()
        if not name:
            element.note(f"has no name; called system_{index}")
            name = f"system_{index}"
        if name in systems:
            element.note(f"names a coordinate system {name} again; it is ignored")
            continue
        systems[name] = parse_axes(element.child("axes"))
    return systems


def parse_reference(node: Node) -> Reference | None:
    """Return the system that an ``input`` or ``output`` names.

    Parameters
    ----------
    node : Node
        An object with ``name`` and ``path``; up to 0.6.dev3 a string.

    Returns
    -------
    Reference or None
        None where there is no name, or (with a note) its path is refused.
    """
    if isinstance(node.value, str):
        return Reference(node.value) if node.value else None
    if not isinstance(node.value, Mapping):
        return None
    name, path = node.child("name").text(), node.child("path")
    if not name:
        return None
    if path.value in (None, "", ".", "/"):
        return Reference(name)
    try:
        inside = relative_path(path)
    except MetadataError as error:
        path.note(error.problem)
        return None
    return None if inside is None else Reference(name, inside)


def parse_edge(
    node: Node, axes: Mapping[Reference, tuple[Axis, ...]], ends: Ends
) -> Edge | None:
    """Return the edge that a transform with ``input`` and ``output`` makes.

    Parameters
    ----------
    node : Node
        The transform.
    axes : Mapping
        The axes of the systems that are known, by reference.
    ends : Ends
        What is known of every transform: the arrays of stored parameters.

    Returns
    -------
    Edge or None
        None where an end is not named or the transform has no matrix.
    """
    source = parse_reference(node.child("input"))
    target = parse_reference(node.child("output"))
    if source is None or target is None:
        node.note("names no input or no output; it is ignored")
        return None
    inputs, outputs = axes.get(source, ()), axes.get(target, ())
    known = replace(
        ends,
        ndim=len(inputs) or None,
        inputs=tuple(axis.name for axis in inputs),
        outputs=tuple(axis.name for axis in outputs),
    )
    affine = parse_transform(node, known)
    if affine is None:
        return None
    if outputs and affine.ndim_out != len(outputs):
        node.note(f"does not lead to the {len(outputs)} axes of {target}; left out")
        return None
    return Edge(source, target, affine)


def backwards(edges: Iterable[Edge]) -> tuple[Edge, ...]:
    """Return the edges that can be walked from their target to their source."""
    return tuple(
        Edge(edge.target, edge.source, edge.affine.inverse())
        for edge in edges
        if edge.affine.is_invertible
    )


def reachable(start: Reference, edges: Iterable[Edge]) -> dict[Reference, Affine]:
    """Return the maps from ``start`` to all systems that edges lead to.

    Along the fewest edges; of equal ways, the first in document order. ``start``
    itself is not among them.
    """
    leaving: dict[Reference, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge.source, []).append(edge)
    found: dict[Reference, Affine] = {}
    wave: list[Edge] = leaving.get(start, [])
    while wave:
        following: list[Edge] = []
        for edge in wave:
            if edge.target == start or edge.target in found:
                continue
            found[edge.target] = edge.affine
            following.extend(_extended(edge, leaving.get(edge.target, ())))
        wave = following
    return found


def _extended(edge: Edge, onward: Iterable[Edge]) -> list[Edge]:
    return [
        replace(next_, source=edge.source, affine=next_.affine @ edge.affine)
        for next_ in onward
        if next_.affine.ndim_in == edge.affine.ndim_out
    ]
