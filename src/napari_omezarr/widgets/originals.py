"""The pixels of a region as they were loaded, to tell later what was edited."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels
from numcodecs import Blosc

if TYPE_CHECKING:
    from napari.layers import Layer

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
