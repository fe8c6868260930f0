"""The dialog "Open OME-Zarr…": one line for any address, and the recent places."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari.qt import get_current_stylesheet
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
)

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.location import parse_many
from napari_omezarr.user_files import Recents

from .address_line import AddressLine
from .job import Job
from .recent_list import RecentList
from .session import main_window

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari.components import ViewerModel
    from qtpy.QtGui import QCloseEvent, QKeyEvent
    from qtpy.QtWidgets import QWidget

    from napari_omezarr.location import Location

    from .opening import Opened

_shown: dict[QWidget | None, OpenDialog] = {}
"""By the window they lie on. Python would drop one that lies on none."""


class OpenDialog(QDialog):
    """Opens what is typed, pasted, dropped or chosen, without blocking anything.

    Enter opens, Down goes to the recent places, Esc cancels what is being opened,
    and closes the dialog when nothing is. Errors are said inside.

    Parameters
    ----------
    viewer : ViewerModel
        Gets the layers.
    parent : QWidget, optional
        The window that it lies on.
    """

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._jobs: list[Job] = []
        self._failures: list[str] = []
        self.setWindowTitle("Open OME-Zarr")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(300)
        self.line = AddressLine(self)
        self.recent = RecentList(Recents(), self)
        self.message = QLabel(self)
        self.progress = QProgressBar(self)
        self.paste_button = QPushButton("Paste", self)
        self.open_button = QPushButton("Open", self)
        self.cancel_button = QPushButton("Close", self)
        self._arrange()
        self._connect()
        self._set_busy(False)
        self.resize(560, 320)

    @property
    def busy(self) -> bool:
        """Whether something is being opened."""
        return bool(self._jobs)

    def open_address(self) -> None:
        """Open what the line says; answers come later, by signal."""
        if self.busy:
            return
        self._failures.clear()
        try:
            locations = parse_many(self.line.address_text())
        except OMEZarrError as error:
            self._say(str(error))
            return
        if not locations:
            self._say("There is no address. Paste one, or choose a recent place.")
            return
        self._say("")
        jobs = [Job(partial(_open, location)) for location in locations]
        self._jobs.extend(jobs)
        for job in jobs:
            # A window that closes takes the dialog with it, without a close event.
            self.destroyed.connect(job.abandon)
            job.start(partial(self._receive, job))
        self._set_busy(True)

    def cancel(self) -> None:
        """Give up what is being opened."""
        _abandon(self._jobs)
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
        _abandon(self._jobs)
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
        layout.addWidget(self.message)
        layout.addWidget(self.recent)
        layout.addLayout(buttons)
        self.open_button.setDefault(True)
        for button in (self.paste_button, self.cancel_button):
            button.setAutoDefault(False)

    def _connect(self) -> None:
        self.paste_button.clicked.connect(self.line.paste_address)
        self.open_button.clicked.connect(self.open_address)
        self.cancel_button.clicked.connect(self.reject)
        self.line.textChanged.connect(self.recent.narrow)
        self.recent.chosen.connect(self._open_recent)

    def _open_recent(self, address: str) -> None:
        self.line.set_address(address)
        self.open_address()

    def _receive(self, job: Job, outcome: Future[Opened]) -> None:
        self._jobs.remove(job)
        error = outcome.exception()
        if isinstance(error, OMEZarrError):
            self._failures.append(str(error))
        else:
            from .opening import make_layers

            for layer in make_layers([outcome.result()]):
                self._viewer.add_layer(layer)
        self._say("\n".join(self._failures))
        if self.busy:
            return
        self._set_busy(False)
        if not self._failures:
            self.close()

    def _set_busy(self, busy: bool) -> None:
        self.progress.setVisible(busy)
        self.open_button.setEnabled(not busy)
        self.recent.setEnabled(not busy)
        self.cancel_button.setText("Cancel" if busy else "Close")

    def _say(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))


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


def _open(location: Location) -> Opened:
    # Imported here, in the job's thread: the first time it takes a second or more.
    from .opening import open_place

    return open_place(location)


def _abandon(jobs: list[Job]) -> None:
    for job in jobs:
        job.abandon()
    jobs.clear()
