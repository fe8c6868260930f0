"""Thumbnails: stored ones, or drawn from the coarsest level, and kept on disk."""

from __future__ import annotations

import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from math import prod
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from napari_omezarr.atomic_file import PARTIAL, replacing
from napari_omezarr.doors import guarded
from napari_omezarr.errors import FOREIGN_ERRORS
from napari_omezarr.metadata import is_usable_path, limits_of
from napari_omezarr.plain_text import bytes_text
from napari_omezarr.pyramid import ArrayPixels, Mosaic, chunk_counts
from napari_omezarr.reading import ReadOptions, read_current
from napari_omezarr.store import open_store, run
from napari_omezarr.user_files import cache_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_omezarr.location import Location
    from napari_omezarr.metadata import ResolvedChannel
    from napari_omezarr.pyramid import Place, Pyramid

EDGE = 256
"""How many pixels a thumbnail has at most along an edge."""

MOST_BYTES = 16 * 2**20
"""How many bytes of pixels, without compression, may be read for one."""

CACHE_BYTES = 64 * 2**20
"""What thumbnails take on disk at most, unless somebody says otherwise."""

_MOST_CHUNKS = 4000
_MOST_CHANNELS = 6
_MOST_PIXELS = 64 * 2**20

_GOLDEN = 0.618033988749895
"""Steps of the golden ratio round the colour circle give neighbours far colours."""

_log = logging.getLogger(__name__)

# Planes in the colours of their channels.


def composite(
    planes: Sequence[np.ndarray], channels: Sequence[ResolvedChannel]
) -> np.ndarray:
    """Add planes (rows x columns) in their colours, each within its contrast limits.

    Gives rows x columns x RGB, uint8.
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

    Gives rows x columns x RGB, uint8; label 0 is black.
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
    # No limits, or nothing that is seen lies within them.
    return limits_of(values)


def _rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def _hue(hue: float) -> np.ndarray:
    angles = (hue + np.array([0, 1 / 3, 2 / 3])) * 2 * np.pi
    return np.asarray(127 + 110 * np.cos(angles), dtype=np.uint8)


# Thumbnails on disk, by the address and the version of what they were made from.

_limit = {"bytes": CACHE_BYTES}


def set_thumbnail_cache(size: int = CACHE_BYTES) -> None:
    """Say how many bytes of thumbnails are kept on disk; 0 keeps none, and uses none.

    What is too much goes when the next one is kept.
    """
    _limit["bytes"] = size


def clear_thumbnail_cache() -> None:
    """Delete all thumbnails that are kept on disk; blocks."""
    ThumbnailCache().clear()


class ThumbnailCache:
    """Thumbnails in files that may be deleted at any time.

    By default they lie in ``thumbnails`` in the cache folder, and take as many bytes
    at most as `set_thumbnail_cache` says.
    """

    def __init__(self, folder: Path | None = None, *, size: int | None = None) -> None:
        self.folder = folder or cache_folder() / "thumbnails"
        self.size = _limit["bytes"] if size is None else size

    def find(self, location: Location, version: str) -> np.ndarray | None:
        """Find a thumbnail, rows x columns x RGB; None if none is of this version."""
        file = self._file(location, version)
        if file is None:
            return None
        try:
            with Image.open(file) as png:
                pixels = np.asarray(png.convert("RGB"))
            os.utime(file)  # the time of use
        except (OSError, UnidentifiedImageError):
            return None
        return pixels

    def keep(self, location: Location, version: str, pixels: np.ndarray) -> None:
        """Keep a thumbnail, and delete those that were used longest ago."""
        # Without a version nothing is kept: nobody could say when it is outdated.
        file = self._file(location, version)
        if file is None:
            return
        try:
            with replacing(file) as fresh:
                fresh.touch(mode=0o600)
                Image.fromarray(pixels).save(fresh, "PNG")
            self._prune()
        except OSError as error:
            # A full disk is no reason to show no thumbnail.
            _log.info("A thumbnail was not kept: %s", error)

    def clear(self) -> None:
        """Delete all thumbnails, and what an interrupted process left of one."""
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


# The thumbnail that is stored with an image, or one of its coarsest level.


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture of an image: rows x columns x RGB, uint8, or None.

    ``sentence`` says where it comes from, or why there is none.
    """

    pixels: np.ndarray | None
    sentence: str


@guarded
def thumbnail(location: Location, *, most_bytes: int = MOST_BYTES) -> Thumbnail:
    """Make a small picture of an image or a label image; blocks.

    Those of remote places are kept on disk, by the address and the version (the ETag)
    of what they were made from. Where more than `most_bytes` of pixels have to be read,
    there is none.
    """
    image = read_current(location, ReadOptions(labels=False)).pyramids[0]
    cache = ThumbnailCache() if location.is_remote else None
    if stored := _stored_path(image.extras):
        found = _from_store(location, stored, cache)
        if found is not None:
            return Thumbnail(found, "The picture that is stored with the image.")
    pixels = image.levels[-1].pixels
    if isinstance(pixels, Mosaic):
        return _from_plate(image, pixels)
    return _from_level(image, most_bytes, cache)


def _stored_path(attributes: Mapping[str, Any]) -> str:
    """Find the stored thumbnail that is just large enough (Zarr's "thumbnails")."""
    rows = attributes.get("thumbnails")
    rows = rows if isinstance(rows, list) else []
    usable = [
        row
        for row in rows
        if isinstance(row, dict)
        and isinstance(row.get("path"), str)
        and is_usable_path(row["path"])
    ]
    usable.sort(key=lambda row: (_width(row) < EDGE, abs(_width(row) - EDGE)))
    return str(usable[0]["path"]) if usable else ""


def _width(row: Mapping[str, Any]) -> int:
    width = row.get("width")
    return width if isinstance(width, int) else EDGE


def _from_store(
    location: Location, path: str, cache: ThumbnailCache | None
) -> np.ndarray | None:
    store = open_store(location)
    version = run(store.version(path))
    if cache and (kept := cache.find(location / path, version)) is not None:
        return kept
    body = store.fetch([path])[path]
    pixels = _decoded(body) if isinstance(body, bytes) else None
    if cache and pixels is not None:
        cache.keep(location / path, version, pixels)
    return pixels


_UNREADABLE: tuple[type[Exception], ...] = (
    *FOREIGN_ERRORS,
    SyntaxError,
    Image.DecompressionBombError,
)


def _decoded(body: bytes) -> np.ndarray | None:
    try:
        with Image.open(BytesIO(body)) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                return None
            picture.thumbnail((EDGE, EDGE))
            return np.asarray(picture.convert("RGB"))
    # Pillow says of a damaged file whatever its parts say; of PNG a SyntaxError.
    except _UNREADABLE:
        return None


def _from_level(
    image: Pyramid, most_bytes: int, cache: ThumbnailCache | None
) -> Thumbnail:
    pixels = image.levels[-1].pixels
    if not isinstance(pixels, ArrayPixels) or pixels.ndim < 2 or 0 in pixels.shape:
        return Thumbnail(None, "There is no small picture of this.")
    shown = [i for i, channel in enumerate(image.channels) if channel.visible]
    shown = (shown or [0])[:_MOST_CHANNELS]
    planes = len(image.channels) if image.rgb else len(shown)
    size = _chunked_size(image, pixels) * planes
    if size > most_bytes:
        said = f"Its coarsest plane is too large to preview: {bytes_text(size)}."
        return Thumbnail(None, said)
    sentence = "The middle of the coarsest level."
    counts = chunk_counts(pixels.shape, pixels.chunks)
    if prod(sorted(counts)[-2:]) * planes > _MOST_CHUNKS:
        return Thumbnail(None, "Its coarsest plane has too many chunks to preview.")
    key = pixels.stored_key(tuple(count // 2 for count in counts))
    version = run(pixels.store.version(key)) if cache else ""
    place = image.location / image.levels[-1].path
    if cache and (kept := cache.find(place, version)) is not None:
        return Thumbnail(kept, sentence)
    drawn = _drawn(image, pixels, shown)
    if pixels.store.presumed:
        # What is refused may be there the next time.
        return Thumbnail(drawn, f"{sentence} Parts of it are refused, and left empty.")
    if cache:
        cache.keep(place, version, drawn)
    return Thumbnail(drawn, sentence)


_MOST_WELLS = 24
_UNREAD = 40  # of 255
_THREADS = 8


def _from_plate(image: Pyramid, mosaic: Mosaic) -> Thumbnail:
    """Draw a plate: some of its wells as they are, the others as grey squares."""
    grid, level = mosaic.fields.grid, mosaic.level
    step = max(1, -(-max(mosaic.shape[-2:]) // EDGE))
    names = list(grid.wells)
    shown = names[:: max(1, -(-len(names) // _MOST_WELLS))]
    height, width = (-(-size // step) for size in mosaic.shape[-2:])
    drawn = np.zeros((height, width, 3), np.uint8)
    for place in names:
        drawn[_square(mosaic, place, step)] = _UNREAD
    front = tuple(size // 2 for size in mosaic.shape[len(mosaic.fields.steps) : -2])
    axis = image.channel_axis
    channels = [n for n, channel in enumerate(image.channels) if channel.visible]
    channels = (channels or [0])[:_MOST_CHANNELS]

    def read(place: Place) -> list[np.ndarray]:
        first = (
            round(a / f) for a, f in zip(grid.corner(place), level.factors, strict=True)
        )
        box = tuple(
            slice(low, low + max(1, round(size / by)))
            for low, size, by in zip(first, grid.cell, level.factors, strict=True)
        )
        planes = []
        for channel in channels:
            key: list[Any] = [0] * len(mosaic.fields.steps) + list(front)
            if axis is not None:
                key[axis] = channel
            planes.append(mosaic[(*key, *box)])
        return planes

    with ThreadPoolExecutor(_THREADS) as pool:
        found = dict(zip(shown, pool.map(read, shown), strict=True))
    for place, planes in found.items():
        well = composite(planes, [image.channels[n] for n in channels])
        square = drawn[_square(mosaic, place, step)]
        square[:] = _fitted(well, square.shape[:2])
    many = "" if len(shown) == len(names) else f", {len(shown)} of them as they are"
    return Thumbnail(drawn, f"The {len(names):,} wells that are listed{many}.")


def _square(mosaic: Mosaic, place: Place, step: int) -> tuple[slice, slice]:
    """Give where a well is drawn in a picture that is thinned by a step."""
    grid = mosaic.fields.grid
    ends = [
        (round(first / by / step), round((first + size) / by / step))
        for first, size, by in zip(
            grid.corner(place), grid.cell, mosaic.level.factors, strict=True
        )
    ]
    (top, bottom), (left, right) = ends
    return slice(top, max(top + 1, bottom)), slice(left, max(left + 1, right))


def _fitted(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Thin a picture to a shape, by the nearest pixels."""
    rows, columns = (
        np.arange(size) * whole // max(1, size)
        for size, whole in zip(shape, picture.shape[:2], strict=True)
    )
    return np.asarray(picture[rows[:, None], columns])


def _chunked_size(image: Pyramid, pixels: ArrayPixels) -> int:
    """Count the bytes of the chunks that one plane of one channel lies in."""
    colours_last = image.rgb and image.channel_axis == len(image.axes) - 1
    outer = pixels.ndim - (3 if colours_last else 2)
    sizes = (*pixels.chunks[:outer], *pixels.shape[outer:])
    return prod(sizes) * pixels.dtype.itemsize


def _drawn(image: Pyramid, pixels: ArrayPixels, shown: list[int]) -> np.ndarray:
    if image.rgb:
        planes = [_plane(image, pixels, channel) for channel in range(3)]
        stacked = np.clip(np.stack(planes, axis=-1), 0, 255)
        return np.asarray(stacked, dtype=np.uint8)
    if image.label is not None:
        return label_colours(_plane(image, pixels, 0), image.label.colors)
    planes = [_plane(image, pixels, channel) for channel in shown]
    return composite(planes, [image.channels[channel] for channel in shown])


def _plane(image: Pyramid, pixels: ArrayPixels, channel: int) -> np.ndarray:
    """Read the middle plane of one channel, thinned to `EDGE` pixels at most."""
    plane = [axis for axis in range(pixels.ndim) if axis != image.channel_axis][-2:]
    key: list[Any] = [size // 2 for size in pixels.shape]
    for axis in plane:
        key[axis] = slice(None)
    if image.channel_axis is not None:
        key[image.channel_axis] = channel
    step = max(1, -(-max(pixels.shape[axis] for axis in plane) // EDGE))
    return pixels[tuple(key)][::step, ::step]
