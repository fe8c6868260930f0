"""One way in to the bytes of a place: signing in, retries, errors in our words."""

from __future__ import annotations

from napari_omezarr._io_loop import run

from .backend import Batch, Item, Lister
from .cached import (
    DiskCacheFacts,
    clear_disk_cache,
    default_disk_cache_folder,
    disk_cache_facts,
    set_disk_cache,
)
from .open import open_buckets, open_depot, open_lister, open_store
from .retry import Patience
from .store import PlaceStore
from .writable import Depot

__all__ = [
    "Batch",
    "Depot",
    "DiskCacheFacts",
    "Item",
    "Lister",
    "Patience",
    "PlaceStore",
    "clear_disk_cache",
    "default_disk_cache_folder",
    "disk_cache_facts",
    "open_buckets",
    "open_depot",
    "open_lister",
    "open_store",
    "run",
    "set_disk_cache",
]
