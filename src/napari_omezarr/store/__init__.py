"""One way in to the bytes of a place: signing in, retries, errors in our words."""

from __future__ import annotations

from napari_omezarr._io_loop import run

from .depot import Depot
from .depots import open_depot
from .disk_cache import (
    DiskCacheFacts,
    clear_disk_cache,
    default_disk_cache_folder,
    disk_cache_facts,
    set_disk_cache,
)
from .listing import Batch, Item, Lister
from .opening import open_buckets, open_lister, open_store
from .patience import Patience
from .place import PlaceStore

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
