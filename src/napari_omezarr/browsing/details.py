"""What is known of one place before it is opened: chunks, sizes, licence, documents."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING, Any

from napari_omezarr.doors import guarded
from napari_omezarr.errors import OMEZarrError, OptionError, UnsupportedDataError
from napari_omezarr.location import DOCUMENTS
from napari_omezarr.metadata import Labels, is_usable_path, parse_document
from napari_omezarr.plain_text import counted
from napari_omezarr.pyramid import ArrayPixels, chunk_box, chunk_counts, mosaic_of
from napari_omezarr.reading import (
    GroupNode,
    ReadOptions,
    array_key,
    parse_node,
    raise_failures,
    read_current,
)
from napari_omezarr.store import open_store, run
from napari_omezarr.tables import open_table

from .entries import (
    CHILD_KEYS,
    Entry,
    EntryKind,
    in_words,
    json_object,
    probe_keys,
    recognise,
    tables_beside,
    tables_in_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from napari_omezarr.location import Location
    from napari_omezarr.metadata import ResolvedChannel
    from napari_omezarr.pyramid import Level, Pixels, Pyramid
    from napari_omezarr.reading import Answers

# One chunk of an image.

_INDEX_ENTRY, _CHECKSUM = 16, 4
"""Bytes in the index of a shard: two integers for each chunk, and CRC32C at its end."""


@dataclass(frozen=True, slots=True)
class ChunkPreview:
    """One chunk, as it was read."""

    key: str
    """The object that it lies in, below the image."""
    index: tuple[int, ...]
    """Which chunk, along each axis."""
    pixels: np.ndarray
    """Without what juts out over the image's edge; the fill value if `is_missing`."""
    stored: int
    raw: int
    """Bytes in the store, 0 if nothing is stored, and bytes without compression."""
    seconds: float
    """From asking to decoded pixels."""
    is_missing: bool
    """Whether nothing is stored, which is how fill values are kept."""

    @property
    def ratio(self) -> float | None:
        """How many times smaller it is in the store; None if nothing is stored."""
        return self.raw / self.stored if self.stored else None


@guarded
def view_chunk(location: Location, level: int, index: tuple[int, ...]) -> ChunkPreview:
    """Read one chunk of an image, a label image or an array; blocks.

    Level 0 is the finest; the index counts chunks along each axis of the array.

    Raises
    ------
    OptionError
        There is no such level or chunk.
    UnsupportedDataError
        It is a plate, whose chunks are those of its fields.
    StoreError
        It could not be read.
    """
    reading = read_current(location, ReadOptions(labels=False, level=level))
    return fetch_chunk(array_of(reading.pyramids[0].levels[0].pixels), index)


def array_of(pixels: Pixels) -> ArrayPixels:
    """Give the array that some pixels are; a plate's are those of several."""
    if not isinstance(pixels, ArrayPixels):
        sentence = "A plate has no chunks of its own."
        raise UnsupportedDataError(sentence, action="Choose a field of a well.")
    return pixels


def fetch_chunk(pixels: ArrayPixels, index: tuple[int, ...]) -> ChunkPreview:
    """Read one chunk and take its time; blocks."""
    grid = chunk_counts(pixels.shape, pixels.chunks)
    inside = len(index) == len(grid) and all(
        0 <= i < n for i, n in zip(index, grid, strict=True)
    )
    if not inside:
        counts = ", ".join(map(str, grid))
        raise OptionError(f"There is no chunk {index}; there are ({counts}) of them.")
    return run(_fetch(pixels, index))


async def _fetch(pixels: ArrayPixels, index: tuple[int, ...]) -> ChunkPreview:
    key = pixels.stored_key(index)
    is_there = await pixels.store.exists(key)
    before, start = pixels.store.bytes_received, perf_counter()
    box = await pixels.read(chunk_box(index, pixels.chunks, pixels.shape))
    seconds = perf_counter() - start
    stored = pixels.store.bytes_received - before if is_there else 0
    if is_there and pixels.shards is not None:
        size = await pixels.stored_size(index)
        stored = max(0, stored - _index_size(pixels)) if size is None else size
    raw = prod(pixels.stored_chunks) * pixels.dtype.itemsize
    return ChunkPreview(key, index, box, stored, raw, seconds, stored == 0)


def _index_size(pixels: ArrayPixels) -> int:
    """Count the bytes of the index that is read with a chunk of a shard."""
    if pixels.shards is None:
        return 0
    pairs = zip(pixels.shards, pixels.stored_chunks, strict=True)
    return prod(shard // chunk for shard, chunk in pairs) * _INDEX_ENTRY + _CHECKSUM


# Licence and description. OME-Zarr has no place for them: they are looked for among
# the attributes, and in an RO-Crate beside them (https://w3id.org/ro/crate/1.1), as the
# conversions of the OME 2024 NGFF challenge have it.

CRATE = "ro-crate-metadata.json"
"""The key of an RO-Crate, below the root of an image."""

LONGEST = 400
"""Letters of a text that are kept."""

_LICENCES = ("license", "licence", "rights")
_COMMONS = re.compile(
    r"creativecommons\.org/(?:licenses|publicdomain)/([\w-]+)/([\d.]+)"
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What somebody wrote about an image; ``""`` is nothing."""

    licence: str = ""
    description: str = ""


def provenance(attributes: Mapping[str, Any], crate: object) -> Provenance:
    """Gather what the attributes of an image say, or else its RO-Crate, if any.

    What is no text is left out.
    """
    places = (*_own_places(attributes), *_crate_places(crate))
    licences = (_text(place.get(key)) for place in places for key in _LICENCES)
    descriptions = (_text(place.get("description")) for place in places)
    licence = licence_name(next(filter(None, licences), ""))
    return Provenance(licence, next(filter(None, descriptions), ""))


def licence_name(text: str) -> str:
    """Call a licence of Creative Commons by its short name, as ``CC BY 4.0``."""
    found = _COMMONS.search(text)
    if found is None:
        return text
    code, version = found.groups()
    return f"CC0 {version}" if code == "zero" else f"CC {code.upper()} {version}"


def _own_places(attributes: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give the attributes themselves, what is below ``ome``, and the first image."""
    ome = attributes.get("ome")
    for place in (attributes, ome):
        if isinstance(place, dict):
            yield place
            images = place.get("multiscales")
            # Its ``metadata`` describe how the levels were made, and not the image.
            yield _dict(_first(images)) if isinstance(images, list) else {}


def _crate_places(crate: object) -> tuple[Mapping[str, Any], ...]:
    """Give the root of an RO-Crate, with the licence that it refers to by its name."""
    nodes = _dicts(json_object(crate).get("@graph"))
    by_id = {str(node.get("@id")): node for node in nodes}
    named = _dict(by_id.get(CRATE)).get("about")
    root = _dict(by_id.get(str(_dict(named).get("@id", "./"))))
    licence = _first(root.get("license"))
    if isinstance(licence, dict):
        address = str(licence.get("@id", ""))
        name = _text(_dict(by_id.get(address)).get("name"))
        # The address says more than a name that nobody has heard of.
        licence = address if _COMMONS.search(address) else name or address
    return ({**root, "license": licence},)


def _text(value: Any) -> str:
    value = _first(value)
    return " ".join(value.split())[:LONGEST] if isinstance(value, str) else ""


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, dict)]


# What is known of one image before it is opened.

_SAMPLED = 16 * 2**20
"""The largest chunk, in bytes without compression, that is read for an estimate."""

_WITH_PIXELS = frozenset(EntryKind) - {
    EntryKind.BUCKET,
    EntryKind.FOLDER,
    EntryKind.ARCHIVE,
    EntryKind.FILE,
    EntryKind.GROUP,
    EntryKind.LABELS,
    EntryKind.TABLES,
    EntryKind.TABLE,
}


@dataclass(frozen=True, slots=True)
class AxisDetails:
    """One axis; ``pixel`` is the size of a pixel of the finest level, in ``unit``."""

    name: str
    type: str | None
    unit: str | None
    size: int
    pixel: float


@dataclass(frozen=True, slots=True)
class LevelDetails:
    """One level of an image."""

    path: str
    """Below the image."""
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    """In pixels, in the order of the axes."""
    shards: tuple[int, ...] | None
    """The shape of a stored object that holds several chunks."""
    dtype: str
    """As numpy calls it."""
    codec: str
    """What the chunks go through, like ``blosc(zstd)``; ``none`` is nothing."""
    raw: int
    """Bytes without compression."""
    stored: int | None
    """Bytes in the store, estimated after one chunk; exact without compression."""


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of one place."""

    entry: Entry
    """Where it is, its kind, version and summary."""
    name: str
    """What the image calls itself."""
    axes: tuple[AxisDetails, ...] = ()
    """In the order of the arrays; empty for what is no image."""
    levels: tuple[LevelDetails, ...] = ()
    """Finest first."""
    channels: tuple[ResolvedChannel, ...] = ()
    """With their names and colours."""
    labels: tuple[str, ...] = ()
    """The paths of its label images, below ``labels``."""
    tables: tuple[str, ...] = ()
    """A sentence each: its name, kind, rows and columns."""
    plate: tuple[str, ...] = ()
    """What a plate lists: wells, and what its first well says of fields."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was tolerated, and how the place was reached."""
    licence: str = ""
    description: str = ""
    """What somebody wrote about it, in its attributes or in an RO-Crate."""


@guarded
def describe(location: Location, *, sample: bool = True) -> Details:
    """Find out about a place; blocks.

    A series or a scene is described by its first image. With `sample`, one chunk of
    the coarsest level is read to estimate the stored size.

    Raises
    ------
    OMEZarrError
        The place could not be read, or is an image that cannot be understood.
    """
    store = open_store(location)
    answers = store.fetch((*probe_keys(""), *CHILD_KEYS, CRATE))
    entry = recognise(Entry(location, ""), "", answers)
    about = _about(answers)
    found = Details(
        entry,
        location.name,
        labels=_labels(answers),
        licence=about.licence,
        description=about.description,
    )
    if entry.kind is EntryKind.TABLE:
        table = open_table(location)
        return replace(found, tables=(f"{table.name}: {in_words(table)}",))
    if entry.recognised and entry.kind not in _WITH_PIXELS:
        return found
    node = _group(answers)
    beside = tables_beside(answers, node.zarr_format) if node else ()
    found = replace(found, tables=tuple(tables_in_words(location, beside)))
    series = 0 if entry.kind in (EntryKind.SERIES, EntryKind.SCENE) else None
    reading = read_current(location, ReadOptions(labels=False, series=series))
    image = reading.pyramids[0]
    ratio = _ratio(image) if sample else None
    return replace(
        found,
        name=image.name,
        axes=_axes(image),
        levels=tuple(_level(level, ratio) for level in image.levels),
        channels=image.channels,
        plate=tuple(_plate(image)),
        warnings=reading.warnings,
        notes=reading.notes,
    )


def codec_text(document: dict[str, Any]) -> str:
    """Say what the chunks of an array go through, from its metadata document."""
    # The order of bytes is no codec for a person, and what is inside shards counts.
    if document.get("zarr_format") == 2:
        steps = [*(document.get("filters") or ()), document.get("compressor")]
        names = [_codec(step, step.get("id")) for step in steps if step]
        return " + ".join(names) or "none"
    names = []
    for codec in document.get("codecs", ()):
        step = codec if isinstance(codec, dict) else codec.to_dict()
        settings = step.get("configuration", {})
        if step.get("name") == "sharding_indexed":
            return codec_text({"codecs": settings.get("codecs", ())})
        if step.get("name") != "bytes":
            names.append(_codec(settings, step.get("name")))
    return " + ".join(names) or "none"


def _codec(settings: dict[str, Any], name: Any) -> str:
    inner = settings.get("cname")
    return f"{name}({getattr(inner, 'value', inner)})" if inner else str(name)


def _group(answers: Answers) -> GroupNode | None:
    try:
        group = parse_node("", answers)
    except OMEZarrError:
        return None
    return group if isinstance(group, GroupNode) else None


def _about(answers: Answers) -> Provenance:
    group = _group(answers)
    attributes = group.attributes if group else {}
    return provenance(attributes, answers.get(CRATE))


def _labels(answers: Answers) -> tuple[str, ...]:
    try:
        group = parse_node("labels", answers)
        if not isinstance(group, GroupNode):
            return ()
        kind = parse_document(group.attributes, zarr_format=group.zarr_format).kind
    except OMEZarrError:
        return ()
    return kind.paths if isinstance(kind, Labels) else ()


def _axes(image: Pyramid) -> tuple[AxisDetails, ...]:
    scale = image.levels[0].affine.scale
    rows = zip(image.axes, image.shape, scale, strict=True)
    return tuple(AxisDetails(a.name, a.type, a.unit, n, pixel) for a, n, pixel in rows)


def _plate(image: Pyramid) -> Iterator[str]:
    """Say what a plate lists, a line each."""
    mosaic = mosaic_of(image.levels[0].pixels)
    if mosaic is None or not mosaic.fields.grid.rows:
        return
    fields: Any = mosaic.fields
    grid, choice = fields.grid, fields.choice
    yield (
        f"{counted(len(grid.rows), 'row')} ({_ends(grid.rows)}), "
        f"{counted(len(grid.columns), 'column')} ({_ends(grid.columns)}), "
        f"{counted(len(grid.wells), 'well')} listed"
    )
    yield f"{counted(len(choice.fields), 'field')} in the first well"
    numbers = [str(number) for number in choice.acquisitions if number is not None]
    if numbers:
        yield f"{counted(len(numbers), 'acquisition')} ({', '.join(numbers)})"


def _ends(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _level(level: Level, ratio: float | None) -> LevelDetails:
    pixels = level.pixels
    raw = prod(pixels.shape) * pixels.dtype.itemsize
    array = pixels if isinstance(pixels, ArrayPixels) else None
    codec = codec_text(array.document) if array else ""
    stored = raw if codec == "none" else round(raw / ratio) if ratio else None
    return LevelDetails(
        level.path,
        pixels.shape,
        pixels.chunks,
        array.shards if array else None,
        str(pixels.dtype),
        codec,
        raw,
        stored,
    )


def _ratio(image: Pyramid) -> float | None:
    """Read the middle chunk of the coarsest level; None if that tells nothing."""
    pixels = image.levels[-1].pixels
    if not isinstance(pixels, ArrayPixels):
        return None
    if prod(pixels.chunks) * pixels.dtype.itemsize > _SAMPLED:
        return None
    try:
        counts = chunk_counts(pixels.shape, pixels.chunks)
        return fetch_chunk(pixels, tuple(count // 2 for count in counts)).ratio
    except OMEZarrError:
        return None


# The metadata documents of a place as they are stored, laid out for reading.

_SHOWN_BYTES = 4 * 2**20
_SHOWN_LEVELS = 12


@guarded
def raw_documents(location: Location) -> Mapping[str, str]:
    """Read the documents of a group, of its levels and of its labels; blocks.

    Gives their texts, as ``pretty`` lays them out, by their keys, the group's own
    first. Raises the first StoreError if none of them could be read.
    """
    store = open_store(location)
    answers = store.fetch((*DOCUMENTS, *CHILD_KEYS))
    documents = map(json_object, answers.values())
    paths = dict.fromkeys(path for each in documents for path in _level_paths(each))
    levels = list(paths)[:_SHOWN_LEVELS]
    answers |= store.fetch(array_key(path, form) for path in levels for form in (3, 2))
    found = {key: pretty(b) for key, b in answers.items() if isinstance(b, bytes)}
    if not found:
        raise_failures(answers.values())
    return found


def pretty(body: bytes) -> str:
    """Lay out a document: JSON is indented, everything else stays; at most 4 MiB."""
    try:
        document = json.loads(body[:_SHOWN_BYTES])
        return json.dumps(document, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body[:_SHOWN_BYTES].decode(errors="replace")


def _level_paths(document: dict[str, Any]) -> Iterator[str]:
    """Give the paths of ``datasets``, wherever a version keeps them."""
    for key in ("attributes", "ome"):
        if inner := _dict(document.get(key)):
            yield from _level_paths(inner)
    for image in _dicts(document.get("multiscales")):
        for dataset in _dicts(image.get("datasets")):
            path = dataset.get("path")
            if isinstance(path, str) and is_usable_path(path):
                yield path
