"""Where the layers of an image lie: in another of its coordinate systems."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QInputDialog

from napari_omezarr.claims import place_of
from napari_omezarr.display.notifications import show_error
from napari_omezarr.display.sign import main_window

from .background_save import explained
from .qt_async import Task
from .viewer_layers import (
    bare_layers,
    image_address,
    image_place,
    keep_as_made,
    record_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    import napari.viewer
    from napari.layers import Layer

    from napari_omezarr.layers import LayerSpec

_NONE = "The images of the selected layers have no other coordinate system."


def choose_coordinate_system(viewer: napari.viewer.Viewer) -> QInputDialog | None:
    """Ask in which of its systems the image of the selected layer is to be shown."""
    layers = bare_layers(viewer.layers)
    chosen = [layer for layer in layers if layer in viewer.layers.selection]
    chosen = [layer for layer in chosen if len(systems_of(layer)) > 1]
    if not chosen:
        show_error(_NONE)
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
    specs = {_identity(spec.options["metadata"]): spec for spec in outcome.result()}
    for layer in layers:
        spec = specs.get(_identity(layer.metadata))
        if spec is not None:
            _move(layer, spec.options)


def _identity(metadata: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return what tells the layers of one image apart."""
    record = metadata.get("omezarr", {})
    return record.get("address"), record.get("channel")


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
