"""Small OME-Zarr stores written with zarr directly, without a line of the package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

if TYPE_CHECKING:
    from pathlib import Path

UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
TYPES = {"t": "time", "c": "channel"}
COLORS = ("00FF00", "FF00FF", "0000FF", "FFFFFF")


def axes(names: str) -> list[dict[str, str]]:
    return [
        {"name": name, "type": TYPES.get(name, "space")}
        | ({"unit": UNITS[name]} if name in UNITS else {})
        for name in names
    ]


def pixels(shape: tuple[int, ...], dtype: Any = np.uint16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 200, shape).astype(dtype)


def halved(data: np.ndarray) -> np.ndarray:
    return data[..., ::2, ::2]


def levels_of(data: np.ndarray, count: int) -> list[np.ndarray]:
    levels = [data]
    while len(levels) < count:
        levels.append(halved(levels[-1]))
    return levels


def multiscales(
    version: str, names: str, count: int, scale: float = 0.5, name: str = "image"
) -> list[dict[str, Any]]:
    """One multiscale whose y and x halve at each level; world = 0.5 index + offset."""
    datasets = []
    for level in range(count):
        factor = [2**level if axis in "yx" else 1 for axis in names]
        pairs = list(zip(names, factor, strict=True))
        scales = [scale * f if axis in UNITS else 1.0 for axis, f in pairs]
        shift = [scale * (f - 1) / 2 if a in "yx" else 0.0 for a, f in pairs]
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": scales}]
        if level:
            steps.append({"type": "translation", "translation": shift})
        path = str(level)
        if version >= "0.6":
            ends = {"input": {"path": path}, "output": {"name": "physical"}}
            one = (
                steps[0]
                if level == 0
                else {"type": "sequence", "transformations": steps}
            )
            steps = [{**one, **ends}]
        datasets.append({"path": path, "coordinateTransformations": steps})
    multiscale: dict[str, Any] = {"name": name, "datasets": datasets}
    if version >= "0.6":
        system = {"name": "physical", "axes": axes(names)}
        multiscale["coordinateSystems"] = [system]
    else:
        multiscale["axes"] = axes(names)
    if version < "0.5":
        multiscale["version"] = version
    return [multiscale]


def omero(count: int, *, window: bool = True) -> dict[str, Any]:
    ends = {"min": 0, "max": 1000, "start": 10, "end": 200}
    return {
        "channels": [
            {"label": f"marker {i}", "color": COLORS[i % len(COLORS)], "active": i == 0}
            | ({"window": ends} if window else {})
            for i in range(count)
        ]
    }


def put_group(path: Path, version: str, attributes: dict[str, Any]) -> None:
    """Write a group's documents as the version lays them out."""
    path.mkdir(parents=True, exist_ok=True)
    if version < "0.5":
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps(attributes))
    else:
        document = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {"ome": {"version": version, **attributes}},
        }
        (path / "zarr.json").write_text(json.dumps(document))


def put_array(
    path: Path, version: str, data: np.ndarray, names: str, **options: Any
) -> None:
    options = {"chunks": tuple(min(8, size) for size in data.shape)} | options
    if version < "0.5":
        options["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        options["zarr_format"] = 2
    else:
        options["dimension_names"] = list(names)
    array = zarr.create_array(
        store=str(path), shape=data.shape, dtype=data.dtype, overwrite=True, **options
    )
    array[...] = data


def put_image(
    path: Path,
    version: str = "0.5",
    *,
    names: str = "czyx",
    shape: tuple[int, ...] = (2, 4, 16, 24),
    count: int = 3,
    extra: dict[str, Any] | None = None,
    dtype: Any = np.uint16,
    seed: int = 0,
    **options: Any,
) -> list[np.ndarray]:
    """Write an image; returns its levels. ``extra`` joins or overrides attributes."""
    levels = levels_of(pixels(shape, dtype, seed), count)
    attributes: dict[str, Any] = {"multiscales": multiscales(version, names, count)}
    if "c" in names:
        attributes["omero"] = omero(shape[names.index("c")])
    put_group(path, version, attributes | (extra or {}))
    for number, level in enumerate(levels):
        put_array(path / str(number), version, level, names, **options)
    return levels


def put_labels(
    image: Path,
    version: str = "0.5",
    names: str = "zyx",
    *,
    levels: int = 2,
    **labels: np.ndarray,
) -> None:
    """Write label images below an image, and list them."""
    put_group(image / "labels", version, {"labels": list(labels)})
    for name, data in labels.items():
        attributes = {
            "multiscales": multiscales(version, names, levels, name=name),
            "image-label": {
                "colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}],
                "properties": [{"label-value": 1, "area": 12, "class": "cell"}],
            },
        }
        put_group(image / "labels" / name, version, attributes)
        for number, level in enumerate(levels_of(data, levels)):
            put_array(image / "labels" / name / str(number), version, level, names)


def put_plate(
    path: Path,
    version: str = "0.5",
    *,
    rows: int = 2,
    columns: int = 3,
    missing: tuple[str, ...] = (),
    fields: int = 1,
    count: int = 2,
) -> dict[tuple[int, int], np.ndarray]:
    """Write a plate of c, y, x fields; returns the first field of each well."""
    letters = [chr(65 + row) for row in range(rows)]
    numbers = [str(column + 1) for column in range(columns)]
    wells = [
        {"path": f"{a}/{b}", "rowIndex": i, "columnIndex": j}
        for i, a in enumerate(letters)
        for j, b in enumerate(numbers)
    ]
    plate = {
        "name": "screen",
        "rows": [{"name": name} for name in letters],
        "columns": [{"name": name} for name in numbers],
        "wells": wells,
        "field_count": fields,
    }
    old = {"version": version} if version < "0.5" else {}
    put_group(path, version, {"plate": plate | old})
    images = [{"path": str(field)} for field in range(fields)]
    found = {}
    for number, well in enumerate(wells):
        if well["path"] in missing:
            continue
        folder = path / str(well["path"])
        put_group(folder, version, {"well": {"images": images} | old})
        for field in range(fields):
            levels = put_image(
                folder / str(field),
                version,
                names="cyx",
                shape=(2, 16, 24),
                count=count,
                seed=number * fields + field,
            )
            if field == 0:
                found[well["rowIndex"], well["columnIndex"]] = levels[0]
    return found


def stored(folder: Path) -> dict[Path, bytes]:
    """Give all files below a folder, by their paths from there."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder): file.read_bytes() for file in files}


def put_series(path: Path, version: str = "0.5", count: int = 3) -> list[np.ndarray]:
    """Write a bioformats2raw layout with OME/series and OME-XML."""
    put_group(path, version, {"bioformats2raw.layout": 3})
    put_group(path / "OME", version, {"series": [str(i) for i in range(count)]})
    images = "".join(f'<Image ID="Image:{i}" Name="scan {i}"/>' for i in range(count))
    space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    xml = f'<?xml version="1.0"?><OME xmlns="{space}">{images}</OME>'
    (path / "OME" / "METADATA.ome.xml").write_text(xml)
    return [
        put_image(path / str(number), version, seed=number)[0]
        for number in range(count)
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their paths in it."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
