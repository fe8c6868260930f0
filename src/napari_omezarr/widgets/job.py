"""A blocking function in a thread, whose outcome is handed over in the GUI thread."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import ExitStack
from threading import Thread
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_omezarr._io_loop import Stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

running: set[Job] = set()
"""The jobs whose end the GUI thread has not seen: in it they must be deleted."""


class Job(QObject):
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

    def start(self, callback: Callable[[Future[Any]], None] | None = None) -> Job:
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
