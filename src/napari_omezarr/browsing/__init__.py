"""Browsing places: their children page by page, what each is, copies and links."""

from napari_omezarr._io_loop import start

from .check import (
    Check,
    Finding,
    Speed,
    Validation,
    check_connection,
    measure_speed,
    validate,
)
from .copy import Copied, CopyProgress, copy_store
from .details import (
    AxisDetails,
    ChunkPreview,
    Details,
    LevelDetails,
    describe,
    pretty,
    raw_documents,
    view_chunk,
)
from .entries import Entry, EntryKind
from .listing import EntryPage, Listing, Prober, entries_of, list_buckets
from .mirror import MirrorPlan, mirror_store, plan_mirror
from .share import (
    ChannelView,
    PublicAccess,
    Viewer,
    ViewState,
    check_public,
    python_snippet,
    s3_address,
    share_link,
    web_address,
)
from .table import LabelTable, read_table
from .thumbnails import Thumbnail, set_thumbnail_cache, thumbnail

__all__ = [
    "AxisDetails",
    "ChannelView",
    "Check",
    "ChunkPreview",
    "Copied",
    "CopyProgress",
    "Details",
    "Entry",
    "EntryKind",
    "EntryPage",
    "Finding",
    "LabelTable",
    "LevelDetails",
    "Listing",
    "MirrorPlan",
    "Prober",
    "PublicAccess",
    "Speed",
    "Thumbnail",
    "Validation",
    "ViewState",
    "Viewer",
    "check_connection",
    "check_public",
    "copy_store",
    "describe",
    "entries_of",
    "list_buckets",
    "measure_speed",
    "mirror_store",
    "plan_mirror",
    "pretty",
    "python_snippet",
    "raw_documents",
    "read_table",
    "s3_address",
    "set_thumbnail_cache",
    "share_link",
    "start",
    "thumbnail",
    "validate",
    "view_chunk",
    "web_address",
]
