"""Pyramids as napari layer data; napari's words live only here."""

from .api import read_layers, with_contrast
from .data import layer_data
from .sampling import estimate_contrast
from .spec import LayerData, LayerSpec

__all__ = [
    "LayerData",
    "LayerSpec",
    "estimate_contrast",
    "layer_data",
    "read_layers",
    "with_contrast",
]
