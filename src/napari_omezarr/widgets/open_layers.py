"""What open layers read from where, and the pixels of regions as they were loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels, Layer
from numcodecs import Blosc

from napari_omezarr.claims import is_claimed, place_of
from napari_omezarr.errors import LocationError

if TYPE_CHECKING:
    from collections.abc import Iterable


# What layers that are open read, and keeping people from painting what is saved.


def places_of(layers: Iterable[Layer]) -> frozenset[str]:
    """Give the OME-Zarr addresses that layers were opened from, by any plugin.

    An image opened over the web and its bucket are one place, so both are given.
    """
    return frozenset(place for layer in layers for place in _places(layer))


class PaintingHeld:
    """Labels that cannot be painted while they are saved: it would tear them.

    Parameters
    ----------
    layers : iterable of Layer
        Those with pixels in memory that can be painted are held.
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._layers = [layer for layer in layers if _is_painted(layer)]
        for layer in self._layers:
            layer.editable = False

    def release(self, *_: object) -> None:
        """Let them be painted again."""
        for layer in self._layers:
            layer.editable = True
        self._layers.clear()


def layers_with(data: Iterable[Any], layers: Iterable[Layer]) -> list[Layer]:
    """Give the layers whose data these are: a writer is not told the layers."""
    wanted = {id(one) for one in data}
    return [layer for layer in layers if id(layer.data) in wanted]


def _is_painted(layer: Layer) -> bool:
    return (
        isinstance(layer, Labels)
        and layer.editable
        and isinstance(layer.data, np.ndarray)
    )


def _places(layer: Layer) -> set[str]:
    record = layer.metadata.get("omezarr")
    named = record.get("address") if isinstance(record, dict) else None
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


# The pixels of a region as they were loaded, to tell later what was edited.

_codec = Blosc(cname="lz4", clevel=1)
_kept: WeakKeyDictionary[Layer, bytes] = WeakKeyDictionary()


def keep_original(layer: Layer) -> None:
    """Remember a layer's pixels as they are now, compressed.

    Only labels are painted in place, and they take little; what is computed from
    an image is another layer, and leaves the image as it was.
    """
    if isinstance(layer, Labels):
        _kept[layer] = _codec.encode(np.ascontiguousarray(layer.data))


def original_of(layer: Layer) -> np.ndarray | None:
    """Give the pixels that were kept of a layer; None if none were."""
    kept = _kept.get(layer)
    if kept is None:
        return None
    flat = np.frombuffer(_codec.decode(kept), layer.data.dtype)
    return flat.reshape(layer.data.shape)
