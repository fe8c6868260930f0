"""Save layers as OME-Zarr: plan, write in one pass, commit, change what is there."""

from .api import (
    add_labels,
    patch,
    plan_write,
    update_rendering,
    write_image,
    write_layers,
)
from .engine import Progress
from .options import SaveMode, WriteOptions
from .plan import Plan
from .save import Saved

__all__ = [
    "Plan",
    "Progress",
    "SaveMode",
    "Saved",
    "WriteOptions",
    "add_labels",
    "patch",
    "plan_write",
    "update_rendering",
    "write_image",
    "write_layers",
]
