"""An image group and its label images."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import (
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    UnsupportedDataError,
)
from napari_omezarr.metadata import (
    Image,
    ImageLabel,
    Labels,
    channel_axis,
    is_rgb,
    parse_document,
    resolve_channels,
    stored_parameters,
)
from napari_omezarr.pyramid import Pyramid

from .levels import find_levels, open_array
from .nodes import Array, Group, array, array_key, group_keys, joined, node
from .waves import ask, together

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from napari_omezarr.metadata import Affine, Axis, Document, Multiscale
    from napari_omezarr.pyramid import Level

    from .opening import Opening
    from .waves import Answers, Questions

_KEYS = {"version", "multiscales", "omero", "image-label", "labels", "series"}
_NAMELESS = {"", "/", "0", "image", "default", "multiscales"}


def image_keys(path: str, zarr_format: int | None = None) -> tuple[str, ...]:
    """Give the keys of an image group and, guessed, of its labels group."""
    labels = joined(path, "labels")
    return group_keys(path, zarr_format) + group_keys(labels, zarr_format)


def find_image(
    opening: Opening, path: str, zarr_format: int, name: str = ""
) -> Questions[list[Pyramid]]:
    """Open one of several images, with its labels, from nothing but its path.

    One that is missing or broken costs itself and a warning, not the others.

    Raises
    ------
    StoreError
        The place could not be read.
    """
    answers = yield from ask(image_keys(path, zarr_format))
    try:
        group = node(path, answers, zarr_format)
        if not isinstance(group, Group):
            opening.warnings.append(f"The image {path} is listed, but it is not there.")
            return []
        return (yield from open_image(opening, group, answers, name))
    except (MetadataError, NodeNotFoundError, UnsupportedDataError) as error:
        opening.warnings.append(f"The image {path} could not be opened. {error}")
        return []


def open_image(
    opening: Opening, group: Group, answers: Answers, name: str = ""
) -> Questions[list[Pyramid]]:
    """Open an image group whose documents have been read.

    Parameters
    ----------
    opening : Opening
        The opening that this belongs to.
    group : Group
        The image's group.
    answers : Answers
        The answers to ``image_keys`` of its path.
    name : str, optional
        A name to use where the document has none.

    Returns
    -------
    list of Pyramid
        The image, then its label images.
    """
    parts: list[Questions[Pyramid | None]] = [open_multiscale(opening, group, name)]
    if opening.options.labels is not False:
        parts += label_images(opening, group, answers)
    opened = yield from together(parts)
    return [pyramid for pyramid in opened if pyramid is not None]


def label_images(
    opening: Opening, group: Group, answers: Answers
) -> list[Questions[Pyramid | None]]:
    """Give the questions for each label image that a group's labels list.

    A broken labels group costs the labels, never the image.
    """
    path = joined(group.path, "labels")
    try:
        labels = node(path, answers, group.zarr_format)
        if labels is None or isinstance(labels, Array):
            return []
        document = parse_document(
            labels.attributes, zarr_format=labels.zarr_format, url=path
        )
    except OMEZarrError as error:
        opening.warnings.append(f"The labels could not be opened. {error}")
        return []
    if not isinstance(document.kind, Labels):
        return []
    return _listed(opening, labels, document.kind)


def open_labels(
    opening: Opening, labels: Group, kind: Labels
) -> Questions[list[Pyramid]]:
    """Open all label images of a labels group.

    Raises
    ------
    NodeNotFoundError
        None of them is there.
    """
    opened = yield from together(_listed(opening, labels, kind))
    pyramids = [pyramid for pyramid in opened if pyramid is not None]
    if not pyramids:
        msg = "This labels group lists no label image that is there."
        raise NodeNotFoundError(msg, url=opening.location.display)
    return pyramids


def _listed(
    opening: Opening, labels: Group, kind: Labels
) -> list[Questions[Pyramid | None]]:
    wanted = opening.options.labels
    paths = [p for p in kind.paths if isinstance(wanted, bool) or p in wanted]
    return [
        _find_label(opening, joined(labels.path, path), labels.zarr_format)
        for path in paths
    ]


def _find_label(
    opening: Opening, path: str, zarr_format: int
) -> Questions[Pyramid | None]:
    try:
        answers = yield from ask(group_keys(path, zarr_format))
        group = node(path, answers, zarr_format)
        if not isinstance(group, Group):
            opening.warnings.append(f"{path} is listed, but it is not there.")
            return None
        return (yield from open_multiscale(opening, group, is_label=True))
    except OMEZarrError as error:
        opening.warnings.append(f"{path} could not be opened. {error}")
        return None


def open_multiscale(
    opening: Opening, group: Group, name: str = "", *, is_label: bool = False
) -> Questions[Pyramid]:
    """Open one multiscale of a group whose attributes have been read.

    Raises
    ------
    MetadataError
        The group lists no image, or its document cannot be understood.
    OMEZarrError
        See ``find_levels``.
    """
    parameters = yield from find_parameters(opening, group)
    document = _parse(opening, group, parameters, is_label=is_label)
    if not isinstance(document.kind, Image):
        msg = "This group lists no image"
        raise MetadataError(msg, url=opening.location.display)
    multiscale = _pick(opening, document.kind)
    multiscale, levels = yield from find_levels(
        opening, group.path, multiscale, group.zarr_format
    )
    if multiscale.label is None and (
        is_label or _lies_among_labels(opening, group, multiscale, levels)
    ):
        multiscale = dataclasses.replace(multiscale, label=ImageLabel())
    return pyramid(opening, group, document, multiscale, levels, name)


def _lies_among_labels(
    opening: Opening, group: Group, multiscale: Multiscale, levels: tuple[Level, ...]
) -> bool:
    """Tell a label image that lacks its block (a SHOULD) by the folder it lies in."""
    place = opening.location / group.path if group.path else opening.location
    integers = levels[0].pixels.dtype.kind in "biu"
    return place.parent.name == "labels" and multiscale.rendering is None and integers


def pyramid(
    opening: Opening,
    group: Group,
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
    place = opening.location / group.path if group.path else opening.location
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


def moved(image: Pyramid, affine: Affine, axes: tuple[Axis, ...]) -> Pyramid:
    """Give an image whose world is seen through one more transform, with its axes."""
    levels = tuple(
        dataclasses.replace(level, affine=affine @ level.affine)
        for level in image.levels
    )
    world_axes = axes if len(axes) == len(image.axes) else image.world_axes
    return dataclasses.replace(image, levels=levels, world_axes=world_axes)


def _parse(
    opening: Opening,
    group: Group,
    parameters: Mapping[str, np.ndarray],
    *,
    is_label: bool,
) -> Document:
    place = opening.location / group.path if group.path else opening.location

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


def _extras(group: Group, document: Document) -> dict[str, Any]:
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


def _pick(opening: Opening, image: Image) -> Multiscale:
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
    opening: Opening, group: Group
) -> Questions[Mapping[str, np.ndarray]]:
    """Read the few transforms whose matrix lies in an array of its own (0.6)."""
    paths = stored_parameters(group.attributes)
    places = {path: joined(group.path, path) for path in paths}
    keys = [array_key(place, group.zarr_format) for place in places.values()]
    answers = yield from ask(keys)
    found: dict[str, np.ndarray] = {}
    for path, place in places.items():
        stored = array(place, answers, group.zarr_format)
        if stored is not None:
            found[path] = open_array(opening, stored)[...]
    return found
