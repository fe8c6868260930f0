"""The panel that says what is known of a row before it is opened, and its tabs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QFontDatabase, QImage, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_omezarr.browsing import (
    ChunkPreview,
    EntryKind,
    Thumbnail,
    describe,
    measure_speed,
    pretty,
    raw_documents,
    set_thumbnail_cache,
    thumbnail,
    validate,
    view_chunk,
)
from napari_omezarr.errors import NodeNotFoundError, StoreError
from napari_omezarr.plain_text import plain, shape_text
from napari_omezarr.pyramid import chunk_counts
from napari_omezarr.reading import ReadOptions
from napari_omezarr.store import open_store
from napari_omezarr.widgets.fields import FlowingRow, plain_label, show_text
from napari_omezarr.widgets.preferences import thumbnail_room
from napari_omezarr.widgets.qt_async import DebouncedTask, failure

from .controls import combo_box, scroll_area
from .opener import OpenRequest
from .text import (
    COLUMNS,
    about_text,
    axes_text,
    channels_html,
    chunk_text,
    entry_text,
    facts_text,
    findings_text,
    is_readable,
    labels_text,
    level_row,
    notes_text,
    voxel_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from numpy.typing import NDArray
    from qtpy.QtGui import QKeyEvent, QShowEvent

    from napari_omezarr.browsing import Details, Entry, Speed, Validation
    from napari_omezarr.location import Location


_PICTURE_SIDE = 256
"""The longer edge of the picture of a chunk, in pixels of the screen."""


class Pane(QWidget):
    """A tab that asks about a place only while it is visible; late answers go."""

    failed = Signal(object)
    """An `OMEZarrError`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.location: Location | None = None
        self.message = plain_label(self)
        self.message.hide()
        self._loaded = False
        self._latest = DebouncedTask(self._receive, self)

    @property
    def busy(self) -> bool:
        """Whether an answer is to come."""
        return self._latest.busy

    def set_location(self, location: Location | None) -> None:
        """Be about another place; None is none, and ends what is under way."""
        if location == self.location and location is not None:
            return
        self._latest.forget()
        self.location = location
        self._loaded = False
        self.show_message("")
        self.clear()
        if self.isVisible():
            self.load()

    def clear(self) -> None:
        """Show nothing of the place before."""

    def load(self) -> None:
        """Begin what is asked without a button; nothing, if not overridden."""

    def show_result(self, result: Any) -> None:
        """Show what was found out."""

    def run(self, function: Callable[[], Any], message: str) -> None:
        """Run a blocking function in a thread, in place of what ran before."""
        self._loaded = True
        self.show_message(message)
        self._latest.ask(lambda: function)

    def show_message(self, text: str) -> None:
        """Say what is going on, or what went wrong."""
        show_text(self.message, text)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Load when the pane becomes visible for the first time."""
        super().showEvent(event)
        if not self._loaded:
            self.load()

    def _receive(self, outcome: Future[Any]) -> None:
        error = failure(outcome)
        self.show_message("" if error is None else f"✖ {error.sentence}")
        if error is None:
            self.show_result(outcome.result())
        else:
            self.failed.emit(error)


class ImagePane(QWidget):
    """Shows what is known of an image; a level of the table opens by Enter."""

    open_wanted = Signal(object)
    """An `OpenRequest`: one level."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._details: Details | None = None
        self.axes, self.voxel = plain_label(self), plain_label(self)
        self.levels = LevelTable(self)
        self.channels = QLabel(self)
        self.channels.setTextFormat(Qt.TextFormat.RichText)
        self.channels.setWordWrap(True)
        self.channels.setMinimumWidth(1)
        self.labels, self.about, self.notes = (plain_label(self) for _ in range(3))
        below = (self.channels, self.labels, self.about, self.notes)
        self._texts = (self.axes, self.voxel, *below)
        _stack(self, self.axes, self.voxel, self.levels, *below).addStretch()
        self.levels.chosen.connect(self._open)
        self.show_details(None)

    def show_details(self, details: Details | None) -> None:
        """Show what is known of a place; None shows nothing."""
        self._details = details
        self.levels.fill(details)
        texts = ("",) * len(self._texts)
        if details is not None:
            voxel = voxel_text(details.axes)
            axes = axes_text(details.axes)
            texts = (
                f"Axes: {axes}" if axes else "",
                f"Pixel: {voxel}" if voxel else "",
                channels_html(details.channels, details.name),
                labels_text(details.labels, details.tables),
                about_text(details),
                notes_text(details),
            )
        for label, text in zip(self._texts, texts, strict=True):
            show_text(label, text)

    def _open(self, level: int) -> None:
        if self._details is not None:
            options = ReadOptions(labels=False, level=level)
            place = self._details.entry.location
            self.open_wanted.emit(OpenRequest(place, options, is_chosen=True))


class LevelTable(QTableWidget):
    """A row for each level, as high as its rows."""

    chosen = Signal(int)
    """The level that is to be opened."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setHorizontalHeaderLabels(COLUMNS)
        self.setAccessibleName("Levels")
        self.setToolTip("Enter, or a double click, opens one level")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrap(False)
        side, top = self.verticalHeader(), self.horizontalHeader()
        if side is not None and top is not None:
            side.hide()
            top.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.cellDoubleClicked.connect(lambda row, _: self.chosen.emit(row))

    def fill(self, details: Details | None) -> None:
        """Show the levels of an image."""
        levels = details.levels if details is not None else ()
        self.setRowCount(len(levels))
        for number, level in enumerate(levels):
            for column, text in enumerate(level_row(level)):
                self.setItem(number, column, QTableWidgetItem(text))
        self.resizeRowsToContents()
        # Columns without a word in them take the room of those that have some.
        for column in range(len(COLUMNS)):
            cells = (self.item(row, column) for row in range(self.rowCount()))
            self.setColumnHidden(column, not any(c and c.text() for c in cells))
        self.setVisible(bool(levels))
        self.setFixedHeight(self._height())

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Open a level on Enter."""
        enter = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if event is not None and event.key() in enter and self.currentRow() >= 0:
            self.chosen.emit(self.currentRow())
            return
        super().keyPressEvent(event)

    def _height(self) -> int:
        head, bar = self.horizontalHeader(), self.horizontalScrollBar()
        around = 2 * self.frameWidth()
        around += head.sizeHint().height() if head is not None else 0
        around += bar.sizeHint().height() if bar is not None else 0
        return around + sum(self.rowHeight(row) for row in range(self.rowCount()))


class ChunkPane(Pane):
    """Reads one chunk when asked to, and measures the place when asked to."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._details: Details | None = None
        self._planes: np.ndarray | None = None
        self.level = combo_box("Level", self)
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
        self.clear()

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

    def clear(self) -> None:
        """Show no chunk and no level."""
        self._planes = None
        self.show_details(None)
        for widget in (self.picture, self.plane, self.text):
            widget.hide()

    def show_result(self, result: ChunkPreview | Speed) -> None:
        """Show a chunk, or what was measured."""
        if not isinstance(result, ChunkPreview):
            show_text(self.text, result.sentence)
            return
        self._planes = planes_of(result.pixels)
        count = len(self._planes)
        self.plane.setRange(0, count - 1)
        self.plane.setValue(count // 2)
        self.plane.setVisible(count > 1)
        show_text(self.text, chunk_text(result))
        self._draw()
        self.picture.show()

    def _arrange(self) -> None:
        layout, self._line = QVBoxLayout(self), FlowingRow()
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
        level = self._details.levels[number]
        counts = chunk_counts(level.shape, level.chunks)
        for name, count in zip(names, counts, strict=False):
            box = QSpinBox(self)
            box.setPrefix(f"{name} ")
            box.setAccessibleName(f"Chunk along {name}, of {count}")
            box.setToolTip(plain(f"{count:,} chunks along {name}"))
            box.setRange(0, count - 1)
            box.setValue(count // 2)
            self.index.append(box)
            self._line.addWidget(box)

    def _view(self) -> None:
        if self.location is not None and self.level.currentIndex() >= 0:
            index = tuple(box.value() for box in self.index)
            level = self.level.currentIndex()
            function = partial(view_chunk, self.location, level, index)
            self.run(function, "Reading the chunk …")

    def _measure(self) -> None:
        if self.location is not None:
            message = "Reading for ten seconds at most …"
            self.run(partial(measure_speed, self.location), message)

    def _draw(self, *_: Any) -> None:
        if self._planes is None:
            return
        plane = self._planes[self.plane.value()]
        limits = self._planes.min(), self._planes.max()
        keep, side = Qt.AspectRatioMode.KeepAspectRatio, _PICTURE_SIDE
        pixmap = to_pixmap(grey(plane, *limits)).scaled(side, side, keep)
        self.picture.setPixmap(pixmap)


class ValidationPane(Pane):
    """Validates as soon as it becomes visible."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = _text("Findings of the validator", self)
        _stack(self, self.message, self.text)
        self.clear()

    def clear(self) -> None:
        """Show no findings."""
        self.text.clear()

    def load(self) -> None:
        """Validate the place."""
        if self.location is not None:
            self.run(partial(validate, self.location), "Validating …")

    def show_result(self, result: Validation) -> None:
        """Show what was found."""
        self.text.setPlainText(findings_text(result))


class MetadataPane(Pane):
    """Shows the documents of a place as they are stored, one at a time."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._documents: Mapping[str, str] = {}
        self._is_file = False
        self.document = combo_box("Document", self)
        self.text = _text("Metadata as stored", self)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.document.currentTextChanged.connect(self._show)
        _stack(self, self.message, self.document, self.text)
        self.clear()

    def set_file(self, is_file: bool) -> None:
        """Say whether the place is one object, whose text is wanted then."""
        self._is_file = is_file

    def clear(self) -> None:
        """Show no document."""
        self._documents = {}
        self.document.clear()
        self.document.hide()
        self.text.clear()

    def load(self) -> None:
        """Read the documents."""
        if self.location is not None:
            function = _content if self._is_file else raw_documents
            self.run(partial(function, self.location), "Reading …")

    def show_result(self, result: Mapping[str, str]) -> None:
        """Offer the documents, and show the first."""
        self._documents = result
        self.document.addItems(list(result))
        self.document.setVisible(len(result) > 1)
        if not result:
            self.show_message("There is no metadata here.")

    def _show(self, key: str) -> None:
        self.text.setPlainText(self._documents.get(key, ""))


def _content(location: Location) -> Mapping[str, str]:
    """Read one object; blocks."""
    body = open_store(location).fetch([""])[""]
    if isinstance(body, StoreError):
        raise body
    if body is None:
        sentence = f"There is no {location.display}."
        raise NodeNotFoundError(sentence, url=location.display)
    return {location.name: pretty(body)}


def _text(name: str, parent: QWidget) -> QPlainTextEdit:
    text = QPlainTextEdit(parent)
    text.setReadOnly(True)
    # Tab goes on to the next widget.
    text.setTabChangesFocus(True)
    text.setAccessibleName(name)
    return text


def _stack(pane: QWidget, *widgets: QWidget) -> QVBoxLayout:
    layout = QVBoxLayout(pane)
    layout.setContentsMargins(2, 2, 2, 2)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def to_pixmap(rgb: NDArray[np.uint8]) -> QPixmap:
    """Make a pixmap of rows x columns x RGB, uint8."""
    # QImage keeps no reference to the memory; what QPixmap makes of it is a copy.
    height, width, _ = rgb.shape
    form = QImage.Format.Format_RGB888
    return QPixmap.fromImage(QImage(rgb.tobytes(), width, height, 3 * width, form))


def planes_of(pixels: np.ndarray) -> np.ndarray:
    """Give an array of any dimension as a stack of planes: plane, row, column."""
    rows = pixels if pixels.ndim > 1 else pixels.reshape(1, -1)
    return rows.reshape(-1, *rows.shape[-2:])


def grey(plane: np.ndarray, low: float, high: float) -> NDArray[np.uint8]:
    """Make a grey RGB picture of a plane; `low` is black, `high` white."""
    span = (high - low) or 1.0
    scaled = (plane.astype(np.float64) - low) / span
    shades = np.nan_to_num(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return np.repeat(shades[..., np.newaxis], 3, axis=-1)


# The panel that says what is known of a row, before anything is opened.

_THUMBNAIL_SIDE = 96
"""The longer edge, in pixels of the screen."""

_WITH_THUMBNAIL = frozenset(
    {
        EntryKind.IMAGE,
        EntryKind.LEVELS,
        EntryKind.LABEL,
        EntryKind.SERIES,
        EntryKind.SCENE,
        EntryKind.ARRAY,
        EntryKind.PLATE,
    }
)
_DESCRIBED = _WITH_THUMBNAIL | {
    EntryKind.WELL,
    EntryKind.LABELS,
    EntryKind.TABLE,
}
_WITH_METADATA = _DESCRIBED | {EntryKind.GROUP, EntryKind.TABLES}


class DetailsHeader(QWidget):
    """Name, facts and address of a row, with a thumbnail beside them."""

    failed = Signal(object)
    """An `OMEZarrError`: there is no thumbnail."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name, self.address = (QElidingLabel(parent=self) for _ in range(2))
        self.facts = plain_label(self)
        font = self.name.font()
        font.setBold(True)
        self.name.setFont(font)
        for line in (self.name, self.address):
            line.setTextFormat(Qt.TextFormat.PlainText)
            line.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.thumbnail = QLabel(self)
        self._latest = DebouncedTask(self._receive, self)
        layout = QGridLayout(self)
        layout.setContentsMargins(4, 4, 4, 2)
        layout.setColumnStretch(0, 1)
        top = Qt.AlignmentFlag.AlignTop
        for row, label in enumerate((self.name, self.facts, self.address)):
            layout.addWidget(label, row, 0, top)
        layout.addWidget(self.thumbnail, 0, 1, 3, 1, top)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.clear_thumbnail()

    @property
    def busy(self) -> bool:
        """Whether the thumbnail is to come."""
        return self._latest.busy

    def show_place(self, name: str, address: str) -> None:
        """Show, in a line each, how something is called and where it is."""
        for label, text in ((self.name, name), (self.address, address)):
            label.setText(text)
            label.setToolTip(plain(text))
            label.setAccessibleName(text)

    def clear_thumbnail(self) -> None:
        """Show no thumbnail, and want none."""
        self._latest.forget()
        self.thumbnail.clear()
        self.thumbnail.hide()

    def fetch_thumbnail(self, location: Location) -> None:
        """Show a thumbnail of an image, as soon as there is one."""
        self.clear_thumbnail()
        set_thumbnail_cache(thumbnail_room())
        self._latest.ask(lambda: partial(thumbnail, location))

    def _receive(self, outcome: Future[Thumbnail]) -> None:
        error = failure(outcome)
        if error is not None:
            self.failed.emit(error)
            return
        found = outcome.result()
        self.thumbnail.setToolTip(plain(found.sentence))
        self.thumbnail.setAccessibleName(found.sentence)
        if found.pixels is not None:
            keep = Qt.AspectRatioMode.KeepAspectRatio
            smooth = Qt.TransformationMode.SmoothTransformation
            side, pixmap = _THUMBNAIL_SIDE, to_pixmap(found.pixels)
            self.thumbnail.setPixmap(pixmap.scaled(side, side, keep, smooth))
            self.thumbnail.show()


class DetailsPanel(QWidget):
    """Says what a row is; `display` and `clear` are called by the dock.

    A row is asked about when it stays chosen for a moment, and each tab asks when one
    looks at it. What is no longer chosen is no longer fetched.
    """

    failed = Signal(object)
    """An `OMEZarrError`, for the error panel of the dock."""
    began = Signal()
    """Another row is shown, or none: what was wrong with the one before is past."""
    open_wanted = Signal(object)
    """An `OpenRequest`: what of the place is to be opened as layers."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entry: Entry | None = None
        self.header = DetailsHeader(self)
        self.image = ImagePane(self)
        self.chunk = ChunkPane(self)
        self.validation = ValidationPane(self)
        self.metadata = MetadataPane(self)
        self._asking = (self.header, self.chunk, self.validation, self.metadata)
        self.tabs = QTabWidget(self)
        for page, title in ((self.image, "&Image"), (self.chunk, "&Chunks")):
            area = scroll_area(page)
            area.setAccessibleName(title.replace("&", ""))
            self.tabs.addTab(area, title)
        self.tabs.addTab(self.validation, "&Validate")
        self.tabs.addTab(self.metadata, "&Metadata")
        self.tabs.setUsesScrollButtons(True)
        self.tabs.setAccessibleName("What is known of the row")
        bar: Any = self.tabs.tabBar()
        bar.setAccessibleName("What is known of the row")
        self.tabs.setDocumentMode(True)
        self._latest = DebouncedTask(self._receive, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.header)
        layout.addWidget(self.tabs, stretch=1)
        # Takes the room of tabs that are hidden.
        layout.addStretch()
        self.image.open_wanted.connect(self.open_wanted)
        for part in self._asking:
            part.failed.connect(self.failed)
        self.clear()

    @property
    def location(self) -> Location | None:
        """The place that is shown."""
        return None if self._entry is None else self._entry.location

    @property
    def is_brief(self) -> bool:
        """Whether there is nothing but name and address, as of a folder."""
        return self.tabs.isHidden()

    @property
    def busy(self) -> bool:
        """Whether something about the place is to come."""
        return self._latest.busy or any(part.busy for part in self._asking)

    def display(self, entry: Entry) -> None:
        """Say what is known of a row; called again when more is."""
        if self._entry is None or _state(entry) != _state(self._entry):
            self._entry = entry
            self.began.emit()
            self.again()
        self.show()

    def again(self) -> None:
        """Ask once more about the row that is shown."""
        entry = self._entry
        if entry is None:
            return
        self.stop()
        self.image.show_details(None)
        self.header.show_place(entry.name, entry.location.display)
        self.header.facts.setText(entry_text(entry))
        self.metadata.set_file(is_readable(entry))
        self._show_tabs(entry)
        for pane in (self.metadata, self.validation, self.chunk):
            pane.set_location(entry.location)
        # Of a row that could not be probed, this gets the error.
        if entry.problem or entry.kind in _DESCRIBED:
            self._latest.ask(lambda: partial(describe, entry.location))
        if entry.kind in _WITH_THUMBNAIL and not entry.problem:
            self.header.fetch_thumbnail(entry.location)

    def clear(self) -> None:
        """Say nothing: no row is chosen."""
        self._entry = None
        self.began.emit()
        self.stop()
        self.hide()

    def stop(self) -> None:
        """Ask nothing more about the place."""
        self._latest.forget()
        self.header.clear_thumbnail()
        for pane in (self.chunk, self.validation, self.metadata):
            pane.set_location(None)

    def show_tab(self, pane: QWidget) -> None:
        """Show a tab, by what is in it."""
        for number in range(self.tabs.count()):
            page = self.tabs.widget(number)
            if page is pane or (page is not None and page.isAncestorOf(pane)):
                self.tabs.setCurrentIndex(number)
                self.tabs.setFocus()

    def _show_tabs(self, entry: Entry) -> None:
        described = entry.kind in _DESCRIBED and not entry.problem
        # Of what is broken, one wants to see the documents.
        documented = bool(
            entry.kind in _WITH_METADATA or is_readable(entry) or entry.problem
        )
        validated = entry.kind in _WITH_METADATA
        for number, is_shown in enumerate(
            (described, described, validated, documented)
        ):
            self.tabs.setTabVisible(number, is_shown)
        self.tabs.setVisible(described or documented)

    def _receive(self, outcome: Future[Details]) -> None:
        error = failure(outcome)
        if error is not None:
            if self._entry is not None and not self._entry.problem:
                facts = f"{self.header.facts.text()}\n✖ {error.sentence}"
                self.header.facts.setText(facts)
            self.failed.emit(error)
            return
        details = outcome.result()
        self._show_tabs(details.entry)
        self.header.facts.setText(facts_text(details))
        self.image.show_details(details)
        self.chunk.show_details(details)


def _state(entry: Entry) -> tuple[object, ...]:
    return entry.location, entry.kind, entry.recognised, entry.problem
