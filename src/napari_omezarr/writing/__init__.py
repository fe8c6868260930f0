"""Save layers as OME-Zarr: plan, write in one pass, commit, change what is there."""

from .api import (
    add_labels,
    append,
    calibrate,
    open_hierarchy,
    open_target,
    parsed,
    patch,
    plan_patch,
    plan_write,
    undo_patch,
    update_rendering,
    write_image,
    write_layers,
)
from .engine import Progress
from .existing import open_existing
from .from_arrays import Channels, Grid, channel_displays, describe_array
from .from_layers import is_array, read_origin
from .hierarchy import Hierarchy, StoredSize, is_document
from .image_spec import ImageSpec, extended
from .labels import LabelsThere, discard_labels, labels_there
from .options import SaveMode, WriteOptions
from .patching import PatchConflictError
from .plan import ImagePlan, Plan, accepted
from .save import Saved, check_not_open
from .source import PixelSource, as_source, stack

__all__ = [
    "Channels",
    "Grid",
    "Hierarchy",
    "ImagePlan",
    "ImageSpec",
    "LabelsThere",
    "PatchConflictError",
    "PixelSource",
    "Plan",
    "Progress",
    "SaveMode",
    "Saved",
    "StoredSize",
    "WriteOptions",
    "accepted",
    "add_labels",
    "append",
    "as_source",
    "calibrate",
    "channel_displays",
    "check_not_open",
    "describe_array",
    "discard_labels",
    "extended",
    "is_array",
    "is_document",
    "labels_there",
    "open_existing",
    "open_hierarchy",
    "open_target",
    "parsed",
    "patch",
    "plan_patch",
    "plan_write",
    "read_origin",
    "stack",
    "undo_patch",
    "update_rendering",
    "write_image",
    "write_layers",
]
