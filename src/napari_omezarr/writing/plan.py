"""What will be written, decided completely before a byte moves; values only."""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, zip_longest
from typing import TYPE_CHECKING, Any, TypeGuard

from napari_omezarr.errors import LossError, OptionError
from napari_omezarr.metadata import Affine, normalized_unit
from napari_omezarr.plain_text import by_times, counted
from napari_omezarr.pyramid import Pyramid
from napari_omezarr.tables import GROUP, TABLE_RECORD, Table

from .annotations import ANNOTATIONS, TablePlan, geometry, plan_features
from .carrying import CarryPlan, plan_carried
from .chunking import (
    COPIES,
    MANY_FILES,
    LevelPlan,
    Structure,
    WritePass,
    kept_levels,
    level_shapes,
    objects,
    steps_between,
    stored_units,
    write_passes,
)
from .encode import Compression, array_document, compression
from .from_arrays import Channels, Grid, describe_array, units_by_axis
from .from_layers import SAVED, describe, is_array, layer_data, listed
from .image_spec import ImageSpec, group, unit_name
from .rendering import folder_name
from .source import empty_is_nan

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from napari_omezarr.metadata import Axis
    from napari_omezarr.pyramid import Bounds

    from .from_layers import LayerData
    from .image_spec import ImageGroup, Resolution
    from .journal import Key
    from .options import Method, WriteOptions
    from .source import PixelSource

_RATIOS = {"none": 1.0, "blosc-lz4": 0.7}
_USUAL_RATIO = 0.6
_LABEL_RATIO = 0.06
"""How much of an image, and of labels, is usually left after compression."""
_MOST_AXES = 5
HELD = 4
"""What is kept of chunks for other blocks is in memory up to this part of it."""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """One image, or label image, that will be written."""

    path: str
    spec: ImageSpec
    levels: tuple[LevelPlan, ...]
    passes: tuple[WritePass, ...]
    method: Method
    codec: Compression
    kept: tuple[Resolution, ...] = ()
    """The resolutions that the coarser levels are copied from; else they are made."""
    labels: tuple[str, ...] = ()
    """The names of its label images, which lie in ``labels`` below it."""
    features: TablePlan | None = None
    """The table that is written beside labels."""
    reason: str = ""
    """Why it does not share an image with others, or belong to one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels, in native byte order."""
        return self.spec.source.dtype

    @property
    def fill(self) -> float:
        """What pixels are that are not stored: 0, or NaN as in what is read."""
        is_float = self.dtype.kind == "f"
        return math.nan if is_float and empty_is_nan(self.spec.source) else 0.0

    @property
    def is_label(self) -> bool:
        """Whether it is a label image."""
        return self.spec.label is not None

    @property
    def raw_bytes(self) -> int:
        """The size of all levels without compression."""
        pixels = sum(math.prod(level.shape) for level in self.levels)
        return pixels * self.dtype.itemsize

    @property
    def objects(self) -> int:
        """How many objects hold its pixels, empty ones counted."""
        return sum(level.objects for level in self.levels)

    @property
    def estimated_bytes(self) -> int:
        """About what will be stored; a guess from experience, not from pixels."""
        usual = _LABEL_RATIO if self.is_label else _USUAL_RATIO
        ratio = _RATIOS.get(self.codec.name, usual)
        return int(self.raw_bytes * ratio)

    def written_in(self, write_pass: WritePass) -> tuple[LevelPlan, ...]:
        """Give the levels that a pass writes."""
        return self.levels[write_pass.first : write_pass.last + 1]

    def array_path(self, level: LevelPlan) -> str:
        """Give the path of a level's array in the store."""
        return f"{self.path}/{level.path}" if self.path else level.path


@dataclass(frozen=True, slots=True)
class Plan:
    """All that will be written, and what there is to say before.

    Each of ``images`` is followed by its label images; the root of a ``collection`` is
    a bioformats2raw layout of several. ``losses`` is what this version cannot keep
    (nothing is written until that is agreed to), ``notes`` what is worth knowing, a
    sentence each.
    """

    images: tuple[ImagePlan, ...]
    options: WriteOptions
    name: str
    collection: bool = False
    losses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    annotations: tuple[TablePlan, ...] = ()
    """Points, shapes and tracks, which are tables beside their image."""
    carried: tuple[CarryPlan, ...] = ()
    """What lies beside images where they are read, and goes with them as it is."""

    @property
    def objects(self) -> int:
        """How many objects will be stored: chunks or shards, and documents."""
        per_group = 2 if self.options.version == "0.4" else 1
        groups = len(self.images) + sum(bool(image.labels) for image in self.images)
        groups += 2 * self.collection
        arrays = sum(len(image.levels) for image in self.images)
        documents = arrays + groups * per_group
        if self.options.version == "0.4" and self.options.consolidated:
            documents += 1
        documents += sum(len(each.objects) for each in self.tables if each.is_known)
        listing = {e.image for e in self.carried if GROUP in e.extras or e.tables}
        documents += per_group * len(listing | {each.image for each in self.tables})
        documents += sum(len(e.objects) + len(e.documents) for e in self.carried)
        return documents + sum(image.objects for image in self.images)

    @property
    def tables(self) -> tuple[TablePlan, ...]:
        """All tables that are written."""
        of_labels = (i.features for i in self.images if i.features is not None)
        return (*of_labels, *self.annotations)

    @property
    def objects_by_level(self) -> tuple[int, ...]:
        """How many of them hold pixels of each level, over all images."""
        counts = [[level.objects for level in image.levels] for image in self.images]
        return tuple(map(sum, zip_longest(*counts, fillvalue=0)))

    @property
    def raw_bytes(self) -> int:
        """The size of all pixels without compression."""
        return sum(image.raw_bytes for image in self.images)

    @property
    def estimated_bytes(self) -> int:
        """About what will be stored."""
        return sum(image.estimated_bytes for image in self.images)

    @property
    def blocks(self) -> int:
        """How many blocks will be worked through."""
        return sum(p.count for image in self.images for p in image.passes)

    @property
    def memory(self) -> int:
        """Bytes that are needed above what the source holds, at most."""
        most = self.options.memory
        return max(
            int(COPIES * block_bytes(image, write_pass))
            * width(image, write_pass, most)
            for image in self.images
            for write_pass in image.passes
        )

    @property
    def places(self) -> frozenset[str]:
        """The addresses that are read while this is written."""
        return frozenset().union(*(i.spec.source.places for i in self.images))

    @property
    def digest(self) -> str:
        """Names all that decides on stored pixels: equal digests, equal chunks."""
        text = json.dumps([_fingerprint(self, image) for image in self.images])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def summary(self) -> str:
        """Say it in one line, for a person."""
        levels = len(self.objects_by_level)
        counts = " + ".join(f"{count:,}" for count in self.objects_by_level)
        rest = self.objects - sum(self.objects_by_level)
        others = f"{rest:,} of metadata{' and tables' if self.tables else ''}"
        split = f" ({counts} by level and {others})" if levels > 1 else ""
        kinds = [f"{counted(self.objects, 'object')}{split}"]
        kinds.append(f"about {_size(self.estimated_bytes)}")
        kinds.append(counted(levels, "level"))
        return ", ".join(kinds)

    def all_blocks(self) -> Iterator[tuple[Key, ImagePlan, WritePass, Bounds]]:
        """Give all blocks, by the key that each has in the journal."""
        for number, turn, image, write_pass in self.all_passes():
            for index, bounds in enumerate(write_pass.blocks()):
                yield (number, turn, index), image, write_pass, bounds

    def all_passes(self) -> Iterator[tuple[int, int, ImagePlan, WritePass]]:
        """Give all passes in the order in which they are made, with their numbers."""
        for number, image in enumerate(self.images):
            for turn, write_pass in enumerate(image.passes):
                yield number, turn, image, write_pass


def level_document(plan: Plan, image: ImagePlan, level: LevelPlan) -> dict[str, Any]:
    """Give the metadata document of a level's array."""
    return array_document(
        version=plan.options.version,
        shape=level.shape,
        chunks=level.chunks,
        shards=level.shards,
        dtype=image.dtype,
        codec=image.codec,
        names=[axis.name for axis in image.spec.axes],
        fill=image.fill,
    )


def width(image: ImagePlan, write_pass: WritePass, memory: int) -> int:
    """Give how many blocks of a pass may be in work at a time; at least one.

    Where chunks are kept for other blocks, those have their part of the memory.
    """
    if write_pass.region:
        memory -= memory // HELD
    fitting = int(memory / COPIES / max(1, block_bytes(image, write_pass)))
    return max(1, min(write_pass.count, fitting))


def block_bytes(image: ImagePlan, write_pass: WritePass) -> int:
    """Give the bytes of one block as it is read."""
    return math.prod(write_pass.block) * image.dtype.itemsize


def held_bytes(image: ImagePlan, write_pass: WritePass) -> int:
    """Give the bytes that are kept, so that no chunk of what is read is read twice."""
    return write_pass.held * image.dtype.itemsize


def with_displays(plan: Plan, number: int, displays: Any) -> Plan:
    """Give the plan with channels of one image shown otherwise."""
    image = plan.images[number]
    spec = replace(image.spec, displays=tuple(displays))
    images = list(plan.images)
    images[number] = replace(image, spec=spec)
    return replace(plan, images=tuple(images))


def _fingerprint(plan: Plan, image: ImagePlan) -> list[Any]:
    return [
        image.path,
        image.method,
        [level_document(plan, image, level) for level in image.levels],
        [level.step for level in image.levels],
        [
            [write_pass.first, write_pass.last, write_pass.block, write_pass.region]
            for write_pass in image.passes
        ],
    ]


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g} {unit}" if count < 100 else f"{count:.0f} {unit}"


# What an image may be in each version: what has to go is a loss, the rest a note.


def checked(spec: ImageSpec, options: WriteOptions) -> ImageSpec:
    """Take out what the version cannot hold, and say so."""
    losses, notes = list(spec.losses), list(spec.notes)
    affine = spec.affine
    if 0 in spec.shape:
        raise OptionError(f"{spec.name} has no pixels: it is empty along an axis.")
    losses += [spec.lost] if spec.lost else []
    if not affine.has_sizes:
        raise OptionError(f"{spec.name} has a pixel of no size along some axis.")
    if not affine.is_diagonal and options.version != "0.6":
        losses.append(
            f"OME-Zarr {options.version} cannot hold the rotation or shear of "
            f"{spec.name}; 0.6 can."
        )
        affine = Affine.from_diagonal(affine.scale, affine.translation)
    elif options.version != "0.6" and min(affine.scale) < 0:
        notes.append(
            f"{spec.name} is mirrored, which is said by a negative scale up to 0.5; "
            "some programs refuse that."
        )
    notes += _axis_notes(spec)
    return replace(spec, affine=affine, losses=tuple(losses), notes=tuple(notes))


def _axis_notes(spec: ImageSpec) -> list[str]:
    axes, name = spec.axes, spec.name
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
    if spec.label is not None and isinstance(spec.label.table, Table):
        rows = spec.label.table.rows
        notes.append(
            f"The features of {name} ({counted(rows, 'row')}) become a table beside "
            "the labels."
        )
    dtype = spec.source.dtype
    if spec.label is not None and dtype.itemsize > 4:
        notes.append(
            f"The labels {name} are whole numbers of 64 bits, which viewers on the web "
            "lack, or show only up to 2**53; 32 bits hold most."
        )
    if spec.rgb and spec.source.dtype.name != "uint8":
        notes.append(f"{name} opens as three channels: only 8-bit RGB is known as RGB.")
    return notes


# From layers and options to a plan; pure.


def plan_layers(
    layers: Iterable[Any],
    name: str,
    options: WriteOptions,
    *,
    object_store: bool = False,
) -> Plan:
    """Decide how layers (of napari, tuples, pyramids) are written; reads no pixel.

    Those that OME-Zarr has no place for are left out, and are among the losses; many
    small objects are avoided in an object store.
    """
    given = [each if is_array(each) else layer_data(each) for each in listed(layers)]
    beside = [each for each in given if _is_annotation(each)]
    specs, losses = _specs(each for each in given if not _is_annotation(each))
    specs = [_renamed(spec, options) for spec in specs]
    plan = plan_groups(
        group(specs, merge=options.merge),
        name,
        options,
        object_store=object_store,
        losses=losses,
    )
    plan = _with_annotations(plan, beside) if beside else plan
    return _with_carried(plan)


def _with_carried(plan: Plan) -> Plan:
    """Take along what lies beside the images that are written anew."""
    carried: list[CarryPlan] = []
    taken = {f"{each.image}/{GROUP}/{each.name}".lstrip("/") for each in plan.tables}
    for image in plan.images:
        below = f"{image.path}/" if image.path else ""
        taken |= {f"{image.path}/{level.path}".lstrip("/") for level in image.levels}
        taken |= {f"{below}labels/{name}" for name in image.labels}
        taken |= {image.path} - {""}
    for image in plan.images:
        for each in image.spec.beside:
            path = "" if each.is_above else image.path
            below = f"{path}/" if path else ""
            here = {t.removeprefix(below) for t in taken if t.startswith(below)}
            name = image.spec.name or plan.name
            made = plan_carried(each, path, name, plan.options.version, here)
            taken |= {f"{below}{unit}" for unit in made.units}
            carried.append(made)
    return replace(
        plan,
        carried=tuple(carried),
        losses=(*plan.losses, *(loss for e in carried for loss in e.losses)),
        notes=(*plan.notes, *(note for e in carried for note in e.notes)),
    )


def _is_annotation(layer: Any) -> TypeGuard[LayerData]:
    return isinstance(layer, tuple) and layer[2] in ANNOTATIONS


def _with_annotations(plan: Plan, layers: Sequence[LayerData]) -> Plan:
    """Add tables of points, shapes and tracks beside the image that they lie upon."""
    images = [image for image in plan.images if not image.is_label] or plan.images[:1]
    taken: dict[str, list[str]] = {}
    for each in plan.tables:
        taken.setdefault(each.image, []).append(each.name)
    for image in images:
        there = taken.setdefault(image.path, [])
        units = [unit for each in image.spec.beside for unit in each.units]
        there += [u.partition("/")[2] for u in units if u.startswith(f"{GROUP}/")]
    found: list[TablePlan] = []
    for data, options, kind in layers:
        read = str((options.get("metadata") or {}).get(TABLE_RECORD) or "")
        home = next((image for image in images if _is_home(image, read)), images[0])
        known = {axis.name: axis for axis in home.spec.axes}
        name = folder_name(str(options.get("name") or kind), taken.get(home.path, ()))
        taken.setdefault(home.path, []).append(name)
        made = geometry(data, options, kind, known)
        found.append(TablePlan(home.path, name, "", plan.options.version, made))
    notes = (f"{each.name} becomes a table beside the image." for each in found)
    return replace(plan, annotations=tuple(found), notes=(*plan.notes, *notes))


def _is_home(image: ImagePlan, read: str) -> bool:
    """Whether a layer was read from a table beside an image."""
    origin = image.spec.origin
    home = origin.address.rstrip("/") if origin else ""
    return bool(home) and read.startswith(f"{home}/{GROUP}/")


def plan_groups(
    groups: Sequence[ImageGroup],
    name: str,
    options: WriteOptions,
    *,
    object_store: bool = False,
    losses: Sequence[str] = (),
) -> Plan:
    """Decide how groups of specs are written; see `plan_layers`."""
    if not groups:
        raise OptionError(
            "There is no image and no labels layer to save.",
            action="Choose at least one; points, shapes and tracks go with it.",
        )
    _check_names(groups, options)
    collection = len(groups) > 1
    images: list[ImagePlan] = []
    for number, members in enumerate(groups):
        path = str(number) if collection else ""
        images += _plan_group(members, path, name, options, object_store=object_store)
    specs = [image.spec for image in images]
    notes = [note for spec in specs for note in spec.notes]
    notes += [note for image in images for note in _held_notes(image, options.memory)]
    if not object_store:
        notes += _files_notes(images, options)
    notes += [
        f"{image.spec.name} becomes an image of its own: {image.reason}."
        for image in images
        if image.reason
    ]
    lost = [*losses, *(loss for spec in specs for loss in spec.losses)]
    return Plan(
        images=tuple(images),
        options=options,
        name=name,
        collection=collection,
        losses=tuple(dict.fromkeys(lost)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _files_notes(images: Sequence[ImagePlan], options: WriteOptions) -> list[str]:
    """Propose shards, where a disk would get very many files."""
    count = sum(image.objects for image in images)
    if options.shards is not None or count < MANY_FILES:
        return []
    sharded = replace(options, version="0.5", shards=True)
    fewer = 0
    for image in images:
        levels = image.levels
        shapes, factors = [lv.shape for lv in levels], [lv.factors for lv in levels]
        units = stored_units(image.spec, sharded, shapes, factors, object_store=False)
        fewer += sum(
            objects(shape, shards or chunks)
            for shape, (chunks, shards) in zip(shapes, units, strict=True)
        )
    how = "shards" if options.version != "0.4" else "version 0.5 with shards"
    return [f"These are {count:,} files, which take long to copy; {how}: {fewer:,}."]


def _held_notes(image: ImagePlan, memory: int) -> list[str]:
    """Say that room is needed, where chunks of the source and the target cross."""
    kept = max((held_bytes(image, each) for each in image.passes), default=0)
    if kept <= memory // HELD:
        return []
    chunks = by_times(image.spec.source.chunks)
    return [
        f"{image.spec.name} is stored in other chunks than it is read in: about "
        f"{_size(kept)} are kept on this disk while it is saved, so that nothing is "
        f"read twice. Chunks like {chunks} need none of it."
    ]


def _check_names(groups: Sequence[ImageGroup], options: WriteOptions) -> None:
    """Check that sizes are about axes that are there."""
    known = {axis.name for members in groups for axis in members.image.axes}
    for sizes in (options.chunks, options.shards, options.factors):
        unknown = set(sizes) - known if isinstance(sizes, Mapping) else ()
        if unknown:
            raise OptionError(
                f"There is no axis {min(map(str, unknown))}.",
                action=f"There are {', '.join(sorted(known))}.",
            )


def accepted(plan: Plan) -> None:
    """Check that what would be lost has been agreed to."""
    if plan.losses and not plan.options.accept_losses:
        raise LossError(
            " ".join(plan.losses),
            action="Agree to that (accept_losses), or choose another version or image.",
        )


def plan_image(
    spec: ImageSpec,
    path: str,
    options: WriteOptions,
    *,
    object_store: bool = False,
    structure: Structure | None = None,
) -> ImagePlan:
    """Decide how one image, or label image, is written.

    Its axes are in the order that OME-Zarr wants; ``structure`` are the levels of the
    image that labels belong to.
    """
    spec = checked(spec, options)
    shapes, factors = level_shapes(spec, options, structure)
    kept: tuple[Resolution, ...] = ()
    if options.existing_resolutions and spec.coarser:
        known = None if spec.label is None or structure is None else shapes
        found = kept_levels(spec, options.levels, known)
        if found is None:
            note = f"The resolutions of {spec.name} do not fit, and are made anew."
            spec = replace(spec, notes=(*spec.notes, note))
        else:
            shapes, factors = found
            kept = spec.coarser[: len(shapes) - 1]
    totals = list(accumulate(factors, lambda a, b: tuple(map(operator.mul, a, b))))
    units = stored_units(spec, options, shapes, totals, object_store=object_store)
    levels = [
        LevelPlan(
            path=str(number),
            shape=shape,
            chunks=chunks,
            shards=shards,
            step=(1,) * len(shape) if kept else step,
            factors=total,
            affine=_level_affine(spec, total, kept[number - 1 : number]),
        )
        for number, (shape, step, total, (chunks, shards)) in enumerate(
            zip(shapes, factors, totals, units, strict=True)
        )
    ]
    source = spec.source
    is_label = spec.label is not None
    codec, strength = options.codec, options.level
    if is_label:
        codec, strength = options.label_codec, options.label_level
    return ImagePlan(
        path=path,
        spec=spec,
        levels=tuple(levels),
        passes=_passes(levels, source, options.memory, kept),
        method=options.label_method if is_label else options.image_method,
        codec=compression(codec, strength, options.version, source.dtype),
        kept=kept,
        features=plan_features(spec, path, options.version),
    )


def _level_affine(
    spec: ImageSpec, factors: Sequence[int], kept: Sequence[Resolution]
) -> Affine:
    """Give where a level lies: as its resolution says, if it is one that is kept."""
    for resolution in kept:
        if resolution.place is not None:
            return spec.affine @ resolution.place
    return spec.affine.coarser(factors)


def _passes(
    levels: Sequence[LevelPlan],
    source: PixelSource,
    memory: int,
    kept: Sequence[Resolution],
) -> tuple[WritePass, ...]:
    """Decide on the passes; each resolution that is kept has one of its own."""
    size = source.dtype.itemsize
    if not kept:
        return write_passes(levels, size, memory, source.chunks)
    sources = [source, *(each.source for each in kept)]
    return tuple(
        replace(each, first=number, last=number)
        for number, (level, read) in enumerate(zip(levels, sources, strict=True))
        for each in write_passes([level], size, memory, read.chunks)
    )


def _plan_group(
    members: ImageGroup,
    path: str,
    name: str,
    options: WriteOptions,
    *,
    object_store: bool,
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
        tuple(axis.name for axis in image.spec.axes),
        tuple(level.shape for level in image.levels),
        steps_between([level.factors for level in image.levels]),
    )


def _specs(layers: Iterable[Any]) -> tuple[list[ImageSpec], list[str]]:
    specs, losses = [], []
    for layer in layers:
        if is_array(layer):
            specs.append(describe_array(layer, Grid(), "", Channels()))
            continue
        if isinstance(layer, Pyramid | ImageSpec) or layer[2] in SAVED:
            specs.append(describe(layer))
        else:
            name = layer[1].get("name") or "one"
            losses.append(
                f"OME-Zarr has no place for {layer[2]} layers: {name} is left out."
            )
    return specs, losses


def _renamed(spec: ImageSpec, options: WriteOptions) -> ImageSpec:
    names, units = options.axis_names or {}, options.units or {}
    known = {axis.name for axis in spec.axes}
    usual = {axis.name: axis.unit for axis in spec.axes}
    if isinstance(units, Mapping):  # by their present names, or by the new ones
        said = {n: units.get(n, units.get(names.get(n, ""), usual[n])) for n in usual}
        units = {name: unit for name, unit in said.items() if unit}
    found = units_by_axis(units, spec.axes, usual)
    axes = tuple(
        replace(axis, name=names.get(axis.name, axis.name), unit=unit_name(unit))
        for axis, unit in zip(spec.axes, found, strict=True)
    )
    if len({axis.name for axis in axes}) < len(known):
        raise OptionError("Two axes would have the same name.")
    return replace(spec, axes=axes)


def _by_name(options: WriteOptions, axes: Sequence[Axis]) -> WriteOptions:
    """Give options whose sizes are by the names of these axes."""

    def named(what: str, sizes: Any) -> Any:
        if sizes is None or isinstance(sizes, bool | Mapping):
            return sizes
        if isinstance(sizes, int):
            return {axis.name: sizes for axis in axes if axis.type == "space"}
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
