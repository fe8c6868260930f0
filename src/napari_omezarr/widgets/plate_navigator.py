"""The dock "OME-Zarr plate": the wells of a plate, to go to, to colour, to open."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
)

from napari_omezarr._io_loop import run
from napari_omezarr.claims import place_of
from napari_omezarr.errors import NodeNotFoundError, OMEZarrError
from napari_omezarr.opened import add_plate_labels
from napari_omezarr.plain_text import counted, plain
from napari_omezarr.pyramid import mosaic_of, pixels_of
from napari_omezarr.reading import ReadOptions
from napari_omezarr.tables import by_well, stored_tables, unit_of

from .docks import Dock
from .fields import show_text
from .plate_map import PlateMap, WellColours
from .qt_async import Task
from .viewer_layers import on_layers_changed, record_of, show_box, signed_address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    import napari.viewer
    from napari.layers import Layer

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Mosaic, Place

    from .open import Opened

_LOOK_AGAIN = 500  # milliseconds, as long as wells come in
_NAMES = "well names"
_MOST_NAMES = 2000
_MOST_FIELDS = 100
_STATE, _ROW, _COLUMN = "what is loaded", "row", "column"


class PlateNavigator(Dock):
    """Shows the plate of the layers of a viewer, and goes where one clicks."""

    tab = "Plate (OME-Zarr)"

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._mosaic: Mosaic | None = None
        self._layer: Layer | None = None
        self._task: Task | None = None
        self._tables: dict[str, Mapping[str, Any]] = {}
        self._units: dict[str, str] = {}
        self.map = PlateMap(self)
        self.colour = QComboBox(self)
        self.decades = QCheckBox("Log", self)
        self.filter = QLineEdit(self)
        self.only = QPushButton("Open these", self)
        self.which = QComboBox(self)
        self.names = QCheckBox("Well names", self)
        self.again = QPushButton("Open again", self)
        self.back = QPushButton("Its plate", self)
        self.save = QPushButton("Save labels", self)
        self.message = QLabel(self)
        self._arrange()
        self._connect()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)
        self._timer.start(_LOOK_AGAIN)
        self._look_for_plate()

    def _arrange(self) -> None:
        layout = QVBoxLayout(self)
        top, middle, bottom = QHBoxLayout(), QHBoxLayout(), QHBoxLayout()
        self.colour.addItems([_STATE, _ROW, _COLUMN])
        self.colour.setToolTip("What the colours of wells say")
        self.colour.setAccessibleName("Colour by")
        self.filter.setPlaceholderText("Show only, like B  or  B3 C4  or  >0.5")
        self.filter.setClearButtonEnabled(True)
        self.filter.setAccessibleName("Show only these wells")
        self.only.setToolTip("Show a plate of the wells that the filter leaves")
        self.only.setEnabled(False)
        self.back.setToolTip("From a well or a field back to the whole plate")
        self.save.setToolTip(
            "Save the selected labels, made on the plate, into the images of its fields"
        )
        self.message.setWordWrap(True)
        top.addWidget(QLabel("Colour by", self))
        top.addWidget(self.colour, 1)
        self.decades.setToolTip("Equal steps of colour for equal factors of the value")
        self.decades.setChecked(True)
        self.decades.hide()
        top.addWidget(self.decades)
        self.which.setToolTip("What a double click, or Enter, opens")
        self.which.setAccessibleName("What a double click, or Enter, opens")
        middle.addWidget(self.names)
        middle.addStretch()
        middle.addWidget(self.which)
        self.again.setToolTip("Not all of the plate has room: open it again for that")
        self.again.hide()
        bottom.addWidget(self.again)
        bottom.addStretch()
        bottom.addWidget(self.save)
        bottom.addWidget(self.back)
        layout.addLayout(top)
        chosen = QHBoxLayout()
        chosen.addWidget(self.filter, 1)
        chosen.addWidget(self.only)
        layout.addLayout(chosen)
        layout.addWidget(self.map, 1)
        layout.addLayout(middle)
        layout.addLayout(bottom)
        layout.addWidget(self.message)

    def _connect(self) -> None:
        self.map.chosen.connect(self.go_to)
        self.map.activated.connect(self.open_well)
        self.colour.currentTextChanged.connect(self._recolour)
        self.decades.toggled.connect(self._recolour)
        self.filter.textChanged.connect(self._refilter)
        self.only.clicked.connect(self.open_filtered)
        self.names.toggled.connect(self.show_names)
        self.again.clicked.connect(self.open_again)
        self.back.clicked.connect(self.open_plate)
        self.save.clicked.connect(self.save_labels)
        on_layers_changed(self._viewer, self._look_for_plate)
        self._viewer.layers.selection.events.active.connect(self._look_for_plate)

    def _tick(self) -> None:
        """Show what was found out of the wells that were looked at meanwhile."""
        self.map.update()
        documents = _documents(self._mosaic)
        self.again.setVisible(documents is not None and documents.lacks_room)
        self._offer_fields()

    def _offer_fields(self) -> None:
        """Offer the fields of wells, those too that wells turn out to have later on."""
        if self._mosaic is None:
            return
        fields: Any = self._mosaic.fields
        shown = fields.choice.fields
        numbers = (*shown, *range(len(shown), fields.most_fields))[:_MOST_FIELDS]
        for number in numbers[self.which.count() - 1 :]:
            self.which.addItem(f"opens field {number}")
        self.which.setVisible(len(numbers) > 1)

    # Which plate.

    def _look_for_plate(self, _event: object = None) -> None:
        """Show the plate of the active layer, else of any other one."""
        active = self._viewer.layers.selection.active
        found = {la: m for la in self._viewer.layers if (m := plate_of(la))}
        own = _address(found.get(active)) if active is not None else ""
        alike = [la for la, m in found.items() if own in ("", m.address)]
        # A well that was opened by itself is a plate of one well.
        self._layer = max(alike, key=lambda la: len(_wells(found[la])), default=None)
        if active in alike and len(_wells(found[active])) > 1:
            self._layer = active
        mosaic = None if self._layer is None else found[self._layer]
        self.back.setEnabled(active is not None and bool(record_of(active)))
        for widget in (self.colour, self.filter, self.names, self.which, self.save):
            widget.setEnabled(mosaic is not None)
        if mosaic is not None and (
            self._mosaic is None or mosaic.fields is not self._mosaic.fields
        ):
            self._mosaic = mosaic
            self.map.show_plate(mosaic.fields.grid, _states(mosaic))
            self.which.clear()
            self.which.addItem("opens all fields")
            self._offer_fields()
            self._recolour()
            self._find_tables(mosaic)
        elif mosaic is None:
            self._mosaic = None
            self.map.show_plate(None, {})

    @property
    def mosaic(self) -> Mosaic | None:
        """The plate that is shown."""
        return self._mosaic

    # Going to a well.

    def go_to(self, place: Place) -> None:
        """Let the canvas show a well."""
        mosaic, layer = self._mosaic, self._layer
        if mosaic is None or layer is None:
            return
        if not layer.visible:  # a well of it is shown by itself
            self._show_plate(layer)
        grid = mosaic.fields.grid
        first = np.array(grid.corner(place)) - 0.5
        corners = (self._world(layer, at) for at in (first, first + grid.cell))
        show_box(self._viewer, *corners)
        self._say(self.map.described(place))

    def _world(self, layer: Layer, point: Any) -> np.ndarray:
        """Give where a pixel of the plate lies, in the world's last two axes."""
        whole = np.zeros(layer.ndim)
        whole[-2:] = point
        return np.asarray(layer.data_to_world(whole))[-2:]

    # Opening a well, and going back.

    def open_well(self, place: Place) -> None:
        """Open a well by itself, as an image of its own; the plate is hidden."""
        mosaic = self._mosaic
        if mosaic is None:
            return
        name = mosaic.fields.grid.wells[place]
        which = self.which.currentIndex() - 1
        work = partial(_opened, mosaic.fields, place, None if which < 0 else which)
        self._start(work, f"Opening {name} …")

    def open_filtered(self) -> None:
        """Open the plate again with the wells that the filter leaves."""
        if self._mosaic is None or not self._kept:
            return
        options = {"rows": None, "columns": None, "wells": self._kept}
        work = partial(_opened_again, self._mosaic.fields, options)
        self._start(work, f"Opening {counted(len(self._kept), 'well')} …")

    def open_again(self) -> None:
        """Open the plate again, as it was, with room for what had none."""
        if self._mosaic is not None:
            self._start(partial(_opened_again, self._mosaic.fields, {}), "Opening …")

    def open_plate(self) -> None:
        """Show the plate that the active layer's well or field belongs to."""
        active = self._viewer.layers.selection.active
        address = str(record_of(active).get("address", "")) if active else ""
        plates = {la: m for la in self._viewer.layers if (m := plate_of(la))}
        below = f"{address}/"
        own = [la for la, m in plates.items() if below.startswith(f"{m.address}/")]
        if own := own or ([] if address else list(plates)):
            self._show_plate(max(own, key=lambda la: len(_wells(plates[la]))))
        elif address:
            place = place_of(signed_address(active))
            self._start(partial(_plate_above, place), "Looking …")

    def _show_plate(self, layer: Layer) -> None:
        shown = plate_of(layer)
        box = []
        for other in self._viewer.layers:
            own = plate_of(other)
            other.visible = bool(own and shown and _states(own) is _states(shown))
            box += [np.asarray(other.extent.world)[:, -2:]] if other.visible else []
        self._viewer.layers.selection.active = layer
        show_box(self._viewer, np.min(box, axis=0)[0], np.max(box, axis=0)[1])

    def _start(self, work: Any, said: str) -> None:
        if self._task is not None:
            self._task.abandon()
        self._say(said)
        self._task = Task(work)
        self._task.start(self._receive, self)

    def _receive(self, outcome: Future[Opened]) -> None:
        from .open import add_layers

        self._task = None
        error = outcome.exception()
        if isinstance(error, OMEZarrError):
            self._say(str(error))
            return
        for layer in self._viewer.layers:
            layer.visible = False
        before = set(self._viewer.layers)
        add_layers(self._viewer, outcome.result())
        new = [layer for layer in self._viewer.layers if layer not in before]
        boxes = [np.asarray(layer.extent.world)[:, -2:] for layer in new]
        show_box(self._viewer, np.min(boxes, axis=0)[0], np.max(boxes, axis=0)[1])
        self._say("")

    # Labels that were made on the plate.

    def save_labels(self) -> None:
        """Save the active labels into the images of the fields that they lie on."""
        active = self._viewer.layers.selection.active
        if not isinstance(active, Labels) or self._layer is None:
            self._say("Select labels that were made on the plate.")
            return
        values, name = np.array(active.data), active.name
        # A well that is open by itself is a plate of one, or its one field.
        shown = [
            layer
            for layer in self._viewer.layers
            if layer.visible and (plate_of(layer) or "channel" in record_of(layer))
        ]
        alike = [la for la in shown if _finest_shape(la) == values.shape]
        plate = alike[0] if alike else self._layer
        work = partial(add_plate_labels, values, plate, name=name)
        if self._task is not None:
            self._task.abandon()
        self._say(f"Saving {name} …")
        self._task = Task(work)
        self._task.start(self._receive_saved, self)

    def _receive_saved(self, outcome: Future[tuple[str, ...]]) -> None:
        self._task = None
        error = outcome.exception()
        if isinstance(error, OMEZarrError):
            self._say(str(error))
        else:
            self._say(f"Saved into {counted(len(outcome.result()), 'field')}.")

    # Colours and the filter.

    def set_values(self, name: str, values: Mapping[str, Any], unit: str = "") -> None:
        """Offer a column of a table: a value for each well, by its path."""
        self._tables[name], self._units[name] = values, unit
        if self.colour.findText(name) < 0:
            self.colour.addItem(name)

    def _find_tables(self, mosaic: Mosaic) -> None:
        """Offer the columns of the tables that lie beside the wells."""
        fields: Any = mosaic.fields
        location = fields.documents.opening.location
        wells = tuple(mosaic.fields.grid.wells.values())
        task = Task(partial(_columns_of_wells, location, wells))
        task.start(partial(self._receive_tables, mosaic), self)

    def _receive_tables(self, mosaic: Mosaic, outcome: Future[Any]) -> None:
        if mosaic is not self._mosaic or outcome.exception() is not None:
            return
        for name, (values, unit) in outcome.result().items():
            self.set_values(name, values, unit)

    def _values(self) -> dict[str, Any] | None:
        if self._mosaic is None:
            return None
        grid, chosen = self._mosaic.fields.grid, self.colour.currentText()
        if chosen == _ROW:
            return {name: grid.rows[r] for (r, _), name in grid.wells.items()}
        if chosen == _COLUMN:
            return {name: grid.columns[c] for (_, c), name in grid.wells.items()}
        return dict(self._tables[chosen]) if chosen in self._tables else None

    def _recolour(self, _change: object = None) -> None:
        values, unit = self._values(), self._units.get(self.colour.currentText(), "")
        colours = None
        if values is not None:
            by_decades = self.decades.isChecked()
            colours = WellColours(values, unit, by_decades=by_decades)
        self.decades.setVisible(colours is not None and colours.spans_decades)
        self.map.show_values(colours)
        self._refilter()

    def _refilter(self, _text: str = "") -> None:
        text = self.filter.text().strip()
        self._kept: tuple[str, ...] = ()
        if self._mosaic is None or not text:
            self.map.show_only(None)
            self.only.setEnabled(False)
            return
        wells = tuple(self._mosaic.fields.grid.wells.values())
        kept = filtered(wells, self._values() or {}, text)
        self._kept = tuple(well for well in wells if well in kept)
        self.only.setEnabled(bool(kept))
        self.map.show_only(kept)
        self._say(f"{len(kept):,} of {len(wells):,} wells")

    # Names over the canvas.

    def show_names(self, wanted: bool) -> None:
        """Write the names of the wells over the plate, or take them away."""
        if _NAMES in self._viewer.layers:
            self._viewer.layers.remove(_NAMES)
        mosaic, layer = self._mosaic, self._layer
        if not wanted or mosaic is None or layer is None:
            return
        grid = mosaic.fields.grid
        wells = list(grid.wells.items())[:_MOST_NAMES]
        points = [self._world(layer, grid.corner(place)) for place, _ in wells]
        size = float(
            np.ptp([self._world(layer, (0, 0)), self._world(layer, grid.cell)])
        )
        before = self._viewer.layers.selection.active
        self._viewer.add_points(
            np.array(points),
            name=_NAMES,
            size=size / 500,
            face_color="transparent",
            border_color="transparent",
            features={"well": [plain(name.replace("/", "")) for _, name in wells]},
            text={
                "string": "{well}",
                "color": "#ffdd55",
                "anchor": "lower_left",
                "size": max(1, size / 8),
                "scaling": True,
            },
            units=layer.units[-2:],
        )
        if before is not None:
            self._viewer.layers.selection.active = before

    def _say(self, text: str) -> None:
        show_text(self.message, plain(text))


def plate_of(layer: Any) -> Mosaic | None:
    """Give the plate that a layer shows; None for other layers."""
    data: Any = getattr(layer, "data", None)
    finest = data[0] if getattr(layer, "multiscale", False) else data
    pixels = pixels_of(finest) if hasattr(finest, "dask") else None
    mosaic = None if pixels is None else mosaic_of(pixels)
    return mosaic if mosaic is not None and mosaic.fields.grid.rows else None


def _finest_shape(layer: Layer) -> tuple[int, ...]:
    data: Any = layer.data
    return tuple((data[0] if getattr(layer, "multiscale", False) else data).shape)


def _address(mosaic: Mosaic | None) -> str:
    return "" if mosaic is None else mosaic.address


def _documents(mosaic: Mosaic | None) -> Any:
    """Give what is known of a plate's wells and fields, and of their room."""
    return None if mosaic is None else getattr(mosaic.fields, "documents", None)


def _wells(mosaic: Mosaic) -> Mapping[Place, str]:
    return mosaic.fields.grid.wells


def _states(mosaic: Mosaic) -> Mapping[str, str]:
    """Give what is known of wells, which the layers of one plate share."""
    fields: Any = mosaic.fields
    states: Mapping[str, str] = fields.documents.states
    return states


def filtered(wells: Any, values: Mapping[str, Any], text: str) -> set[str]:
    """Give the wells that a text names: rows, wells, or values by name or by ``>``."""
    kept: set[str] = set()
    for word in text.replace(",", " ").split():
        if word[0] in "<>" and _is_number(word[1:]):
            limit, above = float(word[1:]), word[0] == ">"
            kept |= {
                well
                for well, value in values.items()
                if isinstance(value, int | float)
                and (value > limit if above else value < limit)
            }
            continue
        wanted = word.upper().replace("/", "")
        kept |= {
            well
            for well in wells
            if wanted in (well.upper().replace("/", ""), *well.upper().split("/"))
            or word.lower() in str(values.get(well, "")).lower()
        }
    return kept


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdecimal()


def _opened_again(fields: Any, changes: Mapping[str, Any]) -> Opened:
    """Open a plate as it was opened but for some options; blocks."""
    from .open import open_place

    opening = fields.documents.opening
    return open_place(opening.location, replace(opening.options, **changes))


def _opened(fields: Any, place: Place, number: int | None) -> Opened:
    """Open a well, or one of its fields, by itself; blocks.

    All fields of a well are one picture, as they are on the plate.
    """
    from .open import open_place

    opening, name = fields.documents.opening, fields.grid.wells[place]
    choice = fields.choice
    if number is not None and number >= len(choice.fields):  # it was learnt later
        return open_place(opening.place(_path_in(fields, place, number)))
    step = [0] * len(choice.steps)
    if number is not None and "field" in choice.steps:
        step[-1] = number
    tiles = run(fields.tiles(place, tuple(step)))
    wanted = 0 if number is None or "field" in choice.steps else number
    if wanted >= len(tiles):
        raise _no_field(fields, place)
    if number is None and fields.most_fields > 1:
        options = ReadOptions(wells=(name,), fields="all")
        return open_place(opening.location, options)
    return open_place(opening.place(tiles[wanted].path))


def _path_in(fields: Any, place: Place, number: int) -> str:
    path: str | None = run(fields.field_path(place, number))
    if path is None:
        raise _no_field(fields, place)
    return path


def _no_field(fields: Any, place: Place) -> NodeNotFoundError:
    msg = f"Well {fields.grid.wells[place]} has no such field."
    url = fields.documents.opening.place(fields.groups[place]).display
    return NodeNotFoundError(msg, url=url)


def _plate_above(location: Location) -> Opened:
    """Open the plate that a well, a field or its labels lie in; blocks."""
    from .open import open_place

    place = location
    for _ in range(5):
        if not place.path or place.parent == place:
            break
        place = place.parent
        try:
            opened = open_place(place)
        except OMEZarrError:
            continue
        fields: Any = mosaic_of(opened.reading.pyramids[0].levels[0].pixels)
        if fields is not None and fields.fields.grid.rows:
            return opened
    msg = f"{location.display} belongs to no plate."
    raise NodeNotFoundError(msg, url=location.display)


def _columns_of_wells(
    location: Location, wells: tuple[str, ...]
) -> dict[str, tuple[Mapping[str, Any], str]]:
    """Read the tables beside a plate: by column values of wells, and their unit."""
    found: dict[str, tuple[Mapping[str, Any], str]] = {}
    for stored in stored_tables(location):
        try:
            table = stored.read()
            for column in table.columns:
                values = by_well(table, column, wells)
                if values:
                    unit = unit_of(table, column)
                    found[f"{stored.name}: {column}"] = values, unit
        except OMEZarrError:  # of cells, or one that cannot be read
            continue
    return found
