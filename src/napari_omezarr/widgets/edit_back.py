"""Changes that go back into the OME-Zarr they came from: how layers look, pixels.

What is done in threads imports zarr and the rest there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_omezarr.display.notifications import show_error, show_info
from napari_omezarr.errors import ConflictError, OMEZarrError, OptionError
from napari_omezarr.plain_text import counted, plain

from .background_save import explained
from .fields import FlowingRow
from .qt_async import Task, app_events
from .viewer_layers import (
    bare_layers,
    image_address,
    keep_original,
    layer_data,
    original_of,
    record_of,
    source_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    import napari.viewer

    from napari_omezarr.writing import Rendered


@dataclass(frozen=True, slots=True, eq=False)
class Edited:
    """A region as it is now, and as it was loaded; both arrays have one shape.

    The record is what the loaded layer remembers of its image, with the region.
    """

    layer: Layer
    record: Mapping[str, Any]
    values: np.ndarray
    original: np.ndarray


@dataclass(frozen=True, slots=True)
class Written:
    """How many pixels were edited, of the image at which address; see `Patched`."""

    pixels: int
    address: str
    patched: Any


_SEEN = "Open the image again to see them there."

_last: list[tuple[Edited, Written]] = []
"""What was last written back, for the GUI thread; none, or one."""
_refused: list[tuple[Edited, str]] = []
"""What somebody else's change has kept from being written since, and what was said."""


# How layers look.


def update_rendering(viewer: napari.viewer.Viewer) -> Task | None:
    """Write names, colours, contrast and visibility back; notifications tell.

    It takes all layers of the images that the selected ones belong to; where none of
    those was opened from an OME-Zarr, all that were.
    """
    layers = [layer for layer in bare_layers(viewer.layers) if image_address(layer)]
    images = {layer: image_address(layer) for layer in layers}
    selected = {images[layer] for layer in layers if layer in viewer.layers.selection}
    chosen = [layer for layer in layers if not selected or images[layer] in selected]
    if not chosen:
        show_error("No layer was opened from an OME-Zarr. Save them as a new image.")
        return None
    data = [layer_data(layer) for layer in chosen]
    return Task(partial(_update, data)).start(_tell_updated)


def _update(layers: Sequence[Any]) -> Rendered:
    from napari_omezarr import writing

    return writing.update_rendering(layers)


def _tell_updated(outcome: Future[Rendered]) -> None:
    error = outcome.exception()
    if error is not None:
        show_error(explained(error))
        return
    written = outcome.result()
    names = ", ".join(written)
    told = (
        f"Their images now say how these look: {names}."
        if names
        else "The images say already how the layers look."
    )
    show_info(" ".join((told, *written.notes)))


# The pixels of a region.


def write_back(viewer: napari.viewer.Viewer) -> Task | None:
    """Say what would be written of the selected region, and write it once agreed to."""
    layers, selection = bare_layers(viewer.layers), viewer.layers.selection
    try:
        edited = edited_region([layer for layer in layers if layer in selection])
    except OMEZarrError as error:
        show_error(str(error))
        return None
    return Task(partial(plan_edit, edited)).start(partial(_ask, viewer, edited))


def write(viewer: napari.viewer.Viewer, edited: Edited, *_: object) -> Task:
    """Write the edited pixels of a region back; notifications tell."""
    _refused.clear()
    return Task(partial(write_edit, edited)).start(
        partial(_tell_patched, viewer, edited)
    )


def undo_last() -> Task | None:
    """Take back what was last written in this session."""
    if not _last:
        show_error("Nothing was written back that could be undone.")
        return None
    return undo(*_last[-1])


def undo(edited: Edited, written: Written, *_: object) -> Task:
    """Take back what was written, if nobody has changed it since."""
    _refused.clear()
    return Task(partial(undo_edit, written)).start(partial(_tell_undone, edited))


def load_present(viewer: napari.viewer.Viewer, edited: Edited, *_: object) -> Task:
    """Load what the image holds there by now as a layer beside it, to edit that."""
    return Task(partial(read_present, edited)).start(
        partial(_show_present, viewer, edited)
    )


def keep_stored(layer: Layer) -> None:
    """Remember what is stored where a region of labels lies that were painted."""
    if isinstance(layer, Labels):
        pixels = np.asarray(layer.data)
        edited = Edited(layer, record_of(layer), pixels, pixels)
        Task(partial(read_present, edited)).start(partial(_keep_present, layer))


def _keep_present(layer: Layer, outcome: Future[np.ndarray]) -> None:
    # Without it, write back says that nobody knows what there was.
    if outcome.exception() is None:
        keep_original(layer, outcome.result())


def edited_region(layers: Sequence[Layer]) -> Edited:
    """Find out what was edited.

    It is a region of labels that was painted, or a region of an image with another
    layer of its shape that was computed from it; all else is an OptionError.
    """
    regions = [layer for layer in layers if record_of(layer).get("region") is not None]
    others = [layer for layer in layers if layer not in regions]
    lazy = [layer for layer in others if image_address(layer)]
    if not regions and any(isinstance(layer, Labels) for layer in lazy):
        raise OptionError(
            "Labels that are read from an OME-Zarr cannot be written back as they are.",
            action="Load a region of them at level 0 in the dock OME-Zarr region, "
            "paint that, and write it back.",
        )
    if len(regions) != 1 or len(others) > 1:
        raise OptionError(
            "Select a region that was loaded from an OME-Zarr.",
            action="If another layer was computed from it, select that as well.",
        )
    (layer,) = regions
    record = record_of(layer)
    if record["region"]["level"] != 0:
        raise OptionError(
            f"{layer.name} was loaded at a coarser level.",
            action="Load it at level 0 to write edits back.",
        )
    kept = original_of(layer)
    if others:
        values, original = np.asarray(others[0].data), np.asarray(layer.data)
        original = original if kept is None else kept
    elif kept is not None:
        values, original = np.array(layer.data), kept
    else:
        raise OptionError(
            f"What {layer.name} was before is not known.",
            action="Select the layer that was computed from it as well.",
        )
    if values.shape != original.shape:
        raise OptionError("The edited layer has another shape than the region.")
    return Edited(layer, record, values, original)


def _show_present(
    viewer: napari.viewer.Viewer, edited: Edited, outcome: Future[np.ndarray]
) -> None:
    error = outcome.exception()
    if error is not None:
        show_error(explained(error))
        return
    _, options, kind = edited.layer.as_layer_data_tuple()
    options["name"] = f"{edited.layer.name} now"
    with source_of(str(record_of(edited.layer).get("address", ""))):
        layer = Layer.create(outcome.result(), options, kind)
    keep_original(layer)
    viewer.add_layer(layer)


def _ask(
    viewer: napari.viewer.Viewer, edited: Edited, outcome: Future[tuple[Any, str]]
) -> None:
    error = outcome.exception()
    if error is not None:
        show_error(explained(error))
        return
    plan, address = outcome.result()
    if not plan.pixels:
        show_info("Nothing was edited.")
        return
    action = ("Write them", partial(write, viewer, edited))
    said = f"Write {counted(plan.pixels, 'edited pixel')} back?"
    show_info(f"{said}\n{plan.summary()} of {address}.", action)


def _tell_undone(edited: Edited, outcome: Future[Any]) -> None:
    error = outcome.exception()
    if error is None:
        _last.clear()
        keep_original(edited.layer, edited.original)
    _note_conflict(edited, error)
    app_events().edited.emit()
    if error is not None:
        show_error(explained(error))
        return
    show_info("What was written is taken back.\nThe layer still shows the edit.")


def _tell_patched(
    viewer: napari.viewer.Viewer, edited: Edited, outcome: Future[Written]
) -> None:
    error = outcome.exception()
    if error is None:
        keep_original(edited.layer, edited.values)
        _last[:] = [(edited, outcome.result())]
    _note_conflict(edited, error)
    app_events().edited.emit()
    if isinstance(error, ConflictError):
        action = ("Load what is there now", partial(load_present, viewer, edited))
        show_error(str(error), action)
        return
    if error is not None:
        show_error(explained(error))
        return
    written = outcome.result()
    said = f"{counted(written.pixels, 'edited pixel')} written back."
    more = f"They are in {written.address}, and in its coarser levels. {_SEEN}"
    show_info(f"{said}\n{more}", ("Undo", partial(undo, edited, written)))


def _note_conflict(edited: Edited, error: BaseException | None) -> None:
    """Keep what the dock says of a conflict longer than a notification is there."""
    if isinstance(error, ConflictError):
        _refused[:] = [(edited, str(error))]


# What is done with pixels in threads.


def plan_edit(edited: Edited) -> tuple[Any, str]:
    """Find out what would be written, and to which image, in a thread."""
    from napari_omezarr.writing import plan_patch

    address, start, values, original = _edit(edited)
    plan = plan_patch(address, start, values, original=original)
    return plan, str(edited.record["address"])


def write_edit(edited: Edited) -> Written:
    """Write what was edited, in a thread.

    It is a ConflictError if somebody has changed the same pixels in another way
    meanwhile; nothing is written then.
    """
    from napari_omezarr.writing import patch

    address, start, values, original = _edit(edited)
    count = int(np.count_nonzero(values != original))
    patched = patch(address, start, values, original=original)
    return Written(count, str(edited.record["address"]), patched)


def undo_edit(written: Written) -> None:
    """Take back what was written, in a thread."""
    from napari_omezarr.writing import undo_patch

    undo_patch(written.patched)


def _edit(edited: Edited) -> tuple[str, list[int], np.ndarray, np.ndarray]:
    """Give the image, where the region begins in it, its pixels after and before."""
    address, start, axis = _place(edited)
    values, original = edited.values, edited.original
    if axis is not None:
        values = np.expand_dims(values, axis)
        original = np.expand_dims(original, axis)
    return address, start, values, original


def read_present(edited: Edited) -> np.ndarray:
    """Read what the image holds by now where a region lies, in a thread."""
    from napari_omezarr.writing import open_existing, open_hierarchy, parsed

    address, start, axis = _place(edited)
    shape = list(edited.original.shape)
    if axis is not None:
        shape.insert(axis, 1)
    image = open_existing(open_hierarchy(parsed(address)))
    bounds = tuple((s, s + size) for s, size in zip(start, shape, strict=True))
    return image.levels[0].read(bounds).reshape(edited.original.shape)


def _place(edited: Edited) -> tuple[str, list[int], int | None]:
    """Return the image, where in it the region begins, and the axis that it lacks."""
    from napari_omezarr.writing import read_origin

    origin = read_origin(edited.record)
    start = [int(first) for first in edited.record["region"]["start"]]
    types = [axis.type for axis in origin.axes.values()]
    axis = None
    if len(types) == len(start) + 1 and origin.channel is not None:
        axis = types.index("channel")
        start.insert(axis, origin.channel)
    if len(types) != len(start) or not origin.place:
        raise OptionError(
            "The region does not tell where in its image it lies.",
            action="Load it again.",
        )
    return origin.place, start, axis


# The part of the region dock that writes an edited region back, and takes it back.


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
        # A long word of an address does not push the buttons out of the dock.
        self.text.setMinimumWidth(1)
        self.buttons: list[QPushButton] = []
        self._row = FlowingRow()
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 0, 4, 4)
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
        actions: dict[str, Callable[..., object]] = {}
        if at_full:
            actions["&Write back…"] = self.ask
        done = _last[-1] if _last else None
        if done is not None and done[0].layer is layer:
            count = counted(done[1].pixels, "edited pixel")
            text = f"{count} of {layer.name} written back. {_SEEN}"
            actions["&Undo"] = partial(self._begin, "Taking them back…", undo, *done)
        for edited, told in _refused:
            if edited.layer is layer:
                text = f"{text}\n✖ {told}" if "&Undo" in actions else f"✖ {told}"
                load = partial(load_present, self._viewer, edited)
                actions["&Load what is there now"] = load
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
