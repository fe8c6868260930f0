"""Scenes: several images in one world (0.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_omezarr.errors import OptionError

from .affine import Affine
from .model import Scene, SceneImage
from .systems import (
    Edge,
    Reference,
    backwards,
    parse_edge,
    parse_reference,
    parse_systems,
    reachable,
)
from .transforms import Ends

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .model import Axis
    from .multiscale import Request
    from .node import Node


def parse_scene(node: Node, request: Request) -> Scene:
    """Parse the ``scene`` block.

    Parameters
    ----------
    node : Node
        The block.
    request : Request
        Its ``coordinate_system`` names the world; else that is the scene's first
        system, and where it defines none, what the first transform leads to.

    Returns
    -------
    Scene
        Every image that a transform names, in document order. Edges are followed
        against their direction where they have an inverse.

    Raises
    ------
    MetadataError
        When no transform names an image.
    OptionError
        When the scene has not the coordinate system asked for.
    """
    systems = parse_systems(node.child("coordinateSystems"))
    transforms = node.child("coordinateTransformations").elements()
    pairs = [pair for pair in map(_ends, transforms) if pair is not None]
    images = _images(pairs)
    if not images:
        raise node.error("The scene names no image")
    world = _world(node, tuple(systems), pairs, request.coordinate_system)
    axes = {Reference(name): axes for name, axes in systems.items()}
    for (path, name), known in request.image_axes.items():
        axes[Reference(name, path)] = known
    ends = Ends(arrays=request.arrays)
    edges = [parse_edge(transform, axes, ends) for transform in transforms]
    ways = _ways(world, [edge for edge in edges if edge is not None])
    ndim = _ndim(systems.get(world.name, ()), ways)
    return Scene(
        images=tuple(_placed(node, image, world, ways, ndim) for image in images),
        axes=systems.get(world.name, ()) if not world.path else (),
        world=world.name,
        world_path=world.path,
        coordinate_systems=tuple(systems),
    )


def _ends(node: Node) -> tuple[Reference, Reference] | None:
    source = parse_reference(node.child("input"))
    target = parse_reference(node.child("output"))
    return None if source is None or target is None else (source, target)


def _images(pairs: Iterable[tuple[Reference, Reference]]) -> tuple[Reference, ...]:
    """Return the first system of each image that transforms name."""
    images: dict[str, Reference] = {}
    for pair in pairs:
        for reference in pair:
            if reference.path:
                images.setdefault(reference.path, reference)
    return tuple(images.values())


def _world(
    node: Node,
    systems: Sequence[str],
    pairs: Sequence[tuple[Reference, Reference]],
    wanted: str | None,
) -> Reference:
    if wanted is not None:
        if wanted not in systems:
            known = f"It has {', '.join(systems)}." if systems else ""
            raise OptionError(
                f"This scene has no coordinate system {wanted}.",
                action=known,
                url=node.notes.url,
            )
        return Reference(wanted)
    if not systems:
        return pairs[0][1]
    if len(systems) > 1:
        others = ", ".join(systems[1:])
        node.note(f"shown in coordinate system {systems[0]}; there are also {others}")
    return Reference(systems[0])


def _ways(world: Reference, edges: Sequence[Edge]) -> dict[Reference, Affine]:
    """Return the maps to ``world`` from every system that has one."""
    # From the world along turned edges: each way is then the inverse of one needed.
    turned = (*backwards(edges), *edges)
    from_world = reachable(world, turned)
    ways = {
        reference: affine.inverse()
        for reference, affine in from_world.items()
        if affine.is_invertible
    }
    # Maps without an inverse (a projection into the world) lead there all the same.
    for edge in edges:
        if edge.target == world:
            ways.setdefault(edge.source, edge.affine)
    return ways


def _ndim(axes: Sequence[Axis], ways: Mapping[Reference, Affine]) -> int | None:
    if axes:
        return len(axes)
    return next((affine.ndim_out for affine in ways.values()), None)


def _placed(
    node: Node,
    image: Reference,
    world: Reference,
    ways: Mapping[Reference, Affine],
    ndim: int | None,
) -> SceneImage:
    if image == world:
        affine = None if ndim is None else Affine.identity(ndim)
        return SceneImage(image.path, image.name, affine)
    if image not in ways:
        node.note(f"no matrix leads from {image} to {world}; shown at its own place")
    return SceneImage(image.path, image.name, ways.get(image))
