"""A save in a thread: its progress in napari's activity dock, and its end by signal."""

from __future__ import annotations

from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from napari.utils import cancelable_progress
from qtpy.QtCore import QObject, QTimer, Signal

from napari_omezarr.errors import TargetInUseError

from .job import Job
from .news import news
from .session import main_window

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from napari_omezarr.writing import Progress

    Work = Callable[[Callable[[Progress], None], Event], Any]

TICK = 100
"""Milliseconds between looks at how far a save is."""

under_way: dict[str, Saving] = {}
"""The saves that have not ended, by what they save to."""


class Saving(QObject):
    """One save, until it has ended; make it and start it in the GUI thread.

    Parameters
    ----------
    address : str
        What it saves to, without secrets.
    work : callable
        Saves, given a function to tell its progress to and an event that asks it to
        stop. It runs in a thread and must not touch a widget or a layer.

    Attributes
    ----------
    progress : Progress or None
        How far it is.
    """

    progressed = Signal(object)
    """A `Progress`, some times a second."""
    ended = Signal(object)
    """The outcome, a finished `Future`."""

    def __init__(self, address: str, work: Work) -> None:
        super().__init__()
        self.address = address
        self.progress: Progress | None = None
        self._work = work
        self._cancel = Event()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancel.is_set()

    def start(self) -> None:
        """Start the thread.

        Raises
        ------
        TargetInUseError
            Another save to the same place is under way.
        """
        if self.address in under_way:
            raise TargetInUseError(
                f"{self.address} is being saved to already.",
                action="Wait until that has ended, or cancel it.",
                url=self.address,
            )
        under_way[self.address] = self
        name = self.address.rpartition("/")[2]
        self._bar = cancelable_progress(desc=f"Saving {name}", total=0)
        window = main_window()
        if window is not None:
            window.destroyed.connect(self._leave)
        self._timer.start(TICK)
        Job(partial(self._work, self._note, self._cancel)).start(self._end)

    def cancel(self) -> None:
        """Ask it to stop after the blocks in work; it ends a little later."""
        self._cancel.set()

    def _note(self, progress: Progress) -> None:
        """Remember how far it is; called in the thread."""
        self.progress = progress

    def _tick(self) -> None:
        if self._bar.is_canceled:
            self.cancel()
        if self.progress is None:
            return
        if self._bar.total != self.progress.total:
            self._bar.total = self.progress.total
        self._bar.update(self.progress.done - self._bar.n)
        self.progressed.emit(self.progress)

    def _end(self, outcome: Future[Any]) -> None:
        self._timer.stop()
        self._bar.close()
        under_way.pop(self.address, None)
        self.ended.emit(outcome)
        # A save that broke off has left something there, too.
        news().written.emit(self.address)

    def _leave(self) -> None:
        """Stop, because the window went; what is done is kept for resuming."""
        self.cancel()
        self._timer.stop()
