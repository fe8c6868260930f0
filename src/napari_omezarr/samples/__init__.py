"""Sample images that the project makes itself, for the demo, tests and benchmarks.

Nothing here knows of napari or Qt, and the same arguments give the same pixels.
"""

from .pixels import Cells, cells
from .stores import write_cells, write_plate

__all__ = ["Cells", "cells", "write_cells", "write_plate"]
