"""From layers and options to a plan; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import LossError, OptionError
from napari_omezarr.metadata import Affine, normalized_unit
from napari_omezarr.pyramid import Pyramid

from .arrays import compression
from .chunking import (
    MANY_OBJECTS,
    default_chunks,
    default_shards,
    named_sizes,
    objects,
    whole_chunks,
)
from .described import SAVED, describe, layer_data
from .downsample import coarser_shape
from .grouping import group
from .picture import Picture
from .plan import ImagePlan, Plan
from .pyramid_plan import Level, level_affine, passes, steps
from .rendering import folder_name

if TYPE_CHECKING:
    from napari_omezarr.metadata import Axis

    from .grouping import Group
    from .options import WriteOptions

_MOST_AXES = 5


@dataclass(frozen=True, slots=True)
class Structure:
    """What the levels of labels take over from their image.

    ``names`` are the axes; ``shapes`` and ``steps`` those of all its levels.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    steps: tuple[tuple[int, ...], ...]


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
    picture = _checked(picture, options)
    shapes, factors = _shapes(picture, options, structure)
    chunks, shards = _units(picture, options, object_store=object_store)
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
        codec=compression(codec, strength, options.version),
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


def _checked(picture: Picture, options: WriteOptions) -> Picture:
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


def _shapes(
    picture: Picture, options: WriteOptions, structure: Structure | None
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    if structure is not None:
        return _like(picture, structure)
    fixed = options.factors
    spacing = picture.affine.scale
    ones = (1,) * len(picture.shape)
    chosen = steps(
        picture.axes,
        picture.shape,
        spacing,
        options.levels,
        named_sizes(fixed, picture.axes, ones) if isinstance(fixed, Mapping) else None,
    )
    shapes = [picture.shape]
    for step in chosen[1:]:
        shapes.append(coarser_shape(shapes[-1], step))
    return shapes, list(chosen)


def _like(
    picture: Picture, structure: Structure
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Give labels the levels of their image, along the axes that they have."""
    where = [structure.names.index(axis.name) for axis in picture.axes]
    single = [size == 1 for size in picture.shape]

    def taken(sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            1 if one else sizes[i] for i, one in zip(where, single, strict=True)
        )

    shapes = [taken(shape) for shape in structure.shapes]
    return shapes, [taken(step) for step in structure.steps]


def _units(
    picture: Picture, options: WriteOptions, *, object_store: bool
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Decide on chunks and shards of the finest level."""
    shape, axes = picture.shape, picture.axes
    itemsize = picture.source.dtype.itemsize
    spacing = picture.affine.scale
    chunks = default_chunks(axes, shape, itemsize, spacing, options.layout)
    if isinstance(options.chunks, Mapping):
        chunks = named_sizes(options.chunks, axes, chunks)
        chunks = tuple(min(c, max(1, s)) for c, s in zip(chunks, shape, strict=True))
    wanted = options.shards
    if isinstance(wanted, Mapping):
        sizes = named_sizes(wanted, axes, chunks)
        parts = zip(sizes, chunks, shape, strict=True)
        if any(size % chunk and size < full for size, chunk, full in parts):
            raise OptionError(
                f"Shards of {_times(sizes)} are no whole chunks of {_times(chunks)}.",
                action="Choose multiples of the chunk.",
            )
        return chunks, whole_chunks(sizes, chunks, shape)
    many = object_store and objects(shape, chunks) > MANY_OBJECTS
    if options.version != "0.4" and (wanted or (wanted is None and many)):
        return chunks, default_shards(axes, shape, chunks, itemsize)
    return chunks, None


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
