"""The dialog "Open OME-Zarr…": one line for any address, and the recent places."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari import current_viewer
from napari.qt import get_current_stylesheet
from npe2 import PluginManager
from qtpy.compat import isalive
from qtpy.QtCore import QMimeData, Qt, Signal
from qtpy.QtGui import QGuiApplication, QKeySequence
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.claims import is_view_address
from napari_omezarr.connections import sign_in_helps
from napari_omezarr.display.notifications import main_window
from napari_omezarr.errors import ImageChoiceError, OMEZarrError
from napari_omezarr.location import Location, parse_many
from napari_omezarr.plain_text import plain
from napari_omezarr.user_files import Recents

from .fields import show_focus, show_text, tab_as_laid_out
from .preferences import PLUGIN
from .qt_async import Task, wait_for_import

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from napari.components import ViewerModel
    from qtpy.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QKeyEvent

    from .open import Opened

# What of a plate is opened: wells, fields, an acquisition, in one row of a form.

_FIELDS = {
    "All fields": None,
    "On a grid": "grid",
    "One at a time": "each",
    "The first": 0,
}


class PlateChoice(QWidget):
    """Wells, fields and acquisition; all empty, a plate is opened as it is."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.wells = QLineEdit(self)
        self.wells.setAccessibleName("Wells of a plate")
        self.wells.setPlaceholderText("Of a plate: wells, like B  or  3  or  B3 C4")
        self.fields = QComboBox(self)
        self.fields.addItems(list(_FIELDS))
        self.fields.setToolTip("Which fields of each well")
        self.fields.setAccessibleName("Fields of each well")
        self.acquisition = QLineEdit(self)
        self.acquisition.setPlaceholderText("Acquisition")
        self.acquisition.setAccessibleName("Acquisition of a plate")
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.wells, 0, 0, 1, 2)
        layout.addWidget(self.fields, 1, 0)
        layout.addWidget(self.acquisition, 1, 1)

    def options(self) -> dict[str, Any]:
        """Give what was chosen, as options of reading."""
        acquisition: int | str | None = self.acquisition.text().strip() or None
        if isinstance(acquisition, str) and acquisition.isdecimal():
            acquisition = int(acquisition)
        return {
            **wells_named(self.wells.text().replace(",", " ").split()),
            "fields": _FIELDS[self.fields.currentText()],
            "acquisition": acquisition,
        }


def wells_named(words: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
    """Tell rows (letters), columns (digits) and wells (both) apart."""
    rows = tuple(word for word in words if word.isalpha())
    columns = tuple(word for word in words if word.isdecimal())
    wells = tuple(word for word in words if word not in (*rows, *columns))
    return {"rows": rows or None, "columns": columns or None, "wells": wells or None}


SEPARATOR = "  ·  "
"""Between the lines of a paste; shown only, for the lines are kept as they came."""

_ADDRESS = Qt.ItemDataRole.UserRole
_shown: dict[QWidget | None, OpenDialog] = {}
"""By the window they lie on. Python would drop one that lies on none."""

# One line that takes whatever a person pastes or drops, several addresses too.


class AddressLine(QLineEdit):
    """A line edit that keeps the lines of a paste apart."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: tuple[str, ...] = ()
        self.setPlaceholderText("Paste an address, a path, or a link to a viewer")
        self.setAccessibleName("Address")
        self.setClearButtonEnabled(True)

    def address_text(self) -> str:
        """Return what is to be parsed: the lines as pasted, or what was typed."""
        if self._lines and self.text() == SEPARATOR.join(self._lines):
            return "\n".join(self._lines)
        return self.text().strip()

    def set_address(self, text: str) -> None:
        """Replace what is there; each line that is not empty is an address."""
        stripped = (line.strip() for line in text.splitlines())
        self._lines = tuple(line for line in stripped if line)
        self.setText(SEPARATOR.join(self._lines))

    def paste_address(self) -> None:
        """Replace what is there by what the clipboard holds."""
        self.set_address(copied_text())

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Paste several lines as several addresses, all else as any line edit."""
        if event is not None and event.matches(QKeySequence.StandardKey.Paste):
            text = copied_text()
            if "\n" in text or not self.text():
                self.set_address(text)
                return
        super().keyPressEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Accept text, which napari's own canvas refuses, and links."""
        if event is not None and mime_text(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Take what is dropped in place of what was there."""
        if event is not None:
            self.set_address(mime_text(event.mimeData()))
            event.acceptProposedAction()


def copied_text() -> str:
    """Return what the clipboard holds as text; of files their paths."""
    clipboard = QGuiApplication.clipboard()
    return mime_text(clipboard.mimeData()) if clipboard is not None else ""


def mime_text(mime: QMimeData | None) -> str:
    """Return what was copied or dragged as text; of files their paths."""
    mime = mime or QMimeData()
    if not mime.hasUrls():
        return mime.text().strip()
    urls = mime.urls()
    return "\n".join(u.toLocalFile() if u.isLocalFile() else u.toString() for u in urls)


# The recent places in a list that narrows as the person types.


class RecentList(QListWidget):
    """Recent places; Enter or a double click chooses one, Delete forgets it."""

    chosen = Signal(str)
    """The address of the place that was chosen."""

    def __init__(self, recents: Recents, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._recents = recents
        self.setAccessibleName("Recent places; Enter opens one, Delete forgets it")
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.itemActivated.connect(lambda item: self.chosen.emit(item.data(_ADDRESS)))
        self.refill()

    def refill(self) -> None:
        """Read the places again."""
        self.clear()
        for entry in self._recents.entries():
            item = QListWidgetItem(Location.parse(entry.address).display, self)
            item.setData(_ADDRESS, entry.address)
            item.setToolTip(plain(f"{item.text()}\nlast opened {entry.opened}"))

    def narrow(self, text: str) -> None:
        """Show only the places that hold all words of a text, whatever their case."""
        words = text.lower().split()
        for item in self._items():
            place = item.text().lower()
            item.setHidden(not all(word in place for word in words))

    def first_shown(self) -> QListWidgetItem | None:
        """Return the topmost place that is shown."""
        return next((item for item in self._items() if not item.isHidden()), None)

    def _items(self) -> list[QListWidgetItem]:
        return self.findItems("*", Qt.MatchFlag.MatchWildcard)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Forget the current place on Delete."""
        item = self.currentItem()
        if item is not None and event is not None and event.key() == Qt.Key.Key_Delete:
            self._recents.remove(item.data(_ADDRESS))
            self.takeItem(self.row(item))
            return
        super().keyPressEvent(event)


# The dialog itself.


class OpenDialog(QDialog):
    """Opens what is typed, pasted, dropped or chosen, without blocking anything.

    Enter opens, Down goes to the recent places, Esc cancels what is being opened,
    and closes the dialog when nothing is. Errors are said inside. Of a store that
    is no image but holds some, it offers those.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        show_focus()
        self._viewer = viewer
        self._tasks: dict[Task, Location] = {}
        self._failures: list[str] = []
        self._offered: list[Location] = []
        self._text = ""
        self._asked: tuple[Location, ...] = ()
        self._refused: list[Location] = []
        self.setWindowTitle("Open OME-Zarr")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(300)
        self.line = AddressLine(self)
        self.system = QLineEdit(self)
        self.system.setPlaceholderText(
            "Coordinate system, if not the image's own (0.6)"
        )
        self.system.setClearButtonEnabled(True)
        self.system.setAccessibleName("Coordinate system")
        self.plate = PlateChoice(self)
        self.images = QListWidget(self)
        self.images.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)
        self.images.setAccessibleName("Images of this place")
        self.images.hide()
        self.recent = RecentList(Recents(), self)
        self.message = QLabel(self)
        self.progress = QProgressBar(self)
        self.paste_button = QPushButton("Paste", self)
        self.open_button = QPushButton("Open", self)
        self.sign_in_button = QPushButton("Sign in…", self)
        self.cancel_button = QPushButton("Close", self)
        self._arrange()
        self._connect()
        self._set_busy(False)
        self.resize(560, 320)

    @property
    def busy(self) -> bool:
        """Whether something is being opened."""
        return bool(self._tasks)

    def open_address(self) -> None:
        """Open what the line says; answers come later, by signal."""
        if self.busy:
            return
        self._failures.clear()
        if self._offered:
            rows = [index.row() for index in self.images.selectedIndexes()]
            self._start([self._offered[row] for row in sorted(rows)])
            return
        text = self._text = self.line.address_text()
        if is_view_address(text):
            self._open_view(text)
            return
        try:
            locations = without_own_labels(parse_many(text))
        except OMEZarrError as error:
            self._say(str(error))
            return
        if not locations:
            self._say("There is no address. Paste one, or choose a recent place.")
            return
        self._start(locations)

    def sign_in(self) -> None:
        """Sign in for what was refused; then go on there."""
        if self._refused:
            # As they stand in the line, however the answers came.
            refused = [place for place in self._asked if place in self._refused]
            sign_in(refused, self, self._start)

    def _open_view(self, address: str) -> None:
        if not wait_for_import("napari_omezarr.widgets.sessions"):
            return
        from .sessions import show_view

        try:
            show_view(self._viewer, address)
        except OMEZarrError as error:
            self._say(str(error))
        else:
            self.close()

    def offer(self, place: Location, error: ImageChoiceError) -> None:
        """Let the person choose from the images of a place; several, if she likes."""
        self._offered += [place / path for path in error.paths]
        self.images.addItems(error.paths)
        if not self.images.selectedItems():
            self.images.setCurrentRow(0)
        self._say(f"{error.sentence} Choose those to open.")
        self._show_offer(is_shown=True)
        self.images.setFocus()

    def _forget_offer(self) -> None:
        self._offered.clear()
        self.images.clear()
        self._show_offer(is_shown=False)

    def _show_offer(self, *, is_shown: bool) -> None:
        self.images.setVisible(is_shown)
        self.recent.setHidden(is_shown)

    def _start(self, locations: Sequence[Location]) -> None:
        self._say("")
        self._asked = tuple(locations)
        self._refused.clear()
        self._failures.clear()
        self._forget_offer()
        system = self.system.text().strip() or None
        for location in locations:
            task = Task(partial(_open, location, system, self.plate.options()))
            self._tasks[task] = location
        for task in list(self._tasks):
            task.start(partial(self._receive, task), self)
        self._set_busy(bool(self._tasks))

    def cancel(self) -> None:
        """Give up what is being opened."""
        self._abandon()
        self._say("Cancelled.")
        self._set_busy(False)

    def reject(self) -> None:
        """Cancel while busy, else close: what Esc and the button do."""
        if self.busy:
            self.cancel()
        else:
            super().reject()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Give up what is being opened, and close."""
        self._abandon()
        super().closeEvent(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Go from the line down to the recent places."""
        first = self.recent.first_shown()
        is_down = event is not None and event.key() == Qt.Key.Key_Down
        if is_down and self.line.hasFocus() and first is not None:
            self.recent.setCurrentItem(first)
            self.recent.setFocus()
            return
        super().keyPressEvent(event)

    def _arrange(self) -> None:
        address, buttons, layout = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        address.addWidget(self.line)
        address.addWidget(self.paste_button)
        buttons.addWidget(self.progress)
        buttons.addStretch()
        buttons.addWidget(self.sign_in_button)
        buttons.addWidget(self.cancel_button)
        buttons.addWidget(self.open_button)
        self.message.setWordWrap(True)
        self.message.setTextFormat(Qt.TextFormat.PlainText)
        self.message.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
        self.progress.setRange(0, 0)
        self.progress.setTextVisible(False)
        layout.addLayout(address)
        layout.addWidget(self.system)
        layout.addWidget(self.plate)
        layout.addWidget(self.message)
        layout.addWidget(self.images)
        layout.addWidget(self.recent)
        layout.addLayout(buttons)
        self.open_button.setDefault(True)
        for button in (self.paste_button, self.cancel_button, self.sign_in_button):
            button.setAutoDefault(False)
        tab_as_laid_out(self)

    def _connect(self) -> None:
        self.paste_button.clicked.connect(self.line.paste_address)
        self.open_button.clicked.connect(self.open_address)
        self.cancel_button.clicked.connect(self.reject)
        self.sign_in_button.clicked.connect(self.sign_in)
        self.line.textChanged.connect(self.recent.narrow)
        self.line.textChanged.connect(self._forget_offer)
        self.images.itemActivated.connect(self.open_address)
        self.recent.chosen.connect(self._open_recent)

    def _open_recent(self, address: str) -> None:
        self.line.set_address(address)
        self.open_address()

    def _abandon(self) -> None:
        for task in self._tasks:
            task.abandon()
        self._tasks.clear()

    def _receive(self, task: Task, outcome: Future[Opened]) -> None:
        place = self._tasks.pop(task)
        error = outcome.exception()
        if isinstance(error, ImageChoiceError):
            self.offer(place, error)
        elif isinstance(error, OMEZarrError):
            self._failures.append(str(error))
            if sign_in_helps(error, place):
                self._refused.append(place)
        else:
            from .open import add_layers
            from .sessions import restore_link

            layers = add_layers(self._viewer, outcome.result())
            restore_link(self._viewer, self._text, layers)
        if self._failures or not self._offered:
            self._say("\n".join(self._failures))
        if self.busy:
            return
        self._set_busy(False)
        if not (self._failures or self._offered):
            self.close()

    def _set_busy(self, busy: bool) -> None:
        self.progress.setVisible(busy)
        self.open_button.setEnabled(not busy)
        self.recent.setEnabled(not busy)
        self.cancel_button.setText("Cancel" if busy else "Close")
        self.sign_in_button.setVisible(bool(self._refused) and not busy)

    def _say(self, text: str) -> None:
        show_text(self.message, text)


def without_own_labels(places: Iterable[Location]) -> list[Location]:
    """Leave out labels of images that are named too: they come with their images."""
    found = list(places)
    images = [f"{place.display.rstrip('/')}/labels/" for place in found]
    return [p for p in found if not any(map(p.display.startswith, images))]


def sign_in(
    refused: Sequence[Location],
    parent: QWidget | None,
    go_on: Callable[[Sequence[Location]], object],
) -> None:
    """Bring up a sign-in for places that were refused; then go on with them."""
    # By its name: the form of connections is the browser's, which stands on this one.
    commands = PluginManager.instance().commands
    commands.execute(f"{PLUGIN}.sign_in", args=(refused, parent, go_on))


def show_open_dialog(viewer: ViewerModel) -> OpenDialog:
    """Show the dialog over the viewer's window, or bring back the one that is open."""
    window = main_window()
    dialog = _shown.get(window)
    if dialog is None or not isalive(dialog):  # type: ignore[no-untyped-call]
        dialog = _shown[window] = OpenDialog(viewer, window)
        if window is None:
            dialog.setStyleSheet(get_current_stylesheet())
    dialog.show()
    dialog.raise_()
    dialog.activateWindow()
    dialog.line.setFocus()
    return dialog


def offer_images(place: Location, error: ImageChoiceError) -> bool:
    """Show the images of a place in the dialog, if there is a viewer to open them."""
    viewer = current_viewer()
    if viewer is None:
        return False
    show_open_dialog(viewer).offer(place, error)
    return True


def _open(location: Location, system: str | None, of_plate: dict[str, Any]) -> Opened:
    # Imported here, in the task's thread: the first time it takes a second or more.
    from napari_omezarr.reading import ReadOptions

    from .open import open_place

    options = ReadOptions(coordinate_system=system, **of_plate)
    return open_place(location, options)
