"""What a person is told: the only door to napari's notifications, and to the canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
)
from qtpy.QtCore import QEvent, QObject, QPoint, Qt
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication, QLabel, QMainWindow, QWidget

from napari_omezarr.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Action = tuple[str, Callable[..., Any]]


class _Said(Notification):  # type: ignore[misc]  # napari is not typed there
    """What this plugin says: napari shows from whom it is beside its buttons."""

    @property
    def source(self) -> str:
        """The name, in the place of the object that passes it on."""
        return "OME-Zarr"


def show_info(text: str, *actions: Action) -> None:
    """Tell something; an action is the text of a button and what it does."""
    _show(text, NotificationSeverity.INFO, actions)


def show_warning(text: str) -> None:
    """Tell what may matter."""
    _show(text, NotificationSeverity.WARNING, ())


def show_error(text: str, *actions: Action) -> None:
    """Tell what went wrong, and what may be done about it."""
    _show(text, NotificationSeverity.ERROR, actions)


def _show(text: str, severity: NotificationSeverity, actions: Sequence[Action]) -> None:
    """Show a notification: its first line, and all of it when it is unfolded."""
    notification_manager.dispatch(_Said(plain(text), severity, actions))


# A small sign in a corner of the canvas, and the window that it lies on.

_GAP = 8
_STYLE = (
    "QLabel { background: rgba(0, 0, 0, 150); color: white; border-radius: 3px;"
    " padding: 2px 6px; } "
)


def main_window() -> QMainWindow | None:
    """Return the main window that the person works in; None where none is shown."""
    owner: QObject | None = QApplication.activeWindow()
    while owner is not None and not isinstance(owner, QMainWindow):
        owner = owner.parent()
    # Not every window manager says which window is active.
    tops = QApplication.topLevelWidgets()
    shown = (w for w in tops if isinstance(w, QMainWindow) and w.isVisible())
    return owner or next(shown, None)


class CanvasSign(QLabel):
    """Says something over the picture; a link in it calls a function.

    It takes no place of anything: it lies above, and goes when nothing is said. What
    `canvas` holds beside the picture, like the sliders below it, stays free.
    """

    def __init__(self, canvas: QWidget, *, at_top: bool = False) -> None:
        super().__init__(canvas)
        self._at_top = at_top
        self._follow: Callable[[str], object] | None = None
        picture: QWidget | None = canvas.findChild(QOpenGLWidget)
        self._picture = canvas if picture is None else picture
        self.setStyleSheet(_STYLE)
        self.setAccessibleName("What the canvas is waiting for")
        self.hide()
        self.linkActivated.connect(self._activate)
        self._picture.installEventFilter(self)

    def say(self, text: str, follow: Callable[[str], object] | None = None) -> None:
        """Show a text, in which a link calls `follow`; an empty one hides it."""
        self._follow = follow
        rich = Qt.TextFormat.RichText if follow else Qt.TextFormat.PlainText
        self.setTextFormat(rich)
        self.setAttribute(
            Qt.WidgetAttribute.WA_TransparentForMouseEvents, follow is None
        )
        # Tab comes here too, where there is a link to be followed.
        flags = Qt.TextInteractionFlag
        links = flags.LinksAccessibleByMouse | flags.LinksAccessibleByKeyboard
        self.setTextInteractionFlags(links if follow else flags.NoTextInteraction)
        if text != self.text():
            self.setText(text)
            self._place()
        self.setVisible(bool(text))
        if text:
            self.raise_()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Stay in the corner."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _place(self) -> None:
        canvas, picture = self.parentWidget(), self._picture
        if canvas is None:
            return
        widest = max(50, picture.width() - 2 * _GAP)
        self.setMaximumWidth(widest)
        # In lines, where the canvas is too narrow for one.
        self.setWordWrap(False)
        if self.sizeHint().width() > widest:
            self.setWordWrap(True)
            self.resize(widest, self.heightForWidth(widest))
        else:
            self.adjustSize()
        top = _GAP if self._at_top else picture.height() - self.height() - _GAP
        corner = QPoint(_GAP, top)
        self.move(corner if picture is canvas else picture.mapTo(canvas, corner))

    def _activate(self, link: str) -> None:
        if self._follow is not None:
            self._follow(link)


def canvas_sign(name: str, *, at_top: bool = False) -> CanvasSign | None:
    """Give the sign of a name on the canvas that the person sees, made once."""
    window = main_window()
    canvas: QWidget | None = window.centralWidget() if window is not None else None
    if canvas is None:
        return None
    found: CanvasSign | None = canvas.findChild(CanvasSign, name)
    if found is None:
        found = CanvasSign(canvas, at_top=at_top)
        found.setObjectName(name)
    return found
