"""What is copied, downloaded, uploaded and saved: a list that outlives every dock.

`TransferList` shows it, below the rows of the browser.
"""

from __future__ import annotations

from enum import Enum
from functools import cache, partial
from time import monotonic
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, QTimer, Signal, SignalInstance
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

from napari_omezarr.browsing import Copied, CopyProgress, copy_store, start
from napari_omezarr.plain_text import bytes_text, counted, plain

from .background_save import under_way
from .fields import plain_label, show_text
from .qt_async import FutureWatcher, Latest, app_events, failure
from .save_model import share_of, share_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from qtpy.QtGui import QResizeEvent

    from napari_omezarr.errors import OMEZarrError
    from napari_omezarr.location import Location

    from .background_save import Saving

TICK = 200
"""Milliseconds between looks at how far transfers are."""
AT_A_TIME = 2
"""Copies that run together; others wait for their turn."""


class TransferState(Enum):
    """How far a transfer is, in the words of the list."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    DONE = "done"

    @property
    def can_begin(self) -> bool:
        """Whether it goes on when the person wants it to."""
        return self in (TransferState.PAUSED, TransferState.FAILED)


class Transfer(QObject):
    """One copy byte for byte, which goes on where it was when it is begun again."""

    changed: SignalInstance = Signal()
    """Its state or its progress is another."""

    def __init__(self, source: Location, target: Location, parent: QObject) -> None:
        super().__init__(parent)
        self.source, self.target = source, target
        self.state = TransferState.WAITING
        self.error: OMEZarrError | None = None
        self.result: Copied | None = None
        self._latest = Latest()
        self._begun = 0.0
        self._watcher: FutureWatcher | None = None

    @property
    def name(self) -> str:
        """What is copied, and whereto."""
        arrow = "\N{DOWNWARDS ARROW}" if self.target.protocol == "file" else "→"
        return f"{self.source.name} {arrow} {self.target.parent.display}"

    @property
    def progress(self) -> CopyProgress | None:
        """How far it is, once anything is known."""
        told: CopyProgress | None = self._latest.told
        return told

    @property
    def fraction(self) -> float:
        """How much of it is done, from 0 to 1."""
        if self.state is TransferState.DONE:
            return 1.0
        told = self.progress
        if told is None:
            return 0.0
        if told.all_bytes:
            return told.bytes / told.all_bytes
        return told.objects / max(told.all_objects, 1)

    @property
    def is_begun(self) -> bool:
        """Whether it was broken off after something was copied."""
        return self.state.can_begin and self.progress is not None

    def is_again(self, source: Location, target: Location) -> bool:
        """Whether another copy would only go on with this one."""
        return self.state.can_begin and (self.source, self.target) == (source, target)

    @property
    def text(self) -> str:
        """How far and how fast, or why not."""
        if self.error is not None:
            return f"✖ {self.error}"
        if self.result is not None:
            return copied_text(self.result)
        if self.state is not TransferState.RUNNING:
            return str(self.state.value)
        if self.progress is None:
            return "Looking what there is …"
        return progress_text(self.progress, monotonic() - self._begun)

    def begin(self) -> None:
        """Begin, or go on."""
        self.state, self.error = TransferState.RUNNING, None
        self._begun, self._latest = monotonic(), Latest()
        work = copy_store(self.source, self.target, progress=self._latest.note)
        self._watcher = FutureWatcher(start(work), self._end, None)
        self.changed.emit()

    def pause(self) -> None:
        """End it for now; what is copied is kept."""
        if self._watcher is not None:
            self._watcher.abandon()
            self._watcher = None
            app_events().written.emit(self.target.display)
        self.state = TransferState.PAUSED
        self.changed.emit()

    def wait(self) -> None:
        """Wait for its turn."""
        self.state, self.error = TransferState.WAITING, None
        self.changed.emit()

    def _end(self, future: Future[Copied]) -> None:
        self._watcher = None
        self.error = failure(future)
        self.state = TransferState.FAILED
        if self.error is None:
            self.result, self.state = future.result(), TransferState.DONE
        app_events().written.emit(self.target.display)
        self.changed.emit()


class Transfers(QObject):
    """All transfers of this process; two copies run at a time."""

    changed: SignalInstance = Signal()
    """One came, went or moved on."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[Transfer] = []
        self.saves: list[Saving] = []
        self._timer = QTimer(self)
        self._timer.setInterval(TICK)
        self._timer.timeout.connect(self._tick)
        app_events().saving.connect(self.add_save)
        for saving in under_way.values():
            self.add_save(saving)

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits for its turn."""
        states = (TransferState.RUNNING, TransferState.WAITING)
        return bool(self.saves) or any(one.state in states for one in self.copies)

    def add(self, source: Location, target: Location) -> Transfer:
        """Take a copy into the list; it begins at its turn."""
        transfer = Transfer(source, target, self)
        transfer.changed.connect(self._next)
        self.copies.append(transfer)
        self._next()
        return transfer

    def add_save(self, saving: Saving) -> None:
        """Show a save, too, for as long as it runs."""
        self.saves.append(saving)
        saving.ended.connect(lambda _: self._end_save(saving))
        self._next()

    def resume(self, transfer: Transfer) -> None:
        """Go on with one that was paused or has failed, at its turn."""
        if transfer.state.can_begin:
            transfer.wait()

    def remove(self, transfer: Transfer) -> None:
        """Take one out of the list; one that runs is ended, and what is done stays."""
        if transfer.state is TransferState.RUNNING:
            transfer.pause()
        self.copies.remove(transfer)
        transfer.deleteLater()
        self._next()

    def _end_save(self, saving: Saving) -> None:
        if saving in self.saves:
            self.saves.remove(saving)
        self.changed.emit()

    def _next(self) -> None:
        running = sum(one.state is TransferState.RUNNING for one in self.copies)
        waiting = [one for one in self.copies if one.state is TransferState.WAITING]
        if waiting and running < AT_A_TIME:
            waiting[0].begin()  # which leads here again
            return
        if self.busy != self._timer.isActive():
            (self._timer.start if self.busy else self._timer.stop)()
        self.changed.emit()

    def _tick(self) -> None:
        self.changed.emit()


@cache
def transfers() -> Transfers:
    """Return those of this process."""
    return Transfers()


def progress_text(progress: CopyProgress, seconds: float) -> str:
    """Say how far a copy is, and how fast; a total of no bytes is not known."""
    objects = f"{progress.objects:,} of {counted(progress.all_objects, 'object')}"
    done = bytes_text(progress.bytes)
    rate = f"{bytes_text(progress.bytes / seconds)}/s" if seconds > 0 else ""
    said = [objects, done, rate]
    if progress.all_bytes:
        # First what moves while one long object is copied, too.
        said = [f"{done} of {bytes_text(progress.all_bytes)}", rate, objects]
    return ", ".join(part for part in said if part)


def copied_text(copied: Copied) -> str:
    """Say what a copy has done."""
    text = f"Copied {counted(copied.objects, 'object')}, {bytes_text(copied.bytes)}"
    before = f"; {copied.resumed:,} there from before" if copied.resumed else ""
    return f"{text}, to {copied.target.display}{before}."


# The list of transfers below the rows: progress, pause, retry, remove.

_MOST_HEIGHT = 160


class TransferRow(QWidget):
    """One transfer: what, how far, and what can be done about it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.name, self.text = QElidingLabel(parent=self), QElidingLabel(parent=self)
        self.name.setElideMode(Qt.TextElideMode.ElideMiddle)
        for label in (self.name, self.text):
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.reason = plain_label(self)
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
        layout.addWidget(self.reason, 3, 0, 1, 3)
        layout.addWidget(self.go, 0, 1, 3, 1)
        layout.addWidget(self.remove, 0, 2, 3, 1)

    def show_transfer(self, transfer: Transfer) -> None:
        """Say how far a copy is."""
        self._say(transfer.name, transfer.text, transfer.fraction)
        state = transfer.state
        # Cut off to a line it would be an address without the reason.
        has_failed = state is TransferState.FAILED
        show_text(self.reason, transfer.text if has_failed else "")
        self.text.setVisible(not has_failed)
        self.go.setVisible(state is not TransferState.DONE)
        again = "Retry" if has_failed else "Resume"
        text = again if state.can_begin else "Pause"
        self.go.setText({"Retry": "↻", "Resume": "▶", "Pause": "▮▮"}[text])
        self.go.setToolTip(plain(text))
        self.go.setAccessibleName(f"{text} {transfer.source.name}")

    def show_saving(self, saving: Saving) -> None:
        """Say how far a save is."""
        told = saving.progress
        fraction = share_of(told) if told is not None else 0.0
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
        # Its buttons have the keyboard, and it follows them.
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
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
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Be as tall as the sentences are now."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        height = self._inner.sizeHint().height()
        if self._column.hasHeightForWidth():
            height = self._column.heightForWidth(self._inner.width())
        self.setFixedHeight(min(height + 8, _MOST_HEIGHT))

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
