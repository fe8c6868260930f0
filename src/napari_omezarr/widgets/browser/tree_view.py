"""The tree of rows: how they are painted, keys, and which are visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import (
    QEvent,
    QModelIndex,
    QObject,
    QPoint,
    QRect,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QMainWindow,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeView,
    QWidget,
)

from napari_omezarr.browsing import EntryKind

from .text import SIDE, RowHeader, kind_icon, right_text
from .tree_model import EntryModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qtpy.QtGui import QColor, QKeyEvent, QPainter

    from napari_omezarr.browsing import Entry

_GAP = 6
_MOST_RIGHT = 0.6
"""How much of a row the text at the right may take; the name has the rest."""
_DIM = 0.65
_MOST_ROWS = 50
"""Rows that are counted for the height that they need."""
_MIDDLE = Qt.AlignmentFlag.AlignVCenter

_SETTLING_TIME = 40
"""Milliseconds without scrolling after which visible rows are probed."""

_FOLDERS = (EntryKind.BUCKET, EntryKind.FOLDER, EntryKind.GROUP)
_KEYS = Qt.Key


class RowDelegate(QStyledItemDelegate):
    """Paints a row beside its name, so that 300 pixels are enough for it.

    What a column of its own says is left out there.
    """

    shown: frozenset[str] = frozenset()
    """The keys of those columns."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Give every row the same height, and the width of its text."""
        width = option.fontMetrics.horizontalAdvance(str(index.data())) + 2 * _GAP
        icon = 0 if index.column() else SIDE + _GAP
        return QSize(width + icon, max(SIDE, option.fontMetrics.height()) + _GAP)

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
        room = option.rect.adjusted(_GAP // 2, 0, -_GAP, 0)
        if index.column():
            self._name(painter, option, room, str(index.data()))
        # What comes after the rows is painted by the view, over all columns.
        elif entry is not None:
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
        icon = kind_icon(_kind(entry), painter.pen().color().name(), ratio)
        top = room.top() + (room.height() - SIDE) // 2
        painter.drawPixmap(room.left(), top, icon)
        room = room.adjusted(SIDE + _GAP, 0, 0, 0)
        text = right_text(entry, self.shown)
        measure = option.fontMetrics
        name = measure.horizontalAdvance(entry.name)
        width = min(
            measure.horizontalAdvance(text) + 2,
            max(int(room.width() * _MOST_RIGHT), room.width() - name - 2 * _GAP),
        )
        space = width + _GAP if text else 0
        self._name(painter, option, room.adjusted(0, 0, -space, 0), entry.name)
        painter.setOpacity(_DIM)
        elided = measure.elidedText(text, Qt.TextElideMode.ElideRight, width)
        painter.drawText(room, _MIDDLE | Qt.AlignmentFlag.AlignRight, elided)

    def _name(
        self, painter: QPainter, option: QStyleOptionViewItem, room: QRect, text: str
    ) -> None:
        middle = Qt.TextElideMode.ElideMiddle
        elided = option.fontMetrics.elidedText(text, middle, room.width())
        painter.drawText(room, _MIDDLE | Qt.AlignmentFlag.AlignLeft, elided)


def _kind(entry: Entry) -> EntryKind:
    is_folder = entry.kind is EntryKind.FOLDER
    return EntryKind.IMAGE if is_folder and _is_promising(entry) else entry.kind


def _color(option: QStyleOptionViewItem) -> QColor:
    chosen = option.state & QStyle.StateFlag.State_Selected
    role = QPalette.ColorRole.HighlightedText if chosen else QPalette.ColorRole.Text
    return option.palette.color(role)


class DropCatcher(QObject):
    """Takes rows that are dropped on the canvas, while they are dragged.

    napari would ask which of its readers is to open them.
    """

    caught = Signal()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take a drop on whatever lies in the middle of a main window."""
        if event is None or event.type() != QEvent.Type.Drop:
            return False
        if not isinstance(watched, QWidget):
            return False
        window = watched.window()
        middle: Any = (
            window.centralWidget() if isinstance(window, QMainWindow) else None
        )
        if middle is None or not (middle is watched or middle.isAncestorOf(watched)):
            return False
        event.accept()
        # The drag is over when this returns.
        QTimer.singleShot(0, self.caught.emit)
        return True


class EntryTree(QTreeView):
    """Rows of a place; Enter or a double click opens images and enters folders."""

    chosen = Signal(QModelIndex)
    """Enter, or a double click, on what can be opened as layers."""
    entered = Signal(object)
    """The same on an `Entry` that is a folder."""
    current = Signal(QModelIndex)
    """Another row, or none, is the current one, or more is known of it."""
    selected = Signal()
    """Other rows are chosen, several perhaps."""
    up_wanted = Signal()
    files_wanted = Signal()
    typed = Signal(str)
    """Letters that no key of the tree is: the beginning of a filter."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = EntryModel(self)
        self.setModel(self.rows)
        self.delegate = RowDelegate(self)
        self.setItemDelegate(self.delegate)
        self.columns = RowHeader(self)
        self.setHeader(self.columns)
        self.setUniformRowHeights(True)
        self.setExpandsOnDoubleClick(False)
        self.setIndentation(14)
        self.setMinimumHeight(80)
        self.setDragEnabled(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DragOnly)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setAccessibleName("Rows of this place")
        scroll_bar: Any = self.verticalScrollBar()
        self.catcher = DropCatcher(self)
        self.catcher.caught.connect(self._open_dropped)
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.timeout.connect(self._probe)
        for signal in (
            self.rows.rowsInserted,
            self.rows.modelReset,
            self.rows.layoutChanged,
            self.expanded,
            self.collapsed,
            scroll_bar.valueChanged,
        ):
            signal.connect(self.settle)
        self.rows.modelReset.connect(lambda: self.current.emit(QModelIndex()))
        self.rows.dataChanged.connect(self._update_current)
        self.doubleClicked.connect(self.act_on)
        self.clicked.connect(self._act_on_tail)
        self.columns.columns_changed.connect(self._show_columns)
        self.columns.restore()
        self._show_columns()
        self.setSortingEnabled(True)

    @property
    def entry(self) -> Entry | None:
        """What the current row is."""
        return self.rows.entry(self.currentIndex())

    @property
    def settling(self) -> bool:
        """Whether visible rows are to be probed in a moment."""
        return self._settling.isActive()

    def settle(self, *_: object) -> None:
        """Probe visible rows, when they have been visible for a moment."""
        self._settling.start(_SETTLING_TIME)

    def needed_height(self) -> int:
        """Give the height in which all rows that are there are seen."""
        rows = 0
        index = self.rows.index(0)
        while index.isValid() and rows < _MOST_ROWS:
            rows, index = rows + 1, self.indexBelow(index)
        height = self.rowHeight(self.rows.index(0)) if rows else 0
        frame = self.columns.height() + 2 * self.frameWidth() + _GAP
        return max(self.minimumHeight(), rows * height + frame)

    def chosen_rows(self) -> list[QModelIndex]:
        """Give the rows that are chosen, one index for each."""
        return [index for index in self.selectedIndexes() if not index.column()]

    def visible_rows(self) -> Iterator[QModelIndex]:
        """Give the rows that are on the screen, from the top."""
        viewport: Any = self.viewport()
        height = viewport.height()
        index = self.indexAt(QPoint(0, 0))
        while index.isValid() and self.visualRect(index).top() < height:
            yield index
            index = self.indexBelow(index)

    def act_on(self, index: QModelIndex) -> None:
        """Do what Enter does: open, enter, or go on."""
        entry = self.rows.entry(index)
        if entry is None:
            self._act_on_tail(index)
        elif entry.kind in _FOLDERS and not _is_promising(entry):
            self.entered.emit(entry)
        elif entry.kind is EntryKind.FILE:
            return
        else:
            self.chosen.emit(index)

    def startDrag(self, actions: Qt.DropAction) -> None:
        """Drag rows; those that are let go over the canvas are opened by us."""
        application = QApplication.instance()
        if application is not None:
            application.installEventFilter(self.catcher)
        super().startDrag(actions)
        if application is not None:
            application.removeEventFilter(self.catcher)

    def choose(self, index: QModelIndex) -> None:
        """Make a row the current one, and show it."""
        self.setCurrentIndex(index)
        self.scrollTo(index)

    def selectionChanged(self, *changes: Any) -> None:
        """Signal which rows are chosen."""
        super().selectionChanged(*changes)
        self.selected.emit()

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:
        """Signal which row is the current one."""
        super().currentChanged(current, previous)
        self.current.emit(current)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Open on Enter, go up on Backspace, filter by letters; else as any tree."""
        if event is None:
            return
        index = self.currentIndex()
        if event.key() in (_KEYS.Key_Return, _KEYS.Key_Enter) and index.isValid():
            self.act_on(index)
        elif event.key() == _KEYS.Key_Backspace:
            self.up_wanted.emit()
        elif event.modifiers() & Qt.KeyboardModifier.AltModifier:
            event.ignore()
        elif _is_letter(event):
            self.typed.emit(event.text())
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: object) -> None:
        """Choose no row that nobody chose: the first Down takes the first one.

        Qt makes a row the current one, here the tail of rows that are to come, and
        moves on to the last of them when the tail goes.
        """
        chosen = self.currentIndex().isValid()
        super().focusInEvent(event)  # type: ignore[arg-type]
        if not chosen:
            self.setCurrentIndex(QModelIndex())

    def showEvent(self, event: object) -> None:
        """Probe what has become visible."""
        super().showEvent(event)  # type: ignore[arg-type]
        self.settle()

    def resizeEvent(self, event: object) -> None:
        """Probe what has become visible; names take the width."""
        super().resizeEvent(event)  # type: ignore[arg-type]
        self.columns.fit()
        self.settle()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        """Paint all anew after a step sideways: names stay where they are."""
        super().scrollContentsBy(dx, dy)
        if dx:
            for part in (self.viewport(), self.columns.viewport()):
                part.update()  # type: ignore[union-attr]

    def drawRow(
        self,
        painter: QPainter | None,
        options: QStyleOptionViewItem,
        index: QModelIndex,
    ) -> None:
        """Paint a row, its name also where others are scrolled over it.

        What comes after the rows is said over all columns.
        """
        super().drawRow(painter, options, index)
        if painter is None:
            return
        if self.rows.entry(index) is not None:
            self._draw_name_in_place(painter, options, index)
        else:
            first = index.siblingAtColumn(0)
            left = self.visualRect(first).left() + _GAP // 2
            room = QRect(options.rect)
            room.setLeft(left)
            painter.save()
            painter.setPen(_color(options))
            painter.setOpacity(_DIM)
            text = options.fontMetrics.elidedText(
                str(first.data()), Qt.TextElideMode.ElideRight, room.width()
            )
            painter.drawText(room, _MIDDLE | Qt.AlignmentFlag.AlignLeft, text)
            painter.restore()

    def _draw_name_in_place(
        self, painter: QPainter, options: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        width = self.columns.held_width
        if not width:
            return
        first = index.siblingAtColumn(0)
        held = QStyleOptionViewItem(options)
        held.rect = QRect(0, options.rect.top(), width, options.rect.height())
        painter.fillRect(held.rect, self.palette().brush(QPalette.ColorRole.Base))
        selection = self.selectionModel()
        if selection is not None and selection.isSelected(first):
            held.state |= QStyle.StateFlag.State_Selected
        held.rect.setLeft(self.visualRect(first).left() + self.columns.offset())
        self.delegate.paint(painter, held, first)

    def _open_dropped(self) -> None:
        for index in self.chosen_rows():
            entry = self.rows.entry(index)
            if entry is not None and (entry.is_openable or entry.looks_like_store):
                self.chosen.emit(index)

    def _probe(self) -> None:
        self.rows.probe_visible(list(self.visible_rows()) if self.isVisible() else [])

    def _update_current(self, first: QModelIndex, _last: QModelIndex) -> None:
        if first == self.currentIndex().siblingAtColumn(0):
            self.current.emit(first)

    def _show_columns(self) -> None:
        self.delegate.shown = self.columns.shown
        self.viewport().update()  # type: ignore[union-attr]

    def _act_on_tail(self, index: QModelIndex) -> None:
        if self.rows.entry(index) is not None or self.rows.load_more(index):
            return
        if self.rows.tells_of_files(index):
            self.files_wanted.emit()


def _is_promising(entry: Entry) -> bool:
    """Say whether the name of an entry promises what nobody has probed yet."""
    return entry.looks_like_store and not entry.recognised


def _is_letter(event: QKeyEvent) -> bool:
    text, plain = event.text(), Qt.KeyboardModifier.ControlModifier
    return bool(text) and text.isprintable() and not event.modifiers() & plain
