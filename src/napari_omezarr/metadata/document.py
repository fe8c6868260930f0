"""A group's attributes as a document: images, plates, wells; of any version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import MetadataError, OptionError
from napari_omezarr.plain_text import counted

from .affine import Affine
from .axes import default_axes, note_unusual_axes, parse_axes
from .channels import (
    parse_image_label,
    parse_labels,
    parse_paths,
    parse_rendering,
    path_or_note,
)
from .coordinate_systems import (
    Edge,
    Reference,
    backwards,
    graph_world,
    intrinsic_system,
    level_affine,
    listed_world,
    parse_edge,
    parse_levels,
    parse_reference,
    parse_systems,
    reachable,
    stated_ndim,
    transforms_of,
)
from .model import (
    Acquisition,
    Axis,
    Dataset,
    Document,
    Image,
    Kind,
    Multiscale,
    Plate,
    PlateWell,
    Scene,
    SceneImage,
    Series,
    Well,
    WellImage,
)
from .node import MOST_WELLS, DocumentNotes, JsonNode, read_version, short_text
from .transforms import TransformContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from napari_omezarr.errors import OMEZarrError

    from .coordinate_systems import World
    from .model import ImageLabel, Rendering


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


def unlike_levels(labels: Image, image: Image) -> str:
    """Say how the levels of labels are not those of their image; nothing if they are.

    0.5: "Within the multiscales object, the JSON array associated with the datasets key
    MUST have the same number of entries (scale levels) as the original unlabeled
    image."
    """
    ours, theirs = (len(each.multiscales[0].datasets) for each in (labels, image))
    if ours == theirs:
        return ""
    return f"have {counted(ours, 'resolution level')}, and their image has {theirs}"


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


# The document, and all that it may describe.

# High-content screening: plates and their wells.

MOST_FIELDS = 1000
"""Of a well."""


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

    def plain_names(self) -> dict[str, int]:
        """Give the names that can be parts of any path, by which wells are found."""
        plain = re.compile(r"[\w-]+").fullmatch
        return {name: number for name, number in self.index.items() if plain(name)}

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
    listed = node.child("wells")
    plain_names = rows.plain_names(), columns.plain_names()
    if isinstance(listed.value, list):
        values = listed.first(MOST_WELLS)
    else:
        values = [element.value for element in listed.elements()]
    for number, value in enumerate(values):
        plain = _plain_well(value, *plain_names)
        if plain is not None and plain.path not in wells:
            wells[plain.path] = plain
            continue
        element = JsonNode(value, f"{listed.where}/{number}", listed.notes)
        well = plain or _parse_well_place(element, rows, columns)
        if well is None:
            continue
        if well.path in wells:
            element.note("repeats a well; it is left out")
            continue
        wells[well.path] = well
    if not wells:
        raise listed.error("The plate lists no well")
    return Plate(
        name=node.child("name").text(),
        rows=tuple(rows.index),
        columns=tuple(columns.index),
        wells=tuple(wells.values()),
        acquisitions=_parse_acquisitions(node.child("acquisitions")),
        field_count=_count(node.child("field_count")),
        is_cut=isinstance(listed.value, list) and len(listed.value) > MOST_WELLS,
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


def _plain_well(
    value: Any, rows: Mapping[str, int], columns: Mapping[str, int]
) -> PlateWell | None:
    """Give the well of an entry in which nothing is to be tolerated; else None.

    It takes a tenth of the time of parsing one, and plates list thousands.
    """
    path = value.get("path") if isinstance(value, dict) else None
    if not isinstance(path, str):
        return None
    first, _, last = path.partition("/")
    row, column = rows.get(first), columns.get(last)
    stated = value.get("rowIndex", row), value.get("columnIndex", column)
    if row is None or column is None or stated != (row, column):
        return None
    return PlateWell(path, row, column)


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


# Which kind it is, and what it says.

LAYOUT = "bioformats2raw.layout"

KINDS = ("plate", "well", "multiscales", "scene", "labels", "series", LAYOUT)
"""What a group can be, by key. Of several the first counts: the larger container,
and the image rather than what may be below it. (0.4 "bioformats2raw.layout": a
plate wins.)"""


def parse_document(
    attributes: Mapping[str, Any],
    *,
    zarr_format: int | None = None,
    url: str = "",
    parameters: Mapping[str, NDArray[Any]] | None = None,
    coordinate_system: str | None = None,
    image_axes: Mapping[tuple[str, str], tuple[Axis, ...]] | None = None,
) -> Document:
    """Parse the attributes of a group, of any version of OME-Zarr.

    Parameters
    ----------
    attributes : Mapping
        As stored: ``attributes`` of ``zarr.json`` (Zarr v3), or ``.zattrs`` (v2).
    zarr_format : int, optional
        2 or 3, to warn where it does not go with the version.
    url : str, optional
        The group's address, for errors; without query and sign-in.
    parameters : Mapping, optional
        The arrays that `stored_parameters` names, by path. Transforms whose array
        is not there are left out, with a warning.
    coordinate_system : str, optional
        The system to show images in, by name; else the document's world.
    image_axes : Mapping, optional
        For a scene whose images are read: the axes of each, by its path and the
        name of its system. Some transforms have a matrix only if these are known.

    Returns
    -------
    Document
        With ``kind`` None where the attributes say nothing of OME-Zarr.

    Raises
    ------
    MetadataError
        When they do, and cannot be understood even with tolerance.
    OptionError
        When the coordinate system is not there.
    """
    if not isinstance(attributes, Mapping):
        raise MetadataError("The attributes are not an object", url=url)
    notes = DocumentNotes(url)
    root = _namespace(JsonNode(attributes, "", notes))
    namespaced = root.value is not attributes
    label = root.child("image-label")
    kinds = [key for key in KINDS if root.child(key).exists]
    if not kinds and not label.exists:
        return Document(None, None, root.value, notes.collected())
    version = read_version(root, namespaced=namespaced)
    _note_format(root, version, zarr_format)
    if not kinds:
        label.note("there are no multiscales for these labels; nothing can be shown")
        block = parse_image_label(label)
        return Document(version, None, root.value, notes.collected(), block)
    _note_others(root, kinds)
    options = ParseOptions(
        version, parameters or {}, coordinate_system, image_axes or {}
    )
    kind = _parse_kind(kinds[0], root, options)
    return Document(version, kind, root.value, notes.collected())


def names_a_kind(attributes: Any) -> bool:
    """Say whether attributes name anything of OME-Zarr, without parsing what."""
    if not isinstance(attributes, Mapping):
        return False
    root = _namespace(JsonNode(attributes, "", DocumentNotes("")))
    return any(root.child(key).exists for key in KINDS)


def _namespace(node: JsonNode) -> JsonNode:
    """Return what holds the metadata: ``ome`` (0.5) where it says something."""
    # Attributes with ``ome`` and older metadata beside it belong to a group that was
    # converted: the newer counts.
    inner = node.child("ome")
    keys = (*KINDS, "image-label")
    if any(inner.child(key).exists for key in keys):
        return JsonNode(inner.value, "ome", node.notes)
    if inner.exists and not isinstance(inner.value, Mapping):
        inner.note("is no object; it is ignored")
    return node


def _note_format(root: JsonNode, version: str | None, zarr_format: int | None) -> None:
    old = version in ("0.1", "0.2", "0.3", "0.4")
    if version is not None and zarr_format == (3 if old else 2):
        root.note(f"OME-Zarr {version} is not defined for Zarr version {zarr_format}.")


def _note_others(root: JsonNode, kinds: list[str]) -> None:
    others = [key for key in kinds[1:] if key != LAYOUT or kinds[0] == "multiscales"]
    if others:
        root.note(f"The group is also {', '.join(others)}; read as {kinds[0]}.")


def _parse_kind(key: str, root: JsonNode, options: ParseOptions) -> Kind:
    if key == "multiscales":
        return parse_image(root, options)
    if key == "scene":
        return parse_scene(root.child(key), options)
    return _PARSERS[key](root.child(key))


def _parse_layout(node: JsonNode) -> Series:
    if node.value != 3:
        node.note("is not 3; read as if it were")
    return Series()


_PARSERS: dict[str, Callable[[JsonNode], Kind]] = {
    "plate": parse_plate,
    "well": parse_well,
    "labels": parse_labels,
    "series": lambda node: Series(parse_paths(node)),
    LAYOUT: _parse_layout,
}
