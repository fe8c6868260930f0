"""An image as napari, a script or a writer needs it: metadata and lazy levels."""

from .boxes import Selection, bounded
from .pixels import ArrayPixels, Pixels
from .pyramid import Level, Pyramid, merged_chunks, pixels_of, to_dask
from .views import Cast, ChannelsLast, Mosaic, Tile, Window

__all__ = [
    "ArrayPixels",
    "Cast",
    "ChannelsLast",
    "Level",
    "Mosaic",
    "Pixels",
    "Pyramid",
    "Selection",
    "Tile",
    "Window",
    "bounded",
    "merged_chunks",
    "pixels_of",
    "to_dask",
]
