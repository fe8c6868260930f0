"""One layer before it is a layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dask.array as da

    from napari_omezarr.pyramid import Pixels


LayerData = tuple[Any, dict[str, Any], str]
"""What napari calls layer data: data, options of the constructor, layer type."""


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """All that makes a napari layer, without napari.

    Parameters
    ----------
    kind : {"image", "labels"}
        The layer type.
    data : tuple of dask.array.Array
        The levels, finest first; lazy. RGB channels are the last axis.
    levels : tuple of Pixels
        The same levels, for a display that reads without blocking.
    options : Mapping
        Keyword arguments for the layer's constructor, ``multiscale`` among them.
    contrast_range : tuple of float or None
        The ends of the contrast slider; no constructor takes them.
    needs_contrast : bool
        The metadata give no window: ``options`` hold a makeshift, to be replaced
        by ``estimate_contrast``.
    """

    kind: str
    data: tuple[da.Array, ...]
    levels: tuple[Pixels, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    contrast_range: tuple[float, float] | None = None
    needs_contrast: bool = False

    @property
    def layer_data(self) -> LayerData:
        """The tuple that napari calls layer data."""
        data = list(self.data) if self.options.get("multiscale") else self.data[0]
        return data, dict(self.options), self.kind
