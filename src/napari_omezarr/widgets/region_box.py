"""The box of a region: what it cuts from which layers, and how a person sets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from qtpy.QtCore import QObject, Qt, QTimer, Signal, SignalInstance
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QSpinBox,
    QWidget,
)
from superqt import QRangeSlider

from napari_omezarr.errors import OptionError
from napari_omezarr.metadata import layer_options
from napari_omezarr.plain_text import plain
from napari_omezarr.region import (
    Placed,
    affine_of_layer,
    as_placed,
    corners,
    crop_affine,
)

from .viewer_layers import bare_layers, image_address, record_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_omezarr.region import Region

Edges = tuple[tuple[float, float], ...]
"""Along each axis of a layer, in pixels of its finest level, from the first's edge."""

BOX_NAME = "region box"
"""The name of the layer that shows the box."""
_LINE = 3
"""The box's width of line on screen when it is placed, in pixels of the canvas."""
_TIMES = ("t", "time")
_PLACED_ANEW = ("scale", "translate", "rotate", "shear", "affine")
_OF_THE_DATA = (
    "multiscale",
    "locked_data_level",
    "plane",
    "experimental_clipping_planes",
)

# Which layers a region can be cut from, which belong together, and the new ones.


class Cut:
    """A region of one level of a layer, which is to be cut from it."""

    def __init__(self, layer: Layer, placed: Placed, region: Region) -> None:
        self.layer = layer
        self.pixels = placed.levels[region.level]
        self.region = region
        self.affine = crop_affine(placed.affines[region.level], region.bounds)

    def new_layer(self, array: np.ndarray) -> Layer:
        """Make a layer of the pixels of the region, which looks like the original."""
        _, options, kind = self.layer.as_layer_data_tuple()
        for name in (*_PLACED_ANEW, *_OF_THE_DATA):
            options.pop(name, None)
        options |= layer_options(self.affine)
        options |= {"name": f"{self.layer.name} region", "visible": True}
        options["metadata"] = self._metadata(options["metadata"])
        new = Layer.create(array, {**options, "multiscale": False}, kind)
        if isinstance(new, Image) and not new.rgb:
            new.contrast_limits_range = self.layer.contrast_limits_range
        return new

    def _metadata(self, before: dict[str, Any]) -> dict[str, Any]:
        """Add to the layer's metadata where in it the region lies."""
        place: dict[str, Any] = {
            "level": self.region.level,
            "start": list(self.region.starts),
            "shape": list(self.region.shape),
        }
        record = before.get("omezarr")
        if not isinstance(record, dict):
            return {**before, "region": place}
        return {**before, "omezarr": {**record, "region": place}}


def croppable(layers: Iterable[Any]) -> list[Layer]:
    """Return the images and labels among layers, topmost first, out of any proxies."""
    bare = reversed(bare_layers(layers))
    return [layer for layer in bare if isinstance(layer, Image | Labels)]


def companions(layer: Layer, layers: Iterable[Layer]) -> list[Layer]:
    """Return the other layers of the same image: its channels, its labels."""
    image = _image_of(layer)
    return [
        other
        for other in layers
        if image is not None and other is not layer and _image_of(other) == image
    ]


def cuts(layer: Layer, others: Sequence[Layer], edges: Edges, level: int) -> list[Cut]:
    """Return what a box cuts from a level of a layer, and there from its companions.

    Those are cut at the level whose pixels are about as large; one that the box
    does not meet is left out.
    """
    placed = as_placed(layer)
    points = corners(placed.affines[0], edges)
    found = [Cut(layer, placed, placed.region(level, points))]
    pixel_size = placed.affines[level].scale
    for other in others:
        theirs = as_placed(other)
        factors = unit_factors(layer.units, other.units)
        count = len(factors)
        size = np.asarray(pixel_size[-count:]) * factors
        try:
            region = theirs.region(
                theirs.matching(size.tolist()), points[:, -count:] * factors
            )
        except OptionError:
            continue
        found.append(Cut(other, theirs, region))
    return found


def unit_factors(source: Sequence[Any], target: Sequence[Any]) -> np.ndarray:
    """Return what a length in the units of one layer is in those of another, by axis.

    Units are matched from the last one back; those that cannot be converted count as
    equal, as they do in napari.
    """
    count = min(len(source), len(target))
    pairs = zip(source[-count:], target[-count:], strict=True)
    return np.array(
        [(1 * a).to(b).magnitude if a.is_compatible_with(b) else 1.0 for a, b in pairs]
    )


def _image_of(layer: Layer) -> Hashable:
    """Name the image that a layer shows a part of; None where nothing tells."""
    if record_of(layer) or "region" in layer.metadata:
        return image_address(layer) or None
    path: str | None = layer.source.path
    return path


# What of a layer the viewer shows.


def shown_axes(viewer: ViewerModel, layer: Layer) -> tuple[int, ...]:
    """Return the axes of a layer that are on screen, in the screen's order."""
    offset = viewer.dims.ndim - layer.ndim
    return tuple(axis - offset for axis in viewer.dims.displayed if axis >= offset)


def current_index(viewer: ViewerModel, layer: Layer) -> tuple[int, ...]:
    """Return the pixel of a layer's finest level at which its hidden axes are cut."""
    inverse = affine_of_layer(layer).inverse()
    index = np.rint(inverse(_world(viewer, layer, viewer.dims.point))).astype(int)
    return tuple(index.clip(0, np.asarray(finest_shape(layer)) - 1).tolist())


def finest_shape(layer: Layer) -> tuple[int, ...]:
    """Return the size of a layer's finest level along its axes, colours left out."""
    array = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(size) for size in array.shape[: layer.ndim])


def visible_edges(viewer: ViewerModel, layer: Layer) -> Edges:
    """Return the box of a layer that is on screen.

    Axes that are not shown are whole, but for time and whatever lies before the
    last three axes: there it is the current index. In 3-D the shown axes are whole.
    """
    shape = finest_shape(layer)
    index, shown = current_index(viewer, layer), shown_axes(viewer, layer)
    edges = [
        (at, at + 1) if axis not in shown and _is_stepped(layer, axis) else (0, size)
        for axis, (at, size) in enumerate(zip(index, shape, strict=True))
    ]
    if len(shown) == 2:
        seen = _canvas_edges(viewer, layer)
        for axis in shown:
            low, high = seen[axis].clip(0, shape[axis]).tolist()
            if low < high:
                edges[axis] = (low, high)
    return tuple(edges)


def _is_stepped(layer: Layer, axis: int) -> bool:
    """Say whether people look at one index of an axis at a time: no axis of space."""
    is_time = str(layer.units[axis].dimensionality) == "[time]"
    return is_time or layer.axis_labels[axis] in _TIMES or axis < layer.ndim - 3


def _canvas_edges(viewer: ViewerModel, layer: Layer) -> np.ndarray:
    """Return where the edges of the canvas lie in a layer, N x 2, in whole pixels."""
    half = np.asarray(viewer.canvas.viewbox_size(viewer.layers)) / 2
    centre = np.asarray(viewer.scene.camera.center[-2:])
    reach = half / viewer.scene.camera.zoom
    points = np.tile(np.asarray(viewer.dims.point, dtype=float), (4, 1))
    for number, signs in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1))):
        points[number, list(viewer.dims.displayed)] = centre + reach * signs
    edges = affine_of_layer(layer).inverse()(_world(viewer, layer, points)) + 0.5
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


# The box in the viewer: drawn and moved by the person, or by the form.


class RegionBox(QObject):
    """A temporary shapes layer that lies on an image layer, with its transforms.

    So what is drawn is a box of the image's own grid, also in a rotated image, and
    its coordinates are those of the finest level. In 2-D it is a rectangle in the
    slice that is shown, in 3-D the six faces of the box.
    """

    # PySide makes a map of a dict, whose keys must be text.
    drawn = Signal(object)
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
            name=BOX_NAME,
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
    """Return the rectangles that show a box; none where the slice does not meet it."""
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


# A range along an axis: a slider, and numbers in pixels and in the world.

# napari's style makes numbers wider than a dock has room for.
# Buttons of no width, for where there are none Qt 6.12 puts the text beside the box.
_NARROW = """
QAbstractSpinBox { min-width: 48px; max-width: 60px; padding: 1px 2px; }
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {
  subcontrol-origin: content; width: 0px;
}
QAbstractSpinBox::up-arrow, QAbstractSpinBox::down-arrow { image: none; }
"""


class AxisRange(QWidget):
    """The edges of a box along one axis, in whole pixels of the finest level.

    A pixel begins at ``origin + scale * pixel`` in the world. Where that is the same
    as the pixel, as without a calibration, only pixels are shown.
    """

    changed: SignalInstance = Signal()
    """Another range was set."""

    def __init__(
        self,
        name: str,
        size: int,
        scale: float = 1.0,
        origin: float = 0.0,
        unit: str = "",
    ) -> None:
        super().__init__()
        self.name, self._size = name, size
        self._scale, self._origin = scale or 1.0, origin
        self._edge = (0, size)
        self.slider: Any = _slider(Qt.Orientation.Horizontal, self)
        self.slider.setRange(0, size)
        self.pixels = [self._number(QSpinBox(self), end) for end in ("first", "last")]
        self.world = [self._number(QDoubleSpinBox(self), end) for end in ("from", "to")]
        self._arrange(unit)
        self._show()
        self.slider.valueChanged.connect(self._take_slider)
        for number in self.pixels:
            number.editingFinished.connect(self._take_pixels)
        for number in self.world:
            number.editingFinished.connect(self._take_world)

    @property
    def value(self) -> tuple[int, int]:
        """The first pixel, and the one after the last; always at least one pixel."""
        return self._edge

    @value.setter
    def value(self, edge: tuple[float, float]) -> None:
        before, size = self._edge, self._size
        low = min(max(0, round(edge[0])), size - 1)
        self._edge = low, min(max(low + 1, round(edge[1])), size)
        self._show()
        if self._edge != before:
            self.changed.emit()

    def _number(
        self, box: QSpinBox | QDoubleSpinBox, end: str
    ) -> QSpinBox | QDoubleSpinBox:
        box.setKeyboardTracking(False)
        box.setStyleSheet(_NARROW)
        box.setAlignment(Qt.AlignmentFlag.AlignRight)
        kind = "pixel" if isinstance(box, QSpinBox) else "position"
        box.setAccessibleName(f"{self.name}, {end} {kind}")
        if isinstance(box, QSpinBox):
            box.setRange(0, self._size)
        else:
            ends = [self._origin + self._scale * edge for edge in (0, self._size)]
            box.setDecimals(_decimals(self._scale))
            box.setRange(min(ends), max(ends))
        return box

    def _arrange(self, unit: str) -> None:
        self.slider.setAccessibleName(f"Range along {self.name}")
        self.slider.setToolTip(
            plain(f"Pixels of the finest level along {self.name}, of {self._size:,}")
        )
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.setHorizontalSpacing(4)
        layout.setVerticalSpacing(1)
        layout.setColumnStretch(2, 1)
        axis = QLabel(self.name, self)
        axis.setTextFormat(Qt.TextFormat.PlainText)
        axis.setFixedWidth(16)
        layout.addWidget(axis, 0, 0)
        is_calibrated = bool(unit) or (self._scale, self._origin) != (1.0, 0.0)
        rows = [(self.pixels, "px"), (self.world, unit)][: 1 + is_calibrated]
        for row, (numbers, text) in enumerate(rows):
            layout.addWidget(numbers[0], row, 1)
            layout.addWidget(numbers[1], row, 3)
            layout.addWidget(QLabel(text, self), row, 4)
        layout.addWidget(self.slider, 0, 2)
        layout.setColumnMinimumWidth(4, 22)
        for number in self.world:
            number.setVisible(is_calibrated)

    def _show(self) -> None:
        for widget in (self.slider, *self.pixels, *self.world):
            widget.blockSignals(True)
        self.slider.setValue(self._edge)
        numbers: Any = zip(self.pixels, self.world, self._edge, strict=True)
        for pixel, position, edge in numbers:
            pixel.setValue(edge)
            position.setValue(self._origin + self._scale * edge)
        for widget in (self.slider, *self.pixels, *self.world):
            widget.blockSignals(False)

    def _take_slider(self, edge: tuple[float, float]) -> None:
        self.value = edge

    def _take_pixels(self) -> None:
        low, high = (number.value() for number in self.pixels)
        self.value = (low, high)

    def _take_world(self) -> None:
        shown = [self._origin + self._scale * edge for edge in self._edge]
        # What was not typed keeps its pixel, however it is rounded.
        low, high = (
            edge
            if abs(number.value() - at) < abs(self._scale) / 2
            else (number.value() - self._origin) / self._scale
            for number, at, edge in zip(self.world, shown, self._edge, strict=True)
        )
        self.value = (low, high)


def axis_ranges(layer: Layer) -> list[AxisRange]:
    """Make a range for each axis of a layer.

    Positions are the world's, as the status bar says them; of an image that is turned
    they are lengths from its corner.
    """
    affine = affine_of_layer(layer)
    scale = np.asarray(affine.scale)
    origin = np.asarray(affine.translation) - scale / 2
    if not affine.is_diagonal:
        origin = np.zeros(layer.ndim)
    units = ["" if str(u) == "pixel" else f"{u:~P}" for u in layer.units]
    shape = finest_shape(layer)
    return [
        AxisRange(plain(name), size, float(step), float(start), unit)
        for name, size, step, start, unit in zip(
            layer.axis_labels, shape, scale, origin, units, strict=True
        )
    ]


_slider: Any = QRangeSlider  # its constructor has no types


def _decimals(scale: float) -> int:
    """Give the decimals that tell neighbouring pixels apart."""
    return int(np.clip(2 - np.floor(np.log10(abs(scale))), 0, 9))
