"""Other formats to OME-Zarr: one input, many, or many merged into one."""

from .inputs import ConvertInput, ReadChoices, find_inputs, plate_of, read_images
from .merging import MergedInput, by_pattern, by_table
from .runs import (
    ConvertJob,
    ConvertOutcome,
    ConvertRun,
    convert_all,
    convert_one,
    convert_plate,
    is_image_name,
    plan_jobs,
    plate_rows,
    resuming,
    scheduled,
)
from .tiff import close_files

__all__ = [
    "ConvertInput",
    "ConvertJob",
    "ConvertOutcome",
    "ConvertRun",
    "MergedInput",
    "ReadChoices",
    "by_pattern",
    "by_table",
    "close_files",
    "convert_all",
    "convert_one",
    "convert_plate",
    "find_inputs",
    "is_image_name",
    "plan_jobs",
    "plate_of",
    "plate_rows",
    "read_images",
    "resuming",
    "scheduled",
]
