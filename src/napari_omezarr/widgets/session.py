"""Where a call comes from, as far as Qt and napari can tell."""

from __future__ import annotations

import napari
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QApplication


def in_gui_of_viewer() -> bool:
    """Say whether this is the GUI thread of a process that has a viewer's window."""
    application = QApplication.instance()
    return (
        application is not None
        and QThread.currentThread() == application.thread()
        and napari.current_viewer() is not None
    )
