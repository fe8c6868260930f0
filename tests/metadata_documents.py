"""Small OME-Zarr documents for tests, one maker per structure."""

from __future__ import annotations

from typing import Any

SPACE = [
    {"name": name, "type": "space", "unit": "micrometer"} for name in ("z", "y", "x")
]
ZYX = ("z", "y", "x")
LEVEL = {"type": "scale", "scale": [2.0, 0.5, 0.25]}


def image(*datasets: Any, version: str | None = "0.4", **more: Any) -> dict[str, Any]:
    """A 0.4 image with axes zyx; datasets are transforms lists, one per level."""
    multiscale: dict[str, Any] = {
        "name": "cells",
        "axes": SPACE,
        "datasets": [
            {"path": str(level), "coordinateTransformations": transforms}
            for level, transforms in enumerate(datasets or ([LEVEL],))
        ],
    }
    if version is not None:
        multiscale["version"] = version
    multiscale |= more
    multiscale = {key: value for key, value in multiscale.items() if value is not None}
    return {"multiscales": [multiscale]}


def with_omero(*channels: Any, **more: Any) -> dict[str, Any]:
    return {**image(), "omero": {"channels": list(channels), **more}}


def system(name: str, *axes: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "axes": [{"name": a, "type": "space"} | more for a in axes]}


def graph(
    *transforms: Any,
    systems: Any = None,
    level: Any = None,
    version: str = "0.6",
) -> dict[str, Any]:
    """A 0.6 image whose only level leads to the system ``array`` of axes i, j."""
    return {
        "ome": {
            "version": version,
            "multiscales": [
                {
                    "name": "cells",
                    "coordinateSystems": systems
                    or [system("array", "i", "j"), system("world", "y", "x")],
                    "datasets": [
                        {
                            "path": "s0",
                            "coordinateTransformations": [
                                level
                                or {
                                    "type": "scale",
                                    "scale": [2.0, 3.0],
                                    "input": {"path": "s0"},
                                    "output": {"name": "array"},
                                }
                            ],
                        }
                    ],
                    "coordinateTransformations": list(transforms),
                }
            ],
        }
    }


def to_world(transform: dict[str, Any], target: str = "world") -> dict[str, Any]:
    return {"input": {"name": "array"}, "output": {"name": target}, **transform}


def plate(*wells: Any, **more: Any) -> dict[str, Any]:
    block = {
        "version": "0.4",
        "rows": [{"name": "A"}, {"name": "B"}],
        "columns": [{"name": "1"}, {"name": "2"}, {"name": "3"}],
        "wells": list(wells) or [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}],
    }
    return {"plate": block | more}


def scene(*transforms: Any, systems: Any = None) -> dict[str, Any]:
    block: dict[str, Any] = {"coordinateTransformations": list(transforms)}
    if systems is not None:
        block["coordinateSystems"] = systems
    return {"ome": {"version": "0.6", "scene": block}}
