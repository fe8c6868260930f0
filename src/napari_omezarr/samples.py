"""Sample images that the project makes itself, for the demo, tests and benchmarks.

They are written with zarr and nothing else: our own metadata code is tested against
them. Nothing here knows of napari or Qt, and the same arguments give the same pixels.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import zarr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import EllipsisType

    from numpy.typing import NDArray
    from zarr.storage import StoreLike

    Point = NDArray[np.float32]
    Volume = NDArray[np.float32]
    Pixels = NDArray[np.uint16]

# A synthetic piece of epithelium: nuclei, membranes, and the nuclei's labels.

SPACING = 56
"""Pixels from one cell to the next."""
NUCLEUS = (5.0, 17.0, 13.0)
"""Half axes of a nucleus: z, the long and the short one in the plane."""
MITOTIC_EVERY = 9
"""One cell in so many divides: its nucleus is small and bright."""
FAR = 1e4


@dataclass(frozen=True, slots=True)
class Cells:
    """Two channels and the labels of one of them."""

    image: NDArray[np.uint16]
    """Nuclei, then membranes, as counts of a 12-bit camera."""
    labels: NDArray[np.uint16]
    """The nuclei, numbered from 1; 0 is background."""
    mitotic: frozenset[int]
    """The labels of the nuclei that divide."""


def cells(shape: tuple[int, int, int] = (32, 512, 512), *, seed: int = 1) -> Cells:
    """Make a sheet of cells as a confocal microscope might show it.

    The axes of ``shape`` are z, y and x; the size of a cell does not depend on it. The
    default takes about a second and 50 MB; another seed gives other cells.
    """
    rng = np.random.default_rng(seed)
    centres = _centres(shape, rng)
    labels = np.zeros(shape, np.uint16)
    nuclei = np.zeros(shape, np.float32)
    for label, centre in enumerate(centres, start=1):
        _add_nucleus(nuclei, labels, label, centre, rng)
    membranes = _membranes(shape, centres)
    image = np.stack([_expose(nuclei * 2600, rng), _expose(membranes * 1900, rng)])
    present = np.unique(labels).tolist()
    return Cells(image, labels, frozenset(filter(_is_mitotic, present)))


def _is_mitotic(label: int) -> bool:
    return label % MITOTIC_EVERY == 4


def _centres(shape: tuple[int, int, int], rng: np.random.Generator) -> list[Point]:
    """Points (z, y, x) on a jittered grid, one row beyond every edge."""
    depth, height, width = shape
    places = [
        (0.45 * depth, SPACING * (row + 0.5), SPACING * (column + 0.5 * (row % 2)))
        for row in range(-1, math.ceil(height / SPACING) + 1)
        for column in range(-1, math.ceil(width / SPACING) + 2)
    ]
    spread = (0.06 * depth, 0.2 * SPACING, 0.2 * SPACING)
    jitter = rng.uniform(-1, 1, (len(places), 3)) * spread
    return list((np.array(places) + jitter).astype(np.float32))


def _add_nucleus(
    nuclei: Volume,
    labels: NDArray[np.uint16],
    label: int,
    centre: Point,
    rng: np.random.Generator,
) -> None:
    """Draw one ellipsoid with textured chromatin and two dark nucleoli."""
    angle, brightness = rng.uniform(0, math.pi), rng.uniform(0.55, 0.8)
    phases = rng.uniform(0, 2 * math.pi, 3)
    holes = rng.uniform(-0.45, 0.45, (2, 3))
    size = rng.uniform(0.85, 1.1)
    if _is_mitotic(label):
        brightness, size = 1.0, 0.7 * size
    box = _box(centre, math.ceil(1.1 * max(NUCLEUS) * size), labels.shape)
    z, y, x = _coordinates(box, centre)
    along = (y * math.cos(angle) + x * math.sin(angle)) / (NUCLEUS[1] * size)
    across = (x * math.cos(angle) - y * math.sin(angle)) / (NUCLEUS[2] * size)
    upward = z / (min(NUCLEUS[0], labels.shape[0] / 4) * size)
    radius = np.sqrt(upward**2 + along**2 + across**2)

    oblique = (5 * upward + 3 * along, 8 * along + 5 * across, 7 * across - 6 * along)
    texture = sum(map(np.sin, map(np.add, oblique, phases)))
    intensity = brightness * (1 + 0.09 * texture)
    for up, length, breadth in [] if _is_mitotic(label) else holes:
        distance = (upward - up) ** 2 + (along - length) ** 2 + (across - breadth) ** 2
        intensity = intensity * (1 - 0.55 * np.exp(-distance / 0.03))
    soft = np.clip((1.12 - radius) * 5, 0, 1)
    nuclei[box] = np.maximum(nuclei[box], soft * intensity)
    labels[box] = np.where((radius < 1) & (labels[box] == 0), label, labels[box])


def _membranes(shape: tuple[int, int, int], centres: list[Point]) -> Volume:
    """Walls where two cells meet, with a domed lid and a flat floor."""
    nearest = np.full(shape[1:], FAR, np.float32)
    second = nearest.copy()
    for centre in centres:
        window = _box(centre, 2 * SPACING, shape)[1:]
        y, x = _coordinates(window, centre[1:])
        # A little warped, for walls that are not ruled lines.
        distance = np.hypot(y + 2 * np.sin(x / 9), x + 2 * np.sin(y / 9))
        near, next_near = nearest[window], second[window]
        second[window] = np.minimum(next_near, np.maximum(near, distance))
        nearest[window] = np.minimum(near, distance)
    depth = shape[0]
    z = np.arange(depth, dtype=np.float32)[:, None, None]
    lid = depth * (0.88 - 0.16 * (nearest / (0.6 * SPACING)) ** 2)
    floor = 0.12 * depth
    wall = np.exp(-(((second - nearest) / 4) ** 2))
    inside = np.clip(np.minimum(z - floor, lid - z) + 0.5, 0, 1)
    caps = 0.5 * np.exp(-((z - lid) ** 2) / 2) + 0.35 * np.exp(-((z - floor) ** 2))
    membranes: Volume = np.maximum(wall * inside, caps).astype(np.float32)
    return membranes


def _expose(signal: Volume, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Add the camera's offset, uneven light and shot noise; 12 bit in 16."""
    y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in signal.shape[1:])
    light = 1 - 0.12 * (y[:, None] ** 2 + x**2)
    counts = signal * light + 30
    noise = rng.standard_normal(signal.shape, np.float32)
    read = np.clip(100 + counts + noise * np.sqrt(counts), 0, 4095)
    exposed: NDArray[np.uint16] = read.astype(np.uint16)
    return exposed


def _box(
    centre: Point, reach: int, shape: tuple[int, ...]
) -> tuple[slice, slice, slice]:
    def side(middle: float, size: int) -> slice:
        first, last = int(middle) - reach, int(middle) + reach + 1
        return slice(min(max(first, 0), size), min(max(last, 0), size))

    z, y, x = map(side, centre.tolist(), shape)
    return z, y, x


def _coordinates(box: tuple[slice, ...], centre: Point) -> Iterator[Volume]:
    """Distances from the centre along each axis, shaped to broadcast."""
    axes = np.ogrid[box]
    return (
        (axis - middle).astype(np.float32)
        for axis, middle in zip(axes, centre, strict=True)
    )


# The attributes of the sample groups, as each version of OME-Zarr wants them.
#
# Written out by hand, apart from the package's own metadata code, which is tested
# against what is written here.

Version = Literal["0.4", "0.5", "0.6"]
VERSIONS: tuple[Version, ...] = get_args(Version)

UNIT = "micrometer"
SYSTEM = "physical"
"""The name of the one coordinate system that 0.6 documents define."""


@dataclass(frozen=True, slots=True)
class LevelPlace:
    """Where a level lies: its array's path, and its grid in world units."""

    path: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]


def attributes(version: Version, *blocks: Mapping[str, Any]) -> dict[str, Any]:
    """Join the blocks of a group; from 0.5 on they lie below ``ome``."""
    joined = {key: value for block in blocks for key, value in block.items()}
    return joined if version == "0.4" else {"ome": {"version": version, **joined}}


def _versioned(version: Version, block: dict[str, Any]) -> dict[str, Any]:
    """Say the version in the block itself, as was the way before 0.5."""
    return {"version": version, **block} if version == "0.4" else block


def multiscales(
    version: Version, name: str, axes: str, levels: Sequence[LevelPlace]
) -> dict[str, Any]:
    """Describe a pyramid, finest level first; ``axes`` has a letter for each axis."""
    kinds = {"t": "time", "c": "channel"}
    described = [
        {"name": axis, "type": kinds[axis]}
        if axis in kinds
        else {"name": axis, "type": "space", "unit": UNIT}
        for axis in axes
    ]
    scaled = {"0.6": _dataset_06}.get(version, _dataset)
    image: dict[str, Any] = {
        "name": name,
        "datasets": [scaled(level) for level in levels],
        "type": "mean",
        "metadata": {"description": "Each pixel is the mean of a block."},
    }
    if version == "0.6":
        image["coordinateSystems"] = [{"name": SYSTEM, "axes": described}]
    else:
        image["axes"] = described
    return {"multiscales": [_versioned(version, image)]}


def _dataset(level: LevelPlace) -> dict[str, Any]:
    return {
        "path": level.path,
        "coordinateTransformations": [
            {"type": "scale", "scale": list(level.scale)},
            {"type": "translation", "translation": list(level.translation)},
        ],
    }


def _dataset_06(level: LevelPlace) -> dict[str, Any]:
    steps = _dataset(level)["coordinateTransformations"]
    sequence = {
        "type": "sequence",
        "input": {"path": level.path},
        "output": {"name": SYSTEM},
        "transformations": steps,
    }
    return {"path": level.path, "coordinateTransformations": [sequence]}


def omero(
    channels: Sequence[tuple[str, str, tuple[int, int]]], *, default_z: int = 0
) -> dict[str, Any]:
    """Describe channels: label, colour (six hex digits), and the window shown."""
    described = [
        {
            "label": label,
            "color": color,
            "active": True,
            "coefficient": 1,
            "family": "linear",
            "inverted": False,
            "window": {"start": start, "end": end, "min": 0, "max": 4095},
        }
        for label, color, (start, end) in channels
    ]
    first = {"defaultT": 0, "defaultZ": default_z, "model": "color"}
    return {"omero": {"channels": described, "rdefs": first}}


def image_label(
    version: Version,
    colors: Mapping[int, tuple[int, int, int, int]],
    properties: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    """Describe a label image by the colours and properties of its values."""
    block: dict[str, Any] = {
        "colors": [
            {"label-value": value, "rgba": list(rgba)} for value, rgba in colors.items()
        ],
        "properties": [
            {"label-value": value, **known} for value, known in properties.items()
        ],
        "source": {"image": "../../"},
    }
    return {"image-label": _versioned(version, block)}


def plate(
    version: Version,
    name: str,
    rows: Sequence[str],
    columns: Sequence[str],
    wells: Sequence[str],
    fields: int,
) -> dict[str, Any]:
    """Describe a plate; ``wells`` are the paths of those that have data."""
    block: dict[str, Any] = {
        "name": name,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [
            {
                "path": path,
                "rowIndex": rows.index(path.split("/")[0]),
                "columnIndex": columns.index(path.split("/")[1]),
            }
            for path in wells
        ],
        "field_count": fields,
        "acquisitions": [{"id": 0, "name": "overview", "maximumfieldcount": fields}],
    }
    return {"plate": _versioned(version, block)}


def well(version: Version, fields: int) -> dict[str, Any]:
    """Describe a well whose fields of view are named by their number."""
    block: dict[str, Any] = {
        "images": [{"path": str(field), "acquisition": 0} for field in range(fields)]
    }
    return {"well": _versioned(version, block)}


# Sample images written as OME-Zarr, with zarr and nothing else.

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
        multiscales(version, "Epithelium", "czyx", image),
        omero(CHANNELS, default_z=shape[0] // 2),
    )
    _write_levels(group, "czyx", [_mean(made.image, f) for f in FACTORS])

    labels = group.create_group(
        "labels", attributes=attributes(version, {"labels": [LABELS]})
    )
    _write_levels(
        labels.create_group(
            LABELS,
            attributes=attributes(
                version,
                multiscales(version, LABELS, "zyx", places),
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

    Returns the finest level of each well's field, of shape (2, y, x), by the well's
    path, like ``A/1``. ``size`` is the height and width of a field in pixels.
    """
    wells = ["/".join(place) for place in product(rows, columns)][:-1]
    described = plate(version, "Screen", rows, columns, wells, 1)
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
    fields = attributes(version, well(version, 1))
    image = attributes(
        version,
        multiscales(version, path.replace("/", ""), "cyx", places),
        omero(CHANNELS),
    )
    field = plate.create_group(path, attributes=fields).create_group(
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
        attributes=attributes(version, *blocks),
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
    return image_label(version, colors, properties)


def _color(value: int) -> tuple[int, int, int, int]:
    # Steps of the golden ratio keep the hues of successive values apart.
    red, green, blue = colorsys.hsv_to_rgb(value * 0.618034 % 1, 0.75, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255), 255
