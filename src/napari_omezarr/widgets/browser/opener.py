"""Opening a place as layers, and the other docks that the browser brings up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_omezarr.browsing import EntryKind
from napari_omezarr.errors import OptionError
from napari_omezarr.reading import ReadOptions
from napari_omezarr.widgets.docks import add_dock
from napari_omezarr.widgets.open import Opened, add_layers, load_units, open_place
from napari_omezarr.widgets.qt_async import Task, failure

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari.components import ViewerModel

    from napari_omezarr.browsing import Entry
    from napari_omezarr.location import Location

    from .navigation import Places

MANY = 16
"""Layers that are opened without asking."""

_ALL = ReadOptions()
_REGION_DOCK = "OME-Zarr region"
_SAVE_DOCK = "Save as OME-Zarr…"
_IMAGES = (
    EntryKind.IMAGE,
    EntryKind.LEVELS,
    EntryKind.PLATE,
    EntryKind.SERIES,
    EntryKind.SCENE,
)


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A place that is to be opened as layers, and which part of it."""

    location: Location
    options: ReadOptions = _ALL
    # None is all of them.
    channels: tuple[int, ...] | None = None
    labels_only: bool = False
    # The person has seen what she chose from, and is not asked again.
    is_chosen: bool = False
    is_table: bool = False


def open_request(entry: Entry, above: Entry | None, row: int) -> OpenRequest:
    """Say what opening a row means; of a level below its levels, only that level."""
    is_below_levels = above is not None and above.kind is EntryKind.LEVELS
    if above is not None and is_below_levels and entry.kind is EntryKind.ARRAY:
        options = ReadOptions(labels=False, level=row)
        return OpenRequest(above.location, options, is_chosen=True)
    return OpenRequest(entry.location, is_table=entry.kind is EntryKind.TABLE)


class Opener(QObject):
    """Opens places as layers of a viewer, several at a time if need be."""

    changed = Signal()
    """Something began or ended."""
    failed = Signal(object)
    """The OMEZarrError of what could not be opened."""
    opened = Signal(object)
    """The `OpenRequest` whose layers are in the viewer."""
    many = Signal(object)
    """An `OpenRequest` of more than `MANY` layers; nothing was opened."""

    def __init__(self, viewer: ViewerModel | None, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._tasks: dict[Task, OpenRequest] = {}
        self._failed: OpenRequest | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What is being opened."""
        return tuple(request.location.name for request in self._tasks.values())

    @property
    def place(self) -> Location | None:
        """The place that could not be opened last."""
        return self._failed.location if self._failed is not None else None

    def again(self) -> None:
        """Try once more what could not be opened last."""
        if self._failed is not None:
            self.open(self._failed)

    def open(self, request: OpenRequest) -> None:
        """Begin to open; the layers come later."""
        if self._viewer is None:
            return
        task = Task(partial(_read, request))
        self._tasks[task] = request
        task.start(partial(self._receive, task), self)
        self.changed.emit()
        load_units()

    def cancel(self) -> None:
        """Give up what is being opened."""
        for task in self._tasks:
            task.abandon()
        self._tasks.clear()
        self.changed.emit()

    def _receive(self, task: Task, outcome: Future[Opened]) -> None:
        request = self._tasks.pop(task)
        self.changed.emit()
        error = failure(outcome)
        if error is not None:
            self._failed = request
            self.failed.emit(error)
            return
        opened = outcome.result()
        if len(opened.specs) > MANY and not request.is_chosen:
            self.many.emit(request)
            return
        if self._viewer is not None:
            add_layers(self._viewer, opened)
        self.opened.emit(request)


def _read(request: OpenRequest) -> Opened:
    opened = open_place(request.location, request.options, request.channels)
    if not request.labels_only:
        return opened
    labels = tuple(spec for spec in opened.specs if spec.kind == "labels")
    if not labels:
        sentence = f"{request.location.display} has no labels."
        raise OptionError(sentence, url=request.location.display)
    return Opened(opened.reading, labels)


# The other docks of this plugin.


def folder_for(entry: Entry | None, shown: Places) -> Location | None:
    """Say which folder "here" is: the row's, beside an image too, or the place's."""
    if entry is not None and entry.is_listed and not entry.looks_like_store:
        return entry.location
    if entry is not None and (entry.kind in _IMAGES or entry.looks_like_store):
        return entry.location.parent
    return shown[0] if len(shown) == 1 else None


def show_region(viewer: ViewerModel | None) -> None:
    """Bring up the dock that cuts a region out of the layer that is chosen."""
    dock = add_dock(viewer, _REGION_DOCK)
    if dock is not None and viewer is not None:
        dock.propose(viewer.layers.selection.active)


def save_into(viewer: ViewerModel | None, place: Location) -> None:
    """Bring up the dock that saves, with a target in a folder."""
    dock = add_dock(viewer, _SAVE_DOCK)
    if dock is not None:
        dock.view.target.take_place(place)
