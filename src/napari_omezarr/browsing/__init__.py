"""Browsing places: their children page by page, what each is, copies and links."""

from napari_omezarr._io_loop import start

from .check import (
    Check,
    Finding,
    Speed,
    Validation,
    check_connection,
    check_list,
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
from .manage import delete, make_folder, rename, what_lies_at
from .mirror import MirrorPlan, mirror_store, plan_mirror
from .session import (
    SCHEME,
    Session,
    SessionLayer,
    parse_session,
    session_address,
    session_in_address,
    session_text,
)
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
from .view_link import view_in_link

__all__ = [
    "SCHEME",
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
    "Session",
    "SessionLayer",
    "Speed",
    "Thumbnail",
    "Validation",
    "ViewState",
    "Viewer",
    "check_connection",
    "check_list",
    "check_public",
    "copy_store",
    "delete",
    "describe",
    "entries_of",
    "list_buckets",
    "make_folder",
    "measure_speed",
    "mirror_store",
    "parse_session",
    "plan_mirror",
    "pretty",
    "python_snippet",
    "raw_documents",
    "read_table",
    "rename",
    "s3_address",
    "session_address",
    "session_in_address",
    "session_text",
    "set_thumbnail_cache",
    "share_link",
    "start",
    "thumbnail",
    "validate",
    "view_chunk",
    "view_in_link",
    "web_address",
    "what_lies_at",
]
