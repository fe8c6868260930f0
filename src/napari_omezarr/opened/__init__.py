"""What lies at an address as one object, for scripts and notebooks."""

from .groups import OMECollection, OMEPlate, OMEWell
from .image import OMEImage
from .verbs import copy, listing, open, open_async, validate, write

__all__ = [
    "OMECollection",
    "OMEImage",
    "OMEPlate",
    "OMEWell",
    "copy",
    "listing",
    "open",
    "open_async",
    "validate",
    "write",
]
