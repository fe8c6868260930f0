"""One image: its axes, its levels, and where they lie in the world."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import MetadataError, OptionError

from .axes import default_axes, note_unusual_axes, parse_axes
from .channels import parse_image_label, parse_rendering
from .coordinate_systems import (
    graph_world,
    intrinsic_system,
    level_affine,
    listed_world,
    parse_levels,
    parse_systems,
    stated_ndim,
    transforms_of,
)
from .model import Axis, Dataset, Image, Multiscale
from .transforms import TransformContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_omezarr.errors import OMEZarrError

    from .affine import Affine
    from .coordinate_systems import World
    from .model import ImageLabel, Rendering
    from .node import JsonNode


MOST_MULTISCALES = 100
"""So many of one group are read."""


@dataclass(frozen=True, slots=True)
class ParseOptions:
    """How a document is to be read."""

    version: str | None = None
    # The arrays of stored parameters, by path.
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    coordinate_system: str | None = None  # None for the document's own world
    # The axes of images of a scene, by the image's path and its system.
    image_axes: Mapping[tuple[str, str], tuple[Axis, ...]] = field(default_factory=dict)


def parse_multiscale(
    node: JsonNode,
    options: ParseOptions,
    rendering: Rendering | None = None,
    label: ImageLabel | None = None,
) -> Multiscale:
    """Parse one entry of ``multiscales``, of any version.

    The structure decides how it is read, not the version: named coordinate systems
    (0.6) where there are some, lists of transforms (0.4, 0.5) else, and neither for
    0.1 to 0.3.
    """
    levels = parse_levels(node.child("datasets"))
    systems = parse_systems(node.child("coordinateSystems"))
    system = intrinsic_system(levels, systems, node) if systems else None
    listed = systems[system] if system else parse_axes(node.child("axes"))
    axes = listed or default_axes(stated_ndim(levels) or 5)
    _note_axes(node, listed, axes, options.version)
    names = tuple(axis.name for axis in axes)
    context = TransformContext(len(axes), names, names, options.arrays)
    if system:
        every = {**systems, system: axes}
        world = graph_world(node, system, every, context, options.coordinate_system)
    else:
        world = listed_world(node, axes, context, options.coordinate_system)
    _note_scales(node, levels, options.version)
    return Multiscale(
        name=node.child("name").text() or "",
        axes=_in_world(axes, world),
        datasets=tuple(
            Dataset(path, _lifted(level, world, level_affine(level, context, system)))
            for path, level in levels
        ),
        rendering=rendering,
        label=label,
        coordinate_system=world.name,
        coordinate_systems=world.names,
        world_axes=world.axes,
        axes_assumed=not listed,
    )


def _note_axes(
    node: JsonNode, listed: Sequence[Axis], axes: Sequence[Axis], version: str | None
) -> None:
    if not listed and version not in ("0.1", "0.2"):
        names = ", ".join(axis.name for axis in axes)
        node.note(f"has no axes; taken as {names}")
    elif listed and version != "0.9.dev1":
        note_unusual_axes(node, listed)


def _note_scales(
    node: JsonNode, levels: Sequence[tuple[str, JsonNode]], version: str | None
) -> None:
    """Note levels without transforms, which are required from 0.4 on."""
    if version in ("0.1", "0.2", "0.3"):
        return
    bare = [path for path, level in levels if not transforms_of(level)]
    if bare:
        node.note(f"has no scale for {', '.join(bare[:5])}; a pixel counts as 1")


def _in_world(axes: Sequence[Axis], world: World) -> tuple[Axis, ...]:
    """Give array axes the unit of the world, and its type where they have none.

    The affines lead to the world, so a pixel's size is in the world's unit.
    """
    seen = []
    for index, axis in enumerate(axes):
        output = world.affine.output_of(index)
        if output is not None:
            there = world.axes[output]
            type_ = there.type if axis.type in (None, "array") else axis.type
            axis = replace(axis, type=type_, unit=there.unit)
        seen.append(axis)
    return tuple(seen)


def _lifted(node: JsonNode, world: World, level: Affine) -> Affine:
    """Return the multiscale's transform after the level's (0.4: "applied after")."""
    total = world.affine @ level
    if total.is_invertible:
        return total
    node.note("its transforms together have no inverse; only its own are applied")
    return level


def parse_image(root: JsonNode, options: ParseOptions) -> Image:
    """Parse all ``multiscales`` of a group, with its ``omero`` and ``image-label``.

    Those that cannot be read leave a note, as long as there is another one.
    """
    rendering = parse_rendering(root.child("omero"))
    label = parse_image_label(root.child("image-label"))
    images: list[Multiscale] = []
    failure: OMEZarrError = root.child("multiscales").error("The group lists no image")
    for element in root.child("multiscales").elements(MOST_MULTISCALES):
        try:
            images.append(parse_multiscale(element, options, rendering, label))
        except (MetadataError, OptionError) as error:
            failure = error
            element.note(f"is left out: {error.sentence}")
    if not images:
        raise failure
    return Image(tuple(images))


# Multiscales made to fit their arrays.


def fit_axes(multiscale: Multiscale, ndim: int) -> tuple[Multiscale, tuple[str, ...]]:
    """Make axes and affines fit arrays of ``ndim`` dimensions, with a warning.

    The last axes are matched with the last dimensions, as numpy does: axes in
    front are dropped, dimensions in front get an axis without type.

    Raises
    ------
    MetadataError
        When no axis can be dropped, because a transform mixes it with others.
    """
    count = len(multiscale.axes)
    if count == ndim:
        return multiscale, ()
    fitted = multiscale
    while len(fitted.axes) > max(ndim, 1):
        fitted = _without_first(fitted)
    fitted = _with_first(fitted, ndim - len(fitted.axes))
    if len(fitted.axes) != ndim:
        raise MetadataError("The arrays have no dimensions", where="datasets")
    names = ", ".join(axis.name for axis in fitted.axes)
    said = "no axes" if multiscale.axes_assumed else f"{count} axes"
    return fitted, (
        f"The document gives {said} and the arrays have {ndim} dimensions; "
        f"they are taken as {names}.",
    )


def _without_first(multiscale: Multiscale) -> Multiscale:
    outputs = {dataset.affine.output_of(0) for dataset in multiscale.datasets}
    output = outputs.pop()
    if outputs or output is None:
        raise MetadataError(
            "A transform mixes an axis that the arrays do not have with others",
            where="coordinateTransformations",
        )
    world = multiscale.world_axes
    return replace(
        multiscale,
        axes=multiscale.axes[1:],
        datasets=tuple(
            replace(dataset, affine=dataset.affine.without(0))
            for dataset in multiscale.datasets
        ),
        world_axes=world[:output] + world[output + 1 :],
    )


def _with_first(multiscale: Multiscale, count: int) -> Multiscale:
    if count < 1:
        return multiscale
    taken = {axis.name for axis in (*multiscale.axes, *multiscale.world_axes)}
    free = (f"dim_{index}" for index in range(count + len(taken)))
    new = tuple(Axis(name) for name in free if name not in taken)[:count]
    return replace(
        multiscale,
        axes=new + multiscale.axes,
        datasets=tuple(
            replace(dataset, affine=dataset.affine.below(count))
            for dataset in multiscale.datasets
        ),
        world_axes=new + multiscale.world_axes,
    )
