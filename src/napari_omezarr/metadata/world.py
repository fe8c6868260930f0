"""Which coordinate system an image is shown in, and the way to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_omezarr.errors import OptionError

from .affine import Affine
from .levels import target_of, transforms_of
from .systems import Edge, Reference, backwards, parse_edge, parse_reference, reachable
from .transforms import parse_chain, parse_transform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .model import Axis
    from .node import Node
    from .transforms import Ends


@dataclass(frozen=True, slots=True)
class World:
    """The system that an image is shown in.

    ``affine`` leads to it from what the levels' own transforms lead to; it is
    square and invertible. ``names`` are all systems of the document.
    """

    affine: Affine
    axes: tuple[Axis, ...]
    name: str | None = None
    names: tuple[str, ...] = ()


def listed_world(
    node: Node, axes: tuple[Axis, ...], ends: Ends, wanted: str | None
) -> World:
    """Return the world of a multiscale without named systems (0.1 to 0.5).

    Parameters
    ----------
    node : Node
        The multiscale. Its transforms apply after those of its levels (0.4).
    axes : tuple of Axis
        The axes of the arrays.
    ends : Ends
        With the number of axes.
    wanted : str or None
        A system by name. Only SpatialData's variant has some: there each transform
        leads to another system, and the first is the world.

    Raises
    ------
    OptionError
        When ``wanted`` is no system of this multiscale.
    """
    transforms = transforms_of(node)
    by_target: dict[str, Node] = {}
    for transform in transforms:
        by_target.setdefault(target_of(transform) or "", transform)
    names = tuple(name for name in by_target if name)
    if wanted is not None and wanted not in names:
        raise _unknown(wanted, names, node)
    if names:
        name = wanted or names[0]
        _note_choice(node, name, [name, *names], wanted)
        affine = parse_transform(by_target[name], ends)
    else:
        name = None
        affine = parse_chain(transforms, ends)
    if affine is None or affine.ndim_out != len(axes) or not affine.is_invertible:
        if transforms:
            node.note("its transforms cannot be applied; only those of its levels are")
        affine = Affine.identity(len(axes))
    return World(affine, axes, name, names)


def graph_world(
    node: Node,
    start: str,
    systems: Mapping[str, tuple[Axis, ...]],
    ends: Ends,
    wanted: str | None,
) -> World:
    """Return the world of a multiscale with named systems (0.6).

    Parameters
    ----------
    node : Node
        The multiscale.
    start : str
        The intrinsic system.
    systems : Mapping
        The axes of all systems, in document order.
    ends : Ends
        With the arrays of stored parameters.
    wanted : str or None
        A system by name. None: the system that transforms lead to from the
        intrinsic one; of several the first in document order; of none the
        intrinsic one, which 0.6 says "should be used for viewing".

    Raises
    ------
    OptionError
        When ``wanted`` is no system of this multiscale, or no matrix leads there.
    """
    names = tuple(systems)
    if wanted is not None and wanted not in names:
        raise _unknown(wanted, names, node)
    edges = _local_edges(node, systems, ends)
    if wanted is not None:
        edges = (*edges, *backwards(edges))
    ways = {
        reference.name: affine
        for reference, affine in reachable(Reference(start), edges).items()
        if not reference.path
    }
    ways[start] = Affine.identity(len(systems[start]))
    usable = [name for name in names if name in ways and ways[name].is_invertible]
    for name in [name for name in names if name in ways and name not in usable]:
        node.note(f"coordinate system {name} cannot be shown: its axes are not these")
    if wanted is not None and wanted not in usable:
        raise OptionError(
            f"No matrix leads from this image to its coordinate system {wanted}.",
            url=node.notes.url,
        )
    others = [name for name in usable if name != start]
    chosen = wanted or next(iter(others), start)
    _note_choice(node, chosen, others, wanted)
    # A way that can be shown has as many coordinates there as here; a system that
    # names none of them has these.
    return World(ways[chosen], systems[chosen] or systems[start], chosen, names)


def _local_edges(
    node: Node, systems: Mapping[str, tuple[Axis, ...]], ends: Ends
) -> tuple[Edge, ...]:
    """Return the edges between systems of this group, not those to its labels."""
    axes = {Reference(name): axes for name, axes in systems.items()}
    edges = []
    for transform in transforms_of(node):
        sides = [parse_reference(transform.child(side)) for side in ("input", "output")]
        if not any(side is not None and side.path for side in sides):
            edges.append(parse_edge(transform, axes, ends))
    return tuple(edge for edge in edges if edge is not None)


def _note_choice(node: Node, chosen: str, names: list[str], wanted: str | None) -> None:
    others = [name for name in dict.fromkeys(names) if name != chosen]
    if others and wanted is None:
        node.note(
            f"shown in coordinate system {chosen}; there are also {', '.join(others)}"
        )


def _unknown(wanted: str, names: tuple[str, ...], node: Node) -> OptionError:
    known = f"It has {', '.join(names)}." if names else "It has none with a name."
    return OptionError(
        f"This image has no coordinate system {wanted}.",
        action=known,
        url=node.notes.url,
    )
