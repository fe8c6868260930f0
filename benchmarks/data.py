"""The stores that are measured, made anew from nothing; the same on every machine.

Opening reads no pixel, so all but the volume and the planes hold metadata only: every
chunk is missing. They lie in ``benchmarks/data/``, about 350 MB::

    python benchmarks/data.py
"""

from __future__ import annotations

import shutil
import string
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from napari_omezarr import samples
from napari_omezarr.samples import LevelPlace, cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_omezarr.samples import Version

FOLDER = Path(__file__).parent / "data"
CHANNELS = (("Nuclei", "00FFFF", (120, 2600)), ("Membranes", "FF00FF", (120, 2000)))
VOXEL = {"c": 1.0, "z": 0.5, "y": 0.2, "x": 0.2}
LABELS = ("nuclei", "cells", "tissue")
SERIES = 10
FIELDS = 2

VOLUME_SHAPE = (2, 64, 1024, 1024)
VOLUME_CHUNKS = (1, 1, 512, 512)
"""512 chunks of 512 KiB each, 256 MiB in all."""
SMALL_CHUNKS = (1, 8, 64, 64)
"""4,096 of 64 KiB."""

SHARDS = (1, 64, 256, 512)
"""16 MiB: the volume is 16 shards, each of 32 chunks of 512 KiB or 256 of 64 KiB."""

PLANES_SHAPE = (2, 16, 2048, 2048)
PLANES_LEVELS = 4
PLANE_STEP, LEVEL_STEP = 1000, 100
"""What a plane and a level add to each pixel of a noise below 100."""


def make(name: str) -> Path:
    """Give the folder of a store, which is made if it is not there yet.

    Parameters
    ----------
    name : str
        One of `STORES`.
    """
    place = FOLDER / f"{name}.ome.zarr"
    if not place.exists():
        # Renamed when it is whole: an interrupted run leaves nothing half made.
        unfinished = place.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        STORES[name](unfinished)
        unfinished.rename(place)
    return place


def _group(path: Path, version: Version, *blocks: dict[str, Any]) -> zarr.Group:
    return zarr.create_group(
        path,
        zarr_format=2 if version == "0.4" else 3,
        attributes=samples.attributes(version, *blocks),
    )


def _image(  # noqa: PLR0913 - what differs from image to image, by name
    path: Path,
    *,
    version: Version = "0.5",
    axes: str = "czyx",
    shape: tuple[int, ...] = (2, 64, 2048, 2048),
    chunks: tuple[int, ...] = (1, 1, 512, 512),
    levels: int = 4,
    block: dict[str, Any] | None = None,
) -> None:
    """Write the metadata of an image whose levels halve y and x."""
    scale = [VOXEL[axis] for axis in axes]
    places = [
        LevelPlace(
            str(level),
            (*scale[:-2], *(size * 2**level for size in scale[-2:])),
            (
                *[0.0] * (len(axes) - 2),
                *(size * (2**level - 1) / 2 for size in scale[-2:]),
            ),
        )
        for level in range(levels)
    ]
    group = _group(
        path,
        version,
        samples.multiscales(version, path.stem, axes, places),
        samples.omero(CHANNELS) if block is None else block,
    )
    form: dict[str, Any] = {"dimension_names": tuple(axes)}
    if version == "0.4":
        form = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    for level in range(levels):
        smaller = (*shape[:-2], *(size >> level for size in shape[-2:]))
        group.create_array(
            str(level),
            shape=smaller,
            chunks=tuple(map(min, chunks, smaller)),
            dtype="uint16",
            compressors=ZstdCodec() if version != "0.4" else "auto",
            fill_value=0,
            **form,
        )


def _place(level: int, axes: str) -> LevelPlace:
    """Say where a level's grid lies: a pixel's centre is the mean of its pixels'."""
    factors = [2**level if axis in "yx" else 1 for axis in axes]
    sizes = [VOXEL[axis] for axis in axes]
    scale = (size * by for size, by in zip(sizes, factors, strict=True))
    shift = (size * (by - 1) / 2 for size, by in zip(sizes, factors, strict=True))
    return LevelPlace(str(level), tuple(scale), tuple(shift))


def _image_04(path: Path) -> None:
    _image(path, version="0.4")


def _image_05(path: Path) -> None:
    _image(path)


def _labelled(path: Path) -> None:
    _image(path)
    _group(path / "labels", "0.5", {"labels": list(LABELS)})
    colors = {value: (value, 255 - value, 128, 255) for value in range(1, 100)}
    for name in LABELS:
        _image(
            path / "labels" / name,
            axes="zyx",
            shape=(64, 2048, 2048),
            chunks=(1, 512, 512),
            block=samples.image_label("0.5", colors, {}),
        )


def _series(path: Path) -> None:
    """Write what bioformats2raw makes of a file with several images."""
    _group(path, "0.5", {"bioformats2raw.layout": 3})
    names = [str(number) for number in range(SERIES)]
    _group(path / "OME", "0.5", {"series": names})
    images = "".join(
        f'<Image ID="Image:{name}" Name="Position {name}">'
        f'<Pixels ID="Pixels:{name}" DimensionOrder="XYZCT" Type="uint16" '
        'SizeX="2048" SizeY="2048" SizeZ="64" SizeC="2" SizeT="1"/></Image>'
        for name in names
    )
    (path / "OME" / "METADATA.ome.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.'
        f'org/Schemas/OME/2016-06">{images}</OME>'
    )
    for name in names:
        _image(path / name)


def _plate(path: Path, rows: int, columns: int) -> None:
    letters = string.ascii_uppercase[:rows]
    numbers = [str(number) for number in range(1, columns + 1)]
    wells = ["/".join(place) for place in product(letters, numbers)]
    described = samples.plate("0.5", "Screen", letters, numbers, wells, FIELDS)
    _group(path, "0.5", described)
    for letter in letters:
        _group(path / letter, "0.5")
    first = path / wells[0]
    _group(first, "0.5", samples.well("0.5", FIELDS))
    for number in range(FIELDS):
        _image(first / str(number), shape=(2, 1, 512, 512), levels=3)
    for well in wells[1:]:
        shutil.copytree(first, path / well)


def _plate_96(path: Path) -> None:
    _plate(path, 8, 12)


def _plate_384(path: Path) -> None:
    _plate(path, 16, 24)


def _volume(path: Path, chunks: tuple[int, ...] = VOLUME_CHUNKS) -> None:
    """Write what is read in full: noise and cells, of which zstd saves a half."""
    _image(path, shape=VOLUME_SHAPE, chunks=chunks, levels=1)
    array = zarr.open_array(path / "0", mode="r+")
    array[...] = cells(VOLUME_SHAPE[1:]).image


def _volume_64(path: Path) -> None:
    _volume(path, SMALL_CHUNKS)


def _sharded(path: Path, chunks: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Write the volume's pixels, or some of them, in shards of 16 MiB."""
    places = [_place(0, "czyx")]
    described = samples.multiscales("0.5", path.stem, "czyx", places)
    array = _group(path, "0.5", described, samples.omero(CHANNELS)).create_array(
        "0",
        shape=shape,
        shards=SHARDS,
        chunks=chunks,
        dtype="uint16",
        compressors=ZstdCodec(),
        dimension_names=tuple("czyx"),
    )
    array[...] = cells(VOLUME_SHAPE[1:]).image[tuple(map(slice, shape))]


def _sharded_512(path: Path) -> None:
    _sharded(path, (1, 16, 128, 128), VOLUME_SHAPE)


def _sharded_64(path: Path) -> None:
    _sharded(path, SMALL_CHUNKS, VOLUME_SHAPE)


def _sharded_patch(path: Path) -> None:
    """Write two shards, to warm up with."""
    _sharded(path, (1, 16, 128, 128), (1, 64, 256, 1024))


def _planes(path: Path) -> None:
    """Write pixels that say which plane of which level they are, and else noise."""
    _image(path, shape=PLANES_SHAPE, levels=PLANES_LEVELS)
    noise = np.random.default_rng(0).integers(1, 100, PLANES_SHAPE[-2:], "u2")
    for level in range(PLANES_LEVELS):
        array = zarr.open_array(path / str(level), mode="r+")
        seen = noise[:: 2**level, :: 2**level] + level * LEVEL_STEP
        for channel, z in product(*map(range, PLANES_SHAPE[:2])):
            array[channel, z] = seen + z * PLANE_STEP


def _patch(path: Path) -> None:
    """Write four chunks of the volume's kind, to warm up with."""
    _image(path, shape=(1, 1, 1024, 1024), chunks=VOLUME_CHUNKS, levels=1)
    array = zarr.open_array(path / "0", mode="r+")
    array[...] = cells((8, 1024, 1024)).image[:1, 4:5]


def _few_chunks(path: Path) -> None:
    """Describe an image whose finest level has ten chunks."""
    _image(path, shape=(2, 5, 64, 64), chunks=(1, 1, 64, 64), levels=3)


def _many_chunks(path: Path) -> None:
    """Describe an image whose finest level has ten million chunks."""
    _image(path, shape=(2, 500, 6400, 6400), chunks=(1, 1, 64, 64), levels=3)


STORES: dict[str, Callable[[Path], None]] = {
    "image-0.4": _image_04,
    "image-0.5": _image_05,
    "labels": _labelled,
    "series": _series,
    "plate-96": _plate_96,
    "plate-384": _plate_384,
    "volume": _volume,
    "volume-64": _volume_64,
    "patch": _patch,
    "sharded-512": _sharded_512,
    "sharded-64": _sharded_64,
    "sharded-patch": _sharded_patch,
    "planes": _planes,
    "few-chunks": _few_chunks,
    "many-chunks": _many_chunks,
}
"""By name, how each store is made."""


def main() -> None:
    """Make all stores."""
    FOLDER.mkdir(exist_ok=True)
    for name in STORES:
        print(make(name))


if __name__ == "__main__":
    main()
