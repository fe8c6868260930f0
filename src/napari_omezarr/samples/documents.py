"""The attributes of the sample groups, as each version of OME-Zarr wants them.

Written out by hand, apart from the package's own metadata code, which is tested
against what is written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    """Describe a pyramid.

    Parameters
    ----------
    version : {"0.4", "0.5", "0.6"}
        The version to write for.
    name : str
        The name of the image.
    axes : str
        One letter for each axis, like ``czyx``.
    levels : sequence of LevelPlace
        The levels, finest first.
    """
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
