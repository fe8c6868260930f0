"""The layers of the save dock: which are saved, and what becomes of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qtpy.QtWidgets import QWidget

_ROWS = 5
_LAYER = Qt.ItemDataRole.UserRole


class SaveLayers(QListWidget):
    """A row for each layer, with a box to check it, and its role once it is known.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    chosen = Signal()
    """Another set of layers is checked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._unchecked: set[int] = set()
        self.setAccessibleName("Layers to save")
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFixedHeight(_ROWS * (self.fontMetrics().height() + 8))
        self.itemChanged.connect(self._take)

    def begin_with(self, layers: Iterable[Layer], selected: Iterable[Layer]) -> None:
        """Offer layers; several that are selected are those that are meant."""
        wanted = list(selected)
        every = list(layers)
        if len(wanted) > 1:
            self._unchecked = {id(layer) for layer in every if layer not in wanted}
        self.refill(every)

    def refill(self, layers: Iterable[Layer]) -> None:
        """Offer these layers, topmost first; those unchecked before stay so."""
        self.blockSignals(True)
        self.clear()
        for layer in reversed(list(layers)):
            item = QListWidgetItem(layer.name, self)
            item.setData(_LAYER, layer)
            if not isinstance(layer, Image | Labels):
                kind = type(layer).__name__.lower()
                item.setText(f"{layer.name} — {kind} are not saved")
                item.setToolTip(f"OME-Zarr has no place for {kind} layers.")
                item.setFlags(Qt.ItemFlag.NoItemFlags)
                continue
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            on = id(layer) not in self._unchecked
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        self.blockSignals(False)
        self.chosen.emit()

    def layers(self) -> list[Layer]:
        """Give the checked layers, bottom first, as napari has them."""
        checked = [item for item in self._items() if _is_checked(item)]
        return [item.data(_LAYER) for item in reversed(checked)]

    def set_roles(self, roles: Mapping[str, str]) -> None:
        """Say behind each checked layer what becomes of it."""
        self.blockSignals(True)
        for item in self._items():
            if not item.flags():
                continue
            name = item.data(_LAYER).name
            role = roles.get(name, "") if _is_checked(item) else ""
            item.setText(f"{name} → {role}" if role else name)
            item.setToolTip(item.text())
        self.blockSignals(False)

    def _take(self, item: QListWidgetItem) -> None:
        layer = id(item.data(_LAYER))
        if _is_checked(item):
            self._unchecked.discard(layer)
        else:
            self._unchecked.add(layer)
        self.chosen.emit()

    def _items(self) -> list[QListWidgetItem]:
        found: list[Any] = [self.item(row) for row in range(self.count())]
        return found


def _is_checked(item: QListWidgetItem) -> bool:
    return bool(item.flags()) and item.checkState() == Qt.CheckState.Checked
