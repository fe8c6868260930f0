"""A small picture of an image: the one that is stored, or its coarsest level."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from napari_omezarr.pyramid.pixels import ArrayPixels
from napari_omezarr.reading import ReadOptions, read
from napari_omezarr.store import open_store, run

from .colours import composite, label_colours
from .pictures import Pictures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Pyramid

EDGE = 256
"""How many pixels a thumbnail has at most along an edge."""

MOST_BYTES = 16 * 2**20
"""How many bytes of pixels, without compression, may be read for one."""

_MOST_CHANNELS = 6
_MOST_PIXELS = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture.

    Attributes
    ----------
    pixels : numpy.ndarray or None
        Rows x columns x RGB, uint8; None if there is none.
    sentence : str
        Where it comes from, or why there is none.
    """

    pixels: np.ndarray | None
    sentence: str


def thumbnail(location: Location, *, most_bytes: int = MOST_BYTES) -> Thumbnail:
    """Make a small picture of an image; blocks.

    Made ones are kept on disk by the address and the version of what they were
    made from (its ETag), for remote places.

    Parameters
    ----------
    location : Location
        An image or a label image.
    most_bytes : int
        How many bytes of pixels may be read; where it takes more there is none.

    Raises
    ------
    OMEZarrError
        The image could not be read.
    """
    image = read(location, ReadOptions(labels=False)).pyramids[0]
    pictures = Pictures() if location.is_remote else None
    if stored := _stored_path(image.extras):
        found = _from_store(location, stored, pictures)
        if found is not None:
            return Thumbnail(found, "The picture that is stored with the image.")
    return _from_level(image, most_bytes, pictures)


def _stored_path(attributes: Mapping[str, Any]) -> str:
    """Find the stored thumbnail that is just large enough (Zarr's "thumbnails")."""
    rows = attributes.get("thumbnails")
    rows = rows if isinstance(rows, list) else []
    usable = [
        row
        for row in rows
        if isinstance(row, dict) and isinstance(row.get("path"), str)
    ]
    usable.sort(key=lambda row: (_width(row) < EDGE, abs(_width(row) - EDGE)))
    return str(usable[0]["path"]) if usable else ""


def _width(row: Mapping[str, Any]) -> int:
    width = row.get("width")
    return width if isinstance(width, int) else EDGE


def _from_store(
    location: Location, path: str, pictures: Pictures | None
) -> np.ndarray | None:
    store = open_store(location)
    version = run(store.version(path))
    if pictures and (kept := pictures.find(location / path, version)) is not None:
        return kept
    body = store.fetch([path])[path]
    picture = _decoded(body) if isinstance(body, bytes) else None
    if pictures and picture is not None:
        pictures.keep(location / path, version, picture)
    return picture


def _decoded(body: bytes) -> np.ndarray | None:
    try:
        with Image.open(BytesIO(body)) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                return None
            picture.thumbnail((EDGE, EDGE))
            return np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None


def _from_level(
    image: Pyramid, most_bytes: int, pictures: Pictures | None
) -> Thumbnail:
    pixels = image.levels[-1].pixels
    if not isinstance(pixels, ArrayPixels) or pixels.ndim < 2:
        return Thumbnail(None, "There is no small picture of this.")
    shown = [i for i, channel in enumerate(image.channels) if channel.visible]
    shown = (shown or [0])[:_MOST_CHANNELS]
    planes = len(image.channels) if image.rgb else len(shown)
    size = _chunked_size(image, pixels) * planes
    if size > most_bytes:
        megabytes = f"{size / 1e6:.0f} MB"
        return Thumbnail(
            None, f"Its coarsest plane is too large to preview: {megabytes}."
        )
    key = pixels.stored_key(tuple(n // 2 for n in _grid(pixels)))
    version = run(pixels.store.version(key)) if pictures else ""
    place = image.location / image.levels[-1].path
    if pictures and (kept := pictures.find(place, version)) is not None:
        return Thumbnail(kept, "The middle of the coarsest level.")
    picture = _drawn(image, pixels, shown)
    if pictures:
        pictures.keep(place, version, picture)
    return Thumbnail(picture, "The middle of the coarsest level.")


def _grid(pixels: ArrayPixels) -> tuple[int, ...]:
    pairs = zip(pixels.shape, pixels.chunks, strict=True)
    return tuple(-(-size // chunk) for size, chunk in pairs)


def _chunked_size(image: Pyramid, pixels: ArrayPixels) -> int:
    """Count the bytes of the chunks that one plane of one channel lies in."""
    plane = range(
        pixels.ndim - 2 - (1 if image.rgb and _last(image) else 0), pixels.ndim
    )
    sizes = [
        pixels.shape[axis] if axis in plane else pixels.chunks[axis]
        for axis in range(pixels.ndim)
    ]
    return prod(sizes) * pixels.dtype.itemsize


def _last(image: Pyramid) -> bool:
    return image.channel_axis == len(image.axes) - 1


def _drawn(image: Pyramid, pixels: ArrayPixels, shown: list[int]) -> np.ndarray:
    step = _step(image, pixels)
    if image.rgb:
        every = [_plane(image, pixels, channel)[::step, ::step] for channel in range(3)]
        stacked = np.clip(np.stack(every, axis=-1), 0, 255)
        return np.asarray(stacked, dtype=np.uint8)
    if image.label is not None:
        return label_colours(
            _plane(image, pixels, 0)[::step, ::step], image.label.colors
        )
    planes = [_plane(image, pixels, channel)[::step, ::step] for channel in shown]
    return composite(planes, [image.channels[channel] for channel in shown])


def _step(image: Pyramid, pixels: ArrayPixels) -> int:
    sizes = [n for axis, n in enumerate(pixels.shape) if axis != image.channel_axis]
    return max(1, -(-max(sizes[-2:]) // EDGE))


def _plane(image: Pyramid, pixels: ArrayPixels, channel: int) -> np.ndarray:
    """Read the middle plane of one channel: the last two axes that are no channel."""
    others = [axis for axis in range(pixels.ndim) if axis != image.channel_axis]
    key: list[Any] = [size // 2 for size in pixels.shape]
    for axis in others[-2:]:
        key[axis] = slice(None)
    if image.channel_axis is not None:
        key[image.channel_axis] = channel
    return pixels[tuple(key)]
