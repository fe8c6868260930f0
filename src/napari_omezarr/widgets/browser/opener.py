"""Opening what was chosen in the viewer, beside whatever else goes on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_omezarr.browsing import EntryKind
from napari_omezarr.errors import OptionError
from napari_omezarr.reading import ReadOptions
from napari_omezarr.widgets.open import Opened, make_layers, open_place
from napari_omezarr.widgets.qt_async import Task, failure

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari.components import ViewerModel

    from napari_omezarr.browsing import Entry
    from napari_omezarr.location import Location

    from .navigation import Stop

# Opening what was chosen in the viewer, beside whatever else goes on.

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
    """The `OpenRequest` whose layers are in the viewer."""
    many = Signal(object, int)
    """A `OpenRequest` that would make so many layers; nothing was opened."""

    def __init__(self, viewer: ViewerModel | None, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._jobs: dict[Task, OpenRequest] = {}
        self._failed: OpenRequest | None = None

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

    def open(self, wish: OpenRequest) -> None:
        """Begin to open; the layers come later."""
        if self._viewer is None:
            return
        job = Task(partial(_read, wish))
        self._jobs[job] = wish
        job.start(partial(self._receive, job), self)
        self.changed.emit()

    def cancel(self) -> None:
        """Give up what is being opened."""
        for job in self._jobs:
            job.abandon()
        self._jobs.clear()
        self.changed.emit()

    def _receive(self, job: Task, outcome: Future[Opened]) -> None:
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


def _read(wish: OpenRequest) -> Opened:
    opened = open_place(wish.location, wish.options, wish.channels)
    if not wish.labels_only:
        return opened
    labels = tuple(spec for spec in opened.specs if spec.kind == "labels")
    if not labels:
        sentence = f"{wish.location.display} has no labels."
        raise OptionError(sentence, url=wish.location.display)
    return Opened(opened.reading, labels)


# What of a place is to be opened as layers; pure.

_ALL = ReadOptions()


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A place, and which part of it.

    Attributes
    ----------
    location : Location
        The image, plate or whatever else is to be opened.
    options : ReadOptions
        The level, the labels, the series.
    channels : tuple of int or None
        Only these; None is all.
    labels_only : bool
        Its label images, without the image.
    is_chosen : bool
        The person has seen what she chose from; she is not asked again.
    """

    location: Location
    options: ReadOptions = _ALL
    channels: tuple[int, ...] | None = None
    labels_only: bool = False
    is_chosen: bool = False


def open_request(entry: Entry, above: Entry | None, row: int) -> OpenRequest:
    """Say what opening a row means.

    Parameters
    ----------
    entry : Entry
        The row.
    above : Entry or None
        What it lies below: of a level the levels, and then only that level opens.
    row : int
        Where it lies there.
    """
    if (
        entry.kind is EntryKind.ARRAY
        and above is not None
        and above.kind is EntryKind.LEVELS
    ):
        options = ReadOptions(labels=False, level=row)
        return OpenRequest(above.location, options, is_chosen=True)
    return OpenRequest(entry.location)


# The other docks of this plugin, brought up from the browser.

PLUGIN = "napari-omezarr"
REGION = "OME-Zarr region"
SAVE = "Save as OME-Zarr…"


_IMAGES = (
    EntryKind.IMAGE,
    EntryKind.LEVELS,
    EntryKind.PLATE,
    EntryKind.SERIES,
    EntryKind.SCENE,
)


def folder_for(entry: Entry | None, shown: Stop) -> Location | None:
    """Say into which folder "here" is: the row's, or that of the place.

    Parameters
    ----------
    entry : Entry or None
        The row that is chosen; beside an image is here, too.
    shown : tuple of Location
        The place, or places, that are shown.
    """
    if entry is not None and entry.is_listed and not entry.looks_like_store:
        return entry.location
    if entry is not None and (entry.kind in _IMAGES or entry.looks_like_store):
        return entry.location.parent
    return shown[0] if len(shown) == 1 else None


def show_region(viewer: ViewerModel | None) -> None:
    """Bring up the dock that cuts a region out of the layer that is chosen."""
    _show(viewer, REGION)


def save_into(viewer: ViewerModel | None, place: Location) -> None:
    """Bring up the dock that saves, with a target in a folder.

    Parameters
    ----------
    viewer : ViewerModel or None
        Whose layers are saved; one without a window has no docks.
    place : Location
        The folder.
    """
    dock = _show(viewer, SAVE)
    if dock is not None:
        dock.view.target.take_place(place)


def _show(viewer: ViewerModel | None, name: str) -> Any:
    window = getattr(viewer, "window", None)
    return window.add_plugin_dock_widget(PLUGIN, name)[1] if window else None
