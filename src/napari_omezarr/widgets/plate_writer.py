"""The dock "Write an OME-Zarr plate": layers, or a table of files, become its wells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from napari_omezarr.claims import target_of
from napari_omezarr.errors import OMEZarrError, WriteCancelledError
from napari_omezarr.plain_text import counted, plain

from .background_save import Saving, explained, open_saved
from .docks import Dock
from .fields import show_text
from .qt_async import Task
from .save_widgets import SaveProgress, SaveTarget, sentence_label
from .viewer_layers import bare_layers, image_address, layer_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future
    from threading import Event

    import napari.viewer
    from napari.layers import Layer

    from napari_omezarr.location import Location
    from napari_omezarr.writing import Progress, Saved

    from .background_save import Work

_COLUMNS = ("Image", "Well", "Field", "Acquisition")
_AUTOMATIC = "automatic"
_VERSIONS = (_AUTOMATIC, "0.4", "0.5", "0.6")
_NAMED = re.compile(r"(?<![A-Za-z0-9])([A-Pa-p])0*([1-9][0-9]?)(?![0-9])")
"""What of a layer's name is its well, like ``B03``."""
_ROWS = "ABCDEFGH"
_HINT = (
    "Check which well each image belongs to. Layers with the same well and field "
    "become the channels, and the labels, of one image."
)


@dataclass(frozen=True, slots=True)
class PlateRow:
    """A row of the form: a layer, or a row of a table of files."""

    name: str
    well: str
    field: str = ""
    acquisition: str = ""
    layer: Layer | None = None
    image: Any = None  # what reads a file


class PlateWriter(Dock):
    """Writes layers, or the files of a table, as the fields of a plate's wells.

    What is at the target stays: a plate that is there gets more wells.
    """

    tab = "Write plate (OME-Zarr)"

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._rows: tuple[PlateRow, ...] = ()
        self._saving: Saving | None = None
        self._place: Location | None = None
        self._task: Task | None = None
        self.layers = QPushButton("From &layers", self)
        self.files = QPushButton("From a &table of files…", self)
        self.form = QTableWidget(0, len(_COLUMNS), self)
        self.target = SaveTarget(self)
        self.name = QLineEdit(self)
        self.version = QComboBox(self)
        self.go_on = QCheckBox("Leave fields that are there", self)
        self.write = QPushButton("&Write", self)
        self.progress = SaveProgress(self)
        self.message = sentence_label(self)
        self.open = QPushButton("&Open it", self)
        self._arrange()
        self.layers.clicked.connect(self.take_layers)
        self.files.clicked.connect(self.choose_table)
        self.form.itemChanged.connect(self._changed)
        self.target.changed.connect(self._changed)
        self.write.clicked.connect(self.begin)
        self.progress.cancel.clicked.connect(self.cancel)
        self.open.clicked.connect(self.open_plate)
        self.take_layers()

    def _arrange(self) -> None:
        self.setMinimumWidth(300)
        self.form.setHorizontalHeaderLabels(list(_COLUMNS))
        self.form.setAccessibleName("Images and their wells")
        self.form.setTabKeyNavigation(False)  # Tab leaves it, the arrows move in it
        header = self.form.horizontalHeader()
        if header is not None:
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
            for column in range(1, len(_COLUMNS)):
                header.setSectionResizeMode(column, header.ResizeMode.ResizeToContents)
        self.target.suggest("plate.ome.zarr")
        self.name.setPlaceholderText("As the plate's folder is called")
        self.version.addItems(_VERSIONS)
        self.version.setToolTip("As the plate that is there, else 0.5")
        self.go_on.setToolTip(
            "Go on with what broke off; else a field is never replaced"
        )
        self.files.setToolTip(
            "CSV: image and well (or row and column); also field, acquisition"
        )
        sources, layout, options = QHBoxLayout(), QVBoxLayout(self), QFormLayout()
        sources.addWidget(self.layers)
        sources.addWidget(self.files)
        hint = sentence_label(self)
        hint.setText(_HINT)
        hint.setVisible(True)
        options.addRow("&Name", self.name)
        options.addRow("OME-Zarr &version", self.version)
        layout.addLayout(sources)
        layout.addWidget(hint)
        layout.addWidget(self.form, 1)
        layout.addWidget(self.target)
        layout.addLayout(options)
        for part in (self.go_on, self.write, self.progress, self.message, self.open):
            layout.addWidget(part)
        self.progress.hide()
        self.open.hide()

    # What is to be written.

    def take_layers(self) -> None:
        """Show the images and labels of the viewer, each with a well of its own.

        Layers of one image share a well; a well in a layer's name is its well.
        """
        bare = bare_layers(self._viewer.layers)
        self._show(
            layer_rows(each for each in bare if isinstance(each, Image | Labels))
        )

    def choose_table(self) -> None:
        """Let the person choose a table of files."""
        dialog = QFileDialog(self, "A table of files")
        dialog.setNameFilter("Tables (*.csv *.tsv *.txt)")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.take_table)
        dialog.open()

    def take_table(self, path: str) -> None:
        """Read a table of files, and show its rows."""
        self._start(Task(partial(_file_rows, Path(path))), "Reading the table …")

    def _start(self, task: Task, said: str) -> None:
        if self._task is not None:
            self._task.abandon()
        self._say(said)
        self._task = task.start(self._receive, self)

    def _receive(self, outcome: Future[Any]) -> None:
        self._task = None
        error = outcome.exception()
        if error is not None:
            self._say(f"✖ {explained(error)}")
            return
        found = outcome.result()
        if isinstance(found, tuple):
            self._show(found)
            return
        from .open import add_layers

        add_layers(self._viewer, found)
        self._say("")

    def _show(self, rows: Sequence[PlateRow]) -> None:
        self._rows = tuple(rows)
        self.form.blockSignals(True)
        self.form.setRowCount(len(rows))
        for number, row in enumerate(rows):
            texts = (row.name, row.well, row.field, row.acquisition)
            for column, text in enumerate(texts):
                item = QTableWidgetItem(plain(text))
                if column == 0:
                    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                    item.setToolTip(plain(text))
                self.form.setItem(number, column, item)
        self.form.blockSignals(False)
        self._say("" if rows else "There is no image. Open some, or choose a table.")
        self._changed()

    def _texts(self, number: int) -> tuple[str, ...]:
        items = (self.form.item(number, c) for c in range(1, len(_COLUMNS)))
        return tuple("" if item is None else item.text().strip() for item in items)

    def _changed(self, _change: object = None) -> None:
        wells = [self._texts(number)[0] for number in range(len(self._rows))]
        ready = any(wells) and bool(self.target.line.address_text())
        self.write.setEnabled(ready and self._saving is None)

    # Writing.

    def begin(self) -> None:
        """Begin to write; the end comes by signal. Rows without a well are left out."""
        if self._saving is not None:
            return
        said = [self._texts(number) for number in range(len(self._rows))]
        chosen = [pair for pair in zip(self._rows, said, strict=True) if pair[1][0]]
        try:
            place = target_of(self.target.line.address_text())
            rows = plate_fields(chosen)
            choices: dict[str, Any] = {}
            if (version := self.version.currentText()) != _AUTOMATIC:
                choices["version"] = version
            if self.name.text().strip():
                choices["name"] = self.name.text().strip()
            if self.go_on.isChecked():
                choices["unfinished"] = "resume"
            layers = [row.layer for row, _ in chosen if row.layer is not None]
            saving = Saving(place.display, _writing(rows, place, choices), layers)
            saving.start()
        except OMEZarrError as error:
            self._say(f"✖ {error}")
            return
        saving.progressed.connect(self.progress.show_progress)
        saving.ended.connect(partial(self._end, place))
        self._saving = saving
        self._say("")
        self._set_busy(busy=True)

    def cancel(self) -> None:
        """End its requests; fields that are whole stay."""
        if self._saving is not None:
            self._saving.cancel()
            self.progress.stopping()

    def _set_busy(self, *, busy: bool) -> None:
        parts = (self.layers, self.files, self.form, self.target, self.name)
        for part in (*parts, self.version, self.go_on):
            part.setEnabled(not busy)
        self.write.setVisible(not busy)
        self.progress.setVisible(busy)
        if busy:
            self.progress.begin()

    def _end(self, place: Location, outcome: Future[Any]) -> None:
        self._saving = None
        self._set_busy(busy=False)
        self._changed()
        error = outcome.exception()
        if error is None:
            fields = counted(len(outcome.result()), "field")
            self._say(f"Wrote {fields} to {place.display}.")
            self._place = place
            self.open.show()
            return
        cancelled = isinstance(error, WriteCancelledError)
        self._say("Cancelled." if cancelled else f"✖ {explained(error)}")

    def open_plate(self) -> None:
        """Open the plate that was written."""
        if self._place is not None:
            self._start(Task(partial(open_saved, self._place)), "Opening …")

    def _say(self, text: str) -> None:
        show_text(self.message, plain(text))
        self.open.hide()


def layer_rows(layers: Iterable[Layer]) -> list[PlateRow]:
    """Propose a well for each layer; those of one image share one."""
    wells: dict[str, str] = {}
    taken: set[str] = set()
    rows = []
    for number, layer in enumerate(layers):
        image = image_address(layer) or f"layer {number}"
        found = _NAMED.search(layer.name)
        if found is not None:
            wells[image] = f"{found[1].upper()}{int(found[2])}"
        elif image not in wells:
            free = (f"{row}{n}" for row in _ROWS for n in range(1, 13))
            wells[image] = next((well for well in free if well not in taken), "")
        taken.add(wells[image])
        rows.append(PlateRow(layer.name, wells[image], layer=layer))
    return rows


def plate_fields(
    chosen: Iterable[tuple[PlateRow, tuple[str, ...]]],
) -> list[dict[str, Any]]:
    """Give rows for `write_plate`; layers of one well and field are one image.

    Raises
    ------
    OptionError
        A text is no well.
    """
    from napari_omezarr.writing import parse_well_name

    rows: dict[Any, dict[str, Any]] = {}
    for number, (row, (well, field, acquisition)) in enumerate(chosen):
        line, column = parse_well_name(well)
        said = {"well": well, "field": field, "acquisition": acquisition}
        if row.layer is None:
            rows[number] = {**said, "image": row.image}
            continue
        key = line, column.lstrip("0"), field, acquisition
        rows.setdefault(key, {**said, "image": []})
        data, options, kind = layer_data(row.layer)
        renamed = {**options, "name": _channel_name(row.layer.name)}
        rows[key]["image"].append((data, renamed, kind))
    return _with_common_name(list(rows.values()))


def _channel_name(name: str) -> str:
    """Leave the well out of a layer's name: all wells have the same channels."""
    return " ".join(_NAMED.sub(" ", name).split()).strip(" -_:,") or name


def _with_common_name(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Call channels alike where each field has one: wells then show one channel."""
    images = [
        [options for _, options, kind in row["image"] if kind == "image"]
        for row in rows
        if isinstance(row["image"], list)
    ]
    if all(len(each) == 1 for each in images):
        named = [options for each in images for options in each]
        if len({options["name"] for options in named}) > 1:
            for options in named:
                options["name"] = "image"
    return rows


def _writing(
    rows: Sequence[Mapping[str, Any]], place: Location, choices: Mapping[str, Any]
) -> Work:
    def work(tell: Callable[[Progress], None], cancel: Event) -> tuple[Saved, ...]:
        from napari_omezarr.opened import write_plate

        return write_plate(rows, place, progress=tell, cancel=cancel, **choices)

    return work


def _file_rows(table: Path) -> tuple[PlateRow, ...]:
    """Read a table of files; blocks."""
    from napari_omezarr.converting import plate_rows

    return tuple(
        PlateRow(
            row["inputs"][0],
            row.get("well") or f"{row.get('row', '')}/{row.get('column', '')}",
            row.get("field", ""),
            row.get("acquisition", ""),
            image=row["image"],
        )
        for row in plate_rows(table)
    )
