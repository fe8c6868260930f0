"""The dock "OME-Zarr region": a box of an image, at a level, as new layers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    ProgressBar,
    PushButton,
    RangeSlider,
)
from napari.layers import Image
from psygnal import Signal
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QComboBox, QPushButton, QVBoxLayout, QWidget
from superqt import QLabeledRangeSlider

from napari_omezarr.display import default_cache_bytes, shared_engine
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.plain_text import plain
from napari_omezarr.region import RegionPart, as_placed, estimate, start

from .qt_async import FutureWatcher
from .quantities import bytes_text, lengths_text, shape_text
from .region_box import (
    RegionBox,
    companions,
    croppable,
    cuts,
    finest_shape,
    visible_edges,
)
from .viewer_layers import (
    image_address,
    keep_original,
    on_layers_changed,
    source_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    import napari.viewer
    import numpy as np
    from magicgui.widgets import Widget
    from napari.layers import Layer
    from qtpy.QtGui import QHideEvent, QKeyEvent

    from .region_box import Cut, Edges

TICK = 100
"""Milliseconds between looks at how far a load is."""

_NO_ROOM = (
    "There is not enough memory for this region. "
    "Choose a coarser level or a smaller box."
)


class RegionForm:
    """What the dock shows and the person has set, in a column."""

    edges_changed = Signal()
    """A range was set by the person."""

    def __init__(self) -> None:
        self.layer = ComboBox(label="Image", choices=())
        self.together = CheckBox(text="", value=True, visible=False)
        self.together.tooltip = "The other channels and the labels of the same image"
        self.hide = CheckBox(text="hide what it is cut from", value=True)
        self.draw = PushButton(text="&Draw a box")
        self.view = PushButton(text="Use the &view")
        self.whole = PushButton(text="Whole &image")
        self.axes: Container[Any] = Container(labels=True)
        self.level = ComboBox(label="Level", choices=())
        self.cost = Label(value="")
        self.warning = Label(value="", visible=False)
        self.load = PushButton(text="&Load as new layer")
        self.progress = ProgressBar(value=0, max=100, visible=False)
        self.cancel = PushButton(text="&Cancel", visible=False)
        self.message = Label(value="", visible=False)
        box = _row(self.draw, self.view, self.whole)
        last = _row(self.progress, self.load, self.cancel)
        above = [Container(widgets=[self.layer]), self.together, box, self.axes]
        below = [Container(widgets=[self.level]), self.cost, self.warning, self.hide]
        widgets = [*above, *below, last, self.message]
        self.container: Container[Any] = Container(widgets=widgets, labels=False)
        self._dress()

    def set_layers(self, layers: Sequence[Layer]) -> None:
        """Offer these layers; the chosen one stays if it is among them."""
        self.layer.choices = [(layer.name, layer) for layer in layers]

    def set_axes(
        self, names: Sequence[str], shape: Sequence[int], edges: Edges
    ) -> None:
        """Offer a range along each axis, from 0 to its size."""
        self.axes.clear()
        for name, size, edge in zip(names, shape, edges, strict=True):
            name = plain(name)
            slider = RangeSlider(label=name, min=0, max=size, value=_round(edge, size))
            slider.tooltip = f"Pixels of the finest level along {name}, of {size:,}"
            _compact(slider.native)
            slider.changed.connect(self._tell_edges)
            self.axes.append(slider)

    def set_edges(self, ranges: Iterable[tuple[int, tuple[float, float]]]) -> None:
        """Set the ranges along some axes; tells of it once."""
        for axis, edge in ranges:
            slider: Any = self.axes[axis]
            with slider.changed.blocked():
                slider.value = _round(edge, int(slider.max))
        self.edges_changed.emit()

    def edges(self) -> Edges:
        """Return the ranges, each at least one pixel."""
        sliders: list[Any] = list(self.axes)
        return tuple(_round(slider.value, int(slider.max)) for slider in sliders)

    def set_levels(self, texts: Sequence[str], level: int) -> None:
        """Offer levels, finest first."""
        with self.level.changed.blocked():
            self.level.choices = [(text, n) for n, text in enumerate(texts)]
            if texts:
                self.level.value = level

    def set_companions(self, count: int) -> None:
        """Offer to take other layers of the image too."""
        layers = "layer" if count == 1 else "layers"
        self.together.text = f"with {count} more visible {layers} of it"
        self.together.visible = count > 0

    def set_loadable(self, loadable: bool) -> None:
        """Say whether there is anything to be loaded, and to be set."""
        for widget in (self.draw, self.view, self.whole, self.level, self.load):
            widget.enabled = loadable

    def set_busy(self, busy: bool) -> None:
        """Show how far it is and how to end it, or how to begin it."""
        self.progress.value = 0
        self.progress.visible = busy
        self.cancel.visible = busy
        self.load.visible = not busy

    def say(self, text: str) -> None:
        """Say something below the form, or nothing."""
        self.message.value = text
        self.message.visible = bool(text)

    def warn(self, text: str) -> None:
        """Warn of what would be loaded, or do not."""
        self.warning.value = text
        self.warning.visible = bool(text)
        self.load.text = "&Load it anyway" if text else "&Load as new layer"

    def _tell_edges(self) -> None:
        self.edges_changed.emit()

    def _dress(self) -> None:
        self.draw.native.setCheckable(True)
        self.draw.tooltip = "Draw a rectangle over the image; in 3-D, see the box"
        self.view.tooltip = "Take what the canvas shows"
        for label in (self.cost, self.warning, self.message):
            label.native.setWordWrap(True)
            label.native.setTextFormat(Qt.TextFormat.PlainText)
        flag = Qt.TextInteractionFlag
        self.message.native.setTextInteractionFlags(
            flag.TextSelectableByMouse | flag.TextSelectableByKeyboard
        )
        native = self.container.native
        for combo in native.findChildren(QComboBox):
            combo.setMinimumContentsLength(8)
            combo.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
        for button in native.findChildren(QPushButton):
            button.setMinimumWidth(0)


def _row(*widgets: Widget) -> Container[Any]:
    return Container(widgets=widgets, layout="horizontal", labels=False)


def _round(edge: tuple[float, float], size: int) -> tuple[int, int]:
    """Round a range to whole pixels, at least one, between 0 and a size."""
    low = min(max(0, round(edge[0])), size - 1)
    return low, min(max(low + 1, round(edge[1])), size)


def _compact(slider: QLabeledRangeSlider) -> None:
    """Show the two values beside the slider, and let the Tab key reach them."""
    slider.setHandleLabelPosition(QLabeledRangeSlider.LabelPosition.NoLabel)
    slider.setEdgeLabelMode(QLabeledRangeSlider.EdgeLabelMode.LabelIsValue)
    for part in slider.findChildren(QWidget):
        if part.focusPolicy() == Qt.FocusPolicy.ClickFocus:
            part.setFocusPolicy(Qt.FocusPolicy.StrongFocus)


class RegionDock(QWidget):
    """Loads a box of an image at a level into memory, as new layers.

    The box is drawn in the viewer, taken from the view or set by sliders. Loading
    runs in the background; Esc, or the button, cancels it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._layer: Layer | None = None
        self._loading: FutureWatcher | None = None
        self._hidden: WeakSet[Layer] = WeakSet()
        self._done = (0, 1)
        self.form = RegionForm()
        self.box = RegionBox(napari_viewer, self)
        self._timer = QTimer(self)
        self.setMinimumWidth(300)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.form.container.native)
        layout.addStretch()
        self._connect()
        self.form.set_loadable(False)
        self.reset_choices()
        self._begin_with(napari_viewer.layers.selection.active)

    @property
    def busy(self) -> bool:
        """Whether something is being loaded."""
        return self._loading is not None

    def reset_choices(self, event: object = None) -> None:
        """Offer the images and labels that the viewer has now."""
        layers = croppable(self._viewer.layers)
        self.form.set_layers(layers)
        self._adopt(self.form.layer.value)

    def use_view(self) -> None:
        """Set the box to what the canvas shows."""
        if self._layer is not None:
            self.form.set_edges(enumerate(visible_edges(self._viewer, self._layer)))

    def use_whole(self) -> None:
        """Set the box to the whole image."""
        if self._layer is not None:
            shape = finest_shape(self._layer)
            self.form.set_edges(enumerate((0, size) for size in shape))

    def load(self) -> None:
        """Begin to load; the layers come later, by signal."""
        if self.busy or self._layer is None:
            return
        wanted = self._cuts(self._layer, self.form.level.value)
        layers = croppable(self._viewer.layers)
        wanted.sort(key=lambda cut: layers.index(cut.layer), reverse=True)
        self.form.say("")
        self._done = (0, 1)
        try:
            future = start(_parts(wanted), self._note)
        except MemoryError:
            self.form.say(_NO_ROOM)
            return
        receive = partial(self._receive, wanted)
        self._loading = FutureWatcher(future, receive, self)
        self.form.set_busy(True)
        self._timer.start(TICK)

    def cancel(self) -> None:
        """Give up what is being loaded."""
        if self._loading is not None:
            self._loading.abandon()
            self._end("Cancelled.")

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Cancel on Esc."""
        if self.busy and event is not None and event.key() == Qt.Key.Key_Escape:
            self.cancel()
            return
        super().keyPressEvent(event)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Take the box out of the viewer; the sliders keep it."""
        if event is not None and not event.spontaneous():
            self.box.hide()
            self.form.draw.native.setChecked(False)
        super().hideEvent(event)

    def _connect(self) -> None:
        form = self.form
        on_layers_changed(self._viewer, self.reset_choices)
        form.layer.changed.connect(self._adopt)
        form.together.changed.connect(self._refresh)
        form.level.changed.connect(self._refresh)
        form.edges_changed.connect(self._refresh)
        form.view.clicked.connect(self.use_view)
        form.whole.clicked.connect(self.use_whole)
        form.load.clicked.connect(self.load)
        form.cancel.clicked.connect(self.cancel)
        form.draw.native.toggled.connect(self._show_box)
        self.box.drawn.connect(self._take)
        self.box.gone.connect(partial(form.draw.native.setChecked, False))
        self._timer.timeout.connect(self._show_progress)

    def _begin_with(self, active: Layer | None) -> None:
        """Choose the active layer, or the image that it is the labels of."""
        for layer in croppable([] if active is None else [active]):
            others = companions(layer, croppable(self._viewer.layers))
            images = [other for other in (layer, *others) if isinstance(other, Image)]
            self.form.layer.value = (images or [layer])[0]

    def _adopt(self, layer: Layer | None) -> None:
        """Offer the ranges and levels of another layer."""
        if layer is self._layer:
            self._refresh()
            return
        self._layer = layer
        self.form.draw.native.setChecked(False)
        self.form.set_loadable(layer is not None)
        if layer is None:
            self.form.set_axes((), (), ())
            self.form.set_levels((), 0)
        else:
            edges = visible_edges(self._viewer, layer)
            self.form.set_axes(layer.axis_labels, finest_shape(layer), edges)
            placed = as_placed(layer)
            sizes = (lengths_text(a.scale, layer.units) for a in placed.affines)
            texts = [f"{number} · {size}" for number, size in enumerate(sizes)]
            self.form.set_levels(texts, self._affordable(layer, len(texts)))
        self._refresh()

    def _affordable(self, layer: Layer, count: int) -> int:
        """Return the finest level at which the box is no larger than volumes in 3-D."""
        budget = shared_engine().settings.volume_bytes
        for level in range(count - 1):
            if estimate(_parts(self._cuts(layer, level))).nbytes <= budget:
                return level
        return count - 1

    def _cuts(self, layer: Layer, level: int) -> list[Cut]:
        """Return what the form asks for, at a level of the chosen layer."""
        taken = self._companions(layer) if self.form.together.value else []
        return cuts(layer, taken, self.form.edges(), level)

    def _companions(self, layer: Layer) -> list[Layer]:
        """Return the other layers of its image that are shown, or were until a load."""
        layers = croppable(self._viewer.layers)
        seen = [other for other in layers if other.visible or other in self._hidden]
        return companions(layer, seen)

    def _refresh(self) -> None:
        """Say what the region would be and cost, and show its box."""
        form, layer = self.form, self._layer
        form.warn("")
        form.cost.value = "Open an image to cut a region from." if layer is None else ""
        form.set_companions(0)
        if layer is None:
            return
        form.set_companions(len(self._companions(layer)))
        wanted = self._cuts(layer, form.level.value)
        cost = estimate(_parts(wanted))
        shape = shape_text(wanted[0].region.shape)
        several = f"{len(wanted)} layers of " if len(wanted) > 1 else ""
        most = "" if cost.is_exact else "at most "
        form.cost.value = (
            f"{several}{shape} · {bytes_text(cost.nbytes)} · "
            f"{most}{cost.requests:,} request{'s' if cost.requests != 1 else ''}"
        )
        if cost.nbytes > default_cache_bytes():
            form.warn(
                f"⚠ This takes {bytes_text(cost.nbytes)} of memory. "
                "Choose a coarser level or a smaller box."
            )
        self.box.move(form.edges())

    def _take(self, found: dict[int, tuple[float, float]]) -> None:
        self.form.set_edges(found.items())

    def _show_box(self, shown: bool) -> None:
        if shown and self._layer is not None:
            self.box.show(self._layer, self.form.edges())
        else:
            self.box.hide()

    def _note(self, done: int, total: int) -> None:
        """Remember how far it is; called on the I/O loop."""
        self._done = done, total

    def _show_progress(self) -> None:
        done, total = self._done
        self.form.progress.value = int(100 * done / total)

    def _receive(self, wanted: list[Cut], outcome: Future[list[np.ndarray]]) -> None:
        error = outcome.exception()
        if error is not None:
            self._end(_explained(error))
            return
        self._end("")
        self.form.draw.native.setChecked(False)
        for cut, array in zip(wanted, outcome.result(), strict=True):
            with source_of(image_address(cut.layer)):
                layer = cut.new_layer(array)
            keep_original(layer)
            self._viewer.add_layer(layer)
        if self.form.hide.value:
            self._hide([cut.layer for cut in wanted])
        self.form.say("Loaded.")

    def _end(self, text: str) -> None:
        """Say how a load has ended."""
        self._loading = None
        self._timer.stop()
        self.form.set_busy(False)
        self.form.say(text)

    def _hide(self, layers: list[Layer]) -> None:
        """Hide originals: over them, additive layers would show twice as bright."""
        for layer in layers:
            if layer.visible:
                layer.visible = False
                self._hidden.add(layer)


def _parts(wanted: list[Cut]) -> list[RegionPart]:
    return [RegionPart(cut.pixels, cut.region.bounds) for cut in wanted]


def _explained(error: BaseException) -> str:
    if isinstance(error, OMEZarrError):
        return f"✖ {error}"
    if isinstance(error, MemoryError):
        return f"✖ {_NO_ROOM}"
    # Not its text: a library of another reader may put a signed address there.
    return f"✖ The image could not be read ({type(error).__name__}). Try again."
