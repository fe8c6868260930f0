"""OME-Zarr documents of every version as frozen values; no I/O, no zarr."""

from .affine import Affine
from .axes import (
    TIMES,
    channel_axis,
    default_axes,
    known_unit,
    normalized_unit,
    unit_size,
)
from .channels import ResolvedChannel, is_rgb, resolve_channels
from .document import KINDS, names_a_kind, parse_document
from .model import (
    Acquisition,
    Axis,
    Channel,
    Dataset,
    Document,
    Image,
    ImageLabel,
    Kind,
    Labels,
    Multiscale,
    Plate,
    PlateWell,
    Rendering,
    Scene,
    SceneImage,
    Series,
    Well,
    WellImage,
    Window,
)
from .multiscale import fit_axes
from .node import DocumentError, is_usable_path, load_json, with_wells
from .transforms import in_order, stored_parameters

__all__ = [
    "KINDS",
    "TIMES",
    "Acquisition",
    "Affine",
    "Axis",
    "Channel",
    "Dataset",
    "Document",
    "DocumentError",
    "Image",
    "ImageLabel",
    "Kind",
    "Labels",
    "Multiscale",
    "Plate",
    "PlateWell",
    "Rendering",
    "ResolvedChannel",
    "Scene",
    "SceneImage",
    "Series",
    "Well",
    "WellImage",
    "Window",
    "channel_axis",
    "default_axes",
    "fit_axes",
    "in_order",
    "is_rgb",
    "is_usable_path",
    "known_unit",
    "load_json",
    "names_a_kind",
    "normalized_unit",
    "parse_document",
    "resolve_channels",
    "stored_parameters",
    "unit_size",
    "with_wells",
]
