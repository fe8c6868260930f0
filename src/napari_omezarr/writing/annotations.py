"""From layers of points, shapes and tracks to what is stored beside an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_omezarr.errors import UnsupportedDataError
from napari_omezarr.metadata import Affine
from napari_omezarr.tables import LOOKS, Geometry, column_of, joined, table_of

from .image_spec import layer_affine, named_axes
from .rendering import label_columns

if TYPE_CHECKING:
    from napari_omezarr.metadata import Axis
    from napari_omezarr.tables import GeometryKind

ANNOTATIONS = ("points", "shapes", "tracks")
"""The layer types that become a table."""
_COMMON = ("opacity", "blending", "visible")
_LOOKS: dict[str, tuple[str, ...]] = {
    "points": ("border_width_is_relative", "out_of_slice_display", "shading"),
    "shapes": (),
    "tracks": (
        *("tail_width", "tail_length", "head_length", "color_by", "colormap"),
        "hide_completed_tracks",
    ),
}
_OF_EACH: dict[str, tuple[str, ...]] = {
    "points": ("size", "symbol", "face_color", "border_color", "border_width", "shown"),
    "shapes": ("edge_width", "edge_color", "face_color", "z_index"),
    "tracks": (),
}
"""What each point or shape may have of its own."""


def geometry(
    data: Any, options: Mapping[str, Any], kind: str, known: Mapping[str, Axis]
) -> Geometry:
    """Describe a layer; ``known`` are the axes of the image that it lies upon.

    Raises
    ------
    UnsupportedDataError
        What it holds cannot be told from its data.
    """
    try:
        places, owner, types = _PARTS[kind](data, options)
    except (TypeError, ValueError, IndexError) as error:
        raise UnsupportedDataError(
            f"The {kind} {options.get('name') or ''} hold no places.",
            action="Look at them, or leave the layer out.",
        ) from error
    ndim = places.shape[1]
    affine = layer_affine(options, ndim)
    axes = _axes(options, ndim, kind, known)
    count = len(types) if kind == "shapes" else len(places)
    features = table_of(label_columns(options.get("features"))).columns
    if any(len(column) != count for column in features.values()):
        features = {}
    looks, own = _looks(options, kind, count)
    return Geometry(
        cast("GeometryKind", kind),
        tuple(axis.name for axis in axes),
        places,
        owner,
        types,
        {**features, **own},
        None if affine == Affine.identity(ndim) else affine,
        tuple(axis.unit or _unit(known.get(axis.name)) for axis in axes),
        looks,
    )


def _axes(
    options: Mapping[str, Any], ndim: int, kind: str, known: Mapping[str, Axis]
) -> tuple[Axis, ...]:
    labels = [str(name) for name in options.get("axis_labels") or ()]
    placeholders = [str(index - ndim) for index in range(ndim)]
    if len(labels) != ndim:
        labels = placeholders
    names = [axis.name for axis in known.values() if axis.type != "channel"]
    if labels == placeholders and kind == "tracks":  # their first axis is time
        space = [name for name in names if known[name].type != "time"]
        space = space if len(space) >= ndim - 1 else list("zyx"[1 - ndim :])
        labels = ["t", *space[len(space) - ndim + 1 :]]
    elif labels == placeholders and ndim <= len(names):
        labels = names[len(names) - ndim :]
    units = [str(unit) for unit in options.get("units") or ()]
    return named_axes(labels, units if len(units) == ndim else ["pixel"] * ndim, known)


def _unit(axis: Axis | None) -> str:
    """Give the unit of the image that a layer without one lies upon."""
    return (axis.unit if axis else None) or "pixel"


# The places of each kind of layer, and what they are parts of.

_Parts = tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]


def _points(data: Any, options: Mapping[str, Any]) -> _Parts:
    places = np.asarray(data, np.float64)
    if places.ndim != 2 or not places.shape[1]:
        places = places.reshape(0, _ndim(options))
    return places, None, ()


def _shapes(data: Any, options: Mapping[str, Any]) -> _Parts:
    given, types = data, options.get("shape_type", "rectangle")
    if isinstance(data, tuple) and len(data) == 2 and not np.isscalar(data[1]):
        given, types = data
    vertices = [np.asarray(each, np.float64) for each in given]
    ndim = vertices[0].shape[1] if vertices else _ndim(options)
    of_each = [types] * len(vertices) if isinstance(types, str) else list(types)
    if len(of_each) != len(vertices):
        raise ValueError("as many types as shapes")
    full = [_corners(v, str(t)) for v, t in zip(vertices, of_each, strict=True)]
    return *joined(full, ndim), tuple(str(type_) for type_ in of_each)


def _corners(vertices: np.ndarray, type_: str) -> np.ndarray:
    """Give a rectangle or an ellipse by four corners, also if two are given."""
    if type_ not in ("rectangle", "ellipse") or len(vertices) != 2:
        return vertices
    first, last = vertices
    corners = np.repeat(first[None], 4, axis=0)
    corners[1:3, -1], corners[2:4, -2] = last[-1], last[-2]
    return corners


def _tracks(data: Any, options: Mapping[str, Any]) -> _Parts:
    rows = np.asarray(data, np.float64)
    if rows.ndim != 2:
        rows = rows.reshape(0, 1 + _ndim(options))
    return rows[:, 1:], rows[:, 0].astype(np.int64), ()


_PARTS = {"points": _points, "shapes": _shapes, "tracks": _tracks}


def _ndim(options: Mapping[str, Any]) -> int:
    said = options.get("ndim")
    if isinstance(said, int):
        return said
    scale = options.get("scale")
    return 2 if scale is None else len(scale)


# How they look: what all share in the attributes, what differs in columns.


def _looks(
    options: Mapping[str, Any], kind: str, count: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    found: dict[str, Any] = {"name": str(options.get("name") or kind)}
    for key in (*_COMMON, *_LOOKS[kind]):
        value = getattr(options.get(key), "value", options.get(key))
        if isinstance(value, str | bool | int | float):
            found[key] = value
    if kind == "tracks":
        found["graph"] = _graph(options.get("graph"))
    own: dict[str, np.ndarray] = {}
    for key in _OF_EACH[kind]:
        values = _of_each(options.get(key), count)
        if values and all(value == values[0] for value in values):
            found[key] = values[0]
        elif values:
            own[f"{LOOKS}{key}"] = column_of(values)
    return found, own


def _of_each(given: Any, count: int) -> list[Any]:
    """Give a value for each point or shape, in JSON; none where nobody said."""
    if given is None or isinstance(given, str | bool | int | float):
        return [] if given is None else [given] * count
    values = [getattr(value, "value", value) for value in given]
    values = [getattr(value, "tolist", lambda v=value: v)() for value in values]
    if len(values) == count:
        return values
    return [values] * count if len(values) in (3, 4) else []


def _graph(graph: Any) -> dict[str, list[int]]:
    if not isinstance(graph, Mapping):
        return {}
    return {
        str(int(child)): [int(parent) for parent in np.atleast_1d(parents)]
        for child, parents in graph.items()
    }
