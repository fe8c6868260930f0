"""What is known of one image before it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.metadata import Labels, parse_document
from napari_omezarr.pyramid.pixels import ArrayPixels
from napari_omezarr.reading import ReadOptions, read
from napari_omezarr.reading.nodes import Group, node
from napari_omezarr.store import open_store

from .chunk import fetch_chunk, grid_of
from .entry import Entry, Kind
from .parts import part_keys
from .provenance import CRATE, Provenance, provenance
from .recognition import probe_keys, recognised

if TYPE_CHECKING:
    from napari_omezarr.location import Location
    from napari_omezarr.metadata import ResolvedChannel
    from napari_omezarr.pyramid import Level, Pyramid
    from napari_omezarr.reading.batches import Answers

_SAMPLED = 16 * 2**20
"""The largest chunk, in bytes without compression, that is read for an estimate."""

_IMAGES = frozenset({Kind.IMAGE, Kind.LABEL, Kind.LEVELS, Kind.ARRAY})
_CONTAINERS = frozenset({Kind.PLATE, Kind.WELL, Kind.SERIES, Kind.SCENE})


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
    """One level of an image.

    Attributes
    ----------
    path : str
        Below the image.
    shape, chunks : tuple of int
        In pixels, in the order of the axes.
    shards : tuple of int or None
        The shape of a stored object that holds several chunks.
    dtype : str
        As numpy calls it.
    codec : str
        What the chunks go through, like ``blosc(zstd)``; ``none`` is nothing.
    raw : int
        Bytes without compression.
    stored : int or None
        Bytes in the store, estimated after one chunk; exact without compression.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    dtype: str
    codec: str
    raw: int
    stored: int | None


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of one place.

    Attributes
    ----------
    entry : Entry
        Where it is, its kind, version and summary.
    name : str
        What the image calls itself.
    axes : tuple of AxisDetails
        In the order of the arrays; empty for what is no image.
    levels : tuple of LevelDetails
        Finest first.
    channels : tuple of ResolvedChannel
        With their names and colours.
    labels : tuple of str
        The paths of its label images, below ``labels``.
    warnings, notes : tuple of str
        What was tolerated, and how the place was reached.
    licence, description : str
        What somebody wrote about it, in its attributes or in an RO-Crate.
    """

    entry: Entry
    name: str
    axes: tuple[AxisDetails, ...] = ()
    levels: tuple[LevelDetails, ...] = ()
    channels: tuple[ResolvedChannel, ...] = ()
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    licence: str = ""
    description: str = ""


def describe(location: Location, *, sample: bool = True) -> Details:
    """Find out about a place; blocks.

    A series or a scene is described by its first image.

    Parameters
    ----------
    location : Location
        An image, or anything else.
    sample : bool
        Read one chunk of the coarsest level to estimate the stored size.

    Raises
    ------
    OMEZarrError
        The place could not be read, or is an image that cannot be understood.
    """
    store = open_store(location)
    answers = store.fetch((*probe_keys(""), *part_keys(), CRATE))
    entry = recognised(Entry(location, ""), "", answers)
    labels = _labels(answers)
    about = _about(answers)
    if entry.recognised and entry.kind not in _IMAGES | _CONTAINERS:
        return Details(
            entry,
            location.name,
            labels=labels,
            licence=about.licence,
            description=about.description,
        )
    series = 0 if entry.kind in (Kind.SERIES, Kind.SCENE) else None
    reading = read(location, ReadOptions(labels=False, series=series))
    image = reading.pyramids[0]
    ratio = _ratio(image) if sample else None
    return Details(
        entry,
        image.name,
        _axes(image),
        tuple(_level(level, ratio) for level in image.levels),
        image.channels,
        labels,
        reading.warnings,
        reading.notes,
        about.licence,
        about.description,
    )


def codec_text(document: dict[str, Any]) -> str:
    """Say what the chunks of an array go through, from its metadata document.

    The order of bytes is no codec for a person, and what is inside shards counts.
    """
    if document.get("zarr_format") == 2:
        steps = [*(document.get("filters") or ()), document.get("compressor")]
        names = [_codec(step, step.get("id")) for step in steps if step]
        return " + ".join(names) or "none"
    names = []
    for step in _plain(document.get("codecs", ())):
        settings = step.get("configuration", {})
        if step.get("name") == "sharding_indexed":
            return codec_text({"codecs": settings.get("codecs", ())})
        if step.get("name") != "bytes":
            names.append(_codec(settings, step.get("name")))
    return " + ".join(names) or "none"


def _codec(settings: dict[str, Any], name: Any) -> str:
    inner = settings.get("cname")
    return f"{name}({getattr(inner, 'value', inner)})" if inner else str(name)


def _plain(steps: Any) -> list[dict[str, Any]]:
    return [step if isinstance(step, dict) else step.to_dict() for step in steps]


def _about(answers: Answers) -> Provenance:
    try:
        group = node("", answers)
    except OMEZarrError:
        group = None
    attributes = group.attributes if isinstance(group, Group) else {}
    return provenance(attributes, answers.get(CRATE))


def _labels(answers: Answers) -> tuple[str, ...]:
    try:
        group = node("labels", answers)
        if not isinstance(group, Group):
            return ()
        kind = parse_document(group.attributes, zarr_format=group.zarr_format).kind
    except OMEZarrError:
        return ()
    return kind.paths if isinstance(kind, Labels) else ()


def _axes(image: Pyramid) -> tuple[AxisDetails, ...]:
    scale = image.levels[0].affine.scale
    rows = zip(image.axes, image.shape, scale, strict=True)
    return tuple(AxisDetails(a.name, a.type, a.unit, n, pixel) for a, n, pixel in rows)


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
        return fetch_chunk(pixels, tuple(n // 2 for n in grid_of(pixels))).ratio
    except OMEZarrError:
        return None
