"""An image as napari, a script or a writer needs it: metadata and lazy levels."""

from .blocks import merged_chunks, to_dask
from .image import Level, Pyramid
from .mosaic import Mosaic, Tile
from .pixels import ArrayPixels, Pixels, Window
from .selection import Selection, bounded

__all__ = [
    "ArrayPixels",
    "Level",
    "Mosaic",
    "Pixels",
    "Pyramid",
    "Selection",
    "Tile",
    "Window",
    "bounded",
    "merged_chunks",
    "to_dask",
]
