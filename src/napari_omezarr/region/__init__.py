"""A box of an image at one level, read into memory and placed exactly."""

from .loading import Estimate, Part, Region, covering, estimate, load, start
from .place import Crop, Placed, as_placed, load_region

__all__ = [
    "Crop",
    "Estimate",
    "Part",
    "Placed",
    "Region",
    "as_placed",
    "covering",
    "estimate",
    "load",
    "load_region",
    "start",
]
