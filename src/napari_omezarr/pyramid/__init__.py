"""An image as napari, a script or a writer needs it: metadata and lazy levels."""

from .boxes import (
    Bounds,
    Selection,
    bounded,
    chunk_box,
    chunk_counts,
    chunk_index,
    coarser_box,
    hull,
    is_whole,
    nth_box,
    sample_number,
    shape_of,
    slices,
    slices_within,
    split_box,
    touched,
    whole_box,
)
from .codecs import tolerated
from .dask_arrays import merged_chunks, pixels_of, to_dask
from .pixels import ArrayPixels, Pixels, Readable, findings, reading_at
from .pyramid import Level, Pyramid
from .views import Cast, ChannelsLast, FixedAxes, LeadingAxes, Mosaic, Tile, fits

__all__ = [
    "ArrayPixels",
    "Bounds",
    "Cast",
    "ChannelsLast",
    "FixedAxes",
    "LeadingAxes",
    "Level",
    "Mosaic",
    "Pixels",
    "Pyramid",
    "Readable",
    "Selection",
    "Tile",
    "bounded",
    "chunk_box",
    "chunk_counts",
    "chunk_index",
    "coarser_box",
    "findings",
    "fits",
    "hull",
    "is_whole",
    "merged_chunks",
    "nth_box",
    "pixels_of",
    "reading_at",
    "sample_number",
    "shape_of",
    "slices",
    "slices_within",
    "split_box",
    "to_dask",
    "tolerated",
    "touched",
    "whole_box",
]
