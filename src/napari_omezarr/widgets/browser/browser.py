"""The browser: one place at a time, its rows, what is known of one, what to do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QModelIndex, QPoint, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.widgets.open_dialog import copied_text, mime_text
from napari_omezarr.widgets.qt_async import Task, app_events, failure

from .actions import ActionBar, RowActions, RowTools
from .connection_editor import ConnectionEditor
from .details import DetailsPanel
from .errors import ErrorBar, ErrorPanel, StatusLine
from .forms import OpenForm, find_choices
from .header import Header
from .navigation import Navigation
from .opener import (
    Opener,
    OpenRequest,
    folder_for,
    open_request,
    save_into,
    show_region,
)
from .start_page import StartPage
from .tree_view import EntryTree

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari.components import ViewerModel
    from qtpy.QtGui import QDragEnterEvent, QDropEvent, QKeyEvent

    from napari_omezarr.connections import Connection
    from napari_omezarr.location import Location

    from .errors import ErrorAction
    from .forms import Choices

# The browser: one place at a time, its rows, what is known of one, what to do.


class Browser(QWidget):
    """Walks places, shows what is there, and opens it in a viewer.

    Parameters
    ----------
    viewer : ViewerModel, optional
        Gets the layers; without one nothing is opened.
    parent : QWidget, optional
        Its owner.
    """

    def __init__(
        self, viewer: ViewerModel | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._finding: Task | None = None
        self._region: OpenRequest | None = None
        self.header = Header(self)
        self.tree = EntryTree(self)
        self.start_page = StartPage(self)
        self.details = DetailsPanel(self)
        self.errors = ErrorBar(self)
        self.status = StatusLine(self)
        self.row_actions = RowActions(self)
        self.buttons = ActionBar(self.row_actions, self)
        self.tools = RowTools(viewer, self.header.chooser, self.details, self)
        self.tools.add_to(self.row_actions.copy_menu, self.buttons.more_menu)
        self.opener = Opener(viewer, self)
        self.walk = Navigation(self.header, self.tree, self)
        self.troubles = ErrorPanel(self.errors, self.header, self.walk, self)
        self.setMinimumWidth(300)
        self.setAcceptDrops(True)
        self._arrange()
        self._connect()
        self._connect_actions()
        self._move()

    def choose_part(self, location: Location) -> None:
        """Find out what a place holds, and let the person choose from it."""
        self._abandon()
        self._finding = Task(partial(find_choices, location))
        self._finding.start(self._show_choices, self)
        self.status.say(f"Looking at {location.name} …")

    def stop(self) -> None:
        """End everything that is under way."""
        self._abandon()
        self.opener.cancel()
        self.walk.stop()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Walk by keys, and cancel on Esc."""
        if event is None:
            return
        pressed = QKeySequence(event.keyCombination()).toString()
        action = {
            "F5": self.walk.reload,
            "Alt+Left": self.walk.back,
            "Alt+Up": self.walk.up,
            "Ctrl+L": self._edit_address,
            "Esc": self._escape,
        }.get(pressed)
        if action is None:
            super().keyPressEvent(event)
        else:
            action()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Accept links, files and text, but none of our own rows."""
        own = event is not None and event.source() is self.tree
        if event is not None and not own and mime_text(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Go where what is dropped says."""
        if event is not None:
            self.walk.take(mime_text(event.mimeData()))
            event.acceptProposedAction()

    def _arrange(self) -> None:
        self._pages = QStackedWidget(self)
        self._pages.addWidget(self.start_page)
        self._pages.addWidget(self.tree)
        self._parts = QSplitter(Qt.Orientation.Vertical, self)
        self._parts.addWidget(self._pages)
        self._parts.addWidget(self.details)
        self._parts.setStretchFactor(0, 3)
        self._parts.setStretchFactor(1, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(3)
        layout.addWidget(self.header)
        layout.addWidget(self._parts, stretch=1)
        for widget in (self.buttons, self.errors, self.status):
            layout.addWidget(widget)

    def _connect(self) -> None:
        tree, walk, rows = self.tree, self.walk, self.tree.rows
        tree.current.connect(self._show_row)
        tree.chosen.connect(self._open_row)
        tree.files_wanted.connect(lambda: self.buttons.show_files.setChecked(True))
        tree.customContextMenuRequested.connect(self._show_menu)
        rows.told.connect(self._show_state)
        rows.arrived.connect(lambda page: self.status.arrive(page.notes))
        walk.moved.connect(self._move)
        self.start_page.chosen.connect(walk.go)
        self.start_page.connection_chosen.connect(walk.use)
        self.start_page.forget_wanted.connect(walk.forget)
        self.start_page.paste_wanted.connect(lambda: walk.take(copied_text()))
        self.buttons.bookmark.triggered.connect(lambda: walk.bookmark())
        self.buttons.save_button.clicked.connect(self._save_here)
        self.buttons.show_files.toggled.connect(walk.show_files)
        self.header.edit_wanted.connect(
            lambda: self._edit_connection(self.header.chooser.connection)
        )
        self.troubles.edit_wanted.connect(self._edit_connection)
        self.status.cancel.clicked.connect(self.stop)
        app_events().written.connect(walk.hear_of)

    def _connect_actions(self) -> None:
        for failed in (
            self.tree.rows.failed,
            self.walk.failed,
            self.row_actions.failed,
            self.tools.failed,
            self.tools.share.failed,
        ):
            failed.connect(self.troubles.show)
        self.troubles.hear_opener(self.opener)
        self.troubles.hear_panel(self.details)
        for source in (self.walk, self.row_actions, self.details, self.tools.share):
            source.said.connect(self.status.say)
        self.row_actions.open_wanted.connect(self.opener.open)
        self.details.open_wanted.connect(self.opener.open)
        self.row_actions.choose_wanted.connect(self.choose_part)
        self.row_actions.region_wanted.connect(self._open_region)
        self.opener.changed.connect(self._show_state)
        self.opener.many.connect(lambda wish, _: self.choose_part(wish.location))
        self.opener.opened.connect(self._end_opening)

    def _move(self) -> None:
        """Another place is shown, or the start page."""
        self.errors.clear()
        self.status.begin()
        walking = bool(self.walk.here)
        if not walking:
            self.start_page.fill(self.walk.known)
        self._pages.setCurrentWidget(self.tree if walking else self.start_page)
        self.buttons.setVisible(walking)
        self.buttons.bookmark.setEnabled(self.walk.can_bookmark)

    def _show_row(self, index: QModelIndex) -> None:
        entry = self.tree.rows.entry(index)
        self.row_actions.set_row(entry, self._wish(index))
        self.tools.set_row(entry, self._wish(index), self.walk.here)
        if entry is None:
            self.details.clear()
        else:
            self.details.display(entry.location, entry)

    def _wish(self, index: QModelIndex) -> OpenRequest | None:
        rows = self.tree.rows
        entry = rows.entry(index)
        if entry is None:
            return None
        return open_request(entry, rows.entry_above(index), index.row())

    def _open_row(self, index: QModelIndex) -> None:
        wish = self._wish(index)
        if wish is not None:
            self.opener.open(wish)

    def _show_menu(self, spot: QPoint) -> None:
        viewport: Any = self.tree.viewport()
        menu = self.row_actions.menu(self.buttons.more_menu.actions())
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(viewport.mapToGlobal(spot))

    def _show_state(self) -> None:
        rows, opener = self.tree.rows, self.opener
        self.status.show_state(busy=rows.busy, opening=opener.names, spent=rows.spent)

    def _show_choices(self, outcome: Future[Choices]) -> None:
        self._finding = None
        self._show_state()
        error = failure(outcome)
        if error is not None:
            self.troubles.show(error)
            return
        form = OpenForm(outcome.result(), self)
        form.wanted.connect(self.opener.open)
        form.show()

    def _open_region(self, wish: OpenRequest) -> None:
        self._region = wish
        self.opener.open(wish)

    def _end_opening(self, wish: OpenRequest) -> None:
        self.walk.refill()
        if wish is self._region:
            show_region(self._viewer)

    def _save_here(self) -> None:
        folder = folder_for(self.tree.entry, self.walk.here)
        if folder is not None:
            save_into(self._viewer, folder)

    def _edit_connection(
        self, connection: Connection | None, remedy: ErrorAction | None = None
    ) -> None:
        own = connection in self.walk.known.own
        editor = ConnectionEditor(connection, stored=own, parent=self)
        editor.saved.connect(self._take_connection)
        editor.show()
        editor.form.point_to(remedy)

    def _take_connection(self, name: str, said: str) -> None:
        """Offer connections anew; one that was saved is gone to."""
        self.walk.refill()
        connection = self.walk.known.find(name)
        if connection is not None:
            self.header.chooser.select(connection)
            self.walk.use(connection)
        self.status.say(said)

    def _escape(self) -> None:
        self.errors.clear()
        self.stop()

    def _edit_address(self) -> None:
        self.header.address.setFocus()
        self.header.address.selectAll()

    def _abandon(self) -> None:
        if self._finding is not None:
            self._finding.abandon()
            self._finding = None
