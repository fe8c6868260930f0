"""A display of remote pyramids that never blocks: coarse at once, then sharp."""

from typing import TYPE_CHECKING, Any

from .chunk_queue import ChunkRetryPolicy
from .engine import (
    MEGABYTE,
    Engine,
    Settings,
    default_cache_bytes,
    shared_engine,
    use_engine,
)

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    # Only what touches a layer needs napari and Qt.
    if name in ("attach", "detach", "status", "wait_until_sharp"):
        from . import napari_hook

        return getattr(napari_hook, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
