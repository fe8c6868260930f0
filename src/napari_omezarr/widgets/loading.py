"""The libraries that opening needs, imported outside of the GUI thread."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module

from .job import Job
from .waiting import wait_for

_CORE = "napari_omezarr.layers"


def core_is_loaded() -> bool:
    """Import zarr, aiohttp and the rest in a thread, while the window lives on.

    It takes a second or more, once: the first address that a person drops would
    freeze napari for as long.

    Returns
    -------
    bool
        False when the person has cancelled the wait.
    """
    if _CORE in sys.modules:
        return True
    return wait_for(Job(partial(import_module, _CORE)).start(), "Starting OME-Zarr …")
