"""A display of remote pyramids that never blocks: coarse at once, then sharp."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chunk_queue import ChunkRetryPolicy
    from .engine import (
        MEGABYTE,
        Engine,
        Settings,
        default_cache_bytes,
        shared_engine,
        use_engine,
    )
    from .napari_hook import attach, detach, status, wait_until_sharp

__all__ = [
    "MEGABYTE",
    "ChunkRetryPolicy",
    "Engine",
    "Settings",
    "attach",
    "default_cache_bytes",
    "detach",
    "shared_engine",
    "status",
    "use_engine",
    "wait_until_sharp",
]

# Only what touches a layer needs napari and Qt; and who only tells a person something
# does not wait a second for dask and zarr, which the engine needs.
_HOMES = dict.fromkeys(__all__, "engine") | {
    "ChunkRetryPolicy": "chunk_queue",
    **dict.fromkeys(("attach", "detach", "status", "wait_until_sharp"), "napari_hook"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
