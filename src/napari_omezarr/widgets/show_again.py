"""An open image shown differently: level, channels, coordinate system, as labels."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.claims import place_of
from napari_omezarr.display.notifications import main_window, show_error, show_info
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.plain_text import counted, shape_text

from .background_save import explained
from .fields import ChoiceField, form_rows, show_focus
from .open import OpenOptions, make_layer, with_options
from .qt_async import Task, failure
from .sessions import described, dress
from .viewer_layers import (
    bare_layers,
    image_address,
    image_place,
    is_edited,
    is_moved,
    keep_as_made,
    move_like,
    record_of,
    source_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    import napari.viewer
    from napari.components import ViewerModel

    from napari_omezarr.layers import LayerSpec

_CHANNEL = Qt.ItemDataRole.UserRole
_ON, _OFF = Qt.CheckState.Checked, Qt.CheckState.Unchecked
_NONE = "The selected layer was not opened from an OME-Zarr. Select one that was."


class ShowAgainForm(QDialog):
    """Changes how the layers of one image are shown, without opening it anew.

    What a layer looks like stays; channels that are not open yet are opened.
    """

    def __init__(
        self, viewer: ViewerModel, layer: Layer, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        show_focus()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(300)
        self.setWindowTitle("Show differently")
        self._viewer, self._layer = viewer, layer
        self._address = image_address(layer)
        self._specs: dict[int, LayerSpec] = {}
        self._every: tuple[LayerSpec, ...] = ()
        self.level = ChoiceField("Level", self._levels())
        systems = systems_of(layer)
        self.system = ChoiceField("Coordinate system", [(n, n) for n in systems])
        kinds = [("image", "image"), ("labels", "labels")]
        self.kind = ChoiceField("This layer as", kinds)
        self.channels = QListWidget(self)
        self.channels.setAccessibleName("Channels")
        self.channels.setMaximumHeight(140)
        self.message = QLabel("Looking what there is …", self)
        self.message.setWordWrap(True)
        self.message.setTextFormat(Qt.TextFormat.PlainText)
        self.show_button = QPushButton("&Show", self)
        self.close_button = QPushButton("Close", self)
        self._arrange()
        self.level.value = layer.locked_data_level
        self.kind.value = "labels" if isinstance(layer, Labels) else "image"
        if systems:
            self.system.value = str(record_of(layer).get("coordinate_system"))
        self.show_button.clicked.connect(self.apply)
        self.close_button.clicked.connect(self.reject)
        self._task: Task | None = Task(reading_of(layer))
        self._task.start(self._fill, self)

    @property
    def busy(self) -> bool:
        """Whether it is being found out what there is to choose."""
        return self._task is not None

    def apply(self) -> None:
        """Show the image as it is chosen."""
        layers = self._layers()
        for layer in layers:
            if layer.multiscale:
                layer.locked_data_level = self.level.value
        self._show_channels()
        now = str(record_of(self._layer).get("coordinate_system"))
        if self.system.value not in (None, now):
            show_in(layers, self._address, self.system.value)
        self._show_kind()

    def _layers(self) -> list[Layer]:
        found = bare_layers(self._viewer.layers)
        return [layer for layer in found if image_address(layer) == self._address]

    def _levels(self) -> list[tuple[str, int | None]]:
        data: Any = self._layer.data if self._layer.multiscale else [self._layer.data]
        texts = [f"{at} · {shape_text(level.shape)}" for at, level in enumerate(data)]
        return [("as it is needed", None), *((t, at) for at, t in enumerate(texts))]

    def _arrange(self) -> None:
        rows, form = form_rows([self.level, self.system, self.kind])
        form.setRowVisible(self.system, len(self.system.choices) > 1)
        buttons, layout = QHBoxLayout(), QVBoxLayout(self)
        buttons.addStretch()
        buttons.addWidget(self.show_button)
        buttons.addWidget(self.close_button)
        layout.addWidget(rows)
        layout.addWidget(self.channels)
        layout.addWidget(self.message)
        layout.addLayout(buttons)
        self.channels.hide()
        self.show_button.setDefault(True)

    def _fill(self, outcome: Future[tuple[LayerSpec, ...]]) -> None:
        self._task = None
        error = failure(outcome)
        if error is not None:
            self.message.setText(f"✖ {error}")
            return
        self.message.hide()
        self._every = outcome.result()
        for spec in self._every:
            record = spec.record
            channel = record.get("channel")
            if isinstance(channel, int):
                self._specs[channel] = spec
        open_now = {record_of(layer).get("channel"): layer for layer in self._layers()}
        for channel, spec in self._specs.items():
            item = QListWidgetItem(str(spec.options.get("name", channel)))
            item.setData(_CHANNEL, channel)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            shown = channel in open_now and open_now[channel].visible
            item.setCheckState(_ON if shown else _OFF)
            self.channels.addItem(item)
        self.channels.setVisible(len(self._specs) > 1)

    def _show_channels(self) -> None:
        # Also those that are shown as labels, but not the labels of the image.
        open_now = {
            record_of(layer).get("channel"): layer
            for layer in self._layers()
            if record_of(layer).get("address") == self._address
        }
        for row in range(self.channels.count()):
            item = self.channels.item(row)
            if item is None:
                continue
            channel, on = item.data(_CHANNEL), item.checkState() == _ON
            if channel in open_now:
                open_now[channel].visible = on
            elif on:
                self._add(self._specs[channel], None)

    def _show_kind(self) -> None:
        layer = self._layer
        is_now = "labels" if isinstance(layer, Labels) else "image"
        if self.kind.value == is_now or layer not in self._viewer.layers:
            return
        wanted = _identity(record_of(layer))
        spec = next((s for s in self._every if _identity(s.record) == wanted), None)
        if spec is None:
            return
        try:
            spec = with_options(spec, OpenOptions(layer_type=self.kind.value))
        except OMEZarrError as error:
            self.message.setText(f"✖ {error}")
            self.message.show()
            return
        self._layer = self._add(spec, layer)

    def _add(self, spec: LayerSpec, instead_of: Layer | None) -> Layer:
        """Add a layer, in the place of another one that goes."""
        with source_of(place_of(image_place(self._layer))):
            new = make_layer(spec)
        layers = self._viewer.layers
        if instead_of is None:
            self._viewer.add_layer(new)
            return new
        at = layers.index(instead_of)
        move_like(new, instead_of)
        new.name = instead_of.name
        layers.remove(instead_of)
        layers.insert(at, new)
        return new


def reading_of(layer: Layer) -> Callable[[], tuple[LayerSpec, ...]]:
    """Give what reads the image of a layer again, signed in and chosen as it was."""
    record = record_of(layer)
    options = {
        **(record.get("options") or {}),
        "coordinate_system": record.get("coordinate_system"),
    }
    return partial(read_as, image_place(layer), options)


def _identity(record: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return what tells the layers of one image apart."""
    return record.get("address"), record.get("channel")


def show_differently(viewer: napari.viewer.Viewer) -> ShowAgainForm | None:
    """Let the person choose how the image of the selected layer is shown."""
    selected = [y for y in bare_layers(viewer.layers) if y in viewer.layers.selection]
    chosen = [layer for layer in selected if image_address(layer)]
    if not chosen:
        show_error(_NONE)
        return None
    form = ShowAgainForm(viewer, chosen[-1], main_window())
    form.show()
    return form


# What has changed since it was opened, in place of the layers that show it.

_PLACE = ("scale", "translate", "rotate", "shear", "affine", "locked_data_level")
_PAUSE = 60.0
_opened_again: dict[str, float] = {}
"""When images were last opened anew by themselves: where it does not help, once."""


def open_again(
    viewer: ViewerModel, about: str = "", *, by_itself: bool = False
) -> list[Task]:
    """Open images anew, in place of their layers and looking as these do; not at once.

    They are those of the selected layers, or that lie at or above an address. By itself
    nothing is opened whose pixels somebody has changed, or that just was: the person
    is asked then.
    """
    layers = [layer for layer in bare_layers(viewer.layers) if image_address(layer)]
    if about:
        chosen = [y for y in layers if f"{about}/".startswith(f"{image_address(y)}/")]
    else:
        images = {image_address(y) for y in layers if y in viewer.layers.selection}
        chosen = [layer for layer in layers if image_address(layer) in images]
    if by_itself and not _may_be_replaced(chosen):
        return []
    if not chosen:
        show_error(_NONE)
    alike: dict[str, list[Layer]] = {}
    for layer in chosen:
        opened = (image_address(layer), record_of(layer).get("options") or {})
        alike.setdefault(repr(opened), []).append(layer)
    return [
        Task(reading_of(some[0])).start(partial(_take_places, viewer, some, by_itself))
        for some in alike.values()
    ]


def _may_be_replaced(layers: Sequence[Layer]) -> bool:
    """Say whether layers may be made anew unasked, and note that they are."""
    now = time.monotonic()
    images = {image_address(layer) for layer in layers}
    recent = [i for i in images if now - _opened_again.get(i, -_PAUSE) < _PAUSE]
    if not layers or recent or any(map(is_edited, layers)):
        return False
    _opened_again.update(dict.fromkeys(images, now))
    return True


def _take_places(
    viewer: ViewerModel,
    layers: Sequence[Layer],
    by_itself: bool,
    outcome: Future[tuple[LayerSpec, ...]],
) -> None:
    error = failure(outcome)
    if error is not None:
        show_error(str(error))
        return
    specs = {_identity(spec.record): spec for spec in outcome.result()}
    still = [layer for layer in layers if layer in viewer.layers]
    if by_itself and any(map(is_edited, still)):  # meanwhile
        return
    lost = [layer for layer in still if _identity(record_of(layer)) not in specs]
    for layer in (layer for layer in still if layer not in lost):
        replace_layer(viewer, layer, specs[_identity(record_of(layer))])
    if lost:
        show_error(f"No longer there: {counted(len(lost), 'layer')} of the image.")
    elif by_itself and still:
        name = place_of(image_address(layers[0])).name
        show_info(f"{name} has changed since it was opened: it is shown as it is now.")


def replace_layer(viewer: ViewerModel, layer: Layer, spec: LayerSpec) -> Layer:
    """Show what a specification says in place of a layer, and looking as it does."""
    with source_of(place_of(image_place(layer))):
        new = make_layer(spec)
    looks = described(layer).looks
    dress(new, {key: look for key, look in looks.items() if key not in _PLACE})
    if is_moved(layer) and layer.ndim == new.ndim:
        move_like(new, layer)
    if isinstance(layer, Labels) and spec.features is None and not len(new.features):
        new.features = layer.features
    selection = viewer.layers.selection
    selected = {new if each is layer else each for each in selection}
    # Never without a layer: the viewer would forget where one looks.
    viewer.layers.insert(viewer.layers.index(layer), new)
    viewer.layers.remove(layer)
    is_named = layer.name != record_of(layer).get("layer_name")
    new.name = layer.name if is_named else spec.options["name"]
    selection.intersection_update(selected)
    selection.update(selected)
    return new


# Where the layers of an image lie: in another of its coordinate systems.

_NO_OTHER = "The images of the selected layers have no other coordinate system."


def choose_coordinate_system(viewer: napari.viewer.Viewer) -> QInputDialog | None:
    """Ask in which of its systems the image of the selected layer is to be shown."""
    layers = bare_layers(viewer.layers)
    chosen = [layer for layer in layers if layer in viewer.layers.selection]
    chosen = [layer for layer in chosen if len(systems_of(layer)) > 1]
    if not chosen:
        show_error(_NO_OTHER)
        return None
    layer = chosen[-1]
    dialog = QInputDialog(main_window())
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle("Coordinate system")
    dialog.setLabelText("Show the layers of this image in")
    dialog.setComboBoxItems(systems_of(layer))
    dialog.setTextValue(str(record_of(layer).get("coordinate_system")))
    layers.sort(key=lambda each: each is not layer)  # how it was opened counts
    dialog.textValueSelected.connect(partial(show_in, layers, image_address(layer)))
    dialog.open()
    return dialog


def systems_of(layer: Layer) -> list[str]:
    """Return the names of the systems that a layer's image can be shown in."""
    names = record_of(layer).get("coordinate_systems")
    return [str(name) for name in names] if isinstance(names, list) else []


def show_in(layers: Sequence[Layer], address: str, system: str) -> Task:
    """Move those layers that belong to an image into one of its systems."""
    wanted = [layer for layer in layers if image_address(layer) == address]
    # Those that were opened otherwise, as one level of the image, are read so again.
    options = record_of(wanted[0]).get("options", {}) if wanted else {}
    alike = [w for w in wanted if record_of(w).get("options", {}) == options]
    place = image_place(wanted[0]) if wanted else address
    read = partial(read_as, place, {**options, "coordinate_system": system})
    return Task(read).start(partial(_place, alike))


def read_as(address: str, options: Mapping[str, Any]) -> tuple[LayerSpec, ...]:
    """Read what layers of an image are to be, opened with certain options; blocks."""
    from napari_omezarr.reading import ReadOptions

    from .open import open_place

    return open_place(place_of(address), ReadOptions(**options)).specs


def _place(layers: Sequence[Layer], outcome: Future[tuple[LayerSpec, ...]]) -> None:
    error = outcome.exception()
    if error is not None:
        show_error(explained(error))
        return
    specs = {_identity(spec.record): spec for spec in outcome.result()}
    for layer in layers:
        spec = specs.get(_identity(record_of(layer)))
        if spec is not None:
            _move(layer, spec.options)


def _move(layer: Layer, options: Mapping[str, Any]) -> None:
    """Give a layer another place, whatever it had before."""
    ndim = layer.ndim
    layer.scale = options.get("scale", np.ones(ndim))
    layer.translate = options.get("translate", np.zeros(ndim))
    layer.rotate = options.get("rotate", np.eye(ndim))
    layer.shear = options.get("shear", np.zeros(ndim * (ndim - 1) // 2))
    layer.affine = options.get("affine", np.eye(ndim + 1))
    if "units" in options:
        layer.units = options["units"]
    if "axis_labels" in options:
        layer.axis_labels = options["axis_labels"]
    record, now = record_of(layer), options["metadata"]["omezarr"]
    record["coordinate_system"] = now["coordinate_system"]
    keep_as_made(layer)
