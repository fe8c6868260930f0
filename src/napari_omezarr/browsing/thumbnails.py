"""A small picture of an image: the one that is stored, or its coarsest level."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from math import prod
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from napari_omezarr.atomic_file import PARTIAL, replacing
from napari_omezarr.pyramid import ArrayPixels
from napari_omezarr.reading import ReadOptions, read
from napari_omezarr.store import open_store, run
from napari_omezarr.user_files import cache_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_omezarr.location import Location
    from napari_omezarr.metadata import ResolvedChannel
    from napari_omezarr.pyramid import Pyramid

# Planes through the colours of their channels; pure.

_PERCENTILES = (0.1, 99.9)
_GOLDEN = 0.618033988749895
"""Steps of the golden ratio round the colour circle give neighbours far colours."""


def composite(
    planes: Sequence[np.ndarray], channels: Sequence[ResolvedChannel]
) -> np.ndarray:
    """Add planes in their colours, each within its contrast limits.

    Where a channel has no limits, they are the 0.1 and the 99.9 percentile of what
    is seen; so they are where nothing that is seen lies within the limits.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Rows x columns, one for each channel.
    channels : sequence of ResolvedChannel
        Their colours and limits.

    Returns
    -------
    numpy.ndarray
        Rows x columns x RGB, uint8.
    """
    total = np.zeros((*planes[0].shape, 3))
    for plane, channel in zip(planes, channels, strict=True):
        values = np.nan_to_num(plane.astype(np.float64), posinf=0, neginf=0)
        low, high = _limits(values, channel.contrast_limits)
        shade = np.clip((values - low) / (high - low), 0, 1)
        shade = 1 - shade if channel.inverted else shade
        total += shade[..., np.newaxis] * _rgb(channel.color)
    return np.asarray(np.clip(total * 255, 0, 255).round(), dtype=np.uint8)


def label_colours(
    plane: np.ndarray, colors: Mapping[int, tuple[int, int, int, int]]
) -> np.ndarray:
    """Give every label a colour: its own, or one that depends on its number only.

    Returns
    -------
    numpy.ndarray
        Rows x columns x RGB, uint8; label 0 is black.
    """
    labels, where = np.unique(plane, return_inverse=True)
    table = np.zeros((len(labels), 3), np.uint8)
    for row, label in enumerate(labels.tolist()):
        if label in colors:
            table[row] = colors[label][:3]
        elif label:
            table[row] = _hue(int(label) * _GOLDEN % 1)
    return table[where].reshape(*plane.shape, 3)


def _limits(
    values: np.ndarray, stated: tuple[float, float] | None
) -> tuple[float, float]:
    if stated is not None and values.max() > stated[0] and values.min() < stated[1]:
        return stated
    low, high = (float(v) for v in np.percentile(values, _PERCENTILES))
    return (low, high) if low < high else (low, low + 1)


def _rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def _hue(hue: float) -> np.ndarray:
    angles = (hue + np.array([0, 1 / 3, 2 / 3])) * 2 * np.pi
    return np.asarray(127 + 110 * np.cos(angles), dtype=np.uint8)


# Thumbnails on disk, by the address and the version of what they were made from.

CACHE_BYTES = 64 * 2**20
"""What the pictures take on disk at most, unless somebody says otherwise."""

_log = logging.getLogger(__name__)
_room = {"bytes": CACHE_BYTES}


def set_thumbnail_cache(size: int = CACHE_BYTES) -> None:
    """Say how many bytes of thumbnails are kept on disk; 0 keeps none, and uses none.

    When the next picture is kept, what is too much goes: first what was used longest
    ago.
    """
    _room["bytes"] = size


def clear_thumbnail_cache() -> None:
    """Delete all thumbnails that are kept on disk; blocks."""
    ThumbnailCache().clear()


class ThumbnailCache:
    """Small pictures in files that may be deleted at any time.

    Parameters
    ----------
    folder : Path, optional
        Where; by default ``thumbnails`` in the cache folder.
    size : int, optional
        How many bytes they take at most; by default what `set_thumbnail_cache` says.
    """

    def __init__(self, folder: Path | None = None, *, size: int | None = None) -> None:
        self.folder = folder or cache_folder() / "thumbnails"
        self.size = _room["bytes"] if size is None else size

    def find(self, location: Location, version: str) -> np.ndarray | None:
        """Find a picture, rows x columns x RGB; None if none is of this version."""
        file = self._file(location, version)
        if file is None:
            return None
        try:
            with Image.open(file) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            os.utime(file)
        except (OSError, UnidentifiedImageError):
            return None
        return pixels

    def keep(self, location: Location, version: str, picture: np.ndarray) -> None:
        """Keep a picture, and let those go that were used longest ago.

        Without a version, nothing is kept: nobody could say when it is outdated.
        """
        file = self._file(location, version)
        if file is None:
            return
        try:
            with replacing(file) as fresh:
                fresh.touch(mode=0o600)
                Image.fromarray(picture).save(fresh, "PNG")
            self._prune()
        except OSError as error:
            # A full disk is no reason to show no picture.
            _log.info("A thumbnail was not kept: %s", error)

    def clear(self) -> None:
        """Delete all pictures, and what an interrupted process left of one."""
        for file in (*self.folder.glob("*.png"), *self.folder.glob(f".*{PARTIAL}")):
            with suppress(OSError):
                file.unlink()

    def _prune(self) -> None:
        taken = 0
        files = ((file, *_facts(file)) for file in self.folder.glob("*.png"))
        for file, _, size in sorted(files, key=itemgetter(1), reverse=True):
            taken += size
            if taken > self.size:
                with suppress(OSError):
                    file.unlink()

    def _file(self, location: Location, version: str) -> Path | None:
        if not version or self.size <= 0:
            return None
        # Hashed, so that no address can be read from the names of the files.
        name = hashlib.sha256(f"{location.display}\n{version}".encode()).hexdigest()
        return self.folder / f"{name}.png"


def _facts(file: Path) -> tuple[int, int]:
    """Say when a file was used, and how large it is; another process may delete it."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


# A small picture of an image: the one that is stored, or its coarsest level.

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
    pictures = ThumbnailCache() if location.is_remote else None
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
    location: Location, path: str, pictures: ThumbnailCache | None
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
    image: Pyramid, most_bytes: int, pictures: ThumbnailCache | None
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
