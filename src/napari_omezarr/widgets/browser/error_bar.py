"""A bar for what went wrong: one sentence, and one button that does something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QGridLayout, QLabel, QPushButton, QToolButton

from .remedy import Remedy, remedy_for, words

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_omezarr.errors import OMEZarrError


class ErrorBar(QFrame):
    """Hidden while nothing is wrong; never a window of its own.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    asked = Signal(object)
    """The `Remedy` whose button was pressed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.error: OMEZarrError | None = None
        self.remedy = Remedy.NONE
        self.sentence = QLabel(self)
        self.sentence.setWordWrap(True)
        # A name may be one long word, which must not make the dock wide.
        self.sentence.setMinimumWidth(1)
        self.sentence.setTextFormat(Qt.TextFormat.PlainText)
        self.sentence.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
        self.button = QPushButton(self)
        self.close_button = QToolButton(self)
        self.close_button.setText("✕")
        self.close_button.setAutoRaise(True)
        self.close_button.setAccessibleName("Dismiss")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        top, right = Qt.AlignmentFlag.AlignTop, Qt.AlignmentFlag.AlignRight
        layout = QGridLayout(self)
        layout.setContentsMargins(6, 4, 4, 4)
        layout.setColumnStretch(0, 1)
        layout.addWidget(self.sentence, 0, 0)
        layout.addWidget(self.close_button, 0, 1, top)
        layout.addWidget(self.button, 1, 0, 1, 2, right)
        self.button.clicked.connect(self._ask)
        self.close_button.clicked.connect(self.clear)
        self.hide()

    def show_error(self, error: OMEZarrError, remedy: Remedy | None = None) -> None:
        """Say what happened, and offer what helps.

        Parameters
        ----------
        error : OMEZarrError
            What went wrong.
        remedy : Remedy, optional
            What the button does; by default what helps against such errors.
        """
        self.error = error
        self.remedy = remedy = remedy or remedy_for(error)
        said, text = words(error, remedy)
        self.sentence.setText(f"✖ {said}")
        self.sentence.setAccessibleName(str(error))
        self.button.setText(text)
        self.button.setVisible(remedy is not Remedy.NONE)
        self.show()

    def clear(self) -> None:
        """Say nothing any more."""
        self.error = None
        self.hide()

    def _ask(self) -> None:
        if self.error is not None:
            self.asked.emit(self.remedy)
