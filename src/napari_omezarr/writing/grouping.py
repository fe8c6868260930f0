"""Which pictures make one image, and which image labels belong to."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.metadata import Axis

from .geometry import extended, permuted, spec_order
from .source import Transposed, stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .picture import Origin, Picture


@dataclass(frozen=True, slots=True)
class Group:
    """One image with its labels; or labels alone, which are then ``image``.

    ``reason`` says why it does not share an image, or belong to one.
    """

    image: Picture
    labels: tuple[Picture, ...] = ()
    reason: str = ""


def group(pictures: Sequence[Picture], *, merge: bool = True) -> tuple[Group, ...]:
    """Put pictures together as OME-Zarr wants them.

    Images on one grid become the channels of one image, in their order. Labels
    join the image that they were read with, else the first whose grid they have.

    Parameters
    ----------
    pictures : sequence of Picture
        In the order of the layers.
    merge : bool, optional
        False keeps every image apart.
    """
    images: list[list[Picture]] = []
    reasons: list[str] = []
    for picture in (p for p in pictures if p.label is None):
        home, reason = _home(picture, images, merge=merge)
        if home is None:
            images.append([picture])
            reasons.append(reason)
        else:
            home.append(picture)
    groups = [
        Group(ordered(merged(members)), reason=reason)
        for members, reason in zip(images, reasons, strict=True)
    ]
    for picture in (p for p in pictures if p.label is not None):
        _attach(ordered(picture), groups)
    return tuple(groups)


def merged(pictures: Sequence[Picture]) -> Picture:
    """Make one image of several on the same grid, along a new channel axis."""
    first = pictures[0]
    if len(pictures) == 1:
        return first
    position = sum(axis.type == "time" for axis in first.axes)
    axes = list(first.axes)
    axes.insert(position, Axis("c", "channel"))
    origin = _common_origin(pictures)
    return dataclasses.replace(
        first,
        name=origin.name if origin else "",
        source=stack([picture.source for picture in pictures], position),
        axes=tuple(axes),
        affine=extended(first.affine, position),
        looks=tuple(look for picture in pictures for look in picture.looks),
        origin=origin,
        losses=_once(loss for picture in pictures for loss in picture.losses),
        notes=_once(note for picture in pictures for note in picture.notes),
    )


def ordered(picture: Picture) -> Picture:
    """Put the axes in the order of OME-Zarr: time, channel, space; say so."""
    order = spec_order(picture.axes)
    if list(order) == list(range(len(order))):
        return picture
    axes = tuple(picture.axes[index] for index in order)
    names = ", ".join(axis.name for axis in axes)
    note = f"The axes of {picture.name} are saved in the order {names}."
    return dataclasses.replace(
        picture,
        source=Transposed(picture.source, order),
        axes=axes,
        affine=permuted(picture.affine, order),
        notes=picture.notes if picture.rgb else (*picture.notes, note),
    )


def adopted(label: Picture, image: Picture) -> Picture:
    """Give labels whose axes nobody named those of an image, from the last one on."""
    named = [axis for axis in image.axes if axis.type != "channel"]
    count = len(label.axes)
    if not label.axes_assumed or count > len(named):
        return label
    return dataclasses.replace(label, axes=tuple(named[len(named) - count :]))


def same_grid(label: Picture, image: Picture) -> str:
    """Say why labels do not lie on the grid of an image; empty where they do.

    Their axes must be among the image's, each of its size or 1 (0.5, "labels").
    """
    names = [axis.name for axis in image.axes]
    positions = [names.index(a.name) for a in label.axes if a.name in names]
    if len(positions) != len(label.axes):
        return f"{label.name} has axes that {image.name} has not"
    wanted = [image.shape[position] for position in positions]
    pairs = zip(label.shape, wanted, strict=True)
    if any(size not in (1, full) for size, full in pairs):
        return f"{label.name} is {_times(label.shape)} and not {_times(wanted)}"
    columns = [*positions, len(names)]
    there = image.affine.matrix[positions][:, columns]
    if not np.allclose(there, label.affine.matrix, rtol=1e-6, atol=1e-9):
        return f"{label.name} lies elsewhere, or has other pixel sizes"
    return ""


def _home(
    picture: Picture, images: Iterable[list[Picture]], *, merge: bool
) -> tuple[list[Picture] | None, str]:
    reason = ""
    for members in images:
        difference = _difference(picture, members[0]) if merge else "not asked for"
        if not difference:
            return members, ""
        reason = reason or difference
    return None, reason


def _difference(one: Picture, other: Picture) -> str:
    """Say why two images cannot be channels of one; empty where they can."""
    if "channel" in [axis.type for axis in (*one.axes, *other.axes)]:
        return "it has channels of its own"
    if one.shape != other.shape:
        return f"it is {_times(one.shape)} and not {_times(other.shape)}"
    if one.source.dtype != other.source.dtype:
        return f"it holds {one.source.dtype} and not {other.source.dtype}"
    if one.axes != other.axes:
        return "its axes have other names or units"
    if not np.allclose(one.affine.matrix, other.affine.matrix, rtol=1e-9, atol=1e-12):
        return "it lies elsewhere, or has other pixel sizes"
    return ""


def _attach(label: Picture, groups: list[Group]) -> None:
    candidates = [
        (index, owner) for index, owner in enumerate(groups) if owner.image.looks
    ]
    # The image that the labels were read with goes before others on its grid.
    candidates.sort(key=lambda pair: not _read_with(label, pair[1].image))
    reason = ""
    for index, owner in candidates:
        fitted = adopted(label, owner.image)
        difference = same_grid(fitted, owner.image)
        if not difference:
            labels = (*owner.labels, fitted)
            groups[index] = dataclasses.replace(owner, labels=labels)
            return
        reason = reason or difference
    groups.append(Group(label, reason=reason))


def _read_with(label: Picture, image: Picture) -> bool:
    if label.origin is None or image.origin is None or not image.origin.address:
        return False
    return label.origin.address.startswith(f"{image.origin.address.rstrip('/')}/")


def _common_origin(pictures: Sequence[Picture]) -> Origin | None:
    """Give the image that all come from, if there is one."""
    addresses = {p.origin.address if p.origin else "" for p in pictures}
    return pictures[0].origin if len(addresses) == 1 else None


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _once(sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentences))
