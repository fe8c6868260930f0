"""The form "Copy": an image byte for byte to another place, which can be resumed."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.browsing import Copied, Progress, copy_store, start
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.location import Location
from napari_omezarr.widgets.news import news
from napari_omezarr.widgets.region_text import bytes_text

from .pane import plain_label
from .place_line import PlaceLine
from .reply import Reply, failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

_BEAT = 200
"""Milliseconds between two looks at how far it is."""


class CopyForm(QDialog):
    """Copies down, up, or from bucket to bucket; not modal, and goes on when hidden.

    Parameters
    ----------
    parse : callable
        Makes a `Location` of what is typed.
    source : Location, optional
        What to copy; else the person says.
    folder : Location, optional
        Where it goes, below its own name; else the person says.
    parent : QWidget, optional
        Its owner.
    """

    def __init__(
        self,
        parse: Callable[[str], Location],
        *,
        source: Location | None = None,
        folder: Location | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._folder = folder
        self._copying: Reply | None = None
        self._progress: Progress | None = None
        self._begun = 0.0
        self._written = ""
        self.setWindowTitle("Copy byte for byte")
        self.setMinimumWidth(300)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.source = PlaceLine("From", parse, folders=True, parent=self)
        self.target = PlaceLine("To", parse, folders=True, parent=self)
        self.bar = QProgressBar(self)
        self.message = plain_label(self)
        self.start_button = QPushButton("&Copy", self)
        self.cancel_button = QPushButton("Close", self)
        self._timer = QTimer(self)
        self._timer.setInterval(_BEAT)
        self._arrange()
        self._timer.timeout.connect(self._show_progress)
        self.source.changed.connect(self._suggest)
        self.target.chosen.connect(self._take_folder)
        self.start_button.clicked.connect(self.copy)
        self.cancel_button.clicked.connect(self.cancel)
        self.source.set_place(source)

    @property
    def busy(self) -> bool:
        """Whether a copy is under way."""
        return self._copying is not None

    def copy(self) -> None:
        """Begin, or go on where an earlier copy ended."""
        if self.busy:
            return
        try:
            source, target = self.source.place(), self.target.place()
        except OMEZarrError as error:
            self._say(f"✖ {error}")
            return
        self._begun, self._progress = monotonic(), None
        self._written = target.display
        future = start(copy_store(source, target, progress=self._keep))
        self._copying = Reply(future, self._end, self)
        self._timer.start()
        self._say("Looking what there is …")
        self._show_state()

    def cancel(self) -> None:
        """End the copy, keeping what is done; without one, close."""
        if self._copying is None:
            self.close()
            return
        self._copying.drop()
        self._copying = None
        news().written.emit(self._written)
        self.start_button.setText("&Resume")
        self._say("Cancelled. What was copied is kept; Resume goes on.")
        self._show_state()

    def done(self, code: int) -> None:
        """Cancel on Esc first; close on the second."""
        if self.busy:
            self.cancel()
        else:
            super().done(code)

    def _keep(self, progress: Progress) -> None:
        """Note how far it is; called on the I/O loop, so it does nothing more."""
        self._progress = progress

    def _show_progress(self) -> None:
        if self._progress is None:
            return
        self.bar.setRange(0, 1000)
        self.bar.setValue(round(1000 * _fraction(self._progress)))
        self._say(progress_text(self._progress, monotonic() - self._begun))

    def _end(self, future: Future[Copied]) -> None:
        self._copying = None
        news().written.emit(self._written)
        error = failure(future)
        if error is None:
            self.start_button.setText("&Copy")
            self.bar.setRange(0, 1)
            self.bar.setValue(1)
            self._say(copied_text(future.result()))
        else:
            self.start_button.setText("&Resume")
            self._say(f"✖ {error}")
        self._show_state()

    def _show_state(self) -> None:
        busy = self.busy
        if not busy:
            self._timer.stop()
        elif self._progress is None:
            self.bar.setRange(0, 0)
        self.bar.setVisible(busy)
        self.cancel_button.setText("Cancel" if busy else "Close")
        for widget in (self.source, self.target, self.start_button):
            widget.setEnabled(not busy)

    def _say(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def _take_folder(self, folder: str) -> None:
        self._folder = Location.parse(folder)
        self._suggest()

    def _suggest(self) -> None:
        """Put it below its own name into the folder that is proposed."""
        if self._folder is None or not self.source.line.address_text():
            return
        try:
            name = self.source.place().name
        except OMEZarrError:
            return
        self.target.set_place(self._folder / name)

    def _arrange(self) -> None:
        layout, form, buttons = QVBoxLayout(self), QFormLayout(), QHBoxLayout()
        form.addRow("&From", self.source)
        form.addRow("&To", self.target)
        buttons.addStretch()
        buttons.addWidget(self.start_button)
        buttons.addWidget(self.cancel_button)
        layout.addLayout(form)
        layout.addWidget(self.message)
        layout.addWidget(self.bar)
        layout.addStretch()
        layout.addLayout(buttons)
        self.start_button.setDefault(True)
        for button in (self.cancel_button, self.source.browse, self.target.browse):
            button.setAutoDefault(False)
        self.bar.setAccessibleName("How far the copy is")
        self._show_state()


def progress_text(progress: Progress, seconds: float) -> str:
    """Say how far a copy is, and how fast.

    Parameters
    ----------
    progress : Progress
        What is done of all; a total of no bytes is one that is not known.
    seconds : float
        Since it began.
    """
    objects = f"{progress.objects:,} of {progress.all_objects:,} objects"
    done = bytes_text(progress.bytes)
    if progress.all_bytes:
        done = f"{done} of {bytes_text(progress.all_bytes)}"
    rate = f"{bytes_text(progress.bytes / seconds)}/s" if seconds > 0 else ""
    return ", ".join(part for part in (objects, done, rate) if part)


def copied_text(copied: Copied) -> str:
    """Say what a copy has done."""
    text = f"Copied {copied.objects:,} objects, {bytes_text(copied.bytes)}"
    before = f"; {copied.resumed:,} were there from before" if copied.resumed else ""
    return f"{text}, to {copied.target.display}{before}."


def _fraction(progress: Progress) -> float:
    if progress.all_bytes:
        return progress.bytes / progress.all_bytes
    return progress.objects / max(progress.all_objects, 1)
