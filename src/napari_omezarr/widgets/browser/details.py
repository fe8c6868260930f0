"""What is known of the row that is chosen, before anything is opened."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFrame,
    QGridLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.browsing import EntryKind, Thumbnail, describe, thumbnail
from napari_omezarr.browsing.thumbnails import set_thumbnail_cache
from napari_omezarr.widgets.preferences import thumbnail_room
from napari_omezarr.widgets.qt_async import DebouncedTask, failure

from .panes import (
    ChunkPane,
    ImagePane,
    MetadataPane,
    ValidationPane,
    picture,
    plain_label,
)
from .text import entry_text, facts_text, is_readable

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari_omezarr.browsing import Details, Entry
    from napari_omezarr.location import Location

# The head of the panel: name, facts and address, with a small picture beside them.

SIDE = 96
"""The longer edge of the small picture, in pixels of the screen."""


class Heading(QWidget):
    """Says what is chosen; fetches the small picture.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.

    Attributes
    ----------
    name, facts, address, picture : QLabel
        Its parts.
    """

    failed = Signal(object)
    """An `OMEZarrError`: there is no picture."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name, self.facts, self.address = (plain_label(self) for _ in range(3))
        font = self.name.font()
        font.setBold(True)
        self.name.setFont(font)
        self.picture = QLabel(self)
        self._latest = DebouncedTask(self._hear, self)
        layout = QGridLayout(self)
        layout.setContentsMargins(4, 4, 4, 2)
        layout.setColumnStretch(0, 1)
        top = Qt.AlignmentFlag.AlignTop
        for row, label in enumerate((self.name, self.facts, self.address)):
            layout.addWidget(label, row, 0, top)
        layout.addWidget(self.picture, 0, 1, 3, 1, top)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.clear_picture()

    @property
    def busy(self) -> bool:
        """Whether the picture is to come."""
        return self._latest.busy

    def clear_picture(self) -> None:
        """Show no picture, and want none."""
        self._latest.forget()
        self.picture.clear()
        self.picture.hide()

    def fetch_picture(self, location: Location) -> None:
        """Show a small picture of an image, as soon as there is one."""
        self.clear_picture()
        set_thumbnail_cache(thumbnail_room())
        self._latest.ask(lambda: lambda: thumbnail(location))

    def _hear(self, outcome: Future[Thumbnail]) -> None:
        error = failure(outcome)
        if error is not None:
            self.failed.emit(error)
            return
        found = outcome.result()
        self.picture.setToolTip(found.sentence)
        self.picture.setAccessibleName(found.sentence)
        if found.pixels is not None:
            keep = Qt.AspectRatioMode.KeepAspectRatio
            smooth = Qt.TransformationMode.SmoothTransformation
            pixels = picture(found.pixels)
            self.picture.setPixmap(pixels.scaled(SIDE, SIDE, keep, smooth))
            self.picture.show()


# What is known of the row that is chosen, before anything is opened.

_PICTURED = frozenset(
    {
        EntryKind.IMAGE,
        EntryKind.LEVELS,
        EntryKind.LABEL,
        EntryKind.SERIES,
        EntryKind.SCENE,
        EntryKind.ARRAY,
    }
)
_DESCRIBED = _PICTURED | {EntryKind.PLATE, EntryKind.WELL, EntryKind.LABELS}
_DOCUMENTED = _DESCRIBED | {EntryKind.GROUP}


class DetailsPanel(QWidget):
    """Says what lies at a place; `display` and `clear` are called by the dock.

    A row is asked about when it stays chosen for a moment, and each tab asks when one
    looks at it. What is no longer chosen is no longer fetched.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    failed = Signal(object)
    """An `OMEZarrError`, for the bar of the dock."""
    began = Signal()
    """Another row is shown, or none: what was wrong with the one before is past."""
    said = Signal(str)
    """A sentence for the status line of the dock."""
    open_wanted = Signal(object)
    """A `Wish`: what of the place is to be opened as layers."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: tuple[Location, EntryKind, bool, str] | None = None
        self._entry: Entry | None = None
        self.heading = Heading(self)
        self.image = ImagePane(self)
        self.data = ChunkPane(self)
        self.validation = ValidationPane(self)
        self.metadata = MetadataPane(self)
        self.tabs = QTabWidget(self)
        self._scrolled = [_scrolled(pane) for pane in (self.image, self.data)]
        for page, name in zip(
            (*self._scrolled, self.validation, self.metadata),
            ("&Image", "&Chunks", "&Validate", "&Metadata"),
            strict=True,
        ):
            self.tabs.addTab(page, name)
        self.tabs.setUsesScrollButtons(True)
        self.tabs.setDocumentMode(True)
        self._latest = DebouncedTask(self._hear, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.heading)
        layout.addWidget(self.tabs, stretch=1)
        # Takes the room of tabs that are hidden.
        layout.addStretch()
        self.image.open_wanted.connect(self.open_wanted)
        for part in (self.heading, self.data, self.validation, self.metadata):
            part.failed.connect(self.failed)
        self.clear()

    @property
    def location(self) -> Location | None:
        """What is shown."""
        return None if self._shown is None else self._shown[0]

    @property
    def name(self) -> QLabel:
        """What the row is called."""
        return self.heading.name

    @property
    def facts(self) -> QLabel:
        """What it is, in one line; or why that could not be found out."""
        return self.heading.facts

    @property
    def address(self) -> QLabel:
        """Where it is."""
        return self.heading.address

    @property
    def busy(self) -> bool:
        """Whether something about the place is to come."""
        parts = (self.heading, self.data, self.validation, self.metadata)
        return self._latest.busy or any(part.busy for part in parts)

    def display(self, location: Location, entry: Entry) -> None:
        """Say what is known of a place; called again when more is.

        Parameters
        ----------
        location : Location
            Where it is.
        entry : Entry
            Its row.
        """
        shown = (location, entry.kind, entry.recognised, entry.problem)
        if shown != self._shown:
            self._shown, self._entry = shown, entry
            self.began.emit()
            self._begin(location, entry)
        self.show()

    def again(self) -> None:
        """Ask once more about what is shown."""
        if self._shown is not None and self._entry is not None:
            self._begin(self._shown[0], self._entry)

    def clear(self) -> None:
        """Say nothing: no row is chosen."""
        self._shown = self._entry = None
        self.began.emit()
        self.stop()
        self.hide()

    def stop(self) -> None:
        """Ask nothing more about the place."""
        self._latest.forget()
        self.heading.clear_picture()
        for pane in (self.data, self.validation, self.metadata):
            pane.set_location(None)

    def turn_to(self, pane: QWidget) -> None:
        """Show a tab, by what is in it."""
        pages = (self.tabs.widget(n) for n in range(self.tabs.count()))
        for number, page in enumerate(pages):
            if page is pane or (page is not None and page.isAncestorOf(pane)):
                self.tabs.setCurrentIndex(number)
                self.tabs.setFocus()

    def _begin(self, location: Location, entry: Entry) -> None:
        self.stop()
        self.image.show_details(None)
        self.name.setText(entry.name)
        self.facts.setText(entry_text(entry))
        self.address.setText(location.display)
        is_file = is_readable(entry)
        self.metadata.set_file(is_file)
        self._show_tabs(entry)
        for pane in (self.metadata, self.validation, self.data):
            pane.set_location(location)
        # Of a row that could not be looked at, the error is to be had by this.
        if entry.problem or entry.kind in _DESCRIBED:
            self._latest.ask(lambda: partial(describe, location))
        if entry.kind in _PICTURED and not entry.problem:
            self.heading.fetch_picture(location)

    def _show_tabs(self, entry: Entry) -> None:
        described = entry.kind in _DESCRIBED and not entry.problem
        # Of what is broken, one wants to see the documents.
        documented = entry.kind in _DOCUMENTED or is_readable(entry) or entry.problem
        for number in (0, 1):
            self.tabs.setTabVisible(number, described)
        self.tabs.setTabVisible(2, entry.kind in _DOCUMENTED)
        self.tabs.setTabVisible(3, bool(documented))
        self.tabs.setVisible(bool(described or documented))

    def _hear(self, outcome: Future[Details]) -> None:
        error = failure(outcome)
        if error is not None:
            if self._entry is not None and not self._entry.problem:
                self.facts.setText(f"{self.facts.text()}\n✖ {error.sentence}")
            self.failed.emit(error)
            return
        details = outcome.result()
        self._show_tabs(details.entry)
        self.facts.setText(facts_text(details))
        self.image.show_details(details)
        self.data.show_details(details)


def _scrolled(pane: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(pane)
    return area
