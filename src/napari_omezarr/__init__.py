"""Open and save remote OME-Zarr, in napari and without it.

>>> import napari_omezarr
>>> image = napari_omezarr.open("https://example.org/cells.ome.zarr")  # doctest: +SKIP
>>> part = image.sel(c="DAPI", y=(100, 200), x=(50, 150))  # doctest: +SKIP
>>> napari_omezarr.write(part, "s3://bucket/part.ome.zarr")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import aio
    from .errors import OMEZarrError
    from .layers import read_layers
    from .location import Location
    from .opened import (
        add_plate_labels,
        copy,
        listing,
        open,
        rewrite_plate,
        validate,
        write,
        write_plate,
    )
    from .pyramid import Pyramid
    from .reading import Reading, ReadOptions, read
    from .writing import (
        WriteOptions,
        add_labels,
        add_tables,
        append,
        calibrate,
        patch,
        plan_patch,
        plan_write,
        undo_patch,
        update_rendering,
        write_image,
        write_layers,
    )

__all__ = [
    "Location",
    "OMEZarrError",
    "Pyramid",
    "ReadOptions",
    "Reading",
    "WriteOptions",
    "add_labels",
    "add_plate_labels",
    "add_tables",
    "aio",
    "append",
    "calibrate",
    "copy",
    "listing",
    "open",
    "patch",
    "plan_patch",
    "plan_write",
    "read",
    "read_layers",
    "rewrite_plate",
    "undo_patch",
    "update_rendering",
    "validate",
    "write",
    "write_image",
    "write_layers",
    "write_plate",
]

_HOMES = {
    "Location": "location",
    "OMEZarrError": "errors",
    "Pyramid": "pyramid",
    "ReadOptions": "reading",
    "Reading": "reading",
    "WriteOptions": "writing",
    "add_labels": "writing",
    "add_plate_labels": "opened",
    "add_tables": "writing",
    "append": "writing",
    "calibrate": "writing",
    "copy": "opened",
    "listing": "opened",
    "open": "opened",
    "patch": "writing",
    "plan_patch": "writing",
    "plan_write": "writing",
    "read": "reading",
    "read_layers": "layers",
    "rewrite_plate": "opened",
    "undo_patch": "writing",
    "update_rendering": "writing",
    "validate": "opened",
    "write": "opened",
    "write_image": "writing",
    "write_layers": "writing",
    "write_plate": "opened",
}


def __getattr__(name: str) -> Any:
    # napari imports this package to ask whether it claims a name: that must not
    # cost the second that zarr, dask and aiohttp take.
    if name == "aio":
        return import_module(".aio", __name__)
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    # What is here for the module's own use is no name to be completed.
    return sorted({*(n for n in globals() if n.startswith("__")), *__all__})
