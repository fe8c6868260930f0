"""The form "Labels table": a table by its address, into the features of a layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.browsing import LabelTable, read_table
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.widgets.latest import Latest

from .pane import plain_label
from .place_line import PlaceLine
from .reply import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from napari.components import ViewerModel

    from napari_omezarr.location import Location

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
        self._latest = Latest(self._hear, self)
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
