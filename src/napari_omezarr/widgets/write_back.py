"""The part of the region dock that writes an edited region back, and takes it back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.plain_text import plain

from .background_save import explained
from .edit_back import edited_region, last_written, plan_edit, undo, write
from .qt_async import Task, app_events
from .viewer_layers import bare_layers, record_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    import napari.viewer

    from .edit_back import Edited


class WriteBackPanel(QWidget):
    """Says what writing the selected region back comes to, and does it if asked to.

    It is shown while a region that was loaded from an OME-Zarr is selected.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.buttons: list[QPushButton] = []
        self._row = QHBoxLayout()
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addLayout(self._row)
        viewer.layers.selection.events.changed.connect(self.refresh)
        app_events().edited.connect(self.refresh)
        self.refresh()

    def refresh(self, event: object = None) -> None:
        """Offer what can be done with the selected layers."""
        regions = [layer for layer in self._selected() if "region" in record_of(layer)]
        self.setVisible(bool(regions))
        if not regions:
            return
        (layer, *_) = regions
        at_full = record_of(layer)["region"].get("level") == 0
        text = f"{layer.name} can be edited and written back to its OME-Zarr."
        if not at_full:
            text = f"{layer.name} is of a coarser level: load it at level 0 to edit it."
        actions = {"&Write back…": self.ask} if at_full else {}
        done = last_written()
        if done is not None and done[0].layer is layer:
            text = f"{done[1].pixels:,} edited pixels of {layer.name} were written."
            actions["&Undo"] = partial(self._begin, "Taking them back…", undo, *done)
        self._say(text, **actions)

    def ask(self, *_: object) -> None:
        """Find out what would be written; nothing is."""
        try:
            edited = edited_region(self._selected())
        except OMEZarrError as error:
            self._say(f"✖ {error}", **{"&Back": self.refresh})
            return
        self._say("Looking at the image…")
        Task(partial(plan_edit, edited)).start(partial(self._propose, edited), self)

    def show_edited(self, edited: Edited, outcome: Future[tuple[Any, str]]) -> None:
        """Add a layer of the pixels that would be written."""
        _, options, _ = edited.layer.as_layer_data_tuple()
        placed = ("scale", "translate", "rotate", "shear", "affine", "units")
        kept = {key: options[key] for key in (*placed, "axis_labels")}
        where = (edited.values != edited.original).astype(np.uint8)
        self._viewer.add_layer(Labels(where, name=f"{edited.layer.name} edits", **kept))
        self._viewer.layers.selection.active = edited.layer
        self._propose(edited, outcome)

    def _propose(self, edited: Edited, outcome: Future[tuple[Any, str]]) -> None:
        error = outcome.exception()
        if error is not None:
            self._say(f"✖ {explained(error)}", **{"&Try again": self.ask})
            return
        plan, address = outcome.result()
        if not plan.pixels:
            self._say("Nothing was edited.", **{"&Look again": self.ask})
            return
        begin = partial(self._begin, "Writing them…", write, self._viewer, edited)
        show = partial(self.show_edited, edited, outcome)
        self._say(
            f"{plan.summary()} of {address} are to be written.",
            **{"&Write them": begin, "&Show them": show, "&Not now": self.refresh},
        )

    def _begin(self, text: str, act: Callable[..., object], *details: object) -> None:
        """Do what goes on without this panel; its end is told to all."""
        self._say(text)
        act(*details)

    def _selected(self) -> list[Layer]:
        chosen = self._viewer.layers.selection
        return [layer for layer in bare_layers(self._viewer.layers) if layer in chosen]

    def _say(self, text: str, **actions: Any) -> None:
        """Say something, with a button for each thing that can be done about it."""
        self.text.setText(plain(text))
        for button in self.buttons:
            self._row.removeWidget(button)
            button.hide()
            button.deleteLater()
        self.buttons = []
        for name, act in actions.items():
            button = QPushButton(name)
            button.clicked.connect(partial(_clicked, act))
            self._row.addWidget(button)
            self.buttons.append(button)


def _clicked(act: Callable[..., object], _checked: bool = False) -> None:
    act()
