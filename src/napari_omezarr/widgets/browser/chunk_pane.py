"""The data tab: one chunk as it is stored, and how fast the place is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

from napari_omezarr.browsing import Chunk, measure_speed, view_chunk
from napari_omezarr.widgets.region_text import shape_text

from .detail_text import chunk_text
from .pane import Pane, plain_label
from .raster import grey, picture, planes_of

if TYPE_CHECKING:
    import numpy as np

    from napari_omezarr.browsing import Details, LevelDetails, Speed

SIDE = 256
"""The longer edge of the picture of a chunk, in pixels of the screen."""


class ChunkPane(Pane):
    """Reads one chunk when asked to, and measures the place when asked to.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._details: Details | None = None
        self._planes: np.ndarray | None = None
        self.level = QComboBox(self)
        self.level.setAccessibleName("Level")
        self.level.setMinimumContentsLength(8)
        self.index: list[QSpinBox] = []
        self.show_button = QPushButton("&View chunk", self)
        self.speed_button = QPushButton("&Speed test", self)
        self.picture = QLabel(self)
        self.picture.setAccessibleName("The chunk as a picture")
        self.plane = QSlider(Qt.Orientation.Horizontal, self)
        self.plane.setAccessibleName("Plane of the chunk")
        self.text = plain_label(self)
        self._arrange()
        self.level.currentIndexChanged.connect(self._choose_level)
        self.show_button.clicked.connect(self._view)
        self.speed_button.clicked.connect(self._measure)
        self.plane.valueChanged.connect(self._draw)
        self.empty()

    def show_details(self, details: Details | None) -> None:
        """Offer the levels of an image; None offers nothing."""
        self._details = details
        levels = details.levels if details is not None else ()
        self.level.clear()
        for level in levels:
            self.level.addItem(f"{level.path} · {shape_text(level.shape)}")
        # Coarse ones are small.
        self.level.setCurrentIndex(len(levels) - 1)
        for widget in (self.level, self.show_button, self.speed_button):
            widget.setEnabled(bool(levels))

    def empty(self) -> None:
        """Show no chunk and no level."""
        self._planes = None
        self.show_details(None)
        for widget in (self.picture, self.plane, self.text):
            widget.hide()

    def answer(self, result: Chunk | Speed) -> None:
        """Show a chunk, or what was measured."""
        if not isinstance(result, Chunk):
            self.text.setText(result.sentence)
            self.text.show()
            return
        self._planes = planes_of(result.pixels)
        count = len(self._planes)
        self.plane.setRange(0, count - 1)
        self.plane.setValue(count // 2)
        self.plane.setVisible(count > 1)
        self.text.setText(chunk_text(result))
        self.text.show()
        self._draw()
        self.picture.show()

    def _arrange(self) -> None:
        layout, self._line = QVBoxLayout(self), QFlowLayout()
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self.level)
        layout.addLayout(self._line)
        buttons = QHBoxLayout()
        buttons.addWidget(self.show_button)
        buttons.addWidget(self.speed_button)
        buttons.addStretch()
        layout.addLayout(buttons)
        for widget in (self.message, self.text, self.picture, self.plane):
            layout.addWidget(widget)
        layout.addStretch()

    def _choose_level(self, number: int) -> None:
        """Offer the chunks of a level, the middle one first."""
        for box in self.index:
            self._line.removeWidget(box)
            box.deleteLater()
        self.index = []
        if self._details is None or not 0 <= number < len(self._details.levels):
            return
        axes = self._details.axes
        names = [axis.name for axis in axes]
        counts = _grid(self._details.levels[number])
        for name, count in zip(names, counts, strict=False):
            box = QSpinBox(self)
            box.setPrefix(f"{name} ")
            box.setAccessibleName(f"Chunk along {name}, of {count}")
            box.setToolTip(f"{count:,} chunks along {name}")
            box.setRange(0, count - 1)
            box.setValue(count // 2)
            self.index.append(box)
            self._line.addWidget(box)

    def _view(self) -> None:
        if self.location is not None and self.level.currentIndex() >= 0:
            index = tuple(box.value() for box in self.index)
            level = self.level.currentIndex()
            function = partial(view_chunk, self.location, level, index)
            self.ask(function, "Reading the chunk …")

    def _measure(self) -> None:
        if self.location is not None:
            saying = "Reading for ten seconds at most …"
            self.ask(partial(measure_speed, self.location), saying)

    def _draw(self, *_: Any) -> None:
        if self._planes is None:
            return
        plane = self._planes[self.plane.value()]
        limits = self._planes.min(), self._planes.max()
        keep = Qt.AspectRatioMode.KeepAspectRatio
        self.picture.setPixmap(picture(grey(plane, *limits)).scaled(SIDE, SIDE, keep))


def _grid(level: LevelDetails) -> tuple[int, ...]:
    pairs = zip(level.shape, level.chunks, strict=True)
    return tuple(-(-size // chunk) for size, chunk in pairs)
