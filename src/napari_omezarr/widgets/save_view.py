"""How the save dock looks: its parts in a column, at least 300 pixels wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from .save_form import SaveForm
from .save_layers import SaveLayers
from .save_parts import SaveProgress, said
from .save_target import SaveTarget

if TYPE_CHECKING:
    from collections.abc import Iterable


class SaveView:
    """The parts, laid out in a widget.

    Parameters
    ----------
    owner : QWidget
        Gets the layout.
    """

    def __init__(self, owner: QWidget) -> None:
        self._inner = QWidget(owner)
        self.layers = SaveLayers(self._inner)
        self.target = SaveTarget(self._inner)
        self.form = SaveForm()
        self.plan = said(self._inner)
        self.warning = said(self._inner)
        self.loss = said(self._inner)
        self.accept = QCheckBox("Save &without that", self._inner)
        self.save = QPushButton("&Save", self._inner)
        self.progress = SaveProgress(self._inner)
        self.message = said(self._inner)
        self.open = QPushButton("&Open it", self._inner)
        self.copy = QPushButton("Co&py address", self._inner)
        self.options = QCollapsible("Options", self._inner)
        self._arrange(owner)
        self.plan.setVisible(True)
        self.progress.hide()
        self.clear()

    def clear(self) -> None:
        """Take back what was said of an earlier plan."""
        self.layers.set_roles({})
        self.plan.setText("…")
        self.save.setEnabled(False)
        self.target.show_state("", ())
        self.warn("", "")
        self.say("")

    def warn(self, notes: str, losses: str) -> None:
        """Say what is worth knowing, and what would be lost."""
        self.warning.setText(notes)
        self.warning.setVisible(bool(notes))
        self.loss.setText(f"⚠ {losses}")
        self.loss.setVisible(bool(losses))
        self.accept.setVisible(bool(losses))
        if not losses:
            self.accept.setChecked(False)

    def say(self, text: str) -> None:
        """Say something below all, or nothing."""
        self.message.setText(text)
        self.message.setVisible(bool(text))
        self.open.hide()
        self.copy.hide()

    def done(self, text: str) -> None:
        """Say that it is saved, and offer what comes next."""
        self.say(text)
        self.target.show_state("", ())
        self.open.show()
        self.copy.show()
        self.open.setFocus()

    def set_busy(self, busy: bool) -> None:
        """Show the progress instead of what begins a save."""
        for part in (self.layers, self.target, self.options, self.accept):
            part.setEnabled(not busy)
        self.save.setVisible(not busy)
        self.progress.setVisible(busy)
        if busy:
            self.say("")
            self.save.setEnabled(False)
            self.target.show_state("", ())
            self.progress.begin()
            self.progress.cancel.setFocus()

    def _arrange(self, owner: QWidget) -> None:
        owner.setMinimumWidth(300)
        self.options.addWidget(self.form.container.native)
        after = QHBoxLayout()
        for button in (self.open, self.copy):
            after.addWidget(button)
        after.addStretch()
        column = QVBoxLayout(self._inner)
        column.setContentsMargins(4, 4, 4, 4)
        for part in self._parts():
            column.addWidget(part)
        column.addLayout(after)
        column.addStretch()
        scroll, layout = QScrollArea(owner), QVBoxLayout(owner)
        scroll.setWidget(self._inner)
        scroll.setWidgetResizable(True)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)

    def _parts(self) -> Iterable[QWidget]:
        yield QLabel("Layers", self._inner)
        yield self.layers
        yield QLabel("Target", self._inner)
        yield self.target
        yield self.plan
        yield self.warning
        yield self.loss
        yield self.accept
        yield self.options
        yield self.save
        yield self.progress
        yield self.message
