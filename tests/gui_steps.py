"""What the tests of the napari door do again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QMimeData, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDropEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytestqt.qtbot import QtBot

PLUGIN = "napari-omezarr"
NAMES = ["Nuclei", "Membranes", "nuclei"]
"""The first words of the layers of the sample image."""


def until(qtbot: QtBot, condition: Callable[[], object]) -> None:
    """Run the event loop until something is so; a slow machine gets its time."""
    qtbot.waitUntil(lambda: bool(condition()), timeout=60_000)


def names(layers: Any) -> list[str]:
    """The first word of each layer's name."""
    return [layer.name.split()[0] for layer in layers]


def dropped(mime: QMimeData) -> QDropEvent:
    """What Qt sends to a widget on which something is let go."""
    return QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )


def drop(viewer: Any, *addresses: str) -> None:
    """Drop links on the viewer, as a browser does."""
    mime = QMimeData()
    mime.setUrls([QUrl(address) for address in addresses])
    viewer.window._qt_viewer.dropEvent(dropped(mime))


def every_turn(action: Callable[[], object]) -> QTimer:
    """Call something whenever the event loop runs, until the timer is stopped."""
    timer = QTimer()
    timer.timeout.connect(action)
    timer.start(1)
    return timer
