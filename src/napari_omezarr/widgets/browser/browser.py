"""The browser: one place at a time, its rows, what is known of one, what to do."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QModelIndex, QPoint, QSize, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_omezarr.connections import SERVED
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.plain_text import bytes_text, counted, plain
from napari_omezarr.store import brief
from napari_omezarr.widgets.fields import show_focus
from napari_omezarr.widgets.open_dialog import copied_text, mime_text
from napari_omezarr.widgets.preferences import (
    browser_preferences,
    keep_browser_preferences,
)
from napari_omezarr.widgets.qt_async import Task, app_events, failure
from napari_omezarr.widgets.sessions import show_view
from napari_omezarr.widgets.transfers import TransferList

from .actions import ActionBar, RowActions
from .connection_editor import ConnectionEditor
from .controls import MINIMUM_WIDTH, choose_folder
from .details import DetailsPanel
from .errors import ErrorPanel, bare_address
from .forms import OpenForm, find_choices
from .header import BrowserHeader
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
    from collections.abc import Sequence
    from concurrent.futures import Future

    from napari.components import ViewerModel
    from qtpy.QtGui import QDragEnterEvent, QDropEvent, QKeyEvent, QResizeEvent

    from napari_omezarr.connections import Connection
    from napari_omezarr.location import Location

    from .errors import ErrorAction
    from .forms import Choices


_MOST_FOR_ROWS = 0.45
"""The part of the height that rows get while details are shown."""


class Browser(QWidget):
    """Shows what is at a place and opens it in a viewer; without one opens nothing."""

    def __init__(
        self, viewer: ViewerModel | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        show_focus()
        self._viewer = viewer
        self._choices: Task | None = None
        self._region: OpenRequest | None = None
        self.header = BrowserHeader(self)
        self.tree = EntryTree(self)
        self.start_page = StartPage(self)
        self.details = DetailsPanel(self)
        self.navigation = Navigation(self.header, self.tree, self)
        self.row_actions = RowActions(
            viewer, self.navigation.locate, self.details, self
        )
        self.buttons = ActionBar(self.row_actions, self)
        self.buttons.more_menu.addSeparator()
        self.buttons.more_menu.addMenu(self.tree.columns.menu)
        self.errors = ErrorPanel(self.header, self.navigation, self)
        self.status = StatusLine(self)
        self.opener = Opener(viewer, self)
        self.transfers = TransferList(self)
        self.setMinimumWidth(MINIMUM_WIDTH)
        self.setAcceptDrops(True)
        self._arrange()
        self._connect_navigation()
        self._connect_actions()
        self._show_move()

    def choose_part(self, location: Location) -> None:
        """Find out what a place holds, and let the person choose from it."""
        self._abandon_choices()
        self._choices = Task(partial(find_choices, location))
        self._choices.start(self._show_choices, self)
        self.status.show_message(f"Looking at {location.name} …")

    def stop(self) -> None:
        """End everything that is under way."""
        self._abandon_choices()
        self.opener.cancel()
        self.navigation.stop()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Navigate by keys, and cancel on Esc."""
        if event is None:
            return
        pressed = QKeySequence(event.keyCombination()).toString()
        action = {
            "F5": self.navigation.reload,
            "F2": self.row_actions.rename.trigger,
            "Del": self.row_actions.delete.trigger,
            "Alt+Left": self.navigation.back,
            "Alt+Up": self.navigation.up,
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
            self.navigation.go_to_pasted(mime_text(event.mimeData()))
            event.acceptProposedAction()

    def _arrange(self) -> None:
        self._pages = QStackedWidget(self)
        self._pages.addWidget(self.start_page)
        self._pages.addWidget(self.tree)
        self.splitter = RowsAndDetails(self._pages, self.tree, self.details, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(3)
        layout.addWidget(self.header)
        layout.addWidget(self.splitter, stretch=1)
        for widget in (self.buttons, self.errors, self.transfers, self.status):
            layout.addWidget(widget)

    def _connect_navigation(self) -> None:
        tree, navigation, rows = self.tree, self.navigation, self.tree.rows
        tree.current.connect(self._show_row)
        tree.chosen.connect(self._open_row)
        tree.selected.connect(self._offer_actions)
        for signal in (tree.expanded, tree.collapsed, rows.rowsInserted):
            signal.connect(self._share_height)
        tree.files_wanted.connect(lambda: self.buttons.show_files.setChecked(True))
        tree.customContextMenuRequested.connect(self._show_menu)
        rows.changed.connect(self._show_state)
        rows.arrived.connect(lambda page: self.status.arrive(page.notes))
        navigation.moved.connect(self._show_move)
        navigation.view_wanted.connect(self._show_view)
        start = self.start_page
        start.chosen.connect(navigation.go)
        start.connection_chosen.connect(navigation.go_to_connection)
        start.forget_wanted.connect(navigation.forget)
        start.folder_wanted.connect(self._choose_folder)
        start.paste_wanted.connect(lambda: navigation.go_to_pasted(copied_text()))
        self.buttons.bookmark.triggered.connect(lambda: navigation.bookmark())
        self.buttons.show_files.toggled.connect(navigation.show_files)
        self.header.edit_wanted.connect(
            lambda: self._edit_connection(self.header.chooser.connection)
        )
        app_events().written.connect(navigation.show_written)

    def _connect_actions(self) -> None:
        for part in (self.tree.rows, self.navigation, self.row_actions):
            part.failed.connect(self.errors.show_error)
        self.errors.watch_opener(self.opener)
        self.errors.watch_details(self.details)
        self.errors.edit_wanted.connect(self._edit_connection)
        for source in (self.navigation, self.row_actions):
            source.status_changed.connect(self.status.show_message)
        self.status.cancel.clicked.connect(self.stop)
        self.row_actions.open_wanted.connect(self.opener.open)
        self.details.open_wanted.connect(self.opener.open)
        self.row_actions.choose_wanted.connect(self.choose_part)
        self.row_actions.region_wanted.connect(self._open_region)
        self.buttons.save_button.clicked.connect(self._save_here)
        self.opener.changed.connect(self._show_state)
        self.opener.many.connect(lambda request: self.choose_part(request.location))
        self.opener.opened.connect(self._end_opening)

    def _show_move(self) -> None:
        """Show another place, or the start page."""
        self.errors.clear()
        self.status.begin()
        has_place = bool(self.navigation.here)
        if not has_place:
            self.start_page.fill(self.navigation.known_places)
        self._pages.setCurrentWidget(self.tree if has_place else self.start_page)
        self.buttons.setVisible(has_place)
        self.buttons.bookmark.setEnabled(self.navigation.can_bookmark)

    def _show_row(self, index: QModelIndex) -> None:
        entry = self.tree.rows.entry(index)
        self._offer_actions()
        if entry is None:
            self.details.clear()
        else:
            self.details.display(entry)
            self.splitter.share()

    def _share_height(self, *_: object) -> None:
        """Give rows that came, or went, the height that they need."""
        self.splitter.share()

    def _offer_actions(self) -> None:
        """Offer what can be done with the rows that are chosen."""
        index = self.tree.currentIndex()
        found = map(self._request, self.tree.chosen_rows())
        every = [request for request in found if request is not None]
        self.row_actions.set_row(
            self.tree.rows.entry(index),
            self._request(index),
            self.navigation.here,
            every,
        )

    def _request(self, index: QModelIndex) -> OpenRequest | None:
        rows = self.tree.rows
        entry = rows.entry(index)
        if entry is None:
            return None
        return open_request(entry, rows.parent_entry(index), rows.number(index))

    def _open_row(self, index: QModelIndex) -> None:
        """Open a row, or all that are chosen together with it."""
        chosen = self.tree.chosen_rows()
        for each in chosen if index.siblingAtColumn(0) in chosen else [index]:
            request = self._request(each)
            if request is not None:
                self.opener.open(request)

    def _show_menu(self, position: QPoint) -> None:
        viewport: Any = self.tree.viewport()
        menu = self.row_actions.menu(self.buttons.more_menu.actions())
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(viewport.mapToGlobal(position))

    def _show_state(self) -> None:
        rows, opener = self.tree.rows, self.opener
        self.status.show_state(busy=rows.busy, opening=opener.names, spent=rows.spent)

    def _show_choices(self, outcome: Future[Choices]) -> None:
        self._choices = None
        self._show_state()
        error = failure(outcome)
        if error is not None:
            self.errors.show_error(error)
            return
        form = OpenForm(outcome.result(), self)
        form.wanted.connect(self.opener.open)
        form.show()

    def _open_region(self, request: OpenRequest) -> None:
        self._region = request
        self.opener.open(request)

    def _end_opening(self, request: OpenRequest) -> None:
        self.navigation.refill()
        if request is self._region:
            show_region(self._viewer)

    def _save_here(self) -> None:
        folder = folder_for(self.tree.entry, self.navigation.here)
        if folder is not None:
            save_into(self._viewer, folder)

    def _edit_connection(
        self,
        connection: Connection | None,
        action: ErrorAction | None = None,
        refused: Location | None = None,
    ) -> None:
        own = connection in self.navigation.known_places.own
        editor = ConnectionEditor(connection, stored=own, parent=self)
        editor.saved.connect(partial(self._take_connection, refused))
        editor.show()
        editor.form.focus_field(action)

    def _take_connection(self, refused: Location | None, name: str, done: str) -> None:
        """Offer connections anew, and go to one that was saved, or where it is for."""
        self.navigation.refill()
        connection = self.navigation.known_places.find(name)
        if connection is not None:
            self.header.chooser.select(connection)
            if refused is not None and refused.protocol in SERVED:
                self.navigation.go(connection.locate(bare_address(refused)))
            else:
                self.navigation.go_to_connection(connection)
        self.status.show_message(done)

    def _show_view(self, address: str) -> None:
        if self._viewer is not None:
            try:
                show_view(self._viewer, address)
            except OMEZarrError as error:
                self.errors.show_error(error)
            else:
                self.header.address.show_again()

    def _choose_folder(self) -> None:
        choose_folder(self, "Folder", self.navigation.go_to_pasted)

    def _escape(self) -> None:
        self.errors.clear()
        self.stop()

    def _edit_address(self) -> None:
        self.header.address.setFocus()
        self.header.address.selectAll()

    def _abandon_choices(self) -> None:
        if self._choices is not None:
            self._choices.abandon()
            self._choices = None


class RowsAndDetails(QSplitter):
    """Gives the rows what they need and the details the rest, until it is moved.

    Where the person has moved it to is remembered.
    """

    def __init__(
        self, pages: QWidget, tree: EntryTree, details: DetailsPanel, parent: QWidget
    ) -> None:
        super().__init__(Qt.Orientation.Vertical, parent)
        self._tree, self._details = tree, details
        self._part = browser_preferences().get("rows")
        self.addWidget(pages)
        self.addWidget(details)
        self.setStretchFactor(0, 0)
        self.setStretchFactor(1, 1)
        self.setChildrenCollapsible(False)
        self.splitterMoved.connect(lambda *_: self._keep())

    def share(self) -> None:
        """Share the height out, when details come or there is another height."""
        height = sum(self.sizes())
        if self._details.isHidden() or height <= 0:
            return
        if self._details.is_brief:
            above = height - self._details.sizeHint().height()
        elif isinstance(self._part, float):
            above = round(self._part * height)
        else:
            above = min(self._tree.needed_height(), round(_MOST_FOR_ROWS * height))
        self.setSizes([above, height - above])

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Share anew."""
        super().resizeEvent(event)
        self.share()

    def _keep(self) -> None:
        self._part = self.sizes()[0] / max(1, sum(self.sizes()))
        keep_browser_preferences(rows=self._part)


class StatusLine(QWidget):
    """Says how many requests a place took; a button ends what is going on."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label: QLabel = QElidingLabel(parent=self)
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.cancel = QPushButton("Cancel", self)
        self.cancel.setAccessibleName("Cancel what is going on (Esc)")
        self._begun = monotonic()
        self._seconds: float | None = None
        self._notes: tuple[str, ...] = ()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 0, 2, 0)
        layout.addWidget(self.label, stretch=1)
        layout.addWidget(self.cancel)
        self.cancel.hide()

    def minimumSizeHint(self) -> QSize:
        """Keep the height of the button also while it is hidden.

        Otherwise the rows above move, and one more of them becomes visible and is
        probed, whenever something begins or ends.
        """
        height = self.cancel.sizeHint().height()
        return super().minimumSizeHint().expandedTo(QSize(0, height))

    def begin(self) -> None:
        """Start the clock, for another place is asked."""
        self._begun, self._seconds = monotonic(), None
        self._notes = ()

    def arrive(self, notes: Sequence[str]) -> None:
        """Stop the clock, for the first rows are there; keep how they were had."""
        self._notes = tuple(map(brief, notes))
        if self._seconds is None:
            self._seconds = monotonic() - self._begun

    def show_message(self, text: str) -> None:
        """Show a sentence, until something else is to be shown."""
        self.label.setText(text)
        self.label.setToolTip(plain(text))

    def show_state(
        self, *, busy: bool, opening: Sequence[str], spent: tuple[int, int]
    ) -> None:
        """Show what is going on; `spent` is requests and bytes."""
        self.cancel.setVisible(busy or bool(opening))
        text = status_text(busy, opening, spent, self._seconds)
        self.show_message(" · ".join(part for part in (text, *self._notes) if part))


def status_text(
    busy: bool,
    opening: Sequence[str],
    spent: tuple[int, int],
    seconds: float | None,
) -> str:
    """Put into words what is going on.

    `spent` is requests and bytes; `seconds` were from the first of them to rows.
    """
    if opening:
        return f"Opening {', '.join(opening)} …"
    requests, received = spent
    parts = [counted(requests, "request")] if requests else []
    if received:
        parts.append(bytes_text(received))
    if seconds is not None:
        parts.append(f"{seconds * 1000:,.0f} ms")
    return f"{'○' if busy else '●'} {' · '.join(parts)}" if parts else ""
