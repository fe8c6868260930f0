"""The one bridge from threads and the I/O loop to the GUI thread, and waiting there."""

from __future__ import annotations

import gc
import logging
import sys
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, suppress
from functools import cache, partial
from importlib import import_module
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any
from weakref import ref

import napari
from napari.qt import get_current_stylesheet
from qtpy.compat import isalive
from qtpy.QtCore import QEventLoop, QObject, Qt, QThread, QTimer, Signal
from qtpy.QtWidgets import QApplication, QProgressDialog

from napari_omezarr._io_loop import Stop, io_loop, oldest_garbage_waits
from napari_omezarr.display.notifications import main_window, show_error
from napari_omezarr.doors import as_ours
from napari_omezarr.errors import OMEZarrError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    Callback = Callable[[Future[Any]], None]

_log = logging.getLogger(__name__)

PAUSE = 200
"""Milliseconds without another question before a `DebouncedTask` begins."""
SHOWN_AFTER = 500
"""Milliseconds before the progress dialog shows; most openings are over by then."""

_GIVING_WAY, _FIRST = 0.0005, 2000
"""How long, in seconds, another thread may make the window wait while it comes first,
and for how many milliseconds it does."""
_PAINTED = 1
"""Milliseconds of a timer that ends after the paint events that wait already."""
_AT_LATEST = 1.0
"""Seconds after which what waits for that goes on, even if no event loop runs."""
_FILLING = 10.0
"""For how many seconds of a plate's first picture Python's oldest garbage waits."""


def put_window_first(*, holds_reads: bool = False) -> None:
    """Let other threads give way to the window's sooner, while layers are added.

    Each call of OpenGL lets go of Python's lock, and a thread that computes keeps that
    for 5 ms then; a first picture calls hundreds of times. Garbage is not collected
    before the layers are painted: all threads stand still for 0.2 s when Python goes
    through all of napari's objects. With `holds_reads` no chunks are asked for until
    then either, as of a plate, whose hundreds of wells keep a processor busy; and as
    these make so many objects that Python would go through all of napari's again and
    again, only young garbage is collected while they come.
    """
    before = sys.getswitchinterval()
    if before > _GIVING_WAY:
        sys.setswitchinterval(_GIVING_WAY)
        QTimer.singleShot(_FIRST, lambda: sys.setswitchinterval(before))
    if gc.isenabled():
        gc.disable()
        QTimer.singleShot(_PAINTED, lambda: gc.enable())
        loop = io_loop()
        loop.call_soon_threadsafe(loop.call_later, _AT_LATEST, gc.enable)
    if holds_reads:
        # It imports zarr and dask, which a first wait for them must not wait for.
        from napari_omezarr.display import shared_engine

        fetcher = shared_engine().fetcher
        fetcher.hold(_AT_LATEST)
        QTimer.singleShot(_PAINTED, lambda: fetcher.hold(0))
        filled = ExitStack()
        filled.enter_context(oldest_garbage_waits())
        io_loop().call_soon_threadsafe(io_loop().call_later, _FILLING, filled.close)


# The hop into the GUI thread. What other threads hold is a number and never anything
# of Qt: the last of them to let go of an object of Qt would delete it there.

pending: dict[int, GuiCallback] = {}
"""Those that were not delivered yet, by their numbers; for the GUI thread alone."""

OWNERS_CHECKED = 50
"""Milliseconds between looks at whether the owners of those are still there."""

_numbers = count(1)


class GuiCallback:
    """Hands a future that is done to a callback, in the GUI thread; made there."""

    def __init__(self, future: Future[Any]) -> None:
        self.future = future
        self._callback: Callback | None = None
        self._owner: ref[QObject] | None = None

    @property
    def is_owned(self) -> bool:
        """Whether there is a widget without which nobody wants the result."""
        return self._owner is not None

    @property
    def is_orphan(self) -> bool:
        """Whether there was one, and it is gone."""
        return self._owner is not None and is_gone(self._owner)

    def abandon(self) -> None:
        """Cancel what was asked; the callback is not called any more."""
        self._callback = None
        self.future.cancel()

    def deliver(self) -> None:
        """Call back, unless nobody wants it any more."""
        # Let go of it, for it leads to an owner that may lead here.
        callback, self._callback = self._callback, None
        if callback is not None and not (self.is_orphan or self.future.cancelled()):
            callback(self.future)

    def _watch(self, callback: Callback | None, owner: QObject | None) -> None:
        self._callback, number = callback, next(_numbers)
        pending[number] = self
        if owner is not None:
            self._owner = ref(owner)
            _bridge().watch_owners()
        self.future.add_done_callback(partial(_announce, _bridge(), number))


class Bridge(QObject):
    """Brings numbers of futures that are done into the GUI thread; is never deleted.

    It also ends what is asked when its owner goes: by looking, and not by the owner's
    signal `destroyed`. PySide calls a slot of that while the owner is taken apart, and
    what the slot belongs to may be gone by then.
    """

    done = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        # Queued, for a future that is done already must not call back at once.
        self.done.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        self._looks = QTimer(self)
        self._looks.setInterval(OWNERS_CHECKED)
        self._looks.timeout.connect(self._abandon_orphans)

    def watch_owners(self) -> None:
        """Look from now on, for as long as anything has an owner."""
        if not self._looks.isActive():
            self._looks.start()

    def _deliver(self, number: int) -> None:
        pending.pop(number).deliver()

    def _abandon_orphans(self) -> None:
        for callback in [one for one in pending.values() if one.is_orphan]:
            callback.abandon()
        if not any(one.is_owned for one in pending.values()):
            self._looks.stop()


@cache
def _bridge() -> Bridge:
    return Bridge()


def _announce(bridge: Bridge, number: int, _: Future[Any]) -> None:
    # At the end of the program Qt may be gone before the threads are.
    with suppress(RuntimeError):
        bridge.done.emit(number)


def is_gone(reference: ref[Any]) -> bool:
    """Say whether an object is gone, or what is left is no more than its wrapper."""
    found = reference()
    return found is None or not isalive(found)  # type: ignore[no-untyped-call]


class FutureWatcher(GuiCallback):
    """Waits for a future of the I/O loop; it is cancelled when the owner goes.

    The callback is never called for a future that was cancelled.
    """

    def __init__(
        self, future: Future[Any], callback: Callback, owner: QObject | None
    ) -> None:
        super().__init__(future)
        self._watch(callback, owner)


class Task(GuiCallback):
    """One call of a blocking function, in a thread; it must touch no widget or layer.

    The thread is a daemon, other than those of Qt's or Python's pools: an address
    that does not answer must not hold up napari's exit.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(Future())
        self._function = function
        self._stop = Stop()

    def start(
        self, callback: Callback | None = None, owner: QObject | None = None
    ) -> Task:
        """Start; the owner is the widget without which nobody wants the result."""
        # Only its requests can be cancelled; the function ends by itself.
        self.future.set_running_or_notify_cancel()
        self._watch(callback, owner)
        # Nothing of self, which may lead to widgets.
        work = partial(_work, self._function, self._stop, self.future)
        Thread(target=work, name="napari-omezarr task", daemon=True).start()
        return self

    def abandon(self) -> None:
        """End its requests, and let it end unheard."""
        super().abandon()
        self._stop.say()


def _work(function: Callable[[], Any], stop: Stop, future: Future[Any]) -> None:
    with ExitStack() as stack:
        stack.push(partial(_keep_failure, future))
        stack.enter_context(stop.heeded())
        future.set_result(function())


def _keep_failure(
    future: Future[Any],
    _kind: type[BaseException] | None,
    error: BaseException | None,
    _traceback: TracebackType | None,
) -> bool:
    if error is not None:
        ends = isinstance(error, CancelledError) or not isinstance(error, Exception)
        future.set_exception(error if ends else as_ours(error))
    return error is not None


class Latest:
    """What a thread has told last; a thread may hold it, for it is nothing of Qt."""

    def __init__(self) -> None:
        self.told: Any = None

    def note(self, *told: Any) -> None:
        """Remember one value, or several as a tuple; called in the thread."""
        self.told = told[0] if len(told) == 1 else told


class DebouncedTask(QObject):
    """Asks in a thread, after a pause; only the latest question is answered."""

    def __init__(self, callback: Callback, parent: QObject) -> None:
        super().__init__(parent)
        self._callback = callback
        self._prepare: Callable[[], Callable[[], Any] | None] | None = None
        self._task: Task | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._timer.timeout.connect(self._begin)

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._prepare is not None or self._task is not None

    def ask(self, prepare: Callable[[], Callable[[], Any] | None]) -> None:
        """Ask, in place of what was asked before.

        ``prepare`` gives the question, in the GUI thread and only when it is time to
        ask: a person types faster than layers are described. None asks nothing.
        """
        self.forget()
        self._prepare = prepare
        self._timer.start()

    def forget(self) -> None:
        """Give up what was asked."""
        self._prepare = None
        self._timer.stop()
        if self._task is not None:
            self._task.abandon()
            self._task = None

    def _begin(self) -> None:
        prepare, self._prepare = self._prepare, None
        question = prepare() if prepare is not None else None
        if question is not None:
            self._task = Task(question).start(self._deliver, self)

    def _deliver(self, outcome: Future[Any]) -> None:
        self._task = None
        self._callback(outcome)


def failure(future: Future[Any]) -> OMEZarrError | None:
    """Return the error that a person is to read, if any."""
    error = future.exception()
    return None if error is None else as_ours(error)


# Errors that a slot lets through.


def keep_alive() -> None:
    """Let an exception in a slot be told, and napari live on.

    PyQt ends the process if Python's own hook is in place, and napari replaces that
    only when it begins to run: not yet while its command line opens an image.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _told


def _told(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if not isinstance(error, Exception) or not event_loop_runs():
        sys.__excepthook__(kind, error, trace)
        return
    ours = isinstance(error, OMEZarrError)
    said = str(as_ours(error))
    _log.error(said, exc_info=None if ours else (kind, error, trace))
    show_error(said)


keep_alive()


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


# Waiting for a task in the GUI thread while the window lives on.


def wait_for(task: Task, text: str) -> bool:
    """Wait until a task ends; False when the person cancels, or napari quits.

    A reader must return its layers, so it cannot hand over to signals: napari is in
    the middle of ``viewer.open``. The wait runs Qt's events meanwhile: the window
    paints, timers tick, and after half a second a dialog with `text` offers to
    cancel. It is modal to the window, for nobody should drop a second image or close
    the viewer while napari is opening the first.
    """
    loop, timer, looks = QEventLoop(), QTimer(), QTimer()
    dialogs: list[QProgressDialog] = []
    watcher = FutureWatcher(task.future, lambda _: loop.quit(), None)
    timer.setSingleShot(True)
    timer.timeout.connect(lambda: dialogs.append(_offer_to_cancel(text, loop)))
    timer.start(SHOWN_AFTER)
    # The window, if it is closed meanwhile, takes its dialog with it.
    looks.timeout.connect(lambda: None if all(map(isalive, dialogs)) else loop.quit())
    looks.start(OWNERS_CHECKED)
    if not task.future.done():
        loop.exec()
    for each in (timer, looks):
        each.stop()
    watcher.abandon()
    with suppress(RuntimeError):
        for dialog in dialogs:
            dialog.hide()
            dialog.deleteLater()
    ended = task.future.done()
    if not ended:
        task.abandon()
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
    dialog.show()
    return dialog


def wait_for_import(module: str) -> bool:
    """Import a module in a thread; False when the person has cancelled the wait.

    zarr, aiohttp and the rest take a second or more, once: the first address that a
    person drops would freeze napari for as long.
    """
    if module in sys.modules:
        return True
    return wait_for(Task(partial(import_module, module)).start(), "Starting OME-Zarr …")


# What one part of the window has done, for whoever shows it.


class AppEvents(QObject):
    """Signals between docks that do not know each other; all in the GUI thread."""

    saving = Signal(object)
    """A `Saving` that has begun."""
    written = Signal(str)
    """The address, without secrets, of an image or a copy that was written."""
    edited = Signal()
    """Pixels were written back, or taken back, or that has failed."""


@cache
def app_events() -> AppEvents:
    """Return the one for this process."""
    return AppEvents()
