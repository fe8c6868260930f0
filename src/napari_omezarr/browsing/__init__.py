"""Walking through places: rows page by page, recognised, looked at before opening."""

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
from .copy import Copied, Progress, copy_store
from .details import (
    AxisDetails,
    Chunk,
    Details,
    LevelDetails,
    describe,
    pretty,
    raw_documents,
    view_chunk,
)
from .entries import Entry, Kind
from .listing import Listing, Page, Prober, list_buckets
from .share import (
    ChannelView,
    Publicity,
    View,
    Viewer,
    check_public,
    https_address,
    plain_address,
    python_snippet,
    s3_address,
    share_link,
    web_address,
)
from .table import LabelTable, read_table
from .thumbnails import Thumbnail, thumbnail

__all__ = [
    "AxisDetails",
    "ChannelView",
    "Check",
    "Chunk",
    "Copied",
    "Details",
    "Entry",
    "Finding",
    "Kind",
    "LabelTable",
    "LevelDetails",
    "Listing",
    "Page",
    "Prober",
    "Progress",
    "Publicity",
    "Speed",
    "Thumbnail",
    "Validation",
    "View",
    "Viewer",
    "check_connection",
    "check_public",
    "copy_store",
    "describe",
    "https_address",
    "list_buckets",
    "measure_speed",
    "plain_address",
    "pretty",
    "python_snippet",
    "raw_documents",
    "read_table",
    "s3_address",
    "share_link",
    "start",
    "thumbnail",
    "validate",
    "view_chunk",
    "web_address",
]
