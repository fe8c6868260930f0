"""What is not OME-Zarr: an array opens, a group says what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import NodeNotFoundError
from napari_omezarr.metadata import Affine, Axis, channel_axis, resolve_channels
from napari_omezarr.pyramid import Level, Pyramid

from .levels import open_array
from .nodes import Group, array_key, group_keys, joined
from .waves import ask

if TYPE_CHECKING:
    from .nodes import Array
    from .opening import Opening
    from .waves import Questions

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_USUAL = ("0", "s0", "1", "data", "image", "images", "raw", "labels", "volumes")


def open_plain_array(opening: Opening, node: Array) -> list[Pyramid]:
    """Open a zarr array that belongs to no image, in index coordinates.

    The axes are named after ``dimension_names`` (zarr 3) or ``_ARRAY_DIMENSIONS``
    (xarray, OME-Zarr 0.3), else ``dim_0``, ``dim_1`` …
    """
    pixels = open_array(opening, node)
    names = node.document.get("dimension_names")
    names = names or node.attributes.get("_ARRAY_DIMENSIONS")
    axes = _axes(names, pixels.ndim)
    axis = channel_axis(axes)
    count = 1 if axis is None else pixels.shape[axis]
    channels, _ = resolve_channels(None, count, pixels.dtype)
    affine = Affine.identity(pixels.ndim)
    place = opening.location / node.path if node.path else opening.location
    return [
        Pyramid(
            location=place,
            name=place.stem,
            axes=axes,
            world_axes=axes,
            levels=(Level(node.path, pixels, affine),),
            channel_axis=axis,
            channels=channels,
            attributes=node.attributes,
            warnings=("This is a plain zarr array: no scale, no unit, no colours.",),
        )
    ]


def describe_group(opening: Opening, group: Group) -> Questions[list[Pyramid]]:
    """Say what a group without OME-Zarr metadata holds, as far as can be known.

    Nothing is listed: a few usual names are asked for, in one wave.

    Raises
    ------
    NodeNotFoundError
        Always; it names what was found and what to open.
    """
    keys = {
        name: (
            *group_keys(joined(group.path, name), group.zarr_format),
            array_key(joined(group.path, name), group.zarr_format),
        )
        for name in _USUAL
    }
    answers = yield from ask({key for several in keys.values() for key in several})
    held = [
        name
        for name, several in keys.items()
        if any(isinstance(answers[key], bytes) for key in several)
    ]
    place = opening.location.display
    sentence = f"{place} is a zarr group without OME-Zarr metadata."
    if held:
        sentence += f" It holds {', '.join(held)}."
        action = f"Open one of them, like {place}/{held[0]}."
    else:
        action = "Type the full address of an image in it."
    raise NodeNotFoundError(sentence, action=action, url=place)


def _axes(names: Any, ndim: int) -> tuple[Axis, ...]:
    if not isinstance(names, list) or len(names) != ndim:
        names = [None] * ndim
    texts = [
        name if isinstance(name, str) and name else f"dim_{number}"
        for number, name in enumerate(names)
    ]
    return tuple(Axis(text, _TYPES.get(text.lower())) for text in texts)
