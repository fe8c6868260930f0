"""Opening what was chosen in the viewer, beside whatever else goes on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_omezarr.errors import OptionError
from napari_omezarr.widgets.job import Job
from napari_omezarr.widgets.opening import Opened, make_layers, open_place

from .reply import failure

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari.components import ViewerModel

    from napari_omezarr.location import Location

    from .wish import Wish

MANY = 16
"""Layers that are opened without asking."""


class Opener(QObject):
    """Opens wishes, several at a time if need be.

    Parameters
    ----------
    viewer : ViewerModel or None
        Gets the layers; None opens nothing.
    parent : QObject
        Its owner.
    """

    changed = Signal()
    """Something began or ended."""
    failed = Signal(object)
    """The OMEZarrError of what could not be opened."""
    opened = Signal(object)
    """The `Wish` whose layers are in the viewer."""
    many = Signal(object, int)
    """A `Wish` that would make so many layers; nothing was opened."""

    def __init__(self, viewer: ViewerModel | None, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._jobs: dict[Job, Wish] = {}
        self._failed: Wish | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What is being opened."""
        return tuple(wish.location.name for wish in self._jobs.values())

    @property
    def place(self) -> Location | None:
        """What could not be opened last."""
        return self._failed.location if self._failed is not None else None

    def again(self) -> None:
        """Try once more what could not be opened last."""
        if self._failed is not None:
            self.open(self._failed)

    def open(self, wish: Wish) -> None:
        """Begin to open; the layers come later."""
        if self._viewer is None:
            return
        job = Job(partial(_read, wish))
        # A window that closes takes the dock with it, without a word.
        self.destroyed.connect(job.abandon)
        self._jobs[job] = wish
        job.start(partial(self._receive, job))
        self.changed.emit()

    def cancel(self) -> None:
        """Give up what is being opened."""
        for job in self._jobs:
            job.abandon()
        self._jobs.clear()
        self.changed.emit()

    def _receive(self, job: Job, outcome: Future[Opened]) -> None:
        wish = self._jobs.pop(job)
        self.changed.emit()
        error = failure(outcome)
        if error is not None:
            self._failed = wish
            self.failed.emit(error)
            return
        opened = outcome.result()
        if len(opened.specs) > MANY and not wish.is_chosen:
            self.many.emit(wish, len(opened.specs))
            return
        if self._viewer is not None:
            for layer in make_layers([opened]):
                self._viewer.add_layer(layer)
        self.opened.emit(wish)


def _read(wish: Wish) -> Opened:
    opened = open_place(wish.location, wish.options, wish.channels)
    if not wish.labels_only:
        return opened
    labels = tuple(spec for spec in opened.specs if spec.kind == "labels")
    if not labels:
        sentence = f"{wish.location.display} has no labels."
        raise OptionError(sentence, url=wish.location.display)
    return Opened(opened.reading, labels)
