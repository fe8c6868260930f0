"""Where a call comes from, as far as Qt and napari can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QApplication, QMainWindow

if TYPE_CHECKING:
    from qtpy.QtCore import QObject


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
