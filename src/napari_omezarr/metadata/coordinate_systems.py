"""The coordinate systems of an image, and the affine map to the one it is shown in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_omezarr.errors import MetadataError, OptionError

from .affine import Affine
from .axes import parse_axes
from .node import relative_path
from .transforms import TransformContext, in_order, parse_chain, parse_transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .model import Axis
    from .node import JsonNode

# Named coordinate systems and the transforms between them (0.6).


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


def parse_systems(node: JsonNode) -> dict[str, tuple[Axis, ...]]:
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


def parse_reference(node: JsonNode) -> Reference | None:
    """Return the system that an ``input`` or ``output`` names, if it names one.

    It is an object with ``name`` and ``path``; up to 0.6.dev3 a string.
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
    node: JsonNode,
    axes: Mapping[Reference, tuple[Axis, ...]],
    context: TransformContext,
) -> Edge | None:
    """Return the edge that a transform with ``input`` and ``output`` makes.

    None where an end is not named or the transform has no matrix. ``axes`` are those
    of the systems that are known.
    """
    source = parse_reference(node.child("input"))
    target = parse_reference(node.child("output"))
    if source is None or target is None:
        node.note("names no input or no output; it is ignored")
        return None
    inputs, outputs = axes.get(source, ()), axes.get(target, ())
    known = replace(
        context,
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
    frontier: list[Edge] = leaving.get(start, [])
    while frontier:
        following: list[Edge] = []
        for edge in frontier:
            if edge.target == start or edge.target in found:
                continue
            found[edge.target] = edge.affine
            following.extend(_edges_beyond(edge, leaving.get(edge.target, ())))
        frontier = following
    return found


def _edges_beyond(edge: Edge, onward: Iterable[Edge]) -> list[Edge]:
    return [
        replace(next_, source=edge.source, affine=next_.affine @ edge.affine)
        for next_ in onward
        if next_.affine.ndim_in == edge.affine.ndim_out
    ]


# The resolution levels of a multiscale: their paths and their own transforms.

_USUAL = (["scale"], ["scale", "translation"])

MOST_LEVELS = 64
"""No image can be halved more often."""

MOST_TRANSFORMS = 1000


def parse_levels(node: JsonNode) -> list[tuple[str, JsonNode]]:
    """Return path and object of each dataset that can be read, finest first."""
    levels: dict[str, JsonNode] = {}
    for element in node.elements(MOST_LEVELS):
        # ome-zarr 0.0.x wrote bare paths.
        source = element if isinstance(element.value, str) else element.child("path")
        path = relative_path(source)
        if path is None:
            element.note("has no path; the level is left out")
        elif path in levels:
            element.note("repeats a path; the level is left out")
        else:
            levels[path] = element
    if not levels:
        raise node.error("The image lists no resolution level")
    return list(levels.items())


def transforms_of(node: JsonNode) -> tuple[JsonNode, ...]:
    """Return the ``coordinateTransformations`` of a dataset or a multiscale."""
    return node.child("coordinateTransformations").elements(MOST_TRANSFORMS)


def stated_ndim(levels: Sequence[tuple[str, JsonNode]]) -> int | None:
    """Return how many axes the first scale of a level has, or None."""
    for _, level in levels:
        for transform in transforms_of(level):
            factors = transform.child("scale").value
            if isinstance(factors, list) and factors:
                return len(factors)
    return None


def level_affine(
    node: JsonNode, context: TransformContext, system: str | None
) -> Affine:
    """Return the map from an index of a level's array to the multiscale's system.

    It is square and invertible: the identity, with a note, where the document gives
    no such map. ``system`` is the intrinsic one, where transforms name their output
    (0.6).
    """
    transforms = transforms_of(node)
    named = [each for each in transforms if target_of(each) is not None]
    if named:
        chosen = next((each for each in named if target_of(each) == system), named[0])
        affine = parse_transform(chosen, context)
    else:
        kinds = [each.child("type").value for each in transforms]
        if kinds and kinds not in _USUAL:
            node.note("its transforms are not a scale and at most one translation")
        affine = parse_chain(transforms, context)
    ndim = context.ndim or 1
    if affine is not None and affine.ndim_out == ndim and affine.is_invertible:
        return affine
    if transforms:
        node.note("its transforms give no scale; a pixel counts as 1")
    return Affine.identity(ndim)


def intrinsic_system(
    levels: Sequence[tuple[str, JsonNode]],
    systems: Mapping[str, object],
    node: JsonNode,
) -> str:
    """Return the system that the levels lead to (0.6); there is at least one system."""
    targets = [target_of(each) for _, level in levels for each in transforms_of(level)]
    counts = {name: targets.count(name) for name in targets if name and name in systems}
    if not counts:
        first = next(iter(systems))
        if len(systems) > 1 or any(targets):
            node.note(f"its levels lead to no known coordinate system; read as {first}")
        return first
    if len(counts) > 1:
        node.note("its levels lead to different coordinate systems")
    return max(counts, key=lambda name: counts[name])


def target_of(node: JsonNode) -> str | None:
    """Return the system of this group that a transform leads to, or None."""
    reference = parse_reference(node.child("output"))
    return None if reference is None or reference.path else reference.name


# Which coordinate system an image is shown in, and the way to it.


@dataclass(frozen=True, slots=True)
class World:
    """The system that an image is shown in.

    ``affine`` leads to it from what the levels' own transforms lead to; it is
    square and invertible. ``names`` are the systems that can be chosen.
    """

    affine: Affine
    axes: tuple[Axis, ...]
    name: str | None = None
    names: tuple[str, ...] = ()


def listed_world(
    node: JsonNode,
    axes: tuple[Axis, ...],
    context: TransformContext,
    wanted: str | None,
) -> World:
    """Return the world of a multiscale without named systems (0.1 to 0.5)."""
    # 0.4: a multiscale's transforms apply after those of its levels. Only SpatialData's
    # variant names systems: each transform leads to another, the first is the world.
    transforms = transforms_of(node)
    by_target: dict[str, JsonNode] = {}
    for transform in transforms:
        by_target.setdefault(target_of(transform) or "", transform)
    names = tuple(name for name in by_target if name)
    if wanted is not None and wanted not in names:
        raise _unknown(wanted, names, node)
    if names:
        name = wanted or names[0]
        affine = parse_transform(by_target[name], context)
    else:
        name = None
        affine = parse_chain(transforms, context)
    if affine is None or affine.ndim_out != len(axes) or not affine.is_invertible:
        if transforms:
            node.note("its transforms cannot be applied; only those of its levels are")
        affine = Affine.identity(len(axes))
    return World(affine, axes, name, names)


def graph_world(
    node: JsonNode,
    start: str,
    systems: Mapping[str, tuple[Axis, ...]],
    context: TransformContext,
    wanted: str | None,
) -> World:
    """Return the world of a multiscale with named systems (0.6).

    It is the system asked for, else the intrinsic one (``start``), which "should be
    used for viewing and processing unless a use case dictates otherwise" (0.6).
    """
    names = tuple(systems)
    if wanted is not None and wanted not in names:
        raise _unknown(wanted, names, node)
    edges = _local_edges(node, systems, context)
    edges = (*edges, *backwards(edges))
    affines = {
        reference.name: affine
        for reference, affine in reachable(Reference(start), edges).items()
        if not reference.path
    }
    affines[start] = Affine.identity(len(systems[start]))
    usable = [name for name in names if name in affines and affines[name].is_invertible]
    for name in [name for name in names if name in affines and name not in usable]:
        node.note(f"coordinate system {name} cannot be shown: its axes are not these")
    if wanted is not None and wanted not in usable:
        raise OptionError(
            f"No matrix leads from this image to its coordinate system {wanted}.",
            url=node.notes.url,
        )
    chosen = wanted or start
    # A way that can be shown has as many coordinates there as here; a system that
    # names none of them has these. Viewers know axes by their place alone, so those
    # of the same names come in the order of the image.
    axes = systems[chosen] or systems[start]
    here, there = [[axis.name for axis in side] for side in (systems[start], axes)]
    affine = in_order(affines[chosen], there, here)
    if affine is not affines[chosen]:
        axes = tuple(axes[there.index(name)] for name in here)
    return World(affine, axes, chosen, tuple(usable))


def _local_edges(
    node: JsonNode, systems: Mapping[str, tuple[Axis, ...]], context: TransformContext
) -> tuple[Edge, ...]:
    """Return the edges between systems of this group, not those to its labels."""
    axes = {Reference(name): axes for name, axes in systems.items()}
    edges = []
    for transform in transforms_of(node):
        sides = [parse_reference(transform.child(side)) for side in ("input", "output")]
        if not any(side is not None and side.path for side in sides):
            edges.append(parse_edge(transform, axes, context))
    return tuple(edge for edge in edges if edge is not None)


def _unknown(wanted: str, names: tuple[str, ...], node: JsonNode) -> OptionError:
    known = f"It has {', '.join(names)}." if names else "It has none with a name."
    return OptionError(
        f"This image has no coordinate system {wanted}.",
        action=known,
        url=node.notes.url,
    )
