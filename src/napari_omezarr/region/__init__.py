"""A box of an image at one level, read into memory and placed exactly."""

from .loading import (
    Estimate,
    ForeignPixels,
    RegionPart,
    as_pixels,
    estimate,
    load,
    start,
)
from .place import (
    Crop,
    Placed,
    Region,
    as_placed,
    corners,
    covering,
    crop_affine,
    layer_affine,
    layer_options,
    load_region,
)

__all__ = [
    "Crop",
    "Estimate",
    "ForeignPixels",
    "Placed",
    "Region",
    "RegionPart",
    "as_pixels",
    "as_placed",
    "corners",
    "covering",
    "crop_affine",
    "estimate",
    "layer_affine",
    "layer_options",
    "load",
    "load_region",
    "start",
]
