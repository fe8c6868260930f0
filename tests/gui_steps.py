"""What the tests of the napari door do again and again."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import qtpy
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import (
    QDragEnterEvent,
    QDropEvent,
    QOffscreenSurface,
    QOpenGLContext,
)
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QLabel, QPushButton

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QWidget

PLUGIN = "napari-omezarr"
NAMES = ["Nuclei", "Membranes", "nuclei"]
"""The first words of the layers of the sample image."""


def until(qtbot: QtBot, condition: Callable[[], object]) -> None:
    """Run the event loop until something is so; a slow machine gets its time."""
    qtbot.waitUntil(lambda: bool(condition()), timeout=60_000)


def until_all_came(qtbot: QtBot, layer: Any) -> None:
    """Wait until nothing of a layer is on its way, what is read ahead included."""
    from napari_omezarr.display import shared_engine
    from napari_omezarr.display.napari_hook import _manager

    owners = _manager().registry.get(layer).view.owners
    until(qtbot, lambda: not shared_engine().fetcher.progress(*owners).pending)


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


def drag_onto(widget: QWidget, mime: QMimeData) -> None:
    """Drag something onto a widget, which takes it, and let it go there."""
    enter = QDragEnterEvent(
        # PyQt6 knows only the one, PySide6 warns that it is deprecated.
        QPointF(5, 5) if qtpy.PYSIDE6 else QPoint(5, 5),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    enter.ignore()
    QApplication.sendEvent(widget, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(widget, dropped(mime))


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


def cut_off(form: QWidget) -> list[str]:
    """The buttons, numbers and sentences that are shown without all of their text.

    What a form scrolls to is shown; nothing is that lies beside what it lies in.
    """
    shown = [each for each in form.findChildren(QPushButton) if each.isVisible()]
    buttons = [
        each.text()
        for each in shown
        if each.width() < each.sizeHint().width()
        or each.geometry().right() >= each.parentWidget().width()
        or each.mapTo(form, QPoint(each.width(), 0)).x() > form.width()
    ]
    numbers = [
        box.text()
        for box in form.findChildren(QAbstractSpinBox)
        if box.isVisible()
        and not (
            box.rect().contains(box.lineEdit().geometry())
            and box.fontMetrics().horizontalAdvance(box.text()) < box.lineEdit().width()
        )
    ]
    return [*buttons, *numbers] + [
        label.text()
        for label in form.findChildren(QLabel)
        if label.isVisible()
        and label.wordWrap()
        and label.height() < label.heightForWidth(label.width())
    ]


@cache
def spare_context() -> tuple[QOpenGLContext, QOffscreenSurface]:
    """Return a context of OpenGL that is never deleted, and where it draws."""
    context, surface = QOpenGLContext(), QOffscreenSurface()
    context.create()
    surface.create()
    return context, surface


def make_none_current() -> None:
    """Let no context of OpenGL be current; vispy leaves that of each canvas so."""
    # In place of the other one, which may be gone: it must not be looked at.
    context, surface = spare_context()
    if context.makeCurrent(surface):
        context.doneCurrent()
