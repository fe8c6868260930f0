"""The form "Open…": which channels, labels, level, and which image of a series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
)

from napari_omezarr.reading import ReadOptions
from napari_omezarr.widgets.region_text import shape_text

from .icons import SIDE
from .opener import MANY
from .wish import Wish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qtpy.QtWidgets import QWidget

    from .choices import Choices

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
    """The `Wish`."""

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

    def wish(self) -> Wish:
        """Say what is chosen."""
        channels, labels = _checked(self.channels), _checked(self.labels)
        chosen = tuple(self._choices.details.labels[row] for row in labels)
        options = ReadOptions(
            labels=chosen, level=self.level.currentData(), series=self._image()
        )
        some = 0 < len(channels) < self.channels.count()
        return Wish(
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
