"""The dock "OME-Zarr region": a box of an image, at a level, as new layers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakSet

from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_omezarr.display import default_cache_bytes, shared_engine
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.plain_text import bytes_text, counted, lengths_text, shape_text
from napari_omezarr.region import RegionPart, as_placed, estimate, start

from .docks import Dock
from .edit_back import WriteBackPanel, keep_stored
from .fields import (
    ChoiceField,
    SwitchField,
    form_rows,
    scroll_in,
    show_text,
    tab_as_laid_out,
)
from .qt_async import FutureWatcher, Latest
from .region_box import (
    AxisRange,
    RegionBox,
    axis_ranges,
    companions,
    croppable,
    cuts,
    finest_shape,
    visible_edges,
)
from .save_widgets import sentence_label
from .viewer_layers import (
    image_address,
    is_edited,
    keep_original,
    on_layers_changed,
    source_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    import napari.viewer
    import numpy as np
    from napari.layers import Layer
    from qtpy.QtGui import QHideEvent, QKeyEvent

    from .region_box import Cut, Edges

TICK = 100
"""Milliseconds between looks at how far a load is."""

_NO_ROOM = (
    "There is not enough memory for this region. "
    "Choose a coarser level or a smaller box."
)


class RegionForm(QObject):
    """What the dock shows and the person has set, in a column."""

    edges_changed = Signal()
    """A range was set by the person."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.layer = ChoiceField("Image")
        self.together = SwitchField("", on=True)
        self.together.setToolTip("The other channels and the labels of the same image")
        self.hide = SwitchField("hide what it is cut from", on=True)
        self.draw = QPushButton("&Draw a box")
        self.view = QPushButton("Use the &view")
        self.whole = QPushButton("Whole &image")
        self.axes: list[AxisRange] = []
        self.level = ChoiceField("Level")
        self.cost, self.warning, self.message = (
            sentence_label(parent) for _ in range(3)
        )
        self.load = QPushButton("&Load as new layer")
        self.progress = QProgressBar()
        self.cancel = QPushButton("&Cancel")
        self.column = QWidget(parent)
        self._ranges = QVBoxLayout()
        self._arrange()
        self.set_busy(False)
        self.set_companions(0)

    def set_layers(self, layers: Sequence[Layer]) -> None:
        """Offer these layers; the chosen one stays if it is among them."""
        self.layer.offer((layer.name, layer) for layer in layers)

    def set_axes(self, layer: Layer | None, edges: Edges) -> None:
        """Offer a range along each axis of a layer, from 0 to its size."""
        for axis in self.axes:
            axis.hide()
            axis.deleteLater()
        self.axes = [] if layer is None else axis_ranges(layer)
        for axis, edge in zip(self.axes, edges, strict=True):
            axis.value = edge
            axis.changed.connect(self.edges_changed)
            self._ranges.addWidget(axis)
        tab_as_laid_out(self.column)

    def set_edges(self, ranges: Iterable[tuple[int, tuple[float, float]]]) -> None:
        """Set the ranges along some axes; tells of it once."""
        for number, edge in ranges:
            axis = self.axes[number]
            axis.blockSignals(True)
            axis.value = edge
            axis.blockSignals(False)
        self.edges_changed.emit()

    def edges(self) -> Edges:
        """Return the ranges, each at least one pixel."""
        return tuple(axis.value for axis in self.axes)

    def set_levels(self, texts: Sequence[str], level: int) -> None:
        """Offer levels, finest first."""
        self.level.blockSignals(True)
        self.level.offer((text, number) for number, text in enumerate(texts))
        if texts:
            self.level.value = level
        self.level.blockSignals(False)

    def set_companions(self, count: int) -> None:
        """Offer to take other layers of the image too."""
        self.together.setText(f"with {counted(count, 'more visible layer')} of it")
        self.together.setVisible(count > 0)

    def set_loadable(self, loadable: bool) -> None:
        """Say whether there is anything to be loaded, and to be set."""
        for widget in (self.draw, self.view, self.whole, self.level, self.load):
            widget.setEnabled(loadable)

    def set_busy(self, busy: bool) -> None:
        """Show how far it is and how to end it, or how to begin it."""
        self.progress.setValue(0)
        self.progress.setVisible(busy)
        self.cancel.setVisible(busy)
        self.load.setVisible(not busy)

    def say(self, text: str) -> None:
        """Say something below the form, or nothing."""
        show_text(self.message, text)

    def warn(self, text: str) -> None:
        """Warn of what would be loaded, or do not."""
        show_text(self.warning, text)
        self.load.setText("&Load it anyway" if text else "&Load as new layer")

    def _arrange(self) -> None:
        self.draw.setCheckable(True)
        self.draw.setToolTip("Draw a rectangle over the image; in 3-D, see the box")
        self.view.setToolTip("Take what the canvas shows")
        self.progress.setAccessibleName("Loaded so far")
        self.cost.show()
        buttons, last = QHBoxLayout(), QHBoxLayout()
        for button in (self.draw, self.view, self.whole):
            button.setMinimumWidth(0)
            buttons.addWidget(button)
        for widget in (self.progress, self.load, self.cancel):
            last.addWidget(widget)
        column = QVBoxLayout(self.column)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(form_rows([self.layer, self.together])[0])
        column.addLayout(buttons)
        column.addLayout(self._ranges)
        column.addWidget(form_rows([self.level, self.hide])[0])
        for label in (self.cost, self.warning):
            column.addWidget(label)
        column.addLayout(last)
        column.addWidget(self.message)


class RegionDock(Dock):
    """Loads a box of an image at a level into memory, as new layers.

    The box is drawn in the viewer, taken from the view or set by sliders. Loading
    runs in the background; Esc, or the button, cancels it.
    """

    tab = "Region (OME-Zarr)"

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._layer: Layer | None = None
        self._loading: FutureWatcher | None = None
        self._hidden: WeakSet[Layer] = WeakSet()
        self._progress = Latest()
        self.form = RegionForm(self)
        self.box = RegionBox(napari_viewer, self)
        self._timer = QTimer(self)
        self.setMinimumWidth(300)
        inner = QWidget(self)
        layout = QVBoxLayout(inner)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.form.column)
        self.edits = WriteBackPanel(napari_viewer, self)
        layout.addWidget(self.edits)
        layout.addStretch()
        scroll_in(self, inner)
        self._connect()
        self.form.set_loadable(False)
        self.reset_choices()
        self.propose(napari_viewer.layers.selection.active)

    @property
    def busy(self) -> bool:
        """Whether something is being loaded."""
        return self._loading is not None

    def reset_choices(self, event: object = None) -> None:
        """Offer the images and labels that the viewer has now."""
        layers = croppable(self._viewer.layers)
        self.form.set_layers(layers)
        self._adopt(self.form.layer.value)

    def propose(self, layer: Layer | None, level: int | None = None) -> None:
        """Choose a layer, if a box can be cut from it, and one of its levels."""
        for chosen in croppable([] if layer is None else [layer]):
            self.form.layer.value = chosen
            if level is not None:
                self.form.level.value = level

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
        self._progress = Latest()
        try:
            future = start(_parts(wanted), self._progress.note)
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
            self.form.draw.setChecked(False)
        super().hideEvent(event)

    def _connect(self) -> None:
        form = self.form
        on_layers_changed(self._viewer, self.reset_choices)
        form.layer.changed.connect(lambda: self._adopt(form.layer.value))
        for edited in (form.together.changed, form.level.changed, form.edges_changed):
            edited.connect(self._refresh)
            # What was said was about another box.
            edited.connect(partial(form.say, ""))
        form.view.clicked.connect(self.use_view)
        form.whole.clicked.connect(self.use_whole)
        form.load.clicked.connect(self.load)
        form.cancel.clicked.connect(self.cancel)
        form.draw.toggled.connect(self._show_box)
        self.box.drawn.connect(self._take)
        self.box.gone.connect(partial(form.draw.setChecked, False))
        self._timer.timeout.connect(self._show_progress)

    def _adopt(self, layer: Layer | None) -> None:
        """Offer the ranges and levels of another layer."""
        if layer is self._layer:
            self._refresh()
            return
        self._layer = layer
        self.form.draw.setChecked(False)
        self.form.set_loadable(layer is not None)
        if layer is None:
            self.form.set_axes(None, ())
            self.form.set_levels((), 0)
        else:
            edges = visible_edges(self._viewer, layer)
            self.form.set_axes(layer, edges)
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
        form.cost.setText("" if layer else "Open an image to cut a region from.")
        form.set_companions(0)
        if layer is None:
            return
        form.set_companions(len(self._companions(layer)))
        wanted = self._cuts(layer, form.level.value)
        cost = estimate(_parts(wanted))
        shape = shape_text(wanted[0].region.shape)
        several = f"{len(wanted)} layers of " if len(wanted) > 1 else ""
        most = "" if cost.is_exact else "at most "
        form.cost.setText(
            f"{several}{shape} · {bytes_text(cost.nbytes)} · "
            f"{most}{counted(cost.requests, 'request')}"
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

    def _show_progress(self) -> None:
        done, total = self._progress.told or (0, 1)
        self.form.progress.setValue(int(100 * done / total))

    def _receive(self, wanted: list[Cut], outcome: Future[list[np.ndarray]]) -> None:
        error = outcome.exception()
        if error is not None:
            self._end(_explained(error))
            return
        self._end("")
        self.form.draw.setChecked(False)
        for cut, array in zip(wanted, outcome.result(), strict=True):
            with source_of(image_address(cut.layer)):
                layer = cut.new_layer(array)
            # Labels of one level can be painted as they are read, and a region of them
            # then has what was painted.
            (keep_stored if is_edited(cut.layer) else keep_original)(layer)
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
