"""The resolution levels of a multiscale: their paths and their own transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .affine import Affine
from .path import relative_path
from .systems import parse_reference
from .transforms import parse_chain, parse_transform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .node import Node
    from .transforms import Ends

_USUAL = (["scale"], ["scale", "translation"])


def parse_levels(node: Node) -> list[tuple[str, Node]]:
    """Return path and object of each dataset that can be read, finest first.

    Parameters
    ----------
    node : Node
        The list ``datasets``. Entries without path are dropped with a note, as are
        those whose path was there before.

    Raises
    ------
    MetadataError
        When nothing is left, or a path leads out of the group.
    """
    levels: dict[str, Node] = {}
    for element in node.elements():
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


def transforms_of(node: Node) -> tuple[Node, ...]:
    """Return the ``coordinateTransformations`` of a dataset or a multiscale."""
    return node.child("coordinateTransformations").elements()


def stated_ndim(levels: Sequence[tuple[str, Node]]) -> int | None:
    """Return how many axes the first scale of a level has, or None."""
    for _, level in levels:
        for transform in transforms_of(level):
            factors = transform.child("scale").value
            if isinstance(factors, list) and factors:
                return len(factors)
    return None


def level_affine(node: Node, ends: Ends, system: str | None) -> Affine:
    """Return the map from an index of a level's array to the multiscale's system.

    Parameters
    ----------
    node : Node
        The dataset's object.
    ends : Ends
        With the number of axes.
    system : str or None
        The intrinsic system, where transforms name their output (0.6).

    Returns
    -------
    Affine
        Square and invertible: the identity, with a note, where the document gives
        no such map.
    """
    transforms = transforms_of(node)
    named = [each for each in transforms if target_of(each) is not None]
    if named:
        chosen = next((each for each in named if target_of(each) == system), named[0])
        affine = parse_transform(chosen, ends)
    else:
        kinds = [each.child("type").value for each in transforms]
        if kinds and kinds not in _USUAL:
            node.note("its transforms are not a scale and at most one translation")
        affine = parse_chain(transforms, ends)
    ndim = ends.ndim or 1
    if affine is not None and affine.ndim_out == ndim and affine.is_invertible:
        return affine
    if transforms:
        node.note("its transforms give no scale; a pixel counts as 1")
    return Affine.identity(ndim)


def intrinsic_system(
    levels: Sequence[tuple[str, Node]], systems: Mapping[str, object], node: Node
) -> str:
    """Return the system that the levels lead to, the one for viewing (0.6).

    Parameters
    ----------
    levels : sequence of (str, Node)
        The levels, as from `parse_levels`.
    systems : Mapping
        All systems by name, in document order; at least one.
    node : Node
        The multiscale, for notes.
    """
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


def target_of(node: Node) -> str | None:
    """Return the system of this group that a transform leads to, or None."""
    reference = parse_reference(node.child("output"))
    return None if reference is None or reference.path else reference.name
