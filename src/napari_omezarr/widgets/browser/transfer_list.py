"""The list of transfers below the rows: progress, pause, retry, remove."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QProgressBar,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_omezarr.plain_text import plain
from napari_omezarr.widgets.save_model import share_text
from napari_omezarr.widgets.transfers import TransferState, transfers

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_omezarr.widgets.background_save import Saving
    from napari_omezarr.widgets.transfers import Transfer

_MOST_HEIGHT = 160


class TransferRow(QWidget):
    """One transfer: what, how far, and what can be done about it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.name, self.text = QElidingLabel(parent=self), QElidingLabel(parent=self)
        self.name.setElideMode(Qt.TextElideMode.ElideMiddle)
        for label in (self.name, self.text):
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.bar = QProgressBar(self)
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 1000)
        self.bar.setFixedHeight(6)
        self.go = self._button("Pause")
        self.remove = self._button("Remove from the list")
        self.remove.setText("✕")
        layout = QGridLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setVerticalSpacing(1)
        layout.setColumnStretch(0, 1)
        layout.addWidget(self.name, 0, 0)
        layout.addWidget(self.bar, 1, 0)
        layout.addWidget(self.text, 2, 0)
        layout.addWidget(self.go, 0, 1, 3, 1)
        layout.addWidget(self.remove, 0, 2, 3, 1)

    def show_transfer(self, transfer: Transfer) -> None:
        """Say how far a copy is."""
        self._say(transfer.name, transfer.text, transfer.fraction)
        state = transfer.state
        self.go.setVisible(state is not TransferState.DONE)
        retries = state is TransferState.FAILED
        again = "Retry" if retries else "Resume"
        text = again if state.can_begin else "Pause"
        self.go.setText({"Retry": "↻", "Resume": "▶", "Pause": "⏸"}[text])
        self.go.setToolTip(plain(text))
        self.go.setAccessibleName(f"{text} {transfer.source.name}")

    def show_saving(self, saving: Saving) -> None:
        """Say how far a save is."""
        told = saving.progress
        fraction = told.done / max(1, told.total) if told is not None else 0.0
        name = saving.address.rpartition("/")[2]
        self._say(f"Saving {name}", share_text(told), fraction)
        self.go.hide()
        self.remove.setToolTip("Stop; what is saved is kept for resuming")

    def _say(self, name: str, text: str, fraction: float) -> None:
        for label, said in ((self.name, name), (self.text, text)):
            label.setText(said)
            label.setToolTip(plain(said))
        self.bar.setValue(round(1000 * fraction))
        self.bar.setAccessibleName(f"{name}: {text}")

    def _button(self, name: str) -> QToolButton:
        button = QToolButton(self)
        button.setAutoRaise(True)
        button.setToolTip(plain(name))
        button.setAccessibleName(name)
        return button


class TransferList(QFrame):
    """Shows the transfers of this process, where there are any."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setAccessibleName("Transfers")
        self._rows: dict[Transfer | Saving, TransferRow] = {}
        self._inner = QWidget(self)
        self._column = QVBoxLayout(self._inner)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        area = QScrollArea(self)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(self._inner)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(area)
        transfers().changed.connect(self.refresh)
        self.refresh()

    @property
    def rows(self) -> list[TransferRow]:
        """The rows, in their order."""
        return list(self._rows.values())

    def refresh(self) -> None:
        """Show how far all are."""
        known = transfers()
        for transfer in known.copies:
            if transfer not in self._rows:
                row = self._add(transfer, partial(known.remove, transfer))
                row.go.clicked.connect(partial(_toggle, transfer))
            self._rows[transfer].show_transfer(transfer)
        for saving in known.saves:
            if saving not in self._rows:
                self._add(saving, saving.cancel)
            self._rows[saving].show_saving(saving)
        for gone in self._rows.keys() - {*known.copies, *known.saves}:
            row = self._rows.pop(gone)
            row.hide()
            row.deleteLater()
        self.setVisible(bool(self._rows))
        height = self._inner.sizeHint().height() + 8
        self.setFixedHeight(min(height, _MOST_HEIGHT))

    def _add(
        self, shown: Transfer | Saving, remove: Callable[[], object]
    ) -> TransferRow:
        row = self._rows[shown] = TransferRow(self._inner)
        row.remove.clicked.connect(lambda: remove())
        self._column.addWidget(row)
        return row


def _toggle(transfer: Transfer, *_: object) -> None:
    if transfer.state.can_begin:
        transfers().resume(transfer)
    else:
        transfer.pause()
