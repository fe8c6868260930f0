"""Waiting for a job in the GUI thread while the window lives on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEventLoop, Qt
from qtpy.QtWidgets import QApplication, QProgressDialog

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
    loop = QEventLoop()
    job.on_end(lambda _: loop.quit())
    dialog = _progress_dialog(text)
    dialog.canceled.connect(loop.quit)
    if not job.outcome.done():
        loop.exec()
    ended = job.outcome.done()
    if not ended:
        job.abandon()
    dialog.hide()
    dialog.deleteLater()
    return ended


def _progress_dialog(text: str) -> QProgressDialog:
    dialog = QProgressDialog(text, "Cancel", 0, 0, QApplication.activeWindow())
    dialog.setWindowTitle("OME-Zarr")
    dialog.setWindowModality(Qt.WindowModality.WindowModal)
    dialog.setMinimumDuration(SHOWN_AFTER)
    dialog.setMinimumWidth(300)
    return dialog
