"""The forms that make folders, give other names, and delete after asking."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton

from napari_omezarr.browsing import delete, make_folder, rename, what_lies_at
from napari_omezarr.widgets.fields import TextField
from napari_omezarr.widgets.qt_async import Task, app_events, failure
from napari_omezarr.widgets.quantities import bytes_text

from .controls import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from qtpy.QtWidgets import QWidget

    from napari_omezarr.location import Location
    from napari_omezarr.writing import StoredSize


class NameForm(Form):
    """Asks for a name, and does something with it in a thread."""

    def __init__(
        self,
        title: str,
        name: str,
        work: Callable[[str], Location],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, parent)
        self._work = work
        self._task: Task | None = None
        self.name = TextField("Name")
        self.name.value = name
        self.rows.addRow("&Name", self.name)
        self.ok_button = QPushButton("&OK", self)
        self.cancel_button = QPushButton("Cancel", self)
        self.arrange(self.ok_button, self.cancel_button)
        self.ok_button.clicked.connect(self.begin)
        self.cancel_button.clicked.connect(self.reject)
        self.name.setFocus()
        self.name.selectAll()

    @property
    def busy(self) -> bool:
        """Whether it is being done."""
        return self._task is not None

    def begin(self) -> None:
        """Do it; the form closes when it is done."""
        if self._task is None:
            self.show_message("Working …")
            task = Task(partial(self._work, self.name.value.strip()))
            self._task = task.start(self._end, self)

    def _end(self, outcome: Future[Location]) -> None:
        self._task = None
        error = failure(outcome)
        if error is not None:
            self.show_error(error)
            return
        app_events().written.emit(outcome.result().display)
        self.accept()


class DeleteForm(Form):
    """Counts what would go, asks, and deletes it in a thread."""

    def __init__(
        self,
        places: Sequence[Location],
        in_use: frozenset[str],
        parent: QWidget | None = None,
    ) -> None:
        names = places[0].name if len(places) == 1 else f"{len(places)} things"
        super().__init__(f"Delete {names}", parent)
        self._places, self._in_use = tuple(places), in_use
        self._counted: tuple[StoredSize, ...] = ()
        self.delete_button = QPushButton("&Delete", self)
        self.cancel_button = QPushButton("Cancel", self)
        # Enter does nothing that cannot be undone.
        self.arrange(self.cancel_button, self.delete_button)
        self.delete_button.setEnabled(False)
        self.delete_button.clicked.connect(self.begin)
        self.cancel_button.clicked.connect(self.reject)
        self.show_message("Counting …")
        self._task: Task | None = Task(partial(_count, self._places))
        self._task.start(self._ask, self)

    @property
    def busy(self) -> bool:
        """Whether it counts or deletes."""
        return self._task is not None

    def begin(self) -> None:
        """Delete what was counted."""
        self.delete_button.setEnabled(False)
        self.show_message("Deleting …")
        work = partial(_delete, self._places, self._counted, self._in_use)
        self._task = Task(work).start(self._end, self)

    def _ask(self, outcome: Future[tuple[StoredSize, ...]]) -> None:
        self._task = None
        error = failure(outcome)
        if error is not None:
            self.show_error(error)
            return
        self._counted = outcome.result()
        objects = sum(found.objects for found in self._counted)
        size = bytes_text(sum(found.size for found in self._counted))
        names = ", ".join(place.name for place in self._places)
        noun = "object" if objects == 1 else "objects"
        self.show_message(
            f"Delete {names}: {objects:,} {noun}, {size}? This cannot be undone."
        )
        self.delete_button.setEnabled(True)

    def _end(self, outcome: Future[None]) -> None:
        self._task = None
        for place in self._places:
            app_events().written.emit(place.display)
        error = failure(outcome)
        if error is not None:
            self.show_error(error)
            return
        self.accept()


def folder_form(parent: Location, owner: QWidget | None) -> NameForm:
    """Ask for the name of a new folder."""
    return NameForm("New folder", "new folder", partial(make_folder, parent), owner)


def rename_form(
    place: Location, in_use: frozenset[str], owner: QWidget | None
) -> NameForm:
    """Ask for another name of a place."""
    work = partial(_renamed, place, in_use)
    return NameForm(f"Rename {place.name}", place.name, work, owner)


def _renamed(place: Location, in_use: frozenset[str], name: str) -> Location:
    return rename(place, name, in_use)


def _count(places: Sequence[Location]) -> tuple[StoredSize, ...]:
    return tuple(map(what_lies_at, places))


def _delete(
    places: Sequence[Location], counted: Sequence[StoredSize], in_use: frozenset[str]
) -> None:
    for place, expected in zip(places, counted, strict=True):
        delete(place, expected, in_use)
