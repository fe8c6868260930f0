"""The libraries that opening and saving need, imported outside of the GUI thread."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module

from .job import Job
from .waiting import wait_for

_CORE = "napari_omezarr.layers"


def core_is_loaded() -> bool:
    """Import what opening needs; see `is_loaded`."""
    return is_loaded(_CORE)


def is_loaded(module: str) -> bool:
    """Import zarr, aiohttp and the rest in a thread, while the window lives on.

    It takes a second or more, once: the first address that a person drops would
    freeze napari for as long.

    Parameters
    ----------
    module : str
        What needs them.

    Returns
    -------
    bool
        False when the person has cancelled the wait.
    """
    if module in sys.modules:
        return True
    return wait_for(Job(partial(import_module, module)).start(), "Starting OME-Zarr …")
