"""An image with its levels and labels: which documents say so, and their pyramid."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.storage import StorePath

from napari_omezarr.errors import (
    FOREIGN_ERRORS,
    AccessDeniedError,
    DamagedDataError,
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    UnsupportedDataError,
)
from napari_omezarr.location import GROUP_DOCUMENT
from napari_omezarr.metadata import (
    Image,
    ImageLabel,
    Labels,
    channel_axis,
    fit_axes,
    is_rgb,
    parse_document,
    resolve_channels,
    stored_parameters,
)
from napari_omezarr.plain_text import counted
from napari_omezarr.pyramid import (
    ArrayPixels,
    Level,
    Pyramid,
    check_grid,
    tolerated,
    understood,
)

from .nodes import (
    ArrayNode,
    GroupNode,
    array_key,
    ask,
    find_array,
    find_group,
    group_keys,
    join_path,
    other_format,
    parse_node,
    together,
)

if TYPE_CHECKING:
    from napari_omezarr.metadata import Affine, Dataset, Document, Multiscale

    from .nodes import Answers, Node, Opening, Questions


def find_levels(
    opening: Opening, group: str, multiscale: Multiscale, zarr_format: int
) -> Questions[tuple[Multiscale, tuple[Level, ...]]]:
    """Find the levels that a viewer can use, in one round; finest first, at least one.

    Levels that are missing, that cannot be decoded, or that are not smaller than
    the one before are left out, each with a warning. The multiscale that is returned
    has axes that fit the arrays.
    """
    parts = yield from together(
        _find_level(opening, join_path(group, dataset.path), zarr_format)
        for dataset in multiscale.datasets
    )
    found: list[tuple[Dataset, ArrayPixels]] = []
    problems: list[OMEZarrError] = []
    for dataset, part in zip(multiscale.datasets, parts, strict=True):
        if isinstance(part, ArrayPixels):
            found.append((dataset, part))
        else:
            problems.append(part)
    if not found:
        raise problems[0]
    opening.warnings.extend(str(problem) for problem in problems)
    ndim = len(found[0][1].shape)
    multiscale, warnings = fit_axes(multiscale, ndim)
    opening.warnings.extend(warnings)
    affines = {dataset.path: dataset.affine for dataset in multiscale.datasets}
    levels = []
    for dataset, pixels in found:
        if pixels.ndim == ndim:
            levels.append(Level(dataset.path, pixels, affines[dataset.path]))
        else:
            opening.warnings.append(
                f"Level {dataset.path} has {pixels.ndim} dimensions, not {ndim}; "
                "left out."
            )
    levels = _with_all_channels(opening, levels, channel_axis(multiscale.axes))
    kept = order_levels(opening, levels)
    _note_types(opening, kept)
    return multiscale, pick_level(opening, kept)


def open_array(
    opening: Opening, node: ArrayNode, alike: ArrayPixels | None = None
) -> ArrayPixels:
    """Make the pixels of an array from its document; asks nothing.

    `alike` are those of an array of the same store whose document is the same.
    """
    address = opening.place(node.path).display
    if alike is not None:
        return _confirmed(opening, node, alike.at(node.path, address))
    name = node.path or address
    try:
        known, odd = understood(node.document)
        document, notes = tolerated(known)
        check_grid(document)
        opened = zarr.AsyncArray.from_dict(
            StorePath(opening.store, node.path), document
        )
        _check_size(opened)
        pixels = ArrayPixels(opened, address, opening.store.concurrency)
    # zarr says "I do not know this codec, this type, this grid" in all these ways.
    except FOREIGN_ERRORS as error:
        # Its own words, of a document that others wrote: not more than can be read.
        reason = str(error).strip().rstrip(".")[:_REASON] or type(error).__name__
        msg = f"The array {name} cannot be decoded here: {reason}."
        raise UnsupportedDataError(msg, url=address) from error
    opening.warnings.extend(f"{name}: {said}" for said in odd)
    opening.warnings.extend(notes)
    return _confirmed(opening, node, pixels)


def _confirmed(opening: Opening, node: ArrayNode, pixels: ArrayPixels) -> ArrayPixels:
    """Have what consolidated metadata said of an array asked along with its pixels."""
    group = node.path.rpartition("/")[0]
    keys = array_key(node.path, node.zarr_format), *group_keys(group, node.zarr_format)
    confirmation = opening.consolidated.confirmation(opening.store, keys)
    if confirmation is not None:
        pixels.confirm = confirmation.settle
    return pixels


_REASON = 200  # characters


def _check_size(array: zarr.AsyncArray[Any]) -> None:
    """Raise UnsupportedDataError for arrays that are no images, or beyond numpy."""
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biuf":
        raise UnsupportedDataError(f"It holds {dtype}, not an image")
    if math.prod(array.shape) * dtype.itemsize >= 2**63:
        raise UnsupportedDataError("It is larger than can be")


def order_levels(opening: Opening, levels: list[Level]) -> tuple[Level, ...]:
    """Put levels in order, finest first, without those that do not get smaller.

    A viewer picks a level by its size, so two of the same size are of no use.
    """
    sizes = [math.prod(level.pixels.shape) for level in levels]
    if len(levels) > 1 and all(a < b for a, b in pairwise(sizes)):
        opening.warnings.append("The levels are listed coarsest first; turned round.")
        levels = levels[::-1]
    kept = levels[:1]
    for level in levels[1:]:
        pairs = zip(level.pixels.shape, kept[-1].pixels.shape, strict=True)
        smaller = level.pixels.shape != kept[-1].pixels.shape
        if smaller and all(size <= before for size, before in pairs):
            kept.append(level)
        else:
            opening.warnings.append(
                f"Level {level.path} is not smaller than level {kept[-1].path}; "
                "left out."
            )
    return tuple(kept)


def _with_all_channels(
    opening: Opening, levels: list[Level], axis: int | None
) -> list[Level]:
    """Leave out levels that have not the channels of the finest one."""
    if axis is None or not levels:
        return levels
    finest = max(levels, key=lambda level: math.prod(level.pixels.shape))
    count = finest.pixels.shape[axis]
    for level in levels:
        held = level.pixels.shape[axis]
        if held != count:
            opening.warnings.append(
                f"Level {level.path} has {counted(held, 'channel')}, not {count}; left "
                "out."
            )
    return [level for level in levels if level.pixels.shape[axis] == count]


def _note_types(opening: Opening, levels: tuple[Level, ...]) -> None:
    finest = levels[0]
    for level in levels:
        dtype = level.pixels.dtype
        if dtype != finest.pixels.dtype:
            opening.warnings.append(
                f"Level {level.path} holds {dtype}, not {finest.pixels.dtype} as "
                f"level {finest.path}; where it is shown, values are the nearest ones."
            )


def pick_level(opening: Opening, levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Keep the one level that the options ask for, or all."""
    number = opening.options.level
    if number is None:
        return levels
    if not -len(levels) <= number < len(levels):
        msg = f"There is no level {number}; this image has {len(levels)}."
        raise OptionError(msg, url=opening.location.display)
    return (levels[number],)


def _find_level(
    opening: Opening, path: str, zarr_format: int
) -> Questions[ArrayPixels | OMEZarrError]:
    """Find one level, or say what is wrong with it; a failed request raises."""
    try:
        node = yield from find_array(path, zarr_format)
        if node is not None:
            note_format(opening, node, zarr_format)
            return open_array(opening, node)
    except (DamagedDataError, MetadataError, UnsupportedDataError) as error:
        return error
    msg = f"Level {path} is listed, but it is not there."
    return NodeNotFoundError(msg, url=opening.place(path).display)


def note_format(opening: Opening, found: Node, zarr_format: int) -> None:
    """Say that a part was found in another zarr format than that of its group."""
    if found.zarr_format != zarr_format:
        opening.warnings.append(
            f"{found.path} is stored in Zarr version {found.zarr_format}, and what "
            f"lists it in version {zarr_format}."
        )


# The image itself.

MOST_IMAGES = 100
"""So many images are opened at once, and so many label images, where none is chosen."""

UNREADABLE = (
    AccessDeniedError,
    DamagedDataError,
    MetadataError,
    NodeNotFoundError,
    UnsupportedDataError,
)
"""What one of several parts may be, without the others being any the worse for it."""

MOST_CHANNELS = 500
"""More are no layers of their own: they are stepped through in one."""


_KEYS = {"version", "multiscales", "omero", "image-label", "labels", "series"}
_NAMELESS = {"", "/", "0", "image", "default", "multiscales"}


def image_keys(path: str, zarr_format: int | None = None) -> tuple[str, ...]:
    """Give the keys of an image group and, guessed, of its labels group."""
    labels = join_path(path, "labels")
    return group_keys(path, zarr_format) + group_keys(labels, zarr_format)


def find_image(
    opening: Opening, path: str, zarr_format: int, name: str = ""
) -> Questions[list[Pyramid]]:
    """Open one of several images, with its labels, from nothing but its path.

    One that is missing or broken costs itself and a warning, not the others.
    """
    try:
        group, answers = yield from _find_image_group(path, zarr_format)
        if group is None:
            opening.warnings.append(f"The image {path} is listed, but it is not there.")
            return []
        note_format(opening, group, zarr_format)
        return (yield from open_image(opening, group, answers, name))
    except UNREADABLE as error:
        opening.failures.append(error)
        opening.warnings.append(f"The image {path} could not be opened. {error}")
        return []


def _find_image_group(
    path: str, zarr_format: int
) -> Questions[tuple[GroupNode | None, Answers]]:
    answers: Answers = {}
    for number in (zarr_format, other_format(zarr_format)):
        answers = yield from ask(image_keys(path, number))
        group = parse_node(path, answers, number)
        if group is not None:
            return (group if isinstance(group, GroupNode) else None), answers
    return None, answers


def open_image(
    opening: Opening, group: GroupNode, answers: Answers, name: str = ""
) -> Questions[list[Pyramid]]:
    """Open an image and then its labels, from the answers to `image_keys`.

    ``name`` is used where the document has none.
    """
    part = opening.part()  # what is said of labels that are not there is the image's
    wanted = opening.options.labels is not False
    asked = label_images(part, group, answers) if wanted else []
    parts: list[Questions[Any]] = [open_multiscale(part, group, name), *asked]
    if asked:  # their features may lie in tables, which cost no further round here
        parts.append(_tables_beside(opening, group.path))
    image, *found = yield from together(parts)
    tables = found.pop() if asked else None
    labels = [
        dataclasses.replace(pyramid, feature_tables=tables)
        for pyramid in found
        if pyramid is not None
    ]
    if opening.options.coordinate_system is not None:
        labels = _following(part, group, image, labels)
    warnings = dict.fromkeys((*image.warnings, *part.warnings))
    image = dataclasses.replace(image, warnings=tuple(warnings))
    return [image, *labels]


def _tables_beside(opening: Opening, path: str) -> Questions[tuple[str, ...] | None]:
    """Name the tables beside an image; None where that is not known.

    A refusal is nothing to speak of here: who reads a table asks for it again. Nor are
    they asked for where consolidated metadata spare this round.
    """
    place = join_path(path, "tables")
    if any(map(opening.consolidated.covers, group_keys(place))):
        return None
    answers = yield from ask(group_keys(place))
    try:
        node = parse_node(place, answers)
    except OMEZarrError:
        return None
    if node is None:
        return ()
    names = node.attributes.get("tables")
    if not isinstance(names, list):
        return None
    return tuple(name for name in names if isinstance(name, str))


def _following(
    opening: Opening, group: GroupNode, image: Pyramid, labels: list[Pyramid]
) -> list[Pyramid]:
    """Take labels along into the coordinate system that was chosen for their image.

    They lie over the image in its intrinsic system, and seldom list any other.
    """
    system = image.coordinate_system
    document = parse_document(group.attributes, zarr_format=group.zarr_format)
    assert isinstance(document.kind, Image)
    datasets = _pick_multiscale(opening.part(), document.kind).datasets
    first = {dataset.path: dataset.affine for dataset in datasets}[image.levels[0].path]
    way = None
    if first.is_invertible and first.ndim_out == image.levels[0].affine.ndim_out:
        way = image.levels[0].affine @ first.inverse()
    moved = []
    for label in labels:
        if label.coordinate_system == system:
            moved.append(label)
            continue
        follows = None if way is None else _moved(label, image, way)
        if follows is None:
            opening.warnings.append(
                f"{label.name} has no coordinate system {system}: it lies in its own."
            )
        moved.append(follows or label)
    return moved


def _moved(label: Pyramid, image: Pyramid, way: Affine) -> Pyramid | None:
    """Give labels moved as their image was; None where they lack an axis for it."""
    names = [axis.name for axis in image.axes]
    own = [axis.name for axis in label.axes]
    if not set(own) <= set(names):
        return None
    for name in reversed(names):
        if name not in own:
            axis = names.index(name)
            if way.output_of(axis) != axis:
                return None
            way = way.without(axis)
            names.remove(name)
    if names != own:
        return None
    levels = (
        dataclasses.replace(level, affine=way @ level.affine) for level in label.levels
    )
    return dataclasses.replace(
        label, levels=tuple(levels), coordinate_system=image.coordinate_system
    )


def label_images(
    opening: Opening, group: GroupNode, answers: Answers
) -> list[Questions[Pyramid | None]]:
    """Give the questions for each label image that a group's labels list.

    A broken labels group costs the labels, never the image.
    """
    path = join_path(group.path, "labels")
    asked = [f for f in GROUP_DOCUMENT if group_keys(path, f)[0] in answers]
    found: dict[str, Questions[Pyramid | None]] = {}
    # Each format may have a list of its own; what both list is taken from the image's.
    for number in sorted(asked, key=lambda f: f != group.zarr_format):
        try:
            listed = _listed_labels(opening, parse_node(path, answers, number), group)
        except AccessDeniedError as error:
            # They were only guessed at, and most images have none.
            if number == group.zarr_format:
                said = f"Whether there are labels is not known. {error.sentence}"
                opening.warnings.append(said)
        except OMEZarrError as error:
            opening.warnings.append(f"The labels could not be opened. {error}")
        else:
            found |= {name: listed[name] for name in listed if name not in found}
    wanted = opening.options.labels
    for name in () if isinstance(wanted, bool) else wanted:
        if name not in found:
            place = join_path(path, name)
            opening.warnings.append(f"{place} is not among the labels that are listed.")
            found[name] = _find_label(opening, place, group.zarr_format)
    return list(found.values())


def _listed_labels(
    opening: Opening, labels: Node | None, image: GroupNode
) -> dict[str, Questions[Pyramid | None]]:
    if not isinstance(labels, GroupNode):
        return {}
    document = parse_document(
        labels.attributes, zarr_format=labels.zarr_format, url=labels.path
    )
    if not isinstance(document.kind, Labels):
        return {}
    note_format(opening, labels, image.zarr_format)
    opening.warnings.extend(f"{labels.path}: {said}" for said in document.warnings)
    return _find_labels(opening, labels, document.kind)


def open_labels(
    opening: Opening, labels: GroupNode, kind: Labels
) -> Questions[list[Pyramid]]:
    """Open all label images of a labels group."""
    opened = yield from together(_find_labels(opening, labels, kind).values())
    pyramids = [pyramid for pyramid in opened if pyramid is not None]
    if not pyramids:
        msg = "This labels group lists no label image that is there."
        raise NodeNotFoundError(msg, url=opening.location.display)
    return pyramids


def _find_labels(
    opening: Opening, labels: GroupNode, kind: Labels
) -> dict[str, Questions[Pyramid | None]]:
    wanted = opening.options.labels
    paths = [p for p in kind.paths if isinstance(wanted, bool) or p in wanted]
    if len(paths) > MOST_IMAGES and isinstance(wanted, bool):
        opening.warnings.append(
            f"There are {len(paths):,} label images, of which the first {MOST_IMAGES} "
            "are opened; choose others by name."
        )
        del paths[MOST_IMAGES:]
    return {
        path: _find_label(opening, join_path(labels.path, path), labels.zarr_format)
        for path in paths
    }


def _find_label(
    opening: Opening, path: str, zarr_format: int
) -> Questions[Pyramid | None]:
    try:
        group = yield from find_group(path, zarr_format)
        if not isinstance(group, GroupNode):
            opening.warnings.append(f"{path} is not there.")
            return None
        note_format(opening, group, zarr_format)
        return (yield from open_multiscale(opening, group, is_label=True))
    except OMEZarrError as error:
        opening.warnings.append(f"{path} could not be opened. {error}")
        return None


def open_multiscale(
    opening: Opening, group: GroupNode, name: str = "", *, is_label: bool = False
) -> Questions[Pyramid]:
    """Open one multiscale of a group whose attributes have been read.

    What had to be tolerated of it is with the pyramid, and nowhere else.
    """
    opening = opening.part()
    parameters = yield from find_parameters(opening, group)
    document = _parse_document(opening, group, parameters, is_label=is_label)
    if not isinstance(document.kind, Image):
        msg = "This group lists no image"
        raise MetadataError(msg, url=opening.location.display)
    multiscale = _pick_multiscale(opening, document.kind)
    multiscale, levels = yield from find_levels(
        opening, group.path, multiscale, group.zarr_format
    )
    if multiscale.label is None and (
        is_label or _lies_among_labels(opening, group, multiscale, levels)
    ):
        multiscale = dataclasses.replace(multiscale, label=ImageLabel())
    return make_pyramid(opening, group, document, multiscale, levels, name)


def _lies_among_labels(
    opening: Opening,
    group: GroupNode,
    multiscale: Multiscale,
    levels: tuple[Level, ...],
) -> bool:
    """Tell a label image that lacks its block (a SHOULD) by the folder it lies in."""
    place = opening.place(group.path)
    integers = levels[0].pixels.dtype.kind in "biu"
    return place.parent.name == "labels" and multiscale.rendering is None and integers


def make_pyramid(
    opening: Opening,
    group: GroupNode,
    document: Document,
    multiscale: Multiscale,
    levels: tuple[Level, ...],
    name: str = "",
) -> Pyramid:
    """Put together what is known of an image; asks nothing."""
    finest = levels[0].pixels
    axis = channel_axis(multiscale.axes)
    notes: tuple[str, ...] = ()
    chosen = opening.options
    options = {"level": chosen.level, "multiscale": chosen.multiscale}
    if axis is not None and finest.shape[axis] > MOST_CHANNELS:
        notes = (f"Its {finest.shape[axis]:,} channels are shown in one layer.",)
        axis = None
    count = 1 if axis is None else finest.shape[axis]
    channels, warnings = resolve_channels(multiscale.rendering, count, finest.dtype)
    place = opening.place(group.path)
    given = "" if multiscale.label else multiscale.name.strip()
    rgb = axis is not None and is_rgb(multiscale.rendering, count, finest.dtype)
    for level in levels:
        if isinstance(level.pixels, ArrayPixels):
            level.pixels.may_be_empty = multiscale.label is not None
    return Pyramid(
        location=place,
        name=name or (given if given.lower() not in _NAMELESS else "") or place.stem,
        axes=multiscale.axes,
        world_axes=multiscale.world_axes,
        levels=levels,
        channel_axis=axis,
        channels=channels,
        rgb=rgb,
        label=multiscale.label,
        version=document.version,
        attributes=document.attributes,
        warnings=(*document.warnings, *opening.warnings, *notes, *warnings),
        default_point=_default_point(multiscale),
        extras=_extras(group, document),
        coordinate_system=multiscale.coordinate_system,
        coordinate_systems=multiscale.coordinate_systems,
        options={name: part for name, part in options.items() if part is not None},
        lost_levels=() if chosen.level else _lost(multiscale, levels),
    )


def _lost(multiscale: Multiscale, levels: tuple[Level, ...]) -> tuple[str, ...]:
    """Say which levels that are listed are finer than the finest that is there."""
    listed = [dataset.path for dataset in multiscale.datasets]
    # Of a plate's field the coarser ones may be presumed, and are not listed here.
    known = [listed.index(level.path) for level in levels if level.path in listed]
    first, last = known[0], known[-1]
    return tuple(listed[:first] if first <= last else listed[:first:-1])


def _parse_document(
    opening: Opening,
    group: GroupNode,
    parameters: Mapping[str, np.ndarray],
    *,
    is_label: bool,
) -> Document:
    place = opening.place(group.path)

    def parse(coordinate_system: str | None) -> Document:
        return parse_document(
            group.attributes,
            zarr_format=group.zarr_format,
            url=place.display,
            parameters=parameters,
            coordinate_system=coordinate_system,
        )

    wanted = opening.options.coordinate_system
    system = wanted or _saved_system(group)
    if opening.understood and not system:
        attributes, document = opening.understood
        if attributes is group.attributes:
            return document
    try:
        return parse(system)
    except OptionError:
        # The choice is meant for the image: its labels may have one system only.
        if wanted and not is_label:
            raise
        return parse(None)


def _saved_system(group: GroupNode) -> str | None:
    """Return the system in which a layer was saved, where that is not the intrinsic."""
    saved = group.attributes.get("napari")
    name = saved.get("coordinate_system") if isinstance(saved, Mapping) else None
    return name if isinstance(name, str) else None


def _extras(group: GroupNode, document: Document) -> dict[str, Any]:
    """Give the attributes that are none of OME-Zarr's."""
    namespaced = document.attributes is not group.attributes
    known = {"ome"} if namespaced else _KEYS
    return {key: value for key, value in group.attributes.items() if key not in known}


def _default_point(multiscale: Multiscale) -> dict[int, int]:
    rendering = multiscale.rendering
    if rendering is None:
        return {}
    defaults = {"t": rendering.default_t, "z": rendering.default_z}
    return {
        number: index
        for number, axis in enumerate(multiscale.axes)
        if (index := defaults.get(axis.name.lower())) is not None
    }


def _pick_multiscale(opening: Opening, image: Image) -> Multiscale:
    wanted, several = opening.options.multiscale, image.multiscales
    names = [multiscale.name for multiscale in several]
    if wanted is None:
        if len(several) > 1:
            opening.warnings.append(
                f"This group holds {len(several)} multiscales "
                f"({', '.join(names)}); the first was opened."
            )
        return several[0]
    number = names.index(wanted) if wanted in names else wanted
    if not isinstance(number, int) or not 0 <= number < len(several):
        msg = f"There is no multiscale {wanted}; there are: {', '.join(names)}."
        raise OptionError(msg, url=opening.location.display)
    return several[number]


_MOST_PARAMETERS = 50
_LARGEST_MATRIX = 10_000  # numbers


def find_parameters(
    opening: Opening, group: GroupNode
) -> Questions[Mapping[str, np.ndarray]]:
    """Read the few transforms whose matrix lies in an array of its own (0.6).

    One that cannot be had costs its transform, never the image.
    """
    paths = stored_parameters(group.attributes)[:_MOST_PARAMETERS]
    places = {path: join_path(group.path, path) for path in paths}
    stored = yield from together(
        find_array(place, group.zarr_format) for place in places.values()
    )
    found: dict[str, np.ndarray] = {}
    for path, node in zip(places, stored, strict=True):
        if node is None:
            continue
        try:
            pixels = open_array(opening, node)
            # What is larger is no matrix; its transform says that it has none.
            if math.prod(pixels.shape) <= _LARGEST_MATRIX:
                found[path] = pixels[...]
        except (DamagedDataError, MetadataError, UnsupportedDataError) as error:
            opening.warnings.append(f"A transform is left out. {error}")
    return found
