"""The buttons for the row that is chosen: Open, Copy, More."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QAction, QGuiApplication
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QWidget

from napari_omezarr.browsing import (
    EntryKind,
    Viewer,
    check_public,
    python_snippet,
    s3_address,
    share_link,
    start,
    web_address,
)
from napari_omezarr.connections import locate
from napari_omezarr.errors import OptionError
from napari_omezarr.location import Location
from napari_omezarr.user_files import without_secrets
from napari_omezarr.widgets.qt_async import FutureWatcher, failure

from .forms import CopyForm, TableForm
from .opener import folder_for
from .share import ShareActions

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from napari.components import ViewerModel

    from napari_omezarr.browsing import Entry, PublicAccess

    from .details import DetailsPanel
    from .header import ConnectionChooser
    from .navigation import Stop
    from .opener import OpenRequest

# What can be done with a row: the same actions on buttons and in its menu.

_COPIES: dict[str, Callable[[Any], str]] = {
    "Address": without_secrets,
    "s3:// address": s3_address,
    "Web address": web_address,
    "Python": python_snippet,
}
_LABELLED = (
    EntryKind.IMAGE,
    EntryKind.LEVELS,
    EntryKind.SERIES,
    EntryKind.SCENE,
    EntryKind.LABELS,
)


class RowActions(QObject):
    """The actions for the row that is chosen, and their menus.

    Parameters
    ----------
    parent : QWidget
        Owns the menus.
    """

    open_wanted = Signal(object)
    """A `OpenRequest`."""
    choose_wanted = Signal(object)
    """A `Location`, of which the person wants to choose a part."""
    region_wanted = Signal(object)
    """A `OpenRequest`, of which the person wants a region."""
    failed = Signal(object)
    """An `OMEZarrError`."""
    said = Signal(str)
    """What was done."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._wish: OpenRequest | None = None
        self._asked: FutureWatcher | None = None
        self.open_menu = QMenu("Open", parent)
        self.copy_menu = QMenu("Copy", parent)
        self.open = self._opening("Open", self._open)
        self.choose = self._opening("Open…", self._choose)
        self.labels = self._opening("Open labels only", self._open_labels)
        self.region = self._opening("Open region…", self._region)
        self.copies = [self._copying(name) for name in _COPIES]
        self.copy_menu.addSeparator()
        self.links = [self._linking(viewer) for viewer in Viewer]
        self.set_row(None, None)

    def set_row(self, entry: Entry | None, wish: OpenRequest | None) -> None:
        """Offer what can be done with a row.

        Parameters
        ----------
        entry : Entry or None
            The row; None is none.
        wish : Wish or None
            What opening it means.
        """
        self._wish = wish
        opens = entry is not None and (entry.is_openable or entry.looks_like_store)
        for action in (self.open, self.choose, self.region):
            action.setEnabled(opens)
        self.labels.setEnabled(entry is not None and entry.kind in _LABELLED)
        for action, name in zip(self.copies, _COPIES, strict=True):
            action.setEnabled(bool(wish and _COPIES[name](wish.location)))
        for action in self.links:
            action.setEnabled(opens)
        self.copy_menu.setEnabled(wish is not None)

    def menu(self, extra: list[QAction]) -> QMenu:
        """Make the menu of a row, with further actions at its end."""
        menu = QMenu("Row", self.open_menu.parentWidget())
        menu.addActions(self.open_menu.actions())
        menu.addSeparator()
        menu.addMenu(self.copy_menu)
        menu.addSeparator()
        menu.addActions(extra)
        return menu

    def _opening(self, text: str, slot: Callable[[], None]) -> QAction:
        action = QAction(text, self)
        action.triggered.connect(lambda: slot())
        self.open_menu.addAction(action)
        return action

    def _copying(self, name: str) -> QAction:
        action = QAction(name, self)
        action.triggered.connect(lambda: self._copy(name))
        self.copy_menu.addAction(action)
        return action

    def _linking(self, viewer: Viewer) -> QAction:
        action = QAction(f"Link to {viewer}", self)
        action.triggered.connect(lambda: self._share(viewer))
        self.copy_menu.addAction(action)
        return action

    def _open(self) -> None:
        if self._wish is not None:
            self.open_wanted.emit(self._wish)

    def _open_labels(self) -> None:
        if self._wish is not None:
            self.open_wanted.emit(replace(self._wish, labels_only=True))

    def _choose(self) -> None:
        if self._wish is not None:
            self.choose_wanted.emit(self._wish.location)

    def _region(self) -> None:
        if self._wish is not None:
            self.region_wanted.emit(self._wish)

    def _copy(self, name: str) -> None:
        if self._wish is not None:
            _to_clipboard(_COPIES[name](self._wish.location))
            self.said.emit(f"{name} copied.")

    def _share(self, viewer: Viewer) -> None:
        """Ask whether others may read the place, before a link to it is given away."""
        if self._wish is not None:
            if self._asked is not None:
                self._asked.abandon()
            future = start(check_public(self._wish.location, viewer.address))
            self._asked = FutureWatcher(future, partial(self._receive, viewer), self)
            self.said.emit(f"Asking whether {viewer} may read it …")

    def _receive(self, viewer: Viewer, future: Future[PublicAccess]) -> None:
        error = failure(future)
        if error is not None:
            self.failed.emit(error)
            return
        found = future.result()
        if not found.works:
            self.said.emit("")
            self.failed.emit(OptionError(found.sentence, action=found.action))
            return
        _to_clipboard(share_link(found.address, viewer))
        self.said.emit(f"Link copied. {found.sentence}".rstrip())


def _to_clipboard(text: str) -> None:
    clipboard = QGuiApplication.clipboard()
    if clipboard is not None:
        clipboard.setText(text)


# What else can be done with a row: tables, copies, web viewers, a closer look.

_TABLES = (".tsv", ".csv", ".parquet", ".pq")


class RowTools(QObject):
    """The actions that have no button of their own.

    Parameters
    ----------
    viewer : ViewerModel or None
        Whose view is shared, and whose labels get tables.
    chooser : ConnectionChooser
        What is typed is an address of the connection that is chosen.
    details : DetailsPanel
        Where one looks closer.
    parent : QWidget
        Owns menus and forms.
    """

    failed = Signal(object)
    """An `OMEZarrError`."""

    def __init__(
        self,
        viewer: ViewerModel | None,
        chooser: ConnectionChooser,
        details: DetailsPanel,
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._chooser = chooser
        self._parent = parent
        self._entry: Entry | None = None
        self._here: Stop = ()
        self.share = ShareActions(viewer, parent)
        self.table = self._action("Labels table…", self._add_table)
        self.download = self._action("Download…", self._download)
        self.upload = self._action("Upload here…", self._upload)
        self.looks = [
            self._action(text, partial(details.turn_to, page))
            for text, page in (
                ("View a chunk, speed test", details.data),
                ("Validate", details.validation),
                ("Raw metadata", details.metadata),
            )
        ]

    def add_to(self, copy_menu: QMenu, more_menu: QMenu) -> None:
        """Put the actions into the menus of the row."""
        copy_menu.addActions([*self.share.copies, self.share.signed])
        more_menu.addMenu(self.share.menu)
        more_menu.addSeparator()
        more_menu.addActions([self.table, self.download, self.upload])
        more_menu.addSeparator()
        more_menu.addActions(self.looks)

    def set_row(
        self, entry: Entry | None, wish: OpenRequest | None, here: Stop
    ) -> None:
        """Offer what can be done with a row.

        Parameters
        ----------
        entry : Entry or None
            The row; None is none.
        wish : Wish or None
            What opening it means.
        here : tuple of Location
            The place, or places, that are shown.
        """
        self._entry, self._here = entry, here
        opens = entry is not None and (entry.is_openable or entry.looks_like_store)
        is_file = entry is not None and entry.kind is EntryKind.FILE
        shared = wish.location if wish is not None and (opens or is_file) else None
        self.share.set_location(shared, is_file=is_file)
        self.download.setEnabled(
            entry is not None and entry.kind is not EntryKind.BUCKET
        )
        self.upload.setEnabled(folder_for(entry, here) is not None)
        for action in self.looks:
            action.setEnabled(entry is not None)

    def parse(self, text: str) -> Location:
        """Parse what is typed, as an address of the connection that is chosen.

        Raises
        ------
        LocationError
            It is none.
        """
        connection = self._chooser.connection
        return locate(text, connection.profile) if connection else Location.parse(text)

    def _add_table(self) -> None:
        if self._viewer is None:
            sentence = "There is no viewer with labels."
            self.failed.emit(OptionError(sentence, action="Open labels first."))
            return
        entry = self._entry
        is_one = entry is not None and entry.name.lower().endswith(_TABLES)
        place = entry.location if entry is not None and is_one else None
        TableForm(self._viewer, self.parse, place=place, parent=self._parent).show()

    def _download(self) -> None:
        if self._entry is not None:
            source = self._entry.location
            CopyForm(self.parse, source=source, parent=self._parent).show()

    def _upload(self) -> None:
        folder = folder_for(self._entry, self._here)
        CopyForm(self.parse, folder=folder, parent=self._parent).show()

    def _action(self, text: str, slot: Callable[[], object]) -> QAction:
        action = QAction(text, self)
        action.triggered.connect(lambda: slot())
        return action


# The buttons for the row that is chosen: Open, Copy, More.


class ActionBar(QWidget):
    """One line of buttons, each with its menu.

    Parameters
    ----------
    actions : RowActions
        What they do.
    parent : QWidget
        Its owner.

    Attributes
    ----------
    more_menu : QMenu
        What has no button of its own; others add to it.
    """

    def __init__(self, actions: RowActions, parent: QWidget) -> None:
        super().__init__(parent)
        self._open = actions.open
        self.more_menu = QMenu("More", self)
        self.show_files = QAction("Show files", self)
        self.show_files.setCheckable(True)
        self.show_files.setToolTip("Every object as it is stored, also in images")
        self.bookmark = QAction("Bookmark this place", self)
        self.bookmark.setToolTip("Keep it with the connection that is chosen")
        self.more_menu.addActions([self.show_files, self.bookmark])
        self.open_button = QPushButton("Open", self)
        self.open_button.setAccessibleName("Open the row as layers")
        self.open_button.clicked.connect(actions.open.trigger)
        actions.open.changed.connect(self._follow)
        self._follow()
        self.save_button = QPushButton("Save here…", self)
        self.save_button.setToolTip("Save layers into this place")
        ways = _button(actions.open_menu, self)
        ways.setText("▾")
        ways.setAccessibleName("More ways to open")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.open_button)
        layout.addWidget(ways)
        layout.addWidget(self.save_button)
        layout.addWidget(_button(actions.copy_menu, self))
        layout.addWidget(_button(self.more_menu, self))
        layout.addStretch()

    def _follow(self) -> None:
        self.open_button.setEnabled(self._open.isEnabled())


def _button(menu: QMenu, parent: QWidget) -> QPushButton:
    button = QPushButton(f"{menu.title()} ▾", parent)
    button.setMenu(menu)
    # napari's style draws a second arrow, over the text.
    button.setStyleSheet("QPushButton::menu-indicator { image: none; width: 0; }")
    button.setAccessibleName(menu.title())
    return button
