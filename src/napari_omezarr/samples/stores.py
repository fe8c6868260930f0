"""Sample images written as OME-Zarr, with zarr and nothing else."""

from __future__ import annotations

import colorsys
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from . import documents
from .documents import LevelPlace
from .pixels import cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import EllipsisType

    from numpy.typing import NDArray
    from zarr.storage import StoreLike

    from .documents import Version
    from .pixels import Cells

    Pixels = NDArray[np.uint16]

VOXEL = (0.5, 0.2, 0.2)
"""The size of a voxel of the cells: z, y, x in micrometres."""
FACTORS = ((1, 1, 1), (1, 2, 2), (2, 4, 4))
"""How much coarser each level is; z follows once y and x are as coarse as it is."""
CHANNELS = (("Nuclei", "00FFFF", (120, 2600)), ("Membranes", "FF00FF", (120, 2000)))
CHUNK = (16, 256, 256)
PLATE_DEPTH = 12
"""Planes of which a field of the plate is the middle one."""
LABELS = "nuclei"
"""The name of the label image of the cells."""


def write_cells(
    store: StoreLike,
    *,
    version: Version = "0.5",
    shape: tuple[int, int, int] = (32, 512, 512),
    seed: int = 1,
    path: str = "",
) -> Cells:
    """Write a two-channel volume of three levels, with the labels of its nuclei.

    Parameters
    ----------
    store : StoreLike
        A folder's path, or any zarr store that can be written to.
    version : {"0.4", "0.5", "0.6"}
        The version of OME-Zarr.
    shape : tuple of int
        z, y, x of the finest level.
    seed : int
        Another seed gives other cells.
    path : str
        Where in the store the image is to lie.

    Returns
    -------
    Cells
        What was written as the finest level, in memory.

    Raises
    ------
    zarr.errors.ContainsGroupError
        If there is a group already.
    """
    made = cells(shape, seed=seed)
    places = _places(FACTORS, VOXEL)
    image = [LevelPlace(p.path, (1.0, *p.scale), (0.0, *p.translation)) for p in places]
    group = _group(
        store,
        path,
        version,
        documents.multiscales(version, "Epithelium", "czyx", image),
        documents.omero(CHANNELS, default_z=shape[0] // 2),
    )
    _write_levels(group, "czyx", [_mean(made.image, f) for f in FACTORS])

    labels = group.create_group(
        "labels", attributes=documents.attributes(version, {"labels": [LABELS]})
    )
    _write_levels(
        labels.create_group(
            LABELS,
            attributes=documents.attributes(
                version,
                documents.multiscales(version, LABELS, "zyx", places),
                _describe(made, version),
            ),
        ),
        "zyx",
        [_nearest(made.labels, factor) for factor in FACTORS],
    )
    return made


def write_plate(
    store: StoreLike,
    *,
    version: Version = "0.5",
    rows: Sequence[str] = ("A", "B"),
    columns: Sequence[str] = ("1", "2", "3"),
    size: int = 256,
    path: str = "",
) -> dict[str, Pixels]:
    """Write a plate with one field of view in each well but the last, which is empty.

    Parameters
    ----------
    store : StoreLike
        A folder's path, or any zarr store that can be written to.
    version : {"0.4", "0.5", "0.6"}
        The version of OME-Zarr.
    rows, columns : sequence of str
        Their names; alphanumeric.
    size : int
        Height and width of a field in pixels.
    path : str
        Where in the store the plate is to lie.

    Returns
    -------
    dict
        The finest level of each well's field by the well's path, like ``A/1``;
        shape (2, y, x).

    Raises
    ------
    zarr.errors.ContainsGroupError
        If there is a group already.
    """
    wells = ["/".join(place) for place in product(rows, columns)][:-1]
    described = documents.plate(version, "Screen", rows, columns, wells, 1)
    group = _group(store, path, version, described)
    for row in dict.fromkeys(well.split("/")[0] for well in wells):
        group.create_group(row)
    return {
        well: _write_well(group, well, version, size, seed)
        for seed, well in enumerate(wells, start=1)
    }


def _write_well(
    plate: zarr.Group, path: str, version: Version, size: int, seed: int
) -> Pixels:
    """Write a well with one field: one plane of some cells."""
    pixels: Pixels = cells((PLATE_DEPTH, size, size), seed=seed).image[
        :, PLATE_DEPTH // 2
    ]
    factors = ((1, 1), (2, 2))
    places = [
        LevelPlace(place.path, (1.0, *place.scale), (0.0, *place.translation))
        for place in _places(factors, VOXEL[1:])
    ]
    well = documents.attributes(version, documents.well(version, 1))
    image = documents.attributes(
        version,
        documents.multiscales(version, path.replace("/", ""), "cyx", places),
        documents.omero(CHANNELS),
    )
    field = plate.create_group(path, attributes=well).create_group(
        "0", attributes=image
    )
    _write_levels(field, "cyx", [_mean(pixels, factor) for factor in factors])
    return pixels


def _group(
    store: StoreLike, path: str, version: Version, *blocks: Mapping[str, Any]
) -> zarr.Group:
    return zarr.create_group(
        store,
        path=path,
        zarr_format=2 if version == "0.4" else 3,
        attributes=documents.attributes(version, *blocks),
    )


def _places(
    factors: Sequence[tuple[int, ...]], voxel: tuple[float, ...]
) -> list[LevelPlace]:
    """Say where levels lie: a binned pixel's centre is the mean of its pixels'."""
    return [
        LevelPlace(
            str(number),
            tuple(size * by for size, by in zip(voxel, factor, strict=True)),
            tuple(size * (by - 1) / 2 for size, by in zip(voxel, factor, strict=True)),
        )
        for number, factor in enumerate(factors)
    ]


def _write_levels(group: zarr.Group, axes: str, levels: Sequence[Pixels]) -> None:
    """Write the arrays ``0``, ``1``, …, one chunk grid for all of them."""
    chunks = (1, 1, *CHUNK)[-len(axes) :] if len(axes) > 3 else CHUNK[-len(axes) :]
    old = group.metadata.zarr_format == 2
    form: dict[str, Any] = (
        {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        if old
        else {"dimension_names": tuple(axes)}
    )
    for number, pixels in enumerate(levels):
        array = group.create_array(
            str(number),
            shape=pixels.shape,
            dtype=pixels.dtype,
            chunks=tuple(map(min, chunks, pixels.shape)),
            **form,
        )
        array[...] = pixels


def _mean(pixels: Pixels, factor: tuple[int, ...]) -> Pixels:
    """Average blocks over the last axes; what does not fill a block is left out."""
    if max(factor) == 1:
        return pixels
    kept = _whole_blocks(pixels, factor)
    parts = [kept[_last(offset)] for offset in _offsets(factor)]
    total = reduce(np.add, parts[1:], parts[0].astype(np.uint32))
    return ((total + len(parts) // 2) // len(parts)).astype(pixels.dtype)


def _nearest(labels: Pixels, factor: tuple[int, ...]) -> Pixels:
    """Take one value of each block: a mean of labels would be another label."""
    middle = tuple(slice(by // 2, None, by) for by in factor)
    return _whole_blocks(labels, factor)[_last(middle)]


def _whole_blocks(pixels: Pixels, factor: tuple[int, ...]) -> Pixels:
    sizes = pixels.shape[-len(factor) :]
    ends = (size // by * by for size, by in zip(sizes, factor, strict=True))
    return pixels[_last(map(slice, ends))]


def _last(slices: Iterable[slice]) -> tuple[slice | EllipsisType, ...]:
    return (..., *slices)


def _offsets(factor: tuple[int, ...]) -> list[tuple[slice, ...]]:
    starts = product(*map(range, factor))
    return [tuple(map(slice, start, [None] * len(start), factor)) for start in starts]


def _describe(made: Cells, version: Version) -> dict[str, Any]:
    """Give each nucleus a colour far from its neighbours', its kind and its size."""
    values, counts = np.unique(made.labels, return_counts=True)
    sizes = dict(zip(values.tolist(), counts.tolist(), strict=True))
    sizes.pop(0, None)
    properties = {
        value: {
            "phase": "mitosis" if value in made.mitotic else "interphase",
            "voxels": count,
        }
        for value, count in sizes.items()
    }
    colors = {value: _color(value) for value in sizes}
    return documents.image_label(version, colors, properties)


def _color(value: int) -> tuple[int, int, int, int]:
    # Steps of the golden ratio keep the hues of successive values apart.
    red, green, blue = colorsys.hsv_to_rgb(value * 0.618034 % 1, 0.75, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255), 255
