"""What can be done with a row: the same actions on buttons and in its menu."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QAction, QGuiApplication
from qtpy.QtWidgets import QMenu

from napari_omezarr.browsing import (
    Kind,
    Viewer,
    check_public,
    https_address,
    plain_address,
    python_snippet,
    s3_address,
    share_link,
    start,
)
from napari_omezarr.errors import OptionError

from .reply import Reply, failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from qtpy.QtWidgets import QWidget

    from napari_omezarr.browsing import Entry, Publicity

    from .wish import Wish

_COPIES: dict[str, Callable[[Any], str]] = {
    "Address": plain_address,
    "s3:// address": s3_address,
    "Web address": https_address,
    "Python": python_snippet,
}
_LABELLED = (Kind.IMAGE, Kind.LEVELS, Kind.SERIES, Kind.SCENE, Kind.LABELS)


class RowActions(QObject):
    """The actions for the row that is chosen, and their menus.

    Parameters
    ----------
    parent : QWidget
        Owns the menus.
    """

    open_wanted = Signal(object)
    """A `Wish`."""
    choose_wanted = Signal(object)
    """A `Location`, of which the person wants to choose a part."""
    region_wanted = Signal(object)
    """A `Wish`, of which the person wants a region."""
    failed = Signal(object)
    """An `OMEZarrError`."""
    said = Signal(str)
    """What was done."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._wish: Wish | None = None
        self._asked: Reply | None = None
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

    def set_row(self, entry: Entry | None, wish: Wish | None) -> None:
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
                self._asked.drop()
            future = start(check_public(self._wish.location, viewer.address))
            self._asked = Reply(future, partial(self._receive, viewer), self)
            self.said.emit(f"Asking whether {viewer} may read it …")

    def _receive(self, viewer: Viewer, future: Future[Publicity]) -> None:
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
