"""A plate as a map: one widget that paints every well, and takes clicks and keys."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_omezarr.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QKeyEvent, QMouseEvent, QPaintEvent

    from napari_omezarr.pyramid import Place, WellGrid

_STATES = {
    "listed": "#5b6472",
    "loaded": "#4c8dae",
    "missing": "#2b2e35",
    "broken": "#a0443c",
    "more": "#c08f3a",
}
_MEANINGS = {
    "listed": "not looked at",
    "loaded": "loaded",
    "missing": "not there",
    "broken": "cannot be shown",
    "more": "has more fields",
}
_CLASSES = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb",
    "#ee8866", "#44bb99", "#99ddff", "#ffaabb", "#aaaa00",
)  # fmt: skip
"""Told apart by who sees fewer colours, too (Paul Tol)."""
_LOW, _MIDDLE, _HIGH = (68, 1, 84), (33, 145, 140), (253, 231, 37)
_ZERO = "#b8bcc4"
_STEPS = (0.0, 0.5, 1.0)
_HEADER = 22
_LEGEND = 24
_FEWEST_PIXELS = 7
"""So wide has a well to be that rows and columns are named one by one."""


class WellColours:
    """What colours wells have by their values, and the legend that says so.

    Where positive numbers span two decades or more, as doses do, the scale can be
    logarithmic, and is unless it is said otherwise; zero has a colour of its own then.
    """

    def __init__(
        self, values: Mapping[str, Any], unit: str = "", *, by_decades: bool = True
    ) -> None:
        self.values = dict(values)
        self.unit = unit
        numbers = [v for v in self.values.values() if isinstance(v, int | float)]
        self.is_scale = bool(numbers) and len(numbers) == len(self.values)
        self.low = min(numbers, default=0)
        self.high = max(numbers, default=0)
        self._least = min((n for n in numbers if n > 0), default=0)
        self.spans_decades = (
            self.is_scale and self.low >= 0 and self.high >= 100 * self._least > 0
        )
        self.is_logarithmic = self.spans_decades and by_decades
        texts = () if self.is_scale else sorted({str(v) for v in self.values.values()})
        self.classes = {text: n for n, text in enumerate(texts)}

    def of(self, well: str) -> QColor | None:
        """Give a well's colour; None where it has no value."""
        value = self.values.get(well)
        if value is None:
            return None
        if not self.is_scale:
            return QColor(_CLASSES[self.classes[str(value)] % len(_CLASSES)])
        if self.is_logarithmic:
            if value == 0:
                return QColor(_ZERO)
            return shade(log(value / self._least) / log(self.high / self._least))
        span = self.high - self.low
        return shade((value - self.low) / span if span else 0.5)

    def said(self, well: str) -> str | None:
        """Say the value of a well with its unit; None where it has none."""
        value = self.values.get(well)
        return None if value is None else f"{value} {self.unit}".strip()

    def legend(self) -> list[tuple[QColor, str]]:
        """Give colours with what they mean."""
        if not self.is_scale:
            return [
                (QColor(_CLASSES[n % len(_CLASSES)]), text)
                for text, n in self.classes.items()
            ]
        if self.is_logarithmic:
            shown = [self._least * (self.high / self._least) ** s for s in _STEPS]
            zero = [(QColor(_ZERO), "0")] if self.low == 0 else []
        else:
            shown = [self.low + s * (self.high - self.low) for s in _STEPS]
            zero = []
        texts = (f"{value:.4g} {self.unit}".strip() for value in shown)
        return [*zero, *zip(map(shade, _STEPS), texts, strict=True)]


def shade(part: float) -> QColor:
    """Give the colour of a number between 0 and 1."""
    first, last, at = (
        (_LOW, _MIDDLE, 2 * part) if part < 0.5 else (_MIDDLE, _HIGH, 2 * part - 1)
    )
    mixed = (round(a + (b - a) * at) for a, b in zip(first, last, strict=True))
    return QColor(*mixed)


class PlateMap(QWidget):
    """Paints the wells of a plate in one go; one of them is the current one."""

    chosen = Signal(object)
    """The place of a well that was clicked, or gone to by a key."""
    activated = Signal(object)
    """The place of a well that was clicked twice, or on which Enter was pressed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid: WellGrid | None = None
        self._states: Mapping[str, str] = {}
        self._colours: WellColours | None = None
        self._shown: Collection[str] | None = None
        self.current: Place | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setMinimumSize(160, 120)
        expanding = QSizePolicy.Policy.Expanding
        self.setSizePolicy(expanding, expanding)
        self.setAccessibleName("Wells of the plate")

    def sizeHint(self) -> QSize:
        """Suggest room for 96 wells."""
        return QSize(320, 240)

    def show_plate(self, grid: WellGrid | None, states: Mapping[str, str]) -> None:
        """Show another plate, or none; `states` may change later, then `update`."""
        if grid is not self._grid:
            self.current = None
        self._grid, self._states = grid, states
        self.update()

    def show_values(self, colours: WellColours | None) -> None:
        """Colour wells by values, or by whether they were looked at."""
        self._colours = colours
        self.update()

    def show_only(self, wells: Collection[str] | None) -> None:
        """Show all but these wells faintly; None shows all."""
        self._shown = wells
        self.update()

    # Where a well is painted.

    def _side(self) -> float:
        assert self._grid is not None
        rows, columns = self._grid.size
        width = (self.width() - _HEADER - 4) / columns
        height = (self.height() - _HEADER - _LEGEND - 4) / rows
        return max(1.0, min(width, height))

    def well_rect(self, place: Place) -> QRectF:
        """Give where a well is painted."""
        side = self._side()
        row, column = place
        gap = 0 if side < 4 else max(1.0, side / 12)
        return QRectF(
            _HEADER + column * side + gap / 2,
            _HEADER + row * side + gap / 2,
            side - gap,
            side - gap,
        )

    def place_at(self, point: QPointF) -> Place | None:
        """Give the well that is painted at a point, if one is listed there."""
        if self._grid is None:
            return None
        side = self._side()
        place = int((point.y() - _HEADER) // side), int((point.x() - _HEADER) // side)
        return place if place in self._grid.wells else None

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Paint all wells, their names, and the legend."""
        painter = QPainter(self)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        painter.setPen(text)
        if self._grid is None:
            centre = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect(), centre, "No plate is open.")
            return
        self._paint_names(painter)
        round_ = self._side() >= _FEWEST_PIXELS
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, round_)
        ring = QPen(QColor(_STATES["listed"]), 1)
        for place, name in self._grid.wells.items():
            painter.setBrush(self._colour(name))
            is_there = self._states.get(name) != "missing"
            painter.setPen(Qt.PenStyle.NoPen if is_there else ring)
            rect = self.well_rect(place)
            if round_:
                painter.drawEllipse(rect)
            else:
                painter.drawRect(rect)
        if self.current is not None:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor("#ffffff"), 2))
            painter.drawRect(self.well_rect(self.current).adjusted(-1, -1, 1, 1))
        self._paint_legend(painter, text)

    def _colour(self, name: str) -> QColor:
        colour = None if self._colours is None else self._colours.of(name)
        if colour is None:
            state = self._states.get(name, "listed")
            colour = QColor(_STATES["missing" if self._colours else state])
        if self._shown is not None and name not in self._shown:
            colour = QColor(colour)
            colour.setAlpha(40)
        return colour

    def _paint_names(self, painter: QPainter) -> None:
        assert self._grid is not None
        side, grid = self._side(), self._grid
        font = painter.font()
        font.setPointSizeF(max(6.0, min(9.0, side * 0.6)))
        painter.setFont(font)
        step = max(1, round(2 * _FEWEST_PIXELS / side))
        centre = Qt.AlignmentFlag.AlignCenter
        for n, name in enumerate(grid.columns):
            if n % step == 0:
                box = QRectF(_HEADER + n * side, 0, side * step, _HEADER)
                painter.drawText(box, centre, plain(name))
        for n, name in enumerate(grid.rows):
            if n % step == 0:
                box = QRectF(0, _HEADER + n * side, _HEADER, side * step)
                painter.drawText(box, centre, plain(name))

    def _paint_legend(self, painter: QPainter, text: QColor) -> None:
        if self._colours is None:
            seen = {*self._states.values(), "listed"}
            parts = [(QColor(c), _MEANINGS[s]) for s, c in _STATES.items() if s in seen]
        else:
            parts = self._colours.legend()
        left, top = 4.0, float(self.height() - _LEGEND + 6)
        for colour, said in parts:
            said = plain(said)
            wide = painter.fontMetrics().horizontalAdvance(said)
            if left + wide + 18 > self.width():
                painter.drawText(QPointF(left, top + 10), "…")
                return
            painter.fillRect(QRectF(left, top, 10, 10), colour)
            painter.setPen(text)
            painter.drawText(QPointF(left + 14, top + 10), said)
            left += wide + 26

    # What a person does.

    def _go(self, place: Place | None) -> None:
        if place is not None:
            self.current = place
            self.update()
            self.chosen.emit(place)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Make the well that is clicked the current one."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self._go(self.place_at(event.position()))

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        """Open the well that is clicked twice."""
        place = None if event is None else self.place_at(event.position())
        if place is not None:
            self.activated.emit(place)

    def event(self, event: QEvent | None) -> bool:
        """Say which well is under the mouse, and what is known of it."""
        if event is not None and event.type() == event.Type.ToolTip and self._grid:
            help_: Any = event
            place = self.place_at(QPointF(help_.pos()))
            QToolTip.showText(help_.globalPos(), self.described(place), self)
            return True
        return bool(super().event(event))

    def described(self, place: Place | None) -> str:
        """Say which well lies at a place, and its value or state; empty for none."""
        if self._grid is None or place is None:
            return ""
        name = self._grid.wells[place]
        known = _MEANINGS[self._states.get(name, "listed")]
        if self._colours is not None:
            known = self._colours.said(name) or known
        return plain(f"{name.replace('/', '')}: {known}")

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Go to the next listed well in a direction, or open the current one."""
        if event is None or self._grid is None:
            return
        steps = {
            Qt.Key.Key_Left: (0, -1),
            Qt.Key.Key_Right: (0, 1),
            Qt.Key.Key_Up: (-1, 0),
            Qt.Key.Key_Down: (1, 0),
        }
        key = Qt.Key(event.key())
        if key in steps:
            self._go(self._next(*steps[key]))
        elif key == Qt.Key.Key_Home:
            self._go(min(self._grid.wells))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.current is not None:
            self.activated.emit(self.current)
        else:
            super().keyPressEvent(event)

    def _next(self, down: int, right: int) -> Place | None:
        assert self._grid is not None
        if self.current is None:
            return min(self._grid.wells)
        row, column = self.current
        for _ in range(max(self._grid.size)):
            row, column = row + down, column + right
            if (row, column) in self._grid.wells:
                return row, column
        return None
