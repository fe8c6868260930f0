"""How a row is painted: picture, name, and what is known at the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from napari_omezarr.browsing import Kind

from .icons import SIDE, kind_picture
from .row_text import aside

if TYPE_CHECKING:
    from qtpy.QtCore import QModelIndex
    from qtpy.QtGui import QColor, QPainter

    from napari_omezarr.browsing import Entry

GAP = 6
MOST = 0.6
"""Of a row, what stands at the right may take so much; the name has the rest."""
_DIM = 0.65
_MIDDLE = Qt.AlignmentFlag.AlignVCenter


class RowDelegate(QStyledItemDelegate):
    """Paints a row in one column, so that 300 pixels are enough for it."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Give every row the same height, and no width of its own."""
        return QSize(0, max(SIDE, option.fontMetrics.height()) + GAP)

    def paint(
        self,
        painter: QPainter | None,
        option: QStyleOptionViewItem,
        index: QModelIndex,
    ) -> None:
        """Paint the row."""
        model: Any = index.model()
        if painter is None or model is None:
            return
        entry: Entry | None = model.entry(index)
        widget: Any = option.widget
        blank = QStyleOptionViewItem(option)
        widget.style().drawControl(
            QStyle.ControlElement.CE_ItemViewItem, blank, painter, widget
        )
        painter.save()
        painter.setPen(_color(option))
        room = option.rect.adjusted(GAP // 2, 0, -GAP, 0)
        if entry is None:
            painter.setOpacity(_DIM)
            self._name(painter, option, room, str(index.data()))
        else:
            self._row(painter, option, room, entry)
        painter.restore()

    def _row(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        room: QRect,
        entry: Entry,
    ) -> None:
        device: Any = painter.device()
        ratio = device.devicePixelRatioF()
        picture = kind_picture(_kind(entry), painter.pen().color().name(), ratio)
        top = room.top() + (room.height() - SIDE) // 2
        painter.drawPixmap(room.left(), top, picture)
        room = room.adjusted(SIDE + GAP, 0, 0, 0)
        text = aside(entry)
        measure = option.fontMetrics
        name = measure.horizontalAdvance(entry.name)
        width = min(
            measure.horizontalAdvance(text) + 2,
            max(int(room.width() * MOST), room.width() - name - 2 * GAP),
        )
        self._name(painter, option, room.adjusted(0, 0, -width - GAP, 0), entry.name)
        painter.setOpacity(_DIM)
        elided = measure.elidedText(text, Qt.TextElideMode.ElideRight, width)
        painter.drawText(room, _MIDDLE | Qt.AlignmentFlag.AlignRight, elided)

    def _name(
        self, painter: QPainter, option: QStyleOptionViewItem, room: QRect, text: str
    ) -> None:
        middle = Qt.TextElideMode.ElideMiddle
        elided = option.fontMetrics.elidedText(text, middle, room.width())
        painter.drawText(room, _MIDDLE | Qt.AlignmentFlag.AlignLeft, elided)


def _kind(entry: Entry) -> Kind:
    """Show what the name promises until somebody has looked."""
    promised = entry.looks_like_store and not entry.recognised
    return Kind.IMAGE if promised and entry.kind is Kind.FOLDER else entry.kind


def _color(option: QStyleOptionViewItem) -> QColor:
    chosen = option.state & QStyle.StateFlag.State_Selected
    role = QPalette.ColorRole.HighlightedText if chosen else QPalette.ColorRole.Text
    return option.palette.color(role)
