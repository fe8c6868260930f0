"""The form of the region tool: what it shows and what the person has set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    ProgressBar,
    PushButton,
    RangeSlider,
)
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QPushButton, QWidget
from superqt import QLabeledRangeSlider

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Layer

    from .region_layers import Edges


class RegionForm:
    """Widgets of magicgui in a column, at least 300 pixels wide.

    Attributes
    ----------
    container : magicgui.widgets.Container
        The form.
    """

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
        box: Container[Any] = Container(
            widgets=[self.draw, self.view, self.whole],
            layout="horizontal",
            labels=False,
        )
        last: Container[Any] = Container(
            widgets=[self.progress, self.load, self.cancel],
            layout="horizontal",
            labels=False,
        )
        top: Container[Any] = Container(widgets=[self.layer])
        middle: Container[Any] = Container(widgets=[self.level])
        self.container: Container[Any] = Container(
            widgets=[
                top,
                self.together,
                box,
                self.axes,
                middle,
                self.cost,
                self.warning,
                self.hide,
                last,
                self.message,
            ],
            labels=False,
        )
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
            slider = RangeSlider(label=name, min=0, max=size, value=_whole(edge, size))
            slider.tooltip = f"Pixels of the finest level along {name}, of {size:,}"
            _compact(slider.native)
            slider.changed.connect(self._tell_edges)
            self.axes.append(slider)

    def set_edges(self, ranges: Iterable[tuple[int, tuple[float, float]]]) -> None:
        """Set the ranges along some axes; tells of it once."""
        for axis, edge in ranges:
            slider: Any = self.axes[axis]
            with slider.changed.blocked():
                slider.value = _whole(edge, int(slider.max))
        self.edges_changed.emit()

    def edges(self) -> Edges:
        """Give the ranges, each at least one pixel."""
        sliders: list[Any] = list(self.axes)
        return tuple(_whole(slider.value, int(slider.max)) for slider in sliders)

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


def _whole(edge: tuple[float, float], size: int) -> tuple[int, int]:
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
