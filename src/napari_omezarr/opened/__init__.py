"""What lies at an address as one object, for scripts and notebooks."""

from .groups import OMECollection, OMEPlate, OMEWell
from .image import OMEImage
from .plates import WrittenField, add_plate_labels, write_fields, write_plate
from .rewriting import StoredPlate, rewrite_fields, rewrite_plate, stored_plate
from .verbs import all_of, copy, listing, open, validate, write

__all__ = [
    "OMECollection",
    "OMEImage",
    "OMEPlate",
    "OMEWell",
    "StoredPlate",
    "WrittenField",
    "add_plate_labels",
    "all_of",
    "copy",
    "listing",
    "open",
    "rewrite_fields",
    "rewrite_plate",
    "stored_plate",
    "validate",
    "write",
    "write_fields",
    "write_plate",
]
