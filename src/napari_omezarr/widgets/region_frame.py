"""The box in the viewer: drawn and moved by the person, or by the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import QObject, QTimer, Signal

from .region_view import current_index, shown_axes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.events import Event

    from .region_layers import Edges

NAME = "region box"
_LINE = 3
"""The frame's width on screen when it is placed, in pixels of the canvas."""


class Frame(QObject):
    """A temporary shapes layer that lies on an image layer, with its transforms.

    So what is drawn is a box of the image's own grid, also in a rotated image, and
    its coordinates are those of the finest level. In 2-D it is a rectangle in the
    slice that is shown, in 3-D the six faces of the box.

    Parameters
    ----------
    viewer : ViewerModel
        Where it is drawn.
    parent : QObject
        Its owner.
    """

    drawn = Signal(dict)
    """The person has drawn or moved it: low and high by axis, in pixels' edges."""
    gone = Signal()
    """It was taken out of the viewer."""

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._shapes: Shapes | None = None
        self._image: Layer | None = None
        self._edges: Edges = ()
        self._moving = False

    @property
    def is_shown(self) -> bool:
        """Whether it is in the viewer."""
        return self._shapes is not None

    def show(self, layer: Layer, edges: Edges) -> None:
        """Put it on a layer, ready to be drawn anew."""
        self.hide()
        self._image, self._edges = layer, edges
        self._shapes = shapes = Shapes(
            ndim=layer.ndim,
            name=NAME,
            scale=layer.scale,
            translate=layer.translate,
            rotate=layer.rotate,
            shear=layer.shear,
            affine=layer.affine,
            units=layer.units,
            axis_labels=layer.axis_labels,
            edge_color="#ffd400",
            face_color="transparent",
        )
        self._viewer.add_layer(shapes)
        self._place()
        shapes.events.data.connect(self._on_data)
        self._viewer.layers.events.removed.connect(self._on_removed)
        for event in ("current_step", "ndisplay", "order"):
            getattr(self._viewer.dims.events, event).connect(self._on_dims)

    def move(self, edges: Edges) -> None:
        """Show another box."""
        if edges != self._edges:
            self._edges = edges
            self._place()

    def hide(self) -> None:
        """Take it out of the viewer."""
        shapes = self._forget()
        if shapes is not None and shapes in self._viewer.layers:
            self._viewer.layers.remove(shapes)

    def _forget(self) -> Shapes | None:
        shapes, self._shapes, self._image = self._shapes, None, None
        if shapes is not None:
            shapes.events.data.disconnect(self._on_data)
            self._viewer.layers.events.removed.disconnect(self._on_removed)
            for event in ("current_step", "ndisplay", "order"):
                getattr(self._viewer.dims.events, event).disconnect(self._on_dims)
        return shapes

    def _place(self) -> None:
        if self._shapes is None or self._image is None:
            return
        shown = shown_axes(self._viewer, self._image)
        faces = _faces(self._edges, shown, current_index(self._viewer, self._image))
        width = _LINE / self._viewer.scene.camera.zoom / abs(self._image.scale[-1])
        self._moving = True
        self._shapes.data = faces
        self._moving = False
        # In pixels of the image, of which many may lie in one of the canvas.
        self._shapes.edge_width = self._shapes.current_edge_width = width
        if len(shown) != 2:
            self._shapes.mode = "pan_zoom"
        elif self._shapes.mode == "pan_zoom":
            self._shapes.mode = "add_rectangle"

    def _on_dims(self, event: Event) -> None:
        self._place()

    def _on_data(self, event: Event) -> None:
        done = str(event.action).lower() in ("added", "changed")
        if done and not self._moving:
            # napari is still in the middle of the mouse's release.
            QTimer.singleShot(0, self._take)

    def _on_removed(self, event: Event) -> None:
        if event.value is self._shapes:
            self._forget()
            self.gone.emit()

    def _take(self) -> None:
        if self._shapes is None or self._image is None or not self._shapes.nshapes:
            return
        shown = shown_axes(self._viewer, self._image)
        if len(shown) != 2:
            return
        corners: Any = np.asarray(self._shapes.data[-1]) + 0.5
        found = {
            axis: (float(corners[:, axis].min()), float(corners[:, axis].max()))
            for axis in shown
        }
        self._edges = ()
        self.drawn.emit(found)
        # The next drag moves or resizes it.
        self._shapes.mode = "select"


def _faces(
    edges: Edges, shown: tuple[int, ...], index: tuple[int, ...]
) -> list[np.ndarray]:
    """Give the rectangles that show a box; none where the slice does not meet it."""
    hidden = [axis for axis in range(len(edges)) if axis not in shown]
    if any(
        not edges[axis][0] <= index[axis] + 0.5 <= edges[axis][1] for axis in hidden
    ):
        return []
    if len(shown) == 2:
        return [_rectangle(edges, shown, index)]
    found = []
    for axis in shown:
        plane = tuple(other for other in shown if other != axis)
        for edge in edges[axis]:
            at = [edge - 0.5 if a == axis else float(i) for a, i in enumerate(index)]
            found.append(_rectangle(edges, plane, at))
    return found


def _rectangle(
    edges: Edges, plane: tuple[int, ...], at: tuple[float, ...] | list[float]
) -> np.ndarray:
    corners = np.tile(np.asarray(at, dtype=float), (4, 1))
    (top, bottom), (left, right) = (edges[axis] for axis in plane)
    corners[:, plane[0]] = np.array([top, bottom, bottom, top]) - 0.5
    corners[:, plane[1]] = np.array([left, left, right, right]) - 0.5
    return corners
