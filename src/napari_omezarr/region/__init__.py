"""A box of an image at one level, read into memory and placed exactly."""

from .box import Region, covering
from .loading import load, start
from .placed import Placed, as_placed
from .plan import Estimate, Part, estimate
from .script import Crop, load_region

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
