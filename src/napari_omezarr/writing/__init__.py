"""Save layers as OME-Zarr: plan, write in one pass, commit, change what is there."""

from .annotations import named_by_labels
from .api import free_place, plan_write, write_image, write_layers
from .carrying import Beside, find_beside, levels_of, objects_below
from .chunking import default_shards, whole_chunks
from .containers import (
    ChunkStorage,
    as_zarr3,
    bytes_of_unit,
    contained,
    itemsize_of,
    known_array,
    storage_of,
)
from .documents import dataset_document, parted
from .editing import (
    Rendered,
    add_labels,
    add_tables,
    append,
    calibrate,
    patch,
    plan_patch,
    undo_patch,
    update_rendering,
)
from .encode import ZarrDocument, encoded, inline
from .engine import Progress
from .existing import ome_block, open_existing, read_group
from .from_arrays import Channels, Grid, channel_displays, describe_array, finite_number
from .from_layers import describe, is_array, read_origin
from .given import (
    check_new_name,
    lies_within,
    open_hierarchy,
    open_target,
    parsed,
)
from .hierarchy import (
    FolderHierarchy,
    Hierarchy,
    StoredSize,
    Target,
    is_claim,
    is_document,
    is_ours,
)
from .image_spec import ImageSpec, Resolution, extended
from .journal import Journal, claim_of, journal_digest
from .labels import (
    LabelsThere,
    annotations_there,
    discard_labels,
    go_beside,
    labels_there,
    plan_added,
)
from .moving import (
    CopyJournal,
    CopyProgress,
    CopyRun,
    LongObject,
    is_long,
    is_md5,
    md5,
)
from .options import SaveMode, WriteOptions
from .patching import PatchConflictError
from .plan import ImagePlan, Plan, accepted
from .plates import (
    PlateField,
    PlateModel,
    check_field_names,
    list_fields,
    listed_fields,
    parse_well_name,
    plate_there,
    refuse_other_plate,
)
from .save import Saved, check_not_open
from .source import PixelSource, as_source, stack

__all__ = [
    "Beside",
    "Channels",
    "ChunkStorage",
    "CopyJournal",
    "CopyProgress",
    "CopyRun",
    "FolderHierarchy",
    "Grid",
    "Hierarchy",
    "ImagePlan",
    "ImageSpec",
    "Journal",
    "LabelsThere",
    "LongObject",
    "PatchConflictError",
    "PixelSource",
    "Plan",
    "PlateField",
    "PlateModel",
    "Progress",
    "Rendered",
    "Resolution",
    "SaveMode",
    "Saved",
    "StoredSize",
    "Target",
    "WriteOptions",
    "ZarrDocument",
    "accepted",
    "add_labels",
    "add_tables",
    "annotations_there",
    "append",
    "as_source",
    "as_zarr3",
    "bytes_of_unit",
    "calibrate",
    "channel_displays",
    "check_field_names",
    "check_new_name",
    "check_not_open",
    "claim_of",
    "contained",
    "dataset_document",
    "default_shards",
    "describe",
    "describe_array",
    "discard_labels",
    "encoded",
    "extended",
    "find_beside",
    "finite_number",
    "free_place",
    "go_beside",
    "inline",
    "is_array",
    "is_claim",
    "is_document",
    "is_long",
    "is_md5",
    "is_ours",
    "itemsize_of",
    "journal_digest",
    "known_array",
    "labels_there",
    "levels_of",
    "lies_within",
    "list_fields",
    "listed_fields",
    "md5",
    "named_by_labels",
    "objects_below",
    "ome_block",
    "open_existing",
    "open_hierarchy",
    "open_target",
    "parse_well_name",
    "parsed",
    "parted",
    "patch",
    "plan_added",
    "plan_patch",
    "plan_write",
    "plate_there",
    "read_group",
    "read_origin",
    "refuse_other_plate",
    "stack",
    "storage_of",
    "undo_patch",
    "update_rendering",
    "whole_chunks",
    "write_image",
    "write_layers",
]
