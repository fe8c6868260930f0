"""Which layers a region can be cut from, which belong together, and the new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_omezarr.errors import OptionError
from napari_omezarr.region import Placed, as_placed
from napari_omezarr.region.loading import corners
from napari_omezarr.region.place import crop_affine, layer_options

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from napari_omezarr.region import Region

Edges = tuple[tuple[float, float], ...]
"""Along each axis of a layer, in pixels of its finest level, from the first's edge."""

_PLACED_ANEW = ("scale", "translate", "rotate", "shear", "affine")
_OF_THE_DATA = (
    "multiscale",
    "locked_data_level",
    "plane",
    "experimental_clipping_planes",
)


class Cut:
    """What is to be cut from one layer.

    Parameters
    ----------
    layer : Layer
        Image or labels.
    placed : Placed
        Its levels.
    region : Region
        Of one of them.
    """

    def __init__(self, layer: Layer, placed: Placed, region: Region) -> None:
        self.layer = layer
        self.pixels = placed.levels[region.level]
        self.region = region
        self.affine = crop_affine(placed.affines[region.level], region.bounds)

    def new_layer(self, array: np.ndarray) -> Layer:
        """Make the layer of what was read: in memory, as the original looks.

        Parameters
        ----------
        array : numpy.ndarray
            Of the region's shape.
        """
        _, options, kind = self.layer.as_layer_data_tuple()
        for name in (*_PLACED_ANEW, *_OF_THE_DATA):
            options.pop(name, None)
        options |= layer_options(self.affine)
        options |= {"name": f"{self.layer.name} region", "visible": True}
        options["metadata"] = self._metadata(options["metadata"])
        new = Layer.create(array, {**options, "multiscale": False}, kind)
        if isinstance(new, Image) and not new.rgb:
            new.contrast_limits_range = self.layer.contrast_limits_range
        return new

    def _metadata(self, before: dict[str, Any]) -> dict[str, Any]:
        """Give the layer's metadata, and where in it the region lies."""
        place: dict[str, Any] = {
            "level": self.region.level,
            "start": list(self.region.starts),
            "shape": list(self.region.shape),
        }
        record = before.get("omezarr")
        if not isinstance(record, dict):
            return {**before, "region": place}
        return {**before, "omezarr": {**record, "region": place}}


def croppable(layers: Iterable[Any]) -> list[Layer]:
    """Give the images and labels among layers, topmost first, out of any proxies."""
    bare = [getattr(layer, "__wrapped__", layer) for layer in layers]
    return [layer for layer in reversed(bare) if isinstance(layer, Image | Labels)]


def companions(layer: Layer, layers: Iterable[Layer]) -> list[Layer]:
    """Give the other layers of the same image: its channels, its labels."""
    image = _image_of(layer)
    return [
        other
        for other in layers
        if image is not None and other is not layer and _image_of(other) == image
    ]


def cuts(layer: Layer, others: Sequence[Layer], edges: Edges, level: int) -> list[Cut]:
    """Give what to cut from a layer, and at the same place from others.

    Others are cut at the level whose pixels are about as large; one that the box
    does not meet is left out.

    Parameters
    ----------
    layer : Layer
        The layer that `edges` and `level` are of.
    others : sequence of Layer
        Companions.
    edges : Edges
        The box.
    level : int
        0 is the finest.
    """
    placed = as_placed(layer)
    points = corners(placed.affines[0], edges)
    found = [Cut(layer, placed, placed.region(level, points))]
    pixel_size = placed.affines[level].scale
    for other in others:
        theirs = as_placed(other)
        factors = unit_factors(layer.units, other.units)
        count = len(factors)
        size = np.asarray(pixel_size[-count:]) * factors
        try:
            region = theirs.region(
                theirs.matching(size.tolist()), points[:, -count:] * factors
            )
        except OptionError:
            continue
        found.append(Cut(other, theirs, region))
    return found


def unit_factors(source: Sequence[Any], target: Sequence[Any]) -> np.ndarray:
    """Give what a length in the units of one layer is in those of another, by axis.

    Parameters
    ----------
    source, target : sequence of pint.Unit
        Matched from the last one back; units that cannot be converted count as
        equal, as they do in napari.
    """
    count = min(len(source), len(target))
    pairs = zip(source[-count:], target[-count:], strict=True)
    return np.array(
        [(1 * a).to(b).magnitude if a.is_compatible_with(b) else 1.0 for a, b in pairs]
    )


def _image_of(layer: Layer) -> Hashable:
    """Name the image that a layer shows a part of; None where nothing tells."""
    record = layer.metadata.get("omezarr")
    if isinstance(record, dict) and "region" not in record:
        return str(record.get("address")).partition("/labels/")[0]
    if "region" in layer.metadata or isinstance(record, dict):
        return None
    path: str | None = layer.source.path
    return path
