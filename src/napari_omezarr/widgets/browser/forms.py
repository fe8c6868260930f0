"""What a person may choose from before a place is opened."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package
from napari.layers import Labels
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.browsing import (
    Copied,
    CopyProgress,
    EntryKind,
    LabelTable,
    Listing,
    copy_store,
    describe,
    read_table,
    start,
)
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.location import Location
from napari_omezarr.reading import ReadOptions
from napari_omezarr.widgets.qt_async import (
    DebouncedTask,
    FutureWatcher,
    app_events,
    failure,
)
from napari_omezarr.widgets.quantities import bytes_text, shape_text

from .header import PlaceLine
from .opener import MANY, OpenRequest
from .panes import plain_label
from .text import SIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

    from napari.components import ViewerModel

    from napari_omezarr.browsing import Details, Entry

# The form "Copy": an image byte for byte to another place, which can be resumed.

_BEAT = 200
"""Milliseconds between two looks at how far it is."""


class CopyForm(QDialog):
    """Copies down, up, or from bucket to bucket; not modal, and goes on when hidden.

    Parameters
    ----------
    parse : callable
        Makes a `Location` of what is typed.
    source : Location, optional
        What to copy; else the person says.
    folder : Location, optional
        Where it goes, below its own name; else the person says.
    parent : QWidget, optional
        Its owner.
    """

    def __init__(
        self,
        parse: Callable[[str], Location],
        *,
        source: Location | None = None,
        folder: Location | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._folder = folder
        self._copying: FutureWatcher | None = None
        self._progress: CopyProgress | None = None
        self._begun = 0.0
        self._written = ""
        self.setWindowTitle("Copy byte for byte")
        self.setMinimumWidth(300)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.source = PlaceLine("From", parse, folders=True, parent=self)
        self.target = PlaceLine("To", parse, folders=True, parent=self)
        self.bar = QProgressBar(self)
        self.message = plain_label(self)
        self.start_button = QPushButton("&Copy", self)
        self.cancel_button = QPushButton("Close", self)
        self._timer = QTimer(self)
        self._timer.setInterval(_BEAT)
        self._arrange()
        self._timer.timeout.connect(self._show_progress)
        self.source.changed.connect(self._suggest)
        self.target.chosen.connect(self._take_folder)
        self.start_button.clicked.connect(self.copy)
        self.cancel_button.clicked.connect(self.cancel)
        self.source.set_place(source)

    @property
    def busy(self) -> bool:
        """Whether a copy is under way."""
        return self._copying is not None

    def copy(self) -> None:
        """Begin, or go on where an earlier copy ended."""
        if self.busy:
            return
        try:
            source, target = self.source.place(), self.target.place()
        except OMEZarrError as error:
            self._say(f"✖ {error}")
            return
        self._begun, self._progress = monotonic(), None
        self._written = target.display
        future = start(copy_store(source, target, progress=self._keep))
        self._copying = FutureWatcher(future, self._end, self)
        self._timer.start()
        self._say("Looking what there is …")
        self._show_state()

    def cancel(self) -> None:
        """End the copy, keeping what is done; without one, close."""
        if self._copying is None:
            self.close()
            return
        self._copying.abandon()
        self._copying = None
        app_events().written.emit(self._written)
        self.start_button.setText("&Resume")
        self._say("Cancelled. What was copied is kept; Resume goes on.")
        self._show_state()

    def done(self, code: int) -> None:
        """Cancel on Esc first; close on the second."""
        if self.busy:
            self.cancel()
        else:
            super().done(code)

    def _keep(self, progress: CopyProgress) -> None:
        """Note how far it is; called on the I/O loop, so it does nothing more."""
        self._progress = progress

    def _show_progress(self) -> None:
        if self._progress is None:
            return
        self.bar.setRange(0, 1000)
        self.bar.setValue(round(1000 * _fraction(self._progress)))
        self._say(progress_text(self._progress, monotonic() - self._begun))

    def _end(self, future: Future[Copied]) -> None:
        self._copying = None
        app_events().written.emit(self._written)
        error = failure(future)
        if error is None:
            self.start_button.setText("&Copy")
            self.bar.setRange(0, 1)
            self.bar.setValue(1)
            self._say(copied_text(future.result()))
        else:
            self.start_button.setText("&Resume")
            self._say(f"✖ {error}")
        self._show_state()

    def _show_state(self) -> None:
        busy = self.busy
        if not busy:
            self._timer.stop()
        elif self._progress is None:
            self.bar.setRange(0, 0)
        self.bar.setVisible(busy)
        self.cancel_button.setText("Cancel" if busy else "Close")
        for widget in (self.source, self.target, self.start_button):
            widget.setEnabled(not busy)

    def _say(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def _take_folder(self, folder: str) -> None:
        self._folder = Location.parse(folder)
        self._suggest()

    def _suggest(self) -> None:
        """Put it below its own name into the folder that is proposed."""
        if self._folder is None or not self.source.line.address_text():
            return
        try:
            name = self.source.place().name
        except OMEZarrError:
            return
        self.target.set_place(self._folder / name)

    def _arrange(self) -> None:
        layout, form, buttons = QVBoxLayout(self), QFormLayout(), QHBoxLayout()
        form.addRow("&From", self.source)
        form.addRow("&To", self.target)
        buttons.addStretch()
        buttons.addWidget(self.start_button)
        buttons.addWidget(self.cancel_button)
        layout.addLayout(form)
        layout.addWidget(self.message)
        layout.addWidget(self.bar)
        layout.addStretch()
        layout.addLayout(buttons)
        self.start_button.setDefault(True)
        for button in (self.cancel_button, self.source.browse, self.target.browse):
            button.setAutoDefault(False)
        self.bar.setAccessibleName("How far the copy is")
        self._show_state()


def progress_text(progress: CopyProgress, seconds: float) -> str:
    """Say how far a copy is, and how fast.

    Parameters
    ----------
    progress : Progress
        What is done of all; a total of no bytes is one that is not known.
    seconds : float
        Since it began.
    """
    objects = f"{progress.objects:,} of {progress.all_objects:,} objects"
    done = bytes_text(progress.bytes)
    if progress.all_bytes:
        done = f"{done} of {bytes_text(progress.all_bytes)}"
    rate = f"{bytes_text(progress.bytes / seconds)}/s" if seconds > 0 else ""
    return ", ".join(part for part in (objects, done, rate) if part)


def copied_text(copied: Copied) -> str:
    """Say what a copy has done."""
    text = f"Copied {copied.objects:,} objects, {bytes_text(copied.bytes)}"
    before = f"; {copied.resumed:,} were there from before" if copied.resumed else ""
    return f"{text}, to {copied.target.display}{before}."


def _fraction(progress: CopyProgress) -> float:
    if progress.all_bytes:
        return progress.bytes / progress.all_bytes
    return progress.objects / max(progress.all_objects, 1)


# The form "Labels table": a table by its address, into the features of a layer.

ID = "index"
"""The column by which napari finds the row of a label."""


class TableForm(QDialog):
    """Adds columns to a layer of labels, each row to the label that it is about.

    Parameters
    ----------
    viewer : ViewerModel
        Whose labels layers are offered, the chosen one first.
    parse : callable
        Makes a `Location` of what is typed.
    place : Location, optional
        The table; else the person says.
    parent : QWidget, optional
        Its owner.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        parse: Callable[[str], Location],
        *,
        place: Location | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._table: LabelTable | None = None
        self._latest = DebouncedTask(self._hear, self)
        self.setWindowTitle("Labels table")
        self.setMinimumWidth(300)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.place = PlaceLine("Table", parse, folders=False, parent=self)
        self.place.line.setPlaceholderText("A .tsv, .csv or .parquet file")
        self.layer = QComboBox(self)
        self.column = QComboBox(self)
        self.message = plain_label(self)
        self.add_button = QPushButton("&Add", self)
        self.close_button = QPushButton("Close", self)
        self._arrange()
        self._offer_layers()
        self.place.changed.connect(self._forget)
        self.add_button.clicked.connect(self.add)
        self.close_button.clicked.connect(self.close)
        self.place.set_place(place)

    @property
    def busy(self) -> bool:
        """Whether the table is being read."""
        return self._latest.busy

    def add(self) -> None:
        """Read the table, and add it; one that was read is added at once."""
        if self._table is not None:
            self._apply(self._table)
            return
        try:
            place = self.place.place()
        except OMEZarrError as error:
            self.message.setText(f"✖ {error}")
            return
        self.message.setText(f"Reading {place.display} …")
        self._latest.ask(lambda: partial(read_table, place))

    def _hear(self, outcome: Future[LabelTable]) -> None:
        error = failure(outcome)
        if error is not None:
            self.message.setText(f"✖ {error}")
            return
        table = self._table = outcome.result()
        self.column.clear()
        self.column.addItems(table.candidates)
        self._form.setRowVisible(self.column, bool(table.candidates))
        if table.label_column:
            self.column.setCurrentText(table.label_column)
            self._apply(table)
        elif table.candidates:
            self.message.setText("Choose the column that names the labels, then Add.")
        else:
            self.message.setText("✖ No column of this table holds whole numbers.")

    def _apply(self, table: LabelTable) -> None:
        layer = self._chosen_layer()
        if layer is None:
            self.message.setText("✖ There is no layer of labels. Open one first.")
            return
        try:
            columns = table.features(self.column.currentText())
        except OMEZarrError as error:
            self.message.setText(f"✖ {error}")
            return
        layer.features = joined(layer.features, columns)
        rows, count = len(columns[ID]), len(columns) - 1
        text = f"Added {count} columns about {rows:,} labels to {layer.name}."
        self.message.setText(text)

    def _chosen_layer(self) -> Labels | None:
        layer: Any = self.layer.currentData()
        return layer if layer in self._viewer.layers else None

    def _offer_layers(self) -> None:
        for layer in reversed(self._viewer.layers):
            if isinstance(layer, Labels):
                self.layer.addItem(layer.name, layer)
        active = self.layer.findData(self._viewer.layers.selection.active)
        self.layer.setCurrentIndex(max(active, 0))
        if not self.layer.count():
            self.message.setText("There is no layer of labels. Open one first.")

    def _forget(self) -> None:
        self._latest.forget()
        self._table = None
        self._form.setRowVisible(self.column, False)

    def _arrange(self) -> None:
        layout, self._form, buttons = QVBoxLayout(self), QFormLayout(), QHBoxLayout()
        self._form.addRow("&Table", self.place)
        self._form.addRow("&Layer", self.layer)
        self._form.addRow("Label &column", self.column)
        self._form.setRowVisible(self.column, False)
        buttons.addStretch()
        buttons.addWidget(self.add_button)
        buttons.addWidget(self.close_button)
        layout.addLayout(self._form)
        layout.addWidget(self.message)
        layout.addStretch()
        layout.addLayout(buttons)
        self.add_button.setDefault(True)
        for button in (self.close_button, self.place.browse):
            button.setAutoDefault(False)
        for combo, name in ((self.layer, "Layer"), (self.column, "Label column")):
            combo.setAccessibleName(name)
            combo.setMinimumContentsLength(8)


def joined(features: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Put columns beside the features of a layer, row to row by the label.

    Parameters
    ----------
    features : pandas.DataFrame
        What the layer has; its columns of the same names are replaced.
    columns : Mapping
        The new ones, with `ID` among them.
    """
    new = pd.DataFrame(dict(columns)).drop_duplicates(ID)
    if ID not in features:
        return new
    kept = [name for name in features if name == ID or name not in new]
    return features[kept].merge(new, on=ID, how="outer")


# The form "Open…": which channels, labels, level, and which image of a series.

_ON, _OFF = Qt.CheckState.Checked, Qt.CheckState.Unchecked


class OpenForm(QDialog):
    """Lets a person choose; it is not modal, and says when there would be many layers.

    Parameters
    ----------
    choices : Choices
        What there is.
    parent : QWidget, optional
        Its owner.
    """

    wanted = Signal(object)
    """The `OpenRequest`."""

    def __init__(self, choices: Choices, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choices = choices
        self.setWindowTitle(f"Open {choices.location.name}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.channels = _checks("Channels", self)
        self.labels = _checks("Labels", self)
        self.none_button = QPushButton("&None / all", self)
        self.level, self.series = QComboBox(self), QComboBox(self)
        self.level.setAccessibleName("Level")
        self.series.setAccessibleName("Image of the series")
        self.warning = QLabel(self)
        self.warning.setWordWrap(True)
        box = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(box.Open | box.Cancel, self)
        self._fill()
        self._arrange()
        self._weigh()

    def wish(self) -> OpenRequest:
        """Say what is chosen."""
        channels, labels = _checked(self.channels), _checked(self.labels)
        chosen = tuple(self._choices.details.labels[row] for row in labels)
        options = ReadOptions(
            labels=chosen, level=self.level.currentData(), series=self._image()
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
        """Tell what is chosen, and close."""
        self.wanted.emit(self.wish())
        super().accept()

    def _fill(self) -> None:
        details = self._choices.details
        for channel in details.channels:
            item = _item(self.channels, channel.name or details.name)
            color = QPixmap(SIDE, SIDE)
            color.fill(QColor(f"#{channel.color}"))
            item.setIcon(QIcon(color))
        for label in details.labels:
            _item(self.labels, label)
        self.level.addItem("all, as they are needed", None)
        for number, level in enumerate(details.levels):
            self.level.addItem(f"{number} · {shape_text(level.shape)}", number)
        self.series.addItem("all", None)
        for image in self._choices.images:
            self.series.addItem(image.name, image.path)

    def _arrange(self) -> None:
        layout, form = QVBoxLayout(self), QFormLayout()
        form.addRow("&Channels", self.channels)
        form.addRow("", self.none_button)
        form.addRow("&Labels", self.labels)
        form.addRow("Le&vel", self.level)
        form.addRow("&Image", self.series)
        form.setRowVisible(self.channels, bool(self.channels.count()))
        form.setRowVisible(self.none_button, self.channels.count() > 1)
        form.setRowVisible(self.labels, bool(self.labels.count()))
        form.setRowVisible(self.series, self.series.count() > 1)
        layout.addLayout(form)
        layout.addWidget(self.warning)
        layout.addWidget(self.buttons)
        self.channels.itemChanged.connect(self._weigh)
        self.labels.itemChanged.connect(self._weigh)
        self.none_button.clicked.connect(self._turn)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.setMinimumWidth(300)

    def _image(self) -> str | None:
        path: str | None = self.series.currentData()
        return path

    def _turn(self) -> None:
        """Take no channel, or all if none is taken."""
        state = _OFF if _checked(self.channels) else _ON
        for item in _items(self.channels):
            item.setCheckState(state)

    def _weigh(self, *_: object) -> None:
        """Warn of many layers, and let nobody open nothing."""
        count = len(_checked(self.channels)) + len(_checked(self.labels))
        self.warning.setText(f"⚠ This makes {count} layers." if count > MANY else "")
        self.warning.setVisible(count > MANY)
        button = self.buttons.button(QDialogButtonBox.StandardButton.Open)
        if button is not None:
            button.setEnabled(count > 0 or not self.channels.count())


def _checks(name: str, parent: QWidget) -> QListWidget:
    widget = QListWidget(parent)
    widget.setAccessibleName(name)
    widget.setMaximumHeight(140)
    return widget


def _item(widget: QListWidget, text: str) -> QListWidgetItem:
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


# What a person may choose from before a place is opened.

_SEVERAL = (EntryKind.SERIES, EntryKind.SCENE)


@dataclass(frozen=True, slots=True)
class Choices:
    """A place with its channels, labels, levels and images.

    Attributes
    ----------
    location : Location
        What is to be opened.
    details : Details
        Of the image; of a series or a scene of its first one.
    images : tuple of Entry
        The images of a series or a scene; else none.
    """

    location: Location
    details: Details
    images: tuple[Entry, ...] = ()


def find_choices(location: Location) -> Choices:
    """Find out what there is to choose; blocks.

    Raises
    ------
    OMEZarrError
        The place could not be read.
    """
    details = describe(location, sample=False)
    if details.entry.kind not in _SEVERAL:
        return Choices(location, details)
    page = Listing(details.entry).more().result()
    return Choices(location, details, page.entries)
