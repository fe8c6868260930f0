"""The view that a link to a viewer on the web holds: where it looks, and how."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from napari_omezarr.errors import LocationError
from napari_omezarr.location import neuroglancer_link_state
from napari_omezarr.metadata import unit_size

from .share import ChannelView, ViewState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PIXEL = "pixel"
"""The unit of a center that is counted in pixels of the finest level."""

_UNITS = (
    "meter", "centimeter", "millimeter", "micrometer", "nanometer", "angstrom",
    "second", "millisecond", "microsecond", "minute", "hour",
)  # fmt: skip
_LABELS = re.compile(r"/labels/([^/|]+)/?(?:\||$)")
_COLOR = re.compile(r"#?([0-9a-fA-F]{6})$")


def view_in_link(text: str) -> ViewState | None:
    """Give the view that a neuroglancer or vizarr link holds; None if it holds none.

    What is no view in it, or cannot be understood, is left out.
    """
    text = text.strip()
    try:
        parts = urlsplit(text)
        if parts.fragment.startswith("!"):
            return _of_neuroglancer(neuroglancer_link_state(parts.fragment[1:]))
        return _of_vizarr(parse_qs(parts.query))
    except (LocationError, ValueError, TypeError, ArithmeticError, RecursionError):
        return None


def _of_neuroglancer(state: Any) -> ViewState | None:
    dimensions, position = state.get("dimensions"), state.get("position")
    if not isinstance(dimensions, dict) or not isinstance(position, list):
        return None
    center: dict[str, float] = {}
    units: dict[str, str] = {}
    sizes: dict[str, float] = {}
    for (axis, declared), at in zip(dimensions.items(), position, strict=False):
        size, unit = float(declared[0]), str(declared[1])
        name, factor = _spelled(size, unit)
        center[axis], sizes[axis] = _finite(at) * factor, size
        if name:
            units[axis] = name
    shown = [a for a in state.get("displayDimensions") or ("x", "y", "z") if a in sizes]
    if len(shown) < 2:
        return None
    is_3d = str(state.get("layout", "")).startswith("3d") and len(shown) == 3
    displayed = tuple(reversed(shown[: 3 if is_3d else 2]))
    scale = _finite(state.get("crossSectionScale") or 1.0)
    # A pixel of the screen, in units of the image's last axis on the screen.
    pixel = scale * min(sizes[axis] for axis in shown)
    across = shown[0]
    zoom = _unit_of(units, across, sizes[across]) / pixel
    layers = state["layers"] if isinstance(state.get("layers"), list) else []
    channels, axis = _channels(layers)
    return ViewState(
        center, zoom, units, channels, _label_names(layers), displayed, axis
    )


def _unit_of(units: Mapping[str, str], axis: str, size: float) -> float:
    known = unit_size(units.get(axis))
    return known[0] if known else size


def _spelled(size: float, unit: str) -> tuple[str, float]:
    """Give the unit of a dimension as OME-Zarr spells it, and how many a step is."""
    if not unit:
        return "", size
    named = {name: unit_size(name) for name in _UNITS}
    for name, known in named.items():
        if known is not None and known[1] == unit and math.isclose(known[0], size):
            return name, 1.0
    base = {"m": "meter", "s": "second"}.get(unit, "")
    return base, size


def _channels(layers: Sequence[Any]) -> tuple[tuple[ChannelView, ...], str]:
    found, axis = [], ""
    for layer in layers:
        if not isinstance(layer, dict) or layer.get("type") not in ("image", "auto"):
            continue
        controls = layer.get("shaderControls")
        controls = controls if isinstance(controls, dict) else {}
        spans = [c for c in controls.values() if isinstance(c, dict) and "range" in c]
        colors = [c for c in controls.values() if isinstance(c, str)]
        color = next((m[1] for c in colors if (m := _COLOR.match(c))), "")
        local = layer.get("localDimensions")
        if isinstance(local, dict) and local:
            axis = str(next(iter(local))).rstrip("'")
        index = int(_finite((layer.get("localPosition") or [0])[0]))
        if spans:
            low, high = map(_finite, spans[0]["range"])
            span = (low, high)
        else:
            span = (math.nan, math.nan)
        name = str(layer.get("name", ""))
        visible = layer.get("visible", True) is not False
        found.append(ChannelView(index, name, color.upper(), span, visible))
    return tuple(found), axis


def _label_names(layers: Sequence[Any]) -> tuple[str, ...]:
    names = []
    for layer in layers:
        is_labels = isinstance(layer, dict) and layer.get("type") == "segmentation"
        if not is_labels or layer.get("visible", True) is False:
            continue
        source = layer.get("source")
        source = source.get("url") if isinstance(source, dict) else source
        if found := _LABELS.search(str(source)):
            names.append(found[1])
    return tuple(names)


def _of_vizarr(query: Mapping[str, list[str]]) -> ViewState | None:
    if "viewState" not in query or "source" not in query:
        return None
    state = json.loads(query["viewState"][0])
    zoom = 2.0 ** _finite(state["zoom"])
    x, y = (_finite(at) for at in state["target"][:2])
    if "model_matrix" not in query:
        units = {"x": PIXEL, "y": PIXEL}
        return ViewState({"y": y - 0.5, "x": x - 0.5}, zoom, units)
    matrix = [_finite(number) for number in json.loads(query["model_matrix"][0])]
    width, left, height, top = matrix[0], matrix[3], matrix[5], matrix[7]
    center = {"y": y - height / 2, "x": x - width / 2}
    return ViewState(center, zoom, grid={"x": (width, left), "y": (height, top)})


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number
