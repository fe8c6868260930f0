"""One part of the panel, which asks only while somebody looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_omezarr.widgets.latest import Latest

from .reply import failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from qtpy.QtGui import QShowEvent

    from napari_omezarr.location import Location


class Pane(QWidget):
    """Knows a place, and what was answered about it; late answers are dropped.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.

    Attributes
    ----------
    location : Location or None
        What it is about.
    message : QLabel
        What is going on, or what went wrong.
    """

    failed = Signal(object)
    """An `OMEZarrError`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.location: Location | None = None
        self.message = plain_label(self)
        self.message.hide()
        self._asked = False
        self._latest = Latest(self._hear, self)

    @property
    def busy(self) -> bool:
        """Whether an answer is to come."""
        return self._latest.busy

    def set_location(self, location: Location | None) -> None:
        """Be about another place; None is none, and ends what is under way."""
        if location == self.location and location is not None:
            return
        self._latest.forget()
        self.location = location
        self._asked = False
        self.say("")
        self.empty()
        if self.isVisible():
            self.look()

    def empty(self) -> None:
        """Show nothing of the place before."""

    def look(self) -> None:
        """Ask what is asked without being told to; nothing, if not overridden."""

    def answer(self, result: Any) -> None:
        """Show what was found out."""

    def ask(self, function: Callable[[], Any], saying: str) -> None:
        """Ask in a thread, in place of what was asked before.

        Parameters
        ----------
        function : callable
            Blocks; gives what `answer` gets.
        saying : str
            What is going on meanwhile.
        """
        self._asked = True
        self.say(saying)
        self._latest.ask(lambda: function)

    def say(self, text: str) -> None:
        """Say what is going on or what went wrong; nothing takes no room."""
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def showEvent(self, event: QShowEvent | None) -> None:
        """Ask when one looks here for the first time."""
        super().showEvent(event)
        if not self._asked:
            self.look()

    def _hear(self, outcome: Future[Any]) -> None:
        error = failure(outcome)
        self.say("" if error is None else f"✖ {error.sentence}")
        if error is None:
            self.answer(outcome.result())
        else:
            self.failed.emit(error)


def plain_label(parent: QWidget) -> QLabel:
    """Make a label for text that somebody else wrote; it may be copied by mouse."""
    label = QLabel(parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setMinimumWidth(1)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
