"""One way in to the bytes of a place: signing in, retries, errors in our words."""

from __future__ import annotations

from napari_omezarr._io_loop import run

from .addressing import BucketAddress, corrected
from .backend import (
    FIRST_BYTE,
    PIECES_AT_A_TIME,
    GetResult,
    Lister,
    ListPage,
    ObjectMeta,
    Piece,
    RequestStats,
    RetryPolicy,
    all_items,
    all_pages,
    brief,
    for_decoding,
    is_quiet,
    joined,
    pieces_of,
    tried_once,
)
from .cached import DiskCacheFacts, clear_disk_cache, disk_cache_facts, set_disk_cache
from .error_mapping import RequestFailed, failure_of
from .foreign import (
    ForeignStore,
    foreign_store,
    given_place,
    is_zarr,
    location_of,
    store_and_path,
)
from .local import is_stored, nothing_at, open_stored
from .open import (
    bucket_of,
    is_zip_file,
    not_writable,
    open_buckets,
    open_lister,
    open_store,
    open_writable,
    presigned,
)
from .store import (
    AGREE,
    SIGN_IN_TO_LIST,
    RemoteStore,
    presumptions,
)
from .writable import CLAIM, WritablePlace, WritableStore, probe_key

__all__ = [
    "AGREE",
    "CLAIM",
    "FIRST_BYTE",
    "PIECES_AT_A_TIME",
    "SIGN_IN_TO_LIST",
    "BucketAddress",
    "DiskCacheFacts",
    "ForeignStore",
    "GetResult",
    "ListPage",
    "Lister",
    "ObjectMeta",
    "Piece",
    "RemoteStore",
    "RequestFailed",
    "RequestStats",
    "RetryPolicy",
    "WritablePlace",
    "WritableStore",
    "all_items",
    "all_pages",
    "brief",
    "bucket_of",
    "clear_disk_cache",
    "corrected",
    "disk_cache_facts",
    "failure_of",
    "for_decoding",
    "foreign_store",
    "given_place",
    "is_quiet",
    "is_stored",
    "is_zarr",
    "is_zip_file",
    "joined",
    "location_of",
    "not_writable",
    "nothing_at",
    "open_buckets",
    "open_lister",
    "open_store",
    "open_stored",
    "open_writable",
    "pieces_of",
    "presigned",
    "presumptions",
    "probe_key",
    "run",
    "set_disk_cache",
    "store_and_path",
    "tried_once",
]
