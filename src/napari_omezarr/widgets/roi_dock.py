"""The dock "OME-Zarr regions of interest": their names, to go to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer, Shapes
from qtpy.QtWidgets import (
    QComboBox,
    QLineEdit,
    QListWidget,
    QPushButton,
    QVBoxLayout,
)

from napari_omezarr.claims import place_of
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.layers import regions_of, table_layers
from napari_omezarr.plain_text import counted, plain
from napari_omezarr.tables import stored_tables

from .docks import Dock
from .fields import show_text
from .qt_async import DebouncedTask, failure
from .save_widgets import sentence_label
from .viewer_layers import (
    bare_layers,
    image_address,
    image_place,
    on_layers_changed,
    show_box,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    import napari.viewer

    from napari_omezarr.layers import LayerData
    from napari_omezarr.tables import StoredTable

    Regions = Mapping[str, tuple[slice, slice]]

_NONE = "No image that is open has regions of interest beside it."


class RoiDock(Dock):
    """Lists the regions of a table beside an open image, or of a layer, and goes there.

    Which tables there are is asked in a thread when the images change, and what a
    table holds when it is chosen.
    """

    tab = "Regions of interest (OME-Zarr)"

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._tables: tuple[StoredTable, ...] = ()
        self._addresses: tuple[str, ...] = ()
        self._regions: Regions = {}
        self.table = QComboBox(self)
        self.table.setAccessibleName("Table of regions")
        self.filter = QLineEdit(self)
        self.filter.setPlaceholderText("Filter by name")
        self.filter.setAccessibleName("Filter by name")
        self.filter.setClearButtonEnabled(True)
        self.names = QListWidget(self)
        self.names.setAccessibleName("Regions; Enter goes to one")
        self.outlines = QPushButton("Show outlines", self)
        self.outlines.setToolTip("Add all regions of this table as a Shapes layer")
        self.said = sentence_label(self)
        layout = QVBoxLayout(self)
        for widget in (self.table, self.filter, self.names, self.outlines, self.said):
            layout.addWidget(widget)
        self._finding = DebouncedTask(self._receive_tables, self)
        self._reading = DebouncedTask(self._receive_regions, self)
        self._outlining = DebouncedTask(self._receive_layers, self)
        self.table.currentIndexChanged.connect(self._choose)
        self.filter.textChanged.connect(self._list)
        self.names.itemClicked.connect(lambda item: self.go_to(item.text()))
        self.names.itemActivated.connect(lambda item: self.go_to(item.text()))
        self.outlines.clicked.connect(self._outline)
        on_layers_changed(napari_viewer, self._look)
        self._look()

    @property
    def busy(self) -> bool:
        """Whether something is asked for."""
        asked = (self._finding, self._reading, self._outlining)
        return any(each.busy for each in asked)

    def go_to(self, name: str) -> None:
        """Let the canvas show a region."""
        if name in self._regions:
            y, x = self._regions[name]
            show_box(self._viewer, (y.start, x.start), (y.stop, x.stop))
            show_text(self.said, plain(f"{name} is shown."))

    # Which tables there are.

    def _look(self, event: object = None) -> None:
        layers = bare_layers(self._viewer.layers)
        found = {image_place(each): None for each in layers if image_address(each)}
        addresses = tuple(found)
        if addresses != self._addresses:
            self._addresses = addresses
            self._finding.ask(lambda: partial(_tables_of, addresses))
        else:
            self._fill()

    def _receive_tables(self, outcome: Future[tuple[StoredTable, ...]]) -> None:
        error = failure(outcome)
        self._tables = () if error else outcome.result()
        self._fill()
        if error is not None:
            show_text(self.said, plain(str(error)))

    def _fill(self) -> None:
        """Offer the tables, and layers whose shapes have names."""
        before = self.table.currentText()
        self.table.blockSignals(True)
        self.table.clear()
        for table in self._tables:
            self.table.addItem(plain(table.name), table)
        for layer in bare_layers(self._viewer.layers):
            if isinstance(layer, Shapes) and "name" in layer.features:
                self.table.addItem(f"layer {layer.name}", layer)
        at = self.table.findText(before)
        self.table.setCurrentIndex(max(at, 0) if self.table.count() else -1)
        self.table.blockSignals(False)
        self._choose()

    # What a table holds.

    def _choose(self) -> None:
        chosen = self.table.currentData()
        is_layer = isinstance(chosen, Layer)
        self.outlines.setEnabled(chosen is not None and not is_layer)
        if chosen is None:
            self._reading.forget()
            self._show({}, _NONE)
        elif is_layer:
            self._show(_of_layer(chosen))
        else:
            show_text(self.said, "Reading …")
            self._reading.ask(lambda: partial(regions_of, chosen))

    def _receive_regions(self, outcome: Future[Regions]) -> None:
        error = failure(outcome)
        if error is not None:
            self._show({}, str(error))
        else:
            self._show(outcome.result())

    def _show(self, regions: Regions, said: str = "") -> None:
        self._regions = {plain(name): box for name, box in regions.items()}
        show_text(self.said, plain(said) or f"{counted(len(regions), 'region')}.")
        self._list()

    def _list(self) -> None:
        wanted = self.filter.text().lower()
        self.names.clear()
        self.names.addItems([n for n in self._regions if wanted in n.lower()])

    # Their outlines.

    def _outline(self) -> None:
        chosen = self.table.currentData()
        self._outlining.ask(lambda: partial(table_layers, chosen))

    def _receive_layers(self, outcome: Future[list[LayerData]]) -> None:
        error = failure(outcome)
        if error is not None:
            show_text(self.said, plain(str(error)))
            return
        for data in outcome.result():
            self._viewer.add_layer(Layer.create(*data))


def _tables_of(addresses: tuple[str, ...]) -> tuple[StoredTable, ...]:
    """Find the tables of regions beside images; of one that has none it is silent."""
    found: list[StoredTable] = []
    for address in addresses:
        try:
            tables = stored_tables(place_of(address))
        except OMEZarrError:  # no image of ours has to have any
            continue
        found += [table for table in tables if "roi_table" in table.kind]
    return tuple(found)


def _of_layer(layer: Shapes) -> Regions:
    """Give the boxes of named shapes in the world, along its last two axes."""
    found = {}
    for name, corners in zip(layer.features["name"], layer.data, strict=True):
        world = np.array([layer.data_to_world(corner) for corner in corners])[:, -2:]
        low, high = world.min(axis=0).tolist(), world.max(axis=0).tolist()
        found[str(name)] = slice(low[0], high[0]), slice(low[1], high[1])
    return found
