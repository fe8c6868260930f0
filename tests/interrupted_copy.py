"""A copy in a process of its own, for a test to kill."""

from __future__ import annotations

import sys

from napari_omezarr.browsing import copy_store
from napari_omezarr.location import Location
from napari_omezarr.store import run

if __name__ == "__main__":
    run(copy_store(Location.parse(sys.argv[1]), Location.parse(sys.argv[2])))
