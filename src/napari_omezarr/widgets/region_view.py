"""What of a layer the viewer shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.region.place import layer_affine

from .region_layers import unit_factors

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from .region_layers import Edges

_TIMES = ("t", "time")


def shown_axes(viewer: ViewerModel, layer: Layer) -> tuple[int, ...]:
    """Give the axes of a layer that are on screen, in the screen's order."""
    offset = viewer.dims.ndim - layer.ndim
    return tuple(axis - offset for axis in viewer.dims.displayed if axis >= offset)


def current_index(viewer: ViewerModel, layer: Layer) -> tuple[int, ...]:
    """Give the pixel of a layer's finest level at which its hidden axes are cut."""
    inverse = layer_affine(layer).inverse()
    index = np.rint(inverse(_world(viewer, layer, viewer.dims.point))).astype(int)
    return tuple(index.clip(0, np.asarray(finest_shape(layer)) - 1).tolist())


def finest_shape(layer: Layer) -> tuple[int, ...]:
    """Give the size of a layer's finest level along its axes, colours left out."""
    array = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(size) for size in array.shape[: layer.ndim])


def visible_edges(viewer: ViewerModel, layer: Layer) -> Edges:
    """Give the box of a layer that is on screen.

    Axes that are not shown are whole, but for time and whatever lies before the
    last three axes: there it is the current index. In 3-D the shown axes are whole.

    Parameters
    ----------
    viewer : ViewerModel
        With the layer in it.
    layer : Layer
        Image or labels.
    """
    shape = finest_shape(layer)
    index, shown = current_index(viewer, layer), shown_axes(viewer, layer)
    edges = [
        (at, at + 1) if axis not in shown and _steps(layer, axis) else (0, size)
        for axis, (at, size) in enumerate(zip(index, shape, strict=True))
    ]
    if len(shown) == 2:
        seen = _seen(viewer, layer)
        for axis in shown:
            low, high = seen[axis].clip(0, shape[axis]).tolist()
            if low < high:
                edges[axis] = (low, high)
    return tuple(edges)


def _steps(layer: Layer, axis: int) -> bool:
    """Say whether one looks at one index of an axis at a time: no axis of space."""
    is_time = str(layer.units[axis].dimensionality) == "[time]"
    return is_time or layer.axis_labels[axis] in _TIMES or axis < layer.ndim - 3


def _seen(viewer: ViewerModel, layer: Layer) -> np.ndarray:
    """Give where the edges of the canvas lie in a layer, N x 2, in whole pixels."""
    half = np.asarray(viewer.canvas.viewbox_size(viewer.layers)) / 2
    centre = np.asarray(viewer.scene.camera.center[-2:])
    reach = half / viewer.scene.camera.zoom
    points = np.tile(np.asarray(viewer.dims.point, dtype=float), (4, 1))
    for number, signs in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1))):
        points[number, list(viewer.dims.displayed)] = centre + reach * signs
    edges = layer_affine(layer).inverse()(_world(viewer, layer, points)) + 0.5
    ends: np.ndarray = np.stack(
        [np.floor(edges.min(axis=0)), np.ceil(edges.max(axis=0))], axis=1
    )
    return ends.astype(int)


def _world(
    viewer: ViewerModel, layer: Layer, points: np.ndarray | tuple[float, ...]
) -> np.ndarray:
    """Take points of the viewer's world to a layer's, in its units."""
    inner = np.asarray(points, dtype=float)[..., -layer.ndim :]
    units = viewer.layers.extent.units
    return inner if units is None else inner * unit_factors(units, layer.units)
