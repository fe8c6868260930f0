"""The panel that says what is known of a row, before anything is opened."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QGridLayout,
    QLabel,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_omezarr.browsing import (
    EntryKind,
    Thumbnail,
    describe,
    set_thumbnail_cache,
    thumbnail,
)
from napari_omezarr.plain_text import plain
from napari_omezarr.widgets.preferences import thumbnail_room
from napari_omezarr.widgets.qt_async import DebouncedTask, failure

from .controls import plain_label, scroll_area
from .panes import ChunkPane, ImagePane, MetadataPane, ValidationPane, to_pixmap
from .text import entry_text, facts_text, is_readable

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari_omezarr.browsing import Details, Entry
    from napari_omezarr.location import Location

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
