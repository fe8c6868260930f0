"""A range along an axis: a slider, and numbers in pixels and in the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal, SignalInstance
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QSpinBox,
    QWidget,
)
from superqt import QRangeSlider

from napari_omezarr.plain_text import plain
from napari_omezarr.region import layer_affine

from .region_box import finest_shape

if TYPE_CHECKING:
    from napari.layers import Layer

# napari's style makes numbers wider than a dock has room for.
_NARROW = "min-width: 48px; max-width: 60px; padding: 1px 2px;"


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
        box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
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
    affine = layer_affine(layer)
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
