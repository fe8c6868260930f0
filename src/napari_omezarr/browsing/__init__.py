"""Walking through places: rows page by page, recognised, looked at before opening."""

from napari_omezarr._io_loop import start

from .buckets import list_buckets
from .checkup import Check, check_connection
from .chunk import Chunk, view_chunk
from .copying import Copied, Progress, copy_store
from .details import AxisDetails, Details, LevelDetails, describe
from .documents import pretty, raw_documents
from .entry import Entry, Kind
from .listing import Listing, Page
from .probing import Prober
from .publicity import Publicity, check_public, web_address
from .sharing import Viewer, share_link
from .snippet import https_address, plain_address, python_snippet, s3_address
from .speed import Speed, measure_speed
from .table import LabelTable, read_table
from .thumbnail import Thumbnail, thumbnail
from .validation import Finding, Validation, validate
from .view import ChannelView, View

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
