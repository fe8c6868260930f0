"""An image group and its label images."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import zarr
from zarr.storage import StorePath

from napari_omezarr.errors import (
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    StoreError,
    UnsupportedDataError,
)
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
from napari_omezarr.pyramid import ArrayPixels, Level, Pyramid

from .nodes import (
    ArrayNode,
    GroupNode,
    array_key,
    group_keys,
    join_path,
    kind_of,
    parse_array,
    parse_node,
)
from .rounds import ask, together

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from napari_omezarr.metadata import Dataset, Document, Multiscale

    from .nodes import Opening
    from .rounds import Answers, Questions

# The levels of one multiscale: arrays from their documents, without pixels.


def level_keys(group: str, multiscale: Multiscale, zarr_format: int) -> tuple[str, ...]:
    """Give the keys of the metadata of all levels."""
    return tuple(
        array_key(join_path(group, dataset.path), zarr_format)
        for dataset in multiscale.datasets
    )


def find_levels(
    opening: Opening, group: str, multiscale: Multiscale, zarr_format: int
) -> Questions[tuple[Multiscale, tuple[Level, ...]]]:
    """Find the levels that a viewer can use, in one round; finest first, at least one.

    Levels that are missing, that cannot be decoded, or that are not smaller than
    the one before are left out, each with a warning. The multiscale that is returned
    has axes that fit the arrays.
    """
    answers = yield from ask(level_keys(group, multiscale, zarr_format))
    found, problems = _open_arrays(opening, group, multiscale, zarr_format, answers)
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
    return multiscale, pick_level(opening, order_levels(opening, levels))


def open_array(opening: Opening, node: ArrayNode) -> ArrayPixels:
    """Make the pixels of an array from its document; asks nothing."""
    address = opening.place(node.path).display
    try:
        opened = zarr.AsyncArray.from_dict(
            StorePath(opening.store, node.path), dict(node.document)
        )
        pixels = ArrayPixels(opened, address, opening.store.concurrency)
    # zarr says "I do not know this codec, this type, this grid" in all these ways.
    except (ValueError, TypeError, KeyError, NotImplementedError, ImportError) as error:
        msg = f"The array {node.path or address} cannot be decoded here: {error}."
        raise UnsupportedDataError(msg, url=address) from error
    if pixels.dtype.kind not in "biuf" or pixels.ndim == 0:
        msg = f"The array {node.path or address} holds {pixels.dtype}, not an image."
        raise UnsupportedDataError(msg, url=address)
    return pixels


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


def pick_level(opening: Opening, levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Keep the one level that the options ask for, or all."""
    number = opening.options.level
    if number is None:
        return levels
    if not -len(levels) <= number < len(levels):
        msg = f"There is no level {number}; this image has {len(levels)}."
        raise OptionError(msg, url=opening.location.display)
    return (levels[number],)


def _open_arrays(
    opening: Opening,
    group: str,
    multiscale: Multiscale,
    zarr_format: int,
    answers: Answers,
) -> tuple[list[tuple[Dataset, ArrayPixels]], list[OMEZarrError]]:
    found: list[tuple[Dataset, ArrayPixels]] = []
    problems: list[OMEZarrError] = []
    for dataset in multiscale.datasets:
        path = join_path(group, dataset.path)
        try:
            node = parse_array(path, answers, zarr_format)
            if node is None:
                place = (opening.location / path).display
                msg = f"Level {dataset.path} is listed, but it is not there."
                problems.append(NodeNotFoundError(msg, url=place))
            else:
                found.append((dataset, open_array(opening, node)))
        except StoreError:
            raise
        except (MetadataError, UnsupportedDataError) as error:
            problems.append(error)
    return found, problems


# An image group and its label images.

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
    answers = yield from ask(image_keys(path, zarr_format))
    try:
        group = parse_node(path, answers, zarr_format)
        if not isinstance(group, GroupNode):
            opening.warnings.append(f"The image {path} is listed, but it is not there.")
            return []
        return (yield from open_image(opening, group, answers, name))
    except (MetadataError, NodeNotFoundError, UnsupportedDataError) as error:
        opening.warnings.append(f"The image {path} could not be opened. {error}")
        return []


def open_image(
    opening: Opening, group: GroupNode, answers: Answers, name: str = ""
) -> Questions[list[Pyramid]]:
    """Open an image and then its labels, from the answers to `image_keys`.

    ``name`` is used where the document has none.
    """
    parts: list[Questions[Pyramid | None]] = [open_multiscale(opening, group, name)]
    if opening.options.labels is not False:
        parts += label_images(opening, group, answers)
    opened = yield from together(parts)
    return [pyramid for pyramid in opened if pyramid is not None]


def label_images(
    opening: Opening, group: GroupNode, answers: Answers
) -> list[Questions[Pyramid | None]]:
    """Give the questions for each label image that a group's labels list.

    A broken labels group costs the labels, never the image.
    """
    path = join_path(group.path, "labels")
    try:
        labels = parse_node(path, answers, group.zarr_format)
        if labels is None or isinstance(labels, ArrayNode):
            return []
        kind = kind_of(labels, path)
    except OMEZarrError as error:
        opening.warnings.append(f"The labels could not be opened. {error}")
        return []
    return _find_labels(opening, labels, kind) if isinstance(kind, Labels) else []


def open_labels(
    opening: Opening, labels: GroupNode, kind: Labels
) -> Questions[list[Pyramid]]:
    """Open all label images of a labels group."""
    opened = yield from together(_find_labels(opening, labels, kind))
    pyramids = [pyramid for pyramid in opened if pyramid is not None]
    if not pyramids:
        msg = "This labels group lists no label image that is there."
        raise NodeNotFoundError(msg, url=opening.location.display)
    return pyramids


def _find_labels(
    opening: Opening, labels: GroupNode, kind: Labels
) -> list[Questions[Pyramid | None]]:
    wanted = opening.options.labels
    paths = [p for p in kind.paths if isinstance(wanted, bool) or p in wanted]
    return [
        _find_label(opening, join_path(labels.path, path), labels.zarr_format)
        for path in paths
    ]


def _find_label(
    opening: Opening, path: str, zarr_format: int
) -> Questions[Pyramid | None]:
    try:
        answers = yield from ask(group_keys(path, zarr_format))
        group = parse_node(path, answers, zarr_format)
        if not isinstance(group, GroupNode):
            opening.warnings.append(f"{path} is listed, but it is not there.")
            return None
        return (yield from open_multiscale(opening, group, is_label=True))
    except OMEZarrError as error:
        opening.warnings.append(f"{path} could not be opened. {error}")
        return None


def open_multiscale(
    opening: Opening, group: GroupNode, name: str = "", *, is_label: bool = False
) -> Questions[Pyramid]:
    """Open one multiscale of a group whose attributes have been read."""
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
    count = 1 if axis is None else finest.shape[axis]
    channels, warnings = resolve_channels(multiscale.rendering, count, finest.dtype)
    place = opening.place(group.path)
    given = "" if multiscale.label else multiscale.name.strip()
    rgb = axis is not None and is_rgb(multiscale.rendering, count, finest.dtype)
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
        warnings=(*document.warnings, *warnings),
        default_point=_default_point(multiscale),
        extras=_extras(group, document),
    )


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

    try:
        return parse(opening.options.coordinate_system)
    except OptionError:
        # The choice is meant for the image: its labels may have one system only.
        if not is_label:
            raise
        return parse(None)


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


def find_parameters(
    opening: Opening, group: GroupNode
) -> Questions[Mapping[str, np.ndarray]]:
    """Read the few transforms whose matrix lies in an array of its own (0.6)."""
    paths = stored_parameters(group.attributes)
    places = {path: join_path(group.path, path) for path in paths}
    keys = [array_key(place, group.zarr_format) for place in places.values()]
    answers = yield from ask(keys)
    found: dict[str, np.ndarray] = {}
    for path, place in places.items():
        stored = parse_array(place, answers, group.zarr_format)
        if stored is not None:
            found[path] = open_array(opening, stored)[...]
    return found
