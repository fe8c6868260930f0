"""The editor of a connection: a form, a test, and the ways to take others over."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import (
    QDialog,
    QFrame,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.browsing import check_connection, start
from napari_omezarr.connections import Connection
from napari_omezarr.connections.connections import Profile
from napari_omezarr.widgets.job import Job

from .connection_form import ConnectionForm
from .connection_work import keep, remove, renamed, surroundings, take_over
from .pane import plain_label
from .reply import Reply, failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from qtpy.QtGui import QCloseEvent

    from napari_omezarr.browsing import Check
    from napari_omezarr.errors import OMEZarrError

    from .connection_work import Surroundings

_IMPORTS: dict[str, Callable[[], str]] = {
    "AWS profiles": partial(take_over, "aws"),
    "MinIO client (mc) aliases": partial(take_over, "mc"),
    "MinIO client aliases with their keys": partial(take_over, "mc", secrets=True),
}
_MARKS = {True: "✔", False: "✖", None: "?"}


class ConnectionEditor(QDialog):
    """Edits one connection; it is not modal, and waits for nothing.

    Parameters
    ----------
    connection : Connection or None
        What to edit; None makes a new one.
    stored : bool
        Whether it is one of the person's own, which can be removed.
    parent : QWidget, optional
        Its owner.
    """

    saved = Signal(str, str)
    """The name of a connection that was written, or ``""``, and what was done."""

    def __init__(
        self,
        connection: Connection | None = None,
        *,
        stored: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._before = connection or Connection(Profile(""))
        self._stored = stored
        self._jobs: list[Job] = []
        self._tested: Reply | None = None
        self.form = ConnectionForm()
        self.message = plain_label(self)
        self.test_button = QPushButton("&Test", self)
        self.save_button = QPushButton("&Save", self)
        self.cancel_button = QPushButton("Cancel", self)
        self.remove_button = QPushButton("&Remove", self)
        self.new_button = QPushButton("&New", self)
        self.import_button = QPushButton("&Import ▾", self)
        self.import_menu = QMenu("Import", self)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(300)
        self._arrange()
        self._connect()
        self._fill()
        self._run(surroundings, self._show_surroundings)

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._jobs) or self._tested is not None

    def begin_anew(self) -> None:
        """Edit a new connection instead."""
        self._drop_test()
        self._before, self._stored = Connection(Profile("")), False
        self._fill()
        self.form.name.native.setFocus()

    def test(self) -> None:
        """Try what the connection may do, without saving it."""
        self._drop_test()
        keys = self.form.keys()
        name = self._before.name if self._stored else ""
        profile = renamed(self.form.profile(), keys, name)
        self.message.setText("Testing …")
        future = start(check_connection(profile, keys=keys))
        self._tested = Reply(future, self._show_checks, self)

    def save(self) -> None:
        """Write the connection and keep its keys, then close."""
        profile = self.form.profile()
        if lack := self.form.lack():
            self.message.setText(f"✖ {lack}")
            return
        connection = Connection(profile, self._before.bookmarks)
        before = self._before.name if self._stored else ""
        work = partial(keep, connection, self.form.keys(), before)
        self._run(work, partial(self._end, profile.name))

    def remove(self) -> None:
        """Forget the connection with its keys; asks once more before."""
        if self.remove_button.text() == _SURE:
            self._run(partial(remove, self._before.name), partial(self._end, ""))
        else:
            self.remove_button.setText(_SURE)

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """End what is under way, and leave no secret in a field."""
        self._end_all()
        super().closeEvent(event)

    def done(self, code: int) -> None:
        """Close, by whichever way."""
        self._end_all()
        super().done(code)

    def _fill(self) -> None:
        profile, stored = self._before.profile, self._stored
        self.setWindowTitle(profile.name or "New connection")
        self.form.fill(profile, keys_are_kept=stored and profile.sign_in == "keys")
        self.message.clear()
        self.remove_button.setText("&Remove")
        self.remove_button.setVisible(stored)

    def _arrange(self) -> None:
        body, area = QWidget(self), QScrollArea(self)
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 6, 0)
        for widget in (
            self.form.native,
            self.form.where.native,
            self.form.more,
        ):
            column.addWidget(widget)
        column.addStretch()
        area.setWidget(body)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout, above, below = QVBoxLayout(self), QHBoxLayout(), QHBoxLayout()
        layout.addWidget(area, stretch=1)
        layout.addWidget(self.message)
        for button in (
            self.test_button,
            self.new_button,
            self.import_button,
            self.remove_button,
        ):
            above.addWidget(button)
        for button in (self.save_button, self.cancel_button):
            below.addWidget(button)
        layout.addLayout(above)
        layout.addLayout(below)
        # Enter in a field saves; no other button takes it.
        for button in self.findChildren(QPushButton):
            button.setAutoDefault(button is self.save_button)
        self.save_button.setDefault(True)
        self.resize(380, 480)

    def _connect(self) -> None:
        self.test_button.clicked.connect(self.test)
        self.new_button.clicked.connect(self.begin_anew)
        self.save_button.clicked.connect(self.save)
        self.cancel_button.clicked.connect(self.reject)
        self.remove_button.clicked.connect(self.remove)
        self.import_button.setMenu(self.import_menu)
        self.import_button.setStyleSheet(
            "QPushButton::menu-indicator { image: none; width: 0; }"
        )
        for name, work in _IMPORTS.items():
            action = QAction(name, self)
            action.triggered.connect(partial(self._import, work))
            self.import_menu.addAction(action)

    def _run(
        self, work: Callable[[], object], then: Callable[[Future[Any]], None]
    ) -> None:
        job = Job(work)
        # A window that closes takes the editor with it, without a word.
        self.destroyed.connect(job.abandon)
        self._jobs.append(job)
        job.start(partial(self._finish, job, then))

    def _finish(
        self, job: Job, then: Callable[[Future[Any]], None], outcome: Future[Any]
    ) -> None:
        self._jobs.remove(job)
        error = failure(outcome)
        if error is not None:
            self._say(error)
            return
        then(outcome)

    def _end(self, name: str, outcome: Future[str]) -> None:
        self.saved.emit(name, outcome.result())
        self.accept()

    def _import(self, work: Callable[[], str], *_: object) -> None:
        self._run(work, self._imported)

    def _imported(self, outcome: Future[str]) -> None:
        self.message.setText(outcome.result())
        self.saved.emit("", outcome.result())

    def _show_surroundings(self, outcome: Future[Surroundings]) -> None:
        found = outcome.result()
        self.form.offer_profiles(found.profiles)
        self.form.where.value = found.where

    def _show_checks(self, outcome: Future[tuple[Check, ...]]) -> None:
        self._tested = None
        error = failure(outcome)
        if error is not None:
            self._say(error)
            return
        lines = (
            f"{_MARKS[check.works]} {check.sentence} {check.action}".rstrip()
            for check in reversed(outcome.result())
        )
        self.message.setText("\n".join(lines))

    def _say(self, error: OMEZarrError) -> None:
        self.message.setText(f"✖ {error}")

    def _drop_test(self) -> None:
        if self._tested is not None:
            self._tested.drop()
            self._tested = None

    def _end_all(self) -> None:
        self._drop_test()
        self.form.clear_keys()


_SURE = "&Really remove?"
