"""The ``multiscales`` of a group, as each version writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_omezarr.metadata import Affine

from .pyramid_plan import level_affine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.metadata import Axis

    from .options import Method, Version
    from .pyramid_plan import Level

INTRINSIC = "physical"
"""The system that the levels lead to: pixel sizes in units, no rotation."""
WORLD = "world"
"""The system in which a rotated or sheared image is shown (0.6)."""

_METHODS = {
    "mean": "Each pixel is the mean of the finer pixels it stands for.",
    "nearest": "Each pixel is one of the finer pixels it stands for.",
    "max": "Each pixel is the largest of the finer pixels it stands for.",
    "mode": "Each pixel is the most frequent of the finer pixels it stands for.",
}


def multiscale_document(
    version: Version,
    name: str,
    axes: Sequence[Axis],
    levels: Sequence[Level],
    method: Method,
) -> dict[str, Any]:
    """Describe one image as a pyramid.

    Parameters
    ----------
    version : {"0.4", "0.5", "0.6"}
        Up to 0.5 only scale and translation can be said, so each level's affine
        has to be diagonal; 0.6 gets a second system for the rest.
    name : str
        Not empty.
    axes : sequence of Axis
        Of the arrays.
    levels : sequence of Level
        Finest first.
    method : {"mean", "nearest", "max", "mode"}
        How coarser levels were made.
    """
    document: dict[str, Any] = {"name": name}
    if version == "0.4":
        document = {"version": version, **document}
    affine = levels[0].affine
    outer = None if affine.is_diagonal else _outer(affine)
    described = [axis_document(axis) for axis in axes]
    if version == "0.6":
        document |= _systems(described, outer)
    else:
        document["axes"] = described
    finest = affine if outer is None else Affine.from_scale(affine.scale)
    document["datasets"] = [
        _dataset(version, level.path, level_affine(finest, level.factors))
        for level in levels
    ]
    document["type"] = method
    document["metadata"] = {"description": _METHODS[method]}
    return document


def axis_document(axis: Axis) -> dict[str, str]:
    """Describe an axis; what is not known is left out."""
    document = {"name": axis.name}
    if axis.type:
        document["type"] = axis.type
    if axis.unit and axis.type != "channel":
        document["unit"] = axis.unit
    return document


def _outer(affine: Affine) -> Affine:
    """Give what is left of a map once its pixel sizes are taken out."""
    sizes = Affine.from_scale(affine.scale)
    return affine @ sizes.inverse()


def _systems(axes: list[dict[str, str]], outer: Affine | None) -> dict[str, Any]:
    systems: list[dict[str, Any]] = [{"name": INTRINSIC, "axes": axes}]
    if outer is None:
        return {"coordinateSystems": systems}
    systems.append({"name": WORLD, "axes": axes})
    transform = {
        "type": "affine",
        "affine": [list(row) for row in outer.rows],
        "input": {"name": INTRINSIC},
        "output": {"name": WORLD},
    }
    return {"coordinateSystems": systems, "coordinateTransformations": [transform]}


def _dataset(version: Version, path: str, affine: Affine) -> dict[str, Any]:
    """Describe a level: a scale, and a translation where there is one."""
    scale = {"type": "scale", "scale": list(affine.scale)}
    steps: list[dict[str, Any]] = [scale]
    if any(affine.translation):
        steps.append({"type": "translation", "translation": list(affine.translation)})
    if version == "0.6":
        steps = [_sequence(path, steps)]
    return {"path": path, "coordinateTransformations": steps}


def _sequence(path: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
    ends = {"input": {"path": path}, "output": {"name": INTRINSIC}}
    if len(steps) == 1:
        return {**steps[0], **ends}
    return {"type": "sequence", "transformations": steps, **ends}
