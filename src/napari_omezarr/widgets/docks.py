"""The docks of ours in napari's window: those in one column are tabs of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from .fields import show_focus
from .preferences import PLUGIN

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from qtpy.QtGui import QShowEvent


class Dock(QWidget):
    """What napari docks; where another one of ours is, it is a tab beside that.

    napari puts a dock below those that are there, which leaves the third one some
    lines. A dock that the person has put elsewhere stays where it is: only the new
    one moves, once, and within its column.
    """

    tab = ""
    """What its tab says, the word that tells it from the others first."""

    def __init__(self) -> None:
        super().__init__()
        show_focus()
        # Once it has its place in the window, which it has not when it is shown.
        self._joining: QTimer | None = QTimer(self)
        self._joining.setSingleShot(True)
        self._joining.timeout.connect(self._join)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Become a tab when shown for the first time."""
        super().showEvent(event)
        if self._joining is not None:
            self._joining.start(0)

    def _join(self) -> None:
        self._joining = None
        dock, window = dock_of(self), self.window()
        if dock is None or not isinstance(window, QMainWindow):
            return  # it stands alone, or floats
        dock.setWindowTitle(self.tab)
        area = window.dockWidgetArea(dock)
        for other in window.findChildren(QDockWidget):
            is_near = other.isVisible() and window.dockWidgetArea(other) == area
            if (
                other is not dock
                and is_near
                and not other.isFloating()
                and other.findChildren(Dock)
            ):
                window.tabifyDockWidget(other, dock)
                dock.raise_()
                return


def dock_of(widget: QWidget) -> QDockWidget | None:
    """Give the dock of napari's that a widget lies in."""
    above: QWidget | None = widget
    while above is not None and not isinstance(above, QDockWidget):
        above = above.parentWidget()
    return above


def add_dock(viewer: ViewerModel | None, name: str) -> Any:
    """Bring up a dock of ours by its name; None where a viewer has no window."""
    window = getattr(viewer, "window", None)
    if window is None:
        return None
    dock, widget = window.add_plugin_dock_widget(PLUGIN, name)
    # It may be there already: closed, or behind another tab.
    dock.show()
    dock.raise_()
    return widget
