"""What one part of the window has done, for whoever shows it."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import cache, partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any

import napari
from napari.qt import get_current_stylesheet
from qtpy.QtCore import QEventLoop, QObject, Qt, QThread, QTimer, Signal
from qtpy.QtWidgets import QApplication, QMainWindow, QProgressDialog

from napari_omezarr._io_loop import Stop
from napari_omezarr.errors import OMEZarrError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

# A blocking function in a thread, whose outcome is handed over in the GUI thread.

running: set[Task] = set()
"""The jobs whose end the GUI thread has not seen: in it they must be deleted."""


class Task(QObject):
    """One call of a function, in a thread of its own.

    Make it in the GUI thread. The thread is a daemon, other than those of Qt's or
    Python's pools: an address that does not answer must not hold up napari's exit.

    Parameters
    ----------
    function : callable
        Blocks; must not touch a widget or a layer.

    Attributes
    ----------
    outcome : Future
        What the function returned or raised.
    """

    _ended = Signal()

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__()
        self.outcome: Future[Any] = Future()
        self._function = function
        self._callback: Callable[[Future[Any]], None] | None = None
        self._stop = Stop()
        self._ended.connect(self._deliver)

    def start(self, callback: Callable[[Future[Any]], None] | None = None) -> Task:
        """Start; `callback` gets the outcome later, in the GUI thread."""
        self._callback = callback
        running.add(self)
        Thread(target=self._run, name="napari-omezarr job", daemon=True).start()
        return self

    def on_end(self, callback: Callable[[Future[Any]], None]) -> None:
        """Have another function called instead, unless the end was delivered."""
        self._callback = callback

    def abandon(self) -> None:
        """End its requests, and let it end unheard."""
        self._callback = None
        self._stop.say()

    def _run(self) -> None:
        with ExitStack() as stack:
            stack.push(self._keep_failure)
            stack.enter_context(self._stop.heeded())
            self.outcome.set_result(self._function())
        self._ended.emit()

    def _keep_failure(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        if error is not None:
            self.outcome.set_exception(error)
        return error is not None

    def _deliver(self) -> None:
        running.discard(self)
        if self._callback is not None:
            self._callback(self.outcome)


# One question at a time, of which only the latest answer counts.

PAUSE = 200
"""Milliseconds without another question before one is asked."""


class DebouncedTask(QObject):
    """Asks in a thread, after a pause; a question that is out of date is given up.

    Parameters
    ----------
    hear : callable
        Is given the outcome, in the GUI thread.
    parent : QObject
        Its owner.

    Attributes
    ----------
    jobs : list of Job
        The question that is being asked; its owner abandons it when it goes.
    """

    def __init__(self, hear: Callable[[Future[Any]], None], parent: QObject) -> None:
        super().__init__(parent)
        self._hear = hear
        self._prepare: Callable[[], Callable[[], Any] | None] | None = None
        self.jobs: list[Task] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._begin)

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._prepare is not None or bool(self.jobs)

    def ask(self, prepare: Callable[[], Callable[[], Any] | None]) -> None:
        """Ask, in place of what was asked before.

        Parameters
        ----------
        prepare : callable
            Gives the question, in the GUI thread and only when it is time to ask:
            a person types faster than layers are described. None asks nothing.
        """
        self.forget()
        self._prepare = prepare
        self._timer.start(PAUSE)

    def forget(self) -> None:
        """Want no answer."""
        self._prepare = None
        self._timer.stop()
        for job in self.jobs:
            job.abandon()
        self.jobs.clear()

    def _begin(self) -> None:
        prepare, self._prepare = self._prepare, None
        question = prepare() if prepare is not None else None
        if question is not None:
            job = Task(question)
            # It goes with its owner; then nobody listens any more.
            self.destroyed.connect(job.abandon)
            self.jobs.append(job.start(self._deliver))

    def _deliver(self, outcome: Future[Any]) -> None:
        self.jobs.clear()
        self._hear(outcome)


# An answer of the I/O loop, handed over in the GUI thread.

pending: set[FutureWatcher] = set()
"""The answers that did not come yet: in the GUI thread they must be deleted."""


class FutureWatcher(QObject):
    """Waits for a future of the core without a thread; make it in the GUI thread.

    Parameters
    ----------
    future : concurrent.futures.Future
        What was asked.
    callback : callable
        Gets the future when it is done, in the GUI thread; never if it was
        cancelled, or if the answer was dropped.
    owner : QObject
        Whose method the callback is: the answer is dropped when it goes.
    """

    _came = Signal()

    def __init__(
        self,
        future: Future[Any],
        callback: Callable[[Future[Any]], None],
        owner: QObject,
    ) -> None:
        super().__init__()
        self._future = future
        self._callback: Callable[[Future[Any]], None] | None = callback
        # Queued, for an answer that is there already must not come inside this call.
        self._came.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        pending.add(self)
        # A method of ours, which nothing collects while it waits; a closure that only
        # Qt knows may be cleared before its widget goes, and Qt would call it.
        owner.destroyed.connect(self.drop)
        future.add_done_callback(self._tell)

    def drop(self) -> None:
        """Cancel what was asked; its answer is not heard any more."""
        self._callback = None
        self._future.cancel()

    def _tell(self, _: Future[Any]) -> None:
        self._came.emit()

    def _deliver(self) -> None:
        pending.discard(self)
        if self._callback is not None and not self._future.cancelled():
            self._callback(self._future)


def failure(future: Future[Any]) -> OMEZarrError | None:
    """Give the error that a person is to read, if there is one.

    Raises
    ------
    BaseException
        What no core function raises on purpose: a defect, which must be seen.
    """
    error = future.exception()
    if error is None or isinstance(error, OMEZarrError):
        return error
    raise error


# Where a call comes from, as far as Qt and napari can tell.


def in_gui_of_viewer() -> bool:
    """Say whether this is the GUI thread of a process that has a viewer's window."""
    application = QApplication.instance()
    return (
        application is not None
        and QThread.currentThread() == application.thread()
        and napari.current_viewer() is not None
    )


def event_loop_runs() -> bool:
    """Say whether this thread is inside of its event loop, which goes on after us."""
    thread = QThread.currentThread()
    return thread is not None and thread.loopLevel() > 0


def main_window() -> QMainWindow | None:
    """Give the main window that the person works in; None where none is shown."""
    owner: QObject | None = QApplication.activeWindow()
    while owner is not None and not isinstance(owner, QMainWindow):
        owner = owner.parent()
    # Not every window manager says which window is active.
    tops = QApplication.topLevelWidgets()
    shown = (w for w in tops if isinstance(w, QMainWindow) and w.isVisible())
    return owner or next(shown, None)


# Waiting for a job in the GUI thread while the window lives on.

SHOWN_AFTER = 500
"""Milliseconds before the progress dialog shows; most openings are over by then."""


def wait_for(job: Task, text: str) -> bool:
    """Wait until a job ends or the person cancels.

    A reader must return its layers, so it cannot hand over to signals: napari is in
    the middle of ``viewer.open``. The wait runs Qt's events meanwhile: the window
    paints, timers tick, and after half a second a dialog offers to cancel. It is
    modal to the window, for nobody should drop a second image or close the viewer
    while napari is opening the first.

    Parameters
    ----------
    job : Job
        Started.
    text : str
        What is being waited for.

    Returns
    -------
    bool
        True when it has ended; False when it was cancelled, or napari quits.
    """
    loop, patience = QEventLoop(), QTimer()
    dialogs: list[QProgressDialog] = []
    job.on_end(lambda _: loop.quit())
    patience.setSingleShot(True)
    patience.timeout.connect(lambda: dialogs.append(_offer_to_cancel(text, loop)))
    patience.start(SHOWN_AFTER)
    if not job.outcome.done():
        loop.exec()
    patience.stop()
    # The window, if it was closed meanwhile, took its dialog with it.
    with suppress(RuntimeError):
        for dialog in dialogs:
            dialog.hide()
            dialog.deleteLater()
    ended = job.outcome.done()
    if not ended:
        job.abandon()
    return ended


def _offer_to_cancel(text: str, loop: QEventLoop) -> QProgressDialog:
    """Show a dialog that ends the loop when it is cancelled, or goes."""
    window = main_window()
    dialog = QProgressDialog(text, "Cancel", 0, 0, window)
    if window is None:
        dialog.setStyleSheet(get_current_stylesheet())
    dialog.setWindowTitle("OME-Zarr")
    dialog.setWindowModality(Qt.WindowModality.WindowModal)
    dialog.setMinimumWidth(300)
    dialog.canceled.connect(loop.quit)
    dialog.destroyed.connect(loop.quit)
    dialog.show()
    return dialog


# The libraries that opening and saving need, imported outside of the GUI thread.

_CORE = "napari_omezarr.layers"


def core_is_loaded() -> bool:
    """Import what opening needs; see `is_loaded`."""
    return is_loaded(_CORE)


def is_loaded(module: str) -> bool:
    """Import zarr, aiohttp and the rest in a thread, while the window lives on.

    It takes a second or more, once: the first address that a person drops would
    freeze napari for as long.

    Parameters
    ----------
    module : str
        What needs them.

    Returns
    -------
    bool
        False when the person has cancelled the wait.
    """
    if module in sys.modules:
        return True
    return wait_for(Task(partial(import_module, module)).start(), "Starting OME-Zarr …")


# What one part of the window has done, for whoever shows it.


class AppEvents(QObject):
    """Is told of writing, and tells it on; all in the GUI thread."""

    written = Signal(str)
    """The address, without secrets, of an image or a copy that was written."""


@cache
def app_events() -> AppEvents:
    """Give the one for this process."""
    return AppEvents()
