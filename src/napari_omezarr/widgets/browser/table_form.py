"""The form that looks at a table, and adds its columns to a layer of labels."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package
from napari.layers import Labels
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtWidgets import QPushButton, QTableView

from napari_omezarr.browsing import LabelTable, read_table
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.layers import plain_columns
from napari_omezarr.widgets.qt_async import DebouncedTask, failure

from .controls import Form, PlaceLine, combo_box

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from napari.components import ViewerModel
    from qtpy.QtWidgets import QWidget

    from napari_omezarr.location import Location

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
            self.show_message(
                f"{rows:,} rows, {len(table.columns)} columns. Add takes all of them,"
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
        text = f"Added {count} columns about {rows:,} labels to {layer.name}."
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
