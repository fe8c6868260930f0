"""An image that is there: its documents are read, changed and put back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, cast, get_args

from napari_omezarr.errors import (
    ConflictError,
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
)
from napari_omezarr.location import (
    ARRAY_DOCUMENT,
    GROUP_DOCUMENT,
    ZARR_JSON,
    ZMETADATA,
    label_name,
)
from napari_omezarr.metadata import (
    Affine,
    DocumentError,
    Image,
    Multiscale,
    fit_axes,
    known_unit,
    load_json,
    normalized_unit,
    parse_document,
)
from napari_omezarr.plain_text import by_times

from .chunking import Structure, default_shards, named_sizes, whole_chunks
from .containers import as_zarr3, itemsize_of, known_array, storage_of
from .documents import dataset_document
from .encode import ZarrDocument, encoded
from .engine import StoredArray
from .from_arrays import along, units_by_axis
from .image_spec import whole_range
from .options import Version
from .rendering import (
    NAPARI,
    channel_document,
    image_label_document,
    napari_document,
    rdefs_document,
)
from .update import Change, update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from napari_omezarr.metadata import Axis
    from napari_omezarr.store import GetResult

    from .containers import ChunkStorage
    from .from_arrays import ByAxis, UnitsByAxis
    from .hierarchy import Hierarchy
    from .image_spec import ImageSpec

    DocumentEdit = Callable[[dict[str, Any] | None], dict[str, Any] | None]

_SIZES = ("chunks", "shards")

# An image that is there: read its documents, change them, put them back.


@dataclass(frozen=True, slots=True)
class ExistingImage:
    """An image, or a label image, of a hierarchy."""

    hierarchy: Hierarchy
    path: str
    version: Version
    """What is added has to be of the same one (0.5: uniform in a hierarchy)."""
    multiscale: Multiscale
    levels: tuple[StoredArray, ...]
    method: str | None = None
    """How the image says that its coarser levels were made."""
    worlds: tuple[Affine, ...] = ()
    """Where its finest level lies in each coordinate system that it has (0.6), the one
    first in which it is shown."""

    @property
    def is_label(self) -> bool:
        """Whether it is a label image: it says so, or lies among labels as one."""
        if self.multiscale.label is not None:
            return True
        integers = self.levels[0].dtype.kind in "biu"
        place = f"{self.hierarchy.address}/{self.path}".rstrip("/")
        return (
            bool(label_name(place)) and self.multiscale.rendering is None and integers
        )

    def refuse_labels(self, what: str) -> None:
        """Refuse what belongs to an image, where this is a label image of one.

        Raises
        ------
        OptionError
            It is.
        """
        if self.is_label:
            address = self.hierarchy.address
            image = address.rstrip("/").rpartition("/labels/")[0]
            raise OptionError(
                f"{address} is a label image, and {what} are added to an image.",
                action=f"Give {image}." if image else "Give the address of its image.",
                url=address,
            )

    @property
    def structure(self) -> Structure:
        """How its levels follow each other."""
        shapes = [level.shape for level in self.levels]
        steps = [(1,) * len(shapes[0])]
        for finer, coarser in itertools.pairwise(shapes):
            steps.append(_step(finer, coarser, self.hierarchy.address))
        names = tuple(axis.name for axis in self.multiscale.axes)
        return Structure(names, tuple(shapes), tuple(steps))


@dataclass(frozen=True, slots=True)
class GroupDocument:
    """The document that holds a group's attributes, as it was read.

    ``content`` is the whole document, ``block`` the OME-Zarr metadata in it;
    changing either changes ``content``.
    """

    key: str
    stored: GetResult
    content: dict[str, Any]
    zarr_format: int

    @property
    def attributes(self) -> dict[str, Any]:
        """The group's attributes."""
        return attributes_of(self.content, self.zarr_format)

    @property
    def block(self) -> dict[str, Any]:
        """The OME-Zarr metadata: below ``ome`` from 0.5 on."""
        return ome_block(self.content, self.zarr_format)

    @property
    def body(self) -> bytes:
        """The document's bytes."""
        return encoded(self.content)


def attributes_of(content: dict[str, Any], zarr_format: int) -> dict[str, Any]:
    """Give the attributes in a group's document; changing them changes it."""
    if zarr_format == 2:
        return content
    attributes: dict[str, Any] = content.setdefault("attributes", {})
    return attributes


def ome_block(content: dict[str, Any], zarr_format: int) -> dict[str, Any]:
    """Give the OME-Zarr metadata in a group's document; changing them changes it."""
    attributes = attributes_of(content, zarr_format)
    inner = attributes.get("ome")
    return inner if isinstance(inner, dict) else attributes


def read_group(hierarchy: Hierarchy, path: str) -> GroupDocument | None:
    """Read what holds a group's attributes; None where there is no group."""
    below = f"{path}/" if path else ""
    for zarr_format, name in GROUP_DOCUMENT.items():
        stored = hierarchy.read(f"{below}{name}")
        if stored is not None:
            content = document_of(stored, f"{below}{name}")
            return GroupDocument(f"{below}{name}", stored, content, zarr_format)
    return None


class _DocumentChange(Change):
    """A change of a JSON document."""

    def __init__(self, key: str, change: DocumentEdit) -> None:
        super().__init__(key)
        self._change = change

    def made(self, found: GetResult | None) -> bytes | None:
        """Change the document."""
        before = None if found is None else document_of(found, self.key)
        content = self._change(deepcopy(before))
        if content is None or content == before:
            return None
        return encoded(content)


def changed(hierarchy: Hierarchy, key: str, change: DocumentEdit) -> None:
    """Read a document, change it, and write it if nobody else did meanwhile.

    ``change`` is given the document (None: not there) and gives the new one, or None
    to leave it alone. It may be asked again, with a newer document.
    """
    update(hierarchy, [_DocumentChange(key, change)])


def open_existing(hierarchy: Hierarchy, path: str = "") -> ExistingImage:
    """Read the documents of an image; no pixel is read."""
    group = read_group(hierarchy, path)
    place = f"{hierarchy.address}/{path}" if path else hierarchy.address
    document = parse_document(group.attributes, url=place) if group else None
    if group is None or document is None or not isinstance(document.kind, Image):
        raise NodeNotFoundError(
            f"There is no OME-Zarr image at {place}.",
            action="Choose an image.",
            url=place,
        )
    if document.version not in get_args(Version):
        raise OptionError(
            f"{place} is OME-Zarr {document.version}, which is not written any more.",
            action="Save the image anew, with the labels.",
            url=place,
        )
    multiscale = document.kind.multiscales[0]
    levels = tuple(
        _level(hierarchy, path, dataset.path, group.zarr_format)
        for dataset in multiscale.datasets
    )
    multiscale, _ = fit_axes(multiscale, len(levels[0].shape))
    version = cast("Version", document.version)
    said = group.block["multiscales"][0].get("type")
    worlds = tuple(_worlds(group, multiscale))
    return ExistingImage(hierarchy, path, version, multiscale, levels, said, worlds)


def stored_otherwise(
    hierarchy: Hierarchy, choices: Mapping[str, Any]
) -> tuple[str, ...]:
    """Say in what an image that is there differs from what is asked for anew.

    Its version, chunks, shards and codec are compared, as far as the ``choices`` of
    `write_layers` say them, by the documents of its finest level; no pixel is read.
    What cannot be told is passed over.
    """
    asked = {n: choices[n] for n in ("version", "codec") if choices.get(n)}
    asked |= {n: choices[n] for n in _SIZES if choices.get(n) is not None}
    if not asked:
        return ()
    with suppress(OMEZarrError):
        group = read_group(hierarchy, "")
        document = parse_document(group.attributes) if group else None
        if group is None or not document or not isinstance(document.kind, Image):
            return ()
        multiscale = document.kind.multiscales[0]
        first = multiscale.datasets[0].path
        array = _level(hierarchy, "", first, group.zarr_format).document
        known = known_array(array, group.zarr_format)
        known = as_zarr3(known) if group.zarr_format == 2 else known
        there = storage_of(known)
        axes = fit_axes(multiscale, len(there.shape))[0].axes
        told = [*_units_otherwise(there, axes, itemsize_of(known), asked)]
        if asked.get("version") not in (None, document.version):
            told.append(f"OME-Zarr {document.version}")
        if asked.get("codec") not in (None, "auto", name := _codec_of(there)):
            told.append(f"the codec {name}")
        if told:
            return (
                f"What was there before has {', '.join(told)}, and stays as it is. "
                "Choose to replace it where it should be otherwise.",
            )
    return ()


def _units_otherwise(
    there: ChunkStorage, axes: Sequence[Axis], itemsize: int, asked: Mapping[str, Any]
) -> Iterator[str]:
    names = {axis.name for axis in axes}
    chunks, shards = (
        {n: size for n, size in each.items() if n in names}
        if isinstance(each, Mapping)
        else each
        for each in map(asked.get, _SIZES)
    )
    if isinstance(chunks, dict):
        sizes = named_sizes(chunks, axes, there.chunks)
        fitting = (min(n, max(1, s)) for n, s in zip(sizes, there.shape, strict=True))
        if tuple(fitting) != there.chunks:
            yield f"chunks of {by_times(there.chunks)}"
    unit = there.unit
    if shards is False:
        unit = there.chunks
    elif shards is True and not there.is_sharded:
        unit = default_shards(axes, there.shape, there.chunks, itemsize)
    elif isinstance(shards, dict):
        sizes = named_sizes(shards, axes, there.chunks)
        unit = whole_chunks(sizes, there.chunks, there.shape)
    if unit != there.unit:
        yield f"shards of {by_times(there.unit)}" if there.is_sharded else "no shards"


def _codec_of(there: ChunkStorage) -> str:
    """Name the codec of chunks as the options do."""
    last = there.codecs[-1]
    if last["name"] == "blosc":
        return f"blosc-{last['configuration']['cname']}"
    return "none" if last["name"] == "bytes" else str(last["name"])


def _worlds(group: GroupDocument, multiscale: Multiscale) -> Iterator[Affine]:
    ours = group.attributes.get(NAPARI)
    shown = ours.get("coordinate_system") if isinstance(ours, Mapping) else None
    names = multiscale.coordinate_systems
    for name in sorted(names, key=lambda name: name != shown):
        with suppress(OptionError):
            kind = parse_document(group.attributes, coordinate_system=name).kind
            if isinstance(kind, Image):
                yield kind.multiscales[0].datasets[0].affine


def document_of(stored: GetResult, key: str) -> dict[str, Any]:
    """Parse a document."""
    try:
        content = load_json(stored.body)
    except DocumentError as error:
        raise MetadataError(str(error), where=key) from error
    if not isinstance(content, dict):
        raise MetadataError("This is no JSON object", where=key)
    return content


def _level(hierarchy: Hierarchy, path: str, name: str, zarr_format: int) -> StoredArray:
    place = f"{path}/{name}" if path else name
    key = f"{place}/{ARRAY_DOCUMENT[zarr_format]}"
    stored = hierarchy.read(key)
    if stored is None:
        raise NodeNotFoundError(
            f"Level {name} of {hierarchy.address} is not there.", url=hierarchy.address
        )
    document: Mapping[str, Any] = document_of(stored, key)
    shape = document.get("shape")
    known = isinstance(shape, list) and all(
        type(size) is int and size >= 0 for size in shape
    )
    if not known or document.get("zarr_format") != zarr_format:
        raise MetadataError("This is no document of an array", where=key)
    return StoredArray(hierarchy, place, document)


def _step(
    finer: Sequence[int], coarser: Sequence[int], address: str
) -> tuple[int, ...]:
    """Find by how much a level shrank; odd sizes may have been cut or kept."""
    step = []
    for large, small in itertools.zip_longest(finer, coarser, fillvalue=0):
        factor = max(1, round(large / small)) if small else 0
        if not factor or small not in (large // factor, -(-large // factor)):
            raise OptionError(
                f"The levels of {address} do not shrink by whole numbers, so that "
                "nothing can be added that matches them.",
                url=address,
            )
        step.append(factor)
    return tuple(step)


# Change the metadata of an image that is there, and what groups above hold of them.

_ROUNDS = 100
"""So often consolidated metadata follow documents that others change meanwhile."""
CONSOLIDATED = {3: ZARR_JSON, 2: ZMETADATA}
"""The document of a group that may hold the metadata of those below, by format."""


# Consolidated metadata, when something below them changes.


def refresh(
    above: Iterable[tuple[Hierarchy, str]],
    documents: Callable[[], Sequence[ZarrDocument]],
) -> None:
    """Bring new documents into the consolidated metadata of the groups above.

    Readers that find such metadata look no further: what they lack is not seen.
    ``above`` are the groups that may have some, with the way from there to the
    documents' hierarchy. ``documents`` reads them as they are by now: they are read
    after the metadata that hold them, and once more when those are written.
    """

    def insert(held: dict[str, Any], below: str, zarr_format: int) -> None:
        for document in documents():
            key = f"{below}{document.key}"
            if zarr_format == 2:
                held[key] = document.content
                continue
            path, _, name = key.rpartition("/")
            if name == ZARR_JSON and path:
                # What a group holds of those below it the root says already.
                held[path] = {
                    k: v
                    for k, v in document.content.items()
                    if k != "consolidated_metadata"
                }

    above = list(above)
    for _ in range(_ROUNDS):
        if not _change_consolidated(above, insert):
            return


def retract(above: Iterable[tuple[Hierarchy, str]], group: str) -> None:
    """Take a group with all that lies below it out of the consolidated metadata."""

    def take_out(held: dict[str, Any], below: str, _: int) -> None:
        for key in [k for k in held if f"{k}/".startswith(f"{below}{group}/")]:
            del held[key]

    _change_consolidated(above, take_out)


def _change_consolidated(
    above: Iterable[tuple[Hierarchy, str]],
    change: Callable[[dict[str, Any], str, int], None],
) -> bool:
    """Change what groups hold of those below them; says whether anything changed."""
    written = False
    for hierarchy, path in above:
        below = f"{path}/" if path else ""
        changes = [
            _DocumentChange(key, partial(_with_held, change, below, zarr_format))
            for zarr_format, key in CONSOLIDATED.items()
        ]
        try:
            update(hierarchy, changes)
        except ConflictError:
            raise
        except OMEZarrError:
            if not path:
                raise
            # What lies further up may be closed to us, or no zarr at all.
            continue
        written |= any(each.written for each in changes)
    return written


def _with_held(
    change: Callable[[dict[str, Any], str, int], None],
    below: str,
    zarr_format: int,
    document: dict[str, Any] | None,
) -> dict[str, Any] | None:
    """Change what one document holds; None where that is nothing."""
    held: Any = document
    if zarr_format == 3:
        held = (document or {}).get("consolidated_metadata")
    metadata = held.get("metadata") if isinstance(held, dict) else None
    if not isinstance(metadata, dict):
        return None
    change(metadata, below, zarr_format)
    return document


# How layers look now, in the metadata of the image that they came from.


def _gone(hierarchy: Hierarchy) -> NodeNotFoundError:
    sentence = f"There is no OME-Zarr image at {hierarchy.address} any more."
    return NodeNotFoundError(sentence, url=hierarchy.address)


def update_image(
    specs: Sequence[ImageSpec],
    hierarchy: Hierarchy,
    above: Iterable[tuple[Hierarchy, str]] = (),
) -> tuple[str, ...]:
    """Write names, colours, contrast and visibility; gives the names of changed layers.

    The specs are channels of one image (each knows which), or one label image. What
    others change of the same image meanwhile stays, unless it is about the same.
    """
    group = read_group(hierarchy, "")
    if group is None or "multiscales" not in group.block:
        raise _gone(hierarchy)
    key, zarr_format = group.key, group.zarr_format
    first = _looks(group, specs)
    done = False

    def shown(content: dict[str, Any] | None) -> dict[str, Any] | None:
        nonlocal done
        now = GroupDocument(key, group.stored, content or {}, zarr_format)
        before = _looks(now, specs)
        for spec in specs:
            if spec.label is not None:
                _update_labels(now, spec, hierarchy.address)
            else:
                _update_channel(now, spec)
        if before not in (first, _looks(now, specs)):
            raise ConflictError(
                f"Somebody else has just changed how {hierarchy.address} looks.",
                action="Open it again, look at that, and repeat.",
                url=hierarchy.address,
            )
        done |= before != _looks(now, specs)
        return now.content

    changed(hierarchy, key, shown)
    if not done:
        return ()

    def documents() -> list[ZarrDocument]:
        now = read_group(hierarchy, "")
        return [ZarrDocument(now.key, now.content)] if now else []

    refresh([(hierarchy, ""), *above], documents)
    return tuple(spec.name for spec in specs)


def _looks(group: GroupDocument, specs: Sequence[ImageSpec]) -> str:
    """Give what a group's document says of how these are shown, to be compared."""
    if any(spec.label is not None for spec in specs):
        said = [group.block.get("image-label"), group.attributes.get(NAPARI)]
        return json.dumps(said, sort_keys=True)
    omero, state = group.block.get("omero"), group.attributes.get(NAPARI)
    parts = [
        held[spec.origin.channel] or None
        if isinstance(held, list) and spec.origin.channel < len(held)
        else None
        for spec in specs
        if spec.origin and spec.origin.channel is not None
        for held in (_channels(omero), _channels(state))
    ]
    return json.dumps(parts, sort_keys=True)


def _channels(block: Any) -> Any:
    return block.get("channels") if isinstance(block, Mapping) else None


def _update_channel(group: GroupDocument, spec: ImageSpec) -> None:
    display, index = spec.displays[0], spec.origin.channel if spec.origin else None
    if spec.rgb:
        return
    if index is None:
        raise OptionError(
            f"{spec.name} does not say which channel it is.",
            action="Open the image again, or save the layer anew.",
        )
    if display.limits is None:
        raise OptionError(f"{spec.name} has no contrast limits.")
    if display.span is None:
        display = replace(display, span=whole_range(spec.source.dtype, display.limits))
    omero = group.block.setdefault("omero", {})
    channels = omero.setdefault("channels", [])
    while len(channels) <= index:
        channels.append({})
    before = channels[index] if isinstance(channels[index], Mapping) else {}
    entry = channel_document(display)
    if keeps_name := spec.origin is not None and spec.origin.keeps_name:
        # Of the layer's name the image's may be a part, or all.
        del entry["label"]
    channels[index] = {**before, **entry}
    if any("window" not in channel for channel in channels):
        raise OptionError(
            "The image says nothing of its other channels, and all are needed.",
            action="Update all channels together.",
        )
    omero["rdefs"] = rdefs_document(omero.get("rdefs") or {}, spec.planes)
    label = {} if keeps_name else {"label": display.name}
    said = {**label, "color": display.color, **display.state}
    _update_state(group, said, index, len(channels))


def _update_state(
    group: GroupDocument, said: Mapping[str, Any], index: int, count: int
) -> None:
    """Write what only napari knows of a channel; entries go by their position."""
    state = _state(group)
    held = state.get("channels")
    entries = list(held) if isinstance(held, list) and len(held) == count else []
    if not entries and not said.keys() - {"label", "color"}:
        return
    while len(entries) < count:
        entries.append({})
    entry = entries[index] if isinstance(entries[index], Mapping) else {}
    label = {"label": entry["label"]} if "label" in entry else {}
    entries[index] = {**label, **said}
    group.attributes[NAPARI] = {**state, "channels": entries}


def _state(group: GroupDocument) -> dict[str, Any]:
    state = group.attributes.get(NAPARI)
    return dict(state) if isinstance(state, Mapping) else {}


def _update_labels(group: GroupDocument, spec: ImageSpec, address: str) -> None:
    if spec.label is None:  # the caller asked; for the type checker
        raise ConflictError("These are no labels.")
    version: Version = "0.4" if group.zarr_format == 2 else "0.5"
    old = group.block.get("image-label")
    previous = old if isinstance(old, Mapping) else {}
    inside = bool(label_name(address))
    block = image_label_document(spec.label, version, previous, of_image=inside)
    group.block["image-label"] = block
    others = {key: value for key, value in _state(group).items() if key != "labels"}
    if spec.origin is not None and spec.origin.keeps_name:
        named = _state(group).get("labels")
        named = named.get("name") if isinstance(named, Mapping) else None
        spec = replace(spec, name=named or address.rpartition("/")[2])
    state = {**others, **napari_document(spec, address)}
    if state:
        group.attributes[NAPARI] = state
    else:
        group.attributes.pop(NAPARI, None)


# Where an image that is there lies: its pixel sizes, place, units and name.


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is to be said anew; what is None stays."""

    scale: ByAxis = None
    translation: ByAxis = None
    units: UnitsByAxis = None
    name: str | None = None


def calibrate_image(
    hierarchy: Hierarchy,
    calibration: Calibration,
    label_names: Iterable[str],
    above: Iterable[tuple[Hierarchy, str]] = (),
) -> None:
    """Say anew where an image lies, with all its levels and labels; pixels stay."""
    image = open_existing(hierarchy)
    moves = _moves(image, calibration)
    labels = [open_existing(hierarchy, f"labels/{name}") for name in label_names]
    # The image last: while only labels have moved, it is still what it was.
    for each in labels:
        _move(each, moves, None)
    _move(image, moves, calibration.name)

    def documents() -> list[ZarrDocument]:
        found = [read_group(hierarchy, each.path) for each in (image, *labels)]
        return [ZarrDocument(each.key, each.content) for each in found if each]

    refresh([(hierarchy, ""), *above], documents)


@dataclass(frozen=True, slots=True)
class _AxisMove:
    """Along an axis, coordinates become ``by`` times what they were, plus ``to``."""

    by: float
    to: float
    unit: str | None


_STAYS = _AxisMove(1.0, 0.0, None)


def _moves(image: ExistingImage, calibration: Calibration) -> dict[str, _AxisMove]:
    axes: Sequence[Axis] = image.multiscale.axes
    names = [axis.name for axis in axes]
    affine = image.multiscale.datasets[0].affine
    if not affine.is_diagonal and (
        calibration.scale is not None or calibration.translation is not None
    ):
        raise OptionError(
            f"{image.hierarchy.address} is rotated or sheared.",
            action="Save it anew, with the place that it is to have.",
            url=image.hierarchy.address,
        )
    sizes = dict(zip(names, affine.scale, strict=True))
    place = dict(zip(names, affine.translation, strict=True))
    scale = along("scale", calibration.scale, axes, sizes, 1.0)
    translation = along("translation", calibration.translation, axes, place, 0.0)
    usual = {axis.name: axis.unit for axis in axes}
    if image.version == "0.6" and min(scale) < 0:
        raise OptionError(
            "Pixel sizes are above 0 in OME-Zarr 0.6.",
            action="Save it anew, mirrored, which 0.6 says by a second system.",
        )
    units = [axis.unit for axis in axes]
    if calibration.units is not None:
        units = units_by_axis(calibration.units, axes, usual)
        for axis, unit in zip(axes, units, strict=True):
            anew = unit != axis.unit and known_unit(unit) is not None
            if anew and normalized_unit(replace(axis, unit=unit)) is None:
                msg = f"{unit} is no unit for {axis.name} ({axis.type})."
                raise OptionError(msg, action="Choose another, or leave it out.")
    found = {}
    for name, size, to, unit in zip(names, scale, translation, units, strict=True):
        by = size / sizes[name]
        found[name] = _AxisMove(by, to - by * place[name], unit)
    return found


def _move(
    image: ExistingImage, moves: Mapping[str, _AxisMove], name: str | None
) -> None:
    """Change one group's document, if nobody else says meanwhile where it lies."""
    hierarchy, path = image.hierarchy, image.path
    group = read_group(hierarchy, path)
    if group is None:
        raise _gone(hierarchy)
    zarr_format = group.zarr_format
    before = deepcopy(group.block["multiscales"])
    after = [_moved(before[0], image, moves, name), *before[1:]]

    def said(content: dict[str, Any] | None) -> dict[str, Any] | None:
        block = ome_block(content or {}, zarr_format)
        if block.get("multiscales") not in (before, after):
            raise ConflictError(
                f"Somebody else has just changed where {hierarchy.address} lies.",
                action="Look at it, and then repeat.",
                url=hierarchy.address,
            )
        block["multiscales"] = after
        return content

    changed(hierarchy, group.key, said)


def _moved(
    multiscale: Mapping[str, Any],
    image: ExistingImage,
    moves: Mapping[str, _AxisMove],
    name: str | None,
) -> dict[str, Any]:
    """Give an entry of ``multiscales`` with its levels elsewhere."""
    moved = deepcopy(dict(multiscale))
    if name is not None:
        moved["name"] = name
    axes = [moved.get("axes") or []]
    axes += [system.get("axes") or [] for system in moved.get("coordinateSystems", ())]
    for axis in chain.from_iterable(axes):
        if not isinstance(axis, dict):  # of a version that had names alone
            continue
        unit = moves[axis["name"]].unit if axis.get("name") in moves else None
        if unit is not None:
            axis["unit"] = unit
    along_axes = [moves.get(axis.name, _STAYS) for axis in image.multiscale.axes]
    if all(move.by == 1 and move.to == 0 for move in along_axes):
        return moved
    mapping = Affine.from_translation([m.to for m in along_axes]) @ Affine.from_scale(
        [m.by for m in along_axes]
    )
    if image.version != "0.6":
        # What it says of all levels is in what each of them says now.
        moved.pop("coordinateTransformations", None)
    entries, datasets = moved["datasets"], image.multiscale.datasets
    if len(entries) != len(datasets):
        raise MetadataError(
            "Not all levels can be understood",
            where="multiscales/0/datasets",
            url=image.hierarchy.address,
        )
    for entry, dataset in zip(entries, datasets, strict=True):
        old = entry.get("coordinateTransformations")
        fresh = dataset_document(image.version, entry["path"], mapping @ dataset.affine)
        new = fresh["coordinateTransformations"]
        if image.version == "0.6" and old:
            new[0] |= {end: old[0][end] for end in ("input", "output") if end in old[0]}
        entry["coordinateTransformations"] = new
    return moved
