"""An image as napari, a script or a writer needs it: metadata and lazy levels."""

from .boxes import Bounds, Selection, bounded
from .pixels import ArrayPixels, Pixels
from .pyramid import Level, Pyramid, merged_chunks, pixels_of, to_dask
from .views import Cast, ChannelsLast, FixedAxes, Mosaic, Tile

__all__ = [
    "ArrayPixels",
    "Bounds",
    "Cast",
    "ChannelsLast",
    "FixedAxes",
    "Level",
    "Mosaic",
    "Pixels",
    "Pyramid",
    "Selection",
    "Tile",
    "bounded",
    "merged_chunks",
    "pixels_of",
    "to_dask",
]
