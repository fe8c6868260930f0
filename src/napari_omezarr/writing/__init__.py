"""Save layers as OME-Zarr: plan, write in one pass, commit, change what is there."""

from .api import plan_write, write_image, write_layers
from .editing import add_labels, patch, update_rendering
from .engine import Progress
from .options import Conduct, WriteOptions
from .plan import Plan
from .saving import Saved

__all__ = [
    "Conduct",
    "Plan",
    "Progress",
    "Saved",
    "WriteOptions",
    "add_labels",
    "patch",
    "plan_write",
    "update_rendering",
    "write_image",
    "write_layers",
]
