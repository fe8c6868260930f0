"""The forms of the browser: open, copy, make a folder, rename, delete."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package
from napari.layers import Labels
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QStandardPaths, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QTableView,
    QWidget,
)

from napari_omezarr.browsing import EntryKind, LabelTable, Listing, describe, read_table
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.layers import plain_columns
from napari_omezarr.location import Location
from napari_omezarr.plain_text import bytes_text, counted, shape_text
from napari_omezarr.reading import ReadOptions
from napari_omezarr.upkeep import make_folder, plan_removal, remove, rename
from napari_omezarr.widgets.fields import TextField
from napari_omezarr.widgets.preferences import (
    browser_preferences,
    keep_browser_preferences,
)
from napari_omezarr.widgets.qt_async import DebouncedTask, Task, app_events, failure
from napari_omezarr.widgets.transfers import Transfer, TransferState, transfers

from .controls import Form, PlaceLine, combo_box
from .opener import MANY, OpenRequest
from .text import SIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from napari.components import ViewerModel

    from napari_omezarr.browsing import Details, Entry
    from napari_omezarr.upkeep import Removal


_SEVERAL = (EntryKind.SERIES, EntryKind.SCENE)
_ON, _OFF = Qt.CheckState.Checked, Qt.CheckState.Unchecked


# Open…: which channels, labels and level, and which image of a series.


@dataclass(frozen=True, slots=True)
class Choices:
    """A place with the channels, labels, levels and images to choose from."""

    location: Location
    # Of the image; of a series or a scene of its first one.
    details: Details
    # Of a series or a scene; else none.
    images: tuple[Entry, ...] = ()


def find_choices(location: Location) -> Choices:
    """Find out what there is to choose; blocks."""
    details = describe(location, sample=False)
    if details.entry.kind not in _SEVERAL:
        return Choices(location, details)
    page = Listing(details.entry).more().result()
    return Choices(location, details, page.entries)


class OpenForm(Form):
    """Lets a person choose what of an image is opened, and warns of many layers."""

    wanted = Signal(object)
    """The `OpenRequest`."""

    def __init__(self, choices: Choices, parent: QWidget | None = None) -> None:
        super().__init__(f"Open {choices.location.name}", parent)
        self._choices = choices
        self.channels = _check_list("Channels", self)
        self.labels = _check_list("Labels", self)
        self.none_button = QPushButton("&None / all", self)
        self.level = combo_box("Level", self)
        self.series = combo_box("Image of the series", self)
        self._fill()
        self.rows.addRow("&Channels", self.channels)
        self.rows.addRow("", self.none_button)
        self.rows.addRow("&Labels", self.labels)
        self.rows.addRow("Le&vel", self.level)
        self.rows.addRow("&Image", self.series)
        self.rows.setRowVisible(self.channels, bool(self.channels.count()))
        self.rows.setRowVisible(self.none_button, self.channels.count() > 1)
        self.rows.setRowVisible(self.labels, bool(self.labels.count()))
        self.rows.setRowVisible(self.series, self.series.count() > 1)
        self.open_button = QPushButton("&Open", self)
        self.cancel_button = QPushButton("Cancel", self)
        self.arrange(self.open_button, self.cancel_button)
        self.channels.itemChanged.connect(self._count_layers)
        self.labels.itemChanged.connect(self._count_layers)
        self.none_button.clicked.connect(self._toggle_channels)
        self.open_button.clicked.connect(self.accept)
        self.cancel_button.clicked.connect(self.reject)
        self._count_layers()

    def request(self) -> OpenRequest:
        """Say what is chosen."""
        channels, labels = _checked(self.channels), _checked(self.labels)
        options = ReadOptions(
            labels=tuple(self._choices.details.labels[row] for row in labels),
            level=self.level.currentData(),
            series=self.series.currentData(),
        )
        some = 0 < len(channels) < self.channels.count()
        return OpenRequest(
            self._choices.location,
            options,
            channels if some else None,
            labels_only=bool(self.channels.count() and not channels),
            is_chosen=True,
        )

    def accept(self) -> None:
        """Request what is chosen, and close."""
        self.wanted.emit(self.request())
        super().accept()

    def _fill(self) -> None:
        details = self._choices.details
        for channel in details.channels:
            item = _add_checked(self.channels, channel.name or details.name)
            color = QPixmap(SIDE, SIDE)
            color.fill(QColor(f"#{channel.color}"))
            item.setIcon(QIcon(color))
        for label in details.labels:
            _add_checked(self.labels, label)
        self.level.addItem("all, as they are needed", None)
        for number, level in enumerate(details.levels):
            self.level.addItem(f"{number} · {shape_text(level.shape)}", number)
        self.series.addItem("all", None)
        for image in self._choices.images:
            self.series.addItem(image.name, image.path)

    def _toggle_channels(self) -> None:
        """Take no channel, or all if none is taken."""
        state = _OFF if _checked(self.channels) else _ON
        for item in _items(self.channels):
            item.setCheckState(state)

    def _count_layers(self, *_: object) -> None:
        """Warn of many layers, and let nobody open nothing."""
        count = len(_checked(self.channels)) + len(_checked(self.labels))
        self.show_message(f"⚠ This makes {count} layers." if count > MANY else "")
        self.open_button.setEnabled(count > 0 or not self.channels.count())


def _check_list(name: str, parent: QWidget) -> QListWidget:
    widget = QListWidget(parent)
    widget.setAccessibleName(name)
    widget.setMaximumHeight(140)
    return widget


def _add_checked(widget: QListWidget, text: str) -> QListWidgetItem:
    item = QListWidgetItem(text, widget)
    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
    item.setCheckState(_ON)
    return item


def _items(widget: QListWidget) -> Iterator[QListWidgetItem]:
    for row in range(widget.count()):
        item = widget.item(row)
        if item is not None:
            yield item


def _checked(widget: QListWidget) -> tuple[int, ...]:
    states = (item.checkState() for item in _items(widget))
    return tuple(row for row, state in enumerate(states) if state == _ON)


# Copy: an image byte for byte to another place, which can be resumed.


class CopyForm(Form):
    """Copies down, up, or from bucket to bucket, and goes on when hidden.

    Where no source or folder is given, the person says; the copy goes into the
    folder below the name of the source.
    """

    def __init__(
        self,
        parse: Callable[[str], Location],
        *,
        source: Location | None = None,
        folder: Location | None = None,
        parent: QWidget | None = None,
    ) -> None:
        title = "Upload" if folder is not None else "Copy"
        if source is not None:
            title = f"Download {source.name}"
            folder = folder or download_folder()
        super().__init__(title, parent)
        self._folder = folder
        self._transfer: Transfer | None = None
        self.source = PlaceLine("From", parse, folders=True, parent=self)
        self.target = PlaceLine("To", parse, folders=True, parent=self)
        self.bar = QProgressBar(self)
        self.bar.setAccessibleName("How far the copy is")
        self.start_button = QPushButton("&Copy", self)
        self.cancel_button = QPushButton("Close", self)
        self.rows.addRow("&From", self.source)
        self.rows.addRow("&To", self.target)
        self.arrange(self.start_button, self.cancel_button, below=self.bar)
        self._show_state()
        transfers().changed.connect(self._show_progress)
        self.source.changed.connect(self._suggest_target)
        self.target.chosen.connect(self._take_folder)
        self.start_button.clicked.connect(self.copy)
        self.cancel_button.clicked.connect(self.cancel)
        self.source.set_place(source)
        self.resize(440, self.sizeHint().height())

    @property
    def busy(self) -> bool:
        """Whether a copy is under way, or waits for its turn."""
        busy = (TransferState.RUNNING, TransferState.WAITING)
        return self._transfer is not None and self._transfer.state in busy

    def copy(self) -> None:
        """Begin, or go on where an earlier copy ended."""
        if self.busy:
            return
        try:
            source, target = self.source.place(), self.target.place()
        except OMEZarrError as error:
            self.show_error(error)
            return
        before = self._transfer
        if before is not None and before.is_again(source, target):
            transfers().resume(before)
            return
        if before is not None:
            transfers().remove(before)
        self._transfer = transfers().add(source, target)
        self._transfer.changed.connect(self._show_state)
        self._show_state()

    def cancel(self) -> None:
        """End the copy, keeping what is done; without one, close."""
        if self._transfer is None or not self.busy:
            self.close()
            return
        self._transfer.pause()
        self.show_message("Cancelled. What was copied is kept; Resume goes on.")

    def done(self, code: int) -> None:
        """Cancel on Esc first; close on the second."""
        if self.busy:
            self.cancel()
            return
        if self._transfer is not None and self._transfer.state is TransferState.DONE:
            transfers().remove(self._transfer)
            self._transfer = None
        super().done(code)

    def _show_state(self) -> None:
        busy, transfer = self.busy, self._transfer
        self.bar.setVisible(busy)
        self.cancel_button.setText("Cancel" if busy else "Close")
        for widget in (self.source, self.target, self.start_button):
            widget.setEnabled(not busy)
        if transfer is None:
            return
        known = transfer.progress is not None
        self.bar.setRange(0, 1000 if known else 0)
        self.bar.setValue(round(1000 * transfer.fraction))
        self.start_button.setText("&Resume" if transfer.is_begun else "&Copy")
        self.show_message(transfer.text)

    def _show_progress(self) -> None:
        if self._transfer is not None and self.busy:
            self._show_state()

    def _take_folder(self, folder: str) -> None:
        self._folder = Location.parse(folder)
        keep_browser_preferences(downloads=folder)
        self._suggest_target()

    def _suggest_target(self) -> None:
        """Put the copy below its own name into the folder that is proposed."""
        if self._folder is None or not self.source.line.address_text():
            return
        try:
            name = self.source.place().name
        except OMEZarrError:
            return
        self.target.set_place(self._folder / name)


def download_folder() -> Location:
    """Give the folder that was chosen last, at first the one that systems have."""
    kept = browser_preferences().get("downloads")
    standard = QStandardPaths.writableLocation(
        QStandardPaths.StandardLocation.DownloadLocation
    )
    return Location.parse(Path(kept if isinstance(kept, str) else standard))


# Make a folder, give another name, delete after asking.


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


_NAMED = 5
"""Of things to be deleted so many are named, and the others counted."""


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
        self._counted: tuple[Removal, ...] = ()
        self.delete_button = QPushButton("&Delete", self)
        self.cancel_button = QPushButton("Cancel", self)
        # Enter does nothing that cannot be undone.
        self.arrange(self.cancel_button, self.delete_button)
        self.delete_button.setEnabled(False)
        self.delete_button.clicked.connect(self.begin)
        self.cancel_button.clicked.connect(self.reject)
        self.show_message("Counting …")
        self._task: Task | None = Task(partial(_count, self._places, in_use))
        self._task.start(self._ask, self)

    @property
    def busy(self) -> bool:
        """Whether it counts or deletes."""
        return self._task is not None

    def begin(self) -> None:
        """Delete what was counted."""
        self.delete_button.setEnabled(False)
        self.show_message("Deleting …")
        work = partial(_delete, self._counted, self._in_use)
        self._task = Task(work).start(self._end, self)

    def _ask(self, outcome: Future[tuple[Removal, ...]]) -> None:
        self._task = None
        error = failure(outcome)
        if error is not None:
            self.show_error(error)
            return
        self._counted = outcome.result()
        objects = sum(each.found.objects for each in self._counted)
        size = bytes_text(sum(each.found.size for each in self._counted))
        names = ", ".join(place.name for place in self._places[:_NAMED])
        more = len(self._places) - _NAMED
        names += f" and {more:,} more" if more > 0 else ""
        things = f"{counted(objects, 'object')}, {size}"
        self.show_message(f"Delete {names}: {things}? This cannot be undone.")
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


def _count(places: Sequence[Location], in_use: frozenset[str]) -> tuple[Removal, ...]:
    return tuple(plan_removal(place, in_use) for place in places)


def _delete(counted: Sequence[Removal], in_use: frozenset[str]) -> None:
    for removal in counted:
        remove(removal, in_use)


# The form that looks at a table, and adds its columns to a layer of labels.

ID = "index"
"""The column by which napari finds the row of a label."""
_SHOWN = 200
"""Rows that are shown of a table; all are added."""
_NOWHERE = QModelIndex()
_ROLES = Qt.ItemDataRole


class TableRows(QAbstractTableModel):
    """The first rows of a table, as they are."""

    def __init__(self, columns: Mapping[str, np.ndarray], parent: QWidget) -> None:
        super().__init__(parent)
        self.names = list(columns)
        self._columns = [columns[name][:_SHOWN] for name in self.names]

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Count the rows that are shown."""
        no_rows = parent.isValid() or not self._columns
        return 0 if no_rows else len(self._columns[0])

    def columnCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Count the columns: all."""
        return 0 if parent.isValid() else len(self._columns)

    def data(self, index: QModelIndex, role: int = _ROLES.DisplayRole) -> Any:
        """Give a value as text; numbers are short."""
        if role != _ROLES.DisplayRole:
            return None
        value = self._columns[index.column()][index.row()]
        return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = _ROLES.DisplayRole
    ) -> Any:
        """Give the names of the columns; rows count from 1."""
        if role != _ROLES.DisplayRole:
            return None
        is_column = orientation == Qt.Orientation.Horizontal
        return self.names[section] if is_column else str(section + 1)


class TableForm(Form):
    """Adds columns to a layer of labels, each row to the label that it is about.

    Enter looks at the table first; all columns are added, or those that are chosen.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        parse: Callable[[str], Location],
        *,
        place: Location | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Labels table", parent)
        self._viewer = viewer
        self._table: LabelTable | None = None
        self._latest = DebouncedTask(self._receive, self)
        self.place = PlaceLine("Table", parse, folders=False, parent=self)
        self.place.line.setPlaceholderText("A .tsv, .csv or .parquet file")
        self.layer = combo_box("Layer", self)
        self.column = combo_box("Label column", self)
        self.preview = QTableView(self)
        self.add_button = QPushButton("&Look", self)
        self.close_button = QPushButton("Close", self)
        self.rows.addRow("&Table", self.place)
        self.rows.addRow("&Layer", self.layer)
        self.rows.addRow("Label &column", self.column)
        self.rows.setRowVisible(self.column, False)
        self.arrange(self.add_button, self.close_button, below=self.preview)
        self._arrange_preview()
        self._offer_layers()
        self.place.changed.connect(self._forget)
        self.add_button.clicked.connect(self.look_or_add)
        self.close_button.clicked.connect(self.close)
        self.place.set_place(place)
        self.resize(440, self.sizeHint().height())

    @property
    def busy(self) -> bool:
        """Whether the table is being read."""
        return self._latest.busy

    def look_or_add(self) -> None:
        """Read the table, and show it; one that was read is added."""
        if self._table is not None:
            self._add(self._table)
            return
        try:
            place = self.place.place()
        except OMEZarrError as error:
            self.show_error(error)
            return
        self.show_message(f"Reading {place.display} …")
        self._latest.ask(lambda: partial(read_table, place))

    def _receive(self, outcome: Future[LabelTable]) -> None:
        error = failure(outcome)
        if error is not None:
            self.show_error(error)
            return
        table = self._table = outcome.result()
        self.column.clear()
        self.column.addItems(table.candidates)
        self.rows.setRowVisible(self.column, bool(table.candidates))
        self.column.setCurrentText(table.label_column)
        self._show(TableRows(table.columns, self))
        self.add_button.setText("&Add")
        if table.label_column:
            rows = len(table.columns[table.label_column])
            columns = counted(len(table.columns), "column")
            self.show_message(
                f"{counted(rows, 'row')}, {columns}. Add takes all of them,"
                " or those that are chosen by their titles."
            )
        elif table.candidates:
            self.show_message("Choose the column that names the labels, then Add.")
        else:
            self.show_message("✖ No column of this table holds whole numbers.")

    def _add(self, table: LabelTable) -> None:
        layer: Any = self.layer.currentData()
        if layer not in self._viewer.layers:
            self.show_message("✖ There is no layer of labels. Open one first.")
            return
        try:
            columns = table.features(self.column.currentText())
        except OMEZarrError as error:
            self.show_error(error)
            return
        chosen = self._chosen() & columns.keys() or columns.keys()
        columns = {n: c for n, c in columns.items() if n == ID or n in chosen}
        layer.features = join_features(layer.features, plain_columns(columns))
        rows, count = len(columns[ID]), len(columns) - 1
        about = f"{counted(count, 'column')} about {counted(rows, 'label')}"
        text = f"Added {about} to {layer.name}."
        self.show_message(text)

    def _chosen(self) -> set[str]:
        """Give the columns that are chosen by their titles."""
        model, selection = self.preview.model(), self.preview.selectionModel()
        if not isinstance(model, TableRows) or selection is None:
            return set()
        return {model.names[index.column()] for index in selection.selectedColumns()}

    def _offer_layers(self) -> None:
        for layer in reversed(self._viewer.layers):
            if isinstance(layer, Labels):
                self.layer.addItem(layer.name, layer)
        active = self.layer.findData(self._viewer.layers.selection.active)
        self.layer.setCurrentIndex(max(active, 0))
        if not self.layer.count():
            self.show_message("There is no layer of labels. Open one first.")

    def _arrange_preview(self) -> None:
        self.preview.setAccessibleName("The first rows of the table")
        self.preview.setSelectionBehavior(QTableView.SelectionBehavior.SelectColumns)
        self.preview.setMinimumHeight(150)
        layout: Any = self.layout()
        layout.setStretchFactor(self.preview, 1)
        titles: Any = self.preview.horizontalHeader()
        titles.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        numbers: Any = self.preview.verticalHeader()
        numbers.setDefaultSectionSize(self.fontMetrics().height() + 10)
        # Tab goes on to the buttons.
        self.preview.setTabKeyNavigation(False)
        self.preview.hide()

    def _show(self, rows: TableRows | None) -> None:
        before = self.preview.model()
        self.preview.setModel(rows)
        self.preview.setVisible(rows is not None)
        if before is not None:
            before.deleteLater()

    def _forget(self) -> None:
        self._latest.forget()
        self._table = None
        self._show(None)
        self.add_button.setText("&Look")
        self.rows.setRowVisible(self.column, False)


def join_features(features: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Put columns beside the features of a layer, row to row by the label in `ID`.

    They replace columns of the same names.
    """
    new = pd.DataFrame(dict(columns)).drop_duplicates(ID)
    if ID not in features:
        return new
    kept = [name for name in features if name == ID or name not in new]
    return features[kept].merge(new, on=ID, how="outer")
