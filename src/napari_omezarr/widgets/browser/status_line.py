"""One line at the bottom: what is going on, or what it has cost."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget
from superqt import QElidingLabel

from napari_omezarr.widgets.region_text import bytes_text

if TYPE_CHECKING:
    from collections.abc import Sequence


class StatusLine(QWidget):
    """Says how many requests a place took; a button ends what is going on.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label: QLabel = QElidingLabel(parent=self)
        self.cancel = QPushButton("Cancel", self)
        self.cancel.setAccessibleName("Cancel what is going on (Esc)")
        self._begun = monotonic()
        self._seconds: float | None = None
        self._notes: tuple[str, ...] = ()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 0, 2, 0)
        layout.addWidget(self.label, stretch=1)
        layout.addWidget(self.cancel)
        self.cancel.hide()

    def begin(self) -> None:
        """Count from now on: another place is asked."""
        self._begun, self._seconds = monotonic(), None
        self._notes = ()

    def arrive(self, notes: Sequence[str]) -> None:
        """Stop the clock, for the first rows are there; keep how they were had."""
        self._notes = tuple(notes)
        if self._seconds is None:
            self._seconds = monotonic() - self._begun

    def say(self, text: str) -> None:
        """Say a sentence, until something else is to be said."""
        self.label.setText(text)
        self.label.setToolTip(text)

    def show_state(
        self, *, busy: bool, opening: Sequence[str], spent: tuple[int, int]
    ) -> None:
        """Say what is going on."""
        self.cancel.setVisible(busy or bool(opening))
        text = status_text(busy, opening, spent, self._seconds)
        self.say(" · ".join(part for part in (text, *self._notes) if part))


def status_text(
    busy: bool,
    opening: Sequence[str],
    spent: tuple[int, int],
    seconds: float | None,
) -> str:
    """Put into words what is going on.

    Parameters
    ----------
    busy : bool
        Whether rows are to come.
    opening : sequence of str
        What is being opened.
    spent : tuple of int
        Requests, and bytes.
    seconds : float or None
        From the first question to the first rows.
    """
    if opening:
        return f"Opening {', '.join(opening)} …"
    requests, received = spent
    parts = [f"{requests:,} request{'s' if requests != 1 else ''}"] if requests else []
    if received:
        parts.append(bytes_text(received))
    if seconds is not None:
        parts.append(f"{seconds * 1000:,.0f} ms")
    return f"{'○' if busy else '●'} {' · '.join(parts)}" if parts else ""
