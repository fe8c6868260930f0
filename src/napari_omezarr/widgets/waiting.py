"""Waiting for a job in the GUI thread while the window lives on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from napari.qt import get_current_stylesheet
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QProgressDialog

from .session import main_window

if TYPE_CHECKING:
    from .job import Job

SHOWN_AFTER = 500
"""Milliseconds before the progress dialog shows; most openings are over by then."""


def wait_for(job: Job, text: str) -> bool:
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
