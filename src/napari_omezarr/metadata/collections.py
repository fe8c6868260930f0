"""Groups of many images: plates with their wells, and scenes (0.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_omezarr.errors import OptionError

from .affine import Affine
from .channels import path_or_note
from .coordinate_systems import (
    Edge,
    Reference,
    backwards,
    parse_edge,
    parse_reference,
    parse_systems,
    reachable,
)
from .model import Acquisition, Plate, PlateWell, Scene, SceneImage, Well, WellImage
from .node import short_text
from .transforms import TransformContext

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .model import Axis
    from .multiscale import ParseOptions
    from .node import JsonNode

# High-content screening: plates and their wells.

MOST_WELLS = 10_000
MOST_FIELDS = 1000
"""So many are read of one plate, and of one well."""


class _PlateAxis:
    """Rows or columns of a plate, in order, that grow with what wells name."""

    def __init__(self, node: JsonNode) -> None:
        self.node = node
        self.index: dict[str, int] = {}
        for element in node.elements():
            name = element.child("name").text()
            if not name:
                element.note("has no name")
                name = f"?{len(self.index)}"
            if name in self.index:
                element.note(f"repeats the name {short_text(name)}")
                continue
            self.index[name] = len(self.index)

    def place(self, name: str | None, stated: JsonNode) -> int | None:
        """Return the index of ``name``; else the stated one; else add the name."""
        number = stated.integer()
        if number is not None and not 0 <= number < len(self.index):
            stated.note(f"{short_text(number)} is not on the plate; it is ignored")
            number = None
        if name in self.index:
            if number not in (None, self.index[name]):
                # Both MUST agree (0.4 "plate"). The data lie at the path.
                stated.note(f"{number} contradicts the well's path, which counts")
            return self.index[name]
        if number is None and name is not None:
            self.node.note(f"lacks {short_text(name)}, which a well names; it is added")
            number = self.index[name] = len(self.index)
        return number


def parse_plate(node: JsonNode) -> Plate:
    """Parse the ``plate`` block."""
    # Rows and columns of wells are read from their paths (A/1), and from rowIndex and
    # columnIndex (0.4) where paths do not tell.
    rows, columns = _PlateAxis(node.child("rows")), _PlateAxis(node.child("columns"))
    wells: dict[str, PlateWell] = {}
    for element in node.child("wells").elements(MOST_WELLS):
        well = _parse_well_place(element, rows, columns)
        if well is None:
            continue
        if well.path in wells:
            element.note("repeats a well; it is left out")
            continue
        wells[well.path] = well
    if not wells:
        raise node.child("wells").error("The plate lists no well")
    return Plate(
        name=node.child("name").text(),
        rows=tuple(rows.index),
        columns=tuple(columns.index),
        wells=tuple(wells.values()),
        acquisitions=_parse_acquisitions(node.child("acquisitions")),
        field_count=_count(node.child("field_count")),
    )


def parse_well(node: JsonNode) -> Well:
    """Parse the ``well`` block: the paths of its fields of view, in order."""
    images: dict[str, WellImage] = {}
    for element in node.child("images").elements(MOST_FIELDS):
        path = path_or_note(element.child("path"))
        if path is not None and path not in images:
            acquisition = element.child("acquisition").integer()
            images[path] = WellImage(path, acquisition)
    if not images:
        raise node.child("images").error("The well lists no field of view")
    return Well(tuple(images.values()))


def _parse_well_place(
    node: JsonNode, rows: _PlateAxis, columns: _PlateAxis
) -> PlateWell | None:
    path = path_or_note(node.child("path"))
    if path is None:
        return None
    names = path.split("/")[-2:] if "/" in path else (None, None)
    row = rows.place(names[0], node.child("rowIndex"))
    column = columns.place(names[1], node.child("columnIndex"))
    if row is None or column is None:
        node.note("does not tell its row and column; the well is left out")
        return None
    return PlateWell(path, row, column)


def _parse_acquisitions(node: JsonNode) -> tuple[Acquisition, ...]:
    acquisitions: dict[int, Acquisition] = {}
    for element in node.elements():
        number = element.child("id").integer()
        if number is None or number in acquisitions:
            element.note("has no id of its own; the acquisition is left out")
            continue
        _count(element.child("maximumfieldcount"))
        acquisitions[number] = Acquisition(number, element.child("name").text())
    return tuple(acquisitions.values())


def _count(node: JsonNode) -> int | None:
    count = node.integer()
    if count is not None and count < 1:
        node.note(f"{short_text(count)} is no count; it is ignored")
        return None
    return count


# Scenes: several images in one world (0.6).


def parse_scene(node: JsonNode, options: ParseOptions) -> Scene:
    """Parse the ``scene`` block, with every image that a transform names.

    The world is the system that the options name; else the scene's first one, and
    where it defines none, what the first transform leads to.
    """
    systems = parse_systems(node.child("coordinateSystems"))
    transforms = node.child("coordinateTransformations").elements()
    pairs = [pair for pair in map(_both_sides, transforms) if pair is not None]
    images = _images(pairs)
    if not images:
        raise node.error("The scene names no image")
    world = _world(node, tuple(systems), pairs, options.coordinate_system)
    axes = {Reference(name): axes for name, axes in systems.items()}
    for (path, name), known in options.image_axes.items():
        axes[Reference(name, path)] = known
    context = TransformContext(arrays=options.arrays)
    edges = [parse_edge(transform, axes, context) for transform in transforms]
    affines = _affines_to(world, [edge for edge in edges if edge is not None])
    ndim = _ndim(systems.get(world.name, ()), affines)
    return Scene(
        images=tuple(_placed(node, image, world, affines, ndim) for image in images),
        axes=axes.get(world, ()),
        world=world.name,
        world_path=world.path,
        coordinate_systems=tuple(systems),
    )


def _both_sides(node: JsonNode) -> tuple[Reference, Reference] | None:
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
    node: JsonNode,
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
    return Reference(systems[0])


def _affines_to(world: Reference, edges: Sequence[Edge]) -> dict[Reference, Affine]:
    """Return the maps to ``world`` from every system that has one."""
    # From the world along turned edges: each way is then the inverse of one needed.
    turned = (*backwards(edges), *edges)
    from_world = reachable(world, turned)
    affines = {
        reference: affine.inverse()
        for reference, affine in from_world.items()
        if affine.is_invertible
    }
    # Maps without an inverse (a projection into the world) lead there all the same.
    for edge in edges:
        if edge.target == world:
            affines.setdefault(edge.source, edge.affine)
    return affines


def _ndim(axes: Sequence[Axis], affines: Mapping[Reference, Affine]) -> int | None:
    if axes:
        return len(axes)
    return next((affine.ndim_out for affine in affines.values()), None)


def _placed(
    node: JsonNode,
    image: Reference,
    world: Reference,
    affines: Mapping[Reference, Affine],
    ndim: int | None,
) -> SceneImage:
    if image == world:
        affine = None if ndim is None else Affine.identity(ndim)
        return SceneImage(image.path, image.name, affine)
    if image not in affines:
        node.note(f"no matrix leads from {image} to {world}; shown at its own place")
    return SceneImage(image.path, image.name, affines.get(image))
