"""What a picture may be in each version: what has to go is a loss, the rest a note."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_omezarr.errors import OptionError
from napari_omezarr.metadata import Affine, normalized_unit

if TYPE_CHECKING:
    from .options import WriteOptions
    from .picture import Picture

_MOST_AXES = 5


def checked(picture: Picture, options: WriteOptions) -> Picture:
    """Take out what the version cannot hold, and say so."""
    losses, notes = list(picture.losses), list(picture.notes)
    affine = picture.affine
    if 0 in picture.shape:
        raise OptionError(f"{picture.name} has no pixels: it is empty along an axis.")
    if not affine.is_invertible:
        raise OptionError(f"{picture.name} has a pixel of no size along some axis.")
    if not affine.is_diagonal and options.version != "0.6":
        losses.append(
            f"OME-Zarr {options.version} cannot hold the rotation or shear of "
            f"{picture.name}; 0.6 can."
        )
        affine = Affine.from_translation(affine.translation) @ Affine.from_scale(
            affine.scale
        )
    notes += _axis_notes(picture)
    return replace(picture, affine=affine, losses=tuple(losses), notes=tuple(notes))


def _axis_notes(picture: Picture) -> list[str]:
    axes, name = picture.axes, picture.name
    if len(axes) < 2:
        raise OptionError(f"{name} has {len(axes)} axis, and OME-Zarr needs 2.")
    notes = []
    types = [axis.type for axis in axes]
    several = types.count("time") > 1 or types.count("channel") > 1
    other = sum(type_ not in ("time", "space") for type_ in types)
    if len(axes) > _MOST_AXES or several or other > 1 or types.count("space") < 2:
        notes.append(
            f"The axes of {name} are more, or others, than OME-Zarr allows up to 0.6 "
            "(at most one time, one channel, two or three of space); other programs "
            "may not open it."
        )
    notes += [
        f"{axis.unit} is no unit that OME-Zarr knows for {axis.name}."
        for axis in axes
        if axis.unit and axis.type != "channel" and normalized_unit(axis) is None
    ]
    if picture.rgb and picture.source.dtype.name != "uint8":
        notes.append(f"{name} opens as three channels: only 8-bit RGB is known as RGB.")
    return notes
