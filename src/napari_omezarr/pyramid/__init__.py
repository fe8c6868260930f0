"""An image as napari, a script or a writer needs it: metadata and lazy levels."""

from .blocks import merged_chunks, pixels_of, to_dask
from .image import Level, Pyramid
from .mosaic import Mosaic, Tile
from .pixels import ArrayPixels, Pixels
from .selection import Selection, bounded
from .views import Cast, ChannelsLast, Window

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
