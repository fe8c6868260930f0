"""A box of an image at one level, read into memory and placed exactly."""

from .loading import Estimate, Region, RegionPart, covering, estimate, load, start
from .place import Crop, Placed, as_placed, load_region

__all__ = [
    "Crop",
    "Estimate",
    "Placed",
    "Region",
    "RegionPart",
    "as_placed",
    "covering",
    "estimate",
    "load",
    "load_region",
    "start",
]
