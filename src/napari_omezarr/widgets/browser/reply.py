"""An answer of the I/O loop, handed over in the GUI thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal

from napari_omezarr.errors import OMEZarrError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

pending: set[Reply] = set()
"""The answers that did not come yet: in the GUI thread they must be deleted."""


class Reply(QObject):
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
