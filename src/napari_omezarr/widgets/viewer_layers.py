"""The layers that a viewer has: where they come from, and what a save takes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels, Layer

# It has no public name; a test tells when it moves.
from napari.layers._source import layer_source
from numcodecs import Blosc

from napari_omezarr.claims import is_claimed, place_of
from napari_omezarr.display.notifications import main_window
from napari_omezarr.errors import LocationError
from napari_omezarr.location import without_secrets

from .preferences import PLUGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    import napari.viewer
    from napari.components import ViewerModel

    from napari_omezarr.layers import LayerData
    from napari_omezarr.location import Location


_codec = Blosc(cname="lz4", clevel=1)
_originals: WeakKeyDictionary[Layer, bytes] = WeakKeyDictionary()
_as_made: WeakKeyDictionary[Layer, tuple[list[Any], list[Any]]] = WeakKeyDictionary()


def bare_layers(layers: Iterable[Any]) -> list[Layer]:
    """Take layers out of the proxies that napari hands to plugins."""
    return [getattr(layer, "__wrapped__", layer) for layer in layers]


def layer_data(layer: Layer, viewer: napari.viewer.Viewer | None = None) -> LayerData:
    """Return a layer's data with what napari leaves out of it.

    That is the range of its slider, and which of its planes a viewer shows.
    """
    data, options, kind = layer.as_layer_data_tuple()
    span = getattr(layer, "contrast_limits_range", None)
    shown_at = () if viewer is None else _shown_at(layer, viewer)
    more = {"contrast_limits_range": span, "shown_at": shown_at}
    return data, {**more, **options}, kind


def _shown_at(layer: Layer, viewer: napari.viewer.Viewer) -> tuple[int | None, ...]:
    """Return the index along each axis that has a slider; None for the others."""
    first = viewer.dims.ndim - layer.ndim
    sizes = layer.data.shape if hasattr(layer.data, "shape") else layer.data[0].shape
    at = [round(float(index)) for index in layer.world_to_data(viewer.dims.point)]
    return tuple(
        index
        if first + axis in viewer.dims.not_displayed and 0 <= index < size
        else None
        for axis, (index, size) in enumerate(zip(at, sizes, strict=False))
    )


def layers_of(tuples: Iterable[LayerData], layers: Iterable[Layer]) -> list[Layer]:
    """Return the layers that these describe: a writer is not told the layers."""
    wanted = {(id(data), options.get("name")) for data, options, _ in tuples}
    return [layer for layer in layers if (id(layer.data), layer.name) in wanted]


def on_layers_changed(
    viewer: napari.viewer.Viewer, callback: Callable[[object], None]
) -> None:
    """Call back whenever layers come, go, move or get another name."""
    events = viewer.layers.events
    for event in (events.inserted, events.removed, events.reordered, events.renamed):
        event.connect(callback)


# Where layers come from.


def source_of(place: Location | str) -> AbstractContextManager[None]:
    """Give a context in which layers that are made come from a place (`layer.source`).

    Not in a reader: there napari sets it, and wants that nobody did before.
    """
    if isinstance(place, str):
        path = place
    elif place.protocol == "file":
        path = str(place.local_path())
    else:
        path = without_secrets(place)
    context: AbstractContextManager[None] = layer_source(
        path=path, reader_plugin=PLUGIN
    )
    return context


def record_of(layer: Layer) -> dict[str, Any]:
    """Return what a layer remembers of its OME-Zarr; nothing where it has none."""
    record = layer.metadata.get("omezarr")
    return record if isinstance(record, dict) else {}


def image_address(layer: Layer) -> str:
    """Return the address of the image that a layer shows; empty for a region of it."""
    record = record_of(layer)
    if "region" in record:
        return ""
    return str(record.get("image") or record.get("address") or "")


def image_place(layer: Layer) -> str:
    """Return the address of a layer's image, with the name of its sign-in."""
    return str(record_of(layer).get("image_place") or signed_address(layer))


def signed_address(layer: Layer) -> str:
    """Return the address of a layer's image or labels, with the name of its sign-in."""
    record = record_of(layer)
    return str(record.get("place") or record.get("address") or "")


def host_of(address: str) -> str:
    """Say where an address is, as briefly as it can be."""
    try:
        place = place_of(address)
    except LocationError:
        return address
    return place.name if place.protocol == "file" else place.root


def places_of(layers: Iterable[Layer]) -> frozenset[str]:
    """Return the OME-Zarr addresses that layers were opened from, by any plugin.

    An image opened over the web and its bucket are one place, so both are given.
    """
    return frozenset(place for layer in layers for place in _places(layer))


def _places(layer: Layer) -> set[str]:
    named = record_of(layer).get("address")
    path = layer.source.path
    if named is None and path is not None and is_claimed(str(path)):
        named = path
    if named is None:
        return set()
    try:
        place = place_of(str(named))
    except LocationError:
        return {str(named)}
    return {found.display for found in (place, place.as_s3()) if found is not None}


class PaintingLock:
    """Keeps labels in memory from being painted while they are saved."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._layers = [layer for layer in layers if _is_painted(layer)]
        for layer in self._layers:
            layer.editable = False

    def release(self) -> None:
        """Let them be painted again."""
        for layer in self._layers:
            layer.editable = True
        self._layers.clear()


def _is_painted(layer: Layer) -> bool:
    return (
        isinstance(layer, Labels)
        and layer.editable
        and isinstance(layer.data, np.ndarray)
    )


# How layers were made, to tell later what was done to them.

_PLACED = ("scale", "translate", "rotate", "shear")


def keep_as_made(layer: Layer) -> None:
    """Remember a layer's data, and where it lies, as they are now."""
    _as_made[layer] = _names(layer), _placement(layer)


def keep_as_moved(layer: Layer, options: Mapping[str, Any]) -> None:
    """Remember that a person has said where a layer lies, if her options do."""
    if any(options.get(name) is not None for name in (*_PLACED, "affine")):
        _as_made[layer] = _names(layer), []


def is_edited(layer: Layer) -> bool:
    """Say whether a layer has other data than it was made with; they may be painted."""
    return layer in _as_made and _as_made[layer][0] != _names(layer)


def is_moved(layer: Layer) -> bool:
    """Say whether a layer lies elsewhere than where it was made."""
    return layer in _as_made and _as_made[layer][1] != _placement(layer)


def is_placed(layer: Layer) -> bool:
    """Say whether a layer lies somewhere: by numbers, for its axes, and not flat."""
    affine = np.asarray(layer.affine.affine_matrix)
    places = [affine, *(np.asarray(getattr(layer, name)) for name in _PLACED)]
    fits = affine.shape == (layer.ndim + 1, layer.ndim + 1)
    is_finite = all(np.isfinite(place).all() for place in places)
    return bool(fits and is_finite and np.linalg.det(affine) != 0)


def move_like(layer: Layer, other: Layer) -> None:
    """Have a layer lie where another one does."""
    for name in _PLACED:
        setattr(layer, name, getattr(other, name))
    layer.affine = np.asarray(other.affine.affine_matrix)


def _names(layer: Layer) -> list[Any]:
    levels = list(layer.data) if layer.multiscale else [layer.data]
    # A graph of dask's has another name once something was written into it.
    return [getattr(level, "name", None) for level in levels]


def _placement(layer: Layer) -> list[Any]:
    parts = [np.asarray(getattr(layer, name)).tolist() for name in _PLACED]
    return [*parts, np.asarray(layer.affine.affine_matrix).tolist()]


# The pixels of a region as they were loaded, to tell later what was edited.


def keep_original(layer: Layer, pixels: np.ndarray | None = None) -> None:
    """Remember a layer's pixels as they are now (or these), compressed.

    Only labels are painted in place, and they take little; what is computed from
    an image is another layer, and leaves the image as it was.
    """
    if isinstance(layer, Labels):
        kept = layer.data if pixels is None else pixels
        _originals[layer] = _codec.encode(np.ascontiguousarray(kept, layer.data.dtype))


def original_of(layer: Layer) -> np.ndarray | None:
    """Return the pixels that were kept of a layer; None if none were."""
    kept = _originals.get(layer)
    if kept is None:
        return None
    flat = np.frombuffer(_codec.decode(kept), layer.data.dtype)
    return flat.reshape(layer.data.shape)


# Let the canvas show a box of the world.

FILLED = 0.9
"""How much of the canvas the box takes."""


def show_box(viewer: ViewerModel, first: Any, last: Any) -> None:
    """Show a box from one corner to another, along the world's last two axes."""
    centre, size = np.mean([first, last], axis=0), np.abs(np.subtract(first, last))
    camera = viewer.scene.camera
    camera.center = (*camera.center[:-2], *centre)
    window = main_window()
    central = None if window is None else window.centralWidget()
    if central is not None:
        canvas = np.array([central.height(), central.width()])
        camera.zoom = FILLED * float(np.min(canvas / np.maximum(size, 1e-12)))
