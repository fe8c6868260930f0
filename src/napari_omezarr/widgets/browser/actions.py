"""What can be done with the row that is chosen: actions, their menus and buttons."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QWidget

from napari_omezarr.browsing import (
    EntryKind,
    python_snippet,
    s3_address,
    web_address,
)
from napari_omezarr.errors import OptionError
from napari_omezarr.location import Location
from napari_omezarr.user_files import without_secrets
from napari_omezarr.widgets.preferences import keep_browser_preferences
from napari_omezarr.widgets.transfers import transfers
from napari_omezarr.widgets.viewer_layers import places_of

from .controls import choose_folder, copy_to_clipboard, make_action, menu_button
from .forms import CopyForm, TableForm
from .manage_forms import DeleteForm, folder_form, rename_form
from .opener import folder_for
from .share import ShareActions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel

    from napari_omezarr.browsing import Entry

    from .details import DetailsPanel
    from .navigation import Places
    from .opener import OpenRequest

_COPIES: dict[str, Callable[[Location], str]] = {
    "Address": without_secrets,
    "s3:// address": s3_address,
    "Web address": web_address,
    "Python": python_snippet,
}
_WITH_LABELS = (
    EntryKind.IMAGE,
    EntryKind.LEVELS,
    EntryKind.SERIES,
    EntryKind.SCENE,
    EntryKind.LABELS,
)
_TABLES = (".tsv", ".csv", ".parquet", ".pq")


class RowActions(QObject):
    """The actions for the row that is chosen, on buttons and in its menu."""

    open_wanted = Signal(object)
    """An `OpenRequest`."""
    choose_wanted = Signal(object)
    """A `Location`, of which the person wants to choose a part."""
    region_wanted = Signal(object)
    """An `OpenRequest`, of which the person wants a region."""
    failed = Signal(object)
    """An `OMEZarrError`."""
    status_changed = Signal(str)
    """What goes on, or was done."""

    def __init__(
        self,
        viewer: ViewerModel | None,
        parse: Callable[[str], Location],
        details: DetailsPanel,
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._parse = parse
        self._parent = parent
        self._entry: Entry | None = None
        self._request: OpenRequest | None = None
        self._here: Places = ()
        self._every: tuple[OpenRequest, ...] = ()
        self.share = ShareActions(viewer, parent)
        self.share.failed.connect(self.failed)
        self.share.status_changed.connect(self.status_changed)
        self.open = make_action("Open", self._open, self)
        self.choose = make_action("Open…", self._choose, self)
        self.labels = make_action("Open labels only", self._open_labels, self)
        self.region = make_action("Open region…", self._open_region, self)
        self.open_menu = QMenu("Open", parent)
        self.open_menu.addActions([self.open, self.choose, self.labels, self.region])
        self.copies = [
            make_action(name, partial(self._copy, name), self) for name in _COPIES
        ]
        self.copy_menu = QMenu("Copy", parent)
        self.copy_menu.addActions(self.copies)
        self.copy_menu.addSeparator()
        self.copy_menu.addActions([*self.share.links, self.share.signed])
        self.table = make_action("Labels table…", self._add_table, self)
        self.download = make_action("Download…", self._download, self)
        self.upload = make_action("Upload here…", self._upload, self)
        self.new_folder = make_action("New folder…", self._make_folder, self)
        self.rename = make_action("Rename…", self._rename, self)
        self.delete = make_action("Delete…", self._delete, self)
        self.tabs = [
            make_action(text, partial(details.show_tab, page), self)
            for text, page in (
                ("View a chunk, speed test", details.chunk),
                ("Validate", details.validation),
                ("Raw metadata", details.metadata),
            )
        ]
        self.set_row(None, None, ())

    def set_row(
        self,
        entry: Entry | None,
        request: OpenRequest | None,
        here: Places,
        every: Sequence[OpenRequest] = (),
    ) -> None:
        """Offer what can be done with a row of the places that are shown.

        `every` are all rows that are chosen, where there are several.
        """
        self._entry, self._request, self._here = entry, request, here
        self._every = tuple(every) or ((request,) if request is not None else ())
        opens = entry is not None and (entry.is_openable or entry.looks_like_store)
        is_file = entry is not None and entry.kind is EntryKind.FILE
        is_bucket = entry is not None and entry.kind is EntryKind.BUCKET
        for action in (self.open, self.choose, self.region):
            action.setEnabled(opens)
        self.labels.setEnabled(entry is not None and entry.kind in _WITH_LABELS)
        for action, name in zip(self.copies, _COPIES, strict=True):
            action.setEnabled(bool(request and _COPIES[name](request.location)))
        self.copy_menu.setEnabled(request is not None)
        shared = request if opens or is_file else None
        self.share.set_location(shared.location if shared else None, is_file=is_file)
        self.download.setEnabled(entry is not None and not is_bucket)
        self.upload.setEnabled(folder_for(entry, here) is not None)
        self.new_folder.setEnabled(self.upload.isEnabled())
        changes = entry is not None and not is_bucket and bool(entry.location.path)
        self.rename.setEnabled(changes and len(self._every) == 1)
        self.delete.setEnabled(changes)
        for action in self.tabs:
            action.setEnabled(entry is not None)

    def menu(self, extra: list[QAction]) -> QMenu:
        """Make the menu of a row, with further actions at its end."""
        menu = QMenu("Row", self._parent)
        menu.addActions(self.open_menu.actions())
        menu.addSeparator()
        menu.addMenu(self.copy_menu)
        menu.addSeparator()
        menu.addActions(extra)
        return menu

    def _open(self) -> None:
        for request in self._every:
            self.open_wanted.emit(request)

    def _open_labels(self) -> None:
        if self._request is not None:
            self.open_wanted.emit(replace(self._request, labels_only=True))

    def _choose(self) -> None:
        if self._request is not None:
            self.choose_wanted.emit(self._request.location)

    def _open_region(self) -> None:
        if self._request is not None:
            self.region_wanted.emit(self._request)

    def _copy(self, name: str) -> None:
        texts = [_COPIES[name](request.location) for request in self._every]
        found = [text for text in texts if text]
        if found:
            copy_to_clipboard("\n".join(found))
            count = f"{len(found)} times " if len(found) > 1 else ""
            self.status_changed.emit(f"{name} {count}copied.")

    def _add_table(self) -> None:
        if self._viewer is None:
            sentence = "There is no viewer with labels."
            self.failed.emit(OptionError(sentence, action="Open labels first."))
            return
        entry = self._entry
        is_table = entry is not None and entry.name.lower().endswith(_TABLES)
        place = entry.location if entry is not None and is_table else None
        TableForm(self._viewer, self._parse, place=place, parent=self._parent).show()

    def _download(self) -> None:
        if len(self._every) > 1:
            choose_folder(self._parent, "Download into", self._download_into)
        elif self._entry is not None:
            source = self._entry.location
            CopyForm(self._parse, source=source, parent=self._parent).show()

    def _download_into(self, folder: str) -> None:
        """Take all rows that are chosen into the list of transfers."""
        keep_browser_preferences(downloads=folder)
        for request in self._every:
            place = request.location
            transfers().add(place, Location.parse(Path(folder)) / place.name)

    def _in_use(self) -> frozenset[str]:
        return (
            places_of(self._viewer.layers) if self._viewer is not None else frozenset()
        )

    def _make_folder(self) -> None:
        folder = folder_for(self._entry, self._here)
        if folder is not None:
            folder_form(folder, self._parent).show()

    def _rename(self) -> None:
        if self._entry is not None:
            rename_form(self._entry.location, self._in_use(), self._parent).show()

    def _delete(self) -> None:
        places = [request.location for request in self._every]
        if places:
            DeleteForm(places, self._in_use(), self._parent).show()

    def _upload(self) -> None:
        folder = folder_for(self._entry, self._here)
        CopyForm(self._parse, folder=folder, parent=self._parent).show()


class ActionBar(QWidget):
    """One line of buttons for a row, each with its menu."""

    def __init__(self, actions: RowActions, parent: QWidget) -> None:
        super().__init__(parent)
        self.show_files = QAction("Show files", self)
        self.show_files.setCheckable(True)
        self.show_files.setToolTip("Every object as it is stored, also in images")
        self.bookmark = QAction("Bookmark this place", self)
        self.bookmark.setToolTip("Keep it with the connection that is chosen")
        self.more_menu = QMenu("More", self)
        self.more_menu.addActions([self.show_files, self.bookmark])
        self.more_menu.addMenu(actions.share.menu)
        self.more_menu.addSeparator()
        self.more_menu.addActions([actions.table, actions.download, actions.upload])
        self.more_menu.addSeparator()
        self.more_menu.addActions([actions.new_folder, actions.rename, actions.delete])
        self.more_menu.addSeparator()
        self.more_menu.addActions(actions.tabs)
        self._open = actions.open
        self.open_button = QPushButton("Open", self)
        self.open_button.setAccessibleName("Open the row as layers")
        self.open_button.clicked.connect(actions.open.trigger)
        actions.open.changed.connect(self._enable_open)
        self._enable_open()
        ways = menu_button(actions.open_menu, self)
        ways.setText("▾")
        ways.setAccessibleName("More ways to open")
        self.save_button = QPushButton("Save here…", self)
        self.save_button.setToolTip("Save layers into this place")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.open_button)
        layout.addWidget(ways)
        layout.addWidget(self.save_button)
        layout.addWidget(menu_button(actions.copy_menu, self))
        layout.addWidget(menu_button(self.more_menu, self))
        layout.addStretch()

    def _enable_open(self) -> None:
        self.open_button.setEnabled(self._open.isEnabled())
