"""From layers and options to a plan; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import LossError, OptionError
from napari_omezarr.pyramid import Pyramid

from .arrays import compression
from .checking import checked
from .chunking import (
    whole_chunks,
)
from .cutting import Structure, level_shapes, stored_units
from .described import SAVED, describe, layer_data
from .grouping import group
from .picture import Picture
from .plan import ImagePlan, Plan
from .pyramid_plan import Level, level_affine, passes
from .rendering import folder_name

if TYPE_CHECKING:
    from napari_omezarr.metadata import Axis

    from .grouping import Group
    from .options import WriteOptions

_MOST_AXES = 5


def plan_layers(
    layers: Iterable[Any],
    name: str,
    options: WriteOptions,
    *,
    object_store: bool = False,
) -> Plan:
    """Decide how layers are written; reads no pixel.

    Parameters
    ----------
    layers : iterable
        Napari layers, layer data tuples or pyramids. Those that OME-Zarr has no
        place for are left out, and are among the plan's losses.
    name : str
        What the whole is called where nothing else gives a name.
    options : WriteOptions
        The choices.
    object_store : bool, optional
        The target is one, so that many small objects are worth avoiding.

    Raises
    ------
    OptionError
        There is nothing to save, or an option does not fit the layers.
    UnsupportedDataError
        Pixels of a layer are of a type that cannot be saved.
    """
    pictures, losses = _pictures(layers)
    pictures = [_renamed(picture, options) for picture in pictures]
    return plan_groups(
        group(pictures, merge=options.merge),
        name,
        options,
        object_store=object_store,
        losses=losses,
    )


def plan_groups(
    groups: Sequence[Group],
    name: str,
    options: WriteOptions,
    *,
    object_store: bool = False,
    losses: Sequence[str] = (),
) -> Plan:
    """Decide how groups of pictures are written; see `plan_layers`."""
    if not groups:
        raise OptionError(
            "There is no image and no labels layer to save.",
            action="Choose at least one.",
        )
    collection = len(groups) > 1
    images: list[ImagePlan] = []
    for number, members in enumerate(groups):
        path = str(number) if collection else ""
        images += _plan_group(members, path, name, options, object_store=object_store)
    pictures = [image.picture for image in images]
    notes = [note for picture in pictures for note in picture.notes]
    notes += [
        f"{image.picture.name} becomes an image of its own: {image.reason}."
        for image in images
        if image.reason
    ]
    lost = [*losses, *(loss for picture in pictures for loss in picture.losses)]
    return Plan(
        images=tuple(images),
        options=options,
        name=name,
        collection=collection,
        losses=tuple(dict.fromkeys(lost)),
        notes=tuple(dict.fromkeys(notes)),
    )


def agreed(plan: Plan) -> None:
    """Check that what would be lost has been agreed to.

    Raises
    ------
    LossError
        Something would be lost.
    """
    if plan.losses and not plan.options.accept_losses:
        raise LossError(
            " ".join(plan.losses),
            action="Agree to that (accept_losses), or choose another version.",
        )


def plan_image(
    picture: Picture,
    path: str,
    options: WriteOptions,
    *,
    object_store: bool = False,
    structure: Structure | None = None,
) -> ImagePlan:
    """Decide how one image, or label image, is written.

    Parameters
    ----------
    picture : Picture
        Its axes are in the order that OME-Zarr wants.
    path : str
        Of its group.
    options : WriteOptions
        The choices; sizes are by axis name, or for these axes.
    object_store : bool, optional
        See `plan_layers`.
    structure : Structure or None, optional
        The levels of the image that these labels belong to.
    """
    picture = checked(picture, options)
    shapes, factors = level_shapes(picture, options, structure)
    chunks, shards = stored_units(picture, options, object_store=object_store)
    levels = []
    total = (1,) * len(picture.shape)
    for number, (shape, step) in enumerate(zip(shapes, factors, strict=True)):
        total = tuple(a * b for a, b in zip(total, step, strict=True))
        cut = tuple(min(c, max(1, s)) for c, s in zip(chunks, shape, strict=True))
        region = shards and [-(-s // f) for s, f in zip(shards, total, strict=True)]
        levels.append(
            Level(
                path=str(number),
                shape=shape,
                chunks=cut,
                shards=whole_chunks(region, cut, shape) if region else None,
                step=step,
                factors=total,
                affine=level_affine(picture.affine, total),
            )
        )
    source = picture.source
    is_label = picture.label is not None
    codec, strength = options.codec, options.level
    if is_label:
        codec, strength = options.label_codec, options.label_level
    return ImagePlan(
        path=path,
        picture=picture,
        levels=tuple(levels),
        passes=passes(levels, source.dtype.itemsize, options.memory, source.chunks),
        method=options.label_method if is_label else options.image_method,
        codec=compression(codec, strength, options.version, source.dtype),
    )


def _plan_group(
    members: Group, path: str, name: str, options: WriteOptions, *, object_store: bool
) -> list[ImagePlan]:
    image = members.image
    given = options.name if options.name and not path else None
    image = replace(image, name=given or image.name or name)
    options = _by_name(options, image.axes)
    plan = plan_image(image, path, options, object_store=object_store)
    structure = structure_of(plan)
    taken: list[str] = []
    labels = []
    for label in members.labels:
        folder = folder_name(label.name, taken)
        taken.append(folder)
        place = f"{path}/labels/{folder}" if path else f"labels/{folder}"
        labels.append(
            plan_image(
                label, place, options, object_store=object_store, structure=structure
            )
        )
    plan = replace(plan, labels=tuple(taken), reason=members.reason)
    return [plan, *labels]


def structure_of(image: ImagePlan) -> Structure:
    """Give what labels take over from their image."""
    return Structure(
        tuple(axis.name for axis in image.picture.axes),
        tuple(level.shape for level in image.levels),
        tuple(level.step for level in image.levels),
    )


def _pictures(layers: Iterable[Any]) -> tuple[list[Picture], list[str]]:
    pictures, losses = [], []
    for layer in map(layer_data, layers):
        if isinstance(layer, Pyramid | Picture) or layer[2] in SAVED:
            pictures.append(describe(layer))
        else:
            name = layer[1].get("name") or "one"
            losses.append(
                f"OME-Zarr has no place for {layer[2]} layers: {name} is left out."
            )
    return pictures, losses


def _renamed(picture: Picture, options: WriteOptions) -> Picture:
    names, units = options.axis_names or {}, options.units or {}
    known = {axis.name for axis in picture.axes}
    axes = tuple(
        replace(
            axis,
            name=names.get(axis.name, axis.name),
            unit=units.get(axis.name, units.get(names.get(axis.name, ""), axis.unit)),
        )
        for axis in picture.axes
    )
    if len({axis.name for axis in axes}) < len(known):
        raise OptionError("Two axes would have the same name.")
    return replace(picture, axes=axes)


def _by_name(options: WriteOptions, axes: Sequence[Axis]) -> WriteOptions:
    """Give options whose sizes are by the names of these axes."""

    def named(what: str, sizes: Any) -> Any:
        if sizes is None or isinstance(sizes, bool | Mapping):
            return sizes
        if len(sizes) != len(axes):
            names = ", ".join(axis.name for axis in axes)
            raise OptionError(
                f"{len(sizes)} {what} do not fit the {len(axes)} axes {names}."
            )
        return {axis.name: size for axis, size in zip(axes, sizes, strict=True)}

    return replace(
        options,
        chunks=named("chunk sizes", options.chunks),
        shards=named("shard sizes", options.shards),
        factors=named("factors", options.factors),
    )
