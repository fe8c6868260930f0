"""One question at a time, of which only the latest answer counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from .job import Job

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

PAUSE = 200
"""Milliseconds without another question before one is asked."""


class Latest(QObject):
    """Asks in a thread, after a pause; a question that is out of date is given up.

    Parameters
    ----------
    hear : callable
        Is given the outcome, in the GUI thread.
    parent : QObject
        Its owner.

    Attributes
    ----------
    jobs : list of Job
        The question that is being asked; its owner abandons it when it goes.
    """

    def __init__(self, hear: Callable[[Future[Any]], None], parent: QObject) -> None:
        super().__init__(parent)
        self._hear = hear
        self._prepare: Callable[[], Callable[[], Any] | None] | None = None
        self.jobs: list[Job] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._begin)

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._prepare is not None or bool(self.jobs)

    def ask(self, prepare: Callable[[], Callable[[], Any] | None]) -> None:
        """Ask, in place of what was asked before.

        Parameters
        ----------
        prepare : callable
            Gives the question, in the GUI thread and only when it is time to ask:
            a person types faster than layers are described. None asks nothing.
        """
        self.forget()
        self._prepare = prepare
        self._timer.start(PAUSE)

    def forget(self) -> None:
        """Want no answer."""
        self._prepare = None
        self._timer.stop()
        for job in self.jobs:
            job.abandon()
        self.jobs.clear()

    def _begin(self) -> None:
        prepare, self._prepare = self._prepare, None
        question = prepare() if prepare is not None else None
        if question is not None:
            job = Job(question)
            # It goes with its owner; then nobody listens any more.
            self.destroyed.connect(job.abandon)
            self.jobs.append(job.start(self._deliver))

    def _deliver(self, outcome: Future[Any]) -> None:
        self.jobs.clear()
        self._hear(outcome)
