"""What is to be saved, taken out of the viewer as values for a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.layers import Layer

    LayerData = tuple[Any, dict[str, Any], str]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the save dock asks for.

    Parameters
    ----------
    layers : tuple of (data, options, type)
        Those to be saved.
    address : str
        As it was typed; it may hold secrets.
    options : Mapping
        Keyword arguments of ``write_layers``.
    in_use : frozenset of str
        The addresses that open layers read.
    """

    layers: tuple[LayerData, ...]
    address: str
    options: Mapping[str, Any]
    in_use: frozenset[str]

    def __repr__(self) -> str:
        return f"Wish({len(self.layers)} layers)"


def layer_data(layer: Layer) -> LayerData:
    """Give a layer's data with the range of its slider, which napari leaves out."""
    data, options, kind = layer.as_layer_data_tuple()
    span = getattr(layer, "contrast_limits_range", None)
    return data, {"contrast_limits_range": span, **options}, kind
