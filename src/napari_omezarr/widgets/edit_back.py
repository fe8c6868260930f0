"""Writing an edited region back; blocks, so it is done in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
    show_error,
    show_info,
)

from napari_omezarr.errors import ConflictError, OMEZarrError, OptionError

from .background_save import explained
from .open_layers import keep_original, original_of
from .qt_async import Task
from .save_model import layer_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    import napari.viewer

    from .write_back import Changed

# Changes that go back into the OME-Zarr they came from: how layers look, pixels.


@dataclass(frozen=True, slots=True, eq=False)
class Edited:
    """A region as it is now, and as it was loaded.

    Parameters
    ----------
    layer : Layer
        The one that was loaded.
    record : Mapping
        What it remembers of its image, with the region.
    values, original : numpy.ndarray
        Of equal shape.
    """

    layer: Layer
    record: Mapping[str, Any]
    values: np.ndarray
    original: np.ndarray


def update_looks(viewer: napari.viewer.Viewer) -> Task | None:
    """Write names, colours, contrast and visibility back; notifications tell.

    It takes all layers of the images that the selected ones belong to; where none of
    those was opened from an OME-Zarr, all that were.
    """
    layers = [layer for layer in bare_layers(viewer.layers) if _image(layer)]
    selected = {_image(layer) for layer in layers if layer in viewer.layers.selection}
    chosen = [layer for layer in layers if not selected or _image(layer) in selected]
    if not chosen:
        show_error("No layer was opened from an OME-Zarr. Save them as a new image.")
        return None
    data = [layer_data(layer) for layer in chosen]
    return Task(partial(_update, data)).start(_tell_updated)


def write_back(viewer: napari.viewer.Viewer) -> Task | None:
    """Write the edited pixels of the selected region back; notifications tell."""
    selection = [
        layer
        for layer in bare_layers(viewer.layers)
        if layer in viewer.layers.selection
    ]
    try:
        edited = edited_region(selection)
    except OMEZarrError as error:
        show_error(str(error))
        return None
    return Task(partial(_patch, edited)).start(partial(_tell_patched, viewer, edited))


def load_present(viewer: napari.viewer.Viewer, edited: Edited, *_: object) -> Task:
    """Load the pixels that a region has in its image by now, as a layer beside it.

    Edits that are repeated there can be written back.
    """
    return Task(partial(_read, edited)).start(partial(_show_present, viewer, edited))


def edited_region(layers: Sequence[Layer]) -> Edited:
    """Find out what was edited: a painted region, or a region and what came of it.

    Parameters
    ----------
    layers : sequence of Layer
        A region of labels, or a region of an image with another layer of its shape
        that was computed from it.

    Raises
    ------
    OptionError
        They are neither.
    """
    regions = [layer for layer in layers if _region(layer) is not None]
    others = [layer for layer in layers if layer not in regions]
    if not regions and any(_is_lazy_labels(layer) for layer in others):
        raise OptionError(
            "Labels that are read from an OME-Zarr cannot be painted as they are.",
            action="Load a region of them at level 0 in the dock OME-Zarr region, "
            "paint that, and write it back.",
        )
    if len(regions) != 1 or len(others) > 1:
        raise OptionError(
            "Select a region that was loaded from an OME-Zarr.",
            action="If another layer was computed from it, select that as well.",
        )
    (layer,) = regions
    record = layer.metadata["omezarr"]
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


def bare_layers(layers: Any) -> list[Layer]:
    """Take layers out of the proxies that napari hands to plugins."""
    return [getattr(layer, "__wrapped__", layer) for layer in layers]


def _image(layer: Layer) -> str:
    """Give the address of the image that a layer was opened from; else nothing."""
    record = layer.metadata.get("omezarr")
    if not isinstance(record, dict) or "region" in record:
        return ""
    return str(record.get("address") or "").partition("/labels/")[0]


def _is_lazy_labels(layer: Layer) -> bool:
    return isinstance(layer, Labels) and bool(_image(layer))


def _region(layer: Layer) -> Any:
    record = layer.metadata.get("omezarr")
    return record.get("region") if isinstance(record, dict) else None


def _update(layers: Sequence[Any]) -> tuple[str, ...]:
    # Imported here, in the job's thread: the first time it takes a second or more.
    from napari_omezarr.writing import update_rendering

    return update_rendering(layers)


def _patch(edited: Edited) -> Changed:
    from .write_back import write_edit

    return write_edit(edited)


def _read(edited: Edited) -> np.ndarray:
    from .write_back import read_present

    return read_present(edited)


def _show_present(
    viewer: napari.viewer.Viewer, edited: Edited, outcome: Future[np.ndarray]
) -> None:
    error = outcome.exception()
    if error is not None:
        show_error(explained(error))
        return
    _, options, kind = edited.layer.as_layer_data_tuple()
    options["name"] = f"{edited.layer.name} now"
    layer = Layer.create(outcome.result(), options, kind)
    keep_original(layer)
    viewer.add_layer(layer)


def _tell_updated(outcome: Future[tuple[str, ...]]) -> None:
    error = outcome.exception()
    if error is not None:
        show_error(explained(error))
        return
    names = ", ".join(outcome.result())
    show_info(
        f"Their images now say how these look: {names}."
        if names
        else "The images say already how the layers look."
    )


def _tell_patched(
    viewer: napari.viewer.Viewer, edited: Edited, outcome: Future[Changed]
) -> None:
    error = outcome.exception()
    if isinstance(error, ConflictError):
        action = ("Load what is there now", partial(load_present, viewer, edited))
        told = Notification(str(error), NotificationSeverity.ERROR, actions=(action,))
        notification_manager.dispatch(told)
        return
    if error is not None:
        show_error(explained(error))
        return
    changed = outcome.result()
    if not changed.pixels:
        show_info("Nothing was edited.")
        return
    keep_original(edited.layer)
    show_info(
        f"{changed.pixels:,} edited pixels are now in {changed.address}, and in its "
        "coarser levels. Open it again to see them there."
    )
